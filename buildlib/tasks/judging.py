"""What `docker-policy` does; apart from its options, so that only the task itself loads it."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from pathlib import Path

from buildlib.policy.flow import check_policy
from buildlib.policy.report import PolicyReport, raise_failures
from buildlib.policy.sarif import as_sarif
from buildlib.project import Project
from buildlib.report import to_json, write_text
from buildlib.size import saved
from buildlib.tasks.edge import Edge


def today() -> date:
    """Return the day, in UTC."""
    return datetime.fromtimestamp(time.time(), UTC).date()


def judge(run: Edge, image: str, *, release: bool, sarif: str, as_json: bool) -> None:
    """Check, and report.

    Raises:
        GateError: a rule is broken (exit 7), after everything was reported.
        BuildlibError: it could not be checked.
    """
    project = run.project()
    named = image or f"{project.config.image}:latest"
    with saved(run.executor, named) as archive:
        report = check_policy(
            project, archive, run.executor, image=named, release=release, today=today()
        )
    for ignore in report.unused:
        run.console.warn(f"nothing is left to ignore of {ignore.rule} {ignore.path}".rstrip())
    if sarif:
        write_sarif(project, report, Path(sarif))
    run.console.answer(to_json(report.as_dict()) if as_json else report.as_text())
    raise_failures(report)


def write_sarif(project: Project, report: PolicyReport, path: Path) -> None:
    """Write the report for code scanning; raises InputError (exit 2) where it can't be."""
    root = project.config.root.resolve()
    file = project.dockerfile_path
    own = file.relative_to(root) if file.is_relative_to(root) else Path(file.name)
    document = as_sarif(report, dockerfile=own.as_posix())
    write_text(path, to_json(document) + "\n")
