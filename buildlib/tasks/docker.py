"""Tasks that build: `docker-build` and `binary`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from invoke.context import Context
from invoke.tasks import task

from buildlib.build import Facts, build_image, plan_build
from buildlib.command import buildx_argv, shell_line
from buildlib.errors import InputError
from buildlib.executor import preload
from buildlib.plan import Output
from buildlib.planning import BuildRequest, chosen_platforms
from buildlib.platforms import host_platform
from buildlib.project import Project
from buildlib.report import to_json
from buildlib.tasks.edge import Edge, edge

_PLATFORM_HELP = "os/arch to build for; repeat it, or 'all' for the configured list"


def _plan_only(run: Edge, project: Project, request: BuildRequest) -> None:
    """Print the line that would have run; warnings go to stderr."""
    plan, warnings = plan_build(project, request)
    for warning in warnings:
        run.console.warn(warning)
    run.console.answer(shell_line(buildx_argv(plan)))


@task(
    auto_shortflags=False,
    iterable=["platform", "tag", "build_arg", "secret", "cache_from", "cache_to"],
    help={
        "platform": f"{_PLATFORM_HELP}; default: the builder's own",
        "tag": "one more tag, or a whole reference; repeat it",
        "build-arg": "NAME=value, or NAME to take it from the environment; repeat it",
        "secret": "id=NAME,env=NAME or id=NAME,src=FILE; repeat it",
        "target": "stage of the Dockerfile to build",
        "no-cache": "build every step again",
        "pull": "look for newer base images",
        "output": "load (default), push, oci, local, cacheonly, or buildx's own type=...",
        "push": "short for --output push",
        "builder": "buildx builder to use",
        "cache-from": "where to read cache from, as buildx takes it; repeat it",
        "cache-to": "where to write cache to, as buildx takes it; repeat it",
        "progress": "auto (default), plain, tty, rawjson or quiet",
        "version": "build as this version instead of the one that git gives",
        "strict": "a build arg that the Dockerfile does not declare is an error",
        "dry-run": "print the command that would run, and do nothing",
        "json": "print the result as JSON on stdout, and nothing else there",
    },
)
def docker_build(  # noqa: PLR0913, PLR0917 - each one is an option of the command line
    context: Context,
    platform: Sequence[str] | None = None,
    tag: Sequence[str] | None = None,
    build_arg: Sequence[str] | None = None,
    secret: Sequence[str] | None = None,
    cache_from: Sequence[str] | None = None,
    cache_to: Sequence[str] | None = None,
    target: str = "",
    output: str = "",
    builder: str = "",
    progress: str = "",
    version: str = "",
    *,
    no_cache: bool = False,
    pull: bool = False,
    push: bool = False,
    strict: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Build the image with docker buildx, tagged with its version and latest."""
    overrides: dict[str, object] = {
        "builder": builder,
        "cache-from": tuple(cache_from or ()),
        "cache-to": tuple(cache_to or ()),
        "progress": progress,
    }
    request = BuildRequest(
        platforms=tuple(platform or ()),
        tags=tuple(tag or ()),
        build_args=tuple(build_arg or ()),
        secrets=tuple(secret or ()),
        target=target,
        output=output,
        push=push,
        no_cache=no_cache,
        pull=pull,
        strict=strict,
    )
    with edge(context, dry_run=dry_run, quiet=json) as run:
        if run.dry:
            _plan_only(run, run.project(overrides, version=version), request)
            return
        preload()
        facts = Facts(run.executor)
        project = run.project(overrides, version=version)
        result = build_image(project, request, run.executor, run.console, facts=facts)
        run.console.answer(result.as_json() if json else result.as_text())


@task(
    auto_shortflags=False,
    iterable=["platform"],
    help={
        "platform": f"{_PLATFORM_HELP}; default: this machine's",
        "version": "build as this version instead of the one that git gives",
        "dry-run": "print the commands that would run, and do nothing",
        "json": "print the results as JSON on stdout, and nothing else there",
    },
)
def binary(
    context: Context,
    platform: Sequence[str] | None = None,
    version: str = "",
    *,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Build the program itself into bin/<os>-<arch>/; no compiler is needed on this machine."""
    with edge(context, dry_run=dry_run, quiet=json) as run:
        project = run.project(version=version)
        target = project.config.binary_target
        if not target:
            raise InputError("no stage holds the binary", hint='set binary-target = "stage"')
        wanted = BuildRequest(platforms=tuple(platform or ()) or (str(host_platform()),))
        # Asked once for all platforms; a dry run asks nothing.
        facts = None if run.dry else Facts(run.executor)
        results = []
        for one in chosen_platforms(wanted, project):
            folder = project.config.root / "bin" / one.slug
            request = BuildRequest(
                platforms=(str(one),), target=target, output=Output.LOCAL, destination=folder
            )
            if run.dry:
                _plan_only(run, project, request)
            else:
                result = build_image(project, request, run.executor, run.console, facts=facts)
                results.append(result)
        if json:
            run.console.answer(to_json({"binaries": [r.as_dict() for r in results]}))
        for result in results if not json else ():
            for file in sorted(Path(result.destination).iterdir()):
                run.console.answer(str(file))
