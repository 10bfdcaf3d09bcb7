"""An image into a repository by its digest; `registry.tags` has what points to it.

Nothing that is pushed by digest can be found by a tag: a push that breaks off has published
nothing, and one that is repeated sends only what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from buildlib.errors import InputError
from buildlib.oci import Archive
from buildlib.platforms import platform_name
from buildlib.registry.client import INDEX, INDEX_TYPES, MANIFEST, Document, Repository


@dataclass(frozen=True, kw_only=True, slots=True)
class Pushed:
    """What a push did.

    Args:
        digest: of the whole.
        sent: blobs that were sent, and `there` those that were there already.
        size: bytes that were sent.
    """

    digest: str
    sent: int
    there: int
    size: int


def _document(data: bytes) -> tuple[Document, dict[str, object]]:
    found = json.loads(data)
    # An OCI document need not name its own type.
    own = found.get("mediaType") or (INDEX if "manifests" in found else MANIFEST)
    return Document(data, str(own)), found


def manifests_of(document: Document) -> dict[str, str]:
    """Return the manifests that an index points to: digest and platform; none of a manifest's.

    BuildKit's own attestations are manifests for no platform, and are left out.

    Raises:
        GateError: it says that it is an index, and is none (exit 7).
    """
    found: dict[str, str] = {}
    if document.media_type in INDEX_TYPES:
        for entry in document.manifests():
            kind = entry.get("platform") or {}
            if kind.get("os") != "unknown":
                found[str(entry["digest"])] = platform_name(kind)
    return found


def push_archive(
    archive: Archive, repository: Repository, *, progress: Callable[[str], None] = lambda _: None
) -> Pushed:
    """Push everything that an archive holds, and read it back.

    Args:
        archive: of one image, of one or several platforms.
        repository: to push to.
        progress: is told each blob that is sent.

    Raises:
        InputError: the archive is not whole (exit 2).
        AuthorisationError, TransientError, EngineError: the registry does not take it.
        GateError: it holds something else afterwards (exit 7).
    """
    top = archive.top()
    sent = there = size = 0
    documents = list(_documents(archive, top))
    for blob, length in dict.fromkeys(pair for _, found in documents for pair in _blobs(found)):
        if repository.has_blob(blob):
            there += 1
            continue
        progress(f"{blob[:19]} {length / 1e6:.1f} MB")
        repository.put_blob(blob, length, partial(archive.open_blob, blob))
        sent, size = sent + 1, size + length
    # What is pointed to comes before what points to it: a registry wants it so.
    for document, _ in reversed(documents):
        repository.put_manifest(document.digest, document)
    repository.check(top, documents[0][0])
    return Pushed(digest=top, sent=sent, there=there, size=size)


def _documents(archive: Archive, digest: str) -> Iterator[tuple[Document, dict[str, object]]]:
    document, found = _document(archive.bytes_of(digest))
    if document.digest != digest:
        raise InputError(f"the archive is damaged: {digest} is {document.digest}")
    yield document, found
    if document.media_type in INDEX_TYPES:
        for entry in found.get("manifests") or ():  # type: ignore[attr-defined]
            yield from _documents(archive, str(entry["digest"]))


def _blobs(manifest: dict[str, object]) -> Iterator[tuple[str, int]]:
    entries = [manifest.get("config"), *(manifest.get("layers") or ())]  # type: ignore[misc]
    for entry in filter(None, entries):
        yield str(entry["digest"]), int(entry["size"])
