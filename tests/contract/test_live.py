"""What a build shows while it runs: on a terminal, and where nothing can be redrawn."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Checkout, run_process
from terminal import Terminal, on_a_terminal

Make = Callable[..., Checkout]
INFO = {
    "ServerVersion": "26.1.5",
    "OSType": "linux",
    "Architecture": "x86_64",
    "ClientInfo": {
        "Version": "26.1.5",
        "Context": "default",
        "Plugins": [{"Name": "buildx", "Version": "v0.13.1"}],
    },
}
BEGAN, ENDED = "2026-01-01T00:00:00Z", "2026-01-01T00:00:12.5Z"
CACHED = {"digest": "a", "name": "[base 1/3] FROM alpine", "started": BEGAN, "completed": BEGAN}
COMPILE = {"digest": "b", "name": "[compile 2/3] RUN go build " + "-v " * 60, "started": BEGAN}
PULL = {"digest": "c", "name": "[base 3/3] COPY --from=tools /bin/tool /bin/", "started": BEGAN}
LAYER = {"id": f"sha256:{'1' * 64}", "vertex": "c", "current": 3_200_000, "total": 40_000_000}
# A build that stands still until the file `go` is there; what fails does so afterwards.
FIRST = [
    {"vertexes": [{**CACHED, "cached": True}, COMPILE, PULL]},
    {"statuses": [LAYER], "logs": [{"vertex": "b", "data": "Y29tcGlsaW5nIG1haW4KCg=="}]},
]
LAST = [{"vertexes": [{**COMPILE, "completed": ENDED}, {**PULL, "completed": ENDED}]}]
BROKEN = [{"vertexes": [{**COMPILE, "completed": ENDED, "error": "exit code: 2"}]}]

# As ssh and sudo do: past whatever reads their output.
PASSWORD = """\
#!/bin/sh
exec 3<>/dev/tty
stty -echo <&3
printf 'Password: ' >&3
read -r typed <&3
stty echo <&3
echo >&3
echo "$typed" >typed
"""
HOST_KEY = """\
#!/bin/sh
exec 3<>/dev/tty
printf "The authenticity of host 'builder' can't be established.\\n" >&3
printf 'Are you sure you want to continue connecting (yes/no/[fingerprint])? ' >&3
read -r typed <&3
echo "$typed" >typed
"""


@pytest.fixture(name="project")
def _project(make_checkout: Make, tmp_path: Path) -> Checkout:
    """Return a project whose docker builds by a script."""
    checkout = make_checkout()
    folder = tmp_path / "programs"
    folder.mkdir()
    for name, said in (("first", FIRST), ("last", LAST), ("broken", BROKEN)):
        text = "".join(json.dumps(one) + "\n" for one in said)
        (checkout.root / name).write_text(text, encoding="utf-8")
    script = f"""\
#!/bin/sh
[ "$1" = info ] && echo '{json.dumps(INFO)}' && exit
[ "$1 $2" = "buildx build" ] || exit 1
cat first
until [ -e go ]; do
  [ -e typed ] || [ ! -e asks ] || ./asks
  sleep 0.05
