"""Writes `buildlib.toml`: each key with what it is for, in the words of the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from buildlib.config.schema import json_schema
from buildlib.config.toml_text import toml_key, toml_value

Path = tuple[str, ...]


def toml_text(settings: Mapping[str, object], head: Sequence[str], tail: Sequence[str]) -> str:
    """Return the text of a configuration.

    Args:
        settings: tables as dictionaries.
        head: comments at the beginning, each a line.
        tail: lines at the end.
    """
    lines = [*(f"#{line}" for line in head), *_table((), settings)]
    return "\n".join([*lines, *([""] if tail else []), *tail]).lstrip("\n") + "\n"


def _table(path: Path, table: Mapping[str, object]) -> Iterator[str]:
    values = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    if path and (values or not table):
        yield ""
        yield from _comment(description(path))
        yield f"[{toml_key(*path)}]"
    for key, value in values.items():
        yield from _comment(description((*path, key)))
        yield f"{toml_key(key)} = {toml_value(value)}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _table((*path, key), value)


def _comment(text: str) -> Iterator[str]:
    if text:
        yield f"# {text[0].upper()}{text[1:]}."


def description(path: Path) -> str:
    """Return what a key is for, as the reference has it; empty: it is a name of the user's."""
    schema: Mapping[str, Any] = json_schema()
    for name in path:
        choices = [schema, *schema.get("anyOf", ())]
        known = (one.get("properties", {}).get(name) for one in choices)
        others = (one.get("additionalProperties") for one in choices)
        found = next((one for one in (*known, *others) if isinstance(one, Mapping)), None)
        if found is None:
            return ""
        schema = found
    return str(schema.get("description", ""))
