"""What the policy found: sorted into what fails, what is told, and what is ignored until when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any, Final

from buildlib.config.policy import Ignore
from buildlib.console import table
from buildlib.errors import GateError
from buildlib.findings.policy_rules import RULES, Finding, Level, rule_of
from buildlib.findings.sarif import Result, Rule, make_document
from buildlib.findings.suppressions import sort_out, told_until


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyReport:
    """The outcome for one image.

    Args:
        image: what was looked at.
        platforms: that it holds.
        findings: what counts, errors first.
        ignored: what would count, and the reason why it does not.
        unused: ignores that were about nothing.
        left_out: what could not be checked here, a sentence each.
    """

    image: str
    platforms: tuple[str, ...]
    findings: tuple[Finding, ...]
    ignored: tuple[tuple[Finding, Ignore], ...] = ()
    unused: tuple[Ignore, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Return what fails the gate."""
        return tuple(f for f in self.findings if f.level is Level.ERROR)

    @property
    def notes(self) -> tuple[Finding, ...]:
        """Return what would fail it, and does not for a reason that was seen."""
        return tuple(f for f in self.findings if f.level is Level.NOTE)

    def errors_of(self, platform: str) -> tuple[Finding, ...]:
        """Return what fails it on one platform, the Dockerfile's faults included."""
        return tuple(f for f in self.errors if f.platform in {"", platform})

    def as_dict(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return {
            "image": self.image,
            "platforms": list(self.platforms),
            "passed": not self.errors,
            "findings": [asdict(finding) for finding in self.findings],
            "ignored": [
                asdict(finding) | {"reason": ignore.reason, "until": _day(ignore)}
                for finding, ignore in self.ignored
            ],
            "unused": [{**asdict(ignore), "until": _day(ignore)} for ignore in self.unused],
            "left_out": list(self.left_out),
        }

    def as_text(self) -> str:
        """Return a row for each finding, and one that counts."""
        rows = [(str(f.level), f.rule, f.where, f.message) for f in self.findings]
        rows += [
            ("ignored", f.rule, f.where, f"{f.message} ({told_until(i)})") for f, i in self.ignored
        ]
        warnings = sum(f.level is Level.WARNING for f in self.findings)
        counts = f"{len(RULES)} rules, {', '.join(self.platforms)}: "
        counts += f"{len(self.errors)} errors, {warnings} warnings, {len(self.ignored)} ignored"
        return "\n".join([*([table(rows), ""] if rows else []), counts, *self.left_out])


def _day(ignore: Ignore) -> str | None:
    return ignore.until.isoformat() if ignore.until else None


def make_report(
    image: str,
    platforms: Iterable[str],
    findings: Iterable[Finding],
    ignores: Sequence[Ignore],
    today: date,
) -> PolicyReport:
    """Return the report; an ignore counts until the end of its last day.

    Args:
        image: what was looked at.
        platforms: that it holds.
        findings: all of them.
        ignores: as configured.
        today: in UTC.
    """
    found = sort_out(findings, ignores, today)
    kept = [_counts_again(finding, ended) for finding, ended in found.kept]
    return PolicyReport(
        image=image,
        platforms=tuple(platforms),
        findings=tuple(sorted(kept, key=lambda finding: tuple(Level).index(finding.level))),
        ignored=found.ignored,
        unused=found.unused,
    )


def _counts_again(finding: Finding, ended: Ignore | None) -> Finding:
    if ended is None:
        return finding
    return replace(finding, message=f"{finding.message} (it was ignored until {ended.until})")


def raise_failures(report: PolicyReport) -> None:
    """Raise a GateError (exit 7) that names the rules; nothing where none is broken."""
    if report.errors:
        rules = ", ".join(dict.fromkeys(finding.rule for finding in report.errors))
        raise GateError(
            f"{report.image} breaks the policy: {len(report.errors)} errors",
            why=rules,
            hint="invoke docker-policy lists them; [[policy.ignore]] with a reason ignores one",
        )


# A policy report as SARIF.


_TOOL: Final = "buildlib policy"


def as_sarif(report: PolicyReport, *, dockerfile: str) -> dict[str, Any]:
    """Return the document, ready for JSON.

    Args:
        report: what was found.
        dockerfile: its path in the repository, with slashes.
    """
    results = [_result(finding) for finding in report.findings]
    results += [_result(finding, ignore) for finding, ignore in report.ignored]
    ids = {result.rule for result in results} | set(RULES)
    found = (*report.findings, *(finding for finding, _ in report.ignored))
    links = {finding.rule: finding.link for finding in found if finding.link}
    rules = [_rule(name, links.get(name, "")) for name in sorted(ids)]
    return make_document(_TOOL, rules, results, dockerfile=dockerfile)


def _rule(name: str, link: str) -> Rule:
    rule = rule_of(name)
    return Rule(id=name, what=rule.what, help=rule.why, link=link or rule.link)


def _result(finding: Finding, ignored: Ignore | None = None) -> Result:
    return Result(
        rule=finding.rule,
        level=str(finding.level),
        message=finding.message,
        where=finding.where if finding.platform else "",
        line=finding.line,
        same=(finding.rule, finding.platform, finding.path or finding.message),
        ignored=ignored,
    )
