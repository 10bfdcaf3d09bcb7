"""Findings that are accepted: a suppression says why, and until when, or for good.

Each check knows by itself what its suppressions are about.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from datetime import date
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from buildlib.findings.finding import Finding

_Found_contra = TypeVar("_Found_contra", bound=Finding, contravariant=True)


class Suppression(Protocol[_Found_contra]):
    """An entry of the list `ignore` of a check: a dataclass of the configuration."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def reason(self) -> str:
        """Return why."""

    @property
    def until(self) -> date | None:
        """Return its last day, in UTC; None: it has none."""

    def covers(self, finding: _Found_contra, /) -> bool:
        """Return whether it is about a finding."""


FindingT = TypeVar("FindingT", bound=Finding)
SuppressionT = TypeVar("SuppressionT", bound=Suppression[Any])


def is_active(suppression: Suppression[Any], today: date) -> bool:
    """Return whether a suppression counts; it does until the end of its last day."""
    return suppression.until is None or suppression.until >= today


def justification(suppression: Suppression[Any]) -> str:
    """Return until when a suppression counts, and why, for people."""
    until = f"until {suppression.until}: " if suppression.until else ""
    return until + suppression.reason


def as_dict(suppression: Suppression[Any]) -> dict[str, Any]:
    """Return every field, ready for JSON."""
    until = suppression.until
    return {**asdict(suppression), "until": until.isoformat() if until else None}


def with_reason(finding: Finding, suppression: Suppression[Any]) -> dict[str, Any]:
    """Return a finding and why it is suppressed, ready for JSON."""
    known = as_dict(suppression)
    return finding.as_dict() | {"reason": known["reason"], "until": known["until"]}


class Sorted(NamedTuple, Generic[FindingT, SuppressionT]):
    """Findings, sorted by whether they are suppressed.

    Args:
        expired: what counts again, and the suppression that has ended.
        unused: suppressions that no finding matches.
    """

    kept: tuple[FindingT, ...]
    suppressed: tuple[tuple[FindingT, SuppressionT], ...]
    expired: tuple[tuple[FindingT, SuppressionT], ...]
    unused: tuple[SuppressionT, ...]


def apply(
    suppressions: Sequence[SuppressionT], findings: Iterable[FindingT], today: date
) -> Sorted[FindingT, SuppressionT]:
    """Return each finding once, by whether it counts; `today` is in UTC."""
    kept: list[FindingT] = []
    suppressed: list[tuple[FindingT, SuppressionT]] = []
    expired: list[tuple[FindingT, SuppressionT]] = []
    used: set[int] = set()
    for finding in dict.fromkeys(findings):
        covering = [one for one in suppressions if one.covers(finding)]
        used |= {id(one) for one in covering}
        active = [one for one in covering if is_active(one, today)]
        if active:
            suppressed.append((finding, active[0]))
            continue
        counting = finding
        if covering:
            last = max(covering, key=lambda one: str(one.until))
            note = f"{finding.message} (it was ignored until {last.until})"
            counting = replace(finding, message=note)
            expired.append((counting, last))
        kept.append(counting)
    unused = tuple(one for one in suppressions if id(one) not in used)
    return Sorted(tuple(kept), tuple(suppressed), tuple(expired), unused)
