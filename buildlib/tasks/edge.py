"""Where a task meets the world: environment, clock, signals, and errors turned into exit codes."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit

from buildlib.background import Background
from buildlib.config import BASE_IMAGES_VARIABLE
from buildlib.console import Console
from buildlib.engine import EngineFacts, inspect_engine
from buildlib.errors import BuildlibError, CancelledError, exit_code_of
from buildlib.executor import Executor, PlumbumExecutor, preload

if TYPE_CHECKING:
    from buildlib.project import Project

# What the interpreter does when it ends is to look for garbage in everything that was ever
# imported, which takes longer than asking git; memory that goes away with the process needs none.
atexit.register(gc.freeze)
# And while it loads, it looks for garbage every 700 objects; there is none among modules.
gc.set_threshold(100_000)


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What is on its way while a task still loads; `engine` is None where nothing may start."""

    project: Background[Project]
    engine: Background[EngineFacts] | None


@dataclass(frozen=True, kw_only=True)
class Edge:
    """What a task is given: where it is, what it may start, where it prints."""

    start: Path
    env: Mapping[str, str]
    console: Console
    executor: Executor
    dry: bool

    def project(
        self, overrides: Mapping[str, object] | None = None, *, version: str = ""
    ) -> Project:
        """Load the project that the task runs in."""
        from buildlib.project import load_project  # noqa: PLC0415 - while docker is being asked

        now = time.time()
        return load_project(self.start, self.env, now=now, overrides=overrides, version=version)

    def warn(self, project: Project) -> None:
        """Say what the user should know about the version."""
        for warning in project.version.warnings:
            self.console.warn(warning)

    def begin(
        self, overrides: Mapping[str, object] | None = None, *, version: str = ""
    ) -> Beginning:
        """Start to ask docker about itself, unless dry, and to load the project."""
        engine = None
        if not self.dry:
            # Two threads that import at the same time only hold each other up.
            preload()
            engine = Background(lambda: inspect_engine(self.executor))
        return Beginning(
            project=Background(lambda: self.project(overrides, version=version)), engine=engine
        )


def _stop(_signum: int, _frame: FrameType | None) -> None:
    # SIGTERM ends a task exactly as Ctrl-C does.
    raise KeyboardInterrupt


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _environment() -> dict[str, str]:
    """Return the environment that every process of ours gets."""
    env = dict(os.environ)
    # buildx's one-line-JSON progress, set here and not in argv, so that a line printed by a dry
    # run shows the ordinary progress when someone pastes it.
    env.setdefault("BUILDKIT_PROGRESS", "rawjson")
    # For BuildKit's provenance, which is off: buildx need not ask git all over again.
    env.setdefault("BUILDX_GIT_INFO", "false")
    if path := env.get(BASE_IMAGES_VARIABLE):
        env[BASE_IMAGES_VARIABLE] = str(Path(path).absolute())
    return env


@contextlib.contextmanager
def _buildx_home(env: dict[str, str]) -> Iterator[None]:
    """Give buildx a directory of its own where the user's home can't be written.

    It keeps records of every build, and fails where it can't.
    """
    home = Path(env.get("DOCKER_CONFIG") or Path(env.get("HOME") or "~").expanduser() / ".docker")
    existing = next(path for path in (home / "buildx", *home.parents) if path.exists())
    if "BUILDX_CONFIG" in env or os.access(existing, os.W_OK):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="buildlib-buildx-") as folder:
        env["BUILDX_CONFIG"] = folder
        yield


@contextlib.contextmanager
def edge(context: Context, *, dry_run: bool = False, quiet: bool = False) -> Iterator[Edge]:
    """Give a task its surroundings, and turn what it raises into a clean line and an exit code.

    Args:
        context: Invoke's; its `--dry` counts as `dry_run`, and its key `buildlib.root` is where
            the project is looked for.
        dry_run: nothing may be started that changes anything.
        quiet: progress is not shown.
    """
    env = _environment()
    start = Path(context.config.get("buildlib", {}).get("root", "."))
    console = Console(env, quiet=quiet)
    dry = dry_run or bool(context.config.run.dry)
    try:
        with (
            _terminable(),
            _buildx_home(env),
            contextlib.closing(PlumbumExecutor(env, start)) as executor,
        ):
            yield Edge(start=start, env=env, console=console, executor=executor, dry=dry)
    except BuildlibError as error:
        if env.get("BUILDLIB_DEBUG") == "1":
            raise
        raise Exit(console.describe(error), code=exit_code_of(error)) from None
    except KeyboardInterrupt:
        raise Exit(console.describe(CancelledError("interrupted")), code=130) from None
