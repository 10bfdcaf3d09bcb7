"""Interrupts of real processes: while they load, while they clean up, and what they started."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import ROOT, start_task

# What is waited for is a file: it says that a task has come to a certain place.
TASKS = """
import os, signal, sys, time
from pathlib import Path

def reached(name):
    Path(name).write_text(str(os.getpid()))

def until(name):
    while not Path(name).exists():
        time.sleep(0.01)

LOADING = os.environ.get("LOADING")

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == LOADING:
            reached("loading")
            until("never")

sys.meta_path.insert(0, Slow())
from invoke import Collection, task
from buildlib import interrupts, tempfiles
from buildlib.tasks.collection import TASKS
from buildlib.tasks.session import edge

interrupts.PATIENCE = float(os.environ.get("PATIENCE", interrupts.PATIENCE))

@task
def work(context):
    with edge(context) as run:
        with interrupts.leaving("the thing", "rm thing removes it"):
            try:
                reached("working")
                until("never")
            finally:
                reached("cleaning")
                until("go")
                reached("cleaned")

@task
def child(context):
    with edge(context) as run:
        try:
            reached("working")
            until("never")
        finally:
            script = "echo $$ > cleaning; until [ -e go ]; do sleep 0.05; done; echo > cleaned"
            run.executor.run(("sh", "-c", script))

@task
def executes(context):
    with edge(context) as run:
        # What is loaded later may execute text as well, which would hide it.
        run.console, run.executor, tempfiles.remove_left()
        exec("os.kill(os.getpid(), signal.SIGINT)\\nuntil('never')")

@task
def makes(context):
    with edge(context) as run:
        run.executor.run(("docker", "run", "thing"))

