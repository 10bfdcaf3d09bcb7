"""The blobs of an image in an archive, each under its digest, and whether they are what they say.

Source: OCI image-spec, image-layout.md.
"""

from __future__ import annotations

import io
import json
import os
import posixpath
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, BinaryIO, Final, NamedTuple

from buildlib.errors import InputError
from buildlib.image.docker_archive import LIST, MANIFEST, StoredFile, make_manifests
from buildlib.image.documents import DocumentError, digest_of, is_digest
from buildlib.image.layer import Hashing, LayerError, normal_path
from buildlib.image.limits import LARGEST_DOCUMENT, MOST_BLOBS
from buildlib.image.tar_header import REGULAR, SYMLINK, TarError
from buildlib.image.tar_stream import TarStream
from buildlib.tempfiles import check_room
from buildlib.terminal.streams import printable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

INDEX: Final = "index.json"
_CHUNK: Final = 1 << 18
# By what a file begins with that is compressed as a whole, and what unpacks it.
_PACKED: Final = {
    b"\x1f\x8b": "gunzip",
    b"BZh": "bunzip2",
    b"\xfd7zXZ\x00": "unxz",
    b"\x28\xb5\x2f\xfd": "unzstd",
}
_LONGEST_MAGIC: Final = max(map(len, _PACKED))


def unpacker(begin: bytes) -> str:
    """Return what unpacks a file that begins like this; nothing where it is not compressed."""
    return next((tool for magic, tool in _PACKED.items() if begin.startswith(magic)), "")


class _Blob(io.RawIOBase):
    """A part of a file, read where it stands: several may be read side by side."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self.size = file, start, size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = max(begin + offset, 0)
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        most = min(len(view), max(self.size - self._at, 0))
        data = os.pread(self._file.fileno(), most, self._start + self._at)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


class _FileSource:
    """A file that an archive is read from; what is passed over is not read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._size = file, os.fstat(file.fileno()).st_size

    def read(self, size: int, /) -> bytes:
        return self._file.read(size)

    def skip(self, size: int, /) -> int:
        at = self._file.tell()
        return self._file.seek(min(at + size, self._size)) - at


