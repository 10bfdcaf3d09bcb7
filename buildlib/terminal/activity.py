"""What runs at this moment, and how far it has come; the console shows it until it ends."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from buildlib.background import Background
from buildlib.files import counted

# Less is told in kB.
_SMALL = 100_000


def in_bytes(done: int, total: int = 0) -> str:
    """Return how many bytes there are, of how many: in one unit, as the number changes."""
    unit, size = ("kB", 1e3) if max(done, total) < _SMALL else ("MB", 1e6)
    return (
        f"{done / size:.1f} of {total / size:.1f} {unit}" if total else f"{done / size:.1f} {unit}"
    )


@dataclass(kw_only=True, slots=True, eq=False)
class Activity:
    """One thing that runs.

    Args:
        began: when, by `time.monotonic`.
        done, total: bytes; 0 where they are not counted, or the total is not known.
    """

    name: str
    began: float = field(default_factory=time.monotonic)
    done: int = 0
    total: int = 0
    status: str = ""

    def progress(self) -> str:
        """Return how far it is."""
        return in_bytes(self.done, self.total) if self.done or self.total else self.status


class RunningSteps(Protocol):
    """Something that runs in steps of its own, such as a build."""

    @property
    def running(self) -> Sequence[Activity]:
        """Return the steps that run now."""

    @property
    def total(self) -> int:
        """Return how many steps there are, as far as it is known."""

    @property
    def cached(self) -> int:
        """Return how many of them were in the cache."""


class Row(NamedTuple):
    """One thing that runs, as it is shown."""

    seconds: float
    name: str
    progress: str


class Board:
    """All that runs now, and how much there has been."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # What each begins with, to tell it from others of its name.
        self._activities: dict[Activity, str] = {}
        self._sources: dict[RunningSteps, str] = {}
        self._began = 0.0
        self._ended = self._cached = 0

    def add(self, one: Activity | RunningSteps, label: str = "") -> bool:
        """Show something from now on, behind a label; return whether nothing else was shown."""
        with self._lock:
            first = not (self._activities or self._sources)
            self._began = self._began or time.monotonic()
            if isinstance(one, Activity):
                self._activities[one] = label
            else:
                self._sources[one] = label
            return first

    def remove(self, one: Activity | RunningSteps) -> bool:
        """Show it no longer, and count it; return whether nothing is left."""
        with self._lock:
            if one in self._activities:
                del self._activities[one]
                self._ended += 1
            elif one in self._sources:
                del self._sources[one]
                self._ended += one.total
                self._cached += one.cached
            return not (self._activities or self._sources)

    def rows(self) -> list[Row]:
        """Return what runs, in the order in which it began."""
        with self._lock:
            running = [*self._activities.items()]
            for source, label in self._sources.items():
                running += [(step, label) for step in source.running]
        running.sort(key=lambda one: one[0].began)
        now = time.monotonic()
        return [Row(now - one.began, label + one.name, one.progress()) for one, label in running]

    def summary(self, running: int) -> str:
        """Return the line below: time, steps, those of the cache, and those that run."""
        with self._lock:
            total = self._ended + len(self._activities) + sum(one.total for one in self._sources)
            cached = self._cached + sum(one.cached for one in self._sources)
            seconds = time.monotonic() - self._began
        return f"{seconds:7.1f} s {counted(total, 'step')}, {cached} cached, {running} running"


class Repeated:
    """Does something again and again, on a thread of its own.

    Args:
        every: seconds between two times.
        first: seconds before the first one.
    """

    def __init__(self, do: Callable[[], None], *, every: float, first: float) -> None:
        self._do, self._every, self._first = do, every, first
        self._ended = threading.Event()
        self._running = Background(self._run)

    def _run(self) -> None:
        wait = self._first
        while not self._ended.wait(wait):
            self._do()
            wait = self._every

    def stop(self) -> None:
        """Return once it is over."""
        self._ended.set()
        self._running.wait()


# Kept for the message when the step fails; what was printed before is on the screen anyway.
KEPT_LINES: Final = 200
# Of its first lines.
KEPT_HEAD: Final = 50
_INTERNAL: Final = ("[internal]", "[context ", "[auth]", "exporting", "importing", "resolve image")


@dataclass(kw_only=True, slots=True)
class BuildStep:
    """One step of the build; `seconds` is None until it ended.

    Args:
        digest, inputs: of its definition, and of the steps before it.
        log: its last lines; `head` are its first ones, and `lines` is how many there were.
        cancelled: it ended only because another one failed; that is an error, too.
        sizes: bytes of each part of it, such as a layer.
    """

    name: str
    digest: str = ""
    inputs: tuple[str, ...] = ()
    cached: bool = False
    error: str = ""
    cancelled: bool = False
    seconds: float | None = None
    started: datetime | None = None
    log: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    head: list[str] = field(default_factory=list)
    lines: int = 0
    partial: str = ""
    sizes: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def counts(self) -> bool:
        """Return whether it is an instruction of the Dockerfile, not the builder's own work."""
        return self.name.startswith("[") and not self.name.startswith(_INTERNAL)


class Event(NamedTuple):
    """Something to show: a step that ended, or a line of its output, or of buildx itself."""

    step: BuildStep | None
    line: str | None = None
