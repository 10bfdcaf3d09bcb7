"""Reads one layer of an image: its entries, and whether it is the layer that it should be.

Source: OCI image-spec, layer.md; which media types are unpacked, and how, is as in containerd,
images/mediatypes.go and archive/compression.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import posixpath
import re
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import IO, Final, Protocol

from buildlib.image.limits import LARGEST_LAYER, LONGEST_PATH, MOST_ENTRIES, MOST_NAMES
from buildlib.image.tar_header import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    GLOBAL,
    LINK,
    REGULAR,
    SYMLINK,
    Entry,
    TarError,
)
from buildlib.image.tar_stream import TarStream

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    # The very same, for versions of Python that do not have it.
    from backports import zstd

# Enough to recognise the kind of program: the header of ELF is 64 bytes.
_HEAD: Final = 64
_CHUNK: Final = 1 << 18
# How tar stores an extended attribute; see GNU tar and the OCI image-spec, layer.md.
_ATTRIBUTE: Final = b"SCHILY.xattr."
_CAPABILITY: Final = _ATTRIBUTE + b"security.capability"
# Attributes that the engine keeps for itself in unpacked layers.
_RESERVED: Final = ("trusted.overlay.", "user.overlay.")
_KINDS: Final = {
    REGULAR: "file",
    DIRECTORY: "directory",
    SYMLINK: "link",
    LINK: "hard link",
    CHARACTER: "device",
    BLOCK_DEVICE: "device",
    FIFO: "fifo",
    GLOBAL: "global header",
}
# Whatever is said of the compression of any other layer, engines look at its first bytes.
_PLAIN: Final = re.compile(r"application/vnd\.oci\.image\.layer\.(?:nondistributable\.)?v1\.tar")
_KNOWN: Final = re.compile(
    rf"{_PLAIN.pattern}(?:\+(?:gzip|zstd))?"
    r"|application/vnd\.docker\.image\.rootfs\.(?:diff|foreign\.diff)\.tar(?:\.(?:gzip|zstd))?"
)
_GZIP: Final = b"\x1f\x8b\x08"
_ZSTD: Final = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
# Times that can be written; the rest of Unix time has none.
_EARLIEST, _LATEST = -62_135_596_800, 253_402_300_799


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A layer as it is stored.

    Args:
        digest, size: of the stored bytes, compressed.
        diff_id: its digest when it is unpacked, by the image's configuration.
    """

    digest: str
    size: int
    media_type: str
    diff_id: str = ""
    created_by: str = ""
    created: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """An entry of a layer.

    Args:
        path: normalised, without a slash at either end; empty: the root.
        kind: `file`, `directory`, `link`, `hard link`, `device`, `fifo` or `global header`.
        size: bytes.
        mode: permission bits, setuid, setgid and sticky included.
        user, group: by number.
        modified: seconds since the epoch.
        target: of a link; of a device its type and numbers.
        attributes: names of its extended attributes, such as `security.capability`.
        capability: the value of that one, in hexadecimal.
        head: the first bytes of a file.
        sha256: of the content; empty where it was not asked for.
        holds: what was found in it, where something was searched for.
    """

    path: str
    kind: str
    size: int
    mode: int
    user: int
    group: int
    modified: int
    target: str = ""
    attributes: tuple[str, ...] = ()
    capability: str = ""
    sha256: str = ""
    head: bytes = b""
    holds: tuple[str, ...] = ()


class Search(Protocol):
    """Looks for something in files: in a small one whole, in a large one piece by piece.

    Args:
        largest: bytes of a file that is looked at whole.
        longest: bytes of what is looked for in pieces, which may lie across two of them.
    """

    largest: int
    longest: int

    def whole(self, path: str, content: bytes, /) -> tuple[str, ...]:
        """Return what a file holds."""

    def piece(self, content: bytes, /) -> tuple[str, ...]:
        """Return what a part of a large file holds."""


class LayerError(ValueError):
    """The layer can't be read, or is not the one that it should be."""


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class Hashing:
    """Passes on what it reads, and knows its digest and length."""

    def __init__(self, stream: _Readable, algorithm: str) -> None:
        self._stream, self._algorithm = stream, algorithm
        self._digest, self.size = hashlib.new(algorithm), 0

    def read(self, size: int = -1, /) -> bytes:
        """Return at most as many bytes."""
        data = self._stream.read(size)
        self._digest.update(data)
        self.size += len(data)
        return data

    def drain(self) -> None:
        """Read the rest."""
        while self.read(_CHUNK):
            pass

    @property
    def digest(self) -> str:
        """Return the digest of what was read so far, with its algorithm."""
        return f"{self._algorithm}:{self._digest.hexdigest()}"


class _Unpacked:
    """A layer's tar: bytes are read in large pieces, and handed out in small ones."""

    def __init__(self, stream: Hashing) -> None:
        self._stream = stream
        self._data, self._at = b"", 0

    def _more(self) -> bool:
        self._data, self._at = self._stream.read(_CHUNK), 0
        if self._stream.size > LARGEST_LAYER:
            raise LayerError(f"it unpacks to more than {LARGEST_LAYER} bytes")
        return bool(self._data)

    def read(self, size: int, /) -> bytes:
        data = self._data[self._at : self._at + size]
        self._at += len(data)
        while len(data) < size and self._more():
            piece = self._data[: size - len(data)]
            self._at = len(piece)
            data += piece
        return data

    def skip(self, size: int, /) -> int:
        left = size
        while left:
            step = min(left, len(self._data) - self._at)
            self._at += step
            left -= step
            if left and not self._more():
                break
        return size - left


