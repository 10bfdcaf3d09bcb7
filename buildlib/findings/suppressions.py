"""What need not be fixed: who ignores something says why, and until when, or for good.

The gates share it. What an ignore is about, each gate knows by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

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
