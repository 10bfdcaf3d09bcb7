"""Standard output as other programs leave it: in any encoding, and closed when they have enough.

And what can be written to it of a name that somebody else chose.
"""

from __future__ import annotations

import atexit
import io
import os
import sys
from typing import Final, TextIO

# 128 and the number of SIGPIPE, as a shell tells of a program that it ended.
NOBODY_READS: Final = 141


class _Tolerant(io.TextIOWrapper):
    """Ends the process without another word once nobody reads what it prints."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            give_up(self)
            raise SystemExit(NOBODY_READS) from None

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            give_up(self)
            raise SystemExit(NOBODY_READS) from None


def printable(text: str) -> str:
    """Return a text without what a terminal would obey, ends a line, or is not UTF-8."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def give_up(stream: TextIO) -> None:
    """Let what is still to be printed go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def tolerate(stream: TextIO) -> None:
    """Let a stream show what its encoding does not have by its number, and never raise for it."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def install() -> None:
    """Prepare the streams of this process, if it is Invoke's own program."""
    if "invoke.main" not in sys.modules or type(sys.stdout) is not io.TextIOWrapper:
        return
    old = sys.stdout
    encoding, buffered = old.encoding, old.line_buffering
    made = _Tolerant(
        old.detach(), encoding=encoding, errors="backslashreplace", line_buffering=buffered
    )
    sys.stdout = sys.__stdout__ = made  # type: ignore[misc]
    tolerate(sys.stderr)
    atexit.register(_finish, made)


def _finish(stream: TextIO) -> None:
    """Flush while an error can still be told from others: the interpreter itself would print it."""
    try:
        stream.flush()
    except SystemExit:
        return
