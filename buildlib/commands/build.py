"""What `docker-build` and `binary` do; apart from their options, so that it loads meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from buildlib.build.argv import build_line, call_argv, call_line
from buildlib.build.build_image import build_image, handed_over, plan_build
from buildlib.build.checkout import changes_of, from_commit, is_of_commit
from buildlib.build.option_checks import check_versions
from buildlib.build.plan import Output
from buildlib.build.planner import BuildRequest, chosen_output, chosen_platforms
from buildlib.build.preflight import check_engine
from buildlib.build.result import BuildResult
from buildlib.commands.session import Beginning, Edge
from buildlib.console import to_json
from buildlib.errors import InputError, raise_problems
from buildlib.image.platform import host_platform
from buildlib.project import Project
from buildlib.versioning.preconditions import listing

# What stays on this machine: it is built many times a day, from what is there.
_HERE: Final = (Output.LOAD, Output.LOCAL, Output.CACHE_ONLY)


@contextmanager
def _files(run: Edge, project: Project, request: BuildRequest) -> Iterator[Project]:
    """Give the project with the files that are built.

    What leaves this machine as a release, or as an archive, is the commit, as `docker-publish`
    has it; what is not a release is the commit only where nothing was changed.
    """
    here, release = chosen_output(request) in _HERE, project.version.origin == "tag"
    if here and not release:
        yield project
        return
    changes = changes_of(project)
    name, paths = project.version.value, listing(changes.paths)
    if here:
        if paths:
            run.console.warn(f"{name} is built from files that its commit may not have: {paths}")
        yield project
    elif is_of_commit(project, changes, release=release):
        if paths:
            run.console.warn(f"{name} is built from its commit, without what differs: {paths}")
        with from_commit(project) as committed:
            yield committed
    else:
        yield project


def _plan_only(run: Edge, project: Project, request: BuildRequest) -> None:
    """Print the line that would have run; warnings go to stderr."""
    plan, warnings = plan_build(project, request)
    for warning in warnings:
        run.console.warn(warning)
    run.plan(build_line(plan))


def build(run: Edge, beginning: Beginning, request: BuildRequest, *, as_json: bool) -> None:
    """Build the image, or only say how."""
    with _files(run, beginning.project.get(), request) as project:
        if run.dry:
            _plan_only(run, project, request)
            return
        result = build_image(project, request, run.executor, run.console, facts=beginning.engine)
    run.console.answer(result.as_json() if as_json else result.as_text())


def call(
    run: Edge, beginning: Beginning, request: BuildRequest, method: str, *, as_json: bool
) -> int:
    """Have the frontend answer about the Dockerfile instead of a build; return buildx's exit code.

    Args:
        run: of the task.
        beginning: of the task.
        request: what would be built.
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
        folder = project.config.root / "bin" / one.slug
        request = BuildRequest(
            platforms=(str(one),), target=target, output=Output.LOCAL, destination=folder
        )
        with _files(run, project, request):
            if run.dry:
                _plan_only(run, project, request)
                continue
            done = build_image(project, request, run.executor, run.console, facts=beginning.engine)
            results.append(done)
    if run.dry:
        return
    if as_json:
        run.console.answer(to_json({"binaries": [result.as_dict() for result in results]}))
    for result in results if not as_json else ():
        for file in sorted(Path(result.destination).iterdir()):
            run.console.answer(str(file))
