"""Two copies of the files, two builds, one comparison; nothing is left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from buildlib.build import preflight
from buildlib.build.argv import build_line
from buildlib.build.build_image import build_image
from buildlib.build.checked_plan import plan_build
from buildlib.build.checkout import changes_of, from_commit, is_of_commit
from buildlib.build.plan import Output
from buildlib.build.planner import BuildRequest
from buildlib.docker.engine import buildkit_versions, inspect_engine
from buildlib.executor import Executor
from buildlib.image.archive import open_archive
from buildlib.project import Project
from buildlib.reproduce.cache_mounts import Cache, without_mounts
from buildlib.reproduce.diff import compare
from buildlib.reproduce.report import ReproductionReport
from buildlib.reproduce.timestamps import late
from buildlib.reproduce.variations import copy_project, variations
from buildlib.tempfiles import passing_folder
from buildlib.terminal.console import Console
from buildlib.versioning.preconditions import listing

# Every step of the second build happens in another second than the same step of the first.
_PAUSE: Final = 1.1
_KIND: Final = "reproduce"


ExecutorIn = Callable[[Mapping[str, str]], Executor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """One of the two builds, before it begins.

    Args:
        project: on its own copy of the files.
        executor: starts docker in the variation's environment.
        namespace: of its cache mounts.
    """

    name: str
    project: Project
    request: BuildRequest
    executor: Executor
    namespace: str
    archive: Path


def _prepared(
    project: Project,
    platforms: tuple[str, ...],
    base: Path,
    archives: Path,
    executor_in: ExecutorIn,
) -> list[Build]:
    """Return the two builds, each with its copy of the files below `base`."""
    plan, _ = plan_build(project, BuildRequest(platforms=platforms, output=Output.OCI))
    ignore = preflight.read_ignore(plan)
    mark = os.urandom(6).hex()
    builds = []
    for variation in variations(epoch=project.version.created, now=int(time.time())):
        namespace = f"buildlib-reproduce-{mark}-{variation.name}"
        archive = archives / f"{variation.name}.oci.tar"
        request = BuildRequest(
            platforms=platforms,
            # Both are BuildKit's own, and change nothing in the image by themselves.
            # Source: docs.docker.com/reference/dockerfile, "BuildKit built-in build args".
            build_args=(
                f"BUILDKIT_CACHE_MOUNT_NS={namespace}",
                f"BUILDKIT_SANDBOX_HOSTNAME={variation.hostname}",
            ),
            output=Output.OCI,
            destination=archive,
            no_cache=True,
        )
        builds.append(
            Build(
                name=variation.name,
                project=copy_project(project, ignore, base, variation),
                request=request,
                executor=executor_in(variation.environment),
                namespace=namespace,
                archive=archive,
            )
        )
    return builds


def build_lines(
    project: Project,
    executor_in: ExecutorIn,
    *,
    platforms: tuple[str, ...] = (),
    keep: Path | None = None,
) -> tuple[str, ...]:
    """Return the two commands that would run; their contexts are there only during a run.

    Raises:
        InputError: the request or the files are not usable (exit 2).
    """
    with _sources(project) as sources, passing_folder(_KIND) as base:
        chosen = _chosen_platforms(project, platforms)
        builds = _prepared(sources, chosen, base, (keep or base).absolute(), executor_in)
        plans = [plan_build(build.project, build.request)[0] for build in builds]
    return tuple(map(build_line, plans))


@contextmanager
def _sources(project: Project, console: Console | None = None) -> Iterator[Project]:
    """Give the project with the files that are built: those of the commit, unless others differ."""
    if project.checkout:
        yield project
        return
    changes = changes_of(project)
    if is_of_commit(project, changes, release=False):
        with from_commit(project) as committed:
            yield committed
        return
    if console and changes.paths:
        console.warn(
            f"the work tree is built, which differs from the commit: {listing(changes.paths)}"
        )
    yield project


def _chosen_platforms(project: Project, platforms: tuple[str, ...]) -> tuple[str, ...]:
    return platforms or (("all",) if project.config.platforms else ())


def reproduce(
    project: Project,
    console: Console,
    executor_in: ExecutorIn,
    *,
    platforms: tuple[str, ...] = (),
    keep: Path | None = None,
) -> ReproductionReport:
    """Build twice, and compare.

    Args:
        project: from `load_project`; its version and epoch are those of both builds.
        console: shows commands, steps and warnings.
        executor_in: gives an executor whose environment has these variables instead of its own.
        platforms: names, or `all`; none: the configured ones, else the builder's own.
        keep: a directory in which the two archives stay.

    Raises:
        InputError, ToolError, EngineError: as `build_image`, or the context can't be copied
            (exit 2, 3, 4).
        CancelledError: interrupted (exit 130).
    """
    started = time.monotonic()
    chosen = _chosen_platforms(project, platforms)
    with _sources(project, console) as sources, passing_folder(_KIND) as base:
        builds = _prepared(sources, chosen, base, (keep or base).absolute(), executor_in)
        executor, builder = executor_in({}), project.config.buildx_builder()
        with without_mounts(Cache(executor, builder), [build.namespace for build in builds]):
            built = _build_all(builds, console)
        facts, version = inspect_engine(executor), sources.version
        source = "the work tree, which differs from the commit"
        if sources.checkout:
            source = f"commit {version.revision}"
        archives = [build.archive for build in builds]
        allowed = project.config.allowed_names()
        with open_archive(archives[0]) as first, open_archive(archives[1]) as second:
            return ReproductionReport(
                image=project.config.image,
                version=version.value,
                platforms=built,
                source=source if version.revision else "",
                epoch=version.created,
                digests=(first.top(), second.top()),
                archives=tuple(map(str, archives)) if keep else (),
                differences=compare(first, second, allowed),
                # Another BuildKit may give another digest.
                tools={
                    "buildx": facts.buildx,
                    "engine": facts.server,
                    "buildkit": buildkit_versions(executor, builder),
                },
                # The second's files have times to come: whatever was not set is seen.
                late=late(second, version.created, allowed),
                seconds=time.monotonic() - started,
            )


def _build_all(builds: list[Build], console: Console) -> tuple[str, ...]:
    platforms: tuple[str, ...] = ()
    for number, build in enumerate(builds):
        if number:
            time.sleep(_PAUSE)
        console.note(f"the {build.name} of two builds")
        platforms = build_image(build.project, build.request, build.executor, console).platforms
    return platforms
