"""The report of the policy: what fails, what is only reported, and what is ignored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, ClassVar

from buildlib.config.policy import PolicyIgnore
from buildlib.errors import GateError
from buildlib.files import counted
from buildlib.findings.finding import Finding, Level, Rule
from buildlib.findings.policy_rules import RULES, rule_of
from buildlib.findings.report import FindingsReport
from buildlib.findings.suppressions import apply, as_dict, justification, with_reason
from buildlib.terminal.text import table


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyReport(FindingsReport[Finding, PolicyIgnore]):
    """The outcome for one image.

    Args:
        left_out: what could not be checked here, a sentence each.
    """

    tool: ClassVar[str] = "buildlib policy"
    platforms: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    @property
    def mild(self) -> tuple[Finding, ...]:
        """Return what is worth a look, and fails nothing."""
        return tuple(f for f in self.findings if f.level is Level.WARNING)

    @property
    def late(self) -> tuple[Finding, ...]:
        """Return what fails nothing now, and would fail a release."""
        return tuple(f for f in self.mild if rule_of(f.rule).of_release and not f.base)

    @property
    def notes(self) -> tuple[Finding, ...]:
        """Return what would fail it, and does not for a reason that was seen."""
        return tuple(f for f in self.findings if f.level is Level.NOTE)

    def errors_of(self, platform: str) -> tuple[Finding, ...]:
        """Return what fails it on one platform, the Dockerfile's faults included."""
        return tuple(f for f in self.errors if f.platform in {"", platform})

    def warnings(self) -> tuple[str, ...]:
        """Return a warning for each suppression that no finding matches."""
        return tuple(
            f"nothing is left to ignore of {one.rule} {one.path}".rstrip() for one in self.unused
        )

    def problems(self) -> list[GateError]:
        """Return a problem that names the rules, where one is broken."""
        if not self.errors:
            return []
        return [
            GateError(
                f"{self.image} breaks the policy: {counted(distinct(self.errors), 'error')}",
                why=", ".join(dict.fromkeys(finding.rule for finding in self.errors)),
                hint="[[policy.ignore]] with a reason ignores one",
            )
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return {
            "image": self.image,
            "platforms": list(self.platforms),
            "passed": not self.errors,
            "findings": [finding.as_dict() for finding in self.findings],
            "ignored": [with_reason(*one) for one in self.ignored],
            "unused": [as_dict(ignore) for ignore in self.unused],
            "left_out": list(self.left_out),
        }

    def as_text(self) -> str:
        """Return a row for each finding, and one that counts."""
        told = [(f, str(f.level), f.message) for f in self.findings]
        told += [(f, "ignored", f"{f.message} ({justification(one)})") for f, one in self.ignored]
        # One row for what several platforms have in common.
        platforms: dict[tuple[Finding, str, str], list[str]] = {}
        for finding, level, message in told:
            key = (replace(finding, platform=""), level, message)
            platforms.setdefault(key, []).append(finding.platform)
        rows = [
            (level, one.rule, replace(one, platform=", ".join(seen)).where, message)
            for (one, level, message), seen in platforms.items()
        ]
        ignored = distinct(finding for finding, _ in self.ignored)
        found = [counted(distinct(self.errors), "error"), counted(distinct(self.mild), "warning")]
        counts = f"{len(RULES)} rules, {', '.join(self.platforms)}: "
        counts += ", ".join([*found, f"{ignored} ignored"])
        return "\n".join([*([table(rows), ""] if rows else []), counts, *self.left_out])

    def rules(self) -> Iterator[Rule]:
        """Return every rule, and those of hadolint and the frontend that found something."""
        links = {one.rule: one.link for one in self.everything() if one.link}
        for name in {one.rule for one in self.everything()} | set(RULES):
            rule = rule_of(name)
            yield rule._replace(id=name, link=links.get(name, rule.link))


def distinct(findings: Iterable[Finding]) -> int:
    """Return how many there are, where what several platforms have in common is one."""
    return len({replace(one, platform="") for one in findings})


def make_report(
    image: str,
    platforms: Iterable[str],
    findings: Iterable[Finding],
    ignores: Sequence[PolicyIgnore],
    today: date,
) -> PolicyReport:
    """Return the report; an ignore counts until the end of its last day.

    Args:
        today: in UTC.
    """
    found = apply(ignores, findings, today)
    return PolicyReport(
        image=image,
        platforms=tuple(platforms),
        findings=tuple(sorted(found.kept, key=lambda finding: tuple(Level).index(finding.level))),
        ignored=found.suppressed,
        unused=found.unused,
    )
