"""The table `scan` of a configuration: the scanner, what fails, what is ignored until when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from typing import Final

from buildlib.config.key_types import FLAG, TEXT, TEXTS, choice, parse_text, setting, table_type
from buildlib.config.suppressions import DATE, ignores_type
from buildlib.errors import InputError, did_you_mean
from buildlib.findings.vulnerability import THRESHOLDS, Severity, Vulnerability

# The first that is there is taken, where the configuration names none.
SCANNERS: Final = ("grype", "trivy")


def _scanner(value: object) -> str:
    name = parse_text(value)
    if name and name not in SCANNERS:
        raise InputError(
            f"scan.scanner: there is no scanner {name!r}", hint=did_you_mean(name, SCANNERS)
        )
    return name


def parse_threshold(value: object) -> Severity:
    """Return the severity from which on a finding fails.

    Raises:
        MismatchError: it is not text.
        InputError: there is no such severity, or it is no threshold (exit 2).
    """
    name = parse_text(value)
    if name not in THRESHOLDS:
        raise InputError(f"there is no severity {name!r}", hint=did_you_mean(name, THRESHOLDS))
    return Severity(name)


@dataclass(frozen=True, kw_only=True)
class ScanIgnore:
    """What need not be fixed for now."""

    id: str = setting(TEXT, "the vulnerability, by any of its names")
    reason: str = setting(TEXT, "why")
    until: date = setting(DATE, "last day in UTC")
    package: str = setting(TEXT, "pattern of the package's name", default="")

    def covers(self, finding: Vulnerability) -> bool:
        """Return whether it is about a finding; any of its names will do."""
        named = self.id in {finding.rule, *finding.aliases}
        # A name as it is told is about itself, whatever it would match as a pattern.
        here = finding.package == self.package or fnmatchcase(finding.package, self.package)
        return named and (not self.package or here)


@dataclass(frozen=True, kw_only=True)
class ScanSettings:
    """What fails the gate."""

    scanner: str = setting(
        choice(_scanner, SCANNERS),
        "scanner to use; left out: the first that is installed",
        default="",
    )
    severity: Severity = setting(
        choice(parse_threshold, THRESHOLDS),
        "findings of this severity or worse fail; others are only reported",
        default=Severity.HIGH,
    )
    only_fixed: bool = setting(FLAG, "findings without a fix are only reported", default=False)
    vex: tuple[str, ...] = setting(
        TEXTS, "VEX files for the scanner, relative to the project", default=()
    )
    ignore: tuple[ScanIgnore, ...] = setting(
        ignores_type(ScanIgnore, where="scan.ignore", example='id = "CVE-2024-24790"'),
        "findings that need not be fixed for now, each with its reason and its last day",
        default=(),
    )
    allow_unknown: bool = setting(
        FLAG,
        "an image with programs may be one in which the scanner sees no package",
        default=False,
    )


SCAN: Final = table_type(ScanSettings)
