"""The data directory: made where it is absent, checked where it is not, never changed below.

What gives it away or empties it holds on to the directory that was checked: a link that takes its
place meanwhile is not followed, neither here nor by the container that does it for us.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from buildlib.containers.inspect import helper_argv
from buildlib.containers.plan import OWNER, Mount
from buildlib.docker.endpoint import EngineKind
from buildlib.errors import EngineError, InputError
from buildlib.executor import Executor
from buildlib.files import opened_directory, remove
from buildlib.git.command import GitCommand

_INSIDE: Final = "/data"
# Where a container sees a directory under the numbers that it has here.
_SAME_KERNEL: Final = frozenset({EngineKind.LINUX, EngineKind.ROOTLESS})
# $0 is what it has to be; empty: not known.
_SAME: Final = f'{{ [ -z "$0" ] || [ "$(stat -c %d:%i {_INSIDE})" = "$0" ]; }}'
CHOWN: Final = f'{_SAME} && chown "$1" {_INSIDE}'
EMPTY: Final = f"{_SAME} && rm -rf {_INSIDE}/* {_INSIDE}/.[!.]* {_INSIDE}/..?*"


def may_write(status: os.stat_result, user: int, group: int) -> bool:
    """Return whether a user in one group may make files in a directory."""
    needed = stat.S_IWOTH | stat.S_IXOTH
    if status.st_uid == user:
        shift = 6
    elif status.st_gid == group:
        shift = 3
    else:
        shift = 0
    return (status.st_mode >> shift) & needed == needed


class DataDirectory:
    """What `--persistent` mounts.

    Args:
        image: one that is there; its `chown` and `test` are used where this machine's will not do.
        account: the UID and GID of the image.
        kind: of the engine; only on one that shares this machine's users do our own checks count.
        places: knows which directories may be one.
    """

    def __init__(
        self,
        executor: Executor,
        image: str,
        account: tuple[int, int],
        kind: EngineKind,
        places: DataPlaces,
    ) -> None:
        self._executor = executor
        self._places = places
        self._image = image
        self._user, self._group = account
        self._account = f"{self._user}:{self._group}"
        self._here = kind is EngineKind.LINUX
        self._remote = kind is EngineKind.REMOTE
        self._same_kernel = kind in _SAME_KERNEL

    def prepare(self, mount: Mount, owner: str) -> None:
        """See to it that the container can write there.

        Args:
            mount: a directory of this machine, or a volume.
            owner: the value of our label, for a volume that is made.

        Raises:
            InputError: it is not a data directory, or can't be written, with the command that fixes
                it (exit 2).
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

    def remove(self, path: Path, expected: os.stat_result) -> None:
        """Remove a data directory and all that is in it.

        Args:
            path: without links.
            expected: what was checked.

        Raises:
            EngineError: it could not be (exit 4).
        """
        why = ""
        try:
            remove(path, expected)
        except OSError as error:
            why = error.strerror or str(error)
            if isinstance(error, PermissionError):
                # What the container wrote belongs to the image's user: root inside may remove it.
                why = self._remove_inside(path, expected)
        if why:
            raise EngineError(
                f"the data can't be removed: {path}",
                why=why,
                hint=f"sudo rm -r {shlex.quote(str(path))}",
            )
        self._places.forget(path)

    def _remove_inside(self, path: Path, expected: os.stat_result) -> str:
        mount = Mount(kind="bind", source=str(path), target=_INSIDE)
        words = ("sh", "-c", EMPTY, self._number(expected))
        done = self._executor.run(helper_argv(self._image, mount, *words, options=("--user", "0")))
        if done.code != 0:
            return done.stderr.strip() or "the container found another directory there"
        try:
            with opened_directory(path.parent) as parent:
                os.rmdir(path.name, dir_fd=parent)
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def _number(self, about: os.stat_result) -> str:
        """Return what identifies a directory, as a container sees it; or nothing."""
        return f"{about.st_dev}:{about.st_ino}" if self._same_kernel else ""

    def _make_volume(self, name: str, owner: str) -> None:
        if self._executor.run(("docker", "volume", "inspect", name)).code == 0:
            return
        made = self._executor.run(
            ("docker", "volume", "create", "--label", f"{OWNER}={owner}", name)
        )
        if made.code != 0:
            raise EngineError(f"the volume {name} can't be made", why=made.stderr.strip())

    def _prepare_directory(self, path: Path) -> None:
        self._places.check(path)
        if path.is_dir():
            self._check(path)
        elif path.is_symlink():
            raise InputError(
                f"the data directory is a link that leads nowhere: {path}", hint="give another one"
            )
        elif path.exists():
            raise InputError(f"the data directory is a file: {path}", hint="give another one")
        else:
            self._make(path)
        self._places.remember(path)

    def _make(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with opened_directory(path.parent) as parent:
                os.mkdir(path.name, dir_fd=parent)
                made = os.open(path.name, os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        except OSError as error:
            raise InputError(f"the data directory can't be made: {path}", why=str(error)) from error
        # It is new and empty, and ours to give away.
        try:
            if self._here and os.geteuid() == 0:
                os.fchown(made, self._user, self._group)
            elif not self._given_away(path, os.fstat(made)):
                self._check(path)
        finally:
            os.close(made)

    def _given_away(self, path: Path, about: os.stat_result) -> bool:
        words = (CHOWN, self._number(about), self._account)
        return self._inside(path, "sh", "-c", *words, root=True)

    def _check(self, path: Path) -> None:
        if not self._user or (self._here and may_write(path.stat(), self._user, self._group)):
            return
        # Whoever shares no users with the engine, or has an access list, asks a container.
        if self._inside(path, "test", "-w", _INSIDE):
            return
        quoted = shlex.quote(str(path))
        raise InputError(
            f"the data directory can't be written by UID {self._user}: {path}",
            hint=f"sudo chown {self._account} {quoted}",
        )

    def _inside(self, path: Path, command: str, *words: str, root: bool = False) -> bool:
        """Run a command of the image on the directory; return whether it went well."""
        mount = Mount(kind="bind", source=str(path), target=_INSIDE)
        user = "0" if root else self._account
        given = ("--cap-add", "CHOWN") if root else ()
        options = ("--user", user, "--cap-drop", "ALL", *given)
        argv = helper_argv(self._image, mount, command, *words, options=options)
        return self._executor.run(argv).code == 0


# Which directories may hold data: those that were made for it, and no other.


# By which people have git keep a directory that is empty otherwise.
_PLACEHOLDERS: Final = frozenset({".gitignore", ".gitkeep", ".keep"})


class DataPlaces:
    """Tells a data directory from any other, and remembers those that were used.

    A directory below the project may be one unless git keeps something in it. Elsewhere it has to
    be new, or empty, or one that was used before: `/etc` is not one of these.

    Args:
        root: of the project, without links.
        env: for HOME and XDG_STATE_HOME.
        user: the UID of the image; 0: any.
    """

    def __init__(self, root: Path, env: Mapping[str, str], user: int) -> None:
        """Find the records of this user."""
        home = Path(env.get("HOME") or "~").expanduser()
        self._root, self._home, self._user = root, Path(os.path.realpath(home)), user
        self._records = Path(env.get("XDG_STATE_HOME") or home / ".local/state", "buildlib/data")

    def check(self, path: Path) -> None:
        """Check that a container may be given a directory to keep data in.

        Args:
            path: without links; it may be absent.

        Raises:
            InputError: it was not made for data (exit 2).
        """
        self._check(path, owned=True)

    def check_removable(self, path: Path) -> os.stat_result:
        """Check that a directory and all that is in it may be removed, and return what it is.

        Args:
            path: absolute, as it was given.

        Raises:
            InputError: it was not made for data, or a link leads there (exit 2).
        """
        real = Path(os.path.realpath(path))
        if str(real) != os.path.normpath(path):
            raise InputError(
                f"the data directory is reached by a link: {path}",
                why=f"it leads to {real}, where nothing is removed",
                hint=f"--data-dir {real} names the directory itself",
            )
        self._check(real, owned=False)
        return real.lstat()

    def _check(self, path: Path, *, owned: bool) -> None:
        if why := self._refusal(path, owned=owned):
            raise InputError(
                f"not a data directory: {path}",
                why=why,
                hint="give another --data-dir: one that is new or empty, or below the project",
            )

    def _refusal(self, path: Path, *, owned: bool) -> str:
        """Return why a directory is not for data, or nothing."""
        if path in {self._root, *self._root.parents}:
            return "the project is in it"
        if path in {self._home, *self._home.parents}:
            return "your home directory is in it"
        if ".git" in path.parts or os.path.lexists(path / ".git"):
            return "it belongs to a git repository"
        try:
            there = path.is_dir()
        except PermissionError:
            # A directory on the way can't be entered.
            there = False
        if not there:
            return ""
        inside = path.is_relative_to(self._root)
        return self._tracked(path) if inside else self._foreign(path, owned=owned)

    def _tracked(self, path: Path) -> str:
        tracked = GitCommand(self._root).ask("ls-files", "-z", "--", f":(literal){path}")
        names = {name.rpartition("/")[2] for name in tracked.split("\0") if name}
        return "git tracks files in it" if names - _PLACEHOLDERS else ""

    def _foreign(self, path: Path, *, owned: bool) -> str:
        """Return why a directory outside of the project is not for data, or nothing."""
        if self._known(path) or (owned and 0 != path.stat().st_uid == self._user):
            return ""
        if path.parent == Path(path.anchor):
            return "it is a directory of the system"
        return "it is not empty, and docker-run has not used it before" if _holds(path) else ""

    def _record(self, path: Path) -> Path:
        return self._records / hashlib.sha256(os.fsencode(path)).hexdigest()

    def _known(self, path: Path) -> bool:
        try:
            return self._record(path).read_text(encoding="utf-8") == str(path.stat().st_ino)
        except (OSError, UnicodeDecodeError):
            return False

    def remember(self, path: Path) -> None:
        """Note that a directory is used for data; below the project that goes without saying."""
        if path.is_relative_to(self._root):
            return
        # Without a home there is nowhere to note it.
        with suppress(OSError):
            self._records.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._record(path).write_text(str(path.stat().st_ino), encoding="utf-8")

    def forget(self, path: Path) -> None:
        """Forget a directory that was removed."""
        with suppress(OSError):
            self._record(path).unlink()


def _holds(path: Path) -> bool:
    try:
        return any(path.iterdir())
    except OSError:
        return True
