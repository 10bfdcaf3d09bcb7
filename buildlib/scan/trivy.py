"""trivy: its commands, and what it prints.

Source: github.com/aquasecurity/trivy 0.67, docs/docs/references/configuration/cli/trivy_image.md;
its JSON is that of pkg/types/report.go. Every option has a variable, TRIVY_ and its name: with
these, an older one that does not know an option works as well.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from buildlib.errors import GateError, InputError, ToolError
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

_NAME: Final = "trivy"
# Its telemetry and its look for a newer version of itself are switched off.
_PROGRAM: Final = (
    *("env", "TRIVY_SKIP_VERSION_CHECK=true", "TRIVY_DISABLE_TELEMETRY=true", "NO_COLOR=1"),
    _NAME,
)
# Its version, and the time of its database.
VERSION: Final = (*_PROGRAM, "version", "--format", "json")
DOWNLOAD: Final = (*_PROGRAM, "image", "--download-db-only", "--no-progress")
_NO_DATABASE: Final = "DB error"
# The only version of its JSON that there is.
_SCHEMA: Final = 2
_SEVERITIES: Final = "UNKNOWN,LOW,MEDIUM,HIGH,CRITICAL"


def scan_argv(layout: Path, output: Path, vex: Sequence[Path]) -> tuple[str, ...]:
    """Return the command that scans.

    Args:
        layout: the directory of one platform's image: trivy reads no archive of this kind.
        output: the file that it writes.
        vex: files that say which findings do not apply.
    """
    return (
        *(*_PROGRAM, "image", "--input", str(layout), "--scanners", "vuln", "--no-progress"),
        # The caller decides which of them fail.
        *("--severity", _SEVERITIES, "--ignore-unfixed=false", "--exit-code", "0"),
        *("--list-all-pkgs", "--show-suppressed"),
        *repeated("--vex", vex),
        *("--format", "json", "--output", str(output)),
    )


def _version(executor: Runner) -> str | None:
    said = ask_version(executor, VERSION, _NAME)
    return None if said is None else str(said.get("Version", ""))


def _scan(executor: Runner, archive: Path, platform: str, vex: Sequence[Path]) -> Scanned:
    layout, output = archive.with_name("layout"), archive.with_name("trivy.json")
    _unpack(archive, layout, platform)
    done = executor.run(scan_argv(layout, output, vex), timeout=TIMEOUT)
    if done.code != 0:
        _refuse(done, platform)
    # Only now: the scan may have brought another database.
    said = ask_version(executor, VERSION, _NAME) or {}
    with sense_of(_NAME):
        database = str((said.get("VulnerabilityDB") or {}).get("UpdatedAt", ""))
    return parse(read_json(output, _NAME), platform, database)


def _unpack(archive: Path, layout: Path, platform: str) -> None:
    """Write the files of the archive; not every Python that counts here has tarfile's filters."""
    try:
        with tarfile.open(archive) as tar:
            for entry in tar:
                path = (layout / entry.name).resolve()
                content = tar.extractfile(entry) if entry.isreg() else None
                if content is None:
                    continue
                if not path.is_relative_to(layout.resolve()):
                    raise InputError(f"{entry.name} in the image for {platform} is outside of it")
                path.parent.mkdir(parents=True, exist_ok=True)
                with content, path.open("wb") as stream:
                    shutil.copyfileobj(content, stream)
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"can't unpack the image for {platform}", why=str(error)) from error


def _get_ready(executor: Runner) -> None:
    """Let it get its database, which it does before a scan as well.

    Raises:
        ToolError: there is none (exit 3).
    """
    done = executor.run(DOWNLOAD, timeout=TIMEOUT)
    # It refuses to, where the user's variables forbid it: then the scan says what is missing.
    if done.code != 0 and _NO_DATABASE in done.stderr:
        _refuse(done, "")


def _refuse(done: Completed, platform: str) -> None:
    why = last_line(done)
    if _NO_DATABASE in done.stderr:
        raise ToolError(
            "trivy has no vulnerability database that it would use: the gate has not passed",
            why=why,
            hint="trivy image --download-db-only gets one",
        )
    raise GateError(f"trivy can't scan the image for {platform}", why=why)


def parse(report: Mapping[str, Any], platform: str, database: str) -> Scanned:
    """Return what it found.

    Args:
        report: its JSON.
        database: the time of its database.

    Raises:
        GateError: it makes no sense (exit 7).
    """
    with sense_of(_NAME):
        if report["SchemaVersion"] != _SCHEMA:
            raise ValueError(f"SchemaVersion {report['SchemaVersion']}")
        results = report.get("Results") or ()
        return Scanned(
            findings=tuple(
                _finding(item, result, platform)
                for result in results
                for item in result.get("Vulnerabilities") or ()
            ),
            suppressed=tuple(_suppressed(results, platform)),
            packages=sum(len(result.get("Packages") or ()) for result in results),
            database=database,
        )


def _finding(item: Mapping[str, Any], result: Mapping[str, Any], platform: str) -> Vulnerability:
    # The target of packages of the system is the image, of others the file that names them.
    target = result.get("Target", "") if result.get("Class") == "lang-pkgs" else ""
    fixed = str(item.get("FixedVersion", "")).split(",")
    link = str(item.get("PrimaryURL", ""))
    return Vulnerability(
        rule=str(item["VulnerabilityID"]),
        severity=severity_of(item.get("Severity")),
        package=str(item["PkgName"]),
        version=str(item.get("InstalledVersion", "")),
        platform=platform,
        fixed_in=tuple(version.strip() for version in fixed if version.strip()),
        link=link if link.startswith("http") else "",
        source=_NAME,
        path=str(item.get("PkgPath") or target),
        aliases=tuple(str(other) for other in item.get("VendorIDs") or ()),
    )


def _suppressed(results: Sequence[Mapping[str, Any]], platform: str) -> Iterator[Suppressed]:
    for result in results:
        for item in result.get("ExperimentalModifiedFindings") or ():
            if item.get("Type") == "vulnerability":
                parts = (item.get("Source"), item.get("Status"), item.get("Statement"))
                by = ": ".join(str(part) for part in parts if part)
                yield Suppressed(_finding(item["Finding"], result, platform), by)


TRIVY: Final = Scanner(
    name=_NAME,
    version=_version,
    scan=_scan,
    get_ready=_get_ready,
    install=ways_to_get("aquasecurity/trivy"),
)
