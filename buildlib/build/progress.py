"""What BuildKit says while it builds: buildx's `--progress rawjson`, one JSON object after another.

Source: github.com/docker/buildx `util/progress` and BuildKit's `client.SolveStatus`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import deque
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, NamedTuple

from buildlib.files import counted
from buildlib.terminal.activity import KEPT_HEAD, KEPT_LINES, Activity, BuildStep, Event, in_bytes

# A RUN that failed: its command is quoted as Go does it, on one line.
_COMMAND: Final = re.compile(r'process ".*" (?=did not complete)')


def _time(text: str | None) -> datetime | None:
    # Go prints nanoseconds, of which Python 3.11 takes only six digits.
    return datetime.fromisoformat(text) if text else None


class _Part(NamedTuple):
    """A part of a step: a layer, a transfer, something that is exported."""

    name: str
    done: int
    total: int
    ended: bool


class BuildProgress:
    """Takes lines, gives events, and counts."""

    def __init__(self) -> None:
        self._steps: dict[str, BuildStep] = {}
        self._running: dict[str, Activity] = {}
        self._parts: dict[str, dict[str, _Part]] = {}
        self._object: list[str] = []
        self.messages: deque[str] = deque(maxlen=KEPT_LINES)

    @property
    def running(self) -> tuple[Activity, ...]:
        """Return the steps that run now; another thread may ask."""
        return tuple(self._running.values())

    @property
    def total(self) -> int:
        """Return the number of the Dockerfile's steps that took part."""
        return sum(step.counts for step in tuple(self._steps.values()))

    @property
    def cached(self) -> int:
        """Return how many of them came from the cache."""
        return sum(step.counts and step.cached for step in tuple(self._steps.values()))

    @property
    def steps(self) -> tuple[BuildStep, ...]:
        """Return all steps, in the order in which they came."""
        return tuple(self._steps.values())

    @property
    def failed(self) -> BuildStep | None:
        """Return the step that broke the build; one that was only cancelled is not it."""
        return next((s for s in self._steps.values() if s.error and not s.cancelled), None)

    def feed(self, line: str) -> list[Event]:
        """Take one line; what is not JSON is buildx's own word and goes through as it is."""
        status = self._status(line)
        if status is None:
            return []
        if isinstance(status, str):
            self.messages.append(status)
            return [Event(step=None, line=status)]
        events: list[Event] = []
        for vertex in status.get("vertexes") or ():
            events += self._vertex(vertex)
        for part in status.get("statuses") or ():
            self._part(part)
        for log in status.get("logs") or ():
            events += self._log(log)
        for warning in status.get("warnings") or ():
            if text := _short(warning):
                events.append(Event(step=None, line=f"warning: {text}"))
                if step := self._steps.get(str(warning.get("vertex"))):
                    step.warnings.append(text)
        return events

    def _status(self, line: str) -> dict[str, Any] | str | None:
        """Return an object that is whole now, or a line of plain text, or None for more to come.

        buildx 0.13 spreads an object over lines, with its braces alone at the margin; later
        versions may not.
        """
        if not line.strip():
            return None
        if line == "{" or (self._object and line[0] in " }"):
            self._object.append(line)
            if line != "}":
                return None
            line = "\n".join(self._object)
        self._object.clear()
        try:
            status = json.loads(line)
        except ValueError:
            return line
        return status if isinstance(status, dict) else line

    def _vertex(self, vertex: dict[str, Any]) -> list[Event]:
        digest = str(vertex.get("digest", ""))
        step = self._steps.setdefault(digest, BuildStep(name=str(vertex.get("name", ""))))
        step.digest = digest
        step.inputs = tuple(map(str, vertex.get("inputs") or step.inputs))
        ended = step.seconds is not None
        step.cached = step.cached or bool(vertex.get("cached"))
        step.error = str(vertex.get("error") or step.error)
        step.cancelled = "canceled" in without_command(step.error)
        step.started = _time(vertex.get("started")) or step.started
        completed = _time(vertex.get("completed"))
        if completed is None:
            if step.started and not ended:
                self._running.setdefault(digest, Activity(name=step.name))
            return []
        self._running.pop(digest, None)
        self._parts.pop(digest, None)
        step.seconds = (completed - (step.started or completed)).total_seconds()
        # BuildKit repeats itself, and a step may end twice, once for each platform's use of it.
        return [] if ended else [Event(step=step)]

    def _part(self, said: dict[str, Any]) -> None:
        """Take how far a part of a step is; what has a digest as its name is a layer."""
        digest = str(said.get("vertex"))
        activity = self._running.get(digest)
        if activity is None:
            return
        name = str(said.get("id") or said.get("name") or "")
        parts = self._parts.setdefault(digest, {})
        done, total = (int(said.get(key) or 0) for key in ("current", "total"))
        parts[name] = _Part(name, done, total, bool(said.get("completed")))
        if done:
            self._steps[digest].sizes[name] = done
        activity.status = _summary(tuple(parts.values()))

    def _log(self, log: dict[str, Any]) -> list[Event]:
        step = self._steps.get(str(log.get("vertex")))
        if step is None:
            return []
        try:
            text = base64.b64decode(log.get("data") or "").decode(errors="replace")
        except (binascii.Error, ValueError):
            return []
        *whole, step.partial = (step.partial + text).split("\n")
        lines = [line.rstrip("\r") for line in whole]
        step.log.extend(lines)
        step.head += lines[: max(KEPT_HEAD - len(step.head), 0)]
        step.lines += len(lines)
        activity = self._running.get(str(log.get("vertex")))
        said = [line.strip() for line in lines if line.strip()]
        if said and activity:
            activity.status = said[-1]
        return [Event(step=step, line=line) for line in lines]


