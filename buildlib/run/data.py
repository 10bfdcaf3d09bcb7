"""The data directory: made where it is absent, checked where it is not, never changed below."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import Final

from buildlib.errors import EngineError, InputError
from buildlib.executor import Executor
from buildlib.run.ask import helper_argv
from buildlib.run.endpoint import Kind
from buildlib.run.plan import OWNER, Mount

_INSIDE: Final = "/data"


def may_write(status: os.stat_result, user: int) -> bool:
    """Return whether a user, in the group of the same number, may make files in a directory."""
    needed = stat.S_IWOTH | stat.S_IXOTH
    if status.st_uid == user:
        shift = 6
    elif status.st_gid == user:
        shift = 3
    else:
        shift = 0
    return (status.st_mode >> shift) & needed == needed


class DataDirectory:
    """What `--persistent` mounts.

    Args:
        executor: starts docker.
        image: one that is there; its `chown` and `test` are used where this machine's will not do.
        user: the UID and GID of the image.
        kind: of the engine; only on one that shares this machine's users do our own checks count.
    """

    def __init__(self, executor: Executor, image: str, user: int, kind: Kind) -> None:
        """Keep what every step needs."""
        self._executor = executor
        self._image = image
        self._user = user
        self._here = kind is Kind.LINUX
        self._remote = kind is Kind.REMOTE

    def prepare(self, mount: Mount, owner: str) -> None:
        """See to it that the container can write there.

        Args:
            mount: a directory of this machine, or a volume.
            owner: the value of our label, for a volume that is made.

        Raises:
            InputError: it can't be written, with the command that mends it (exit 2).
            EngineError: the engine could not make the volume (exit 4).
        """
        if mount.kind == "volume":
            self._make_volume(mount.source, owner)
        elif self._remote:
            raise InputError(
                "a directory of this machine can't be mounted by an engine elsewhere",
                hint="give a volume: --data-dir volume:NAME",
            )
        else:
            self._prepare_directory(Path(mount.source))

    def empty(self, path: Path) -> None:
        """Remove a data directory and all that is in it.

        Raises:
            EngineError: it could not be (exit 4).
        """
        # What the container wrote belongs to the image's user: root inside may remove it.
        mount = Mount(kind="bind", source=str(path), target=_INSIDE)
        remove = f"rm -rf {_INSIDE}/* {_INSIDE}/.[!.]* {_INSIDE}/..?*"
        options = ("--user", "0")
        done = self._executor.run(
            helper_argv(self._image, mount, "sh", "-c", remove, options=options)
        )
        if done.code != 0 or any(path.iterdir()):
            raise EngineError(
                f"the data can't be removed: {path}",
                why=done.stderr.strip(),
                hint=f"sudo rm -r {shlex.quote(str(path))}",
            )
        path.rmdir()

    def _make_volume(self, name: str, owner: str) -> None:
        if self._executor.run(("docker", "volume", "inspect", name)).code == 0:
            return
        made = self._executor.run(
            ("docker", "volume", "create", "--label", f"{OWNER}={owner}", name)
        )
        if made.code != 0:
            raise EngineError(f"the volume {name} can't be made", why=made.stderr.strip())

    def _prepare_directory(self, path: Path) -> None:
        if path.is_dir():
            self._check(path)
            return
        if path.exists() or path.is_symlink():
            raise InputError(f"the data directory is a file: {path}", hint="give another one")
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise InputError(f"the data directory can't be made: {path}", why=str(error)) from error
        # It is new and empty, and ours to give away.
        if self._here and os.geteuid() == 0:
            os.chown(path, self._user, self._user)
        elif not self._inside(path, "chown", f"{self._user}:{self._user}", _INSIDE, root=True):
            self._check(path)

    def _check(self, path: Path) -> None:
        if not self._user or (self._here and may_write(path.stat(), self._user)):
            return
        # Whoever shares no users with the engine, or has an access list, asks a container.
        if self._inside(path, "test", "-w", _INSIDE):
            return
        quoted = shlex.quote(str(path))
        raise InputError(
            f"the data directory can't be written by UID {self._user}: {path}",
            why="nothing below it is changed for you",
            hint=f"sudo chown {self._user}:{self._user} {quoted}",
        )

    def _inside(self, path: Path, command: str, *words: str, root: bool = False) -> bool:
        """Run a command of the image on the directory; return whether it went well."""
        mount = Mount(kind="bind", source=str(path), target=_INSIDE)
        user = "0" if root else f"{self._user}:{self._user}"
        given = ("--cap-add", "CHOWN") if root else ()
        options = ("--user", user, "--cap-drop", "ALL", *given)
        argv = helper_argv(self._image, mount, command, *words, options=options)
        return self._executor.run(argv).code == 0
