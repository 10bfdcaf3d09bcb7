"""Runs a task in this process, as `python -m invoke` or `buildlib` would in one of its own.

That spares each test the start of an interpreter. What only a process shows needs one: signals,
pipes that break, terminals, settings of the interpreter itself, and two tasks at once.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Final

import invoke
import plumbum
from invoke.program import Program

from buildlib.__main__ import _Buildlib

ROOT: Final = Path(__file__).parent.parent
# The interpreter reads them when it starts.
_OF_A_PROCESS: Final = ("LANG", "LC_", "PYTHON")
# How long a thread of a task may take to end after it, in seconds.
_PATIENCE: Final = 20.0
_STREAMS: Final = (0, 1, 2)


def run_task(
    words: Sequence[str], root: Path, env: Mapping[str, str], *, program: str = "invoke"
) -> subprocess.CompletedProcess[str]:
    """Run a task to its end, and return what a process would have given; nothing else is left.

    Args:
        words: what comes after the program.
        root: the directory that it is run in.
        env: the whole environment.
        program: `invoke`, or `buildlib`.

    Raises:
        BaseException: what the task raised; a process would have printed the traceback.
    """
    _check_possible(env)
    argv = [program, *words]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            with _isolated(argv, root, env, out, err):
                code = _exit_code(argv)
        except BaseException as error:
            error.add_note(f"{argv} printed:\n{_text(out)}{_text(err)}")
            raise
        done = subprocess.CompletedProcess(argv, code, _text(out), _text(err))
    if code == 130 and done.stderr.endswith("error: interrupted\n"):
        # Nothing sends a signal to this process but whoever wants the tests to stop.
        raise KeyboardInterrupt
    return done


def _check_possible(env: Mapping[str, str]) -> None:
    assert threading.current_thread() is threading.main_thread(), "a thread needs a process"
    for name in os.environ.keys() | env.keys():
        if name.startswith(_OF_A_PROCESS) and name != "PYTHONPATH":
            assert os.environ.get(name) == env.get(name), f"{name} needs a process"


def _exit_code(argv: Sequence[str]) -> int:
    """Run the program, and return the code that its process would end with."""
    program: Program = _Buildlib(name="buildlib", binary="buildlib")
    if argv[0] == "invoke":
        # Not `invoke.main`, by which buildlib knows that it has the process to itself.
        names = ["invoke", "inv"]
        program = Program(
            name="Invoke", binary="inv[oke]", binary_names=names, version=invoke.__version__
        )
    try:
        # With `exit=False` it would swallow the error, and the code with it.
        program.run(list(argv))
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return (end.code or 0) & 0xFF
    return 0


def _text(file: IO[bytes]) -> str:
    """Return all of a file, as `subprocess` decodes what it reads."""
    file.seek(0)
    return io.TextIOWrapper(io.BytesIO(file.read()), errors="replace").read()


@contextmanager
def _isolated(
    argv: Sequence[str], root: Path, env: Mapping[str, str], out: IO[bytes], err: IO[bytes]
) -> Iterator[None]:
    """Give the block the surroundings of a new process, and this process its own afterwards."""
    with ExitStack() as stack:
        stack.enter_context(_streams(out, err))
        stack.enter_context(_modules())
        stack.enter_context(_interpreter(argv, root))
        stack.enter_context(_environment(env))
        stack.enter_context(_directory(root))
        stack.enter_context(_signals())
        stack.enter_context(_logging())
        stack.enter_context(_threads())
        yield


@contextmanager
def _streams(out: IO[bytes], err: IO[bytes]) -> Iterator[None]:
    """Take what this process prints, and what the processes that it starts print."""
    before = sys.stdin, sys.stdout, sys.stderr
    for stream in before[1:]:
        stream.flush()
    kept = [os.dup(number) for number in _STREAMS]
    null = os.open(os.devnull, os.O_RDONLY)
    for number, file in zip(_STREAMS, (null, out.fileno(), err.fileno()), strict=True):
        os.dup2(file, number)
    os.close(null)
    # As the interpreter opens them, and `buildlib.terminal.streams` leaves them.
    errors = "backslashreplace"
    try:
        with (
            open(0, errors="surrogateescape", closefd=False) as sys.stdin,
            open(1, "w", errors=errors, closefd=False) as sys.stdout,
            open(2, "w", buffering=1, errors=errors, closefd=False) as sys.stderr,
        ):
            yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
        for number, copy in zip(_STREAMS, kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)


@contextmanager
def _modules() -> Iterator[None]:
    """Forget a project's `tasks.py`, and what it imports from beside it."""
    before = set(sys.modules)
    try:
        yield
    finally:
        tasks = sys.modules.pop("tasks", None)
        folder = Path(tasks.__file__ or "").parent if tasks else ROOT
        for name in sys.modules.keys() - before:
            file = getattr(sys.modules[name], "__file__", None)
            # This repository's own tasks stand beside buildlib, which stays.
            if folder != ROOT and file and Path(file).is_relative_to(folder):
                del sys.modules[name]


