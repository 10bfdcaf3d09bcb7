"""A build: preflight, execute, report."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from buildlib.background import Background
from buildlib.build import builder_check, option_checks, preflight
from buildlib.build.argv import build_line, buildx_line
from buildlib.build.attempts import image_size, run_buildx, watch_nodes
from buildlib.build.checked_plan import check_plan, make_plan, registries_of, warnings_of
from buildlib.build.context import uncommitted
from buildlib.build.failure import failure
from buildlib.build.farm import (
    build_parts,
    remove_parts,
    write_about,
)
from buildlib.build.inherited_labels import inherited_stand_ins, standing_on
from buildlib.build.join import join_parts
from buildlib.build.lease import leased, open_sharing
from buildlib.build.plan import BuildPlan, Output
from buildlib.build.planner import BuildRequest, below
from buildlib.build.progress import BuildProgress
from buildlib.build.recording import Recorded, Recording, recorded
from buildlib.build.result import BuildResult
from buildlib.build.spare import build_with_spares
from buildlib.builders.commands import missing_hint
from buildlib.config.builders import BuilderSettings, NodeSettings
from buildlib.docker.engine import (
    Builder,
    EngineFacts,
    inspect_builder,
    inspect_engine,
)
from buildlib.dockerfile.parser import Dockerfile
from buildlib.errors import (
    BuildlibError,
    EngineError,
    InputError,
    ToolError,
    raise_problems,
)
from buildlib.executor import Executor, Watch, pause
from buildlib.files import locked
from buildlib.image.archive import unpack_layout
from buildlib.project import Project
from buildlib.tempfiles import remove_left
from buildlib.terminal.console import Console, labelled
from buildlib.terminal.text import redact

_Executed = tuple[BuildProgress | None, Mapping[str, object], int | None]


def _check_engine(
    plan: BuildPlan,
    engine: EngineFacts,
    executor: Executor,
    env: Mapping[str, str],
    described: BuilderSettings | None,
) -> tuple[list[BuildlibError], Builder | None]:
    """Return the problems that docker, buildx, the engine or the builder would have.

    The builder is returned as well, if it was asked.
    """
    problems = preflight.check_engine(engine, endpoint=env.get("DOCKER_HOST", ""))
    problems += option_checks.check_versions(plan.options, engine)
    asked = bool(engine.buildx) and preflight.needs_builder(plan, engine)
    builder = inspect_builder(executor, plan.builder) if asked else None
    if builder:
        problems += option_checks.check_buildkit(plan.options, builder)
    if not (builder and plan.builder):
        return problems + preflight.check_output(plan, engine, builder), builder
    hint = {"hint": missing_hint(described)} if described else {}
    problems += preflight.check_output(plan, engine, builder, **hint)
    problems += builder_check.check_builder(plan, engine, builder, described)
    return problems, builder


@contextlib.contextmanager
def _exclusive(destination: Path | None) -> Iterator[None]:
    """Let only one build at a time write below the destination's directory."""
    if destination is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(destination.parent))
        except OSError as error:
            raise InputError(f"can't write to {destination.parent}", why=str(error)) from error
        yield


@contextlib.contextmanager
def _whole(plan: BuildPlan) -> Iterator[None]:
    """Give an archive its name once the build is done; one that was interrupted leaves nothing.

    Raises:
        EngineError: there is no archive, or it can't have that name.
    """
    if plan.partial is None or plan.destination is None:
        yield
        return
    try:
        yield
        try:
            plan.partial.replace(plan.destination)
        except OSError as error:
            raise EngineError(f"no archive at {plan.destination}", why=str(error)) from error
    finally:
        plan.partial.unlink(missing_ok=True)


@contextlib.contextmanager
def handed_over(plan: BuildPlan) -> Iterator[None]:
    """Have the Dockerfile and its ignore file where the builder finds both, for a while.

    Raises:
        InputError: they can't be written there (exit 2).
    """
    if plan.handover is None:
        yield
        return
    try:
        plan.handover.mkdir(mode=0o700)
        shutil.copyfile(plan.dockerfile, plan.file)
        if plan.source_policy:
            shutil.copyfile(plan.source_policy, plan.file.with_name(plan.source_policy.name))
        ignore = plan.file.with_name(f"{plan.file.name}.dockerignore")
        ignore.write_text(plan.ignored, encoding="utf-8", errors="surrogateescape")
        yield
    finally:
        shutil.rmtree(plan.handover, ignore_errors=True)


