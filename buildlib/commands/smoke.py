"""What `docker-smoke` does; apart from its options, which every task loads."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import NamedTuple

from buildlib.build.planner import BuildRequest, chosen_platforms
from buildlib.build.preflight import check_engine
from buildlib.commands.connect import connect
from buildlib.commands.session import Edge
from buildlib.console import to_json
from buildlib.containers.runner import describe_engine
from buildlib.errors import InputError, raise_problems
from buildlib.files import write_text
from buildlib.image.platform import host_platform
from buildlib.project import Project
from buildlib.shell import shell_line
from buildlib.smoke.check_names import check_only
from buildlib.smoke.report import SmokeResult, as_junit, as_markdown, as_matrix, raise_failures
from buildlib.smoke.runner import SmokeFlow, SmokeRequest, planned

_SUMMARY: str = "GITHUB_STEP_SUMMARY"


class Wanted(NamedTuple):
    """The task's options."""

    platforms: tuple[str, ...]
    image: str = ""
    version: str = ""
    only: tuple[str, ...] = ()
    jobs: int = 0
    junit: Path | None = None
    as_json: bool = False


def docker_smoke(run: Edge, wanted: Wanted) -> None:
    """Try the image, and report.

    Raises:
        GateError: a check failed (exit 7), after everything was reported.
        BuildlibError: it could not be tried.
    """
    if wanted.jobs < 0:
        raise InputError("--jobs must not be negative")
    results = try_image(run, wanted)
    if results:
        _report(run, wanted, results)
        raise_failures(results)


def try_image(run: Edge, wanted: Wanted, *, policy: bool = True) -> list[SmokeResult]:
    """Return what smoke saw; a dry run prints the lines, and sees nothing.

    Raises:
        BuildlibError: it could not be tried.
    """
    answer = connect(run)
    begun = run.begin()
    project = begun.project.get()
    check_only(project.config, wanted.only)
    request = replace(_request(project, wanted, run.today()), policy=policy)
    if begun.engine is None:
        for argv in planned(project, request):
            run.console.answer(shell_line(argv))
        return []
    facts = begun.engine.get()
    raise_problems(check_engine(facts, endpoint=run.env.get("DOCKER_HOST", "")))
    engine = describe_engine(answer, facts)
    return SmokeFlow(project, request, engine, run.executor, run.console).run()


def _request(project: Project, wanted: Wanted, today: date) -> SmokeRequest:
    names = wanted.platforms or (f"linux/{host_platform().arch}",)
    return SmokeRequest(
        platforms=chosen_platforms(BuildRequest(platforms=names), project),
        today=today,
        image=wanted.image,
        version=wanted.version,
        only=wanted.only,
        jobs=wanted.jobs,
    )


def _report(run: Edge, wanted: Wanted, results: list[SmokeResult]) -> None:
    if not any(result.findings for result in results):
        raise InputError(f"no check is called {' or '.join(wanted.only)}")
    if wanted.junit:
        write_text(wanted.junit, as_junit(results))
    if summary := run.env.get(_SUMMARY):
        write_text(Path(summary), as_markdown(results), append=True)
    if wanted.as_json:
        run.console.answer(to_json({"smoke": [result.as_dict() for result in results]}))
    else:
        run.console.answer(as_matrix(results))
