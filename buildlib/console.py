"""The only printer. Messages go to stderr, so that stdout holds nothing but a task's answer."""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TextIO

from buildlib.errors import BuildlibError, ProblemsError
from buildlib.shell import shell_line
from buildlib.streams import give_up, tolerate, unwritten

# Up to the last @ of the host, as a password may hold one; a digest's @ is not such an end.
# Only the end of the scheme is looked at: to look for its beginning as well takes, on a long word,
# the square of its length.
_CREDENTIALS: Final = re.compile(r"((?<=\w)://)[^/\s?#]+@(?!sha256:)")
# What buildx takes as values of a cache's options: docs.docker.com/build/cache/backends.
_KEYS: Final = "(?:secret_access_key|session_token|ghtoken|token|password)="
# An option is in quotes where it holds a comma.
_SECRETS: Final = re.compile(rf"""((?<="){_KEYS})[^"]+|(\b{_KEYS})[^,\s"']+""")
# What a terminal does not show but obeys: ECMA-48's sequences and strings, in seven bits and in
# eight, single controls, and what turns the direction of text. No string goes over a line's end.
_CONTROL: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\n\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
_OWN_STYLE: Final = re.compile(r"\x1b\[(?:0|1|2|3[1-3])m")
# What GitHub's runner takes for a command: `::` where a line begins, and `##[` anywhere in it.
_COMMAND: Final = re.compile(r"^([^\S\n]*:)(?=:)|(##)(?=\[)", re.MULTILINE)
_WIDTH: Final = 100
# A step's time, or what became of it, stands before its name.
_BEFORE: Final = 10
_NARROWEST: Final = 20
_STYLES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


# Kept for the message when the step fails; what was printed before is on the screen anyway.
KEPT_LINES: Final = 200
_INTERNAL: Final = ("[internal]", "[context ", "[auth]", "exporting", "importing", "resolve image")


@dataclass(kw_only=True, slots=True)
class BuildStep:
    """One step of the build; `seconds` is None until it ended."""

    name: str
    cached: bool = False
    error: str = ""
    seconds: float | None = None
    started: datetime | None = None
    log: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    partial: str = ""

    @property
    def counts(self) -> bool:
        """Return whether it is an instruction of the Dockerfile, not the builder's own work."""
        return self.name.startswith("[") and not self.name.startswith(_INTERNAL)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something to show: a step that ended, or a line of its output, or of buildx itself."""

    step: BuildStep | None
    line: str = ""


def redact(text: str) -> str:
    """Return the text without user and password in any address, and without a cache's keys."""
    return _SECRETS.sub(r"\1\2***", _CREDENTIALS.sub(r"\1***@", text))


def clean(text: str) -> str:
    """Return the text without anything that a terminal obeys; lines and tabs stay.

    What comes from containers, registries and tools is theirs to choose.
    """
    return _CONTROL.sub("", text)