done
[ -e fails ] && cat broken && exit 1
cat last
"""
    (folder / "docker").write_text(script, encoding="utf-8")
    (folder / "docker").chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return Checkout(checkout.root, checkout.image, {"PATH": path, "TERM": "xterm"})


@contextmanager
def _building(
    project: Checkout, *words: str, columns: int = 80, **env: str | None
) -> Iterator[Terminal]:
    changes = {"COLUMNS": None, "LINES": None, "NO_COLOR": None, **env}
    argv = [sys.executable, "-m", "invoke", "docker-build", *words]
    with on_a_terminal(argv, project.root, project.environment(changes), columns) as terminal:
        yield terminal


def _widest(text: str) -> int:
    return max(map(len, text.splitlines()))


RUNNING = re.compile(r"^ +\d+\.\d s 3 steps, 1 cached, 2 running$", re.MULTILINE)


def _draws(text: str) -> bool:
    return bool(RUNNING.search(text))


@pytest.mark.parametrize("columns", [60, 120])
def test_what_runs_is_drawn_below_what_has_ended(project: Checkout, columns: int) -> None:
    with _building(project, columns=columns) as terminal:
        terminal.until(_draws)
        began = len(terminal.raw)
        # It is redrawn: the clock goes on.
        terminal.until(lambda _: terminal.raw[began:].count(b"running") >= 3)
        *above, one, other, last = terminal.text.splitlines()
        assert "   cached [base 1/3] FROM alpine" in above
        assert re.match(r" +\d+\.\d s \[compile 2/3\] RUN go.*…  compiling main$", one)
        assert re.match(r" +\d+\.\d s \[base 3/3\] COPY.*  3\.2 of 40\.0 MB, 0 of 1 layer$", other)
        assert RUNNING.match(last)
        assert terminal.text.count("[compile 2/3]") == 1
        assert not terminal.screen.cursor.hidden
        (project.root / "go").touch()
        assert terminal.ended() == 0
        shown = terminal.text
    assert "running" not in shown
    # What ended has scrolled up, and what it printed is not there.
    assert shown.count("   12.5 s [compile 2/3] RUN go build") == 1
    assert "compiling main" not in shown
    assert "cached steps  1 of 3" in shown
    (line,) = [line for line in shown.splitlines() if line.startswith("$ docker buildx build")]
    assert line.endswith(" … (--verbose prints the whole line)")
    assert len(line) <= columns


def test_without_colour_it_is_drawn_all_the_same(project: Checkout) -> None:
    (project.root / "go").touch()
    with _building(project, NO_COLOR="1") as terminal:
        assert terminal.ended() == 0
        styles = re.findall(rb"\x1b\[[0-9;]*m", terminal.raw)
    assert styles == []


@pytest.mark.parametrize(
    ("name", "value"), [("COLUMNS", "300"), ("TERM", "unknown"), ("TTY_INTERACTIVE", "0")]
)
def test_the_environment_does_not_spoil_what_is_drawn(
    project: Checkout, name: str, value: str
) -> None:
    env: dict[str, Any] = {name: value}
    with _building(project, **env) as terminal:
        terminal.until(_draws)
        began = len(terminal.raw)
        terminal.until(lambda _: terminal.raw[began:].count(b"running") >= 3)
        assert terminal.text.count("[compile 2/3]") == 1
        assert len(RUNNING.findall(terminal.text)) == 1
        (project.root / "go").touch()
        assert terminal.ended() == 0
        assert "running" not in terminal.text


def test_a_dumb_terminal_is_only_written_to(project: Checkout) -> None:
    with _building(project, TERM="dumb") as terminal:
        terminal.until(lambda text: "compiling main" in text)
        (project.root / "go").touch()
        assert terminal.ended() == 0
        assert b"\x1b" not in terminal.raw


def test_it_fits_a_terminal_that_becomes_narrow(project: Checkout) -> None:
    with _building(project, columns=120) as terminal:
        terminal.until(_draws)
        terminal.resize(60, 24)
        began = len(terminal.raw)
        terminal.until(lambda _: terminal.raw[began:].count(b"running") >= 3)
        drawn = terminal.raw[began:].decode().replace("\x1b[2K", "").split("\r")[-1]
        assert _widest(re.sub(r"\x1b\[[0-9;]*[a-zA-Z]", "", drawn)) <= 60
        (project.root / "go").touch()
        assert terminal.ended() == 0
        assert "running" not in terminal.text


def test_an_interrupt_leaves_nothing_of_it(project: Checkout) -> None:
    with _building(project) as terminal:
        terminal.until(_draws)
        terminal.type("\x03")
        assert terminal.ended() == 130
        assert "running" not in terminal.text
        assert terminal.text.splitlines()[-1] == "error: interrupted"
        assert not terminal.screen.cursor.hidden


@pytest.mark.parametrize(
    ("script", "question", "shown"),
    [
        (PASSWORD, ["Password:"], "Password:\n"),
        (
            HOST_KEY,
            [
                "The authenticity of host 'builder' can't be established.",
                "Are you sure you want to continue connecting (yes/no/[fingerprint])?",
            ],
            "? hunter2\n",
        ),
    ],
    ids=["password", "host key"],
)
def test_a_question_on_the_terminal_is_not_drawn_over(
    project: Checkout, script: str, question: list[str], shown: str
) -> None:
    asks, typed = project.root / "asks", project.root / "typed"
    with _building(project) as terminal:
        terminal.until(_draws)
        (project.root / "new").write_text(script, encoding="utf-8")
        (project.root / "new").chmod(0o755)
        (project.root / "new").rename(asks)
        terminal.until(lambda text: text.endswith(question[-1]))
        began, deadline = len(terminal.raw), time.monotonic() + 1.0
        terminal.until(lambda _: time.monotonic() > deadline)
        assert terminal.raw[began:] == b""
        # It begins on a line of its own, below what was drawn.
        assert terminal.text.splitlines()[-len(question) :] == question
        terminal.type("hunter2\n")
        terminal.until(lambda _: typed.exists())
        began = len(terminal.raw)
        terminal.until(lambda _: terminal.raw[began:].count(b"running") >= 3)
        assert terminal.text.count(question[0]) == 1
        (project.root / "go").touch()
        assert terminal.ended() == 0
        text = terminal.text
    assert typed.read_text(encoding="utf-8") == "hunter2\n"
    assert text.count("hunter2") == shown.count("hunter2")
    assert shown in text
    assert text.count("   12.5 s [compile 2/3] RUN go build") == 1


def test_the_log_of_the_step_that_failed_comes_last(project: Checkout) -> None:
    (project.root / "fails").touch()
    with _building(project) as terminal:
        terminal.until(_draws)
        (project.root / "go").touch()
        assert terminal.ended() == 4
        shown = terminal.text
    assert "running" not in shown
    failed, error = shown.split("\n   failed [compile 2/3] RUN go build")[1].split("\nerror: ")
    assert "\n" not in failed
    assert error.startswith("the build failed in step [compile 2/3]")
    assert error.endswith("\n  exit code: 2\n  compiling main")


def test_verbose_prints_the_whole_line_and_what_steps_print(project: Checkout) -> None:
    (project.root / "go").touch()
    with _building(project, "--verbose") as terminal:
        assert terminal.ended() == 0
        assert "prints the whole line" not in terminal.text
        assert "| compiling main" in terminal.text


RUN = """
import sys
from invoke.main import program

