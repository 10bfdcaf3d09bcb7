"""SBOM and provenance in the index of an image, where Docker's own tools look for them.

Each platform's image gets an attestation manifest beside it, for no platform, so that engines
ignore it; the images' own manifests are not changed. The form is the current one of BuildKit, an
OCI artifact. Times and identifiers of a run are left out: the same image by the same tools gets the
same digest again. Source: github.com/moby/buildkit, docs/attestations/attestation-storage.md;
docker/buildx, util/imagetools/loader.go reads it.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from buildlib.errors import InputError
from buildlib.image.archive import Archive, Image
from buildlib.image.documents import digest_of
from buildlib.publish.receipt import PROVENANCE, SBOM_FILES, Receipt, check_sbom

SPDX: Final = "https://spdx.dev/Document"
_INDEX: Final = "application/vnd.oci.image.index.v1+json"
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_ARTIFACT: Final = "application/vnd.docker.attestation.manifest.v1+json"
_STATEMENT: Final = "application/vnd.in-toto+json"
_EMPTY: Final = b"{}"
# Fields that differ between two runs of the same build: SLSA v0.2, and v1.
_OF_A_RUN: Final = frozenset(
    {
        *("buildInvocationID", "buildStartedOn", "buildFinishedOn"),
        *("invocationId", "startedOn", "finishedOn"),
    }
)
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_SECONDS: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


class Predicate(NamedTuple):
    """A statement about an image: `about` is the digest, `kind` the URI of the predicate type."""

    about: str
    kind: str
    content: Mapping[str, Any]


def predicates_of(receipt: Receipt, root: Path) -> Iterator[Predicate]:
    """Yield what goes into the index: the SBOMs of a receipt, and BuildKit's provenance.

    Docker's tools only read SBOMs in SPDX.

    Raises:
        InputError: a file is missing, or about another image (exit 2).
    """
    yield from sboms_in(receipt.sboms, root)
    kinds = {name: kind for kind, name in PROVENANCE.items()}
    for one in receipt.provenance:
        yield Predicate(one["digest"], kinds[one["type"]], _read(root / one["file"]))


def sboms_in(sboms: Iterable[Mapping[str, Any]], root: Path) -> Iterator[Predicate]:
    """Yield the SBOMs that the gate recorded; raises as `predicates_of`."""
    for sbom in sboms:
        for file in sbom["files"]:
            if file.endswith(SBOM_FILES["spdxjson"]):
                check_sbom(root / file, sbom["digest"])
                yield Predicate(sbom["digest"], SPDX, _read(root / file))


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name} can't be read", why=str(error)) from error
    if not isinstance(found, dict):
        raise InputError(f"{path.name} is not a JSON object")
    return found


def write_attested(archive: Archive, path: Path, predicates: Iterable[Predicate]) -> str:
    """Write a copy of an archive with attestations in its index.

    An image of one platform gets an index, too.

    Args:
        predicates: about its platforms' images; without any, the copy has the same digest.

    Returns:
        The digest of the copy's index.

    Raises:
        InputError: the archive is damaged, or the copy can't be written (exit 2).
    """
    stated = list(predicates)
    blobs: list[bytes] = []
    entries = []
    for image in archive.images():
        layers = []
        for one in stated:
            if one.about == image.digest:
                blobs.append(_json(_statement(one, image)))
                kind = {"annotations": {"in-toto.io/predicate-type": one.kind}}
                layers.append(_descriptor(_STATEMENT, blobs[-1]) | kind)
        if layers:
            blobs += [_EMPTY, _json(_manifest(archive, image, layers))]
            entries.append(_entry(image, blobs[-1]))
    if not entries:
        return archive.write_copy(path)
    index = _index(archive)
    index["manifests"] = [*index["manifests"], *entries]
    top = _json(index)
    return archive.write_copy(path, (index.get("mediaType") or _INDEX, top), blobs)


def _json(document: object) -> bytes:
    return json.dumps(document, indent=2, sort_keys=True).encode()


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def _manifest(archive: Archive, image: Image, layers: list[dict[str, Any]]) -> dict[str, Any]:
    empty = _descriptor("application/vnd.oci.empty.v1+json", _EMPTY)
    return {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "artifactType": _ARTIFACT,
        "config": empty | {"data": base64.b64encode(_EMPTY).decode()},
        "layers": layers,
        "subject": archive.entry_of(image.digest),
    }


def _entry(image: Image, manifest: bytes) -> dict[str, Any]:
    return _descriptor(_MANIFEST, manifest) | {
        "annotations": {
            "vnd.docker.reference.digest": image.digest,
            "vnd.docker.reference.type": "attestation-manifest",
        },
        "platform": {"architecture": "unknown", "os": "unknown"},
    }


def _index(archive: Archive) -> dict[str, Any]:
    """Return the index of an archive, or a new one for its only manifest."""
    found: dict[str, Any] = json.loads(archive.bytes_of(archive.top()))
    if "manifests" in found:
        return found
    (image,) = archive.images()
    keys = ("architecture", "os", "variant")
    platform = {key: image.config[key] for key in keys if image.config.get(key)}
    entry = archive.entry_of(image.digest) | {"platform": platform}
    return {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [entry]}


def _statement(one: Predicate, image: Image) -> dict[str, Any]:
    algorithm, _, value = one.about.partition(":")
    content = _spdx(one.content, image) if one.kind == SPDX else _provenance(one.content)
    return {
        "_type": "https://in-toto.io/Statement/v1",
        # The image has another name in each registry.
        "subject": [{"name": "_", "digest": {algorithm: value}}],
        "predicateType": one.kind,
        "predicate": content,
    }


def _provenance(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return provenance of either version without the fields of one run: SLSA requires none."""
    found = dict(content)
    details = found.get("runDetails")
    if isinstance(details, dict):
        found["runDetails"] = _without_run(details)
    return _without_run(found)


def _without_run(holder: Mapping[str, Any]) -> dict[str, Any]:
    metadata = holder.get("metadata")
    if not isinstance(metadata, dict):
        return dict(holder)
    kept = {key: value for key, value in metadata.items() if key not in _OF_A_RUN}
    return {**holder, "metadata": kept}


def _spdx(content: Mapping[str, Any], image: Image) -> dict[str, Any]:
    """Return an SBOM with the image's time, and a name from its content: SPDX 2.3 requires both."""
    said = dict(content)
    about = said.get("creationInfo")
    created = _SECONDS.match(str(image.config.get("created") or ""))
    if isinstance(about, dict) and created:
        said["creationInfo"] = about | {"created": f"{created[0]}Z"}
    name = str(said.pop("documentNamespace", ""))
    own = str(uuid.uuid5(uuid.NAMESPACE_URL, digest_of(_json(said))))
    return said | {"documentNamespace": _UUID.sub(own, name)}
