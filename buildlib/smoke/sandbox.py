"""Starts the containers of one run of smoke, and sees to it that none of them is left."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from buildlib.containers.leftovers import REMOVE, ended, listed_now, remove_made, runs_in
from buildlib.errors import EngineError
from buildlib.executor import NOTHING, Cancellable, Completed, Executor
from buildlib.image.labels import NAMESPACE, names_of
from buildlib.tempfiles import new_name

LABEL: Final = f"{NAMESPACE}.smoke"
# docker itself, beside what the container takes, on an engine that is not slow.
_SLACK: Final = 10.0
# Within this an engine makes a container and removes it, unless its machine is overloaded; then
# everything else takes as many times longer there, up to a point.
_USUAL: Final = 1.5
_MOST: Final = 10.0
_MENTIONED: Final = 1.1


def new_run_id() -> str:
    """Return a name that shows, later, whether its run has ended."""
    return new_name("smoke")


class Lab(Cancellable):
    """The containers and volumes of one run; no process starts once it is cancelled.

    Args:
        run_id: the value of their label.
        elsewhere: the ports of the engine's machine are not those of this one.
    """

    def __init__(self, executor: Executor, run_id: str, *, elsewhere: bool = False) -> None:
        super().__init__(executor, "interrupted")
        self.run_id = run_id
        self.elsewhere = elsewhere
        # How many times longer than usual this engine takes.
        self.slowness = 1.0

    def docker(self, *words: str, timeout: float | None = None) -> Completed:
        """Run docker to its end; raises as `run`."""
        return self.run(("docker", *words), timeout=timeout)

    def measure(self, image: str) -> None:
        """See how slow the engine is at the moment: limits of time are scaled by it."""
        started = time.monotonic()
        name = self.new_name()
        try:
            self.docker("create", "--name", name, *self.labels, "--pull", "never", image)
        finally:
            self.remove(name)
        self.slowness = min(max((time.monotonic() - started) / _USUAL, 1.0), _MOST)

    def limit(self, seconds: float) -> float:
        """Return a limit of time, as it is on this engine."""
        return seconds * self.slowness

    @property
    def remark(self) -> str:
        """Return what a message about a limit adds where it was longer than configured."""
        if self.slowness < _MENTIONED:
            return ""
        return f" (limits are {self.slowness:.1f} times as long here: the engine is slow)"

    def new_name(self) -> str:
        """Return a name for something of this run."""
        return f"{self.run_id}-{os.urandom(4).hex()}"

    @property
    def labels(self) -> tuple[str, str]:
        """Return the options by which what is made is known as this run's."""
        return ("--label", f"{LABEL}={self.run_id}")

    @contextmanager
    def container(
        self,
        options: Sequence[str],
        image: str,
        command: Sequence[str] = (),
        *,
        timeout: float,
        env: Mapping[str, str] = NOTHING,
    ) -> Iterator[tuple[str, Completed]]:
        """Run a container for the time of the block; it is removed whatever happens.

        Args:
            options: of docker run; with `--detach` it goes on while the block does.
            command: for its entrypoint.
            timeout: seconds that it may take to end, or to start where it is detached.
            env: values of variables that the options name alone.

        Raises:
            TimedOutError: it did not end in time (exit 4).
        """
        # `--rm` alone would not do: it ends with the client, and the container may outlive that.
        name = self.new_name()
        words = ("run", "--name", name, *self.labels, "--pull", "never")
        try:
            timeout += self.limit(_SLACK)
            argv = ("docker", *words, *options, image, *command)
            yield name, self.run(argv, timeout=timeout, env=env)
        finally:
            self.remove(name)

    @contextmanager
    def volume(self) -> Iterator[str]:
        """Make a volume for the time of a block; raises EngineError (exit 4)."""
        name = self.new_name()
        made = self.docker("volume", "create", *self.labels, name)
        if made.code != 0:
            raise EngineError("the engine could not make a volume", why=made.stderr.strip())
        try:
            yield name
        finally:
            self.always.run(("docker", "volume", "rm", "--force", name))

    def remove(self, *containers: str, network: str = "") -> None:
        """Remove containers, and then the network that they were in, cancelled or not."""
        self.always.run(("docker", *REMOVE, *containers))
        if network:
            self.always.run(("docker", "network", "rm", "--force", network))

    def cancel(self) -> None:
        """Let nothing new start, and end what runs: whoever waits for it returns."""
        super().cancel()
        self.sweep()

    def sweep(self) -> None:
        """Remove what is left of this run."""
        remove_made(self.always, LABEL, self.run_id)


def remove_stale(executor: Executor, image: str, keep: str = "") -> tuple[str, ...]:
    """Remove what runs that have ended left, and return their names.

    Args:
        image: the project's, whose tags may have been made for a run.
        keep: a reference that is still wanted.
    """
    # By the former name of the label as well; what has both goes by the present one.
    made = {run_id: name for name in names_of(LABEL)[::-1] for run_id in runs_in(executor, name)}
    tags = listed_now(executor, "image", "ls", "--format", "{{.Tag}}", image)
    stale = ended([*made, *tags])
    for run_id in stale:
        remove_made(executor, made.get(run_id, LABEL), run_id)
        if run_id in tags and f"{image}:{run_id}" != keep:
            executor.run(("docker", "image", "rm", "--no-prune", f"{image}:{run_id}"))
    return tuple(run_id for run_id in stale if run_id in made)
