"""An image into a repository by its digest; `registry.tags` has what points to it.

Nothing that is pushed by digest can be found by a tag: a push that breaks off has published
nothing, and one that is repeated sends only what is missing.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from buildlib.activity import Activity
from buildlib.errors import EngineError, GateError, InputError
from buildlib.files import human_size
from buildlib.image.archive import Archive, open_archive
from buildlib.image.platform import platform_name
from buildlib.registry.limits import MIB
from buildlib.registry.repository import INDEX_TYPES, Document, Repository, is_digest, own_type
from buildlib.tempfiles import passing_folder


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


# What is held at once: an index, its manifests, and theirs.
_DOCUMENTS: Final = 64 * MIB
_DEEPEST: Final = 8
_CHUNK: Final = 1 << 20


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
    archive: Archive,
    repository: Repository,
    *,
    progress: Callable[[str], None] = lambda _: None,
    activity: Activity | None = None,
) -> Pushed:
    """Push everything that an archive holds, and read it back.

    Args:
        archive: of one image, of one or several platforms.
        repository: to push to.
        progress: is told each blob that is sent.
        activity: is told how many bytes are sent, of how many; None: nobody asks.

    Raises:
        InputError: the archive is not whole (exit 2).
        AuthorisationError, TransientError, EngineError: the registry does not take it.
        GateError: it holds something else afterwards (exit 7).
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
    """Return what is told how much of one more blob is sent; a second attempt begins again."""
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
            "takes manifests with a tag, nothing can be published there",
        ) from error


def _damaged(why: str) -> InputError:
    return InputError("the archive is damaged", why=why, hint="build the image again")


def documents_of(archive: Archive, top: str) -> dict[str, Document]:
    """Return an archive's index and manifests by their digests.

    What is pointed to comes before what points to it: a registry wants it so.

    Raises:
        InputError: one of them is malformed or missing, or they have no end (exit 2).
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
    if not is_digest(digest):
        raise _damaged("what it names is not a digest")
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
        # Whoever wrote it, it lies here.
        raise _damaged(error.what) from None


def _blobs(document: Document) -> Iterator[tuple[str, int]]:
    if document.media_type not in INDEX_TYPES:
        for entry in _entries(document.blobs):
            size = entry.get("size")
            if not isinstance(size, int):
                raise _damaged(f"{document.digest} does not say how large {entry['digest']} is")
            yield str(entry["digest"]), size


# An image out of a repository, as an archive: no engine is asked, and every platform comes.


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
