"""The work of `docker-policy`."""

from __future__ import annotations

from pathlib import Path

from buildlib.commands.session import Edge
from buildlib.commands.smoke import SmokeOptions, try_image
from buildlib.errors import FailureError, raise_problems
from buildlib.findings.report import show
from buildlib.findings.sarif import write_sarif
from buildlib.image.archive import Archive
from buildlib.image.size import saved
from buildlib.policy.check import check_policy, policy_lines
from buildlib.project import Project
from buildlib.smoke.report import DROPS_ROOT


def policy(run: Edge, image: str, *, release: bool, sarif: str, as_json: bool) -> None:
    """Check, and report.

    Raises:
        GateError: a rule is broken (exit 7), after everything was reported.
        BuildlibError: it could not be checked.
    """
    project = run.project()
    if run.dry:
        for line in policy_lines(project, run.today()):
            run.plan(line)
        return
    named = image or run.local_image(project.config)
    with run.console.opening(f"reading {named}", saved(run.executor, named)) as archive:
        dropped = _dropped(run, project, named, archive)
        with run.console.running(f"checking {named}"):
            report = check_policy(
                project,
                archive,
                run.executor,
                image=named,
                release=release,
                today=run.today(),
                dropped=dropped,
            )
    if sarif:
        file, root = project.dockerfile_path, project.config.root
        write_sarif(Path(sarif), report, root=root, dockerfile=file)
    show(report, run.console, as_json=as_json)
    raise_problems(report.problems())


def _dropped(run: Edge, project: Project, image: str, archive: Archive) -> tuple[str, ...]:
    """Let smoke see whether the image gives up a start as root, where it is said to do so."""
    if not (project.config.run.drops_root and project.config.smoke.serves):
        return ()
    platforms = tuple(one.platform for one in archive.images())
    options = SmokeOptions(platforms=platforms, image=image, only=(DROPS_ROOT,))
    try:
        return try_image(run, options, policy=False).drops_root
    except FailureError as error:
        run.console.warn(f"smoke could not see whether {image} drops root: {error}")
        return ()
