"""No blocking call is long: Python notices a signal that comes just before one only after it."""

from __future__ import annotations

import inspect
import os
import selectors
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from buildlib import interrupts
from buildlib.background import Background, first_ended
from buildlib.errors import TimedOutError
from buildlib.executor import PlumbumExecutor, Watch
from buildlib.files import locked
from buildlib.registry.connection import Deadline, _Incoming, until
from buildlib.registry.limits import Limits
from buildlib.retry import Retrier
from buildlib.terminal.activity import Repeated

TURN = 0.02


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """Return how long each blocking call may take."""
    found: list[float | None] = []

    def watch(owner: type, name: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        def watched(self: object, *args: Any, timeout: float | None = None) -> Any:
            if ours(inspect.currentframe()):
                found.append(timeout if name == "communicate" else (*args, timeout)[0])
            return original(self, *args, timeout=timeout) if timeout else original(self, *args)

        monkeypatch.setattr(owner, name, watched)

    def ours(frame: FrameType | None) -> bool:
        caller = frame and frame.f_back
        here = threading.current_thread() is threading.main_thread()
        return bool(here and caller and "/buildlib/" in caller.f_code.co_filename)

    monkeypatch.setattr(interrupts, "_TURN", TURN)
    watch(threading.Event, "wait")
    watch(subprocess.Popen, "wait")
    watch(subprocess.Popen, "communicate")
    watch(selectors.DefaultSelector, "select")
    return found


@pytest.fixture
def executor(tmp_path: Path) -> PlumbumExecutor:
    return PlumbumExecutor({"PATH": os.environ["PATH"]}, tmp_path)


LATE = ("sh", "-c", "sleep 0.1; cat; exec >&- 2>&-; sleep 0.1; exit 3")


@pytest.mark.parametrize(
    "start",
    [
        lambda executor: executor.run(LATE).code,
        lambda executor: executor.feed(LATE, "x").code,
        lambda executor: executor.stream(LATE, print),
        lambda executor: executor.attach(("sh", "-c", "sleep 0.1; exit 3")),
    ],
    ids=["run", "feed", "stream", "attach"],
)
def test_a_process_is_waited_for_in_short_turns(
    executor: PlumbumExecutor,
    waits: list[float | None],
    start: Callable[[PlumbumExecutor], int],
) -> None:
    assert start(executor) == 3
    assert len(waits) > 2
    assert all(one is not None and one <= TURN for one in waits)


def test_what_is_fed_in_several_turns_arrives(
    executor: PlumbumExecutor, waits: list[float | None]
) -> None:
    text = "0123456789" * 50_000
    assert executor.feed(("sh", "-c", "sleep 0.1; cat"), text).stdout == text
    assert len(waits) > 2


def test_a_limit_of_several_turns_counts(
    executor: PlumbumExecutor, waits: list[float | None]
) -> None:
    with pytest.raises(TimedOutError, match=r"within 0\.1 s"):
        executor.run(("sleep", "60"), timeout=0.1)
    assert len(waits) > 2
    asked: list[bool] = []
    executor.attach(("sleep", "0.3"), watch=Watch(every=0.1, ask=lambda: asked.append(True)))
    assert 1 <= len(asked) <= 3


def test_a_thread_is_waited_for_in_short_turns(waits: list[float | None]) -> None:
    def late() -> int:
        time.sleep(0.1)
        return 7

    one: Future[int] = Future()
    threading.Timer(0.1, one.set_result, (7,)).start()
    assert first_ended([one, Future()]) == {one}
    assert first_ended(list[Future[int]]()) == set()
    assert Background(late).get() == 7
    assert not Background(late).wait(0)
    Repeated(lambda: time.sleep(0.1), every=0, first=0).stop()
    assert len(waits) > 3
    assert all(one is not None and one <= TURN for one in waits)


def test_a_retry_sleeps_in_short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    Retrier().sleep(2.5)
    assert slept == [1, 1, 0.5]


def test_a_registry_that_is_silent_is_read_in_short_turns() -> None:
    class Silent:
        """Says one byte in the end."""

        limits: list[float]

        def __init__(self) -> None:
            self.limits = []

        def makefile(self, *_: object, **_options: object) -> object:
            return self

        def settimeout(self, seconds: float) -> None:
            self.limits.append(seconds)

        def recv_into(self, _: object) -> int:
            if len(self.limits) < 3:
                raise TimeoutError
            return 1

    socket: Any = Silent()
    with until(Deadline("r.example", "GET", Limits(), silence=60)):
        assert _Incoming(socket).readinto(bytearray(8)) == 1
    assert len(socket.limits) == 3
    assert max(socket.limits) <= 1


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with locked(tmp_path):
            order.append("second")

    with locked(tmp_path):
        waiting = Background(second)
        assert not waiting.wait(0.2)
        order.append("first")
        with pytest.raises(BlockingIOError), locked(tmp_path, waits=False):
            pytest.fail("two at once")
    waiting.get()
    assert order == ["first", "second"]
