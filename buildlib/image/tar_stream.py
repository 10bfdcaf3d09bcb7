"""Reads tar streams as the engines do, with their idea of what is valid.

Engines unpack layers with Go's archive/tar. The standard library's tarfile ends an archive without
a word at a header that Go accepts, and believes names and sizes of any length. So this reader has
Go's rules for the V7, ustar, pax, GNU and star formats, and raises an error where Go does.
It is stricter in one respect: an archive has to end with its marker and nothing but zeros.

Sources: the GNU tar manual, "Tar Internals", and Go's archive/tar, reader.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from buildlib.image.limits import LARGEST_SPARSE, LARGEST_SPECIAL
from buildlib.image.tar_header import (
    BLOCK,
    DIRECTORY,
    GNU,
    HEADER_ONLY,
    OLD_SPARSE,
    REGULAR,
    SPARSE,
    Entry,
    Part,
    Records,
    TarError,
    decimal,
    merge_records,
    number,
    parse_header,
    parse_records,
    text_of,
)

_ZEROS: Final = bytes(BLOCK)
_STEP: Final = 1 << 18


class ByteSource(Protocol):
    """What an archive is read from."""

    def read(self, size: int, /) -> bytes:
        """Return as many bytes, or fewer at the end."""

    def skip(self, size: int, /) -> int:
        """Pass over bytes; return how many there were."""


class TarStream:
    """The entries of an archive; what is not read of one's content is passed over."""

    def __init__(self, source: ByteSource) -> None:
        """Begin at the archive's first header."""
        self._source = source
        # Of the content: what is left in the stream, and how it is padded.
        self._left = self._padding = 0
        # Of a sparse one: what comes next, and the position.
        self._parts: list[Part] | None = None
        self._position = self._end = 0
        # In the stream.
        self.offset = 0

    def __iter__(self) -> Iterator[Entry]:
        """Yield each entry.

        Raises:
            TarError: the stream is not a valid archive.
        """
        while entry := self._next():
            yield entry

    def _exactly(self, size: int) -> bytes:
        data = self._source.read(size)
        self.offset += len(data)
        if len(data) < size:
            raise TarError("it ends too early")
        return data

    def _skip(self, size: int) -> None:
        passed = self._source.skip(size) if size else 0
        self.offset += passed
        if passed < size:
            raise TarError("it ends too early")

    def _block(self) -> bytes:
        """Return the next header; nothing at the end."""
        data = self._source.read(BLOCK)
        self.offset += len(data)
        if not data and self.offset == 0:
            # Some layers are empty files.
            return b""
        if len(data) < BLOCK:
            raise TarError("it ends without an end-of-archive marker")
        if data != _ZEROS:
            return data
        while rest := self._source.read(_STEP):
            self.offset += len(rest)
            if rest.count(0) != len(rest):
                raise TarError("something follows the end-of-archive marker")
        return b""

    def _next(self) -> Entry | None:
        records: Records = {}
        name = target = b""
        while True:
            self._skip(self._left)
            self._skip(self._padding)
            block = self._block()
            if not block:
                return None
            entry = parse_header(block)
            self._begin(entry)
            match entry.type:
                case b"x":
                    records = parse_records(self._special())
                case b"g":
                    # It is for all that follow, which engines leave out; its name counts.
                    merge_records(entry, parse_records(self._special()))
                    return entry
                case b"L":
                    name = text_of(self._special())
                case b"K":
                    target = text_of(self._special())
                case _:
                    merge_records(entry, records)
                    self._finish(entry, name, target, block)
                    return entry

    def _begin(self, entry: Entry) -> None:
        size = 0 if entry.type in HEADER_ONLY else entry.size
        if size < 0:
            raise TarError("the size of an entry is negative")
        self._left, self._padding = size, -size % BLOCK
        self._parts, self._position, self._end = None, 0, size

    def _special(self) -> bytes:
        if self._left > LARGEST_SPECIAL:
            raise TarError("a name or a pax record is too long")
        size, self._left, self._end = self._left, 0, 0
        return self._exactly(size)

    def _finish(self, entry: Entry, name: bytes, target: bytes, block: bytes) -> None:
        entry.name, entry.target = name or entry.name, target or entry.target
        if entry.type == b"\0":
            entry.type = DIRECTORY if entry.name.endswith(b"/") else REGULAR
        self._begin(entry)
        parts = self._old_map(entry, block) if entry.type == OLD_SPARSE else self._pax_map(entry)
        if parts is not None:
            self._set_parts(entry, parts)

    def _set_parts(self, entry: Entry, parts: list[Part]) -> None:
        end = 0
        for offset, length in parts:
            if offset < end or length < 0:
                raise TarError("a sparse map is invalid")
            end = offset + length
        if entry.type in HEADER_ONLY or not end <= entry.size <= LARGEST_SPARSE:
            raise TarError("a sparse map is invalid")
        if sum(length for _, length in parts) != self._left:
            raise TarError("a sparse file has another length than its map")
        entry.parts = parts
        # The next one is taken from the end.
        self._parts, self._end = parts[::-1], entry.size

    def _old_map(self, entry: Entry, block: bytes) -> list[Part]:
        """Return the map of GNU's old format, and set the size of the content."""
        if block[257:265] != GNU:
            raise TarError("a sparse file is in no known format")
        entry.size = number(block[483:495])
        table, parts, total = block[386:483], list[Part](), 0
        while True:
            total += len(table)
            if total > LARGEST_SPECIAL:
                raise TarError("a sparse map is too long")
            for start in range(0, len(table) - 24, 24):
                if not table[start]:
                    break
                offset = number(table[start : start + 12])
                parts.append((offset, number(table[start + 12 : start + 24])))
            if not table[len(table) // 24 * 24]:
                return parts
            table = self._exactly(BLOCK)

    def _pax_map(self, entry: Entry) -> list[Part] | None:
        """Return the map of a sparse file by its pax records; None: it is not sparse."""
        said = {
            key.removeprefix(SPARSE): value
            for key, value in entry.records.items()
            if key.startswith(SPARSE)
        }
        version = said.get(b"major", b""), said.get(b"minor", b"")
        first = version in {(b"0", b"0"), (b"0", b"1")}
        if not said or not (first or version == (b"1", b"0")):
            if version != (b"", b"") or not said.get(b"map"):
                return None
            first = True
        entry.name = said.get(b"name") or entry.name
        if size := said.get(b"size") or said.get(b"realsize"):
            entry.size = decimal(size)
        if not first:
            return self._stored_map()
        numbers = said[b"map"].split(b",") if said.get(b"map") else []
        return _pairs(decimal(said.get(b"numblocks", b"")), numbers)

    def _stored_map(self) -> list[Part]:
        """Return the map that stands before the content, in blocks of its own."""
        data, needed = b"", 1
        while data.count(b"\n") < needed:
            if len(data) >= LARGEST_SPECIAL or self._left < BLOCK:
                raise TarError("a sparse map is invalid")
            data += self._exactly(BLOCK)
            self._left -= BLOCK
            if needed == 1 and b"\n" in data:
                count = decimal(data.partition(b"\n")[0])
                if not 0 <= count <= LARGEST_SPECIAL:
                    raise TarError("a sparse map is invalid")
                needed = 1 + 2 * count
        return _pairs(needed // 2, data.split(b"\n")[1:needed])

    def read(self, size: int) -> bytes:
        """Return the next bytes of the entry's content, holes as zeros; nothing at its end.

        Raises:
            TarError: the stream ends before.
        """
        size = min(size, self._end - self._position)
        if self._parts is not None:
            return self._read_sparse(size)
        self._position += size
        self._left -= size
        return self._exactly(size) if size else b""

    def _read_sparse(self, size: int) -> bytes:
        """Return a piece of the next part, or of the hole before it."""
        parts = self._parts or []
        while parts and parts[-1][1] == 0:
            parts.pop()
        start, length = parts[-1] if parts else (self._end, 0)
        if self._position < start:
            size = min(size, start - self._position)
            self._position += size
            return bytes(size)
        size = min(size, length)
        if not size:
            return b""
        parts[-1] = (start + size, length - size)
        self._position += size
        self._left -= size
        return self._exactly(size)


def _pairs(count: int, numbers: list[bytes]) -> list[Part]:
    values = [decimal(number) for number in numbers]
    if count < 0 or len(values) != 2 * count:
        raise TarError("a sparse map is invalid")
    return list(zip(values[::2], values[1::2], strict=True))
