"""The standard library's advisories of 2026 whose severity is known, for Go 1.24 to 1.27.

Ids, CVEs and ranges: the Go vulnerability database, golang.org/x/vulndb of 2026-11-05, data/osv.
It has no severities: those are what Docker Scout's public reports on images say (CVE-2026-39822,
27145, 42505 and 42507: Trivy, in artifact-keeper/artifact-keeper pull request 3354; CVE-2026-27137
and 27138: NVD). One that they give none for is "unknown".
"""

from __future__ import annotations

from typing import Final, NamedTuple

from grypedb import Advisory
from semver import Version


class Fix(NamedTuple):
    """The first fixed version of a line, and the first that is not; all before it where empty."""

    fixed: str
    since: str = ""

    @property
    def affected(self) -> str:
        return f">={self.since},<{self.fixed}" if self.since else f"<{self.fixed}"


_JANUARY: Final = (Fix("1.24.12"), Fix("1.25.6", "1.25.0"))
_FEBRUARY: Final = (Fix("1.24.13"), Fix("1.25.7", "1.25.0-0"), Fix("1.26.0-rc.3", "1.26.0-rc.1"))
_MARCH: Final = (Fix("1.25.8"), Fix("1.26.1", "1.26.0-0"))
_MARCH_OF_26: Final = (Fix("1.26.1", "1.26.0-0"),)
_APRIL: Final = (Fix("1.25.9"), Fix("1.26.2", "1.26.0-0"))
_MAY: Final = (Fix("1.25.10"), Fix("1.26.3", "1.26.0-0"))
_JUNE: Final = (Fix("1.25.11"), Fix("1.26.4", "1.26.0-0"))
_JULY: Final = (Fix("1.25.12"), Fix("1.26.5", "1.26.0-0"), Fix("1.27.0-rc.2", "1.27.0-0"))
_AUGUST: Final = (Fix("1.25.13"), Fix("1.26.6", "1.26.0-0"), Fix("1.27.0-rc.3", "1.27.0-0"))
_OCTOBER: Final = (Fix("1.26.9"), Fix("1.27.2", "1.27.0-0"))
_LATER: Final = (Fix("1.26.10"), Fix("1.27.3", "1.27.0-0"))

_TABLE: Final = (
    ("GO-2026-4341", "CVE-2025-61726", "high", _JANUARY),
    ("GO-2026-4337", "CVE-2025-68121", "critical", _FEBRUARY),
    ("GO-2026-4599", "CVE-2026-27137", "high", _MARCH_OF_26),
    ("GO-2026-4600", "CVE-2026-27138", "medium", _MARCH_OF_26),
    ("GO-2026-4601", "CVE-2026-25679", "high", _MARCH),
    ("GO-2026-4603", "CVE-2026-27142", "medium", _MARCH),
    ("GO-2026-4870", "CVE-2026-32283", "high", _APRIL),
    ("GO-2026-4946", "CVE-2026-32281", "high", _APRIL),
    ("GO-2026-4947", "CVE-2026-32280", "high", _APRIL),
    ("GO-2026-4918", "CVE-2026-33814", "high", _MAY),
    ("GO-2026-4981", "CVE-2026-33811", "high", _MAY),
    ("GO-2026-5037", "CVE-2026-27145", "high", _JUNE),
    ("GO-2026-5038", "CVE-2026-42504", "high", _JUNE),
    ("GO-2026-5039", "CVE-2026-42507", "medium", _JUNE),
    ("GO-2026-4970", "CVE-2026-39822", "high", _JULY),
    ("GO-2026-5856", "CVE-2026-42505", "medium", _JULY),
    ("GO-2026-5026", "CVE-2026-39821", "critical", _AUGUST),
    ("GO-2026-6090", "CVE-2026-56862", "high", _AUGUST),
    ("GO-2026-6599", "CVE-2026-94448", "unknown", _OCTOBER),
    ("GO-2026-6600", "CVE-2026-97030", "unknown", _OCTOBER),
    ("GO-2026-6603", "CVE-2026-78659", "high", _OCTOBER),
    ("GO-2026-6604", "CVE-2026-56857", "critical", _OCTOBER),
    ("GO-2026-6605", "CVE-2026-56866", "high", _OCTOBER),
    ("GO-2026-6607", "CVE-2026-97031", "high", _OCTOBER),
    ("GO-2026-6608", "CVE-2026-94440", "high", _OCTOBER),
    ("GO-2026-6609", "CVE-2026-78667", "high", _OCTOBER),
    ("GO-2026-6610", "CVE-2026-78660", "high", _OCTOBER),
    ("GO-2026-6611", "CVE-2026-78669", "high", _OCTOBER),
    ("GO-2026-6612", "CVE-2026-78663", "critical", _OCTOBER),
    ("GO-2026-6613", "CVE-2026-94439", "high", _OCTOBER),
    ("GO-2026-6617", "CVE-2026-97032", "unknown", _OCTOBER),
    ("GO-2026-6809", "CVE-2026-111943", "unknown", _LATER),
)
STDLIB: Final = tuple(
    Advisory(
        *(id_, cve, severity, "go-module", "stdlib"),
        affected=" || ".join(fix.affected for fix in fixes),
        fixed=" || ".join(fix.fixed for fix in fixes),
    )
    for id_, cve, severity, fixes in _TABLE
)


def findings(go: str) -> dict[str, str]:
    """Return the severity of each advisory that a release of Go is affected by, by its id."""
    number = Version.parse(go)
    return {
        id_: severity
        for id_, _, severity, fixes in _TABLE
        if any(
            Version.parse(since or "0.0.0") <= number < Version.parse(fixed)
            for fixed, since in fixes
        )
    }
