"""Where a task meets the world: environment, clock, signals, and errors turned into exit codes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path

from invoke.context import Context
from invoke.exceptions import Exit

from buildlib import interrupts
from buildlib.commands.session import BUILDX_FOLDER, WHOLE, Chosen, Edge
from buildlib.config.variables import BASE_IMAGES
from buildlib.docker.client_config import buildx_folder
from buildlib.errors import BuildlibError, CancelledError, exit_code_of, in_image

# Of every task that builds.
VERBOSE = "print whole command lines, and what the steps of a build print"
BUILD_ARG = "NAME=value, or NAME to take it from the environment; repeat it"
SECRET = "id=NAME,env=NAME or id=NAME,src=FILE; repeat it"  # noqa: S105 - the form of one
_NO_HOME = "/nonexistent"


_CHOSEN: ContextVar[Chosen] = ContextVar("chosen", default=WHOLE)


@contextlib.contextmanager
def choosing(chosen: Chosen) -> Iterator[None]:
    """Let the tasks of the block work on an image."""
    token = _CHOSEN.set(chosen)
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def start_of(context: Context) -> Path:
    """Return where the project is looked for, upwards."""
    return Path(context.config.get("buildlib", {}).get("root", "."))


def environment() -> dict[str, str]:
    """Return the environment that every process of ours gets."""
    env = dict(os.environ)
    # buildx's one-line-JSON progress, set here and not in argv, so that a line printed by a dry
    # run shows the ordinary progress when someone pastes it. It counts where `progress` is auto
    # alone: any other is an option, which comes before the variable, whatever that held.
    env["BUILDKIT_PROGRESS"] = "rawjson"
    # For BuildKit's provenance, which is off: buildx need not ask git all over again.
    env.setdefault("BUILDX_GIT_INFO", "false")
    if path := env.get(BASE_IMAGES):
        env[BASE_IMAGES] = str(Path(path).absolute())
    try:
        Path.home()
    except RuntimeError:
        # A user whom the system does not know, and no HOME, as in many a container.
        env["HOME"] = _NO_HOME
    return env


def nearest(path: Path) -> Path:
    """Return the path, or what is nearest above it, that is there as far as it can be seen."""
    # Not Path.exists, which raises where a directory on the way can't be entered.
    return next(one for one in (path, *path.parents) if os.access(one, os.F_OK))


@contextlib.contextmanager
def _buildx_home(env: dict[str, str]) -> Iterator[None]:
    """Give buildx a directory of its own where the user's home can't be written.

    It keeps records of every build, and fails where it can't.
    """
    if "BUILDX_CONFIG" in env or os.access(nearest(buildx_folder(env).absolute()), os.W_OK):
        yield
        return
    from buildlib.tempfiles import passing_folder

    with passing_folder(BUILDX_FOLDER) as folder:
        env["BUILDX_CONFIG"] = str(folder)
        yield


@contextlib.contextmanager
def edge(
    context: Context, *, dry_run: bool = False, json: bool = False, verbose: bool = False
) -> Iterator[Edge]:
    """Give a task its surroundings, and turn what it raises into a clean line and an exit code.

    Args:
        context: Invoke's; its `--dry` counts as `dry_run`, and its key `buildlib.root` is where
            the project is looked for.
        dry_run: nothing may be started that changes anything.
        json: the answer is JSON, an error and a plan as well, and progress is not shown.
        verbose: command lines are shown whole, as with Invoke's `--echo`.
    """
    env = environment()
    run = Edge(
        start_of(context),
        env,
        dry=dry_run or bool(context.config.run.dry),
        quiet=json,
        json=json,
        verbose=verbose or bool(context.config.run.echo),
        chosen=_CHOSEN.get(),
    )
    interrupted = False
    try:
        with interrupts.listening():
            try:
                with _buildx_home(env), contextlib.closing(run):
                    yield run
                    run.tell_plan()
            finally:
                if interrupted := interrupts.heard():
                    _sweep()
    except KeyboardInterrupt:
        interrupted = True
    except Exception as error:
        if env.get("BUILDLIB_DEBUG") == "1":
            import traceback

            traceback.print_exc()
        if not interrupted:
            chosen = _CHOSEN.get()
            if chosen.several and not json and isinstance(error, BuildlibError):
                in_image(error, chosen.image)
            if not isinstance(error, BuildlibError | OSError):
                raise
            known = error if isinstance(error, BuildlibError) else refused(error)
            run.fail(known)
            raise Exit(run.console.describe(known), code=exit_code_of(known)) from None
    if interrupted:
        # Whatever else went wrong, went wrong because of that.
        stopped = CancelledError("interrupted")
        run.fail(stopped)
        raise Exit(run.farewell or run.console.describe(stopped), code=stopped.exit_code)


def refused(error: OSError) -> BuildlibError:
    """Return what the system refused, as an error of ours."""
    from buildlib.tempfiles import system_problem

    return system_problem(error)


def answer(text: str) -> None:
    """Print what was asked for before any task has begun."""
    from buildlib.terminal.console import Console

    Console(os.environ).answer(text)


def complain(text: str) -> None:
    """Print what went wrong with one image, before others are worked on."""
    from buildlib.terminal.console import Console

    if text:
        Console(os.environ).pass_on(text)


def refusal(error: BuildlibError, argv: Sequence[str]) -> Exit:
    """Return what ends Invoke with an error, before any task has begun."""
    from buildlib.terminal.console import Console

    console = Console(os.environ)
    if "--json" in argv:
        console.failure(error)
    return Exit(console.describe(error), code=exit_code_of(error))


def _sweep() -> None:
    """End and remove what an interrupt left because it came in between."""
    from buildlib.tempfiles import remove_own

    interrupts.end_children()
    remove_own()
