"""What a command is given by its task: where it is, what it may start, where it prints."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO

from buildlib.background import Background
from buildlib.git.command import ask_ahead
from buildlib.shell import anchored

# Every task loads this module, and waits for it: what only some of them need comes later.
if TYPE_CHECKING:
    from buildlib.config.config import Config
    from buildlib.docker.engine import EngineFacts
    from buildlib.errors import BuildlibError
    from buildlib.executor import Executor, PlumbumExecutor
    from buildlib.git.command import Ahead
    from buildlib.project import Project
    from buildlib.terminal.console import Console


# What buildx remembers, where the user has no home for it.
BUILDX_FOLDER = "buildx"


class Beginning(NamedTuple):
    """What is on its way while a task still loads; `engine` is None where nothing may start.

    Of several images that one task builds, `project` is the first.
    """

    project: Background[Project]
    engine: Background[EngineFacts] | None
    others: Background[tuple[Project, ...]] | None = None

    def projects(self) -> tuple[Project, ...]:
        """Return all of them, in the order in which they are built."""
        return self.others.get() if self.others else (self.project.get(),)


class Batch(NamedTuple):
    """How several images are built by one task.

    Args:
        names: of their tables; one that is empty is the project's only image.
        jobs: images at a time.
        keep_going: the others are built if one fails.
        changed: only those that differ from this commit; empty: from the usual one; None: all.
    """

    names: tuple[str, ...] = ()
    jobs: int = 1
    keep_going: bool = False
    changed: str | None = None


class Chosen(NamedTuple):
    """What a task works on, where a project has several images.

    Args:
        image: the name of its table `[images.NAME]`.
        several: others are worked on before or after it.
        out: takes the answer; None: the standard output.
        batch: the task works on all of them by itself.
    """

    image: str = ""
    several: bool = False
    out: TextIO | None = None
    batch: Batch | None = None


WHOLE: Final = Chosen()


class Edge:
    """What a task is given: where it is, what it may start, where it prints.

    Args:
        env: the environment that every process of ours gets.
        dry: nothing may be started that changes anything.
        json: the answer is JSON.
        verbose: command lines are shown whole, and what the steps of a build print.
        chosen: what is worked on, where a project has several images.
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
        chosen: Chosen = WHOLE,
    ) -> None:
        """Keep them; `farewell`: what an interrupt prints, where it is the way to stop."""
        self.start, self.env, self.dry = start, env, dry
        self._chosen, self.image, self.batch = chosen, chosen.image, chosen.batch
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
        from buildlib.terminal.console import Console

        return Console(
            self.env,
            out=self._chosen.out,
            quiet=self._quiet,
            verbose=self._verbose,
            heading=f"# {self.image}" if self._chosen.several and not self._json else "",
        )

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
            from buildlib.terminal.text import to_json

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
            image=self.image,
            ahead=ahead,
            # The printer is wanted afterwards, always.
            meanwhile=lambda: self.console,
        )
        return self._given(project)

    def _given(self, project: Project) -> Project:
        if self._build_args or self._secrets:
            return project.given(self._build_args, self._secrets)
        return project

    def projects(
        self,
        names: Iterable[str],
        overrides: Mapping[str, object] | None = None,
        *,
        version: str = "",
        ahead: Ahead | None = None,
    ) -> tuple[Project, ...]:
        """Load images of the project that the task runs in."""
        from buildlib.project import load_projects

        found = load_projects(
            self.start,
            self.env,
            now=time.time(),
            overrides=overrides,
            version=version,
            only=names,
            ahead=ahead or ask_ahead(self.start),
            meanwhile=lambda: self.console,
        )
        return tuple(map(self._given, found))

    def warn(self, project: Project) -> None:
        """Say what the user should know about the version."""
        for warning in project.version.warnings:
            self.console.warn(warning)

    def config(self) -> Config:
        """Load the configuration alone: what needs no version need not wait for git."""
        from buildlib.config.load import load_config

        return load_config(self.start, self.env, image=self.image)

    def local_image(self, config: Config) -> str:
        """Return the image that was built last here, or of this version if its tags name that."""
        if config.local_image:
            return config.local_image
        from buildlib.versioning.local_tags import local_tags

        return f"{config.image}:{local_tags(self.project().version, config)[0]}"

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
        if self.batch:
            load = partial(self.projects, self.batch.names, overrides)
            found = Background(lambda: load(version=version, ahead=ahead))
            return Beginning(Background(lambda: found.get()[0]), engine, found)
        project = Background(lambda: self.project(overrides, version=version, ahead=ahead))
        return Beginning(project=project, engine=engine)
