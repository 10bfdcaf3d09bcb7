"""A known vulnerability, as a scanner tells it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from buildlib.streams import printable


class Severity(StrEnum):
    """How bad it is, mildest first."""

    NEGLIGIBLE = "negligible"
    LOW = "low"
    # Nobody has judged it yet: most of these turn out harmless, and all stay visible.
    UNKNOWN = "unknown"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Return its place among the others; unknown has that of low."""
        return _RANKS[Severity.LOW if self is Severity.UNKNOWN else self]


_RANKS: Final = {severity: rank for rank, severity in enumerate(Severity)}
# What a threshold can be.
THRESHOLDS: Final = tuple(severity for severity in Severity if severity is not Severity.UNKNOWN)


def severity_of(word: object) -> Severity:
    """Return the severity that a scanner means; a word that is none of them is unknown."""
    try:
        return Severity(str(word).lower())
    except ValueError:
        return Severity.UNKNOWN


@dataclass(frozen=True, kw_only=True, slots=True)
class Vulnerability:
    """A vulnerability of a package in one platform's image.

    Args:
        id: as the scanner calls it, such as `CVE-2024-24790` or `GHSA-49gw-vxvf-fc2g`.
        severity: how bad it is.
        package, version: where it is.
        platform: whose image.
        fixed_in: versions that do not have it; empty: there is none yet.
        link: where to read more; empty where the scanner knows none.
        source: the scanner.
        path: of the file in the image that holds the package; empty where nobody knows.
        aliases: other names of the same one.
    """

    id: str
    severity: Severity
    package: str
    version: str
    platform: str
    fixed_in: tuple[str, ...] = ()
    link: str = ""
    source: str = ""
    path: str = ""
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Make one line of each text: names in an image are anybody's."""
        for name in ("id", "package", "version", "platform", "link", "path"):
            object.__setattr__(self, name, printable(getattr(self, name)))
        for name in ("fixed_in", "aliases"):
            object.__setattr__(self, name, tuple(map(printable, getattr(self, name))))

    @property
    def where(self) -> str:
        """Return it for people."""
        return " ".join(part for part in (self.platform, self.path) if part)

    @property
    def fix(self) -> str:
        """Return what mends it, for people."""
        return f"fixed in {', '.join(self.fixed_in)}" if self.fixed_in else "no fix"