def build_image(
    project: Project,
    request: BuildRequest,
    executor: Executor,
    console: Console,
    *,
    facts: Background[EngineFacts] | None = None,
    task: str = "",
) -> BuildResult:
    """Build, and return what came out.

    Args:
        project: from `load_project`.
        executor: starts `docker`; its environment should hold BUILDKIT_PROGRESS=rawjson, without
            which steps are not counted.
        console: shows commands, steps and warnings.
        facts: the engine's answer if it was asked for already.
        task: that builds, for the record of the build; empty: none is kept.

    Raises:
        InputError, ToolError, EngineError, AuthorisationError: all that the preflight finds, or
            why the build failed (exit 2, 3, 4, 5); a node of the builder that stopped answering.
        CancelledError: interrupted (exit 130).
    """
    facts = facts or Background(lambda: inspect_engine(executor))
    dockerfile = project.dockerfile()
    plan = make_plan(project, request, dockerfile)
    described = project.config.described_builder()
    problems = check_plan(project, plan, request, dockerfile, described)
    engine = _engine(facts, problems)
    if plan.below:
        found, _ = _check_engine(plan, engine, executor, project.env, described)
        raise_problems(problems + found)
        with _layouts(project, plan, request, executor, console, facts) as plan:
            return _checked(project, plan, dockerfile, problems, executor, console, engine, task)
    return _checked(project, plan, dockerfile, problems, executor, console, engine, task)


@contextlib.contextmanager
def _layouts(
    project: Project,
    plan: BuildPlan,
    request: BuildRequest,
    executor: Executor,
    console: Console,
    facts: Background[EngineFacts],
) -> Iterator[BuildPlan]:
    """Build the images of the repository below a plan, and give the plan with their digests.

    They have no records: those of their own builds say more.
    """
    folder = plan.layouts or Path()
    try:
        folder.mkdir(mode=0o700)
        contexts = dict(plan.build_contexts)
        for one in below(project, request, dict(plan.below), folder):
            console.note(f"{plan.image} is based on {one.project.config.image}")
            if one.project.archive and one.request.destination:
                console.note(f"it is in {one.project.archive}")
                digest = unpack_layout(one.project.archive, one.request.destination)
            else:
                built = build_image(one.project, one.request, executor, console, facts=facts)
                digest = built.digest
            contexts[one.base] = f"oci-layout://{one.request.destination}@{digest}"
        yield replace(plan, build_contexts=tuple(sorted(contexts.items())))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _checked(
    project: Project,
    plan: BuildPlan,
    dockerfile: Dockerfile,
    problems: Sequence[BuildlibError],
    executor: Executor,
    console: Console,
    engine: EngineFacts,
    task: str,
) -> BuildResult:
    """Build what has passed the checks that need no engine, unless there were problems."""
    described = project.config.described_builder()
    inherited = Background(partial(inherited_stand_ins, plan, executor))
    found, builder = _check_engine(plan, engine, executor, project.env, described)
    raise_problems([*problems, *found])
    if names := inherited.get():
        plan = standing_on(plan, names)
        raise_problems(preflight.check_push(plan, registries_of(plan)))
    unknown = uncommitted(project, plan, preflight.read_ignore(plan))
    warnings = [
        *warnings_of(project, plan, dockerfile, unknown),
        *preflight.unknown_buildx(engine),
        *option_checks.unused_policy(plan, engine),
    ]
    # An image below another one has no task of its own, and may have been built before.
    prefix = f"{project.config.name}: " if project.config.name and not task else ""
    for warning in warnings:
        console.warn_once(project.config.image, warning, prefix=prefix)
    about = Recorded(
        task=task,
        project=project,
        plan=plan,
        dockerfile=dockerfile,
        engine=engine,
        builder=builder,
        unknown=unknown,
    )
    with _exclusive(plan.destination):
        if plan.separate:
            return _run_parts(about, warnings, executor, console)
        return _run(about, warnings, executor, console)


def _engine(facts: Background[EngineFacts], problems: Sequence[BuildlibError]) -> EngineFacts:
    """Return what the engine answers; where there is no docker to ask, all that is wrong."""
    try:
        return facts.get()
    except ToolError as error:
        raise_problems([*problems, error])
        raise


