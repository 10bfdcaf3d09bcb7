"""What the first signal does to a task, and what those after it do not."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from threading import Event, Thread, Timer
from typing import NoReturn

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

from buildlib import interrupts
from buildlib.errors import CancelledError, EngineError
from buildlib.tasks.session import edge
from buildlib.tempfiles import passing_file

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class EndedError(BaseException):
    """The process would have ended."""


@pytest.fixture(autouse=True)
def _handlers_are_given_back() -> Iterator[None]:
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what is printed before the process would end, and let that be an exception."""
    printed: list[str] = []

    def write(_: int, text: bytes) -> int:
        printed.append(text.decode())
        return len(text)

    def end(code: int) -> NoReturn:
        assert code == 130
        raise EndedError

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr(os, "_exit", end)
    return printed


class Started:
    """A process that notes what is done to it."""

    def __init__(self, seen: list[str]) -> None:
        self._seen = seen

    def terminate(self) -> None:
        self._seen.append("SIGTERM")

    def kill(self) -> None:
        self._seen.append("SIGKILL")

    def wait(self, timeout: float | None = None) -> None:
        self._seen.append(f"waited {timeout}")


def _send(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_the_second_interrupt_lets_the_first_one_be_cleaned_up_after(
    first: signal.Signals, second: signal.Signals
) -> None:
    done: list[str] = []

    def work() -> None:
        try:
            _send(first)
            _wait()
        finally:
            for _ in range(3):
                _send(second)
            done.append("cleaned up")

    with pytest.raises(KeyboardInterrupt), interrupts.listening():
        work()
    assert done == ["cleaned up"]


def _within(manager: AbstractContextManager[object], *acts: Callable[[], object]) -> None:
    with manager:
        for act in acts:
            act()


def _ended_by(*acts: Callable[[], object]) -> tuple[str, int]:
    """Return what a task prints last, and its exit code."""
    with pytest.raises(Exit) as caught:
        _within(edge(Context()), *acts)
    return str(caught.value), caught.value.code


def _wait() -> None:
    time.sleep(60)


def test_a_task_that_was_interrupted_ends_with_one_line_and_130() -> None:
    assert _ended_by(_send, _wait) == ("error: interrupted", 130)


@pytest.mark.parametrize(
    "error", [EngineError("it does not answer"), ValueError("y"), CancelledError("it has ended")]
)
def test_what_fails_because_of_an_interrupt_is_not_what_is_said(error: Exception) -> None:
    def work() -> None:
        try:
            _send()
            _wait()
        finally:
            raise error

    assert _ended_by(work) == ("error: interrupted", 130)


def test_a_task_that_went_on_all_the_same_was_interrupted() -> None:
    def work() -> None:
        with suppress(KeyboardInterrupt):
            _send()

    assert _ended_by(work) == ("error: interrupted", 130)


def test_what_is_no_error_of_ours_stays_one() -> None:
    with pytest.raises(ValueError, match="a bug"), edge(Context()):
        raise ValueError("a bug")


def test_what_came_in_between_is_removed_with_the_task() -> None:
    left = passing_file("test", ".json")
    assert _ended_by(left.touch, _send, _wait)[1] == 130
    assert not left.exists()


def test_an_interrupt_waits_for_the_end_of_what_may_not_be_interrupted() -> None:
    seen: list[str] = []

    def hold() -> None:
        _within(interrupts.held(), _send, lambda: seen.append("inner"))
        seen.append("outer")

    with interrupts.listening():
        with pytest.raises(KeyboardInterrupt):
            _within(interrupts.held(), hold)
        # It was raised once, and is over.
        _within(interrupts.held(), lambda: seen.append("next"))
    assert seen == ["inner", "outer", "next"]


def test_other_threads_hold_nothing() -> None:
    done: list[str] = []

    def hold() -> None:
        with interrupts.held():
            waiting.set()
            over.wait(60)
        done.append("thread")

    waiting, over = Event(), Event()
    thread = Thread(target=hold)
    with interrupts.listening():
        thread.start()
        assert waiting.wait(60)
        with pytest.raises(KeyboardInterrupt):
            _send()
        over.set()
        thread.join()
    assert done == ["thread"]


def test_a_clean_up_that_takes_too_long_can_be_left(
    monkeypatch: pytest.MonkeyPatch, ends: list[str]
) -> None:
    killed: list[str] = []

    class Hanging:
        def terminate(self) -> None:
            killed.append("SIGTERM")

        def kill(self) -> None:
            killed.append("SIGKILL")

        def wait(self, timeout: float | None = None) -> None:
            if timeout is not None:
                raise TimeoutError

    def work() -> None:
        with suppress(KeyboardInterrupt):
            _send()
        with interrupts.leaving("its container", "invoke docker-stop removes it"):
            _send()
            monkeypatch.setattr(interrupts, "PATIENCE", 0.0)
            _send()

    process = Hanging()
    interrupts.CHILDREN.add(process)
    try:
        with pytest.raises(EndedError):
            _within(interrupts.listening(), work)
        assert ends == [
            "error: interrupted; its container may be left: invoke docker-stop removes it\n"
        ]
        assert killed == ["SIGKILL"]
        interrupts.end(process)
        assert killed == ["SIGKILL", "SIGTERM", "SIGKILL"]
    finally:
        interrupts.CHILDREN.discard(process)


def test_a_process_that_is_being_started_is_ended_all_the_same(
    monkeypatch: pytest.MonkeyPatch, ends: list[str]
) -> None:
    monkeypatch.setattr(interrupts, "PATIENCE", 0.0)
    seen: list[str] = []

    process = Started(seen)

    def start() -> None:
        with suppress(KeyboardInterrupt):
            _send()
        _within(interrupts.starting(), _send, lambda: interrupts.CHILDREN.add(process))

    try:
        with pytest.raises(EndedError):
            _within(interrupts.listening(), start)
    finally:
        interrupts.CHILDREN.discard(process)
    assert (seen, ends) == (["SIGKILL"], ["error: interrupted\n"])


def test_a_clean_up_that_nobody_has_interrupted_yet_is_held_as_well() -> None:
    seen: list[str] = []

    def clean() -> None:
        _within(interrupts.held(), _send, lambda: seen.append("all of it"))

    with pytest.raises(KeyboardInterrupt):
        _within(interrupts.listening(), clean)
    assert seen == ["all of it"]


class _Finalised:
    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act

    def __del__(self) -> None:
        self._act()


def test_an_interrupt_in_a_finaliser_is_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt):
        _within(interrupts.listening(), lambda: _Finalised(_send), _wait)
    assert sys.unraisablehook is before
    assert capsys.readouterr().err == ""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_other_errors_in_a_finaliser_are_printed_as_ever(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise ValueError("of its own")

    _within(interrupts.listening(), lambda: _Finalised(fail))
    assert "ValueError: of its own" in capsys.readouterr().err


def test_nothing_starts_once_the_task_ends() -> None:
    with interrupts.listening():
        _within(interrupts.starting())
        interrupts.end_children()
        with pytest.raises(CancelledError, match="interrupted"):
            _within(interrupts.starting())
    _within(interrupts.starting())


def test_what_a_thread_is_starting_is_waited_for_and_ended() -> None:
    seen: list[str] = []

    process, begun, go_on = Started(seen), Event(), Event()

    def start() -> None:
        with interrupts.starting():
            begun.set()
            go_on.wait(60)
            interrupts.CHILDREN.add(process)

    thread = Thread(target=start)
    try:
        with interrupts.listening():
            thread.start()
            assert begun.wait(60)
            Timer(0.1, go_on.set).start()
            interrupts.end_children()
        assert seen == ["SIGTERM", "waited 5.0"]
    finally:
        thread.join()
        interrupts.CHILDREN.discard(process)


def test_while_modules_load_an_interrupt_is_a_line_and_a_code(
    monkeypatch: pytest.MonkeyPatch, ends: list[str]
) -> None:
    monkeypatch.setattr(interrupts, "_state", interrupts.Interrupts())
    monkeypatch.setitem(sys.modules, "invoke.main", sys)
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr("atexit.register", at_exit.append)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        interrupts.install()
        for number in (signal.SIGINT, signal.SIGTERM):
            with pytest.raises(EndedError):
                _send(number)
        assert ends == ["error: interrupted\n"] * 2
        # Who is told to ignore one, as by nohup, does.
        _send(signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            _within(interrupts.listening(), _send)
        # The line is printed by Invoke after that, and the process ends.
        _send()
        at_exit[0]()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_program_that_is_not_invoke_s_keeps_its_handlers() -> None:
    before = signal.getsignal(signal.SIGINT)
    interrupts.install()
    assert signal.getsignal(signal.SIGINT) is before
