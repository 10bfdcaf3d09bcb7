"""Draws on a terminal what runs, below all that is printed; the one module that imports rich."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import IO, cast

from rich.cells import cell_len
from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from buildlib.terminal.activity import Row


class _Stream(io.TextIOBase):
    """What rich writes to."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def write(self, text: str, /) -> int:
        self._write(text)
        return len(text)


class _Terminal(RichConsole):
    """Leaves the cursor visible: a process that is killed could not show it again."""

    def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002, FBT001, FBT002 - rich's
        return False


class _Printed:
    """A text that is ready for the terminal, with its own styles."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: RichConsole, options: ConsoleOptions) -> RenderResult:
        yield Segment(self._text)
        yield Segment.line()


class Screen:
    """The last lines of a terminal.

    Args:
        rows: returns what runs, and the line below it.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        rows: Callable[[], tuple[Sequence[Row], str]],
        *,
        colour: bool,
    ) -> None:
        self._rows = rows
        self._terminal = _Terminal(
            file=cast("IO[str]", _Stream(write)),
            force_terminal=True,
            color_system="standard" if colour else None,
            legacy_windows=False,
            highlight=False,
            # Else it would take a COLUMNS that is older than the terminal's size, and more.
            _environ={},
        )
        self._live = Live(
            console=self._terminal,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            get_renderable=self._picture,
        )
        self._live.start()

    def draw(self) -> None:
        """Draw what runs now in the place of what ran before."""
        self._live.refresh()

    def print(self, text: str) -> None:
        """Print a text above."""
        self._terminal.print(_Printed(text), soft_wrap=True)

    def close(self) -> None:
        """Leave nothing of it on the terminal."""
        self._rows = lambda: ((), "")
        self._live.stop()

    def _picture(self) -> Group:
        rows, last = self._rows()
        width, height = self._terminal.size
        most = max(height - 3, 1)
        lines = [_line(row, width) for row in rows[:most]]
        if len(rows) > most:
            lines[-1] = Text(f"          … and {len(rows) - most + 1} more", style="dim")
        lines.append(Text(last, style="bold"))
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        # The cursor is on a line of its own: a program may ask something there, and ^C is shown.
        return Group(*lines, Text())


def _line(row: Row, width: int) -> Text:
    """Return a line for what runs; a name is cut, but for its beginning, so that both are seen."""
    time, progress = f"{row.seconds:7.1f} s ", f"  {row.progress}" if row.progress else ""
    name = Text(row.name)
    room = width - len(time) - cell_len(progress)
    name.truncate(max(room, width // 4), overflow="ellipsis")
    return Text.assemble(time, name, (progress, "dim"))
