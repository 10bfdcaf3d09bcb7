"""What the configuration may hold, for editors and for readers: JSON Schema, and tables of keys."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from buildlib.config.config import Config
from buildlib.config.key_types import schema_of

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_WORDS: Final = {
    "string": "text",
    "integer": "number",
    "number": "number",
    "boolean": "true, false",
    "object": "table",
}


def json_schema() -> dict[str, Any]:
    """Return the schema of `buildlib.toml`, and of `[tool.buildlib]` in `pyproject.toml`."""
    return {"$schema": DRAFT, "title": "Configuration of buildlib", **schema_of(Config)}


def tables() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each table of the configuration: its name, such as `smoke.data`, and its schema.

    The first is the file itself, whose name is empty. NAME stands for a name that the user chooses,
    and a list of tables ends with `[]`.
    """
    yield from _tables("", schema_of(Config))


def _tables(name: str, schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if "properties" in schema:
        yield name, schema
    for key, inner in schema.get("properties", {}).items():
        yield from _tables(f"{name}.{key}" if name else key, inner)
    for one in schema.get("anyOf", ()):
        yield from _tables(name, one)
    if isinstance(other := schema.get("additionalProperties"), Mapping):
        yield from _tables(f"{name}.NAME", other)
    if "items" in schema:
        yield from _tables(f"{name}[]", schema["items"])


def type_of(schema: Mapping[str, Any]) -> str:
    """Return in words what a key takes."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(type_of, schema["anyOf"])))
    if values := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return ", ".join(f"`{json.dumps(value)}`" for value in values)
    if "items" in schema:
        return f"list of {type_of(schema['items'])}"
    kinds = schema["type"]
    return " or ".join(_WORDS[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds))
