"""What smoke found: for a terminal, for programs, and for the pages of a CI service."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final
from xml.etree import ElementTree as ET

from buildlib.console import table
from buildlib.errors import GateError, raise_problems
from buildlib.streams import printable

# Started as root, as the image itself is, every process runs as the configured user.
DROPS_ROOT: Final = "drops root"


class State(StrEnum):
    """How a check went; what was left out could not be asked here, and says why."""

    PASSED = "ok"
    FAILED = "failed"
    LEFT_OUT = "left out"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One check of one platform.

    Args:
        check: its name, the same on every platform.
        state: how it went.
        seconds: that it took.
        detail: why it failed or was left out.
        repeat: the line that repeats it by hand, for a shell.
    """

    check: str
    state: State
    seconds: float = 0.0
    detail: str = ""
    repeat: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SmokeResult:
    """Every check of one platform's image; `digest` is that of its manifest."""

    image: str
    platform: str
    digest: str
    version: str
    seconds: float
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> tuple[Finding, ...]:
        """Return the findings that stop a release."""
        return tuple(f for f in self.findings if f.state is State.FAILED)

    @property
    def drops_root(self) -> bool:
        """Return whether a start as root was seen to leave no process of root."""
        return any(f.check == DROPS_ROOT and f.state is State.PASSED for f in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return asdict(self) | {"passed": not self.failed}


def _cell(result: SmokeResult, check: str) -> str:
    found = [finding for finding in result.findings if finding.check == check]
    return f"{found[0].state} {found[0].seconds:.1f} s" if found else ""


def _rows(results: Sequence[SmokeResult]) -> list[tuple[str, ...]]:
    checks = dict.fromkeys(f.check for result in results for f in result.findings)
    rows = [(check, *(_cell(result, check) for result in results)) for check in checks]
    total = ("seconds", *(f"{result.seconds:.1f}" for result in results))
    return [("check", *(result.platform for result in results)), *rows, total]


def as_matrix(results: Sequence[SmokeResult]) -> str:
    """Return a table of checks by platforms, and below it what failed or was left out."""
    parts = [table(_rows(results)), *map(_details, results)]
    return "\n\n".join(part for part in parts if part)


def _details(result: SmokeResult) -> str:
    told = [f for f in result.findings if f.state is not State.PASSED]
    return "\n".join(
        f"{result.platform}: {f.check}: {f.state}: {f.detail}"
        + (f"\n  repeat it: {f.repeat}" if f.repeat else "")
        for f in told
    )


def as_markdown(results: Sequence[SmokeResult]) -> str:
    """Return the same for a page that shows Markdown, such as GitHub's step summary."""
    head, *rows = _rows(results)
    lines = [
        "## Smoke",
        "",
        _line(head),
        _line(["---"] * len(head)),
        *(_line([_marked(cell) for cell in row]) for row in rows),
    ]
    details = [_details(result) for result in results]
    blocks = [f"{_fence(detail)}\n{detail}\n{_fence(detail)}" for detail in details if detail]
    return "\n".join([*lines, "", *blocks, ""])


def _fence(text: str) -> str:
    """Return what a block stands between; no log ends it from inside."""
    return "`" * (max(map(len, re.findall("`+", text)), default=2) + 1)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(printable(cell).replace("|", "\\|") for cell in cells) + " |"


def _marked(cell: str) -> str:
    return f"**{cell}**" if cell.startswith(State.FAILED) else cell


def raise_failures(results: Sequence[SmokeResult]) -> None:
    """Raise a GateError (exit 7) that names every check that failed; nothing where none did."""
    raise_problems(
        [
            GateError(
                f"smoke failed on {result.platform}",
                why="\n  ".join(f"{f.check}: {f.detail}" for f in result.failed),
            )
            for result in results
            if result.failed
        ]
    )


# Findings as JUnit XML, which CI services read. There is no standard; this is what the readers of
# Jenkins, GitLab and GitHub's actions have in common: `testsuites`, a `testsuite` a platform, and
# `failure` and `skipped` with a message.


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
