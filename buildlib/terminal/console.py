"""The only printer. Messages go to stderr, so that stdout holds nothing but a task's answer."""

from __future__ import annotations

import re
import sys
import textwrap
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol, TextIO, TypeVar

from buildlib import interrupts
from buildlib.errors import BuildlibError
from buildlib.shell import shell_line
from buildlib.terminal.activity import (
    Activity,
    Board,
    BuildStep,
    Event,
    Repeated,
    Row,
    RunningSteps,
)
from buildlib.terminal.prompts import child_has_terminal, echoes
from buildlib.terminal.streams import give_up, tolerate, unwritten
from buildlib.terminal.text import (
    CONTROL,
    NARROWEST,
    clean,
    coloured,
    columns_of,
    fit,
    one_line,
    redact,
    redacted,
    styled,
    to_json,
)

if TYPE_CHECKING:
    from buildlib.terminal.live import Screen

T = TypeVar("T")

_OWN_STYLE: Final = re.compile(r"\x1b\[(?:0|1|2|3[1-3])m")
# What GitHub's runner takes for a command: `::` where a line begins, and `##[` anywhere in it.
_COMMAND: Final = re.compile(r"^([^\S\n]*:)(?=:)|(##)(?=\[)", re.MULTILINE)
_WIDTH: Final = 100
# A step's time, or what became of it, stands before its name.
_BEFORE: Final = 10
# Of a command line, which is `$ docker` at least.
_SHORTEST: Final = 8
_WHOLE: Final = " … (--verbose prints the whole line)"
# Seconds before the first picture of what runs, and between two of them: most things end sooner.
_PATIENCE: Final = 0.3
_REFRESH: Final = 0.1
# Seconds between two lines about what still runs, where nothing is redrawn.
_REMINDER: Final = 15.0


