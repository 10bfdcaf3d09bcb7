"""Where a key stands in a TOML file, for messages: the standard library's parser does not say."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence


def line_of(text: str, path: Sequence[str]) -> int:
    """Return the number of the line that a key begins on; 0 where it can't be told.

    The key is there once so many lines are TOML that has it. Of tables in a list the first counts.

    Args:
        text: of the file, valid TOML.
        path: the tables that the key is in, and the key.
    """
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if path[-1] in line and _has(_prefix(lines, number), path):
            return number + 1
    return 0


def _prefix(lines: Sequence[str], number: int) -> object:
    """Return what the lines up to one say; where a value goes on after it, up to its end."""
    for end in range(number + 1, len(lines) + 1):
        try:
            return tomllib.loads("\n".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue
    return {}


def _has(found: object, path: Sequence[str]) -> bool:
    if not path:
        return True
    if isinstance(found, list):
        return any(_has(one, path) for one in found)
    return isinstance(found, dict) and path[0] in found and _has(found[path[0]], path[1:])
