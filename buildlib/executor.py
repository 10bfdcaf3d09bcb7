"""The only place that starts processes.

Everything above hands over argv lists and an environment; no shell is ever involved.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import selectors
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BufferedReader
from pathlib import Path
from typing import Final, Protocol, TypeVar, cast

from buildlib import interrupts
from buildlib.background import Background
from buildlib.errors import CancelledError, InputError, TimedOutError, ToolError

T = TypeVar("T")

# How long an interrupted process may take to end by itself before it is killed, in seconds:
# buildx needs a moment to cancel the build inside the engine.
GRACE: Final = 10.0
# Seconds of silence after which it is seen whether a process has been cancelled.
_TICK: Final = 0.5
_CHUNK: Final = 65536
_LONGEST_LINE: Final = 1 << 20
_STARTING: Final = threading.Lock()
_BUILDX: Final = ("docker", "buildx")
# What makes or removes something in the engine: a client that dies in the middle of it leaves
# open whether it was done.
_MAKES: Final = {
    *("create", "image", "load", "network", "rm", "run", "start", "stop", "volume"),
}
# Runs a command until it ends, or until nobody holds the other end of standard input any more: the
# system closes it for a process that is killed, too.
_SERVING: Final = (
    'exec 3<&0; "$@" </dev/null 3<&- & server=$!; '
    '{ read -r _; kill "$server"; } <&3 2>/dev/null & exec 3<&-; wait "$server"'
)


@dataclass(frozen=True, kw_only=True)
class Completed:
    """How a process ended; output that was not captured is empty."""

    code: int
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What is done while a process says nothing.

    Args:
        every: seconds of silence before it, and before it is done again.
        ask: raises where waiting has no sense: that ends the process.
    """

    every: float
    ask: Callable[[], None]


NOTHING: Final[Mapping[str, str]] = {}
_inherited: set[int] = set()


@contextlib.contextmanager
def inherited(handle: int) -> Iterator[None]:
    """Let processes that start in the block have a file: a lock on it lasts until they end."""
    with _STARTING:
        _inherited.add(handle)
    try:
        yield
    finally:
        with _STARTING:
            _inherited.discard(handle)


