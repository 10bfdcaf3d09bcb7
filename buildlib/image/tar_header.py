"""One header of a tar stream, and the pax records before it, by the rules of Go's archive/tar.

Sources: POSIX.1-2017 "pax Interchange Format", the GNU tar manual, "Tar Internals", and Go's
archive/tar, reader.go and strconv.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

BLOCK: Final = 512
# The magic and the version of the GNU format.
GNU: Final = b"ustar  \0"
_MOST: Final = (1 << 63) - 1

REGULAR, LINK, SYMLINK, CHARACTER, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"5", b"6"
BLOCK_DEVICE, GLOBAL, OLD_SPARSE = b"4", b"g", b"S"
# These have no content, whatever their size says.
HEADER_ONLY: Final = frozenset((LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO))
_DECIMAL: Final = re.compile(rb"[+-]?[0-9]+")
_OCTAL: Final = re.compile(rb"[0-7]+")
# Nearly every number looks like this.
_FIELD: Final = re.compile(rb"([0-7]{1,12})[ \0]*")
# Their values may hold no NUL.
_TEXTS: Final = frozenset((b"path", b"linkpath", b"uname", b"gname"))
# The pax records of a sparse file begin with this.
SPARSE: Final = b"GNU.sparse."
# A pax record is `length key=value` and the end of the line; the shortest that Go takes.
_SHORTEST: Final = 5
_NEWLINE: Final = ord("\n")
# More digits than any number needs.
# Some writers of archives sum up signed bytes.
_HIGHEST_SIGNED: Final = 0x7F
_DIGITS: Final = 4000

Records = Mapping[bytes, bytes]
# A part of a sparse file that is stored: where it begins, and its length.
Part = tuple[int, int]


class TarError(ValueError):
    """The stream is not a valid tar archive."""


@dataclass(slots=True)
class Entry:
    """A header, with everything that stands before it and belongs to it.

    Args:
        type: as tar writes it.
        name, target: bytes as stored; nothing is cleaned.
        size: of the content, holes included.
        records: its pax records.
        parts: of a sparse file; None: it is not sparse.
    """

    type: bytes
    name: bytes
    target: bytes
    size: int
    mode: int
    user: int
    group: int
    modified: int
    major: int = 0
    minor: int = 0
    records: Records = field(default_factory=dict)
    parts: list[Part] | None = None


def text_of(data: bytes) -> bytes:
    """Return what stands before the first NUL."""
    return data.partition(b"\0")[0]


def number(data: bytes) -> int:
    """Return a number of a header: octal, or base-256 where the first bit is set."""
    if usual := _FIELD.fullmatch(data):
        return int(usual[1], 8)
    if not data[0] & 0x80:
        digits = data.strip(b" \0")
        return _octal(digits) if digits else 0
    first = data[0] & 0x7F
    if data[0] & 0x40:
        value = int.from_bytes(bytes((first | 0x80, *data[1:])), "big", signed=True)
    else:
        value = int.from_bytes(bytes((first, *data[1:])), "big")
    if not -_MOST - 1 <= value <= _MOST:
        raise TarError("a number is out of range")
    return value


def _octal(digits: bytes) -> int:
    text = text_of(digits)
    value = int(text, 8) if _OCTAL.fullmatch(text) else -1
    if not 0 <= value < 1 << 64:
        raise TarError("a number in a header is invalid")
    # Go converts it to a signed one.
    return value - (1 << 64) if value > _MOST else value


def decimal(text: bytes) -> int:
    """Return a number of a pax record or of a sparse map."""
    value = int(text) if len(text) < _DIGITS and _DECIMAL.fullmatch(text) else _MOST + 1
    if not -_MOST - 1 <= value <= _MOST:
        raise TarError("a number in a pax record is invalid")
    return value


def _checked(block: bytes) -> None:
    stored = block[148:156].strip(b" \0")
    stated = _octal(stored) if stored else 0
    total = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    if stated != total:
        high = sum(byte > _HIGHEST_SIGNED for byte in block[:148] + block[156:])
        if stated != total - 256 * high:
            raise TarError("the checksum of a header is wrong")


def parse_header(block: bytes) -> Entry:
    """Return what one block says."""
    _checked(block)
    entry = Entry(
        type=block[156:157],
        name=text_of(block[:100]),
        target=text_of(block[157:257]),
        size=number(block[124:136]),
        mode=number(block[100:108]),
        user=number(block[108:116]),
        group=number(block[116:124]),
        modified=number(block[136:148]),
    )
    magic, prefix = block[257:265], b""
    ustar, gnu = magic.startswith(b"ustar\0"), magic == GNU
    if ustar or gnu:
        entry.major, entry.minor = number(block[329:337]), number(block[337:345])
    if ustar and block[508:] == b"tar\0":
        prefix = text_of(block[345:476])
        number(block[476:488]), number(block[488:500])
    elif ustar:
        prefix = text_of(block[345:500])
    elif gnu and not _has_times(block):
        # Go before 1.8 wrote a prefix where this format has two times.
        prefix = text_of(block[345:500])
        prefix = prefix if prefix.isascii() else b""
    if prefix:
        entry.name = prefix + b"/" + entry.name
    return entry


def _has_times(block: bytes) -> bool:
    try:
        for data in (block[345:357], block[357:369]):
            if data[0]:
                number(data)
    except TarError:
        return False
    return True


def parse_records(data: bytes) -> dict[bytes, bytes]:
    """Return pax records; the positions of the first sparse format become those of the second."""
    found: dict[bytes, bytes] = {}
    sparse: list[bytes] = []
    start = 0
    while start < len(data):
        blank = data.find(b" ", start)
        length = decimal(data[start:blank]) if blank > 0 else 0
        end = start + length
        if length < _SHORTEST or end > len(data) or blank + 1 >= end or data[end - 1] != _NEWLINE:
            raise TarError("a pax record is invalid")
        key, equals, value = data[blank + 1 : end - 1].partition(b"=")
        if not (key and equals) or b"\0" in (value if key in _TEXTS else key):
            raise TarError("a pax record is invalid")
        start = end
        if key in {SPARSE + b"offset", SPARSE + b"numbytes"}:
            if key.endswith(b"offset") != (len(sparse) % 2 == 0) or b"," in value:
                raise TarError("a sparse map is invalid")
            sparse.append(value)
        else:
            found[key] = value
    if sparse:
        found[SPARSE + b"map"] = b",".join(sparse)
    return found


def _seconds(value: bytes) -> int:
    whole, _, rest = value.partition(b".")
    if rest and not rest.isdigit():
        raise TarError("a time in a pax record is invalid")
    seconds = decimal(whole)
    return seconds - (value.startswith(b"-") and bool(rest.strip(b"0")))


def merge_records(entry: Entry, records: Records) -> None:
    """Let pax records win over what the header says; an empty one says nothing."""
    entry.records = records
    for key, value in records.items():
        if not value:
            continue
        match key:
            case b"path":
                entry.name = value
            case b"linkpath":
                entry.target = value
            case b"size":
                entry.size = decimal(value)
            case b"uid":
                entry.user = decimal(value)
            case b"gid":
                entry.group = decimal(value)
            case b"mtime":
                entry.modified = _seconds(value)
            case b"atime" | b"ctime":
                _seconds(value)
