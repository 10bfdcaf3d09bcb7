"""Writes tar entries as they are wanted, right or wrong: no library is asked what it thinks."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

USTAR = b"ustar\x0000"
GNU = b"ustar  \0"
V7 = bytes(8)
END = bytes(1024)
CAPABILITY = (b"SCHILY.xattr.security.capability", bytes.fromhex(f"0100000200200000{'00' * 12}"))


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def checked(header: bytes) -> bytes:
    """Return a header with the right checksum."""
    total = sum(header[:148]) + sum(header[156:]) + 8 * 32
    return header[:148] + b"%06o\0 " % total + header[156:]


@dataclass(frozen=True)
class TarEntry:
    """A header and its content.

    Args:
        records: pax records, which stand before it.
        fields: bytes to be put somewhere into the header.
        size: where it is not that of the data.
    """

    name: bytes | str
    kind: bytes = b"0"
    data: bytes = b""
    mode: int = 0o644
    user: int = 0
    group: int = 0
    link: bytes | str = b""
    device: tuple[int, int] = (0, 0)
    magic: bytes = USTAR
    records: Sequence[tuple[bytes, bytes]] = ()
    fields: Mapping[int, bytes] = field(default_factory=dict)
    size: int | None = None

    def __bytes__(self) -> bytes:
        """Return it as it stands in an archive."""
        name, link = (x.encode() if isinstance(x, str) else x for x in (self.name, self.link))
        records = [*self.records]
        records += [(b"path", name)] if len(name) > 100 else []
        records += [(b"linkpath", link)] if len(link) > 100 else []
        before = bytes(TarEntry("pax", b"x", pax(records))) if records else b""
        parts = {
            0: name[:100],
            100: b"%07o\0" % self.mode,
            108: number(self.user, 8),
            116: number(self.group, 8),
            124: number(len(self.data) if self.size is None else self.size, 12),
            136: number(1234, 12),
            156: self.kind,
            157: link[:100],
            257: self.magic,
        }
        if self.magic != V7:
            parts |= {329: number(self.device[0], 8), 337: number(self.device[1], 8)}
        header = bytearray(512)
        for start, text in {**parts, **self.fields}.items():
            header[start : start + len(text)] = text
        return before + checked(bytes(header)) + padded(self.data)


def number(value: int, length: int) -> bytes:
    """Return a number of a header: in octal, or in base 256 where that has no room."""
    if 0 <= value < 8 ** (length - 1):
        return b"%0*o\0" % (length - 1, value)
    encoded = value.to_bytes(length, "big", signed=True)
    return bytes((encoded[0] | 0x80, *encoded[1:]))


def pax(records: Sequence[tuple[bytes, bytes]]) -> bytes:
    found = b""
    for key, value in records:
        rest = b" " + key + b"=" + value + b"\n"
        length = len(rest) + 1
        while len(str(length)) + len(rest) != length:
            length = len(str(length)) + len(rest)
        found += str(length).encode() + rest
    return found


def tar(*entries: TarEntry | bytes) -> bytes:
    """Return a whole archive."""
    return b"".join(map(bytes, entries)) + END


_NAMES = ("a", "b", "c", "l", "m")
_MODES = (0o644, 0o755, 0o4755, 0o2755, 0o1777, 0o600, 0o6711, 0o666)
_OWNERS = (0, 1, 1000, 65534, 0xFFFFFFFF, 1 << 32, (1 << 32) + 5, -1)


class LayerMaker:
    """Makes entries of few names, so that they meet; all of them below one directory."""

    def __init__(self, seed: int, below: str = "") -> None:
        self.random = random.Random(seed)
        self._below = below

    def _path(self) -> str:
        parts = self.random.choice((1, 1, 2, 2, 3))
        return "/".join(self.random.choice(_NAMES) for _ in range(parts))

    def _name(self) -> str:
        path = f"{self._below}/{self._path()}".strip("/")
        first, _, rest = path.rpartition("/")
        forms = [f"./{path}", f"/{path}", f"x/../{path}", f"../{path}", f"{first}//./{rest}"]
        return self.random.choice(forms) if self.random.random() < 0.15 else path

    def _whiteout(self) -> str:
        parent, _, name = self._name().rpartition("/")
        hidden = ".wh..wh..opq" if self.random.random() < 0.4 else f".wh.{name}"
        return f"{parent}/{hidden}" if parent else hidden

    def _target(self) -> str:
        path = self._path()
        return self.random.choice((path, f"../{path}", "..", ".", "x/y", f"/{self._below}/{path}"))

    def entry(self) -> TarEntry:
        choose = self.random.choice
        plain = TarEntry(
            self._name(), mode=choose(_MODES), user=choose(_OWNERS), group=choose(_OWNERS)
        )
        changes: dict[str, object] = {"data": b"x" * choose((0, 3, 700))}
        match choose("ffffddddsshhwwwcpbgx"):
            case "d":
                changes = {"kind": b"5", "name": f"{plain.name!s}/"}
            case "s":
                changes = {"kind": b"2", "link": self._target()}
            case "h":
                changes = {"kind": b"1", "link": self._name()}
            case "w":
                changes = {"name": self._whiteout()}
            case "c":
                changes = {"kind": b"3", "device": choose(((0, 0), (1, 3)))}
            case "b":
                changes = {"kind": b"4", "device": (7, 0)}
            case "p":
                changes = {"kind": b"6"}
            case "g":
                changes = {"kind": b"g", "data": pax([(b"comment", b"x")])}
            case "x":
                changes |= {"records": [CAPABILITY]}
        return replace(plain, **changes)  # type: ignore[arg-type]

    def entries(self, most: int = 6) -> list[TarEntry]:
        return [self.entry() for _ in range(self.random.randint(1, most))]