@contextmanager
def _interpreter(argv: Sequence[str], root: Path) -> Iterator[None]:
    """Keep what Invoke, tasks and buildlib may change in the interpreter."""
    before = sys.argv, sys.path, sys.dont_write_bytecode, tempfile.tempdir
    hooks = sys.unraisablehook, sys.excepthook, threading.excepthook
    mask = os.umask(0o077)
    os.umask(mask)
    sys.argv, sys.path, tempfile.tempdir = list(argv), [str(root), *sys.path], None
    try:
        yield
    finally:
        sys.argv, sys.path, sys.dont_write_bytecode, tempfile.tempdir = before
        sys.unraisablehook, sys.excepthook, threading.excepthook = hooks
        os.umask(mask)


@contextmanager
def _environment(env: Mapping[str, str]) -> Iterator[None]:
    # plumbum's is a copy, made when it is imported.
    both: tuple[Any, Any] = (os.environ, plumbum.local.env)
    before = [dict(variables) for variables in both]
    for variables in both:
        _set(variables, env)
    try:
        yield
    finally:
        for variables, values in zip(both, before, strict=True):
            _set(variables, values)


def _set(variables: Any, values: Mapping[str, str]) -> None:
    variables.clear()
    variables.update(values)
    time.tzset()


@contextmanager
def _directory(root: Path) -> Iterator[None]:
    before = os.open(".", os.O_RDONLY)
    os.chdir(root)
    try:
        yield
    finally:
        os.fchdir(before)
        os.close(before)


@contextmanager
def _signals() -> Iterator[None]:
    numbers = [one for one in signal.valid_signals() if signal.getsignal(one) is not None]
    before = {one: signal.getsignal(one) for one in numbers}
    try:
        yield
    finally:
        for one, handler in before.items():
            if signal.getsignal(one) is not handler:
                signal.signal(one, handler)


@contextmanager
def _logging() -> Iterator[None]:
    """Keep the loggers that `--debug` sets up."""
    loggers = [logging.getLogger(), logging.getLogger("invoke")]
    before = [(one.level, list(one.handlers)) for one in loggers]
    try:
        yield
    finally:
        for one, (level, handlers) in zip(loggers, before, strict=True):
            one.setLevel(level)
            one.handlers[:] = handlers


@contextmanager
def _threads() -> Iterator[None]:
    """Wait for the threads that the task started; a process would end without them.

    The servers of a test start threads as well, meanwhile, on threads of their own.
    """
    start, family = threading.Thread.start, [threading.current_thread()]

    def started(thread: threading.Thread) -> None:
        if threading.current_thread() in family:
            family.append(thread)
        start(thread)

    threading.Thread.start = started  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]
        deadline = time.monotonic() + _PATIENCE
        for thread in family[1:]:
            thread.join(max(0, deadline - time.monotonic()))
        left = [thread.name for thread in family[1:] if thread.is_alive()]
        assert not left, f"{left} still run after the task"
