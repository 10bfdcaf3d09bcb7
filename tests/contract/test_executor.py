"""The real executor with real processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from functools import partial
from pathlib import Path

import pytest
from conftest import ROOT

from buildlib import executor as module
from buildlib.errors import CancelledError, EngineError, ToolError
from buildlib.executor import Cancellable, PlumbumExecutor, Watch


@pytest.fixture
def executor(tmp_path: Path) -> PlumbumExecutor:
    return PlumbumExecutor({"PATH": os.environ["PATH"], "GREETING": "hello"}, tmp_path)


def test_output_and_code_are_captured(executor: PlumbumExecutor) -> None:
    done = executor.run(("sh", "-c", 'printf "%s" "$GREETING"; echo oops >&2; exit 3'))
    assert (done.code, done.stdout, done.stderr) == (3, "hello", "oops\n")


def test_the_environment_is_exactly_the_one_given(
    executor: PlumbumExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAK", "1")
    assert "LEAK" not in executor.run(("env",)).stdout


def test_a_variable_may_be_given_to_one_process_alone(executor: PlumbumExecutor) -> None:
    script = ("sh", "-c", 'printf "%s" "$GREETING"')
    value = "several\nlines"
    assert executor.run(script, env={"GREETING": value}).stdout == value
    assert executor.attach(("sh", "-c", 'test "$X" = y'), env={"X": "y"}) == 0
    assert executor.run(script).stdout == "hello"


def test_words_arrive_unchanged(executor: PlumbumExecutor) -> None:
    words = ["", "a b", "a,b", "$HOME `x`", "quo'te\"", "new\nline", "ünï", "-x", "*"]
    script = "import sys; print(ascii(sys.argv[1:]))"
    done = executor.run((sys.executable, "-c", script, *words))
    assert done.stdout.strip() == ascii(words)


def _program(path: Path, *, script: bool) -> str:
    """Make a program that prints its words; a script says so before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if script:
        path.write_text(f'#!/bin/sh\necho {path.name} "$@"\n', encoding="utf-8")
    else:
        shutil.copy("/bin/echo", path)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("docker", "buildx", "printed"),
    [
        pytest.param(False, False, "build --load .", id="buildx itself"),
        pytest.param(True, False, "docker buildx build --load .", id="docker is a script"),
        pytest.param(False, True, "buildx build --load .", id="buildx is a script"),
        pytest.param(False, None, "buildx build --load .", id="buildx is not known"),
    ],
)
def test_buildx_is_started_without_docker_where_nothing_stands_between(
    tmp_path: Path, printed: str, *, docker: bool, buildx: bool | None
) -> None:
    _program(tmp_path / "bin" / "docker", script=docker)
    path = "" if buildx is None else _program(tmp_path / "docker-buildx", script=buildx)
    executor = PlumbumExecutor({"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}, tmp_path)
    executor.start_directly(path)
    argv = ("docker", "buildx", "build", "--load", ".")
    assert executor.run(argv).stdout == f"{printed}\n"
    assert executor.run(("docker", "info")).stdout == f"{'docker ' if docker else ''}info\n"


@pytest.mark.parametrize("path", ["/nonexistent", "empty", "."])
def test_what_can_not_be_buildx_is_not_started(tmp_path: Path, path: str) -> None:
    _program(tmp_path / "docker", script=False)
    (tmp_path / "empty").touch()
    executor = PlumbumExecutor({"PATH": f"{tmp_path}"}, tmp_path)
    executor.start_directly(str(tmp_path / path))
    assert executor.run(("docker", "buildx", "version")).stdout == "buildx version\n"


def test_it_starts_in_the_directory_given(executor: PlumbumExecutor, tmp_path: Path) -> None:
    assert executor.run(("pwd",)).stdout.strip() == str(tmp_path)


def test_a_program_that_is_not_there_is_told_with_a_hint(executor: PlumbumExecutor) -> None:
    with pytest.raises(ToolError, match="no-such-program not found"):
        executor.run(("no-such-program",))
    with pytest.raises(ToolError, match="docker not found") as caught:
        PlumbumExecutor({"PATH": "/nonexistent"}, Path("/")).run(("docker", "info"))
    assert "docs.docker.com" in caught.value.hint


def test_output_that_is_not_utf8_is_shown(executor: PlumbumExecutor) -> None:
    assert executor.run(("printf", r"a\377b")).stdout == "a\ufffdb"
    lines: list[str] = []
    assert executor.stream(("printf", r"a\377b\r\nlast"), lines.append) == 0
    assert lines == ["a\ufffdb", "last"]


@pytest.mark.unmeasured
def test_many_lines_stay_in_bounded_memory(executor: PlumbumExecutor) -> None:
    count = 0

    def see(_: str) -> None:
        nonlocal count
        count += 1

    tracemalloc.start()
    executor.stream(("sh", "-c", "yes a line that is not short | head -n 100000"), see)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 100_000
    assert peak < 1_000_000


def test_a_line_without_end_stays_in_bounded_memory(executor: PlumbumExecutor) -> None:
    pieces: list[int] = []
    executor.stream(("head", "-c", "5000000", "/dev/zero"), lambda line: pieces.append(len(line)))
    assert sum(pieces) == 5_000_000
    assert max(pieces) < 2_000_000


def test_both_streams_come_line_by_line_while_it_runs(executor: PlumbumExecutor) -> None:
    seen: list[tuple[str, float]] = []
    script = "echo one >&2; sleep 1; echo two"
    executor.stream(("sh", "-c", script), lambda line: seen.append((line, time.monotonic())))
    assert [line for line, _ in seen] == ["one", "two"]
    assert seen[1][1] - seen[0][1] > 0.5


@pytest.mark.parametrize("attached", [False, True], ids=["its lines are read", "on our terminal"])
def test_silence_is_looked_after_and_may_end_the_process(
    executor: PlumbumExecutor, tmp_path: Path, *, attached: bool
) -> None:
    pid = tmp_path / "pid"
    asked = 0

    def ask() -> None:
        nonlocal asked
        asked += 1
        if asked >= 3 and pid.exists() and pid.read_text(encoding="utf-8"):
            raise EngineError("nobody is there")

    argv = ("sh", "-c", "echo $$ > pid; exec sleep 60")
    watch = Watch(every=0.1, ask=ask)
    run = executor.attach if attached else partial(executor.stream, on_line=print)
    with pytest.raises(EngineError, match="nobody is there"):
        run(argv, watch=watch)
    assert _gone(int(pid.read_text(encoding="utf-8")))


def test_whoever_speaks_in_time_is_not_asked_about(executor: PlumbumExecutor) -> None:
    lines: list[str] = []

    def ask() -> None:
        raise AssertionError

    watch = Watch(every=30, ask=ask)
    assert executor.stream(("sh", "-c", "echo a; echo b; exit 3"), lines.append, watch=watch) == 3
    assert lines == ["a", "b"]
    assert executor.attach(("sh", "-c", "exit 4"), watch=watch) == 4


def test_lines_that_come_after_a_silence_arrive(executor: PlumbumExecutor) -> None:
    lines: list[str] = []
    asked: list[int] = []
    watch = Watch(every=0.1, ask=lambda: asked.append(len(lines)))
    executor.stream(("sh", "-c", "echo a; sleep 1; echo b; echo c"), lines.append, watch=watch)
    assert lines == ["a", "b", "c"]
    assert 1 in asked


def test_what_is_fed_arrives_and_is_in_no_command_line(executor: PlumbumExecutor) -> None:
    done = executor.feed((sys.executable, "-c", "print(input()[::-1])"), "drow\n", timeout=30)
    assert (done.code, done.stdout) == (0, "word\n")


def test_what_is_fed_may_have_any_bytes(executor: PlumbumExecutor) -> None:
    count = (sys.executable, "-c", "import sys; print(sys.stdin.buffer.read())")
    assert executor.feed(count, "p\udce4ss", timeout=30).stdout == "b'p\\xe4ss'\n"


def test_a_process_that_reads_nothing_is_fed_all_the_same(executor: PlumbumExecutor) -> None:
    assert executor.feed(("true",), "x" * 1_000_000, timeout=30).code == 0


def test_attach_gives_the_code(executor: PlumbumExecutor) -> None:
    assert executor.attach(("sh", "-c", "exit 5")) == 5


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_process_that_takes_too_long_is_ended(executor: PlumbumExecutor, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"did not answer within 0\.3 s"):
        executor.run(("sh", "-c", "echo $$ > pid; exec sleep 60"), timeout=0.3)
    assert _gone(int((tmp_path / "pid").read_text(encoding="utf-8")))


@pytest.mark.parametrize("stubborn", [False, True], ids=["it ends", "it has to be killed"])
def test_an_interrupt_ends_the_process(
    executor: PlumbumExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, stubborn: bool
) -> None:
    monkeypatch.setattr(module, "GRACE", 0.5)
    trap = "trap '' TERM INT; " if stubborn else ""
    script = f"{trap}echo $$ > pid; echo ready; while :; do sleep 0.1; done"

    def interrupt(_: str) -> None:
        timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()

    with pytest.raises(CancelledError, match="interrupted"):
        executor.stream(("sh", "-c", script), interrupt)
    assert _gone(int((tmp_path / "pid").read_text(encoding="utf-8")))


def test_closing_ends_what_a_thread_still_waits_for(
    executor: PlumbumExecutor, tmp_path: Path
) -> None:
    def wait() -> None:
        executor.run(("sh", "-c", "echo $$ > pid; exec sleep 60"))

    thread = threading.Thread(target=wait)
    thread.start()
    deadline = time.monotonic() + 10
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text(encoding="utf-8"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    executor.close()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert _gone(int((tmp_path / "pid").read_text(encoding="utf-8")))
    executor.close()
    with pytest.raises(CancelledError, match="the task has ended"):
        executor.run(("true",))


def test_a_listener_that_fails_ends_the_process_too(
    executor: PlumbumExecutor, tmp_path: Path
) -> None:
    def fail(_: str) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        executor.stream(("sh", "-c", "echo $$ > pid; echo x; exec sleep 60"), fail)
    assert _gone(int((tmp_path / "pid").read_text(encoding="utf-8")))


@pytest.mark.parametrize("closes", ["", "exec >&- 2>&-; "], ids=["silent", "without output"])
def test_once_cancelled_what_runs_is_ended_and_nothing_starts(
    executor: PlumbumExecutor, tmp_path: Path, closes: str
) -> None:
    cancellable = Cancellable(executor, "another one failed")
    silent = ("sh", "-c", f"echo $$ > pid; echo x; {closes}exec sleep 60")
    with pytest.raises(CancelledError, match="another one failed"):
        cancellable.stream(silent, lambda _: cancellable.cancel())
    assert _gone(int((tmp_path / "pid").read_text(encoding="utf-8")))
    touch = ("touch", str(tmp_path / "started"))
    for start in (
        lambda: cancellable.run(touch),
        lambda: cancellable.feed(touch, ""),
        lambda: cancellable.stream(touch, print),
        lambda: cancellable.attach(touch),
    ):
        with pytest.raises(CancelledError, match="another one failed"):
            start()
    assert not (tmp_path / "started").exists()


TOGETHER = """
import sys
from pathlib import Path
from threading import Barrier, Thread
from buildlib.executor import PlumbumExecutor

start, codes = Barrier(8), []

def ask():
    executor = PlumbumExecutor({"PATH": sys.argv[1]}, Path("/"))
    start.wait()
    codes.append(executor.run(("true",)).code)

threads = [Thread(target=ask) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit(codes != [0] * 8)
"""


def test_several_may_ask_at_once_before_anybody_has_asked() -> None:
    # What starts processes is imported by whoever is the first, and is no package meanwhile.
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", TOGETHER, os.environ["PATH"]],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
