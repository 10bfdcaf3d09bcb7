"""What `docker-build` and `binary` do; apart from their options, so that it loads meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from buildlib.build.argv import call_argv, call_line
from buildlib.build.build_image import build_image, handed_over
from buildlib.build.checked_plan import plan_build
from buildlib.build.option_checks import check_versions
from buildlib.build.plan import Output
from buildlib.build.planner import BuildRequest, chosen_platforms
from buildlib.build.preflight import check_engine
from buildlib.build.result import BuildResult
from buildlib.commands.dry_build import print_plan
from buildlib.commands.images import build_images
from buildlib.commands.outputs import write_outputs
from buildlib.commands.session import Beginning, Edge
from buildlib.commands.sources import files_of
from buildlib.errors import InputError, raise_problems
from buildlib.image.platform import host_platform
from buildlib.terminal.text import to_json


def build(run: Edge, beginning: Beginning, request: BuildRequest, *, as_json: bool) -> None:
    """Build the image; where the project has several, all that are chosen, or only say how."""
    if run.batch:
        build_images(run, beginning, run.batch, request, as_json=as_json)
        return
    with files_of(run, beginning.project.get(), request) as project:
        result = build_image(
            project,
            request,
            run.executor,
            run.console,
            facts=beginning.engine,
            task="docker-build",
        )
    run.console.show(result, as_json=as_json)
    write_outputs(run.env, version=result.version, digest=result.digest, tags=result.references)


def call(
    run: Edge, beginning: Beginning, request: BuildRequest, method: str, *, as_json: bool
) -> int:
    """Have the frontend answer about the Dockerfile instead of a build; return buildx's exit code.

    Args:
        method: as buildx takes it: `check`, `outline`, `targets`, and its fields.
        as_json: the answer is buildx's own JSON.
    """
    written = [f"--{name}" for name in ("iidfile", "metadata-file") if request.values(name)]
    if request.output or request.push or written:
        raise InputError(
            f"--call {method} builds nothing",
            hint=f"leave out {', '.join(written) or '--push and --output'}",
        )
    if as_json and "format=" not in method:
        method = f"{method},format=json"
    project = beginning.project.get()
    plan, warnings = plan_build(project, request)
    line = call_line(plan, method)
    if run.dry or beginning.engine is None:
        run.plan(line)
        return 0
    for warning in warnings:
        run.console.warn(warning)
    engine = beginning.engine.get()
    problems = check_engine(engine, endpoint=project.env.get("DOCKER_HOST", ""))
    raise_problems([*problems, *check_versions([("call", method), *plan.options], engine)])
    run.console.line(line)
    with handed_over(plan):
        return run.executor.attach(call_argv(plan, method))


def build_binaries(
    run: Edge, beginning: Beginning, platforms: Sequence[str], *, as_json: bool
) -> None:
    """Build the program for each platform, or only say how."""
    project = beginning.project.get()
    target = project.config.binary_target
    if not target:
        raise InputError("no stage holds the binary", hint='set binary-target = "stage"')
    chosen = BuildRequest(platforms=tuple(platforms) or (str(host_platform()),))
    results: list[BuildResult] = []
    for one in chosen_platforms(chosen, project):
        folder = project.config.root / project.config.folder("bin") / one.slug
        request = BuildRequest(
            platforms=(str(one),), target=target, output=Output.LOCAL, destination=folder
        )
        if run.dry:
            print_plan(run, project, request)
            continue
        with files_of(run, project, request):
            done = build_image(project, request, run.executor, run.console, facts=beginning.engine)
            results.append(done)
    if run.dry:
        return
    if as_json:
        run.console.answer(to_json({"binaries": [result.as_dict() for result in results]}))
    for result in results if not as_json else ():
        for file in sorted(Path(result.destination).iterdir()):
            run.console.answer(str(file))