class Runner(Protocol):
    """Starts processes whose output is read."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float | None = None,
        env: Mapping[str, str] = NOTHING,
    ) -> Completed:
        """Run to the end and capture both streams; a failure is a code, not an exception.

        Args:
            timeout: seconds; None: as long as it takes.
            env: variables of this process alone, for what must be in no command line.
        """


class Executor(Runner, Protocol):
    """Starts processes, or only says that it would."""

    def stream(
        self, argv: Sequence[str], on_line: Callable[[str], None], *, watch: Watch | None = None
    ) -> int:
        """Run to the end, hand over each line of both streams as it comes, return the code."""

    def feed(self, argv: Sequence[str], text: str, *, timeout: float | None = None) -> Completed:
        """Run to the end with `text` on its standard input, and capture both streams."""

    def attach(
        self,
        argv: Sequence[str],
        *,
        watch: Watch | None = None,
        env: Mapping[str, str] = NOTHING,
    ) -> int:
        """Run to the end on our own terminal, return the code; `env` as for `run`."""


class PlumbumExecutor:
    """The real one.

    Args:
        env: the environment of the processes; what it does not name is as in this process.
    """

    def __init__(self, env: Mapping[str, str], cwd: Path) -> None:
        from plumbum import local  # noqa: PLC0415 - slow to load, and a dry run starts nothing

        self._local = local
        self._env = dict(env)
        self._cwd = cwd
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False
        self._buildx = ""

    def close(self) -> None:
        """End what a thread still waits for; nothing that was started here outlives the task."""
        with interrupts.held():
            with _STARTING:
                self._closed = True
                running = tuple(self._running)
            for process in running:
                interrupts.end(process, GRACE)

    def setenv(self, name: str, value: str) -> None:
        """Set a variable for the processes that are started from now on."""
        self._env[name] = value

    def start_directly(self, buildx: str) -> None:
        """Start this program from now on where docker would look for it, ask it, and start it.

        benchmarks/README.md has what that takes. Where either is a script, as one that calls sudo,
        there is more to it than can be seen from here, and all stays as it is.
        """
        if self._has_binary and _is_binary(buildx):
            self._buildx = buildx

    @cached_property
    def _has_binary(self) -> bool:
        """Return whether docker is a program, and no script."""
        docker = shutil.which("docker", path=self._env.get("PATH"))
        return bool(docker) and _is_binary(docker or "")

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float | None = None,
        env: Mapping[str, str] = NOTHING,
    ) -> Completed:
        """Run to the end and capture both streams.

        Raises:
            ToolError: there is no such program (exit 3).
            TimedOutError: it took longer than `timeout` seconds (exit 4).
            CancelledError: the user interrupted (exit 130).
        """
        return self._captured(argv, subprocess.DEVNULL, timeout, env)

    def feed(self, argv: Sequence[str], text: str, *, timeout: float | None = None) -> Completed:
        """Run to the end with `text` on its standard input, and capture both streams.

        What must be in no command line goes this way.

        Raises:
            ToolError, TimedOutError, CancelledError: as `run`.
        """
        data = text.encode("utf-8", "surrogateescape")
        # `communicate` sends nothing more once it was waited for in vain: CPython up to 3.13.
        source, sink = os.pipe()

        def give() -> None:
            with contextlib.suppress(BrokenPipeError), os.fdopen(sink, "wb") as file:
                file.write(data)

        try:
            Background(give)
            return self._captured(argv, source, timeout)
        finally:
            os.close(source)

    def _captured(
        self,
        argv: Sequence[str],
        stdin: int,
        timeout: float | None,
        env: Mapping[str, str] = NOTHING,
    ) -> Completed:
        pipe = subprocess.PIPE
        with self._process(argv, stdin=stdin, stdout=pipe, stderr=pipe, env=env) as process:
            for turn in interrupts.turns(timeout):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    out, err = process.communicate(timeout=turn)
                    break
            else:
                raise TimedOutError(f"{argv[0]} did not answer within {timeout:g} s")
        said, complained = (text.decode(errors="replace") for text in (out, err))
        return Completed(code=process.returncode, stdout=said, stderr=complained)

    def stream(
        self, argv: Sequence[str], on_line: Callable[[str], None], *, watch: Watch | None = None
    ) -> int:
        """Run to the end and hand over each line as it comes; at most one line is in memory.

        Raises:
            ToolError, CancelledError: as `run`.
            Exception: whatever `watch` raises; the process has ended then.
        """
        with self._process(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            for line in _lines(cast("BufferedReader", process.stdout), watch):
                on_line(line)
            return _code(process, watch)

    def attach(
        self,
        argv: Sequence[str],
        *,
        watch: Watch | None = None,
        env: Mapping[str, str] = NOTHING,
    ) -> int:
        """Run to the end on our own terminal, where its output can't be read.

        Raises:
            ToolError, CancelledError, Exception: as `stream`.
        """
        with self._process(argv, stdin=None, stdout=None, stderr=None, env=env) as process:
            return _code(process, watch)

    @contextlib.contextmanager
    def serve(self, argv: Sequence[str], log: Path) -> Iterator[Callable[[], bool]]:
        """Run a server for the time of the block, and yield whether it still runs.

        Ctrl-C does not reach it: what uses it may still have to clean up. It ends with this
        process, however that ends.

        Args:
            log: file for both streams.

        Raises:
            ToolError, CancelledError: as `run`.
        """
        pipe, same = subprocess.PIPE, subprocess.STDOUT
        words = ("sh", "-c", _SERVING, "sh", *argv)
        with (
            log.open("wb") as file,
            self._process(
                words, stdin=pipe, stdout=file.fileno(), stderr=same, apart=True
            ) as process,
        ):
            try:
                yield lambda: process.poll() is None
            finally:
                with interrupts.held(), contextlib.suppress(subprocess.TimeoutExpired):
                    if process.stdin:
                        process.stdin.close()
                    process.wait(timeout=GRACE)

    @contextlib.contextmanager
    def _process(
        self,
        argv: Sequence[str],
        *,
        stdin: int | None,
        stdout: int | None,
        stderr: int | None,
        env: Mapping[str, str] = NOTHING,
        apart: bool = False,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Start the process, and see to it that it has ended whatever happens.

        A terminal sends Ctrl-C to its whole foreground group. What makes or removes something, and
        whatever cleans up, has a group of its own: it does its work to the end. Where docker is a
        script it may have to ask for a password, which only the foreground can.
        """
        captured = stdin is not None
        makes = captured and argv[0] == "docker" and not _MAKES.isdisjoint(argv[1:2])
        apart = apart or (captured and (interrupts.heard() or (makes and self._has_binary)))
        process: subprocess.Popen[bytes] | None = None
        try:
            with interrupts.starting():
                process = self._start(argv, (stdin, stdout, stderr), env, apart=apart)
            yield process
        except KeyboardInterrupt as error:
            if process is not None and makes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=GRACE)
            raise CancelledError("interrupted") from error
        finally:
            if process is not None:
                self._finish(process)

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        with interrupts.held():
            if process.poll() is None:
                interrupts.end(process, GRACE)
            self._running.discard(process)
            interrupts.CHILDREN.discard(process)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    pipe.close()

    def _start(
        self,
        argv: Sequence[str],
        streams: tuple[int | None, int | None, int | None],
        env: Mapping[str, str],
        *,
        apart: bool,
    ) -> subprocess.Popen[bytes]:
        if self._buildx and tuple(argv[:2]) == _BUILDX:
            # It takes the same words by itself: runStandalone in buildx's cmd/buildx/main.go.
            argv = (self._buildx, *argv[2:])
        whole = {**self._env, **env}
        program = shutil.which(argv[0], path=whole.get("PATH", os.defpath))
        if not program:
            hint = f"install {argv[0]}, and see that it is on PATH"
            docker = "install Docker (docs.docker.com/engine/install)"
            raise ToolError(f"{argv[0]} not found", hint=docker if argv[0] == "docker" else hint)
        command = self._local[program]
        stdin, stdout, stderr = streams
        with _STARTING:
            if self._closed:
                raise CancelledError("the task has ended")
            try:
                started = command[list(argv[1:])].popen(
                    cwd=str(self._cwd),
                    env=whole,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    process_group=0 if apart else None,
                    pass_fds=tuple(_inherited),
                )
            except OSError as error:
                # Of another machine, a script without its interpreter, or a line that is too long.
                raise ToolError(f"{argv[0]} can't be started", why=str(error)) from error
            except ValueError as error:
                # What no process can be given: a character of value 0.
                raise InputError(f"{argv[0]} can't be given that", why=str(error)) from error
            # plumbum's wrapper passes everything on to it.
            process = cast("subprocess.Popen[bytes]", started)
            self._running.add(process)
            interrupts.CHILDREN.add(process)
            return process


