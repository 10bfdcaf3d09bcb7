"""Asks whether a container is healthy, in whichever way the configuration or the image has it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from buildlib.containers.health import Health
from buildlib.containers.inspect import health_log
from buildlib.containers.port import NoWayError, Reach
from buildlib.errors import TimedOutError
from buildlib.executor import Completed
from buildlib.image.runtime_config import health_command

# One that runs that long did not end at once.
_STEADY: Final = 1.0
_PAUSE: Final = 0.03
# An answer that takes longer says something about the server.
_WORTH: Final = 1.0
# Asking docker takes longer than asking the server, so it is done now and then.
_POLLS_PER_LOOK: Final = 10

Described = Mapping[str, Any]


def wait(
    ask: Callable[[float], str],
    runs: Callable[[], bool],
    seconds: float,
    *,
    pause: float = _PAUSE,
    every: int = _POLLS_PER_LOOK,
) -> tuple[str, bool]:
    """Ask until nothing is wrong; return what is wrong still, and whether the container has ended.

    Args:
        ask: is given the seconds that are left; returns what is wrong.
        seconds: from now.
        pause: seconds between two questions.
        every: after so many questions `runs` is called.
    """
    deadline, asked = time.monotonic() + seconds, 0
    while True:
        if not (problem := ask(max(deadline - time.monotonic(), pause))):
            return "", False
        asked += 1
        over = time.monotonic() > deadline
        ended = (over or asked % every == 0) and not runs()
        if ended or over:
            return problem, ended
        time.sleep(pause)


class Probe:
    """One container, and what counts as healthy.

    Args:
        describe: returns what `docker container inspect` has of it.
        lenient: where nothing can ask, it is enough that it runs.
    """

    def __init__(
        self,
        health: Health,
        reach: Reach,
        execute: Callable[[tuple[str, ...]], Completed],
        describe: Callable[[], Described],
        *,
        lenient: bool = False,
    ) -> None:
        """Keep them; the time of its start is about now."""
        self._health, self._reach = health, reach
        self._execute, self._describe = execute, describe
        self._started, self._lenient = time.monotonic(), lenient
        # What was wrong when it answered last.
        self._seen = ""
        # How it was asked, where not as configured.
        self.way = ""

    def problem(self, left: float) -> str:
        """Return why it is not healthy, or nothing.

        Args:
            left: seconds that the question may take.
        """
        ask = {
            "http": lambda: self._by_http(left),
            "tcp": lambda: self._reach.connects(timeout=left),
            "command": lambda: _failure(self._execute(self._health.command)),
            "healthcheck": self._by_engine,
            "running": self._steady,
        }
        try:
            self._seen = ask[self._health.kind]()
        except NoWayError as error:
            return self._otherwise(error)
        except (TimeoutError, TimedOutError) as error:
            if self._seen:
                # The last question has only the time that is left.
                return self._seen if left < _WORTH else f"{self._seen}; then {error}"
            if isinstance(error, TimedOutError):
                raise
            return str(error)
        except OSError as error:
            return str(error)
        return self._seen

    def _by_http(self, left: float) -> str:
        answer = self._reach.ask(self._health.path, timeout=left)
        return "" if self._health.accepts(answer.status) else f"HTTP {answer.status}"

    def _by_engine(self) -> str:
        state = self._describe().get("State") or {}
        found = state.get("Health") or {}
        if not found:
            return "the image has no HEALTHCHECK"
        return "" if found.get("Status") == "healthy" else health_log(found).strip() or "starting"

    def _steady(self) -> str:
        running = (self._describe().get("State") or {}).get("Running")
        left = self._started + _STEADY - time.monotonic()
        return "" if running and left <= 0 else "it has just been started"

    def _otherwise(self, error: NoWayError) -> str:
        """Run the image's own health check, where its port can't be asked."""
        described = self._describe()
        command = health_command(described.get("Config") or {})
        if not command and self._lenient:
            self.way = f"only whether it runs, as {error}"
            return "" if (described.get("State") or {}).get("Running") else "it does not run"
        if not command:
            return f"it can't be asked from here: {error}"
        self.way = f"by the image's HEALTHCHECK, as {error}"
        return _failure(self._execute(command))


def _failure(done: Completed) -> str:
    said = (done.stdout + done.stderr).strip()
    return "" if done.code == 0 else f"exit code {done.code}" + (f": {said}" if said else "")
