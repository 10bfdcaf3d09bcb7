"""Tar streams in every format that engines read, and what they refuse."""

from __future__ import annotations

import io

import pytest
from tarwriter import END, GNU, USTAR, V7, TarEntry, checked, padded, pax, tar

from buildlib.image.limits import LARGEST_SPECIAL
from buildlib.image.tar_header import Entry, TarError
from buildlib.image.tar_stream import TarStream


class _Memory:
    """A source in memory, which hands out no more than is asked for."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        return self._data.read(size)

    def skip(self, size: int, /) -> int:
        return len(self._data.read(size))


def _read(data: bytes, step: int = 7) -> list[tuple[Entry, bytes]]:
    stream, found = TarStream(_Memory(data)), []
    for entry in stream:
        content = b""
        while piece := stream.read(step):
            content += piece
        found.append((entry, content))
    return found


def _one(*entries: TarEntry | bytes) -> tuple[Entry, bytes]:
    (found,) = _read(tar(*entries))
    return found


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({329: b"letters\0"}, id="letters where later formats have a device"),
        pytest.param({345: b"\xff" * 155}, id="bytes where they have a prefix"),
        pytest.param({500: b"garbage"}, id="bytes at the end"),
    ],
)
def test_a_v7_header_has_no_fields_of_later_formats(fields: dict[int, bytes]) -> None:
    first = TarEntry("a", data=b"1", magic=V7, fields=fields)
    found = _read(tar(first, TarEntry("usr/bin/evil", mode=0o4755)))
    assert [entry.name for entry, _ in found] == [b"a", b"usr/bin/evil"]


@pytest.mark.parametrize(
    ("field", "number"),
    [
        (b"0000644\0", 0o644),
        (b"   644 \0", 0o644),
        (b"644\0junk", 0o644),
        (bytes(8), 0),
        (b"        ", 0),
        (b"\x80\0\0\0\0\0\0\x07", 7),
        (b"\xff" * 8, -1),
        (b"\xff" * 7 + b"\xfe", -2),
        (b"\xc0" + bytes(7), -(1 << 62)),
        (b"\x80\x80" + bytes(6), 1 << 55),
    ],
)
def test_numbers(field: bytes, number: int) -> None:
    entry, _ = _one(TarEntry("a", fields={108: field}))
    assert entry.user == number


@pytest.mark.parametrize("field", [b"0000648\0", b"-0000644", b"0x00644\0", b"0_1\0\0\0\0\0"])
def test_what_is_no_number(field: bytes) -> None:
    with pytest.raises(TarError, match="a number in a header is invalid"):
        _one(TarEntry("a", fields={108: field}))


def test_a_number_out_of_range() -> None:
    with pytest.raises(TarError, match="out of range"):
        _one(TarEntry("a", fields={124: b"\x80" + b"\xff" * 11}))


def test_long_names_and_targets() -> None:
    name, target = b"n" * 300, b"t" * 300
    meta = [TarEntry("x", kind, text + b"\0") for kind, text in ((b"L", name), (b"K", target))]
    entry, _ = _one(*meta, TarEntry("short", b"2", link="short"))
    assert (entry.name, entry.target) == (name, target)


def test_the_prefix_of_each_format() -> None:
    prefix = {345: b"some/where"}
    assert _one(TarEntry("a", fields=prefix))[0].name == b"some/where/a"
    star = {345: b"p" * 131, 476: b"00000000001\x0000000000001\0", 508: b"tar\0"}
    assert _one(TarEntry("a", fields=star))[0].name == b"p" * 131 + b"/a"
    # GNU's has times there, which old programs mistook for a prefix.
    times = {345: b"00000000001\x0000000000001\0"}
    assert _one(TarEntry("a", magic=GNU, fields=times))[0].name == b"a"
    assert _one(TarEntry("a", magic=GNU, fields=prefix))[0].name == b"some/where/a"
    assert _one(TarEntry("a", magic=GNU, fields={345: b"\xc3\xa9"}))[0].name == b"a"


def test_pax_records_win_over_the_header() -> None:
    records = [
        (b"path", b"other"),
        (b"linkpath", b"there"),
        (b"size", b"3"),
        (b"uid", b"4294967297"),
        (b"gid", b"+7"),
        (b"mtime", b"-1.5"),
        (b"atime", b"1"),
        (b"comment", b"a=b\n"),
        (b"uname", b""),
    ]
    data = b"".join(map(bytes, [TarEntry("a", records=records, size=0)])) + padded(b"abc") + END
    ((entry, content),) = _read(data)
    assert (entry.name, entry.target, content) == (b"other", b"there", b"abc")
    assert (entry.user, entry.group, entry.modified) == (4294967297, 7, -2)
    assert entry.records[b"comment"] == b"a=b\n"


def test_an_empty_record_says_nothing_and_the_last_header_of_two_counts() -> None:
    records = [TarEntry("x", b"x", pax([(b"path", name)])) for name in (b"one", b"two")]
    assert _one(*records, TarEntry("a"))[0].name == b"two"
    assert _one(TarEntry("x", b"x", pax([(b"path", b"")])), TarEntry("a"))[0].name == b"a"


def test_a_global_header_is_an_entry_and_changes_no_other() -> None:
    records = pax([(b"path", b"global"), (b"uid", b"7")])
    found = _read(tar(TarEntry("g", b"g", records), TarEntry("a")))
    assert [(entry.name, entry.user) for entry, _ in found] == [(b"global", 7), (b"a", 0)]


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (TarEntry("a/", b"\0"), b"5"),
        (TarEntry("a", b"\0"), b"0"),
        (TarEntry("a/", b"0"), b"0"),
        (TarEntry("a", b"7"), b"7"),
    ],
)
def test_the_type_of_old_entries(entry: TarEntry, kind: bytes) -> None:
    assert _one(entry)[0].type == kind


def test_links_and_directories_have_no_content_whatever_their_size() -> None:
    found = _read(tar(*(TarEntry("a", kind, size=5000) for kind in (b"1", b"2", b"5", b"6"))))
    assert [content for _, content in found] == [b""] * 4


SPARSE = b"abcde"
PARTS = ((2, 3), (8, 2))
WHOLE = b"\0\0abc\0\0\0de\0\0"


def _records(*more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return [(b"GNU.sparse." + key, value) for key, value in more]


def _map(parts: tuple[tuple[int, int], ...] = PARTS) -> bytes:
    return b",".join(b"%d,%d" % part for part in parts)


FIRST = _records(
    (b"size", b"12"),
    (b"numblocks", b"2"),
    *(
        (key, b"%d" % value)
        for part in PARTS
        for key, value in zip((b"offset", b"numbytes"), part, strict=True)
    ),
)
SECOND = _records((b"size", b"12"), (b"numblocks", b"2"), (b"map", _map()), (b"name", b"s"))
THIRD = _records((b"major", b"1"), (b"minor", b"0"), (b"realsize", b"12"), (b"name", b"s"))
STORED_MAP = padded(b"2\n2\n3\n8\n2\n")


def _old(parts: tuple[tuple[int, int], ...], real: int, data: bytes) -> bytes:
    """Return an entry of GNU's first format; four parts have room in its header."""
    table = [b"%011o\0%011o\0" % part for part in parts]
    more = b"\1" if len(parts) > 4 else b"\0"
    fields = {
        386: b"".join(table[:4]),
        482: more,
        483: b"%011o\0" % real,
        124: b"%011o\0" % len(data),
    }
    header = bytes(TarEntry("s", b"S", magic=GNU, fields=fields))
    rest = b"".join(table[4:]).ljust(512, b"\0") if len(parts) > 4 else b""
    return header + rest + padded(data)


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(TarEntry("s", records=FIRST, data=SPARSE), id="0.0"),
        pytest.param(TarEntry("x", records=SECOND, data=SPARSE), id="0.1"),
        pytest.param(TarEntry("x", records=THIRD, data=STORED_MAP + SPARSE), id="1.0"),
        pytest.param(_old(PARTS, 12, SPARSE), id="old"),
    ],
)
@pytest.mark.parametrize("step", [1, 3, 100])
def test_sparse_files(entry: TarEntry | bytes, step: int) -> None:
    (entry_found, content), (after, _) = _read(tar(entry, TarEntry("after")), step)
    assert (entry_found.name, entry_found.size, content) == (b"s", 12, WHOLE)
    assert after.name == b"after"


