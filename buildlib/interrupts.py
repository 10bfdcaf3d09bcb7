"""Ctrl-C, SIGTERM and SIGHUP: the first one ends the task, and none disturbs what cleans up.

Python raises KeyboardInterrupt for each Ctrl-C, so a second one ends the clean-up that the first
began. Here only the first signal raises; those that follow are ignored while the task cleans up.
A signal that comes more than PATIENCE seconds after the first ends the process at once, with a line
that says what may be left.

Until Invoke imports the first line of `buildlib.tasks`, Python and Invoke handle interrupts, which
can't be changed from here. Nothing has been started by then.
"""

from __future__ import annotations

import _thread
import atexit
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, NoReturn, Protocol

from buildlib.errors import CancelledError

# How long a clean-up goes on undisturbed, in seconds: a container has ten to end by itself.
PATIENCE: Final = 10.0
# How long a process that is ended may take for it, before it is killed.
_GRACE: Final = 5.0
# How long one blocking call may take, in seconds.
_TURN: Final = 1.0
# How long after a lost interrupt it is raised again.
_SOON: Final = 0.005
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WHAT: Final = "error: interrupted"


class Interrupt(KeyboardInterrupt):
    """What the first signal raises.

    CPython remembers a plain KeyboardInterrupt that left the `exec` of a string, which `namedtuple`
    and `dataclass` use, and kills itself by SIGINT at exit, whatever the exit code
    (`_Py_UnhandledKeyboardInterrupt`). It does not do so for a subclass.
    """


class RunningProcess(Protocol):
    """A process that we started."""

    def terminate(self) -> object:
        """Send SIGTERM."""

    def kill(self) -> object:
        """Send SIGKILL."""

    def wait(self, timeout: float | None = None) -> object:
        """Wait for its end; raises an Exception where that takes longer."""


class Interrupts:
    """What has been heard, and what goes on.

    `permanent`: the handlers stay until the process ends. `tasks`: how many run, one in the other.
    `held`: how many blocks may not be interrupted, one in the other. `first`: when the first signal
    came; `pending`: it has not been raised yet. `ended`: what is started from now on would outlive
    the task. `hurried`: the clean-up is not waited for any longer. `starting`: an entry for each
    process that is being started. `left`: what there may be to clean up, and what does it by hand.
    """

    def __init__(self) -> None:
        self.permanent = self.pending = self.ended = self.hurried = False
        self.starting: list[None] = []
        self.tasks = self.held = 0
        self.first: float | None = None
        self.left: list[tuple[str, str]] = []


# The processes that run; whoever starts one adds it, and takes it out again.
CHILDREN: Final[set[RunningProcess]] = set()
_state = Interrupts()


def _exit(text: str) -> NoReturn:
    """Print one line, and end the process without anything that could be interrupted."""
    with suppress(OSError):
        os.write(2, f"{text}\n".encode(errors="replace"))
    os._exit(CancelledError.exit_code)


def _hear(_number: int, _frame: FrameType | None) -> None:
    if _state.first is None:
        if not _state.tasks:
            # Modules are being loaded, or all is done: there is nothing to clean up.
            _exit(_WHAT)
        _state.first, _state.pending = time.monotonic(), True
    elif time.monotonic() - _state.first > PATIENCE:
        _state.hurried = True
        _check_hurried()
    if _state.pending and not _state.held:
        _state.pending = False
        raise Interrupt


def _lost(lost: sys.UnraisableHookArgs) -> None:
    """Raise an interrupt again that came in a place that can raise nothing, such as a finaliser."""
    if not issubclass(lost.exc_type, Interrupt):
        sys.__unraisablehook__(lost)
        return
    _state.held += 1
    _state.pending = True
    # Not from here, which can't raise either; and without a lock that may be held now.
    _thread.start_new_thread(_hear_again, ())
    _state.held -= 1


def _hear_again() -> None:
    time.sleep(_SOON)
    ours = [one for one in _SIGNALS if signal.getsignal(one) is _hear]
    if ours and (ident := threading.main_thread().ident):
        signal.pthread_kill(ident, ours[0])


