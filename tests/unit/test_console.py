from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import termios

import pytest

from buildlib.console import Console, redact, table, wants_colour
from buildlib.errors import EngineError, InputError, ProblemsError
from buildlib.progress import Event, Step
from buildlib.report import human_size

from fakes import a_console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "env", "colour"),
    [
        pytest.param(Terminal(), {"TERM": "xterm"}, True, id="a terminal"),
        pytest.param(Terminal(), {"TERM": "dumb"}, False, id="a dumb one"),
        pytest.param(Terminal(), {"NO_COLOR": "1"}, False, id="a user who wants none"),
        pytest.param(Terminal(), {"NO_COLOR": ""}, True, id="an empty NO_COLOR is none"),
        pytest.param(io.StringIO(), {"TERM": "xterm"}, False, id="a pipe"),
    ],
)
def test_who_gets_colour(stream: io.StringIO, env: dict[str, str], *, colour: bool) -> None:
    assert wants_colour(stream, env) is colour


def test_answers_go_to_stdout_and_everything_else_to_stderr() -> None:
    console, out, err = a_console()
    console.answer("1.2.3")
    console.note("a note")
    console.warn("a warning")
    assert out.getvalue() == "1.2.3\n"
    assert err.getvalue() == "a note\nwarning: a warning\n"


def test_quiet_keeps_warnings() -> None:
    err = io.StringIO()
    console = Console({}, err=err, quiet=True)
    console.note("x")
    console.command(("docker", "x"))
    console.warn("y")
    assert err.getvalue() == "warning: y\n"


def test_github_gets_groups_and_annotations() -> None:
    console, _, err = a_console(GITHUB_ACTIONS="true")
    console.group("build")
    console.warn("careful")
    console.end_group()
    assert err.getvalue() == "::group::build\n::warning::careful\n::endgroup::\n"


def test_no_group_elsewhere() -> None:
    console, _, err = a_console()
    console.group("build")
    console.end_group()
    assert err.getvalue() == ""


def test_credentials_in_addresses_are_never_printed() -> None:
    assert redact("see https://me:hunter2@example.org/x and http://t@h") == (
        "see https://***@example.org/x and http://***@h"
    )
    assert redact("https://me:p@ss@host/x") == "https://***@host/x"
    assert redact("https://host/x?by=me@y https://host?by=me@y") == (
        "https://host/x?by=me@y https://host?by=me@y"
    )
    pinned = "docker-image://golang:1.24@sha256:abc docker-image://mirror:5000/x@sha256:abc"
    assert redact(pinned) == pinned
    # A scheme is more than letters.
    assert (
        redact("git+https://t@host svn+ssh2://t@host") == "git+https://***@host svn+ssh2://***@host"
    )
    console, _, err = a_console()
    console.command(("docker", "--build-arg", "P=http://me:hunter2@proxy"))
    assert "hunter2" not in err.getvalue()
    assert "hunter2" not in console.describe(InputError("http://me:hunter2@h"))


def test_the_keys_of_a_cache_are_never_printed() -> None:
    cache = (
        'type=s3,bucket=b,secret_access_key=hunter2,session_token=hunter2,"token=hun,ter2",mode=max'
    )
    shown = 'type=s3,bucket=b,secret_access_key=***,session_token=***,"token=***",mode=max'
    assert redact(cache) == shown
    console, _, err = a_console()
    console.command(("docker", "--cache-to", cache))
    assert err.getvalue() == f"$ docker --cache-to '{shown}'\n"
    assert (
        redact("--secret id=token,env=TOKEN x_token=1") == "--secret id=token,env=TOKEN x_token=1"
    )


def test_each_problem_is_an_error_of_its_own() -> None:
    console, _, _ = a_console()
    both = ProblemsError([EngineError("two", why="because"), InputError("one", hint="do this")])
    assert console.describe(both) == "error: one\n  do this\nerror: two\n  because"
    assert str(both) == "one\n  do this\ntwo\n  because"


def test_steps_are_shown_with_time_cache_or_failure() -> None:
    console, _, err = a_console()
    console.event(Event(step=Step(name="[1/3] RUN x", seconds=1.25)))
    console.event(Event(step=Step(name="[2/3] RUN " + "y " * 100, seconds=0, cached=True)))
    console.event(Event(step=Step(name="exporting", seconds=0)))
    console.event(Event(step=Step(name="exporting", seconds=0, error="full")))
    console.event(Event(step=Step(name="[1/3] RUN x"), line="out\x1b[31mput"))
    console.event(Event(step=None, line="plain"))
    lines = err.getvalue().splitlines()
    assert lines[0] == "    1.2 s [1/3] RUN x"
    assert lines[1].startswith("   cached [2/3] RUN y")
    assert len(lines[1]) < 120
    assert lines[2] == "   failed exporting"
    assert lines[3] == "          | out[31mput"
    assert lines[4] == "plain"


class Screen(Terminal):
    """A terminal of so many columns."""

    def __init__(self, file: int, columns: int) -> None:
        super().__init__()
        self._file = file
        fcntl.ioctl(file, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def fileno(self) -> int:
        return self._file


@pytest.mark.parametrize(
    ("columns", "longest"),
    [
        pytest.param(60, 60, id="a narrow one"),
        pytest.param(200, 110, id="a wide one"),
        pytest.param(0, 110, id="one that does not know"),
        pytest.param(5, 30, id="one that holds nothing"),
    ],
)
def test_a_step_fits_on_a_line_of_the_terminal(columns: int, longest: int) -> None:
    master, slave = pty.openpty()
    try:
        err = Screen(slave, columns)
        console = Console({"TERM": "dumb"}, err=err)
        for step in (Step(name="[1/1] RUN " + "y " * 100, seconds=1.0, cached=cached)
                     for cached in (True, False)):  # fmt: skip
            console.event(Event(step=step))
        lines = err.getvalue().splitlines()
        assert longest - 3 < max(map(len, lines)) <= longest
    finally:
        os.close(master)
        os.close(slave)


def test_a_terminal_gets_styles() -> None:
    err = Terminal()
    Console({"TERM": "xterm"}, err=err).warn("x")
    assert err.getvalue() == "\x1b[33mwarning: \x1b[0mx\n"


def test_a_table_is_aligned() -> None:
    assert table([("a", "bb", "c"), ("aaa", "b", "")]) == "a    bb  c\naaa  b"


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, ""), (0, "0 B"), (5_818_000, "5.818 MB"), (999, "999 B"), (3_000_000_000, "3 GB")],
)
def test_sizes(size: int | None, text: str) -> None:
    assert human_size(size) == text


@pytest.mark.timeout(60)
def test_a_long_word_does_not_hold_up_what_is_printed() -> None:
    # A line of a build may be a megabyte; hours, if each beginning of it were tried.
    word = "0a1b" * 250_000
    assert redact(word) == word
    assert redact(f"{word}://{word}") == f"{word}://{word}"
    console, _, err = a_console()
    console.note(f"{word} https://me:hunter2@host")
    assert "hunter2" not in err.getvalue()
    assert word in err.getvalue()
