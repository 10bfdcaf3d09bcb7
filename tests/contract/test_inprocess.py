"""Tasks that tests run in their own process end as in one of their own, and leave nothing of it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import inprocess
import plumbum
import pytest
from conftest import ROOT, Checkout
from gitscript import commit_all

from buildlib import interrupts

pytestmark = pytest.mark.unmeasured

Make = Callable[..., Checkout]
TASKS = """\
import beside
import logging, os, signal, subprocess, sys, tempfile, threading, time
from pathlib import Path
from invoke import Exit, task
from buildlib import errors
from buildlib.tasks import collection
from buildlib.tasks.session import edge

namespace = collection(Path(__file__).parent)


@task
def fails(context, name):
    with edge(context):
        raise getattr(errors, name)("it failed", why="on purpose", hint="try again")


@task
def ends(context, how):
    sys.exit({"text": "a text", "large": 300}[how])


@task
def breaks(context):
    print("before", flush=True)
    with edge(context):
        1 / 0


@task
def prints(context):
    print("one")
    sys.stdout.flush()
    subprocess.run(["sh", "-c", "echo two; echo three >&2; exit 9"])
    print(repr(sys.stdin.read()), sys.stdout.isatty(), os.getcwd(), sys.argv[1:])
    print("c\\udcff", os.getcwd() in sys.path, beside.NAME)
    print(tempfile.gettempdir(), time.strftime("%z"))
    print("a\\r\\nb\\udcff", file=sys.stderr)


@task
def interrupted(context):
    with edge(context):
        os.kill(os.getpid(), signal.SIGINT)


@task
def begins(context):
    threading.Thread(target=threading.Event().wait, args=[0.5]).start()


@task
def messes(context):
    os.environ["LEFT"] = "1"
    os.chdir("/")
    os.umask(0o777)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.path.append("/left")
    sys.argv.append("left")
    sys.excepthook = sys.unraisablehook = threading.excepthook = print
    tempfile.tempdir = "/left"
    logging.getLogger().setLevel(1)
    logging.getLogger().addHandler(logging.NullHandler())
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), 1)
    threading.Thread(target=threading.Event().wait, args=[0.1]).start()


for one in (fails, ends, breaks, prints, interrupted, begins, messes):
    namespace.add_task(one)
