"""What the scan found: sorted into what fails, what is told, and what is ignored until when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any, Final

from buildlib.config.scan import Ignore, ScanSettings
from buildlib.console import table
from buildlib.errors import GateError
from buildlib.findings.sarif import Result, Rule, make_document
from buildlib.findings.suppressions import sort_out
from buildlib.findings.vulnerability import Severity, Vulnerability
from buildlib.scan.scanner import Scanned, Suppressed
from buildlib.streams import printable

# An error is read in a terminal; the report has them all.
_LONGEST: Final = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanReport:
    """The outcome for one image.

    Args:
        image: what was looked at.
        scanner, version: what looked; the version is empty where it does not tell.
        database: the time of its database, of the oldest it used, RFC 3339; empty where it does
            not tell.
        threshold: what is this bad or worse fails the gate.
        only_fixed: what has no fix does not.
        platforms: of the image, each with how many packages the scanner sees.
        findings: what counts, worst first.
        ignored: what would count, and the ignore by which it does not.
        expired: what counts again, and the ignore that has ended.
        unused: ignores that were about nothing.
        suppressed: what the scanner left out, by a VEX file or its own configuration.
    """

    image: str
    scanner: str
    version: str
    database: str
    threshold: Severity
    only_fixed: bool
    platforms: tuple[tuple[str, int], ...]
    findings: tuple[Vulnerability, ...]
    ignored: tuple[tuple[Vulnerability, Ignore], ...] = ()
    expired: tuple[tuple[Vulnerability, Ignore], ...] = ()
    unused: tuple[Ignore, ...] = ()
    suppressed: tuple[Suppressed, ...] = ()

    @property
    def blocking(self) -> tuple[Vulnerability, ...]:
        """Return what fails the gate."""
        return tuple(finding for finding in self.findings if self.blocks(finding))

    def blocks(self, finding: Vulnerability) -> bool:
        """Return whether a finding that counts fails the gate; else it is told."""
        bad = finding.severity.rank >= self.threshold.rank
        return bad and (bool(finding.fixed_in) or not self.only_fixed)

    def ended(self, finding: Vulnerability) -> Ignore | None:
        """Return the ignore that has ended, of a finding that counts again."""
        return next((ignore for other, ignore in self.expired if other == finding), None)

    def warnings(self) -> tuple[str, ...]:
        """Return what to say of ignores that were about nothing, and of what is not known."""
        unused = (f"nothing is left to ignore of {one.id} {one.package}" for one in self.unused)
        unseen = (
            f"{self.scanner} sees no package in the image for {platform}: no vulnerability of what "
            "is in it would be known"
            for platform, packages in self.platforms
            if not packages
        )
        return (*map(str.rstrip, unused), *unseen)

    def as_dict(self) -> dict[str, Any]:
        """Return every field, ready for JSON; findings by platform."""
        return {
            "image": self.image,
            "scanner": {
                "name": self.scanner,
                "version": self.version,
                "database": self.database,
            },
            "threshold": str(self.threshold),
            "only_fixed": self.only_fixed,
            "passed": not self.blocking,
            "platforms": [
                {"platform": name, "packages": packages, "findings": self._findings(name)}
                for name, packages in self.platforms
            ],
            "ignored": [asdict(found) | _reason(ignore) for found, ignore in self.ignored],
            "expired": [asdict(found) | _reason(ignore) for found, ignore in self.expired],
            "unused": [_plain(ignore) for ignore in self.unused],
            "suppressed": [asdict(found) | {"by": by} for found, by in self.suppressed],
        }

    def _findings(self, platform: str) -> list[dict[str, Any]]:
        return [
            asdict(finding) | {"blocks": self.blocks(finding)}
            for finding in self.findings
            if finding.platform == platform
        ]

    def as_text(self) -> str:
        """Return a row for each finding, who looked, and a line that counts."""
        rows = [self._row(finding) for finding in self.findings]
        rows += [
            _cells("ignored", found, f"until {ignore.until}: {ignore.reason}")
            for found, ignore in self.ignored
        ]
        rows += [_cells("left out", found, printable(by)) for found, by in self.suppressed]
        return "\n".join([*([table(rows), ""] if rows else []), self._scanner(), self._counts()])

    def _row(self, finding: Vulnerability) -> tuple[str, ...]:
        ended = self.ended(finding)
        note = f" (it was ignored until {ended.until})" if ended else ""
        level = "error" if self.blocks(finding) else "warning"
        return _cells(level, finding, f"{finding.fix}{note}")

    def _scanner(self) -> str:
        database = f"database of {self.database}" if self.database else "database of unknown age"
        return f"{' '.join(part for part in (self.scanner, self.version) if part)}, {database}"

    def _counts(self) -> str:
        seen = ", ".join(f"{name} ({packages} packages)" for name, packages in self.platforms)
        blocking = len(self.blocking)
        parts = [f"{blocking} of severity {self.threshold} or worse"]
        parts[0] += " with a fix" if self.only_fixed else ""
        parts += [f"{len(self.findings) - blocking} warnings", f"{len(self.ignored)} ignored"]
        if self.suppressed:
            parts.append(f"{len(self.suppressed)} left out by {self.scanner}")
        return f"{seen}: {', '.join(parts)}"

    def as_blocking(self) -> str:
        """Return a row for each finding that fails the gate."""
        rows = [self._row(finding)[1:] for finding in self.blocking]
        more = len(rows) - _LONGEST
        return table(rows[:_LONGEST]) + (f"\n… and {more} more" if more > 0 else "")


def _cells(level: str, finding: Vulnerability, note: str) -> tuple[str, ...]:
    package = f"{finding.package} {finding.version}"
    return (level, str(finding.severity), finding.id, package, finding.where, note)


def _plain(ignore: Ignore) -> dict[str, Any]:
    return {**asdict(ignore), "until": ignore.until.isoformat()}


def _reason(ignore: Ignore) -> dict[str, str]:
    return {"reason": ignore.reason, "until": ignore.until.isoformat()}


def make_report(
    image: str,
    scanner: tuple[str, str],
    scans: Sequence[tuple[str, Scanned]],
    settings: ScanSettings,
    today: date,
) -> ScanReport:
    """Return the report; an ignore counts until the end of its last day.

    Args:
        image: what was looked at.
        scanner: what looked, and its version.
        scans: what it says of each platform.
        settings: threshold and ignores.
        today: in UTC.
    """
    findings: Iterable[Vulnerability] = (one for _, scan in scans for one in scan.findings)
    found = sort_out(findings, settings.ignore, today)
    return ScanReport(
        image=image,
        scanner=scanner[0],
        version=scanner[1],
        database=min((scan.database for _, scan in scans), default=""),
        threshold=settings.severity,
        only_fixed=settings.only_fixed,
        platforms=tuple((name, scan.packages) for name, scan in scans),
        findings=tuple(sorted((one for one, _ in found.kept), key=_worst_first)),
        ignored=found.ignored,
        expired=tuple((one, ended) for one, ended in found.kept if ended),
        unused=found.unused,
        suppressed=tuple(one for _, scan in scans for one in scan.suppressed),
    )


def _worst_first(finding: Vulnerability) -> tuple[int, str, str, str]:
    return (-finding.severity.rank, finding.id, finding.package, finding.where)


def join_reports(reports: Sequence[ScanReport]) -> ScanReport:
    """Return one report of several images, by the same scanner and settings; each finding once.

    What is told of a platform is told of it in any of them, and an ignore is unused that is
    unused in all.
    """
    first, *others = reports
    every = [finding for one in reports for finding in one.findings]
    return replace(
        first,
        image=", ".join(one.image for one in reports),
        database=min(one.database for one in reports),
        platforms=tuple({name: seen for one in reports for name, seen in one.platforms}.items()),
        findings=tuple(sorted(dict.fromkeys(every), key=_worst_first)),
        ignored=tuple(dict.fromkeys(pair for one in reports for pair in one.ignored)),
        expired=tuple(dict.fromkeys(pair for one in reports for pair in one.expired)),
        unused=tuple(i for i in first.unused if all(i in other.unused for other in others)),
        suppressed=tuple(dict.fromkeys(pair for one in reports for pair in one.suppressed)),
    )


def raise_failures(report: ScanReport) -> None:
    """Raise a GateError (exit 7) with a table of what fails; nothing where nothing does."""
    if report.blocking:
        raise GateError(
            f"{report.image} has {len(report.blocking)} known vulnerabilities of severity "
            f"{report.threshold} or worse",
            why=report.as_blocking().replace("\n", "\n  "),
            hint="take what is fixed; [[scan.ignore]] ignores one for a time, VEX tells for good",
        )


# A scan's report as SARIF.


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
