"""Runs buildx: again where what failed may pass, and not for ever where a node is silent."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from buildlib.background import Background
from buildlib.build import builder_check
from buildlib.build.argv import buildx_argv
from buildlib.build.plan import BuildPlan, Output
from buildlib.build.progress import BuildProgress, PlainProgress, without_command
from buildlib.build.recording import Recording
from buildlib.config.builders import BuilderSettings
from buildlib.docker.engine import inspect_builder
from buildlib.errors import BuildlibError, raise_problems
from buildlib.executor import Executor, Watch, pause
from buildlib.retry import LaterError, Patience, Retrier, is_transient
from buildlib.terminal.console import Console
from buildlib.terminal.text import redact

# A builder whose build has said nothing for so many seconds is asked whether its nodes are there.
# buildx gives a node 20 s to answer, and a node that is busy gets a second chance.
SILENCE: Final = 30.0
CHANCES: Final = 2
# As the engine refuses a tag that was absent when it looked; containerd's words.
_RACED: Final = re.compile(r"""\bimage \\?"[^"\n]+": already exists\b""")
_RACES: Final = 4
# All waits together are shorter than what an interrupt may take.
PATIENCE: Final = Patience(attempts=4, base=1.0, ceiling=4.0)
# A step that ran to its end: neither the node nor the network failed.
_RAN: Final = "did not complete successfully: exit code"


def watch_nodes(
    plan: BuildPlan, executor: Executor, described: BuilderSettings | None
) -> Watch | None:
    """Return what looks after the nodes of a builder: buildx waits for one for ever.

    A daemon that is stopped or wedged keeps its connections, and nothing breaks.
    """
    if not plan.builder:
        return None

    def ask() -> None:
        problems: Sequence[BuildlibError] = ()
        for _ in range(CHANCES):
            problems = builder_check.check_nodes(
                plan, inspect_builder(executor, plan.builder), described
            )
            if not problems:
                return
        raise_problems(problems)

    return Watch(every=SILENCE, ask=ask)


class Shown:
    """Shows what a build says; asks for the image's size as soon as there is an image.

    buildx takes a while to end after its last word, and the question needs not wait for that.
    """

    # Of the docker driver; others load the image only after their step of nearly that name.
    _LAST: Final = "exporting to image"

    def __init__(
        self,
        plan: BuildPlan,
        executor: Executor,
        console: Console,
        recording: Recording | None,
    ) -> None:
        """Have the recording follow the steps."""
        self.counts = plan.progress == "auto"
        # Both say why a build failed; buildx's own drawing is shown as it is.
        self.progress = (
            BuildProgress() if self.counts or plan.progress == "rawjson" else PlainProgress()
        )
        self._ask: Callable[[], int | None] = lambda: image_size(plan, executor)
        self._console = console
        self._early: Background[int | None] | None = None
        self._recording = recording
        if recording and isinstance(self.progress, BuildProgress):
            recording.follow(self.progress)

    def take(self, line: str) -> None:
        """Take a line of buildx."""
        events = self.progress.feed(line)
        if not self.counts:
            self._console.pass_on(line)
            return
        for event in events:
            self._console.event(event)
            step = event.step
            if step and event.line is None and self._recording:
                self._recording.ended(step)
            if step and event.line is None and step.name == self._LAST and not step.error:
                self._early = Background(self._ask)
                if self._recording:
                    self._recording.exported()

    def drawn(self) -> contextlib.AbstractContextManager[None]:
        """Show what runs for the time of the block, where its steps are counted."""
        if self.counts and isinstance(self.progress, BuildProgress):
            return self._console.following(self.progress)
        return contextlib.nullcontext()

    def raced(self) -> bool:
        """Return whether it failed as another build made the same tag at the same time."""
        step = self.progress.failed
        said = [step.error if step else "", *self.progress.messages]
        return any(_RACED.search(without_command(text)) for text in said)

    @property
    def errors(self) -> list[str]:
        """Return why it failed, without what a command printed."""
        step = self.progress.failed
        said = [line for line in self.progress.messages if line.startswith("ERROR: ")]
        return [without_command(text) for text in ([step.error] if step else said)]

    def size(self) -> int | None:
        """Return the image's size in bytes, as far as it is known."""
        early = self._early.get() if self._early else None
        return self._ask() if early is None else early


def run_buildx(
    plan: BuildPlan,
    executor: Executor,
    console: Console,
    watch: Watch | None,
    recording: Recording | None,
    said: list[str],
) -> tuple[int, Shown]:
    """Run buildx, again where that may help; what is done by then is in the cache.

    That is where another build was about to give the same name to an image: two builds that both
    find a tag absent make it, and the engine lets the second one fail ("already exists"). And where
    a pull, a push or a cache failed by an error of the network that may pass.

    Args:
        plan: what is built.
        executor: starts docker.
        console: shows what buildx says.
        recording: takes the steps; None: nothing is kept.
        watch: asks the nodes, also where the build has failed.
        said: gets what the user should know.

    Raises:
        NodeError: a node does not answer any more (exit 4).
    """
    argv = buildx_argv(plan)
    races = 0
    retrier = Retrier(patience=PATIENCE, sleep=partial(pause, executor))
    while True:
        shown = Shown(plan, executor, console, recording)
        # Only what is drawn on the terminal itself can't be read.
        with shown.drawn():
            code = (
                executor.attach(argv, watch=watch)
                if plan.progress == "tty"
                else executor.stream(argv, shown.take, watch=watch)
            )
        if code == 0:
            return code, shown
        if shown.raced() and races < _RACES:
            races += 1
            console.note("another build creates the same tag at this moment: trying again")
            # Not in step with the other one.
            pause(executor, secrets.randbelow(1000) / 1000 * races)
            continue
        if watch and not any(_RAN in text for text in shown.errors):
            watch.ask()
        passing = next(filter(is_transient, shown.errors), "")
        attempt = retrier.tally.retries
        if not passing or attempt == PATIENCE.attempts - 1:
            return code, shown
        text = f"the build is started again, as this may pass: {redact(passing)}"
        console.warn(text)
        said.append(text)
        retrier.pause(attempt, LaterError(passing))


def image_size(plan: BuildPlan, executor: Executor) -> int | None:
    """Return bytes: as the engine counts the image, or of the archive."""
    if plan.output == Output.OCI and plan.destination:
        return plan.destination.stat().st_size if plan.destination.is_file() else None
    if not plan.loads or not plan.references:
        return None
    argv = ("docker", "image", "inspect", "--format", "{{.Size}}", plan.references[0])
    answer = executor.run(argv).stdout.strip()
    return int(answer) if answer.isdigit() else None
