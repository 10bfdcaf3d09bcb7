"""Whether a program that we started asks something on our terminal, past our pipes."""

from __future__ import annotations

import os
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

_TERMINAL = Path("/dev/tty")


def echoes(stream: TextIO) -> bool:
    """Return whether a terminal shows what is typed, as it does unless it is a password."""
    try:
        return bool(termios.tcgetattr(stream.fileno())[3] & termios.ECHO)
    except (OSError, ValueError, termios.error):
        return False


def child_has_terminal() -> bool:
    """Return whether a process below this one has opened its terminal.

    ssh does so as long as it asks, for example whether it may trust a host. Only Linux says which
    files are open; of a process of another user it does not.
    """
    session = os.getsid(0)
    return any(_has_terminal(pid, session) for pid in _below(os.getpid()))


def _below(parent: int) -> Iterator[int]:
    """Yield the processes below one: each thread has its own."""
    for path in Path(f"/proc/{parent}/task").glob("*/children"):
        # The thread may have ended.
        with suppress(OSError):
            for pid in map(int, path.read_bytes().split()):
                yield pid
                yield from _below(pid)


def _has_terminal(pid: int, session: int) -> bool:
    # In a session of its own, this would be another terminal.
    with suppress(OSError):
        if os.getsid(pid) == session:
            return any(_path(file) == _TERMINAL for file in Path(f"/proc/{pid}/fd").iterdir())
    return False


def _path(opened: Path) -> Path | None:
    try:
        return opened.readlink()
    except OSError:
        # Closed meanwhile.
        return None
