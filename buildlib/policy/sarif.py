"""A policy report as SARIF."""

from __future__ import annotations

from typing import Any, Final

from buildlib.config.policy import Ignore
from buildlib.findings.policy_finding import Finding
from buildlib.findings.policy_rules import RULES, rule_of
from buildlib.findings.sarif import Result, Rule, make_document
from buildlib.policy.report import PolicyReport

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
