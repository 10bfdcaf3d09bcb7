"""Findings as JUnit XML, which CI services read.

There is no standard; this is what the readers of Jenkins, GitLab and GitHub's actions have in
common: `testsuites`, a `testsuite` a platform, and `failure` and `skipped` with a message.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree as ET

from buildlib.smoke.report import SmokeResult, State

# XML 1.0 can't hold these, not even escaped; a container's log may.
_FORBIDDEN: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_junit(results: Sequence[SmokeResult]) -> str:
    """Return the document as text."""
    root = ET.Element("testsuites", name="smoke")
    for result in results:
        suite = ET.SubElement(
            root,
            "testsuite",
            name=f"smoke {result.platform}",
            tests=str(len(result.findings)),
            failures=str(len(result.failed)),
            skipped=str(sum(f.state is State.LEFT_OUT for f in result.findings)),
            errors="0",
            time=f"{result.seconds:.3f}",
        )
        for finding in result.findings:
            case = ET.SubElement(
                suite,
                "testcase",
                classname=f"smoke.{result.platform}",
                name=_clean(finding.check),
                time=f"{finding.seconds:.3f}",
            )
            if finding.state is not State.PASSED:
                kind = "failure" if finding.state is State.FAILED else "skipped"
                message = _clean(finding.detail.partition("\n")[0])
                ET.SubElement(case, kind, message=message).text = _clean(
                    f"{finding.detail}\n{finding.repeat}".strip()
                )
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
