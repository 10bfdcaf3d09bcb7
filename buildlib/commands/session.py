"""What a command is given by its task: where it is, what it may start, where it prints."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from buildlib.background import Background
from buildlib.git.command import ask_ahead
from buildlib.shell import anchored

# Every task loads this module, and waits for it: what only some of them need comes later.
if TYPE_CHECKING:
    from buildlib.config.config import Config
    from buildlib.console import Console
    from buildlib.docker.engine import EngineFacts
    from buildlib.errors import BuildlibError
    from buildlib.executor import Executor, PlumbumExecutor
    from buildlib.git.command import Ahead
    from buildlib.project import Project


# What buildx remembers, where the user has no home for it.
BUILDX_FOLDER = "buildx"


class Beginning(NamedTuple):
    """What is on its way while a task still loads; `engine` is None where nothing may start."""

    project: Background[Project]
    engine: Background[EngineFacts] | None


class Edge:
    """What a task is given: where it is, what it may start, where it prints.

    Args:
        start: a directory of the project.
        env: the environment that every process of ours gets.
        dry: nothing may be started that changes anything.
        quiet: progress is not shown.
        json: the answer is JSON.
        verbose: command lines are shown whole, and what the steps of a build print.
    """

    def __init__(
        self,
        start: Path,
        env: Mapping[str, str],
        *,
        dry: bool,
        quiet: bool,
        json: bool = False,
        verbose: bool = False,
    ) -> None:
        """Keep them; `farewell`: what an interrupt prints, where it is the way to stop."""
        self.start, self.env, self.dry = start, env, dry
        self._quiet, self._json, self._verbose = quiet, json, verbose
        self._planned: list[str] = []
        self.farewell = ""
        self._build_args: tuple[str, ...] = ()
        self._secrets: tuple[str, ...] = ()

    @property
    def passing_home(self) -> bool:
        """Return whether what buildx remembers goes away with this task."""
        return Path(self.env.get("BUILDX_CONFIG", "")).name.startswith(f"buildlib-{BUILDX_FOLDER}-")

    @cached_property
    def console(self) -> Console:
        """Return the printer."""
        from buildlib.console import Console

        return Console(self.env, quiet=self._quiet, verbose=self._verbose)

    @cached_property
    def _own_executor(self) -> PlumbumExecutor:
        from buildlib.executor import PlumbumExecutor

        return PlumbumExecutor(self.env, self.start)

    def plan(self, line: str) -> None:
        """Print a line that would run; as JSON, `tell_plan` prints all of them together."""
        if self._json:
            self._planned.append(line)
        else:
            self.console.answer(line)

    def tell_plan(self) -> None:
        """Print the lines of a dry run as JSON, where nothing else was answered."""
        if self._json and self.dry and not self.console.answered:
            from buildlib.console import to_json

            self.console.answer(to_json({"commands": self._planned}))

    def fail(self, error: BuildlibError) -> None:
        """Print an error as JSON, where the answer is JSON."""
        if self._json:
            self.console.failure(error)

    @property
    def executor(self) -> Executor:
        """Return what starts processes."""
        return self._own_executor

    def from_here(self, texts: Iterable[str] | None) -> tuple[str, ...]:
        """Return options of buildx for a build that is started in the project's directory.

        Whoever types a relative path means the directory that they are in.
        """
        typed = tuple(texts or ())
        here = Path.cwd()
        if not typed or here == self.start.resolve():
            return typed
        return tuple(anchored(text, here) for text in typed)

    def take(self, build_arg: Iterable[str] | None, secret: Iterable[str] | None) -> None:
        """Let every build of this task have build args and secrets, as buildx takes them."""
        self._build_args, self._secrets = tuple(build_arg or ()), self.from_here(secret)

    def connect(self, docker_host: str) -> None:
        """Let docker use another engine than it would by itself."""
        self._own_executor.setenv("DOCKER_HOST", docker_host)

    def close(self) -> None:
        """End what was started and still runs."""
        if "_own_executor" in vars(self):
            self._own_executor.close()

    def project(
        self,
        overrides: Mapping[str, object] | None = None,
        *,
        version: str = "",
        ahead: Ahead | None = None,
    ) -> Project:
        """Load the project that the task runs in."""
        ahead = ahead or ask_ahead(self.start)
        from buildlib.project import load_project

        project = load_project(
            self.start,
            self.env,
            now=time.time(),
            overrides=overrides,
            version=version,
            ahead=ahead,
            # The printer is wanted afterwards, always.
            meanwhile=lambda: self.console,
        )
        if self._build_args or self._secrets:
            return replace(project, build_args=self._build_args, secrets=self._secrets)
        return project

    def warn(self, project: Project) -> None:
        """Say what the user should know about the version."""
        for warning in project.version.warnings:
            self.console.warn(warning)

    def config(self) -> Config:
        """Load the configuration alone: what needs no version need not wait for git."""
        from buildlib.config.config import load_config

        return load_config(self.start, self.env)

    def today(self) -> date:
        """Return the day, in UTC."""
        return datetime.fromtimestamp(time.time(), UTC).date()

    def ask_engine(self) -> Background[EngineFacts] | None:
        """Start to ask docker about itself, unless dry."""
        if self.dry:
            return None
        from buildlib.docker.engine import inspect_engine

        # This imports plumbum: two threads that import at the same time only hold each other up.
        executor = self._own_executor

        def ask() -> EngineFacts:
            facts = inspect_engine(executor)
            executor.start_directly(facts.buildx_path)
            return facts

        return Background(ask)

    def begin(
        self, overrides: Mapping[str, object] | None = None, *, version: str = ""
    ) -> Beginning:
        """Start to ask docker about itself, unless dry, and to load the project."""
        ahead = ask_ahead(self.start)
        engine = self.ask_engine()
        project = Background(lambda: self.project(overrides, version=version, ahead=ahead))
        return Beginning(project=project, engine=engine)
