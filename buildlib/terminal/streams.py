"""Standard output as other programs leave it: in any encoding, and closed when they have enough.

And what can be written to it of a name that somebody else chose.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import io
import os
import sys
from typing import Final, TextIO

# 128 and the number of SIGPIPE, as a shell reports a program that it ended.
NOBODY_READS: Final = 141


# Bad input: the output is where the user wanted it.
_UNWRITTEN: Final = 2


class _Tolerant(io.TextIOWrapper):
    """Ends the process once what it prints can't be written any more."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise unwritten(self, error) from None

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise unwritten(self, error) from None


def unwritten(stream: TextIO, error: OSError) -> SystemExit:
    """Return what ends the process: without another word once those who read have enough."""
    give_up(stream)
    if isinstance(error, BrokenPipeError):
        return SystemExit(NOBODY_READS)
    with contextlib.suppress(OSError):
        sys.stderr.write(f"error: the output can't be written: {error.strerror}\n")
        sys.stderr.flush()
    return SystemExit(_UNWRITTEN)


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


def install(*, own: bool = False) -> None:
    """Prepare the streams of this process, if it is Invoke's program, or `own`: ours."""
    if not (own or "invoke.main" in sys.modules):
        return
    _open_closed()
    if type(sys.stdout) is not io.TextIOWrapper:
        return
    old = sys.stdout
    encoding, buffered = old.encoding, old.line_buffering
    made = _Tolerant(
        old.detach(), encoding=encoding, errors="backslashreplace", line_buffering=buffered
    )
    sys.stdout = sys.__stdout__ = made  # type: ignore[misc]
    tolerate(sys.stderr)
    atexit.register(_finish, made)


def _open_closed() -> None:
    """Let streams that were closed before the start go nowhere, as daemons have them.

    No file that is opened later may get their numbers: processes of ours would write into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free; those below are open by now.
            fcntl.fcntl(os.open(os.devnull, os.O_RDWR), fcntl.F_SETFD, 0)
        if getattr(sys, name) is None:
            # As long as the process.
            nothing = os.open(os.devnull, os.O_RDWR)
            stream = os.fdopen(nothing, "r" if number == 0 else "w", encoding="utf-8")
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def _finish(stream: TextIO) -> None:
    """Flush while an error can still be recognised: the interpreter itself would print it."""
    try:
        stream.flush()
    except SystemExit as end:
        if end.code == _UNWRITTEN:
            # Nothing else changes the code so late.
            os._exit(_UNWRITTEN)
