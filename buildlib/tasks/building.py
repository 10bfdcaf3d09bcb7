"""What `docker-build` and `binary` do; apart from their options, so that it loads meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from buildlib.build import build_image, plan_build
from buildlib.command import build_line
from buildlib.errors import InputError
from buildlib.plan import Output
from buildlib.planning import BuildRequest, chosen_platforms
from buildlib.platforms import host_platform
from buildlib.project import Project
from buildlib.report import BuildResult, to_json
from buildlib.tasks.edge import Beginning, Edge


def _plan_only(run: Edge, project: Project, request: BuildRequest) -> None:
    """Print the line that would have run; warnings go to stderr."""
    plan, warnings = plan_build(project, request)
    for warning in warnings:
        run.console.warn(warning)
    run.console.answer(build_line(plan))


def build(run: Edge, beginning: Beginning, request: BuildRequest, *, as_json: bool) -> None:
    """Build the image, or only say how."""
    project = beginning.project.get()
    if run.dry:
        _plan_only(run, project, request)
        return
    result = build_image(project, request, run.executor, run.console, facts=beginning.engine)
    run.console.answer(result.as_json() if as_json else result.as_text())


def build_binaries(
    run: Edge, beginning: Beginning, platforms: Sequence[str], *, as_json: bool
) -> None:
    """Build the program for each platform, or only say how."""
    project = beginning.project.get()
    target = project.config.binary_target
    if not target:
        raise InputError("no stage holds the binary", hint='set binary-target = "stage"')
    wanted = BuildRequest(platforms=tuple(platforms) or (str(host_platform()),))
    results: list[BuildResult] = []
    for one in chosen_platforms(wanted, project):
        folder = project.config.root / "bin" / one.slug
        request = BuildRequest(
            platforms=(str(one),), target=target, output=Output.LOCAL, destination=folder
        )
        if run.dry:
            _plan_only(run, project, request)
        else:
            done = build_image(project, request, run.executor, run.console, facts=beginning.engine)
            results.append(done)
    if as_json:
        run.console.answer(to_json({"binaries": [result.as_dict() for result in results]}))
    for result in results if not as_json else ():
        for file in sorted(Path(result.destination).iterdir()):
            run.console.answer(str(file))
