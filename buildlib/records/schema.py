"""What a record may hold, for programs that read it: JSON Schema, made from its classes."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

from buildlib.config.schema import DRAFT
from buildlib.records.record import SCHEMA, File, Record, Step, StepName

_PLAIN: Final[Mapping[Any, Mapping[str, Any]]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
    Any: {},
}


def record_schema() -> dict[str, Any]:
    """Return the schema of a record."""
    found = _schema_of(Record)
    found["properties"]["schema"] = {"const": SCHEMA}
    return {"$schema": DRAFT, "title": "Record of a build by buildlib", **found}


def _schema_of(kind: Any) -> dict[str, Any]:  # noqa: ANN401 - a type, or a form of typing
    """Return the schema of a type as a record's JSON has it."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    if origin is UnionType:
        return {"type": [_PLAIN[one]["type"] for one in inner]}
    if origin is tuple:
        return {"type": "array", "items": _schema_of(inner[0])}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _schema_of(inner[1])}
    return _of_class(kind)


def _of_class(kind: type) -> dict[str, Any]:
    properties = {name: _schema_of(one) for name, one in get_type_hints(kind).items()}
    if kind is File:
        # There may be thousands.
        items = [{"title": name, **one} for name, one in properties.items()]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "items": False}
    required = list(properties)
    if kind is Step:
        properties |= _schema_of(StepName)["properties"]
        del properties["total"]
    return {"type": "object", "properties": properties, "required": required}
