"""An image out of a repository, as an archive: no engine is asked, and every platform comes."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager

from buildlib.errors import GateError, InputError
from buildlib.oci import Archive, open_archive
from buildlib.passing import passing_folder
from buildlib.registry.client import Document, Repository
from buildlib.registry.push import manifests_of


@contextmanager
def pulled(repository: Repository, digest: str) -> Iterator[Archive]:
    """Open a repository's image for the time of the block.

    What BuildKit keeps beside the platforms' images is left out.

    Args:
        repository: that holds it.
        digest: of an index or a manifest.

    Raises:
        InputError: there is no such image (exit 2).
        GateError: the registry gives other bytes than those of the digests, or no image (exit 7).
        AuthorisationError, TransientError, EngineError: the registry does not give it.
    """
    top = repository.manifest(digest)
    if top is None:
        raise InputError(f"there is no {repository.name}@{digest}")
    with passing_folder("pull") as folder:
        path = folder / "image.tar"
        with tarfile.open(path, "w") as tar:
            _add(tar, "index.json", _index(top))
            for name, data in _blobs(repository, top):
                _add(tar, "blobs/" + name.replace(":", "/", 1), data)
        with open_archive(path) as archive:
            yield archive


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def _index(top: Document) -> bytes:
    entry = {"mediaType": top.media_type, "digest": top.digest, "size": len(top.data)}
    return json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()


def _blobs(repository: Repository, top: Document) -> Iterator[tuple[str, bytes]]:
    """Yield everything that the archive holds, each blob once, by its digest."""
    images = manifests_of(top)
    if images:
        yield top.digest, top.data
    seen: set[str] = set()
    for manifest in [_manifest(repository, one) for one in images] or [top]:
        yield manifest.digest, manifest.data
        parts = [str(part["digest"]) for part in manifest.blobs()]
        for digest in dict.fromkeys(part for part in parts if part not in seen):
            seen.add(digest)
            yield digest, repository.blob(digest)


def _manifest(repository: Repository, digest: str) -> Document:
    found = repository.manifest(digest)
    if found is None:
        raise GateError(f"{repository.name} has no whole image: {digest} is missing")
    return found