class PlainProgress:
    """Takes lines that buildx drew for people, and keeps those that say why a build failed.

    At the end of such a build they name the step and repeat its last lines:

        ------
         > [2/3] RUN go build:
        0.480 ./main.go:3:1: syntax error
        ------
        ERROR: failed to solve: process "…" did not complete successfully: exit code: 1
    """

    _RULE: Final = "------"
    _STEP: Final = " > "

    def __init__(self) -> None:
        self.messages: deque[str] = deque(maxlen=KEPT_LINES)

    @property
    def failed(self) -> BuildStep | None:
        """Return the step that broke the build, as far as the last lines have one."""
        lines = list(self.messages)
        starts = [n for n, line in enumerate(lines) if line == self._RULE]
        for begin, end in reversed(list(pairwise(starts))):
            name, *log = lines[begin + 1 : end] or [""]
            if name.startswith(self._STEP):
                said = deque((re.sub(r"^\d+\.\d+ ", "", line) for line in log), KEPT_LINES)
                name = name.removeprefix(self._STEP).removesuffix(":")
                return BuildStep(name=name, error=self._error(lines), log=said)
        return None

    @staticmethod
    def _error(lines: list[str]) -> str:
        errors = [line for line in lines if line.startswith("ERROR: ")]
        return (
            errors[-1].removeprefix("ERROR: ").removeprefix("failed to solve: ") if errors else ""
        )

    def feed(self, line: str) -> list[Event]:
        """Take one line; there is nothing to show but the line itself."""
        if line.strip():
            self.messages.append(line)
        return []


def _summary(parts: tuple[_Part, ...]) -> str:
    """Return how far a step is: bytes and layers, or the part that it does now."""
    sized = [part for part in parts if part.total]
    if sized:
        layers = [part for part in sized if part.name.startswith("sha256:")]
        done = in_bytes(sum(part.done for part in sized), sum(part.total for part in sized))
        ended = sum(part.ended or part.done >= part.total for part in layers)
        return f"{done}, {ended} of {counted(len(layers), 'layer')}" if layers else done
    # The part that came last is the one that is done now.
    last = next((part for part in reversed(parts) if not part.ended), parts[-1])
    return f"{last.name} {in_bytes(last.done)}" if last.done else last.name


def without_command(error: str) -> str:
    """Return an error without the command that failed: whatever it says is not BuildKit's word."""
    return _COMMAND.sub("process ", error)


def _short(warning: dict[str, Any]) -> str:
    try:
        return base64.b64decode(warning.get("short") or "").decode(errors="replace")
    except (binascii.Error, ValueError):
        return ""
