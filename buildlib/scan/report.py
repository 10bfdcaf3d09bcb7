"""The report of a scan: what fails, what is only reported, and what is ignored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, ClassVar, Final

from buildlib.config.scan import ScanIgnore, ScanSettings
from buildlib.errors import GateError
from buildlib.files import counted
from buildlib.findings.finding import Level, Rule
from buildlib.findings.report import FindingsReport
from buildlib.findings.suppressions import apply, as_dict, justification, with_reason
from buildlib.findings.vulnerability import Severity, Vulnerability
from buildlib.scan.scanner import Scanned, Suppressed
from buildlib.terminal.streams import printable
from buildlib.terminal.text import table

# An error is read in a terminal; the report has them all.
_LONGEST: Final = 20
# GitHub sorts alerts by it: over 9.0 is critical, from 7.0 on high, from 4.0 on medium, the rest
# low. A scanner's word covers several of CVSS's scores; these are within.
_SCORES: Final = {
    Severity.CRITICAL: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.5",
    Severity.LOW: "2.0",
    Severity.UNKNOWN: "2.0",
    Severity.NEGLIGIBLE: "0.1",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanReport(FindingsReport[Vulnerability, ScanIgnore]):
    """The outcome for one image.

    Args:
        scanner, version: what scanned it; the version is empty where the scanner does not say.
        database: the time of its database, of the oldest it used, RFC 3339; empty where it does
            not say.
        threshold: what is this bad or worse fails the gate.
        only_fixed: what has no fix does not.
        platforms: of the image, each with how many packages the scanner sees.
        expired: what counts again, and the ignore that has ended.
        suppressed: what the scanner left out, by a VEX file or its own configuration.
    """

    tool: ClassVar[str] = "buildlib scan"
    scanner: str
    version: str
    database: str
    threshold: Severity
    only_fixed: bool
    platforms: tuple[tuple[str, int], ...]
    expired: tuple[tuple[Vulnerability, ScanIgnore], ...] = ()
    suppressed: tuple[Suppressed, ...] = ()

    def warnings(self) -> tuple[str, ...]:
        """Return what to say of ignores that match nothing, and of what is not known."""
        unused = (
            f"nothing is left to ignore of {one.id} {one.package}".rstrip() for one in self.unused
        )
        unseen = (
            f"{self.scanner} sees no package in the image for {platform}: no vulnerability of what "
            "is in it would be known"
            for platform, packages in self.platforms
            if not packages
        )
        return (*unused, *unseen)

    def problems(self) -> list[GateError]:
        """Return a problem with a table of what fails, where anything does."""
        if not self.errors:
            return []
        rows = [_row(str(one.level), one, one.message)[1:] for one in self.errors]
        more = f"\n… and {len(rows) - _LONGEST} more" if len(rows) > _LONGEST else ""
        return [
            GateError(
                f"{self.image} has {len(rows)} known vulnerabilities of severity "
                f"{self.threshold} or worse",
                why=(table(rows[:_LONGEST]) + more).replace("\n", "\n  "),
                hint="update what is fixed; [[scan.ignore]] ignores one for a time, VEX for good",
            )
        ]

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
            "passed": not self.errors,
            "platforms": [
                {
                    "platform": name,
                    "packages": packages,
                    "findings": [
                        one.as_dict() | {"blocks": one.level is Level.ERROR}
                        for one in self.findings
                        if one.platform == name
                    ],
                }
                for name, packages in self.platforms
            ],
            "ignored": [with_reason(*one) for one in self.ignored],
            "expired": [with_reason(*one) for one in self.expired],
            "unused": [as_dict(ignore) for ignore in self.unused],
            "suppressed": [one.as_dict() | {"by": by} for one, by in self.suppressed],
        }

    def as_text(self) -> str:
        """Return a row for each finding, what scanned the image, and a line that counts."""
        rows = [_row(str(one.level), one, one.message) for one in self.findings]
        rows += [_row("ignored", one, justification(why)) for one, why in self.ignored]
        rows += [_row("left out", one, printable(by)) for one, by in self.suppressed]
        return "\n".join([*([table(rows), ""] if rows else []), self._scanner(), self._counts()])

    def _scanner(self) -> str:
        database = f"database of {self.database}" if self.database else "database of unknown age"
        return f"{' '.join(part for part in (self.scanner, self.version) if part)}, {database}"

    def _counts(self) -> str:
        seen = ", ".join(f"{name} ({counted(count, 'package')})" for name, count in self.platforms)
        blocking = len(self.errors)
        parts = [f"{blocking} of severity {self.threshold} or worse"]
        parts[0] += " with a fix" if self.only_fixed else ""
        parts += [counted(len(self.findings) - blocking, "warning"), f"{len(self.ignored)} ignored"]
        if self.suppressed:
            parts.append(f"{len(self.suppressed)} left out by {self.scanner}")
        return f"{seen}: {', '.join(parts)}"

    def rules(self) -> list[Rule]:
        """Return a rule for each vulnerability."""
        # The same one may be found in several packages: the worst speaks for the rule.
        found = sorted(self.everything(), key=lambda one: one.severity.rank)
        return list({one.rule: _rule(one) for one in found}.values())


def _row(outcome: str, finding: Vulnerability, note: str) -> tuple[str, ...]:
    package = f"{finding.package} {finding.version}"
    return (outcome, str(finding.severity), finding.rule, package, finding.where, note)


def _rule(finding: Vulnerability) -> Rule:
    others = f", also {', '.join(finding.aliases)}" if finding.aliases else ""
    return Rule(
        id=finding.rule,
        what=f"{finding.package} is vulnerable",
        why=f"{finding.rule}{others}, severity {finding.severity}, {finding.fix}",
        link=finding.link,
        properties={"security-severity": _SCORES[finding.severity], "tags": ["security"]},
    )


def make_report(
    image: str,
    scanner: tuple[str, str],
    scans: Sequence[tuple[str, Scanned]],
    settings: ScanSettings,
    today: date,
) -> ScanReport:
    """Return the report; an ignore counts until the end of its last day.

    Args:
        scanner: what scanned it, and its version.
        settings: threshold and ignores.
        today: in UTC.
    """
    findings = (_rated(one, settings) for _, scan in scans for one in scan.findings)
    found = apply(settings.ignore, findings, today)
    return ScanReport(
        image=image,
        scanner=scanner[0],
        version=scanner[1],
        database=min((scan.database for _, scan in scans), default=""),
        threshold=settings.severity,
        only_fixed=settings.only_fixed,
        platforms=tuple((name, scan.packages) for name, scan in scans),
        findings=tuple(sorted(found.kept, key=_worst_first)),
        ignored=found.suppressed,
        expired=found.expired,
        unused=found.unused,
        suppressed=tuple(one for _, scan in scans for one in scan.suppressed),
    )


def _rated(finding: Vulnerability, settings: ScanSettings) -> Vulnerability:
    bad = finding.severity.rank >= settings.severity.rank
    fails = bad and (bool(finding.fixed_in) or not settings.only_fixed)
    return replace(finding, level=Level.ERROR if fails else Level.WARNING)


def _worst_first(finding: Vulnerability) -> tuple[int, str, str, str]:
    return (-finding.severity.rank, finding.rule, finding.package, finding.where)


def join_reports(reports: Sequence[ScanReport]) -> ScanReport:
    """Return one report of several images, by the same scanner and settings; each finding once.

    A finding belongs to its platform, whichever image has it; an ignore is unused only if it is
    unused in all of them.
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
