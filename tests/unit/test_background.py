"""What goes on beside others, and who waits for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from threading import Event, Timer
from types import FrameType

import pytest

from buildlib.background import Background


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, _interrupt)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_it_gives_what_the_function_gives() -> None:
    assert Background(lambda: 7).get() == 7

    def fails() -> None:
        raise ValueError("no")

    failing = Background(fails)
    failing.wait()
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            failing.get()


def test_who_was_interrupted_while_waiting_still_waits_for_its_end() -> None:
    go_on, done = Event(), list[str]()

    def clean_up() -> None:
        go_on.wait(20)
        done.append("cleaned up")

    going = Background(clean_up)
    interrupt = Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        going.get()
    interrupt.join()
    assert done == []
    Timer(0.2, go_on.set).start()
    going.wait()
    assert done == ["cleaned up"]
