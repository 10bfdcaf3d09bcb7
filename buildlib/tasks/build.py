"""Tasks that build: `docker-build` and `binary`; and `docker-builder`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from buildlib.errors import InputError
from buildlib.tasks import buildx
from buildlib.tasks.session import BUILD_ARG, SECRET, VERBOSE, edge

# What is no option of the build itself.
_OF_TASK: Final = frozenset({"call", "check", "file"})
_PLATFORM_HELP = "os/arch to build for; repeat it, or 'all' for the configured list"


@task(
    auto_shortflags=False,
    iterable=["platform", "tag", "build_arg", "secret", "cache_from", "cache_to", *buildx.LISTS],
    help={
        **buildx.HELP,
        "platform": f"{_PLATFORM_HELP}; default: the builder's own",
        "tag": "one more tag, or a whole reference; repeat it",
        "build-arg": BUILD_ARG,
        "secret": SECRET,
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
        "verbose": VERBOSE,
        "dry-run": "print the command that would run, and do nothing",
        "json": "print the result as JSON on stdout, and nothing else there",
    },
)
@buildx.with_options
def docker_build(
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
    verbose: bool = False,
    dry_run: bool = False,
    json: bool = False,
    **options: object,
) -> None:
    """Build the image, tagged with its version and latest."""
    with edge(context, dry_run=dry_run, json=json, verbose=verbose) as run:
        given = dict(buildx.given(options))
        overrides: dict[str, object] = {
            "builder": builder,
            "cache-from": run.from_here(cache_from),
            "cache-to": run.from_here(cache_to),
            "progress": progress,
            "dockerfile": _dockerfile(given.get("file", "")),
        }
        run.take(build_arg, secret)
        beginning = run.begin(overrides, version=version)
        from buildlib.build.options import given_options
        from buildlib.build.planner import BuildRequest

        method = given.get("call", "check" if "check" in given else "")
        builds = method in {"", "build"}
        others = (one for one in buildx.given(options) if one[0] not in _OF_TASK)
        request = BuildRequest(
            platforms=tuple(platform or ()),
            tags=tuple(tag or ()),
            target=target,
            output="".join(run.from_here([output] if output else [])),
            push=push,
            no_cache=no_cache,
            pull=pull,
            strict=strict,
            options=given_options(others, Path.cwd()),
            attests=True,
        )
        if run.dry and builds and not run.batch:
            from buildlib.commands.dry_build import print_plan

            print_plan(run, beginning.project.get(), request)
            return
        from buildlib.commands import build

        if not builds:
            code = build.call(run, beginning, request, method, as_json=json)
            if code:
                raise Exit(code=code)
            return
        build.build(run, beginning, request, as_json=json)


def _dockerfile(path: str) -> str:
    """Return the path of another Dockerfile, from where the user is."""
    if path == "-":
        raise InputError("a Dockerfile can't be read from stdin", hint="give --file FILE")
    return str(Path.cwd() / path) if path else ""


@task(
    auto_shortflags=False,
    iterable=["platform", "build_arg", "secret"],
    help={
        "platform": f"{_PLATFORM_HELP}; default: this machine's",
        "build-arg": BUILD_ARG,
        "secret": SECRET,
        "version": "build as this version instead of the one that git gives",
        "verbose": VERBOSE,
        "dry-run": "print the commands that would run, and do nothing",
        "json": "print the results as JSON on stdout, and nothing else there",
    },
)
def binary(
    context: Context,
    platform: Sequence[str] | None = None,
    version: str = "",
    *,
    build_arg: Sequence[str] | None = None,
    secret: Sequence[str] | None = None,
    verbose: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Build the program into bin/<os>-<arch>/.

    No compiler is needed on this machine.
    """
    with edge(context, dry_run=dry_run, json=json, verbose=verbose) as run:
        run.take(build_arg, secret)
        beginning = run.begin(version=version)
        from buildlib.commands import build

        build.build_binaries(run, beginning, platform or (), as_json=json)


@task(
    auto_shortflags=False,
    help={
        "action": "create, status or remove",
        "name": "name of a configured builder; default: the only one, and for status all",
        "dry-run": "print the commands that would run, and do nothing",
        "json": "print the result as JSON on stdout, and nothing else there",
    },
)
def docker_builder(
    context: Context, action: str, name: str = "", *, dry_run: bool = False, json: bool = False
) -> None:
    """Create, show or remove a configured builder of buildx."""
    with edge(context, dry_run=dry_run, json=json) as run:
        from buildlib.commands import builder

        builder.check_action(action)
        getattr(builder, action)(run, name, as_json=json)


@task(
    auto_shortflags=False,
    help={
        "print": "print the file",
        "output": "write the file there; it is for docker buildx bake in the project's directory",
        "dry-run": "with --output, print the file, and write nothing",
    },
)
def bake(context: Context, *, print: bool = False, output: str = "", dry_run: bool = False) -> None:
    """Write the builds as a docker-bake.json."""
    with edge(context, dry_run=dry_run) as run:
        from buildlib.commands.bake import bake as write

        write(run, printed=print, output=output)


@task(
    auto_shortflags=False,
    help={
        "step": "a step such as 'build 2/5', or a part of its instruction; default: all that ran",
        "json": "print it as JSON",
    },
)
def docker_why(context: Context, step: str = "", *, json: bool = False) -> None:
    """Report why the steps of the last build ran.

    It is compared with the build before.
    """
    with edge(context, json=json) as run:
        from buildlib.commands.why import why

        why(run, step, as_json=json)


@task(
    auto_shortflags=False,
    help={
        "id": "identifier of a record, its beginning, or its version; default: the last one",
        "compare": "identifier or version of another build's record to compare it with",
        "list": "list the records, and write no page",
        "output": "write the page to this file; default: dist/IMAGE-report-ID.html",
        "open": "open the page in a browser",
        "markdown": "print a summary in Markdown, and write no page",
        "otlp": "write an OpenTelemetry trace to this file too, as OTLP/JSON",
        "json": "print the record as JSON, and write no page",
    },
)
def docker_report(
    context: Context,
    id: str = "",
    compare: str = "",
    output: str = "",
    otlp: str = "",
    *,
    list: bool = False,
    open: bool = False,
    markdown: bool = False,
    json: bool = False,
) -> None:
    """Write an HTML report about a build.

    It has the timeline, the critical path, and why steps ran.
    """
    with edge(context, json=json) as run:
        from buildlib.commands.report import ReportOptions, report

        options = ReportOptions(
            record=id,
            compare=compare,
            listed=list,
            output=Path(output) if output else None,
            otlp=Path(otlp) if otlp else None,
            opened=open,
            markdown=markdown,
            as_json=json,
        )
        report(run, options)
