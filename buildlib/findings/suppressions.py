"""What need not be fixed: who ignores something says why, and until when, or for good.

The gates share it. What an ignore is about, each gate knows by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from buildlib.config.parse import KeyType, MismatchError, keys_of, parse_keys, schema_of
from buildlib.errors import InputError

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


DATE: Final = KeyType(parse_date, {"type": "string", "format": "date"})


def ignores_type(entry: type[Any], *, where: str, example: str, for_good: bool = False) -> KeyType:
    """Return the type of a key that is a list of ignores; the arguments are `parse_ignores`'s."""

    def parse(value: object) -> tuple[Any, ...]:
        return parse_ignores(value, entry, where=where, example=example, for_good=for_good)

    return KeyType(parse, lambda: {"type": "array", "items": schema_of(entry)})


def parse_ignores(
    value: object,
    entry: type[Entry],
    *,
    where: str,
    example: str,
    for_good: bool = False,
) -> tuple[Entry, ...]:
    """Return what a list of tables ignores.

    Args:
        value: the list.
        entry: the dataclass of one; its first key says what is ignored.
        where: the name of the list, such as `policy.ignore`.
        example: what is ignored, as TOML has it.
        for_good: no last day is needed.

    Raises:
        MismatchError: it is no list, or a value is of another kind.
        InputError: a key is not known, or an entry says too little (exit 2).
    """
    if not isinstance(value, list):
        raise MismatchError(f"a list of tables [[{where}]]")
    what = next(iter(keys_of(entry)))
    found = []
    for item in value:
        fields = parse_keys(entry, item, where)
        needed = (what, "reason", *(() if for_good else ("until",)))
        missing = [name for name in needed if not fields.get(name)]
        if missing:
            raise InputError(
                f"{where} lacks {' and '.join(missing)}",
                why="an ignored finding needs a reason" + ("" if for_good else ", and until when"),
                hint=f'{example}, reason = "…"' + ("" if for_good else ", until = 2027-01-31"),
            )
        found.append(entry(**fields))
    return tuple(found)