def _check_hurried() -> None:
    """Give up, unless a process is being started that could not be ended yet."""
    if _state.hurried and not _state.starting:
        _give_up()


def _give_up() -> NoReturn:
    for process in tuple(CHILDREN):
        with suppress(OSError):
            process.kill()
    left = dict.fromkeys(f"; {what} may be left: {remedy}" for what, remedy in _state.left)
    _exit(_WHAT + "".join(left))


def _take() -> dict[signal.Signals, object]:
    """Install the handler, and return those before; a signal that is ignored stays so."""
    before: dict[signal.Signals, object] = {}
    if threading.current_thread() is threading.main_thread():
        for one in _SIGNALS:
            if signal.getsignal(one) not in {None, signal.SIG_IGN, _hear}:
                before[one] = signal.signal(one, _hear)
    return before


def _ignore() -> None:
    # The interpreter gives them back to the system while it ends, and what is done is done.
    for one in _SIGNALS:
        if signal.getsignal(one) is _hear:
            signal.signal(one, signal.SIG_IGN)


def install(*, own: bool = False) -> None:
    """Handle signals from now until the process ends, if it is Invoke's program, or `own`: ours.

    A program that imports this package for something else keeps its handlers; they are replaced
    only while a task runs.
    """
    if (own or "invoke.main" in sys.modules) and not _state.permanent:
        _state.permanent = True
        _take()
        atexit.register(_ignore)


def _reset() -> None:
    _state.first = None
    _state.pending = _state.ended = _state.hurried = False


@contextmanager
def listening() -> Iterator[None]:
    """Handle signals for the time of a task: the first raises KeyboardInterrupt in the block."""
    if not _state.tasks:
        _reset()
    before, hook = _take(), sys.unraisablehook
    sys.unraisablehook = _lost
    _state.tasks += 1
    try:
        yield
    finally:
        _state.tasks -= 1
        _state.pending = False
        sys.unraisablehook = hook
        if not (_state.permanent or _state.tasks):
            _reset()
        for one, handler in before.items():
            signal.signal(one, handler)  # type: ignore[arg-type]


def heard() -> bool:
    """Return whether the task was interrupted, and is cleaning up."""
    return _state.first is not None


@contextmanager
def held() -> Iterator[None]:
    """Let an interrupt wait until the end of the block, in the thread that hears it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.held += 1
    try:
        yield
    finally:
        _state.held -= 1
        if _state.pending and not _state.held:
            _state.pending = False
            raise Interrupt


def turns(seconds: float | None = None) -> Iterator[float]:
    """Yield how long each of the short waits may take that a long one is made of.

    Python notices a signal that comes just before a blocking call only after it: none is long.

    Args:
        seconds: of all of them together; None: without end.
    """
    left = math.inf if seconds is None else seconds
    while True:
        yield min(left, _TURN)
        left -= _TURN
        if left <= 0:
            return


def sleep(seconds: float) -> None:
    """Sleep, and be interrupted within a moment."""
    for turn in turns(seconds):
        time.sleep(turn)


@contextmanager
def starting() -> Iterator[None]:
    """Start a process in the block, and add it to CHILDREN: no signal comes in between.

    Raises:
        CancelledError: it would outlive the task.
    """
    with held():
        _state.starting.append(None)
        try:
            if _state.ended:
                raise CancelledError("interrupted")
            yield
        finally:
            _state.starting.pop()
            _check_hurried()


@contextmanager
def leaving(what: str, remedy: str) -> Iterator[None]:
    """Say what the block may leave, where its clean-up is not waited for."""
    _state.left.append((what, remedy))
    try:
        yield
    finally:
        _state.left.remove((what, remedy))


def end(process: RunningProcess, grace: float = _GRACE) -> None:
    """Ask a process to end, wait a bounded time, then kill it."""
    with suppress(OSError):
        process.terminate()
    try:
        process.wait(timeout=grace)
    except Exception:  # noqa: BLE001 - subprocess's own, which only the executor imports
        process.kill()
        process.wait()


def end_children() -> None:
    """End what threads still wait for, and let them start nothing more."""
    _state.ended = True
    while _state.starting:
        time.sleep(_SOON)
    for process in tuple(CHILDREN):
        end(process)
