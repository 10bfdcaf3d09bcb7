"""The work of `docker-reproduce`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from buildlib.commands.session import Edge
from buildlib.errors import raise_problems
from buildlib.executor import PlumbumExecutor
from buildlib.findings.report import show
from buildlib.reproduce.rebuild import build_lines, reproduce


def check_reproducible(
    run: Edge, platforms: tuple[str, ...], *, keep: Path | None, as_json: bool
) -> None:
    """Build twice, and report what differs.

    Raises:
        GateError: something does (exit 7), after everything was reported.
        BuildlibError: the image could not be built.
    """

    def executor_in(changes: Mapping[str, str]) -> PlumbumExecutor:
        return PlumbumExecutor({**run.env, **changes}, run.start)

    project = run.project()
    if run.dry:
        for line in build_lines(project, executor_in, platforms=platforms, keep=keep):
            run.plan(line)
        return
    report = reproduce(project, run.console, executor_in, platforms=platforms, keep=keep)
    show(report, run.console, as_json=as_json)
    raise_problems(report.problems())
