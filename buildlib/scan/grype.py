"""grype: its commands, and what it prints.

Source: `grype --help`, `grype db status --help` and `grype config` of 0.121; its JSON is that of
github.com/anchore/grype, grype/presenter/models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from buildlib.errors import GateError, ToolError
from buildlib.executor import Completed, Runner
from buildlib.findings.vulnerability import Vulnerability, severity_of
from buildlib.program import ways_to_get
from buildlib.scan.scanner import (
    TIMEOUT,
    Scanned,
    Scanner,
    Suppressed,
    ask_version,
    last_line,
    read_json,
    sense_of,
)
from buildlib.shell import repeated

_NAME: Final = "grype"
# It looks for a newer version of itself at every start, which is switched off. Its
# database is updated as the user's own variables have it.
_PROGRAM: Final = ("env", "GRYPE_CHECK_FOR_APP_UPDATE=false", "NO_COLOR=1", _NAME)
# It exits with 2 where the user's own configuration has a threshold, and something is over it.
_ENDED: Final = (0, 2)
VERSION: Final = (*_PROGRAM, "version", "--output", "json")
# Whether its database is one that it would use.
STATUS: Final = (*_PROGRAM, "db", "status", "--output", "json")
NOTHING: Final = (*_PROGRAM, "pkg:generic/nothing@1", "--output", "json")
_NO_DATABASE: Final = "vulnerability db"
_NO_VERSION: Final = "[not provided]"


def scan_argv(archive: Path, vex: Sequence[Path]) -> tuple[str, ...]:
    """Return the command that scans; it writes beside the archive.

    Args:
        archive: of one platform's image.
        vex: files that say which findings do not apply.
    """
    outputs = (f"json={_report(archive)}", f"cyclonedx-json={_sbom(archive)}")
    words = (*repeated("--output", outputs), *repeated("--vex", vex))
    return (*_PROGRAM, f"oci-archive:{archive}", *words)


def _report(archive: Path) -> Path:
    return archive.with_name("grype.json")


def _sbom(archive: Path) -> Path:
    return archive.with_name("grype.cdx.json")


def _version(executor: Runner) -> str | None:
    said = ask_version(executor, VERSION, _NAME)
    if said is None:
        return None
    # A grype that `go install` built knows no version.
    return str(said.get("version", "")).replace(_NO_VERSION, "")


def _scan(executor: Runner, archive: Path, platform: str, vex: Sequence[Path]) -> Scanned:
    done = executor.run(scan_argv(archive, vex), timeout=TIMEOUT)
    if done.code not in _ENDED:
        _refuse(executor, done, platform)
    return parse(read_json(_report(archive), _NAME), read_json(_sbom(archive), _NAME), platform)


def _get_ready(executor: Runner) -> None:
    """Let it get its database, as the user's variables have it, if there is none that it would use.

    Raises:
        ToolError: there is none (exit 3).
    """
    if _database_valid(executor):
        return
    # A scan of nothing does what the scan of the image would do first.
    done = executor.run(NOTHING, timeout=TIMEOUT)
    # An older version may not take this for something to scan: then the scan says it.
    if done.code not in _ENDED and _NO_DATABASE in last_line(done):
        _refuse(executor, done, "")


def _refuse(executor: Runner, done: Completed, platform: str) -> None:
    """Raise ToolError for a database that is missing, too old or broken, else GateError."""
    why = last_line(done)
    if _NO_DATABASE in why or not _database_valid(executor):
        raise ToolError(
            "grype has no vulnerability database that it would use: the gate has not passed",
            why=why,
            hint="grype db update gets one; grype db status says what is wrong with it",
        )
    raise GateError(f"grype can't scan the image for {platform}", why=why)


def _database_valid(executor: Runner) -> bool:
    done = executor.run(STATUS, timeout=TIMEOUT)
    try:
        return done.code == 0 and json.loads(done.stdout)["valid"] is True
    except (ValueError, LookupError, TypeError):
        return False


def parse(report: Mapping[str, Any], sbom: Mapping[str, Any], platform: str) -> Scanned:
    """Return what it found.

    Args:
        report: its own JSON.
        sbom: its CycloneDX, which lists the packages without a vulnerability as well.

    Raises:
        GateError: it makes no sense (exit 7).
    """
    with sense_of(_NAME):
        status = report["descriptor"].get("db", {}).get("status") or {}
        return Scanned(
            findings=tuple(_finding(match, platform) for match in report["matches"]),
            suppressed=tuple(
                Suppressed(_finding(match, platform), _by(match))
                for match in report.get("ignoredMatches") or ()
            ),
            packages=sum("purl" in item for item in sbom.get("components") or ()),
            database=str(status.get("built", "")),
        )


def _finding(match: Mapping[str, Any], platform: str) -> Vulnerability:
    found, package = match["vulnerability"], match["artifact"]
    places = [str(place["path"]) for place in package.get("locations") or ()]
    link = str(found.get("dataSource", ""))
    related = match.get("relatedVulnerabilities") or ()
    return Vulnerability(
        rule=str(found["id"]),
        severity=severity_of(found.get("severity")),
        package=str(package["name"]),
        version=str(package["version"]),
        platform=platform,
        fixed_in=tuple(str(version) for version in found["fix"].get("versions") or ()),
        link=link if link.startswith("http") else "",
        source=_NAME,
        path=places[0] if places else "",
        aliases=tuple(dict.fromkeys(str(other["id"]) for other in related)),
    )


def _by(match: Mapping[str, Any]) -> str:
    rule: Mapping[str, Any] = (match.get("appliedIgnoreRules") or ({},))[0]
    if status := rule.get("vex-status"):
        return " ".join(part for part in ("VEX:", status, rule.get("vex-justification")) if part)
    return f"grype's own configuration: {rule.get('reason') or 'no reason given'}"


GRYPE: Final = Scanner(
    name=_NAME,
    version=_version,
    scan=_scan,
    get_ready=_get_ready,
    install=ways_to_get("anchore/grype"),
)
