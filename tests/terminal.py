"""A terminal that a process runs on, and what it shows."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyte
from pyte.screens import Char

# It makes the terminal the controlling one, so that Ctrl-C is a signal.
_BEGIN = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def _line(row: Mapping[int, Char]) -> str:
    """Return a row without what was never written, which is most of a large screen."""
    return "".join(row[x].data for x in range(max(row, default=-1) + 1)).rstrip()


class Terminal:
    """A terminal with one process.

    Args:
        argv: the process.
        root: where it runs.
        env: its environment.
        columns, lines: how large the terminal is.
    """

    def __init__(
        self, argv: Sequence[str], root: Path, env: Mapping[str, str], columns: int, lines: int
    ) -> None:
        self._master, slave = os.openpty()
        self._size(columns, lines)
        self.screen = pyte.HistoryScreen(columns, lines, history=1000)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BEGIN, *argv],
            cwd=root,
            env=env,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def _size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        self._size(columns, lines)
        self.screen.resize(lines, columns)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def _read(self, seconds: float) -> bool:
        """Take what the process prints; return False once it has closed the terminal."""
        if not select.select([self._master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)

    @property
    def text(self) -> str:
        """What is on the screen, and what has scrolled up, without empty lines at the end."""
        rows = (self.screen.buffer[y] for y in range(self.screen.lines))
        return "\n".join(map(_line, [*self.screen.history.top, *rows])).rstrip()

    def until(self, shows: Callable[[str], bool]) -> str:
        """Wait for something to be shown."""
        deadline = time.monotonic() + 60
        while not shows(text := self.text):
            assert self._read(0.1), text
            assert time.monotonic() < deadline, text
        return text

    def ended(self) -> int:
        """Wait for the end, and return the exit code."""
        deadline = time.monotonic() + 60
        while self._read(0.1):
            assert time.monotonic() < deadline, self.text
        return self.process.wait(timeout=60)

    def close(self) -> None:
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()
        os.close(self._master)


@contextmanager
def on_a_terminal(
    argv: Sequence[str], root: Path, env: Mapping[str, str], columns: int = 80, lines: int = 24
) -> Iterator[Terminal]:
    """Run a process on a terminal of its own for the time of the block."""
    terminal = Terminal(argv, root, env, columns, lines)
    try:
        yield terminal
    finally:
        terminal.close()
