"""The one shape of every check: `report = check(…)`, `show(report)`, raise its problems."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol

from buildlib.findings.finding import Level, Rule
from buildlib.findings.suppressions import FindingT, SuppressionT
from buildlib.terminal.console import Answer

if TYPE_CHECKING:
    from buildlib.errors import BuildlibError
    from buildlib.terminal.console import Console


class Report(Answer, Protocol):
    """The result of a check."""

    __slots__ = ()

    def problems(self) -> Sequence[BuildlibError]:
        """Return what fails the check, each with its exit code."""
        return ()

    def warnings(self) -> Sequence[str]:
        """Return what a user should know although it does not fail the check."""
        return ()


def warn(report: Report, console: Console) -> None:
    """Print the warnings of a report."""
    for warning in report.warnings():
        console.warn(warning)


def show(report: Report, console: Console, *, as_json: bool) -> None:
    """Print a report, its warnings first."""
    warn(report, console)
    console.show(report, as_json=as_json)


@dataclass(frozen=True, kw_only=True, slots=True)
class FindingsReport(Report, Generic[FindingT, SuppressionT]):
    """The result of a check that goes by rules, for one image.

    Args:
        tool: the name of the check in a code scanning service.
        findings: what counts, worst first.
        ignored: what would count, and the suppression by which it does not.
        unused: suppressions that no finding matches.
    """

    tool: ClassVar[str]
    image: str
    findings: tuple[FindingT, ...]
    ignored: tuple[tuple[FindingT, SuppressionT], ...] = ()
    unused: tuple[SuppressionT, ...] = ()

    @property
    def errors(self) -> tuple[FindingT, ...]:
        """Return what fails the check."""
        return tuple(one for one in self.findings if one.level is Level.ERROR)

    def everything(self) -> tuple[FindingT, ...]:
        """Return what counts, and what is suppressed."""
        return (*self.findings, *(finding for finding, _ in self.ignored))

    def rules(self) -> Iterable[Rule]:
        """Return the rules that its findings go by, and others that were checked."""
        raise NotImplementedError