class Cancellable:
    """Starts processes until it is cancelled, and ends those then whose output it passes on.

    Args:
        why: what the error of those says that can't be started, or are ended.
    """

    def __init__(self, executor: Executor, why: str) -> None:
        # It goes on for what cleans up.
        self.always, self._why = executor, why
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Let nothing new start."""
        self._cancelled.set()

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float | None = None,
        env: Mapping[str, str] = NOTHING,
    ) -> Completed:
        """Run to the end and capture both streams; raises CancelledError (exit 130)."""
        self._check()
        return self.always.run(argv, timeout=timeout, env=env)

    def feed(self, argv: Sequence[str], text: str, *, timeout: float | None = None) -> Completed:
        """Run to the end with something to read; raises as `run`."""
        self._check()
        return self.always.feed(argv, text, timeout=timeout)

    def stream(
        self, argv: Sequence[str], on_line: Callable[[str], None], *, watch: Watch | None = None
    ) -> int:
        """Run to the end, or until it is cancelled, and hand over each line; raises as `run`."""
        self._check()
        looking = _Looking(self._check, watch)

        def take(line: str) -> None:
            looking.heard()
            on_line(line)

        return self.always.stream(argv, take, watch=looking.both)

    def attach(
        self,
        argv: Sequence[str],
        *,
        watch: Watch | None = None,
        env: Mapping[str, str] = NOTHING,
    ) -> int:
        """Run to the end, or until it is cancelled, on our own terminal; raises as `run`."""
        self._check()
        return self.always.attach(argv, watch=_Looking(self._check, watch).both, env=env)

    def pause(self, seconds: float) -> None:
        """Wait so long, or until it is cancelled; raises as `run`."""
        any(map(self._cancelled.wait, interrupts.turns(seconds)))
        self._check()

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise CancelledError(self._why)


def pause(executor: Executor, seconds: float) -> None:
    """Wait so long, or until the executor is cancelled; raises CancelledError then (exit 130)."""
    if isinstance(executor, Cancellable):
        executor.pause(seconds)
    else:
        interrupts.sleep(seconds)


class _Looking:
    """Asks what a watch asks, as often as it should, and something else more often."""

    def __init__(self, check: Callable[[], None], watch: Watch | None) -> None:
        self._check, self._watch = check, watch
        self._last = time.monotonic()
        self.both = Watch(every=_TICK, ask=self._silent)

    def heard(self) -> None:
        self._check()
        self._last = time.monotonic()

    def _silent(self) -> None:
        self._check()
        if self._watch and time.monotonic() - self._last >= self._watch.every:
            self._watch.ask()
            self._last = time.monotonic()


def _is_binary(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return file.read(2) not in {b"", b"#!"}
    except OSError:
        return False


def _wait(ready: Callable[[float], T], watch: Watch | None) -> T:
    """Wait until something is ready, and return it; ask what the watch asks meanwhile."""
    while True:
        for turn in interrupts.turns(watch.every if watch else None):
            if found := ready(turn):
                return found
        if watch:
            watch.ask()


def _code(process: subprocess.Popen[bytes], watch: Watch | None = None) -> int:
    def ended(seconds: float) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
        return process.returncode is not None

    _wait(ended, watch)
    return int(process.returncode)


def _chunks(stream: BufferedReader, watch: Watch | None) -> Iterator[bytes]:
    """Yield what comes, as it comes: never does `read1` keep anything back in its buffer."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            _wait(selector.select, watch)
            chunk = stream.read1(_CHUNK)
            if not chunk:
                return
            yield chunk


def _lines(stream: BufferedReader, watch: Watch | None) -> Iterator[str]:
    """Yield lines without their ends; one that never ends is cut into pieces."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    pending = ""
    for chunk in _chunks(stream, watch):
        pending += decoder.decode(chunk)
        *whole, pending = pending.split("\n")
        yield from (line.rstrip("\r") for line in whole)
        if len(pending) > _LONGEST_LINE:
            yield pending
            pending = ""
    if pending:
        yield pending