def _run(
    about: Recorded, warnings: Sequence[str], executor: Executor, console: Console
) -> BuildResult:
    plan = about.plan
    described = about.project.config.described_builder()
    said: list[str] = []

    def warn(text: str) -> None:
        console.warn(text)
        said.append(text)

    def build(chosen: BuildPlan, nodes: Sequence[NodeSettings]) -> _Executed:
        names = ", ".join(map(str, chosen.platforms))
        what = f"{chosen.image} {chosen.version} {names}".rstrip()
        wait = partial(pause, executor)
        env = about.project.env
        limited = any(node.max_builds for node in nodes)
        sharing = open_sharing(described, env, executor, warn) if limited else None
        with leased(described, nodes, what, env, console, wait, sharing):
            watch = watch_nodes(chosen, executor, described)
            return _execute(chosen, executor, console, watch, recording, said)

    with recorded(about, executor, console) as recording:
        started = time.monotonic()
        progress, metadata, size = build_with_spares(about, executor, console, build, said)
        result = BuildResult(
            image=plan.image,
            version=plan.version,
            references=plan.references,
            platforms=_platforms(about),
            output=str(plan.output),
            destination=str(plan.destination or ""),
            digest=str(metadata.get("containerimage.digest") or ""),
            size=size,
            seconds=time.monotonic() - started,
            steps=progress.total if progress else None,
            cached=progress.cached if progress else None,
            stand_ins=plan.stand_ins,
            warnings=(*warnings, *said),
            command=_line(plan),
            size_of=_size_of(plan, about.engine) if size is not None else "",
            size_platform=_size_platform(plan, about.engine) if size is not None else "",
        )
        if recording:
            recording.end(result, None)
        return result


def _platforms(about: Recorded) -> tuple[str, ...]:
    own = () if about.plan.platforms or not about.engine.platform else (about.engine.platform,)
    return tuple(map(str, about.plan.platforms or own))


def _line(plan: BuildPlan) -> str:
    return redact(build_line(replace(plan, below=(), layouts=None)))


def _run_parts(
    about: Recorded, warnings: Sequence[str], executor: Executor, console: Console
) -> BuildResult:
    """Build each platform on its own node, and join what comes out; each has its own record."""
    started, plan = time.monotonic(), about.plan

    def build(part: BuildPlan, stoppable: Executor) -> BuildResult:
        with labelled(f"{part.platforms[0]} | "):
            return _run(replace(about, plan=part), (), stoppable, console)

    try:
        if plan.parts:
            plan.parts.mkdir(mode=0o700)
        with _whole(plan):
            results = build_parts(plan, executor, build)
            digests = [one.digest for one in results]
            digest = join_parts(plan, digests, executor, console)
    finally:
        remove_parts(plan)
    size = image_size(plan, executor)
    write_about(plan, digest)
    counted = [(one.steps, one.cached or 0) for one in results if one.steps is not None]
    whole = len(counted) == len(results)
    return replace(
        results[0],
        references=plan.references,
        output=str(plan.output),
        platforms=_platforms(about),
        destination=str(plan.destination or ""),
        digest=digest,
        size=size,
        seconds=time.monotonic() - started,
        steps=sum(steps for steps, _ in counted) if whole else None,
        cached=sum(cached for _, cached in counted) if whole else None,
        warnings=(*warnings, *(text for one in results for text in one.warnings)),
        command=_line(plan),
        size_of=_size_of(plan, about.engine) if size is not None else "",
        size_platform=_size_platform(plan, about.engine) if size is not None else "",
    )


def _size_of(plan: BuildPlan, engine: EngineFacts) -> str:
    """Return what the size is of: only the store of containerd keeps what a registry has."""
    if plan.output == Output.OCI:
        return "archive"
    return "content" if engine.containerd_store else "unpacked"


def _size_platform(plan: BuildPlan, engine: EngineFacts) -> str:
    """Return the one platform of several that the size is of: the engine counts its own."""
    several = plan.output != Output.OCI and len(plan.platforms) > 1
    return str(engine.platform) if several and engine.platform in plan.platforms else ""


def _execute(
    plan: BuildPlan,
    executor: Executor,
    console: Console,
    watch: Watch | None,
    recording: Recording | None,
    said: list[str],
) -> _Executed:
    line = build_line(replace(plan, below=(), layouts=None))
    # Without the lines that write the files of the commit.
    console.line(line, short=buildx_line(plan) if plan.checkout else "")
    console.group(f"build {plan.image} {plan.version}")
    with handed_over(plan), _whole(plan):
        try:
            code, shown = run_buildx(plan, executor, console, watch, recording, said)
            metadata = _read_metadata(plan.metadata_file)
        finally:
            console.end_group()
            if plan.metadata_file and not plan.keeps_metadata:
                plan.metadata_file.unlink(missing_ok=True)
            # Those of builds that were killed.
            remove_left()
        if code != 0:
            raise failure(plan, code, shown.progress)
    counted = shown.progress if isinstance(shown.progress, BuildProgress) else None
    return counted if shown.counts else None, metadata, shown.size()


def _read_metadata(path: Path | None) -> Mapping[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
