"""SARIF 2.1.0, which code scanning services read; the gates fill it.

Source: docs.oasis-open.org/sarif/sarif/v2.1.0; what GitHub reads of it is in its documentation,
"SARIF support for code scanning". A finding about an image points to the Dockerfile, which is what
a reader can mend, and names where in the image it is as a logical location.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from buildlib.findings.suppressions import Ignoring

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


class Rule(NamedTuple):
    """What a result goes by.

    Args:
        id: its name.
        what: in a few words.
        help: in more of them.
        link: where to read more; empty: nowhere.
        properties: for the service, such as `security-severity`.
    """

    id: str
    what: str
    help: str
    link: str = ""
    properties: Mapping[str, Any] = {}


class Result(NamedTuple):
    """One finding.

    Args:
        rule: its id.
        level: `error`, `warning` or `note`.
        message: what was seen.
        where: in the image; empty: in the Dockerfile.
        line: of the Dockerfile; 0: not about a line.
        same: what stays the same while the same thing is wrong: neither numbers nor lines do.
        ignored: by what; None: it counts.
    """

    rule: str
    level: str
    message: str
    where: str
    line: int
    same: tuple[str, ...]
    ignored: Ignoring[Any] | None = None


def make_document(
    tool: str, rules: Iterable[Rule], results: Iterable[Result], *, dockerfile: str
) -> dict[str, Any]:
    """Return the document, ready for JSON.

    Args:
        tool: what the service calls us.
        rules: all that results go by.
        results: what was found.
        dockerfile: its path in the repository, with slashes.
    """
    listed = [_rule(rule) for rule in rules]
    index = {rule["id"]: number for number, rule in enumerate(listed)}
    found = [_result(result, dockerfile, index) for result in results]
    driver = {"name": tool, "rules": listed}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "utf16CodeUnits", "results": found}],
    }


def dockerfile_uri(root: Path, dockerfile: Path) -> str:
    """Return the Dockerfile's path in the repository, as a URI; its name if it is elsewhere."""
    root, file = root.resolve(), dockerfile.resolve()
    own = file.relative_to(root) if file.is_relative_to(root) else Path(file.name)
    return quote(os.fsencode(own.as_posix()))


def _rule(rule: Rule) -> dict[str, Any]:
    text = f"{rule.help}. {rule.link}" if rule.link else rule.help
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.what},
        "fullDescription": {"text": f"{rule.what}: {rule.help}"},
        "help": {"text": text},
        "defaultConfiguration": {"level": "error"},
        **({"helpUri": rule.link} if rule.link else {}),
        **({"properties": dict(rule.properties)} if rule.properties else {}),
    }


def _result(result: Result, dockerfile: str, index: Mapping[str, int]) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": dockerfile}}
    # A service that shows files wants a line; the first stands for the whole.
    physical["region"] = {"startLine": result.line or 1}
    location: dict[str, Any] = {"physicalLocation": physical}
    if result.where:
        location["logicalLocations"] = [{"fullyQualifiedName": result.where, "kind": "resource"}]
    fingerprint = hashlib.sha256("\0".join(result.same).encode()).hexdigest()
    text = f"{result.where}: {result.message}" if result.where else result.message
    return {
        "ruleId": result.rule,
        "ruleIndex": index[result.rule],
        "level": result.level,
        "message": {"text": text},
        "locations": [location],
        "partialFingerprints": {"buildlibFinding/v1": fingerprint},
        **({"suppressions": [_suppression(result.ignored)]} if result.ignored else {}),
    }


def _suppression(ignore: Ignoring[Any]) -> dict[str, str]:
    text = ignore.reason + (f" (until {ignore.until})" if ignore.until else "")
    return {"kind": "external", "status": "accepted", "justification": text}
