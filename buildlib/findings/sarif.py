"""SARIF 2.1.0, which code scanning services read.

Source: docs.oasis-open.org/sarif/sarif/v2.1.0; what GitHub reads of it is in its documentation,
"SARIF support for code scanning". A finding about an image points to the Dockerfile, which is what
a reader can fix, and names where in the image it is as a logical location.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from buildlib.files import write_text
from buildlib.findings.finding import Finding, Rule
from buildlib.findings.report import FindingsReport
from buildlib.findings.suppressions import Suppression
from buildlib.terminal.text import to_json

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def write_sarif(
    path: Path, report: FindingsReport[Any, Any], *, root: Path, dockerfile: Path
) -> None:
    """Write a report for code scanning.

    Args:
        dockerfile: what the findings point to.

    Raises:
        InputError: the file can't be written (exit 2).
    """
    document = as_sarif(report, dockerfile=dockerfile_uri(root, dockerfile))
    write_text(path, to_json(document) + "\n")


def as_sarif(report: FindingsReport[Any, Any], *, dockerfile: str) -> dict[str, Any]:
    """Return the document, ready for JSON.

    Args:
        dockerfile: its path in the repository, with slashes.
    """
    rules = [_rule(rule) for rule in sorted(report.rules(), key=lambda rule: rule.id)]
    index = {rule["id"]: number for number, rule in enumerate(rules)}
    results = [_result(one, None, dockerfile, index) for one in report.findings]
    results += [_result(one, why, dockerfile, index) for one, why in report.ignored]
    driver = {"name": report.tool, "rules": rules}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "utf16CodeUnits", "results": results}],
    }


def dockerfile_uri(root: Path, dockerfile: Path) -> str:
    """Return the Dockerfile's path in the repository, as a URI; its name if it is elsewhere."""
    root, file = root.resolve(), dockerfile.resolve()
    own = file.relative_to(root) if file.is_relative_to(root) else Path(file.name)
    return quote(os.fsencode(own.as_posix()))


def _rule(rule: Rule) -> dict[str, Any]:
    text = f"{rule.why}. {rule.link}" if rule.link else rule.why
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.what},
        "fullDescription": {"text": f"{rule.what}: {rule.why}"},
        "help": {"text": text},
        "defaultConfiguration": {"level": "error"},
        **({"helpUri": rule.link} if rule.link else {}),
        **({"properties": dict(rule.properties)} if rule.properties else {}),
    }


def _result(
    finding: Finding,
    suppression: Suppression[Any] | None,
    dockerfile: str,
    index: Mapping[str, int],
) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": dockerfile}}
    # A service that shows files wants a line; the first is that of the whole file.
    physical["region"] = {"startLine": finding.line or 1}
    location: dict[str, Any] = {"physicalLocation": physical}
    text = finding.sentence
    if finding.platform:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.where, "kind": "resource"}]
        text = f"{finding.where}: {text}"
    result = {
        "ruleId": finding.rule,
        "ruleIndex": index[finding.rule],
        "level": str(finding.level),
        "message": {"text": text},
        "locations": [location],
        "partialFingerprints": {
            "buildlibFinding/v1": hashlib.sha256("\0".join(finding.identity).encode()).hexdigest()
        },
    }
    if suppression:
        until = f" (until {suppression.until})" if suppression.until else ""
        why = {"justification": suppression.reason + until}
        result["suppressions"] = [{"kind": "external", "status": "accepted", **why}]
    return result