namespace = Collection(work, child, executes, makes)
# A task is loaded once it is named.
TASKS["docker-scan"]
"""


@dataclass
class Place:
    """Where tasks are started.

    Args:
        root: of them.
        started: the processes.
    """

    root: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *words: str, **env: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "invoke", *words]
        # Not measured: while it begins, coverage swallows what interrupts its own import.
        merged = {**os.environ, "PYTHONPATH": str(ROOT), **env}
        merged.pop("COVERAGE_PROCESS_CONFIG", None)
        self.started.append(start_task(argv, self.root, merged))
        return self.started[-1]

    def reached(self, name: str) -> int:
        """Wait until a task has come to a place; return the number that it wrote there."""
        deadline = time.monotonic() + 60
        while not (self.root / name).exists() or not (self.root / name).read_text("utf-8"):
            assert self.started[-1].poll() is None, self.started[-1].communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return int((self.root / name).read_text(encoding="utf-8").split()[0])

    def ended(self) -> tuple[int, str]:
        """Return the code of the task, and what it printed."""
        out, _ = self.started[-1].communicate(timeout=60)
        return self.started[-1].returncode, out


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "tasks.py").write_text(TASKS, encoding="utf-8")
    made = Place(tmp_path)
    yield made
    for process in made.started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


Send = Callable[[subprocess.Popen[str], int], None]


def _to_group(process: subprocess.Popen[str], number: int) -> None:
    os.killpg(process.pid, number)


def _to_process(process: subprocess.Popen[str], number: int) -> None:
    process.send_signal(number)


WHOM = pytest.mark.parametrize("send", [_to_group, _to_process], ids=["the group", "one process"])


@WHOM
@pytest.mark.parametrize("task", ["work", "child"], ids=["ours", "a process that we started"])
def test_a_second_interrupt_does_not_end_the_clean_up(place: Place, task: str, send: Send) -> None:
    process = place.start(task)
    place.reached("working")
    send(process, signal.SIGINT)
    place.reached("cleaning")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        send(process, number)
    (place.root / "go").touch()
    assert place.ended() == (130, "error: interrupted\n")
    assert (place.root / "cleaned").exists()


def test_a_clean_up_that_takes_too_long_is_left_with_a_word_about_it(place: Place) -> None:
    process = place.start("work", PATIENCE="0")
    place.reached("working")
    process.send_signal(signal.SIGINT)
    place.reached("cleaning")
    process.send_signal(signal.SIGINT)
    assert place.ended() == (
        130,
        "error: interrupted; the thing may be left: rm thing removes it\n",
    )


def test_what_was_started_to_clean_up_ends_with_a_clean_up_that_is_left(place: Place) -> None:
    process = place.start("child", PATIENCE="0")
    place.reached("working")
    process.send_signal(signal.SIGINT)
    started = place.reached("cleaning")
    process.send_signal(signal.SIGINT)
    assert place.ended() == (130, "error: interrupted\n")
    _has_gone(started)


def _has_gone(number: int) -> None:
    deadline = time.monotonic() + 30
    # One that has ended, and that nobody has waited for, has no words.
    with suppress(FileNotFoundError, ProcessLookupError):
        while Path(f"/proc/{number}/cmdline").read_bytes():
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize(
    ("module", "number"),
    [
        ("buildlib.tasks.collection", signal.SIGINT),
        ("buildlib.background", signal.SIGTERM),
        ("buildlib.tasks.session", signal.SIGHUP),
        ("buildlib.tasks.check", signal.SIGINT),
    ],
)
def test_while_our_modules_load_an_interrupt_is_a_line_and_a_code(
    place: Place, module: str, number: signal.Signals
) -> None:
    process = place.start("--list", LOADING=module)
    place.reached("loading")
    os.killpg(process.pid, number)
    assert place.ended() == (130, "error: interrupted\n")


def test_an_interrupt_in_executed_text_does_not_change_the_exit_code(place: Place) -> None:
    place.start("executes")
    assert place.ended() == (130, "error: interrupted\n")


def _ignores(process: subprocess.Popen[str], number: int) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_who_ignores_a_signal_goes_on_ignoring_it(place: Place) -> None:
    argv = ["sh", "-c", f"trap '' HUP; exec {sys.executable} -m invoke work"]
    process = start_task(argv, place.root, {**os.environ, "PYTHONPATH": str(ROOT)})
    place.started.append(process)
    place.reached("working")
    assert _ignores(process, signal.SIGHUP)
    assert not _ignores(process, signal.SIGTERM)
    (place.root / "go").touch()
    process.send_signal(signal.SIGTERM)
    assert place.ended() == (130, "error: interrupted\n")


@WHOM
def test_what_makes_a_container_is_let_finish(place: Place, send: Send) -> None:
    # A shell, which runs the file that is called like docker's command.
    docker = place.root / "bin" / "docker"
    docker.parent.mkdir()
    shutil.copy(Path("/bin/sh").resolve(), docker)
    (place.root / "run").write_text(
        "echo $$ > making\nuntil [ -e go ]; do sleep 0.05; done\necho 1 > made\n", "utf-8"
    )
    process = place.start("makes", PATH=f"{docker.parent}:{os.environ['PATH']}")
    place.reached("making")
    send(process, signal.SIGINT)
    send(process, signal.SIGINT)
    (place.root / "go").touch()
    assert place.ended() == (130, "error: interrupted\n")
    assert (place.root / "made").exists()


def test_git_ends_with_the_task(place: Place) -> None:
    git = place.root / "bin" / "git"
    git.parent.mkdir()
    # GitPython itself asks for the version, when it is imported.
    script = '#!/bin/sh\n[ "$1" = version ] && exit\necho $$ >> asking\nexec sleep 600\n'
    git.write_text(script, encoding="utf-8")
    git.chmod(0o755)
    (place.root / "buildlib.toml").write_text('image = "thing"\n', encoding="utf-8")
    (place.root / "tasks.py").write_text(
        "from buildlib.tasks import collection\nnamespace = collection()\n", encoding="utf-8"
    )
    process = place.start("version", PATH=f"{git.parent}:{os.environ['PATH']}")
    started = place.reached("asking")
    process.send_signal(signal.SIGTERM)
    assert place.ended() == (130, "error: interrupted\n")
    _has_gone(started)


PLAIN = """
import signal
before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
from invoke.context import Context
from buildlib.tasks.session import edge
with edge(Context()):
    assert signal.getsignal(signal.SIGTERM) != before[1]
assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
"""


def test_a_program_of_somebody_else_s_keeps_its_handlers(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", PLAIN], cwd=tmp_path, env=env, check=True, timeout=60)
