"""How many builds of this user a node gets at the same time: the others wait.

A build holds one of the node's places by a lock on a file, which the system releases when the last
process with that file has ended: that is buildx, where the task itself is killed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from buildlib.config.builders import BuilderSettings, NodeSettings
from buildlib.errors import InputError
from buildlib.executor import inherited
from buildlib.records.store import state_directory
from buildlib.terminal.console import Console

# Seconds between two looks at the places, and until the wait is reported again.
_POLL: Final = 0.5
_AGAIN: Final = 60.0


@contextmanager
def leased(
    builder: BuilderSettings | None,
    nodes: Sequence[NodeSettings],
    what: str,
    env: Mapping[str, str],
    console: Console,
    pause: Callable[[float], None],
) -> Iterator[None]:
    """Hold a place on each node with `max-builds` for the time of the block.

    Args:
        builder: whose nodes they are.
        nodes: that build.
        what: is built, for those that wait.
        env: for HOME and XDG_STATE_HOME.
        console: says what is waited for.
        pause: waits so many seconds.

    Raises:
        InputError: the places can't be kept in the state directory (exit 2).
    """
    with ExitStack() as held:
        if builder:
            limited = {_place(builder, node, env): node for node in nodes if node.max_builds}
            # In one order for all, so that no two builds wait for each other.
            for place, node in sorted(limited.items(), key=lambda one: one[0]):
                held.enter_context(_leased(place, node, what, console, pause))
        yield


def _place(builder: BuilderSettings, node: NodeSettings, env: Mapping[str, str]) -> Path:
    """Return the path that the node's files begin with; projects may call it differently."""
    own = () if "://" in node.endpoint and builder.driver == "remote" else (node.name,)
    words = " ".join((builder.driver, node.endpoint, *own))
    folder = state_directory(env) or Path(tempfile.gettempdir(), f"buildlib-{os.getuid()}")
    return folder / "buildlib/nodes" / hashlib.sha256(words.encode()).hexdigest()[:16]


@contextmanager
def _leased(
    place: Path,
    node: NodeSettings,
    what: str,
    console: Console,
    pause: Callable[[float], None],
) -> Iterator[None]:
    files = [place.with_name(f"{place.name}.{number}") for number in range(node.max_builds)]
    began = said = time.monotonic()
    waits = False
    while (handle := _free(files)) is None:
        now = time.monotonic()
        if not waits or now - said >= _AGAIN:
            console.note(f"node {node.name}: {_for_whom(files)}; waited {now - began:.0f} s so far")
            waits, said = True, now
        pause(_POLL)
    try:
        if waits:
            console.note(f"node {node.name} is free after {time.monotonic() - began:.0f} s")
        _write(handle, f"{time.time():.0f} {what}")
        with inherited(handle):
            yield
    finally:
        # Processes that still have the file would keep the lock.
        fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _free(files: Sequence[Path]) -> int | None:
    """Return a descriptor of the first file that nobody else locks, with the lock; or None."""
    for path in files:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise _no_file(path, error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
        except OSError as error:
            os.close(handle)
            raise _no_file(path, error) from error
        except BaseException:
            os.close(handle)
            raise
        else:
            return handle
    return None


def _no_file(path: Path, error: OSError) -> InputError:
    return InputError(f"max-builds needs a file in {path.parent}", why=str(error.strerror))


def _write(handle: int, text: str) -> None:
    """Say who has the place, for those that wait; the lock counts without it, on a full disk."""
    with suppress(OSError):
        os.truncate(handle, 0)
        os.pwrite(handle, text.encode(errors="replace"), 0)


def _for_whom(files: Sequence[Path]) -> str:
    """Return which builds hold the places, and since when."""
    found = []
    for path in files:
        since, _, what = path.read_text(encoding="utf-8", errors="replace").partition(" ")
        if since.isdecimal():
            found.append(f"{what} ({max(time.time() - int(since), 0):.0f} s)")
    return f"waiting for {', '.join(found) or 'another build'}"
