"""The engine's socket as containers may find it mounted: of its own group, and of others."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from buildlib.containers.inspect import helper_argv
from buildlib.containers.plan import Mount
from buildlib.containers.runner import Engine, socket_group
from buildlib.docker.endpoint import EngineKind, Group
from buildlib.errors import EngineError
from buildlib.executor import Executor
from buildlib.tempfiles import new_name, passing_folder

_CHUNK: Final = 65536
_NAME: Final = "engine.sock"
# The longest address of a socket on every system; Linux has four more.
_LONGEST: Final = 104
# The name of the socket that the engine itself has.
OWN: Final = "the engine's own socket"


class Socket(NamedTuple):
    """A socket that is mounted, and its group; `left_out` says why it can't be had here."""

    group: int
    name: str
    source: str = ""
    left_out: str = ""


@contextmanager
def sockets(
    engine: Engine, groups: Sequence[int], executor: Executor, image: str
) -> Iterator[tuple[Socket, ...]]:
    """Have the engine's own socket ready, and one of each other group that leads to it.

    Args:
        groups: wanted beside that of the engine's own.
        executor: starts docker, where the group has to be asked or set in a container.
        image: one that is there, for that.

    Raises:
        EngineError: the socket can't be mounted (exit 4).
    """
    source = engine.mount.source
    if not source:
        note = engine.mount.note
        yield tuple(Socket(group=g, name=named(g), left_out=note) for g in groups)
        return
    own = int(socket_group(engine, executor, image))
    found = [Socket(group=own, name=OWN, source=source)]
    with ExitStack() as stack:
        for group in dict.fromkeys(groups):
            if group == own:
                continue
            if engine.kind is not EngineKind.LINUX or engine.mount.group is not Group.HOST:
                reason = f"{engine.kind} can mount no socket of this machine but its own"
                found.append(Socket(group=group, name=named(group), left_out=reason))
                continue
            path = stack.enter_context(relay(source))
            if reason := _unseen(path, executor, image):
                found.append(Socket(group=group, name=named(group), left_out=reason))
                continue
            _give(path, group, executor, image)
            found.append(Socket(group=group, name=named(group), source=str(path)))
        yield tuple(found)


def named(group: int) -> str:
    """Return what the socket of a group is called."""
    return f"socket of group {group}"


def _unseen(path: Path, executor: Executor, image: str) -> str:
    """Return why the engine can't mount a socket that is made here, or nothing.

    Its own socket may be here while its files are not: in a container with a mounted socket.
    """
    name = new_name("socket")
    mount = Mount(kind="bind", source=str(path.parent), target="/relay")
    words = ("--pull", "never", "--network", "none", "--mount", str(mount), image, "true")
    try:
        made = executor.run(("docker", "create", "--name", name, *words))
    finally:
        executor.run(("docker", "rm", "--force", "--volumes", name))
    absent = "bind source path does not exist" in made.stderr
    return "the engine does not see the files of this machine" if absent else ""


def _give(path: Path, group: int, executor: Executor, image: str) -> None:
    """Let the socket belong to root and a group, and no other user use it."""
    path.chmod(0o660)
    with suppress(PermissionError):
        os.chown(path, 0, group)
        return
    # A user who is not root here may still be root in a container.
    mount = Mount(kind="bind", source=str(path.parent), target="/relay")
    words = ("chown", f"0:{group}", f"/relay/{_NAME}")
    done = executor.run(helper_argv(image, mount, *words, options=("--user", "0:0")))
    if done.code != 0:
        raise EngineError(
            f"a socket of group {group} can't be made here",
            why=done.stderr.strip(),
            hint="the image has no chown: run it as root, or take socket-groups out of [smoke]",
        )


@contextmanager
def relay(target: str) -> Iterator[Path]:
    """Listen on a socket of our own, and pass everything on to another, both ways.

    Args:
        target: path of the socket that it leads to.
    """
    # One that no other user can reach: the socket in it is as good as the engine's.
    with passing_folder("relay") as folder, ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        path = folder / _NAME
        _bind(listener, path)
        listener.listen()
        threading.Thread(target=_accept, args=(listener, target), daemon=True).start()
        # Closing alone would leave the thread in accept().
        stack.callback(_shut, listener, socket.SHUT_RDWR)
        yield path


def _bind(listener: socket.socket, path: Path) -> None:
    """Bind it by the directory's descriptor where the path is too long for a socket's address."""
    if len(os.fsencode(path)) < _LONGEST:
        listener.bind(str(path))
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _accept(listener: socket.socket, target: str) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(client, target), daemon=True).start()


def _serve(client: socket.socket, target: str) -> None:
    with client, socket.socket(socket.AF_UNIX) as engine, suppress(OSError):
        engine.connect(target)
        back = threading.Thread(target=_pump, args=(engine, client), daemon=True)
        back.start()
        _pump(client, engine)
        back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass on until the source ends, and close the sink then."""
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    _shut(sink, socket.SHUT_WR)


def _shut(end: socket.socket, how: int) -> None:
    with suppress(OSError):
        end.shutdown(how)
