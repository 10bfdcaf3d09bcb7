"""The changes since the last release that fail the gate `diff`."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from buildlib.config.diff import NEW_HIGH_FINDING, NEW_SETUID, USER_CHANGED, DiffSettings
from buildlib.diff.compare import Change, Section
from buildlib.diff.describe import Facts
from buildlib.diff.report import DiffReport, PlatformDiff, detail
from buildlib.errors import GateError
from buildlib.files import human_size
from buildlib.findings.vulnerability import Severity
from buildlib.program import PROGRAM
from buildlib.terminal.streams import printable

# How many items an error names.
_MOST: Final = 10


def broken_rules(report: DiffReport, settings: DiffSettings) -> list[GateError]:
    """Return an error for each rule that a platform's image breaks."""
    return [
        error
        for one in report.checked
        for error in (*_forbidden(one, settings), *_grown(one, settings.size))
    ]


def _forbidden(one: PlatformDiff, settings: DiffSettings) -> Iterator[GateError]:
    for rule in settings.fail_on:
        section, counts, what = _RULES[rule]
        found = [c for c in one.changes if c.section is section and counts(c)]
        if found:
            lines = [f"{printable(c.item)}  {detail(c)}".rstrip() for c in found]
            more = [f"… and {len(lines) - _MOST} more"] if len(lines) > _MOST else []
            instead = f" (which had {one.instead} instead)" if one.instead else ""
            yield GateError(
                f"{one.platform} {what} since the last release{instead}",
                why="\n  ".join([*lines[:_MOST], *more]),
                hint=f"take {rule} out of diff.fail-on, or publish with --skip-gate diff --reason",
            )


def _grown(one: PlatformDiff, share: float | None) -> Iterator[GateError]:
    before, now = one.sizes
    if share is None or not before or now * 100 <= before * (100 + share):
        return
    grown = (now - before) * 100 / before
    yield GateError(
        f"{one.platform} has grown by {grown:.1f} % since the last release, and {share:g} % are "
        "allowed",
        why=f"{human_size(before)} → {human_size(now)}",
        hint=f"{PROGRAM} docker-diff lists what was added; diff.size sets the share",
    )


def _gained(change: Change) -> bool:
    old, new = change.old or {}, change.new or {}
    bits = _special(new) & ~_special(old)
    owner = any(old[name] != new[name] for name in {"user", "group"} & old.keys() & new.keys())
    return bool(bits or owner or _capabilities(new) - _capabilities(old))


def _special(facts: Facts) -> int:
    return int(str(facts.get("mode", "0")), 8) & (stat.S_ISUID | stat.S_ISGID)


def _capabilities(facts: Facts) -> set[str]:
    return set(str(facts.get("capabilities", "")).split(",")) - {""}


def _is_high(facts: Facts | None) -> bool:
    return bool(facts) and Severity(str((facts or {})["severity"])).rank >= Severity.HIGH.rank


_Rule = tuple[Section, Callable[[Change], bool], str]
_RULES: Final[Mapping[str, _Rule]] = {
    NEW_SETUID: (Section.PRIVILEGES, _gained, "has new setuid files or file capabilities"),
    USER_CHANGED: (
        Section.CONFIGURATION,
        lambda change: change.item == "user",
        "runs as another user",
    ),
    NEW_HIGH_FINDING: (
        Section.VULNERABILITIES,
        lambda change: _is_high(change.new) and not _is_high(change.old),
        "has new vulnerabilities of severity high or worse",
    ),
}
