"""The work of `docker-smoke`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from buildlib.build.planner import BuildRequest, chosen_platforms
from buildlib.build.preflight import check_engine
from buildlib.commands.connect import connect
from buildlib.commands.session import Edge
from buildlib.containers.runner import describe_engine
from buildlib.errors import InputError, raise_problems
from buildlib.files import write_text
from buildlib.findings.report import show
from buildlib.image.platform import host_platform
from buildlib.records.report.markdown import write_summary
from buildlib.smoke.check_names import check_only
from buildlib.smoke.report import SmokeReport
from buildlib.smoke.runner import SmokeFlow, SmokeRequest, planned


class SmokeOptions(NamedTuple):
    """The task's options."""

    platforms: tuple[str, ...]
    image: str = ""
    version: str = ""
    only: tuple[str, ...] = ()
    jobs: int = 0
    junit: Path | None = None
    as_json: bool = False


def docker_smoke(run: Edge, options: SmokeOptions) -> None:
    """Try the image, and report.

    Raises:
        GateError: a check failed (exit 7), after everything was reported.
        BuildlibError: it could not be tried.
    """
    if options.jobs < 0:
        raise InputError("--jobs must not be negative")
    report = try_image(run, options)
    if run.dry:
        return
    if not any(result.checks for result in report.results):
        raise InputError(f"no check is called {' or '.join(options.only)}")
    if options.junit:
        write_text(options.junit, report.as_junit())
    write_summary(run.env, report.as_markdown)
    show(report, run.console, as_json=options.as_json)
    raise_problems(report.problems())


def try_image(run: Edge, options: SmokeOptions, *, policy: bool = True) -> SmokeReport:
    """Return what smoke saw; a dry run prints the commands, and sees nothing.

    Raises:
        BuildlibError: it could not be tried.
    """
    answer = connect(run)
    begun = run.begin()
    project = begun.project.get()
    check_only(project.config, options.only)
    names = options.platforms or (f"linux/{host_platform().arch}",)
    request = SmokeRequest(
        platforms=chosen_platforms(BuildRequest(platforms=names), project),
        today=run.today(),
        policy=policy,
        image=options.image,
        version=options.version,
        only=options.only,
        jobs=options.jobs,
    )
    if begun.engine is None:
        for line in planned(project, request):
            run.plan(line)
        return SmokeReport(results=())
    facts = begun.engine.get()
    raise_problems(check_engine(facts, endpoint=run.env.get("DOCKER_HOST", "")))
    engine = describe_engine(answer, facts)
    return SmokeFlow(project, request, engine, run.executor, run.console).run()
