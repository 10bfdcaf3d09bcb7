from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import signal
import struct
import termios
import threading
import time

import pytest

from buildlib import interrupts
from buildlib.errors import EngineError, InputError, ProblemsError
from buildlib.files import counted, difference, human_size
from buildlib.terminal.activity import BuildStep, Event
from buildlib.terminal.console import Console, labelled, wants_colour
from buildlib.terminal.text import clean, fit, redact, table

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
    console.event(Event(step=BuildStep(name="[1/3] RUN x", seconds=1.25)))
    console.event(Event(step=BuildStep(name="[2/3] RUN " + "y " * 100, seconds=0, cached=True)))
    console.event(Event(step=BuildStep(name="exporting", seconds=0)))
    console.event(Event(step=BuildStep(name="exporting", seconds=0, error="full")))
    stopped = BuildStep(name="[3/3] RUN z", seconds=0, error="context canceled", cancelled=True)
    console.event(Event(step=stopped))
    console.event(Event(step=BuildStep(name="[1/3] RUN x"), line="out\x1b[31mput"))
    console.event(Event(step=BuildStep(name="[1/3] RUN x"), line=""))
    console.event(Event(step=None, line="plain"))
    lines = err.getvalue().splitlines()
    assert lines[0] == "    1.2 s [1/3] RUN x"
    assert lines[1].startswith("   cached [2/3] RUN y")
    assert len(lines[1]) < 120
    assert lines[2] == "   failed exporting"
    assert lines[3] == " canceled [3/3] RUN z"
    assert lines[4] == "          | output"
    assert lines[5:] == ["          | ", "plain"]


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
        for step in (BuildStep(name="[1/1] RUN " + "y " * 100, seconds=1.0, cached=cached)
                     for cached in (True, False)):  # fmt: skip
            console.event(Event(step=step))
        lines = err.getvalue().splitlines()
        assert longest - 3 < max(map(len, lines)) <= longest
    finally:
        os.close(master)
        os.close(slave)


def test_the_label_of_an_image_is_before_each_line_and_leaves_room_for_it() -> None:
    master, slave = pty.openpty()
    try:
        err = Screen(slave, 66)
        console = Console({"TERM": "dumb"}, err=err)
        with labelled("web | "):
            console.line("docker buildx build " + "--tag x " * 20)
            console.event(Event(step=BuildStep(name="[1/1] RUN " + "y " * 100, seconds=1.0)))
            console.reason("the file changed: " + "a/b/c " * 10)
            console.warn("built on placeholders, which is not for publishing or tests")
        lines = err.getvalue().splitlines()
    finally:
        os.close(master)
        os.close(slave)
    assert lines == [
        "web | $ docker buildx build -- … (--verbose prints the whole line)",
        "web |     1.0 s [1/1] RUN y y y y y y y y y y y y y y y y y y y …",
        "web |           the file changed: a/b/c a/b/c a/b/c a/b/c a/b/c",
        "web |           a/b/c a/b/c a/b/c a/b/c a/b/c",
        "web | warning: built on placeholders, which is not for publishing",
        "web |   or tests",
    ]


EVIL = (
    "\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m\x9b2J\x9d0;t\x9c\x90q\x1b\\\x1b(B\x1bc\rback\b"
    "\x00\x7f\u202eright\u2066\u2028"
)
TAME = "redbackright"


@pytest.mark.parametrize("colour", [True, False])
def test_what_others_say_does_nothing_to_the_terminal(*, colour: bool) -> None:
    err = Terminal() if colour else io.StringIO()
    console = Console({"TERM": "xterm"}, out=Terminal(), err=err)
    problem = console.describe(EngineError("it ended", why=f"{EVIL}\n\ttab"))
    assert problem.replace("\x1b[31merror: \x1b[0m", "error: ") == (
        f"error: it ended\n  {TAME}\n  \ttab"
    )
    console.note(EVIL.replace("\x1b[31m", ""))
    console.event(Event(step=BuildStep(name="x"), line=EVIL.replace("\x1b[31m", "")))
    shown = err.getvalue().replace("\x1b[0m", "").replace("\x1b[2m", "")
    assert shown == f"{TAME}\n          | {TAME}\n"


def test_a_string_that_never_ends_hides_nothing_of_the_next_line() -> None:
    assert clean("\x1b]0;a\nb\x07c") == "0;a\nbc"


@pytest.mark.unmeasured
@pytest.mark.timeout(60)
def test_many_beginnings_of_sequences_are_taken_away_in_time() -> None:
    for beginning in ("\x1b[", "\x1b]", "\x1b[0", "\x1bP0;", "\x9b;", "\n ", "::"):
        assert len(clean(beginning * 100_000)) <= 300_000
        a_console(GITHUB_ACTIONS="true")[0].note(beginning * 100_000)


def test_an_answer_is_as_it_is_to_a_program_and_clean_on_a_terminal() -> None:
    out, screen = io.StringIO(), Terminal()
    Console({}, out=out).answer(EVIL)
    Console({"TERM": "xterm"}, out=screen).answer(EVIL)
    assert out.getvalue() == f"{EVIL}\n"
    assert screen.getvalue() == f"{TAME}\n"