def test_a_sparse_map_that_needs_headers_of_its_own() -> None:
    parts = tuple((2 * n, 1) for n in range(25))
    ((entry, content),) = _read(tar(_old(parts, 50, b"x" * 25)))
    assert (entry.size, content) == (50, b"x\0" * 25)


def test_what_is_said_of_sparse_files_in_an_unknown_version_is_left_out() -> None:
    records = _records((b"major", b"2"), (b"minor", b"0"), (b"name", b"other"))
    entry, content = _one(TarEntry("s", records=records, data=b"abc"))
    assert (entry.name, content, entry.parts) == (b"s", b"abc", None)
    assert _one(TarEntry("s", records=_records((b"name", b"x"))))[0].name == b"s"


def _third(stored: bytes, **changes: bytes) -> TarEntry:
    records = dict(THIRD) | {b"GNU.sparse." + k.encode(): v for k, v in changes.items()}
    return TarEntry("s", records=[*records.items()], data=stored)


def _second(**changes: bytes) -> TarEntry:
    records = dict(SECOND) | {b"GNU.sparse." + k.encode(): v for k, v in changes.items()}
    return TarEntry("s", records=[*records.items()], data=SPARSE)


BROKEN: dict[str, tuple[bytes, str]] = {
    "cut in a header": (bytes(TarEntry("a"))[:300], "without an end-of-archive marker"),
    "cut between two entries": (bytes(TarEntry("a", data=b"x")), "without an end-of-archive"),
    "cut in the content": (bytes(TarEntry("a", data=b"x" * 600))[:700], "ends too early"),
    "cut in the padding": (bytes(TarEntry("a", data=b"x"))[:600], "ends too early"),
    "cut in a name": (bytes(TarEntry("a", b"L", b"x" * 600))[:700], "ends too early"),
    "one block of zeros and something": (bytes(512) + bytes(TarEntry("a")), "follows the end"),
    "something after the end": (tar(TarEntry("a")) + bytes(512) + b"x", "follows the end"),
    "another archive after the end": (tar(TarEntry("a")) * 2, "follows the end"),
    "a wrong checksum": (tar(bytes(TarEntry("a"))[:511] + b"x"), "checksum"),
    "an invalid checksum": (tar(TarEntry("a"))[:148] + b"9" * 8 + bytes(356), "number"),
    "text": (b"no archive".ljust(2048, b"!"), "invalid"),
    "a negative size": (tar(TarEntry("a", size=-1)), "size of an entry is negative"),
    "a name that is too long": (
        tar(TarEntry("a", b"L", size=LARGEST_SPECIAL + 1)),
        "a name or a pax record is too long",
    ),
    "records without a length": (tar(TarEntry("x", b"x", b"path=a\n")), "pax record"),
    "records that end too early": (tar(TarEntry("x", b"x", b"99 path=a\n")), "pax record is"),
    "records that are too short": (tar(TarEntry("x", b"x", b"4 a\n")), "pax record is"),
    "records without a line end": (tar(TarEntry("x", b"x", b"9 path=a ")), "pax record is"),
    "records without a key": (tar(TarEntry("x", b"x", b"5 =a\n")), "pax record is invalid"),
    "records without a value": (tar(TarEntry("x", b"x", b"7 path\n")), "pax record is invalid"),
    "a NUL in a path": (tar(TarEntry("a", records=[(b"path", b"a\0b")])), "pax record is"),
    "a NUL in a key": (tar(TarEntry("a", records=[(b"a\0b", b"c")])), "pax record is"),
    "a size of letters": (tar(TarEntry("a", records=[(b"size", b"1x")])), "number in a pax"),
    "a size of many digits": (tar(TarEntry("a", records=[(b"size", b"9" * 5000)])), "number"),
    "a time of letters": (tar(TarEntry("a", records=[(b"mtime", b"1.x")])), "time in a pax"),
    "sparse offsets alone": (
        tar(TarEntry("a", records=_records((b"offset", b"1"), (b"offset", b"2")))),
        "a sparse map is invalid",
    ),
    "a sparse map of letters": (tar(_second(map=b"a,b,c,d")), "number in a pax"),
    "a sparse map with too few parts": (tar(_second(map=b"1,2")), "sparse map is invalid"),
    "a sparse map that goes back": (tar(_second(map=b"8,2,2,3")), "sparse map is invalid"),
    "a sparse map behind the end": (tar(_second(size=b"9")), "sparse map is invalid"),
    "a sparse file of an enormous size": (tar(_second(size=b"1" + b"0" * 18)), "sparse map is"),
    "a sparse file without all its content": (
        tar(_second(numblocks=b"1", map=b"2,3")),
        "another length than its map",
    ),
    "a sparse directory": (
        tar(TarEntry("s", b"5", records=[*SECOND])),
        "sparse",
    ),
    "a stored map that does not end": (tar(_third(b"5\n1\n".ljust(512, b"1"))), "sparse map is"),
    "a stored map of nothing": (tar(_third(b"")), "sparse map is invalid"),
    "a stored map of too many": (tar(_third(padded(b"9999999\n"))), "sparse map is invalid"),
    "an old sparse file in another format": (
        tar(TarEntry("s", b"S", magic=USTAR)),
        "no known format",
    ),
    "an old sparse map without an end": (
        bytes(TarEntry("s", b"S", magic=GNU, fields={482: b"\1"}))
        + (b"\0" * 504 + b"\1" + bytes(7)) * 2100,
        "sparse map is too long",
    ),
}


@pytest.mark.parametrize(("data", "reason"), BROKEN.values(), ids=BROKEN)
def test_what_engines_refuse_is_no_silent_end(data: bytes, reason: str) -> None:
    with pytest.raises(TarError, match=reason):
        _read(data)


def test_empty_archives() -> None:
    assert _read(b"") == _read(bytes(512)) == _read(bytes(10_240)) == []


def test_the_sum_of_signed_bytes_is_a_checksum_as_well() -> None:
    header = bytes(TarEntry(b"\xe9"))[:512]
    total = sum(header[:148]) + sum(header[156:]) + 8 * 32 - 256
    assert _one(header[:148] + b"%06o\0 " % total + header[156:])[0].name == b"\xe9"
    assert checked(header) == header
