"""What need not be fixed: who ignores something says why, and until when, or for good.

The gates share it. What an ignore is about, each gate knows by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from buildlib.errors import InputError
from buildlib.values import MismatchError, parse_fields

Finding = TypeVar("Finding")
_Seen_contra = TypeVar("_Seen_contra", contravariant=True)


class Ignoring(Protocol[_Seen_contra]):
    """An entry of a list of ignores; it counts until the end of its last day, if it has one."""

    @property
    def reason(self) -> str:
        """Return why."""

    @property
    def until(self) -> date | None:
        """Return its last day, in UTC; None: it counts for good."""

    def covers(self, finding: _Seen_contra, /) -> bool:
        """Return whether it is about a finding."""


Entry = TypeVar("Entry", bound=Ignoring[Any])


def counts(entry: Ignoring[Any], today: date) -> bool:
    """Return whether an ignore has not ended."""
    return entry.until is None or entry.until >= today


def told_until(entry: Ignoring[Any]) -> str:
    """Return until when it counts and why, for people."""
    return f"until {entry.until}: {entry.reason}" if entry.until else entry.reason


class Sorted(NamedTuple, Generic[Finding, Entry]):
    """Findings, sorted by what is ignored.

    Args:
        kept: what counts; with the ignore that has ended, where there was one.
        ignored: what would count, and the ignore by which it does not.
        unused: ignores that were about nothing.
    """

    kept: tuple[tuple[Finding, Entry | None], ...]
    ignored: tuple[tuple[Finding, Entry], ...]
    unused: tuple[Entry, ...]


def sort_out(
    findings: Iterable[Finding], ignores: Sequence[Entry], today: date
) -> Sorted[Finding, Entry]:
    """Return each finding once, by whether it counts.

    Args:
        findings: all of them.
        ignores: as configured.
        today: in UTC.
    """
    kept: list[tuple[Finding, Entry | None]] = []
    ignored: list[tuple[Finding, Entry]] = []
    used: set[int] = set()
    for finding in dict.fromkeys(findings):
        covering = [entry for entry in ignores if entry.covers(finding)]
        used |= {id(entry) for entry in covering}
        valid = [entry for entry in covering if counts(entry, today)]
        if valid:
            ignored.append((finding, valid[0]))
        else:
            ended = max(covering, key=lambda entry: str(entry.until), default=None)
            kept.append((finding, ended))
    unused = tuple(entry for entry in ignores if id(entry) not in used)
    return Sorted(kept=tuple(kept), ignored=tuple(ignored), unused=unused)


def parse_date(value: object) -> date:
    """Return the day that a value of TOML means, or raise MismatchError."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError as error:
        raise MismatchError("a table whose until is a date, such as 2027-01-31") from error


def parse_ignores(
    value: object,
    keys: Mapping[str, Callable[[object], Any]],
    make: Callable[..., Entry],
    *,
    where: str,
    example: str,
    for_good: bool = False,
) -> tuple[Entry, ...]:
    """Return what a list of tables ignores.

    Args:
        value: the list.
        keys: how each key of an entry is read; the first says what is ignored.
        make: makes an entry of them.
        where: the name of the list, such as `policy.ignore`.
        example: what is ignored, as TOML has it.
        for_good: no last day is needed.

    Raises:
        MismatchError: it is no list, or a value is of another kind.
        InputError: a key is not known, or an entry says too little (exit 2).
    """
    if not isinstance(value, list):
        raise MismatchError(f"a list of tables [[{where}]]")
    what = next(iter(keys))
    found = []
    for item in value:
        fields = parse_fields(item, keys, f"{where}.")
        needed = (what, "reason", *(() if for_good else ("until",)))
        missing = [key for key in needed if not fields.get(key)]
        if missing:
            raise InputError(
                f"{where} lacks {' and '.join(missing)}",
                why="whoever ignores something says why" + ("" if for_good else ", and until when"),
                hint=f'{example}, reason = "…"' + ("" if for_good else ", until = 2027-01-31"),
            )
        found.append(make(**fields))
    return tuple(found)