COMMANDS = [
    "::set-output name=x::1",
    " \t::error::x",
    "\u00a0::add-mask::x",
    "\x1b[0m::stop-commands::x",
    "first\n::error::second",
    "first\r::error::second",
    "\x07::error::x",
    "x ##[add-path]/tmp",
    "##[##[error]x",
    ":::error::x",
]


@pytest.mark.parametrize("text", COMMANDS)
def test_what_others_say_is_no_command_to_github(text: str) -> None:
    console, out, err = a_console(GITHUB_ACTIONS="true")
    console.note(text)
    console.pass_on(text)
    console.answer(text)
    printed = err.getvalue() + out.getvalue() + console.describe(EngineError(text, why=text))
    # As the runner reads it: actions/runner, ActionCommand.cs.
    lines = re.split(r"\r\n|\r|\n", printed)
    assert not [line for line in lines if line.strip().startswith("::") or "##[" in line]


def test_a_warning_of_several_lines_is_one_annotation() -> None:
    console, _, err = a_console(GITHUB_ACTIONS="true")
    console.warn("50%\n::error::x\r\n\x1b[2J")
    console.group("a\n::error::x")
    assert err.getvalue() == "::warning::50%25%0A::error::x%0A\n::group::a%0A::error::x\n"


def test_a_terminal_that_is_gone_ends_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as err:
        console = Console({}, err=err)
        console.note("one")
        console.note("two")


def test_a_terminal_gets_styles() -> None:
    err = Terminal()
    Console({"TERM": "xterm"}, err=err).warn("x")
    assert err.getvalue() == "\x1b[33mwarning:\x1b[0m x\n"


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


def test_where_nothing_is_redrawn_a_line_says_now_and_then_what_still_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("buildlib.terminal.console._REMINDER", 0.01)
    console, _, err = a_console()
    with console.running("pushing", total=40_000_000) as push, console.running("scanning\x1b[2J"):
        push.done = 2_500_000
        deadline = time.monotonic() + 10
        while err.getvalue().count("\n") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    said = "          … still running: pushing, 0 s, 2.5 of 40.0 MB; scanning, 0 s"
    assert said in err.getvalue().splitlines()
    printed = err.getvalue()
    time.sleep(0.05)
    assert err.getvalue() == printed