def wants_colour(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Return whether to colour: a terminal, not dumb, and NO_COLOR (no-color.org) not set."""
    return not env.get("NO_COLOR") and env.get("TERM") != "dumb" and stream.isatty()


def name_width(stream: TextIO) -> int:
    """Return how long a step's name may be: a line of the terminal, where there is one."""
    columns = columns_of(stream)
    before = _BEFORE + len(_LABEL.get())
    return min(_WIDTH, max(columns - before, NARROWEST)) if columns else _WIDTH


_LABEL: ContextVar[str] = ContextVar("label", default="")


@contextmanager
def labelled(label: str) -> Iterator[None]:
    """Begin each line of progress with a label, for what runs beside others on another thread.

    One within another stands after it.
    """
    token = _LABEL.set(_LABEL.get() + label)
    try:
        yield
    finally:
        _LABEL.reset(token)


class Answer(Protocol):
    """What a task was asked for, for people and for programs."""

    __slots__ = ()

    def as_text(self) -> str:
        """Return it for people."""

    def as_dict(self) -> dict[str, Any]:
        """Return it for programs, ready for JSON."""


class Console:
    """Prints for one run.

    Args:
        out, err: the streams, the process's own where not given.
        env: for NO_COLOR, TERM and GITHUB_ACTIONS.
        quiet: progress is not shown; warnings and errors are.
        verbose: command lines are shown whole, and what steps print as well.
        heading: a line of the answer, before everything else that is printed.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        *,
        out: TextIO | None = None,
        err: TextIO | None = None,
        quiet: bool = False,
        verbose: bool = False,
        heading: str = "",
    ) -> None:
        """Keep the streams; `reads_commands`: some lines are commands to the reader."""
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        tolerate(self._out)
        tolerate(self._err)
        self._colour = wants_colour(self._err, env)
        self._answers_in_colour = wants_colour(self._out, env)
        self.reads_commands = env.get("GITHUB_ACTIONS") == "true"
        self._quiet = quiet
        self._verbose = verbose
        self._said: set[str] = set()
        self._repeating = False
        self.answered, self._heading = False, heading
        # One that can be redrawn, and that nobody reads line by line.
        terminal = self._err.isatty() and env.get("TERM") != "dumb"
        self._draws = terminal and not self.reads_commands
        self._echoed, self._drawing = self._draws and echoes(self._err), False
        self._printing = threading.RLock()
        self._warned: set[tuple[str, str]] = set()
        self._board = Board()
        self._watch: Repeated | None = None
        self._screen: Screen | None = None

    def style(self, text: str, style: str) -> str:
        """Return the text in a style, where colour is wanted."""
        return styled(text, style) if self._colour else text

    def answer(self, text: str) -> None:
        """Print what the task was asked for, to stdout: as it is where a program reads it."""
        self._head()
        self.answered = True
        self._answer(text)

    def _head(self) -> None:
        """Print the heading, before anything else that is printed."""
        if heading := self._heading:
            self._heading = ""
            self._answer(heading)

    def _answer(self, text: str) -> None:
        terminal = self._out.isatty()
        shown = self._shown(text) if self.reads_commands or terminal else text
        if self._answers_in_colour:
            shown = coloured(shown)
        with self._alone() if terminal else nullcontext():
            if terminal and self._screen:
                self._print(shown)
                return
            try:
                print(shown, file=self._out, flush=True)
            except OSError as error:
                raise unwritten(self._out, error) from None

    def report(self, text: str) -> None:
        """Print an answer for people: on a terminal, lines are broken between words."""
        columns = columns_of(self._out)
        self.answer(fit(text, columns) if columns else text)

    def note_report(self, text: str) -> None:
        """Print a report that is not the answer, unless quiet, in the same way."""
        columns = columns_of(self._err)
        text = fit(text, columns) if columns else text
        self.note(coloured(text) if self._colour else text)

    def show(self, answered: Answer, *, as_json: bool) -> None:
        """Print an answer for people or for programs."""
        if as_json:
            self.answer(to_json(answered.as_dict()))
        else:
            self.report(answered.as_text())

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

    def warn_once(self, about: str, text: str, *, prefix: str = "") -> None:
        """Say what the user should know of an image, which may be built more than once."""
        with self._printing:
            if (about, text) not in self._warned:
                self._warned.add((about, text))
                self.warn(f"{prefix}{text}")

    def warn(self, text: str) -> None:
        """Say what the user should know."""
        if self._repeating and text in self._said:
            return
        self._said.add(text)
        if self.reads_commands:
            self._command("warning", text)
        else:
            text = fit(f"warning: {text}", self._room)
            self._say(text.replace("warning:", self.style("warning:", "yellow"), 1))

    def describe(self, error: BuildlibError) -> str:
        """Return the text of an error, for whoever prints it last."""
        mark = self.style("error: ", "red")
        return self._shown("\n".join(mark + redact(clean(str(one))) for one in error.problems))

    def failure(self, error: BuildlibError) -> None:
        """Answer with an error, for a program; what was answered before says it already."""
        if not self.answered:
            self.answer(to_json({"error": redacted(error.as_dict())}))

    def command(self, argv: Sequence[str]) -> None:
        """Echo a command before it runs, ready to paste."""
        self.note(self.style(f"$ {shell_line(argv)}", "dim"))

    def line(self, line: str, *, short: str = "") -> None:
        """Echo what is about to run; a terminal gets what fits of it, unless verbose.

        Args:
            line: for a shell.
            short: the part that is shown unless verbose; empty: all of it.
        """
        if self._repeating and not self._verbose:
            return
        text = f"$ {redact(line if self._verbose else short or line)}"
        columns = 0 if self._verbose or self.reads_commands else self._room
        first = text.partition("\n")[0]
        if columns and (len(first) > columns or first != text):
            text = first[: max(columns - len(_WHOLE), _SHORTEST)] + _WHOLE
        self.note(self.style(text, "dim"))

    @contextmanager
    def repeating(self) -> Iterator[None]:
        """Do not print again what runs in the block, and its warnings: it has run before."""
        before, self._repeating = self._repeating, True
        try:
            yield
        finally:
            self._repeating = before

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
            self.note(event.line or "")
        elif event.line is not None:
            # What is drawn has the last line of each step; that of one that fails comes at the end.
            if self._verbose or not (self._draws and self._watch):
                self.note(self.style(f"          | {event.line}", "dim"))
        elif event.step.counts or event.step.error:
            self.note(self._step(event.step))

    def _step(self, step: BuildStep) -> str:
        name = textwrap.shorten(step.name, width=name_width(self._err), placeholder=" …")
        if step.cancelled:
            return self.style(f" canceled {name}", "dim")
        if step.error:
            return f"{self.style('   failed', 'red')} {name}"
        if step.cached:
            return self.style(f"   cached {name}", "dim")
        return f"{step.seconds or 0:7.1f} s {name}"

    def reason(self, text: str) -> None:
        """Say under a step why it ran."""
        lines = fit(" " * _BEFORE + _short(text), self._room).split("\n")
        self.note("\n".join(self.style(line, "dim") for line in lines))

    @property
    def _room(self) -> int:
        """How long a line of progress may be; without a terminal there is no end to it."""
        columns = columns_of(self._err)
        return max(columns - len(_LABEL.get()), NARROWEST) if columns else sys.maxsize

    def _say(self, text: str) -> None:
        label = _LABEL.get()
        self._print(self._shown(label + redact(text).replace("\n", f"\n{label}")))

    def _shown(self, text: str) -> str:
        """Return a text as the reader may have it: with our own styles alone."""
        own = _OWN_STYLE if self._colour else None
        text = CONTROL.sub(lambda found: found[0] if own and own.fullmatch(found[0]) else "", text)
        return _COMMAND.sub(r"\1\2 ", text) if self.reads_commands else text

    def _command(self, name: str, text: str) -> None:
        """Give GitHub Actions a command, of one line whatever the text holds."""
        data = redact(clean(text)).replace("%", "%25").replace("\n", "%0A")
        self._print(f"::{name}::{data}")

    def _print(self, text: str) -> None:
        self._head()
        with self._alone():
            if self._screen and not self._asks():
                with self._giving_up():
                    self._screen.print(text)
                    return
            self._write(f"{text}\n")

    def _write(self, text: str) -> None:
        try:
            print(text, file=self._err, end="", flush=True)
        except OSError:
            # The terminal is gone. What goes on, or cleans up, is more important than its words.
            give_up(self._err)

    @contextmanager
    def running(self, name: str, *, total: int = 0) -> Iterator[Activity]:
        """Show that something runs for the time of the block.

        Args:
            total: bytes that it is about, where they are counted.
        """
        activity = Activity(name=name, total=total)
        with self.following(activity):
            yield activity

    @contextmanager
    def opening(self, name: str, what: AbstractContextManager[T]) -> Iterator[T]:
        """Enter a context, and show that it runs until it is entered."""
        with ExitStack() as stack:
            with self.running(name):
                entered = stack.enter_context(what)
            yield entered

    @contextmanager
    def following(self, what: Activity | RunningSteps) -> Iterator[None]:
        """Show what runs for the time of the block, unless quiet.

        A terminal has it below all that is printed, redrawn in place; elsewhere a line says from
        time to time what still runs.
        """
        if self._quiet:
            yield
            return
        try:
            self._begin(what)
            yield
        finally:
            with interrupts.held():
                self._end(what)

    def _begin(self, what: Activity | RunningSteps) -> None:
        with interrupts.held(), self._alone():
            if not self._board.add(what, _LABEL.get()):
                return
            self._watch = (
                Repeated(self._draw, every=_REFRESH, first=_PATIENCE)
                if self._draws
                else Repeated(self._remind, every=_REMINDER, first=_REMINDER)
            )

    def _end(self, what: Activity | RunningSteps) -> None:
        with self._alone():
            if not self._board.remove(what):
                return
            watch, self._watch = self._watch, None
        # Not with the lock, for which its thread may be waiting.
        if watch:
            watch.stop()
        with self._alone():
            if self._screen and not self._watch and not self._asks():
                with self._giving_up():
                    self._screen.close()
                self._screen = None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let nothing else print meanwhile, and no interrupt leave a half of it on the screen.

        Elsewhere an interrupt does not wait: nobody may read what is printed.
        """
        with interrupts.held() if self._draws else nullcontext(), self._printing:
            yield

    def _draw(self) -> None:
        """Draw what runs; on the thread that does nothing else."""
        with self._giving_up():
            from buildlib.terminal.live import Screen  # noqa: PLC0415 - rich is only for those that draw

            with self._alone():
                if not self._draws or self._asks():
                    return
                if not self._screen:
                    self._screen = Screen(self._write_drawn, self._rows, colour=self._colour)
                self._drawing = True
                self._screen.draw()
                self._drawing = False

    def _asks(self) -> bool:
        """Return whether a program asks something, such as ssh or sudo: nothing is drawn then.

        What was drawn stays, as the question is below it.
        """
        asks = self._draws and (self._echoed > echoes(self._err) or child_has_terminal())
        if asks:
            self._screen = None
        return asks

    def _write_drawn(self, text: str) -> None:
        """Write what was drawn; a program may have begun to ask meanwhile."""
        if not (self._drawing and self._asks()):
            self._write(text)

    @contextmanager
    def _giving_up(self) -> Iterator[None]:
        """Draw nothing more if that fails: what runs is more important than its picture."""
        try:
            yield
        except Exception:  # noqa: BLE001 - rich's, or that of a broken installation
            self._draws, self._screen = False, None

    def _rows(self) -> tuple[list[Row], str]:
        """Return what is drawn: nothing once the task was interrupted, and may end at any time."""
        if interrupts.heard():
            return [], ""
        rows = [
            Row(one.seconds, one_line(one.name), one_line(one.progress))
            for one in self._board.rows()
        ]
        return rows, self._board.summary(len(rows))

    def _remind(self) -> None:
        """Say what still runs, where nothing is redrawn."""
        rows, _ = self._rows()
        said = [
            f"{_short(row.name)}, {row.seconds:.0f} s" + (f", {row.progress}" * bool(row.progress))
            for row in rows
        ]
        if said:
            self.note(f"          … still running: {'; '.join(said)}")


def _short(name: str) -> str:
    return textwrap.shorten(name, width=_WIDTH, placeholder=" …")
