"""How long the lines of base images are supported: a table that people keep, with its source."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final, Literal, TypeAlias

from buildlib.errors import InputError

# In place of a last day, where none is announced yet.
SUPPORTED: Final = "supported"
End: TypeAlias = date | Literal["supported"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Lifetimes:
    """The table.

    Args:
        checked: the day on which it was last compared with its sources.
        sources: where its days come from.
        lines: last days, or that a line is supported and has none yet, by the last part of a
            repository's name and the beginning of its tags.
    """

    checked: date
    sources: tuple[str, ...] = ()
    lines: Mapping[str, Mapping[str, End]] = field(default_factory=dict)

    def end(self, repository: str, tag: str) -> End | None:
        """Return the end of the line that a tag belongs to, or None where the line is not known."""
        lines = self.lines.get(repository.rpartition("/")[2], {})
        fitting = [line for line in lines if re.match(rf"v?{re.escape(line)}(?![0-9A-Za-z])", tag)]
        return lines[max(fitting, key=len)] if fitting else None

    def age(self, today: date) -> int:
        """Return the days since it was compared."""
        return (today - self.checked).days


def _is_table(value: object) -> bool:
    """Return whether it is names with days."""
    return isinstance(value, dict) and all(
        type(end) is date or end == SUPPORTED for end in value.values()
    )


def read_lifetimes(path: Path) -> Lifetimes:
    """Read the table: `checked`, `sources`, and `[lines.NAME]` with `"1.2" = 2027-05-01`.

    In place of a day there may be "supported".

    Raises:
        InputError: it can't be read, or is not such a table.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"the table {path} can't be read", why=str(error)) from error
    checked, lines = found.get("checked"), found.get("lines", {})
    whole = isinstance(lines, dict) and all(map(_is_table, lines.values()))
    if not whole or type(checked) is not date:
        raise InputError(
            f"{path} is not a table of last days",
            hint='checked = 2027-01-31, and [lines.alpine] with "3.22" = 2027-05-01',
        )
    return Lifetimes(
        checked=checked, sources=tuple(map(str, found.get("sources", ()))), lines=lines
    )
