"""Writes a table as TOML that a configuration file can hold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time
from typing import Final, cast

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def toml_key(*parts: str) -> str:
    """Return a key, or the name of a table, of these parts."""
    return ".".join(part if _BARE.fullmatch(part) else _quoted(part) for part in parts)


def toml_value(value: object) -> str:
    """Return a value on one line."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return _quoted(value)
        case date() | time():
            return value.isoformat()
        case Mapping():
            return f"{{ {', '.join(_pairs(value))} }}" if value else "{}"
        case Sequence():
            return f"[{', '.join(map(toml_value, value))}]"
    return str(value)


def _quoted(text: str) -> str:
    # JSON's escapes are TOML's, but for one character that JSON leaves as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_tables(
    path: tuple[str, ...], table: Mapping[str, object], about: Sequence[str] = ()
) -> Iterator[str]:
    """Yield the lines of a table, and of the tables in it.

    Args:
        about: comments below its own keys.
    """
    inner = {key: value for key, value in table.items() if _is_table(value)}
    own = _pairs({key: value for key, value in table.items() if key not in inner})
    if own or about or not inner:
        yield from ("", f"[{toml_key(*path)}]", *own, *about)
    for key, value in inner.items():
        if isinstance(value, Mapping):
            yield from toml_tables((*path, key), value)
        else:
            for one in cast("Sequence[Mapping[str, object]]", value):
                yield from ("", f"[[{toml_key(*path, key)}]]", *_pairs(one))


def _pairs(table: Mapping[str, object]) -> list[str]:
    return [f"{toml_key(key)} = {toml_value(value)}" for key, value in table.items()]


def _is_table(value: object) -> bool:
    """Return whether a value has lines of its own: a table, or a list of nothing but tables."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return isinstance(value, Mapping)
    return bool(value) and all(isinstance(one, Mapping) for one in value)