"""


@pytest.fixture
def checkout(make_checkout: Make) -> Checkout:
    made = make_checkout("FROM scratch AS final\n")
    _with_tasks(made.root)
    commit_all(made.root, "v1.2.3")
    return made


def _with_tasks(root: Path) -> None:
    (root / "tasks.py").write_text(TASKS, encoding="utf-8")
    (root / "beside.py").write_text(f"NAME = {str(root)!r}\n", encoding="utf-8")


def _state() -> dict[str, Any]:
    """Return what belongs to the process, and no task may change for the next."""
    mask = os.umask(0)
    os.umask(mask)
    root = logging.getLogger()
    return {
        "environment": dict(os.environ),
        "directory": Path.cwd(),
        "umask": mask,
        "signals": {one: signal.getsignal(one) for one in signal.valid_signals()},
        "path": list(sys.path),
        "modules": set(sys.modules),
        "argv": list(sys.argv),
        "byte code": sys.dont_write_bytecode,
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook),
        "temporary": tempfile.tempdir,
        "time": time.strftime("%z"),
        "logging": (root.level, list(root.handlers)),
        "descriptors": Counter(os.fstat(one)[:3] for one in _descriptors()),
        "threads": Counter(threading.enumerate()),
        "plumbum": dict(plumbum.local.env),
        "children": set(interrupts.CHILDREN),
    }


def _descriptors() -> list[int]:
    found = sorted(int(one.name) for one in Path("/dev/fd").iterdir())
    # Without the one that the listing itself needed.
    return [one for one in found if Path("/dev/fd", str(one)).exists()]


def test_tasks_leave_the_process_as_it_was(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables: Any = plumbum.local.env
    monkeypatch.setitem(variables, "SOMEBODYS", "1")
    # What is imported stays, but for what is the project's own.
    for words in ("--list", "version", "docker-build --platform x", "doctor"):
        checkout.invoke(*words.split())
    before = _state()
    assert before["modules"].isdisjoint({"tasks", "beside"})
    assert before["plumbum"]["SOMEBODYS"] == "1"
    elsewhere = Checkout(tmp_path / "elsewhere", "x")
    elsewhere.root.mkdir()
    (elsewhere.root / "buildlib.toml").write_text('image = "x"\n', encoding="utf-8")
    _with_tasks(elsewhere.root)
    for one, line, code, env in (
        (checkout, "version", 0, {"VERSION": "7.0.0"}),
        (elsewhere, "version", 0, {"TMPDIR": str(tmp_path), "TZ": "Asia/Tokyo"}),
        (checkout, "docker-build", 3, {"PATH": str(tmp_path)}),
        (elsewhere, "docker-build --platform x", 2, {"HOME": str(tmp_path)}),
        (checkout, "--debug fails GateError", 7, {}),
        (checkout, "messes", 0, {}),
        (Checkout(ROOT, "x"), "--list", 0, {}),
        (elsewhere, "no-such-task", 1, {}),
    ):
        done = one.invoke(*line.split(), **env)
        assert done.returncode == code, done.stderr
        after = _state()
        # What earlier tests started may end meanwhile.
        ended = {name for name in ("descriptors", "threads") if after[name] <= before[name]}
        changed = {name for name in before if before[name] != after[name]}
        assert changed - ended == set(), line
    assert checkout.invoke("version").stdout == "1.2.3\n"
    assert elsewhere.invoke("version").stdout == "0.0.1-SNAPSHOT-none\n"


LINES = (
    "version --json",
    "--list",
    "--help docker-build",
    "docker-build --dry-run --platform x",
    "no-such-task",
    "fails CancelledError",
    "ends text",
    "ends large",
    "prints",
)


@pytest.mark.parametrize("line", LINES)
def test_a_task_ends_and_prints_as_in_a_process_of_its_own(checkout: Checkout, line: str) -> None:
    # Coverage has seen it all in this process.
    here = checkout.invoke(*line.split())
    there = checkout.invoke_process(*line.split())
    assert (here.returncode, here.stdout) == (there.returncode, there.stdout)
    assert here.stderr == there.stderr


def test_a_task_sees_what_it_would_in_a_process_of_its_own(
    checkout: Checkout, tmp_path: Path
) -> None:
    below = Checkout(checkout.root / "below", "x")
    below.root.mkdir()
    for one, env in ((checkout, {"TMPDIR": str(tmp_path)}), (below, {"TZ": "Asia/Tokyo"})):
        here, there = one.invoke("prints", **env), one.invoke_process("prints", **env)
        assert (here.stdout, here.stderr) == (there.stdout, there.stderr)


def test_the_codes_are_those_of_the_errors(checkout: Checkout) -> None:
    names = ("Input", "Tool", "Engine", "Authorisation", "Transient", "Gate", "Verification")
    codes = [checkout.invoke("fails", f"{name}Error").returncode for name in names]
    assert codes == [2, 3, 4, 5, 6, 7, 8]


def test_an_exception_that_escapes_fails_the_test(checkout: Checkout) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        checkout.invoke("breaks")
    assert "before\n" in "".join(caught.value.__notes__)
    assert checkout.invoke_process("breaks").returncode == 1


def test_an_interrupt_stops_the_tests(checkout: Checkout) -> None:
    with pytest.raises(KeyboardInterrupt):
        checkout.invoke("interrupted")
    assert checkout.invoke_process("interrupted").returncode == 130


def test_a_thread_that_outlives_its_task_fails_the_test(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inprocess, "_PATIENCE", 0.01)
    with pytest.raises(AssertionError, match="still run after the task"):
        checkout.invoke("begins")


def test_what_only_a_process_can_show_is_refused(checkout: Checkout) -> None:
    with pytest.raises(AssertionError, match="LC_ALL needs a process"):
        checkout.invoke("version", LC_ALL="de_DE.UTF-8")
    raised: list[BaseException] = []

    def call() -> None:
        try:
            checkout.invoke("version")
        except AssertionError as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert "a thread needs a process" in str(raised)
