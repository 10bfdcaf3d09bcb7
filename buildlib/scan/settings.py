"""The table `scan` of a configuration: the scanner, what fails, what is ignored until when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from buildlib.errors import InputError, did_you_mean
from buildlib.ignores import parse_date, parse_ignores
from buildlib.scan.finding import THRESHOLDS, Severity, Vulnerability
from buildlib.values import (
    check_keys,
    parse_fields,
    parse_flag,
    parse_text,
    parse_texts,
)

# The first that is there is taken, where the configuration names none.
SCANNERS: Final = ("grype", "trivy")


class Ignore(NamedTuple):
    """What need not be mended for now; `package` is a pattern of the package's name, or empty."""

    id: str
    reason: str
    until: date
    package: str = ""

    def covers(self, finding: Vulnerability) -> bool:
        """Return whether it is about a finding; any of its names will do."""
        named = self.id in {finding.id, *finding.aliases}
        # A name as it is told is about itself, whatever it would match as a pattern.
        here = finding.package == self.package or fnmatchcase(finding.package, self.package)
        return named and (not self.package or here)


class ScanSettings(NamedTuple):
    """What fails the gate.

    Args:
        scanner: one of `SCANNERS`; empty: whichever is there.
        severity: what is this bad or worse fails; what is milder is told.
        only_fixed: what has no fix is only told.
        vex: files for the scanner, relative to the project; they say what does not concern us.
        ignore: what need not be mended for now.
        allow_unknown: an image with programs may be one in which no package is seen.
    """

    scanner: str = ""
    severity: Severity = Severity.HIGH
    only_fixed: bool = False
    vex: tuple[str, ...] = ()
    ignore: tuple[Ignore, ...] = ()
    allow_unknown: bool = False


NO_SCAN: Final = ScanSettings()


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
        MismatchError: it is no text.
        InputError: there is no such severity, or it is no threshold (exit 2).
    """
    name = parse_text(value)
    if name not in THRESHOLDS:
        raise InputError(f"there is no severity {name!r}", hint=did_you_mean(name, THRESHOLDS))
    return Severity(name)


_IGNORE_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    "id": parse_text,
    "reason": parse_text,
    "until": parse_date,
    "package": parse_text,
}


def _ignores(value: object) -> tuple[Ignore, ...]:
    return parse_ignores(
        value, _IGNORE_KEYS, Ignore, where="scan.ignore", example='id = "CVE-2024-24790"'
    )


_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    "scanner": _scanner,
    "severity": parse_threshold,
    "only-fixed": parse_flag,
    "vex": parse_texts,
    "ignore": _ignores,
    "allow-unknown": parse_flag,
}


def parse_scan(value: object) -> ScanSettings:
    """Return what the table says.

    Raises:
        MismatchError: a value is of another kind.
        InputError: a key, a scanner or a severity is not known, or an ignore says too little
            (exit 2).
    """
    if isinstance(value, Mapping):
        check_keys(value, _KEYS, where="scan.")
    return ScanSettings(**parse_fields(value, _KEYS, "scan."))
