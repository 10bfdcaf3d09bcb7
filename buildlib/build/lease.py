"""How many builds a node gets at the same time: the others wait.

A build holds one of the node's places by a lock on a file, which the system releases when the last
process with that file has ended: that is buildx, where the task itself is killed. That counts the
builds of this user on this machine. With `lease-repository` it then claims one of the places that
all machines share.
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
from typing import TYPE_CHECKING, Final

from buildlib.config.builders import BuilderSettings, NodeSettings
from buildlib.errors import InputError
from buildlib.executor import Executor, inherited
from buildlib.records.store import state_directory
from buildlib.terminal.console import Console

if TYPE_CHECKING:
    from buildlib.build.registry_lease import Holders, Sharing

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
    sharing: Sharing | None = None,
) -> Iterator[None]:
    """Hold a place on each node with `max-builds` for the time of the block.

    Args:
        builder: whose nodes they are.
        nodes: that build.
        what: is built, for those that wait.
        env: for HOME and XDG_STATE_HOME.
        console: says what is waited for.
        pause: waits so many seconds.
        sharing: with other machines; None: the places are those of this machine alone.

    Raises:
        InputError: the places can't be kept in the state directory (exit 2).
        BuildlibError: the registry in which places are shared fails (exit 4, 5, 6).
    """
    with ExitStack() as held:
        if builder:
            limited = {_place(builder, node, env): node for node in nodes if node.max_builds}
            # In one order for all, so that no two builds wait for each other.
            for place, node in sorted(limited.items(), key=lambda one: one[0]):
                held.enter_context(_leased(place, node, what, console, pause, sharing))
        yield


def open_sharing(
    builder: BuilderSettings | None,
    env: Mapping[str, str],
    executor: Executor,
    warn: Callable[[str], None],
) -> Sharing | None:
    """Return how the places of a builder's nodes are shared; None: with no other machine.

    Raises:
        BuildlibError: docker's credentials can't be read.
    """
    if not (builder and builder.lease_repository):
        return None
    from buildlib.build import registry_lease  # noqa: PLC0415 - urllib3 is only for those that share

    return registry_lease.open_sharing(builder.lease_repository, env, executor, warn)


def node_key(builder: BuilderSettings, node: NodeSettings) -> str:
    """Return what a node is known by on all machines; projects may call it differently."""
    own = () if "://" in node.endpoint and builder.driver == "remote" else (node.name,)
    words = " ".join((builder.driver, node.endpoint, *own))
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def _place(builder: BuilderSettings, node: NodeSettings, env: Mapping[str, str]) -> Path:
    """Return the path that the node's files begin with."""
    folder = state_directory(env) or Path(tempfile.gettempdir(), f"buildlib-{os.getuid()}")
    return folder / "buildlib/nodes" / node_key(builder, node)


class _Waiting:
    """What is printed while a place is waited for, the one of this machine and that among all."""

    def __init__(self, node: NodeSettings, console: Console) -> None:
        self._node, self._console = node, console
        self._began = self._said = time.monotonic()
        self._waits = False

    def report(self, holders: Holders) -> None:
        """Say for whom and how long, from time to time."""
        now = time.monotonic()
        if self._waits and now - self._said < _AGAIN:
            return
        names = ", ".join(
            f"{what} ({max(time.time() - began, 0):.0f} s)" for what, began in holders
        )
        self._console.note(
            f"node {self._node.name}: waiting for {names or 'another build'}; "
            f"waited {now - self._began:.0f} s so far"
        )
        self._waits, self._said = True, now

    def end(self) -> None:
        """Say that it is over, if there was anything to wait for."""
        if self._waits:
            seconds = time.monotonic() - self._began
            self._console.note(f"node {self._node.name} is free after {seconds:.0f} s")


@contextmanager
def _leased(
    place: Path,
    node: NodeSettings,
    what: str,
    console: Console,
    pause: Callable[[float], None],
    sharing: Sharing | None,
) -> Iterator[None]:
    files = [place.with_name(f"{place.name}.{number}") for number in range(node.max_builds)]
    waiting = _Waiting(node, console)
    while (found := _free(files)) is None:
        waiting.report(_holders(files))
        pause(_POLL)
    path, handle = found
    try:
        _write(handle, f"{time.time():.0f} {what}")
        with ExitStack() as held:
            if sharing:
                # After the lock: of each machine only so many ask the registry.
                held.enter_context(sharing.leased(node, path, what, waiting.report))
            waiting.end()
            held.enter_context(inherited(handle))
            yield
    finally:
        # Processes that still have the file would keep the lock.
        fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _free(files: Sequence[Path]) -> tuple[Path, int] | None:
    """Return the first file that nobody else locks, and a descriptor with the lock; or None."""
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
            return path, handle
    return None


def _no_file(path: Path, error: OSError) -> InputError:
    return InputError(f"max-builds needs a file in {path.parent}", why=str(error.strerror))


def _write(handle: int, text: str) -> None:
    """Say who has the place, for those that wait; the lock counts without it, on a full disk."""
    with suppress(OSError):
        os.truncate(handle, 0)
        os.pwrite(handle, text.encode(errors="replace"), 0)


def _holders(files: Sequence[Path]) -> Holders:
    """Return which builds hold the places, and since when."""
    found = []
    for path in files:
        since, _, what = path.read_text(encoding="utf-8", errors="replace").partition(" ")
        if since.isdecimal():
            found.append((what, float(since)))
    return found
