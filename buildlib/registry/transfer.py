"""Pushes and pulls whole images by digest; `registry.tags` writes the tags.

An image that is pushed by digest can't be found by a tag: an interrupted push publishes nothing,
and a repeated one only sends what is missing.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from buildlib.errors import EngineError, GateError, InputError
from buildlib.files import human_size
from buildlib.image.archive import Archive, open_archive
from buildlib.image.blobs import add_file
from buildlib.image.platform import platform_name
from buildlib.registry.limits import MIB
from buildlib.registry.repository import INDEX_TYPES, Document, Repository, is_safe_digest, own_type
from buildlib.tempfiles import passing_folder
from buildlib.terminal.activity import Activity


@dataclass(frozen=True, kw_only=True, slots=True)
class Pushed:
    """The result of a push.

    Args:
        digest: of the index or manifest.
        sent: number of blobs that were sent; `there`: that already existed.
        size: bytes that were sent.
    """

    digest: str
    sent: int
    there: int
    size: int


# Bytes of an index with its manifests in memory.
_DOCUMENTS: Final = 64 * MIB
_DEEPEST: Final = 8
_CHUNK: Final = 1 << 20


def manifests_of(document: Document) -> dict[str, str]:
    """Return the manifests in an index, by digest, with their platforms; none for a manifest.

    BuildKit's attestations are manifests for no platform, and are left out.

    Raises:
        GateError: it is an invalid index (exit 7).
    """
    found: dict[str, str] = {}
    if document.media_type in INDEX_TYPES:
        for entry in document.manifests():
            kind = entry.get("platform") or {}
            if kind.get("os") != "unknown":
                found[str(entry["digest"])] = platform_name(kind)
    return found


def push_archive(
    archive: Archive,
    repository: Repository,
    *,
    progress: Callable[[str], None] = lambda _: None,
    activity: Activity | None = None,
) -> Pushed:
    """Push everything that an archive holds, and read it back.

    Args:
        archive: of one image, of one or several platforms.
        progress: called for each blob that is sent.
        activity: gets the number of bytes that are sent, and of all.

    Raises:
        InputError: the archive is damaged (exit 2).
        AuthorisationError, TransientError, EngineError: the registry does not accept it.
        GateError: the registry holds another digest afterwards (exit 7).
    """
    top = archive.top()
    documents = documents_of(archive, top)
    blobs = dict.fromkeys(part for found in documents.values() for part in _blobs(found))
    for blob, length in blobs:
        archive.check_blob(blob, length)
    activity = activity or Activity(name="")
    activity.total = sum(length for _, length in blobs)
    sent = there = size = 0
    for blob, length in blobs:
        if repository.has_blob(blob):
            there += 1
            activity.total -= length
            continue
        progress(f"{blob[:19]} {human_size(length)}")
        repository.put_blob(
            *(blob, length, partial(archive.open_blob, blob)), sent=_counter(activity)
        )
        sent, size = sent + 1, size + length
    for digest, document in documents.items():
        with _explained(repository):
            repository.put_manifest(digest, document)
    repository.check(top, documents[top])
    return Pushed(digest=top, sent=sent, there=there, size=size)


def _counter(activity: Activity) -> Callable[[int], None]:
    """Return a function that takes the bytes sent of one blob; a new attempt counts from 0."""
    before = activity.done

    def sent(size: int) -> None:
        activity.done = before + size

    return sent


@contextmanager
def _explained(repository: Repository) -> Iterator[None]:
    try:
        yield
    except EngineError as error:
        raise EngineError(
            f"{repository.name} does not take a manifest by its digest",
            why=f"{error.what}\n{error.why}",
            hint="a release is pushed without a tag, and gets its tags last: if the registry only "
            "accepts manifests with a tag, nothing can be published there",
        ) from error


def _damaged(why: str) -> InputError:
    return InputError("the archive is damaged", why=why, hint="build the image again")


def documents_of(archive: Archive, top: str) -> dict[str, Document]:
    """Return an archive's index and manifests by their digests.

    Manifests come before the index that names them, as registries require.

    Raises:
        InputError: one of them is invalid or missing, or there are too many (exit 2).
    """
    found: dict[str, Document] = {}

    def add(digest: str, depth: int) -> None:
        if digest in found:
            return
        document = _document(archive, digest)
        if depth > _DEEPEST or sum(len(one.data) for one in found.values()) > _DOCUMENTS:
            raise _damaged("its indexes are nested too deeply, or too large")
        if document.media_type in INDEX_TYPES:
            for entry in _entries(document.manifests):
                add(str(entry["digest"]), depth + 1)
        found[digest] = document

    add(top, 0)
    return found


def _document(archive: Archive, digest: str) -> Document:
    if not is_safe_digest(digest):
        raise _damaged("it names an invalid digest")
    data = archive.bytes_of(digest)
    own = own_type(data)
    if not own:
        raise _damaged(f"{digest} is not a JSON object with a valid media type")
    document = Document(data, own)
    if document.digest != digest:
        raise _damaged(f"{digest} is {document.digest}")
    return document


def _entries(read: Callable[[], tuple[Mapping[str, Any], ...]]) -> tuple[Mapping[str, Any], ...]:
    try:
        return read()
    except GateError as error:
        # It is the archive that is wrong, and not a registry.
        raise _damaged(error.what) from None


def _blobs(document: Document) -> Iterator[tuple[str, int]]:
    if document.media_type not in INDEX_TYPES:
        for entry in _entries(document.blobs):
            size = entry.get("size")
            if not isinstance(size, int):
                raise _damaged(f"{document.digest} does not say how large {entry['digest']} is")
            yield str(entry["digest"]), size


@contextmanager
def pulled(repository: Repository, digest: str) -> Iterator[Archive]:
    """Pull an image with all platforms into an archive, for the time of the block.

    BuildKit's attestations are left out.

    Args:
        digest: of an index or a manifest.

    Raises:
        InputError: there is no such image (exit 2).
        GateError: it is not an image, or bytes have another digest (exit 7).
        AuthorisationError, TransientError, EngineError: the registry does not give it.
    """
    top = repository.manifest(digest)
    if top is None:
        raise InputError(
            f"there is no {repository.name}@{digest}",
            why=f"{repository.request_for(digest)}: 404",
            hint="check that it was pushed, and is kept there",
        )
    with passing_folder("pull") as folder:
        path = folder / "image.tar"
        with tarfile.open(path, "w") as tar:
            entry = {"mediaType": top.media_type, "digest": top.digest, "size": len(top.data)}
            index = {"schemaVersion": 2, "manifests": [entry]}
            add_file(tar, "index.json", json.dumps(index).encode())
            _Pull(repository, tar, folder / "blob").add_all(top)
        with open_archive(path) as archive:
            yield archive


class _Pull:
    """Writes an image into an archive, each blob once.

    Args:
        aside: a file for one blob at a time, until it has been checked.
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
            add_file(self._tar, _path(document.digest), document.data)

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
                why=f"{self._repository.request_for(digest)}: 404",
                hint="push the image again",
            )
        return found


def _path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/", 1)
