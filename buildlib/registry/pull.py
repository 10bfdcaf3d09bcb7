"""An image out of a repository, as an archive: no engine is asked, and every platform comes."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from buildlib.errors import GateError, InputError
from buildlib.image.archive import Archive, open_archive
from buildlib.registry.repository import Document, Repository
from buildlib.registry.transfer import manifests_of
from buildlib.tempfiles import passing_folder


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
        raise InputError(
            f"there is no {repository.name}@{digest}",
            why=f"{repository.asked(digest)}: 404",
            hint="see whether it was pushed, and is kept there",
        )
    with passing_folder("pull") as folder:
        path = folder / "image.tar"
        with tarfile.open(path, "w") as tar:
            _add(tar, "index.json", _index(top))
            _Pull(repository, tar, folder / "blob").add_all(top)
        with open_archive(path) as archive:
            yield archive


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def _index(top: Document) -> bytes:
    entry = {"mediaType": top.media_type, "digest": top.digest, "size": len(top.data)}
    return json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()


class _Pull:
    """Everything that an archive holds, each blob once; none of them is held in memory.

    Args:
        repository: that has it.
        tar: that gets it.
        aside: a file for one blob at a time, until it is known to be whole.
    """

    def __init__(self, repository: Repository, tar: tarfile.TarFile, aside: Path) -> None:
        self._repository, self._tar, self._aside = repository, tar, aside
        self._seen: set[str] = set()

    def add_all(self, top: Document) -> None:
        images = manifests_of(top)
        if images:
            self._document(top)
        for digest in images or [top.digest]:
            manifest = self._manifest(digest) if images else top
            self._document(manifest)
            for part in [one for one in manifest.blobs() if self._is_new(str(one["digest"]))]:
                self._blob(str(part["digest"]), part.get("size"))

    def _is_new(self, digest: str) -> bool:
        new = digest not in self._seen
        self._seen.add(digest)
        if len(self._seen) > self._repository.transport.limits.parts:
            raise GateError(f"{self._repository.name} has an image of too many parts")
        return new

    def _document(self, document: Document) -> None:
        if self._is_new(document.digest):
            _add(self._tar, _path(document.digest), document.data)

    def _blob(self, digest: str, size: object) -> None:
        if not isinstance(size, int):
            raise GateError(f"{self._repository.name} does not say how large {digest} is")
        self._repository.save_blob(digest, size, self._aside)
        entry = tarfile.TarInfo(_path(digest))
        entry.size = size
        with self._aside.open("rb") as file:
            self._tar.addfile(entry, file)

    def _manifest(self, digest: str) -> Document:
        found = self._repository.manifest(digest)
        if found is None:
            raise GateError(
                f"{self._repository.name} has no whole image: {digest} is missing",
                why=f"{self._repository.asked(digest)}: 404",
                hint="push the image again",
            )
        return found


def _path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/", 1)
