"""Reads the JSON documents of an image so that every program sees the same in them.

Engines read them with Go's encoding/json, which ignores the case of keys and takes the last of
two: in `{"User": "1001", "user": "0"}` they find root, where others find 1001. Such a document
is refused, and so is one whose values are of other types than the OCI image-spec says.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_LARGEST_SIZE: Final = (1 << 63) - 1


class DocumentError(ValueError):
    """The document is not what it should be."""


class _Texts:
    """A JSON object whose keys are free and whose values are strings."""


_TEXTS: Final = _Texts()
# A type, a list of one shape, or an object with known keys; others may stand beside them.
Shape = type | _Texts | list["Shape"] | dict[str, "Shape"]

_PLATFORM: Final[Shape] = {"os": str, "architecture": str, "variant": str}
_DESCRIPTOR: Final[Shape] = {
    "mediaType": str,
    "digest": str,
    "size": int,
    "annotations": _TEXTS,
    "platform": _PLATFORM,
}
# An index has manifests, and a manifest has a configuration and layers.
MANIFEST: Final[Shape] = {
    "mediaType": str,
    "manifests": [_DESCRIPTOR],
    "config": _DESCRIPTOR,
    "layers": [_DESCRIPTOR],
    "annotations": _TEXTS,
}
CONFIG: Final[Shape] = {
    "os": str,
    "architecture": str,
    "variant": str,
    "created": str,
    "config": {
        "User": str,
        "Env": [str],
        "Entrypoint": [str],
        "Cmd": [str],
        "Labels": _TEXTS,
        "Healthcheck": {"Test": [str]},
    },
    "rootfs": {"type": str, "diff_ids": [str]},
    "history": [{"created": str, "created_by": str, "comment": str, "empty_layer": bool}],
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Descriptor:
    """What points to a blob; source: OCI image-spec, descriptor.md.

    Args:
        digest: of a known algorithm, well formed.
        size: bytes.
        media_type: empty if it has none.
        platform: as it is written.
    """

    digest: str
    size: int
    media_type: str
    platform: Mapping[str, Any]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DocumentError(f"the key {twice!r} is there twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise DocumentError(f"{text} is not a number in JSON")


def parse_document(data: bytes, shape: Shape) -> dict[str, Any]:
    """Return a JSON object.

    Args:
        data: UTF-8.
        shape: what is known of its keys; any value may be null.

    Raises:
        DocumentError: it is not JSON, is ambiguous, or has a value of another type.
    """
    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
        # Half a character of UTF-16, which can't be printed.
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except DocumentError:
        raise
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"it is not JSON: {str(error)[:200]}") from error
    if not isinstance(found, dict):
        raise DocumentError("it is not JSON of an object")
    _check(found, shape, "it")
    return found


def _check(value: object, shape: Shape, where: str) -> None:
    if value is None:
        return
    if isinstance(shape, list):
        _expect(value, list, where)
        for one in value:  # type: ignore[attr-defined]
            _expect(one, shape[0] if isinstance(shape[0], type) else dict, f"each of {where}")
            _check(one, shape[0], where)
    elif isinstance(shape, dict):
        _expect(value, dict, where)
        known = {name.casefold(): name for name in shape}
        for key, one in value.items():  # type: ignore[attr-defined]
            name = known.get(key.casefold(), key)
            if name != key:
                raise DocumentError(f"the key {key!r} is read as {name} by engines")
            if name in shape:
                _check(one, shape[name], name)
    elif isinstance(shape, _Texts):
        _expect(value, dict, where)
        for one in value.values():  # type: ignore[attr-defined]
            _expect(one, str, f"each of {where}")
    else:
        _expect(value, shape, where)


def _expect(value: object, kind: type, where: str) -> None:
    # A flag is a number to Python.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        names = {str: "a string", int: "a whole number", bool: "true or false", dict: "an object"}
        raise DocumentError(f"{where} should be {names.get(kind, 'a list')}")


def digest_of(data: bytes) -> str:
    """Return the digest of a blob."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def is_digest(text: str) -> bool:
    """Return whether it is a digest of an algorithm that every program knows."""
    return bool(_DIGEST.fullmatch(text))


def descriptor(found: Mapping[str, Any] | None, where: str) -> Descriptor:
    """Return a descriptor of a document that was parsed.

    Args:
        found: the object; None: it is missing.
        where: what it describes, for messages.

    Raises:
        DocumentError: its digest or its size is missing or invalid.
    """
    digest, size = (found or {}).get("digest"), (found or {}).get("size")
    if not found or not digest or not is_digest(digest):
        raise DocumentError(f"{where} has no valid digest")
    if size is None or not 0 <= size <= _LARGEST_SIZE:
        raise DocumentError(f"{where} has no valid size")
    return Descriptor(
        digest=digest,
        size=size,
        media_type=found.get("mediaType") or "",
        platform=found.get("platform") or {},
    )