def wants_colour(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Return whether to colour: a terminal, not dumb, and NO_COLOR (no-color.org) not set."""
    return not env.get("NO_COLOR") and env.get("TERM") != "dumb" and stream.isatty()


def name_width(stream: TextIO) -> int:
    """Return how long a step's name may be: a line of the terminal, where there is one."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return _WIDTH
    # A terminal that does not know its width says 0.
    return min(_WIDTH, max(columns - _BEFORE, _NARROWEST)) if columns else _WIDTH


class Console:
    """Prints for one run.

    Args:
        out, err: the streams, the process's own where not given.
        env: for NO_COLOR, TERM and GITHUB_ACTIONS.
        quiet: progress is not shown; warnings and errors are.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        *,
        out: TextIO | None = None,
        err: TextIO | None = None,
        quiet: bool = False,
    ) -> None:
        """Keep the streams; `reads_commands`: some lines are commands to the reader."""
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        tolerate(self._out)
        tolerate(self._err)
        self._colour = wants_colour(self._err, env)
        self.reads_commands = env.get("GITHUB_ACTIONS") == "true"
        self._quiet = quiet

    def style(self, text: str, style: str) -> str:
        """Return the text in a style, where colour is wanted."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._colour else text

    def answer(self, text: str) -> None:
        """Print what the task was asked for, to stdout: as it is where a program reads it."""
        shown = self._shown(text) if self.reads_commands or self._out.isatty() else text
        try:
            print(shown, file=self._out, flush=True)
        except OSError as error:
            raise unwritten(self._out, error) from None

    def confirms(self, question: str) -> bool:
        """Ask a person; without a terminal the answer is no."""
        if not sys.stdin.isatty():
            return False
        self._say(f"{question} [y/N]")
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    def note(self, text: str) -> None:
        """Say something, unless quiet."""
        if not self._quiet:
            self._say(text)

    def warn(self, text: str) -> None:
        """Say what the user should know."""
        if self.reads_commands:
            self._command("warning", text)
        else:
            self._say(self.style("warning: ", "yellow") + text)

    def describe(self, error: BuildlibError) -> str:
        """Return the text of an error, for whoever prints it last."""
        problems = error.problems if isinstance(error, ProblemsError) else (error,)
        mark = self.style("error: ", "red")
        return self._shown("\n".join(mark + redact(clean(str(problem))) for problem in problems))

    def command(self, argv: Sequence[str]) -> None:
        """Echo a command before it runs, ready to paste."""
        self.line(shell_line(argv))

    def line(self, line: str) -> None:
        """Echo what is about to run, as one line for a shell."""
        self.note(self.style(f"$ {line}", "dim"))

    def pass_on(self, line: str) -> None:
        """Show a line of another program whose output the user asked for, quiet or not."""
        self._say(line)

    def group(self, title: str) -> None:
        """Begin a part that GitHub Actions can fold."""
        if self.reads_commands:
            self._command("group", title)

    def end_group(self) -> None:
        """End it."""
        if self.reads_commands:
            self._command("endgroup", "")

    def event(self, event: Event) -> None:
        """Show a step that ended, or a line of its output."""
        if event.step is None:
            self.note(event.line)
        elif event.line:
            self.note(self.style(f"          | {event.line}", "dim"))
        elif event.step.counts or event.step.error:
            self.note(self._step(event.step))

    def _step(self, step: BuildStep) -> str:
        name = textwrap.shorten(step.name, width=name_width(self._err), placeholder=" …")
        if step.error:
            return f"{self.style('   failed', 'red')} {name}"
        if step.cached:
            return self.style(f"   cached {name}", "dim")
        return f"{step.seconds or 0:7.1f} s {name}"

    def _say(self, text: str) -> None:
        self._print(self._shown(redact(text)))

    def _shown(self, text: str) -> str:
        """Return a text as the reader may have it: with our own styles alone."""
        own = _OWN_STYLE if self._colour else None
        text = _CONTROL.sub(lambda found: found[0] if own and own.fullmatch(found[0]) else "", text)
        return _COMMAND.sub(r"\1\2 ", text) if self.reads_commands else text

    def _command(self, name: str, text: str) -> None:
        """Give GitHub Actions a command, of one line whatever the text holds."""
        data = redact(clean(text)).replace("%", "%25").replace("\n", "%0A")
        self._print(f"::{name}::{data}")

    def _print(self, text: str) -> None:
        try:
            print(text, file=self._err, flush=True)
        except OSError:
            # The terminal is gone. What goes on, or cleans up, is more important than its words.
            give_up(self._err)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as left-aligned columns; the last column is not padded."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "\n".join(
        "  ".join(
            [*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]]
        ).rstrip()
        for row in rows
    )


def to_json(data: dict[str, Any]) -> str:
    """Return JSON as every task prints it."""
    return json.dumps(data, indent=2, sort_keys=True)
