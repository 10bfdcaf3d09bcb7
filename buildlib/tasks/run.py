"""Tasks around a container of the image: run, stop, look, clean."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from buildlib.background import Background
from buildlib.errors import InputError
from buildlib.program import PROGRAM
from buildlib.tasks.session import BUILD_ARG, SECRET, VERBOSE, edge

_NAME_HELP = "of the container; default: that of the image"


def _words(context: Context, args: str) -> tuple[str, ...]:
    """Return the arguments for the container: those of --args, and what follows `--`."""
    # Invoke glues what follows together; how it was quoted only the process itself still knows.
    typed = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    same = " ".join(typed) == context.remainder
    try:
        return (*shlex.split(args), *(typed if same else shlex.split(context.remainder)))
    except ValueError as error:
        raise InputError(f"--args can't be parsed: {args!r}", why=str(error)) from error


def _exit(code: int) -> None:
    if code:
        raise Exit(code=code)


@task(
    auto_shortflags=False,
    iterable=["env", "volume", "build_arg", "secret"],
    help={
        "persistent": "keep the data after the container, in ./data",
        "socket": f"socket of the engine; default: the one that {PROGRAM} doctor shows",
        "no-socket": "give the container no socket",
        "port": "port on this machine; default: the image's; 0: a free one",
        "host": "address to publish on; the service may have no authentication",
        "data-dir": "directory, or volume:NAME, for the data; means --persistent",
        "name": _NAME_HELP,
        "detach": "leave it running; else the log is shown, and Ctrl-C stops and removes it",
        "no-build": "run the existing image",
        "platform": "os/arch to run as; default: the engine's own",
        "env": "NAME=value, or NAME for its value here; repeat it",
        "build-arg": BUILD_ARG,
        "secret": SECRET,
        "volume": "SOURCE:TARGET[:ro] or type=…,source=…,target=… to mount; repeat it",
        "pull-policy": "always, missing or never",
        "unconfined": "without read-only root, dropped capabilities and limits",
        "verbose": VERBOSE,
        "dry-run": "print the docker run line that would run, and do nothing",
        "json": "print the result as JSON; wants --detach",
        "args": "arguments for the image instead of its server; or put them after --",
    },
)
def docker_run(
    context: Context,
    *,
    persistent: bool = False,
    socket: str = "",
    no_socket: bool = False,
    port: str = "",
    host: str = "127.0.0.1",
    data_dir: str = "",
    name: str = "",
    detach: bool = False,
    no_build: bool = False,
    platform: str = "",
    env: Sequence[str] | None = None,
    build_arg: Sequence[str] | None = None,
    secret: Sequence[str] | None = None,
    volume: Sequence[str] | None = None,
    pull_policy: str = "never",
    unconfined: bool = False,
    verbose: bool = False,
    dry_run: bool = False,
    json: bool = False,
    args: str = "",
) -> None:
    """Run the image, and print its address once it is healthy."""
    with edge(context, dry_run=dry_run, json=json, verbose=verbose) as run:
        words = _words(context, args)
        run.take(build_arg, secret)
        from buildlib.commands import connect

        answer = connect.connect(run, socket)
        engine = run.ask_engine()
        project = None if no_build or run.dry else Background(run.project)
        from buildlib.commands import run as run_commands
        from buildlib.containers.plan import RunRequest

        request = RunRequest(
            persistent=persistent,
            socket=socket,
            no_socket=no_socket,
            port=port,
            host=host,
            data_dir=data_dir,
            name=name,
            platform=platform,
            env=tuple(env or ()),
            volumes=tuple(volume or ()),
            pull_policy=pull_policy,
            unconfined=unconfined,
            detach=detach,
            args=words,
        )
        start = run_commands.Start(answer=answer, engine=engine, project=project)
        code = run_commands.docker_run(run, start, request, as_json=json)
    _exit(code)


@task(
    auto_shortflags=False,
    help={
        "name": f"{_NAME_HELP}; default: all of this project",
        "dry-run": "only print their names",
    },
)
def docker_stop(context: Context, *, name: str = "", dry_run: bool = False) -> None:
    """Stop and remove this project's containers.

    Others are not touched.
    """
    with edge(context, dry_run=dry_run) as run:
        from buildlib.commands import run as run_commands

        run_commands.stop(run, name)


@task(
    auto_shortflags=False,
    help={"name": _NAME_HELP, "follow": "go on until the container ends"},
)
def docker_logs(context: Context, *, name: str = "", follow: bool = False) -> None:
    """Show the log of this project's container."""
    with edge(context) as run:
        from buildlib.commands import run as run_commands

        code = run_commands.logs(run, name, follow=follow)
    _exit(code)


@task(
    auto_shortflags=False,
    help={"name": _NAME_HELP, "command": "the shell, or a command with its arguments; default: sh"},
)
def docker_shell(context: Context, *, name: str = "", command: str = "sh") -> None:
    """Open a shell in this project's container."""
    with edge(context) as run:
        from buildlib.commands import run as run_commands

        code = run_commands.shell(run, name, command)
    _exit(code)


@task(auto_shortflags=False, help={"json": "print it as JSON"})
def docker_status(context: Context, *, json: bool = False) -> None:
    """Show this project's containers and their health."""
    with edge(context, json=json) as run:
        from buildlib.commands import run as run_commands

        run_commands.status(run, as_json=json)


@task(
    auto_shortflags=False,
    help={
        "images": "remove the image's tags too",
        "data": "remove the data directory and volumes too; asks first",
        "data-dir": "the data directory, if it is not ./data",
        "yes": "do not ask",
        "dry-run": "only print what would be removed",
    },
)
def docker_clean(
    context: Context,
    *,
    images: bool = False,
    data: bool = False,
    data_dir: str = "",
    yes: bool = False,
    dry_run: bool = False,
) -> None:
    """Remove this project's containers.

    On request its images and data go too.
    """
    with edge(context, dry_run=dry_run) as run:
        from buildlib.commands import run as run_commands

        run_commands.clean(run, images=images, data=data, data_dir=data_dir, yes=yes)
