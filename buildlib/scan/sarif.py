"""A scan's report as SARIF."""

from __future__ import annotations

from typing import Any, Final

from buildlib.config.scan import Ignore
from buildlib.findings.sarif import Result, Rule, make_document
from buildlib.findings.vulnerability import Severity, Vulnerability
from buildlib.scan.report import ScanReport

_TOOL: Final = "buildlib scan"
# GitHub sorts alerts by it: over 9.0 is critical, from 7.0 on high, from 4.0 on medium, the rest
# low. A scanner's word stands for several of CVSS's scores; these are within.
_SCORES: Final = {
    Severity.CRITICAL: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.5",
    Severity.LOW: "2.0",
    Severity.UNKNOWN: "2.0",
    Severity.NEGLIGIBLE: "0.1",
}


def as_sarif(report: ScanReport, *, dockerfile: str) -> dict[str, Any]:
    """Return the document, ready for JSON.

    Args:
        report: what was found.
        dockerfile: its path in the repository, with slashes.
    """
    results = [_result(report, finding) for finding in report.findings]
    results += [_result(report, finding, ignore) for finding, ignore in report.ignored]
    found = [*report.findings, *(finding for finding, _ in report.ignored)]
    # The same one may be told of several packages: the worst speaks for the rule.
    rules = {one.id: _rule(one) for one in sorted(found, key=lambda one: one.severity.rank)}
    listed = [rules[name] for name in sorted(rules)]
    return make_document(_TOOL, listed, results, dockerfile=dockerfile)


def _rule(finding: Vulnerability) -> Rule:
    others = f", also {', '.join(finding.aliases)}" if finding.aliases else ""
    return Rule(
        id=finding.id,
        what=f"{finding.package} is vulnerable",
        help=f"{finding.id}{others}, severity {finding.severity}, {finding.fix}",
        link=finding.link,
        properties={"security-severity": _SCORES[finding.severity], "tags": ["security"]},
    )


def _result(report: ScanReport, finding: Vulnerability, ignored: Ignore | None = None) -> Result:
    ended = report.ended(finding)
    note = f" (it was ignored until {ended.until})" if ended else ""
    return Result(
        rule=finding.id,
        level="error" if report.blocks(finding) else "warning",
        message=f"{finding.package} {finding.version}: {finding.fix}{note}",
        where=finding.where,
        line=0,
        same=(finding.id, finding.platform, finding.package, finding.path),
        ignored=ignored,
    )