sys.argv[0] = "invoke"
program.run()
assert "buildlib.tasks" in sys.modules
assert "rich" not in sys.modules
"""


def test_a_report_fits_a_narrow_terminal(project: Checkout) -> None:
    argv = [sys.executable, "-m", "invoke", "doctor"]
    env = project.environment({"COLUMNS": None, "LINES": None, "NO_COLOR": None})
    with on_a_terminal(argv, project.root, env, columns=60, lines=200) as terminal:
        terminal.ended()
    lines = re.sub(rb"\x1b\[[0-9;]*m", b"", terminal.raw).decode().split("\r\n")
    assert "build" in lines
    # What is longer is one word: it would be broken at any width.
    assert [line for line in lines if len(line) > 60 and " " in line.strip()] == []
    assert b"\x1b[32mok\x1b[0m" in terminal.raw


DRY_RUN = """
import sys
from invoke.main import program

sys.argv = ["invoke", "docker-build", "--dry-run"]
program.run(exit=False)
assert "buildlib.build.checked_plan" in sys.modules
assert not {f"buildlib.{name}" for name in ("build.build_image", "executor", "tasks.release")} & {
    *sys.modules
}
"""


def test_a_dry_run_does_not_load_the_build(project: Checkout) -> None:
    done = run_process([sys.executable, "-c", DRY_RUN], project.root, project.environment({}))
    assert (done.returncode, "docker buildx build" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize("words", ["version", "docker-build"])
def test_what_draws_nothing_does_not_load_rich(project: Checkout, words: str) -> None:
    (project.root / "go").touch()
    env = project.environment({})
    done = run_process([sys.executable, "-c", RUN, words], project.root, env)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    if words == "docker-build":
        # A line for each step, and the whole command.
        assert "   12.5 s [compile 2/3] RUN go build" in done.stderr
        assert "          | compiling main\n" in done.stderr
        assert "prints the whole line" not in done.stderr
