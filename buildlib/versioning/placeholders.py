"""Texts of the configuration in which facts of a version stand: `{version}`, `{branch}`, …."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

NAMES: Final = ("version", "revision", "created", "branch")
_FACT: Final = re.compile(rf"\{{(\{{?)({'|'.join(NAMES)})\}}(\}}?)")


def fill(
    text: str, facts: Mapping[str, str], quote: Callable[[str], str] = lambda plain: plain
) -> str:
    """Return a text with its facts; `{{version}}` stands for `{version}`.

    Any other brace stands for itself.

    Args:
        facts: by name.
        quote: for what stands between them, where another tool reads the outcome.
    """
    parts: list[str] = []
    at = 0
    for found in _FACT.finditer(text):
        before, name, after = found.groups()
        parts.append(quote(text[at : found.start()]))
        if before and after:
            parts.append(quote(f"{{{name}}}"))
        else:
            parts += [quote(before), facts[name], quote(after)]
        at = found.end()
    return "".join([*parts, quote(text[at:])])
