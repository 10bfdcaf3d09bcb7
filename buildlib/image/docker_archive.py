"""Archives as `docker save` wrote them before Docker 25, and skopeo's `docker-archive:` still does.

Source: github.com/moby/docker-image-spec, v1.2.0, "Combined Image JSON + Filesystem Changeset
Format". There is neither an index nor a manifest in them: they are made here, of `manifest.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from buildlib.image.documents import Shape, parse_document

LIST: Final = "manifest.json"
MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
# Whether it is compressed, engines see by its first bytes.
_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
_SHAPE: Final[Shape] = {"list": [{"Config": str, "Layers": [str]}]}


class StoredFile(NamedTuple):
    """A file of an archive: its digest and size."""

    digest: str
    size: int


class Made(NamedTuple):
    """What an archive lacks.

    Args:
        documents: manifests, in their order.
        blobs: files of the archive, by the digests that manifests have them by.
    """

    documents: tuple[bytes, ...]
    blobs: Mapping[str, str]


def make_manifests(text: bytes, stored: Callable[[str], StoredFile]) -> Made:
    """Return a manifest for each image.

    Args:
        text: of `manifest.json`.
        stored: says what a file of the archive is; raises where it is missing.

    Raises:
        DocumentError: it is not such a list.
    """
    found = parse_document(b'{"list": ' + text + b"}", _SHAPE)
    documents, blobs = [], dict[str, str]()

    def descriptor(kind: str, path: str) -> dict[str, object]:
        digest, size = stored(path)
        blobs[digest] = path
        return {"mediaType": kind, "size": size, "digest": digest}

    for one in found.get("list") or ():
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(_CONFIG, one.get("Config") or ""),
            "layers": [descriptor(_LAYER, path) for path in one.get("Layers") or ()],
        }
        documents.append(json.dumps(manifest).encode())
    return Made(tuple(dict.fromkeys(documents)), blobs)