def add_file(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    """Add a file to an archive, of the time 0 and of root."""
    file = tarfile.TarInfo(name)
    file.size, file.mode = len(data), mode
    tar.addfile(file, io.BytesIO(data))


def add_folders(tar: tarfile.TarFile) -> None:
    """Add the directories of blobs to an archive."""
    for name in ("blobs/", "blobs/sha256/"):
        folder = tarfile.TarInfo(name)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(folder)


class _Members(NamedTuple):
    """Where the files of an archive begin, how long they are, and what its links lead to."""

    files: dict[str, tuple[int, int]]
    links: dict[str, str]


def _members(file: BinaryIO, name: str) -> _Members:
    tar, members = TarStream(_FileSource(file)), _Members({}, {})
    found = members.files
    for number, entry in enumerate(tar):
        if number > MOST_BLOBS:
            raise InputError(f"{name} holds more than {MOST_BLOBS} files")
        if entry.type == SYMLINK:
            folder = posixpath.dirname(entry.name)
            members.links[normal_path(entry.name)] = normal_path(folder + b"/" + entry.target)
        if entry.type != REGULAR:
            continue
        path = normal_path(entry.name)
        if path in found or entry.parts is not None:
            what = "stored as a sparse file" if entry.parts is not None else "there twice"
            raise InputError(f"{name} is not a valid image: {printable(path)[:200]} is {what}")
        found[path] = (tar.offset, entry.size)
    return members


class BlobFile:
    """The files of an archive, and blobs among them by their digests."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        """Read where everything is in an open file.

        Raises:
            InputError: it is not a tar archive, or not a whole one (exit 2).
        """
        self._file, self._name = file, name
        self._checked: set[tuple[str, int]] = set()
        # What the archive does not have itself.
        self._made: dict[str, bytes] = {}
        try:
            self._members, links = _members(file, name)
        except (TarError, LayerError, OSError) as error:
            file.seek(0)
            unpack = unpacker(file.read(_LONGEST_MAGIC))
            raise InputError(
                f"{name} can't be read as an image",
                why=str(error),
                hint=f"it is compressed: unpack it with {unpack}" if unpack else "",
            ) from error
        if INDEX not in self._members and LIST in self._members:
            self._adopt(links)

    def _adopt(self, links: Mapping[str, str]) -> None:
        """Make the index and the manifests that an archive of docker's older form lacks."""
        known: dict[str, StoredFile] = {}

        def place(path: str) -> str:
            name = normal_path(path.encode("utf-8", "surrogateescape"))
            return links.get(name, name)

        def stored(path: str) -> StoredFile:
            name = place(path)
            if name not in known:
                with self._open(name) as stream:
                    read = Hashing(stream, "sha256")
                    read.drain()
                known[name] = StoredFile(read.digest, read.size)
            return known[name]

        try:
            made = make_manifests(self._text(LIST), stored)
        except (DocumentError, LayerError) as error:
            raise self._invalid(f"{LIST} can't be understood", error) from error
        for digest, path in made.blobs.items():
            self._members[self._blob(digest)] = self._members[place(path)]
        entries = []
        for text in made.documents:
            digest = digest_of(text)
            self._made[self._blob(digest)] = text
            entries.append({"mediaType": MANIFEST, "digest": digest, "size": len(text)})
        self._made[INDEX] = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()

    def _damaged(self, what: str) -> InputError:
        return InputError(f"{self._name} is damaged: {what}")

    def _invalid(self, what: str, error: Exception | None = None) -> InputError:
        return InputError(f"{self._name} is not a valid image: {what}", why=str(error or ""))

    def _open(self, path: str) -> io.BufferedReader:
        if path in self._made:
            return io.BufferedReader(io.BytesIO(self._made[path]))
        if path not in self._members:
            raise InputError(f"{self._name} is not a complete image: {path} is missing")
        start, size = self._members[path]
        return io.BufferedReader(_Blob(self._file, start, size), min(max(size, 1), _CHUNK))

    def _text(self, path: str) -> bytes:
        with self._open(path) as stream:
            text = stream.read(LARGEST_DOCUMENT + 1)
        if len(text) > LARGEST_DOCUMENT:
            raise self._invalid(f"{path} is larger than {LARGEST_DOCUMENT} bytes")
        return text

    def _blob(self, digest: str) -> str:
        return "blobs/" + digest.replace(":", "/", 1)

    def bytes_of(self, digest: str) -> bytes:
        """Return a blob that is a document: an index, a manifest or a configuration.

        Raises:
            InputError: it is not here, is too large, or is not what its digest says (exit 2).
        """
        text = self._text(self._blob(digest))
        self.check_blob(digest, len(text))
        return text

    def open_blob(self, digest: str) -> IO[bytes]:
        """Open any blob, such as a layer, for reading; see `check_blob`.

        Raises:
            InputError: it is not here (exit 2).
        """
        return self._open(self._blob(digest))

    def size_of(self, digest: str) -> int:
        """Return how many bytes a blob really has here, whatever is said of it.

        Raises:
            InputError: it is not here (exit 2).
        """
        with self.open_blob(digest) as stream:
            return stream.seek(0, os.SEEK_END)

    def check_blob(self, digest: str, size: int) -> None:
        """Check that a blob has the bytes of its digest, and as many as its descriptor says.

        Raises:
            InputError: it has not, or it is not here (exit 2).
        """
        if not is_digest(digest):
            raise self._invalid(f"{digest[:80]!r} is not a digest")
        self._check_size(digest, size)
        if (digest, size) in self._checked:
            return
        with self.open_blob(digest) as stream:
            self._read_checked(Hashing(stream, digest.partition(":")[0]), digest, size)

    def _check_size(self, digest: str, size: int) -> None:
        length = self.size_of(digest)
        if length != size:
            raise self._damaged(f"{digest} has {length} bytes, and its descriptor says {size}")

    def _read_checked(self, stream: Hashing, digest: str, size: int) -> None:
        stream.drain()
        if stream.digest != digest:
            raise self._damaged(f"{digest} has the bytes of {stream.digest}")
        self._checked.add((digest, size))

    def has(self, digest: str) -> bool:
        """Return whether the archive holds a blob: one of another platform may be left out."""
        path = self._blob(digest)
        return path in self._members or path in self._made

    def digests(self) -> list[str]:
        """Return the digests of all blobs; files with other names are not blobs."""
        paths = [*self._members, *self._made]
        names = (path.removeprefix("blobs/") for path in paths if path[:6] == "blobs/")
        return [digest for name in names if is_digest(digest := name.replace("/", ":", 1))]

    def add_to(self, tar: tarfile.TarFile, digest: str, size: int, mode: int = 0o644) -> None:
        """Write a blob into another archive, and compare it with its digest on the way.

        Raises:
            InputError: it is missing or damaged (exit 2).
        """
        self._check_size(digest, size)
        file = tarfile.TarInfo(self._blob(digest))
        file.size, file.mode = size, mode
        with self.open_blob(digest) as stream:
            checked = Hashing(stream, digest.partition(":")[0])
            tar.addfile(file, checked)
            self._read_checked(checked, digest, size)

    def _write(
        self,
        path: Path,
        index: Mapping[str, object],
        parts: list[tuple[str, int]],
        added: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        """Write an archive of an index, some of the blobs, and others that are not in it yet.

        Blobs are compared with their digests on the way.
        """
        layout = json.dumps({"imageLayoutVersion": "1.0.0"}).encode()
        try:
            check_room(path.parent, sum(size for _, size in dict.fromkeys(parts)))
            with tarfile.open(path, "w") as tar:
                for name, data in (("oci-layout", layout), (INDEX, json.dumps(index).encode())):
                    add_file(tar, name, data)
                add_folders(tar)
                for digest, size in dict.fromkeys(parts):
                    self.add_to(tar, digest, size)
                there = dict(parts)
                for digest, data in added.items():
                    if digest not in there:
                        add_file(tar, self._blob(digest), data)
        except OSError as error:
            raise InputError(f"can't write {path}", why=str(error)) from error