def read_layer(
    stream: IO[bytes], layer: Layer, *, contents: bool = False, search: Search | None = None
) -> Iterator[File]:
    """Yield the entries of a layer in their order; at the end the digests are compared.

    Args:
        stream: the stored bytes, from their beginning.
        contents: read the files as well, for their `sha256`.
        search: looks into the files, instead.

    Raises:
        LayerError: it can't be read, or has other digests than it should.
    """
    if not _KNOWN.fullmatch(layer.media_type):
        raise LayerError(f"its media type is unknown: {layer.media_type or 'none'}")
    begin = stream.read(_HEAD)
    stream.seek(-len(begin), os.SEEK_CUR)
    packed = not _PLAIN.fullmatch(layer.media_type)
    stored = Hashing(stream, layer.digest.partition(":")[0])
    unpacked: _Readable = stored
    if packed and begin.startswith(_GZIP):
        unpacked = gzip.GzipFile(fileobj=stored, mode="rb")  # type: ignore[call-overload]
    elif packed and _ZSTD.match(begin):
        unpacked = zstd.ZstdFile(stored, mode="rb")  # type: ignore[call-overload]
    plain = Hashing(unpacked, layer.diff_id.partition(":")[0] or "sha256")
    try:
        yield from _entries(TarStream(_Unpacked(plain)), contents=contents, search=search)
        plain.drain()
        stored.drain()
    except (TarError, EOFError, zlib.error, zstd.ZstdError, OSError) as error:
        raise LayerError(str(error)) from error
    if (stored.digest, stored.size) != (layer.digest, layer.size):
        raise LayerError(
            f"it has {stored.size} bytes and the digest {stored.digest}, and should have"
            f" {layer.size} bytes"
        )
    if plain.digest != layer.diff_id:
        raise LayerError(
            f"unpacked it has the digest {plain.digest}, and by the image's configuration it"
            f" should have {layer.diff_id or 'none'}"
        )


def _entries(tar: TarStream, *, contents: bool, search: Search | None) -> Iterator[File]:
    names = 0
    for number, entry in enumerate(tar, 1):
        file = _file(tar, entry, contents=contents)
        if search and file.kind == "file" and file.size:
            file = replace(file, holds=_held(tar, file, search))
        names += len(file.path) + len(file.target) + sum(map(len, file.attributes))
        if number > MOST_ENTRIES or names > MOST_NAMES:
            raise LayerError("it has too many entries, or their names are too long")
        yield file


def normal_path(name: bytes) -> str:
    """Return a name as a path below the root; bytes that are not UTF-8 become surrogates."""
    path = posixpath.normpath(b"/" + name).strip(b"/")
    if len(path) > LONGEST_PATH:
        raise LayerError(f"a path is longer than {LONGEST_PATH} bytes")
    return path.decode("utf-8", "surrogateescape")


def _file(tar: TarStream, entry: Entry, *, contents: bool) -> File:
    kind = _KINDS.get(entry.type, "")
    if not kind:
        raise LayerError(f"it has an entry of the type {entry.type!r}, which engines refuse")
    if len(entry.target) > LONGEST_PATH:
        raise LayerError(f"the target of a link is longer than {LONGEST_PATH} bytes")
    target = entry.target.decode("utf-8", "surrogateescape")
    if kind == "device":
        letter = "c" if entry.type == CHARACTER else "b"
        # As many bits as the kernel takes.
        target = f"{letter} {entry.major & 0xFFF}:{entry.minor & 0xFFFFF}"
    sha256, head = "", b""
    if kind == "file":
        # A sparse file comes in pieces.
        while len(head) < _HEAD and (piece := tar.read(_HEAD - len(head))):
            head += piece
        sha256 = _sha256(tar, head) if contents else ""
    return File(
        path=normal_path(entry.name),
        kind=kind,
        size=entry.size if kind == "file" else 0,
        mode=entry.mode & 0o7777,
        user=entry.user,
        group=entry.group,
        modified=min(max(entry.modified, _EARLIEST), _LATEST),
        target=target if kind in {"link", "hard link", "device"} else "",
        attributes=_attributes(entry),
        capability=entry.records.get(_CAPABILITY, b"")[:_HEAD].hex(),
        sha256=sha256,
        head=head,
    )


def _held(tar: TarStream, file: File, search: Search) -> tuple[str, ...]:
    if file.size <= search.largest:
        parts = [file.head]
        while data := tar.read(_CHUNK):
            parts.append(data)
        return search.whole(file.path, b"".join(parts))
    found: dict[str, None] = {}
    before = file.head
    while data := tar.read(_CHUNK):
        before = before[-search.longest :] + data
        found |= dict.fromkeys(search.piece(before))
    return tuple(found)


def _sha256(tar: TarStream, head: bytes) -> str:
    digest = hashlib.sha256(head)
    while data := tar.read(_CHUNK):
        digest.update(data)
    return digest.hexdigest()


def _attributes(entry: Entry) -> tuple[str, ...]:
    found = sorted(
        name.removeprefix(_ATTRIBUTE).decode("utf-8", "surrogateescape")
        for name in entry.records
        if name.startswith(_ATTRIBUTE)
    )
    for name in found:
        if name.startswith(_RESERVED):
            raise LayerError(f"an entry has the attribute {name}, which is the engine's own")
    return tuple(found)
