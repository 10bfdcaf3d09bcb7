"""What `docker-policy` does; apart from its options, so that only the task itself loads it."""

from __future__ import annotations

from pathlib import Path

from buildlib.commands.session import Edge
from buildlib.console import to_json
from buildlib.errors import BuildlibError, CancelledError
from buildlib.files import write_text
from buildlib.findings.sarif import dockerfile_uri
from buildlib.image.archive import Archive
from buildlib.image.size import saved
from buildlib.policy.check import check_policy, policy_lines
from buildlib.policy.report import PolicyReport, as_sarif, raise_failures
from buildlib.project import Project
from buildlib.smoke.report import DROPS_ROOT


def judge(run: Edge, image: str, *, release: bool, sarif: str, as_json: bool) -> None:
    """Check, and report.

    Raises:
        GateError: a rule is broken (exit 7), after everything was reported.
        BuildlibError: it could not be checked.
    """
    project = run.project()
    if run.dry:
        for line in policy_lines(project, run.today()):
            run.console.answer(line)
        return
    named = image or project.config.local_image
    with saved(run.executor, named) as archive:
        report = check_policy(
            project,
            archive,
            run.executor,
            image=named,
            release=release,
            today=run.today(),
            dropped=_dropped(run, project, named, archive),
        )
    for ignore in report.unused:
        run.console.warn(f"nothing is left to ignore of {ignore.rule} {ignore.path}".rstrip())
    if sarif:
        write_sarif(project, report, Path(sarif))
    run.console.answer(to_json(report.as_dict()) if as_json else report.as_text())
    raise_failures(report)


def _dropped(run: Edge, project: Project, image: str, archive: Archive) -> tuple[str, ...]:
    """Let smoke see whether the image gives up a start as root, where it is said to do so."""
    if not (project.config.run.drops_root and project.config.smoke.serves):
        return ()
    from buildlib.commands.smoke import Wanted, try_image  # noqa: PLC0415 - few images start so

    platforms = tuple(one.platform for one in archive.images())
    wanted = Wanted(platforms=platforms, image=image, only=(DROPS_ROOT,))
    try:
        results = try_image(run, wanted, policy=False)
    except CancelledError:
        raise
    except BuildlibError as error:
        run.console.warn(f"smoke could not see whether {image} drops root: {error}")
        return ()
    return tuple(result.platform for result in results if result.drops_root)


def write_sarif(project: Project, report: PolicyReport, path: Path) -> None:
    """Write the report for code scanning; raises InputError (exit 2) where it can't be."""
    file = dockerfile_uri(project.config.root, project.dockerfile_path)
    document = as_sarif(report, dockerfile=file)
    write_text(path, to_json(document) + "\n")