@pytest.mark.parametrize("broken", ["__init__", "draw", "print", "close"])
def test_what_can_not_be_drawn_is_printed(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    monkeypatch.setattr("buildlib.terminal.console._PATIENCE", 0.0)
    failed = threading.Event()

    def fail(*_: object, **__: object) -> None:
        failed.set()
        raise RuntimeError

    monkeypatch.setattr(f"buildlib.terminal.live.Screen.{broken}", fail)
    err = Terminal()
    console = Console({"TERM": "xterm"}, err=err)
    with console.running("scanning\n\ta\tb\x1b[2J"):
        deadline = time.monotonic() + 10
        while not (failed.is_set() or "scanning a b" in err.getvalue()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        console.note("pushed")
    assert failed.is_set()
    console.note("signed")
    assert err.getvalue().endswith("pushed\nsigned\n") or broken == "close"


@pytest.mark.parametrize(("stream", "printed"), [(io.StringIO, ""), (Terminal, "pushed\n")])
def test_an_interrupt_waits_only_for_what_is_printed_on_a_terminal(
    stream: type[io.StringIO], printed: str
) -> None:
    class Interrupted(stream):  # type: ignore[valid-type, misc]
        def write(self, text: str) -> int:
            signal.raise_signal(signal.SIGINT)
            return int(super().write(text))

    err = Interrupted()
    console = Console({"TERM": "xterm"}, err=err)
    with pytest.raises(KeyboardInterrupt), interrupts.listening():
        console.note("pushed")
    assert err.getvalue() == printed


def test_quiet_says_nothing_of_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("buildlib.terminal.console._REMINDER", 0.01)
    err = io.StringIO()
    with Console({}, err=err, quiet=True).running("pushing"):
        time.sleep(0.05)
    assert err.getvalue() == ""


REPORT = """\
check   linux/amd64  linux/arm64
starts  ok 0.1 s     failed 12.3 s
keeps   left out     ok 0.2 s
ok      git          what failed before is missing here
failed: no answer
docker  missing"""


def test_states_have_the_same_colours_everywhere() -> None:
    screen, pipe = Terminal(), io.StringIO()
    Console({"TERM": "xterm"}, out=screen).answer(REPORT)
    Console({"TERM": "xterm"}, out=pipe).answer(REPORT)
    assert pipe.getvalue() == f"{REPORT}\n"
    found = re.findall(r"\x1b\[(\d+)m(.*?)\x1b\[0m", screen.getvalue())
    assert found == [
        ("32", "ok"),
        ("31", "failed"),
        ("33", "left out"),
        ("32", "ok"),
        ("32", "ok"),
        ("31", "failed"),
        ("31", "missing"),
    ]
    plain = Terminal()
    Console({"TERM": "xterm", "NO_COLOR": "1"}, out=plain).answer(REPORT)
    assert plain.getvalue() == f"{REPORT}\n"
    # One that is not the answer looks the same.
    beside, quiet = Terminal(), Terminal()
    Console({"TERM": "xterm"}, err=beside).note_report(REPORT)
    Console({"TERM": "xterm"}, err=quiet, quiet=True).note_report(REPORT)
    assert (beside.getvalue(), quiet.getvalue()) == (screen.getvalue(), "")


def test_a_diff_has_the_colours_of_git_and_a_list_has_none() -> None:
    lines = [f"{n}\n" for n in range(9)]
    before, after = "".join(lines), "".join(["new\n", "\n", *lines[2:]])
    text = f"- not a change\n{difference('a.txt', before, after)}\n\n+ not one either"
    screen = Terminal()
    Console({"TERM": "xterm"}, out=screen).answer(text)
    assert re.findall(r"\x1b\[(\d+)m(.*?)\x1b\[0m", screen.getvalue()) == [
        ("31", "--- a/a.txt"),
        ("32", "+++ b/a.txt"),
        ("31", "-0"),
        ("31", "-1"),
        ("32", "+new"),
        ("32", "+"),
    ]
    assert re.sub(r"\x1b\[\d+m", "", screen.getvalue()) == f"{text}\n"


DOCTOR = """\
build
  ok         docker                   29.1.3 (at least 20.10)
  missing    base images              docker.io/library/golang:1.25 has no digest in the Dockerfile
             invoke docker-bases --update pins them to what the registry has; commit that

ready:     run, policy, smoke, scan, sbom, sign, publish, rehearse, builders"""
NARROW = """\
build
  ok         docker                   29.1.3 (at least
                                      20.10)
  missing    base images
             docker.io/library/golang:1.25 has no digest
             in the Dockerfile
             invoke docker-bases --update pins them to
             what the registry has; commit that

ready:     run, policy, smoke, scan, sbom, sign, publish,
           rehearse, builders"""


@pytest.mark.parametrize(("columns", "shown"), [(58, NARROW), (200, DOCTOR), (0, DOCTOR)])
def test_a_report_is_broken_between_words_on_a_terminal(columns: int, shown: str) -> None:
    master, slave = pty.openpty()
    try:
        screen, pipe = Screen(slave, columns), io.StringIO()
        Console({"TERM": "dumb"}, out=screen).report(DOCTOR)
        Console({"TERM": "dumb"}, out=pipe).report(DOCTOR)
        assert screen.getvalue() == f"{shown}\n"
        assert pipe.getvalue() == f"{DOCTOR}\n"
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("columns", range(1, 120))
def test_no_word_is_lost_or_broken_at_any_width(columns: int) -> None:
    narrow = fit(DOCTOR, columns)
    assert narrow.split() == DOCTOR.split()
    # What is longer is one word, after the columns before it.
    long = [line for line in narrow.splitlines() if len(line) > max(columns, 50)]
    assert [line for line in long if " " in line.rpartition("  ")[2]] == []


def test_columns_that_do_not_fit_become_lists() -> None:
    rows = [("name", "state", "health", "image"), ("one", "running", "", "one:1.2.3"),
            ("another", "exited", "healthy", "other:latest")]  # fmt: skip
    wide = """\
name     state    health   image
one      running           one:1.2.3
another  exited   healthy  other:latest"""
    assert table(rows, head=True, columns=80) == wide
    assert table(rows, head=True, columns=0) == wide
    assert table(rows, columns=30) == wide
    assert (
        table(rows, head=True, columns=30)
        == """\
name   one
state  running
image  one:1.2.3

name    another
state   exited
health  healthy
image   other:latest"""
    )


@pytest.mark.parametrize(("number", "text"), [(0, "0 retries"), (1, "1 retry"), (2, "2 retries")])
def test_a_number_has_its_noun(number: int, text: str) -> None:
    assert counted(number, "retry", "retries") == text
    assert counted(1, "step") == "1 step"


def test_a_heading_comes_before_everything_that_is_printed() -> None:
    both = io.StringIO()
    console = Console({}, out=both, err=both, heading="# app")
    console.warn("first")
    console.answer("second")
    assert both.getvalue() == "# app\nwarning: first\nsecond\n"


def test_every_further_line_of_an_error_is_indented_once() -> None:
    error = EngineError("it failed", why="one\n  two", hint="three\nfour")
    assert str(error) == "it failed\n  one\n  two\n  three\n  four"


def test_what_runs_again_is_not_printed_again() -> None:
    console, _, err = a_console()
    console.warn("old")
    console.line("first")
    with console.repeating():
        console.line("second")
        console.warn("old")
        console.warn("new")
    console.warn("old")
    console.line("third")
    warnings = "warning: new\nwarning: old\n"
    assert err.getvalue() == f"warning: old\n$ first\n{warnings}$ third\n"
