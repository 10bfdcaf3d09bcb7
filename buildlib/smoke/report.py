"""The report of smoke: for a terminal, for programs, and for the pages of a CI service."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final
from xml.etree import ElementTree as ET

from buildlib.errors import GateError
from buildlib.findings.report import Report
from buildlib.terminal.streams import printable
from buildlib.terminal.text import table

POLICY: Final = "policy"
_IGNORING: Final = "[[policy.ignore]] in the configuration ignores a policy rule, with a reason"
# Started as root, as the image itself is, every process runs as the configured user.
DROPS_ROOT: Final = "drops root"
# XML 1.0 can't hold these, not even escaped; a container's log may.
_FORBIDDEN: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class CheckState(StrEnum):
    """How a check went; one that was left out could not be made here, and says why."""

    PASSED = "ok"
    FAILED = "failed"
    LEFT_OUT = "left out"


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """One check of one platform.

    Args:
        check: its name, the same on every platform.
        detail: why it failed or was left out.
        repeat: the line that repeats it by hand, for a shell.
    """

    check: str
    state: CheckState
    seconds: float = 0.0
    detail: str = ""
    repeat: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlatformResult:
    """Every check of one platform's image; `digest` is that of its manifest."""

    image: str
    platform: str
    digest: str
    version: str
    seconds: float
    checks: tuple[CheckResult, ...]

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """Return the checks that failed."""
        return tuple(one for one in self.checks if one.state is CheckState.FAILED)

    @property
    def drops_root(self) -> bool:
        """Return whether a start as root was seen to leave no process of root."""
        return any(
            one.check == DROPS_ROOT and one.state is CheckState.PASSED for one in self.checks
        )

    def as_dict(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        known = asdict(self)
        return known | {"findings": known.pop("checks"), "passed": not self.failed}


@dataclass(frozen=True, kw_only=True, slots=True)
class SmokeReport(Report):
    """Every check of every platform."""

    results: tuple[PlatformResult, ...]

    @property
    def drops_root(self) -> tuple[str, ...]:
        """Return the platforms on which a start as root was seen to leave no process of root."""
        return tuple(result.platform for result in self.results if result.drops_root)

    def problems(self) -> list[GateError]:
        """Return a problem for each platform, or one for several on which the same failed."""
        platforms: dict[str, list[str]] = {}
        for result in self.results:
            why = "\n  ".join(f"{one.check}: {one.detail}" for one in result.failed)
            if result.failed:
                platforms.setdefault(why, []).append(result.platform)
        ignoring = any(one.check == POLICY for result in self.results for one in result.failed)
        return [
            GateError(
                f"smoke failed on {', '.join(seen)}", why=why, hint=_IGNORING if ignoring else ""
            )
            for why, seen in platforms.items()
        ]

    def details(self) -> str:
        """Return what failed or was left out, for people; once if platforms have it in common."""
        platforms: dict[str, list[str]] = {}
        for result in self.results:
            for one in result.checks:
                if one.state is not CheckState.PASSED:
                    repeat = f"\n  repeat it: {one.repeat}" if one.repeat else ""
                    text = f"{one.check}: {one.state}: {one.detail}{repeat}"
                    platforms.setdefault(text, []).append(result.platform)
        return "\n".join(f"{', '.join(seen)}: {text}" for text, seen in platforms.items())

    def as_dict(self) -> dict[str, Any]:
        """Return every result, ready for JSON."""
        return {"smoke": [result.as_dict() for result in self.results]}

    def as_text(self) -> str:
        """Return a table of checks by platforms, and below it what failed or was left out."""
        return "\n\n".join(filter(None, (table(self._rows(), head=True), self.details())))

    def as_markdown(self) -> str:
        """Return the same for a page that shows Markdown, such as GitHub's step summary."""
        head, *rows = self._rows()
        lines = [
            "## Smoke",
            "",
            _line(head),
            _line(["---"] * len(head)),
            *(
                _line(f"**{cell}**" if cell.startswith(CheckState.FAILED) else cell for cell in row)
                for row in rows
            ),
        ]
        if details := self.details():
            # Longer than any in the log, which so can't end the block.
            fence = "`" * (max(map(len, re.findall("`+", details)), default=2) + 1)
            lines += ["", f"{fence}\n{details}\n{fence}"]
        return "\n".join([*lines, ""])

    def as_junit(self) -> str:
        """Return JUnit XML, which CI services read.

        There is no standard; this is what the readers of Jenkins, GitLab and GitHub's actions have
        in common: `testsuites`, a `testsuite` a platform, and `failure` and `skipped` with a
        message.
        """
        root = ET.Element("testsuites", name="smoke")
        for result in self.results:
            suite = ET.SubElement(
                root,
                "testsuite",
                name=f"smoke {result.platform}",
                tests=str(len(result.checks)),
                failures=str(len(result.failed)),
                skipped=str(sum(one.state is CheckState.LEFT_OUT for one in result.checks)),
                errors="0",
                time=f"{result.seconds:.3f}",
            )
            for one in result.checks:
                _add_case(suite, result.platform, one)
        ET.indent(root)
        return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"

    def _rows(self) -> list[tuple[str, ...]]:
        by_check: dict[str, dict[str, str]] = {}
        for result in self.results:
            for one in result.checks:
                cells = by_check.setdefault(one.check, {})
                cells.setdefault(result.platform, f"{one.state} {one.seconds:.1f} s")
        platforms = [result.platform for result in self.results]
        rows = [
            (check, *(cells.get(p, "") for p in platforms)) for check, cells in by_check.items()
        ]
        total = ("seconds", *(f"{result.seconds:.1f}" for result in self.results))
        return [("check", *platforms), *rows, total]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(printable(cell).replace("|", "\\|") for cell in cells) + " |"


def _add_case(suite: ET.Element, platform: str, result: CheckResult) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=f"smoke.{platform}",
        name=_clean(result.check),
        time=f"{result.seconds:.3f}",
    )
    if result.state is not CheckState.PASSED:
        kind = "failure" if result.state is CheckState.FAILED else "skipped"
        message = _clean(result.detail.partition("\n")[0])
        text = _clean(f"{result.detail}\n{result.repeat}".strip())
        ET.SubElement(case, kind, message=message).text = text


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
