"""A policy report as SARIF 2.1.0, which code scanning services read.

Source: docs.oasis-open.org/sarif/sarif/v2.1.0; what GitHub reads of it is in its documentation,
"SARIF support for code scanning". A finding about an image points to the Dockerfile, which is what
a reader can mend, and names layer and file as a logical location.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

from buildlib.policy.finding import Finding
from buildlib.policy.report import PolicyReport
from buildlib.policy.rules import RULES, Rule, rule_of
from buildlib.policy.settings import Ignore

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_TOOL: Final = "buildlib policy"


def as_sarif(report: PolicyReport, *, dockerfile: str) -> dict[str, Any]:
    """Return the document, ready for JSON.

    Args:
        report: what was found.
        dockerfile: its path in the repository, with slashes.
    """
    ids = {finding.rule for finding in _all(report)} | set(RULES)
    rules = [_rule(name, rule_of(name)) for name in sorted(ids)]
    index = {rule["id"]: number for number, rule in enumerate(rules)}
    results = [_result(f, dockerfile, index) for f in report.findings]
    results += [
        {**_result(f, dockerfile, index), "suppressions": [_suppression(ignore)]}
        for f, ignore in report.ignored
    ]
    driver = {"name": _TOOL, "rules": rules}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "utf16CodeUnits", "results": results}],
    }


def _all(report: PolicyReport) -> Iterable[Finding]:
    yield from report.findings
    yield from (finding for finding, _ in report.ignored)


def _rule(name: str, rule: Rule) -> dict[str, Any]:
    return {
        "id": name,
        "shortDescription": {"text": rule.what},
        "fullDescription": {"text": f"{rule.what}: {rule.why}"},
        "helpUri": rule.link,
        "help": {"text": f"{rule.why}. {rule.link}"},
        "defaultConfiguration": {"level": "error"},
    }


def _result(finding: Finding, dockerfile: str, index: dict[str, int]) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": dockerfile}}
    # A service that shows files wants a line; the first stands for the whole.
    physical["region"] = {"startLine": finding.line or 1}
    location: dict[str, Any] = {"physicalLocation": physical}
    if finding.platform:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.where, "kind": "resource"}]
    about = finding.where if finding.platform else ""
    return {
        "ruleId": finding.rule,
        "ruleIndex": index[finding.rule],
        "level": str(finding.level),
        "message": {"text": f"{about}: {finding.message}" if about else finding.message},
        "locations": [location],
        "partialFingerprints": {"buildlibFinding/v1": _fingerprint(finding)},
    }


def _fingerprint(finding: Finding) -> str:
    """Return what stays the same while the same thing is wrong: neither numbers nor lines do."""
    parts = (finding.rule, finding.platform, finding.path or finding.message)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _suppression(ignore: Ignore) -> dict[str, str]:
    text = f"{ignore.reason} (until {ignore.until})"
    return {"kind": "external", "status": "accepted", "justification": text}
