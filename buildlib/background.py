"""One thing done beside others: most of a task's start is waiting for git and docker."""

from __future__ import annotations

from collections.abc import Callable, Collection
from threading import Event, Thread
from typing import TYPE_CHECKING, Generic, TypeVar

from buildlib import interrupts

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")


def first_ended(running: Collection[Future[T]]) -> set[Future[T]]:
    """Wait until one of some calls has ended, and return those that have; of none, none."""
    ended = Event()
    if not running:
        ended.set()
    for one in running:
        one.add_done_callback(lambda _: ended.set())
    any(map(ended.wait, interrupts.turns()))
    return {one for one in running if one.done()}


class Background(Generic[T]):
    """What a function returns, called on a thread of its own.

    The thread does not hold up the end of the interpreter: what it waits for has to be ended by
    whoever owns it, as `PlumbumExecutor.close` does.

    Args:
        function: called once, at once.
    """

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._results: list[T] = []
        self._error: BaseException | None = None
        # Not the thread's own join: interrupted once, it takes the thread for ended ever after
        # (CPython up to 3.12, bpo-45274), and who then waits for it does not.
        self._ended = Event()
        Thread(target=self._call, daemon=True).start()

    def _call(self) -> None:
        try:
            self._results.append(self._function())
        except BaseException as error:  # noqa: BLE001 - raised again where it is asked for
            self._error = error
        finally:
            self._ended.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it has ended, however it did, or for so long; return whether it has."""
        return any(map(self._ended.wait, interrupts.turns(seconds)))

    def get(self) -> T:
        """Wait, and return what the function returned, or raise what it raised."""
        self.wait()
        if self._error:
            raise self._error
        return self._results[0]
