"""Which directories may hold data: those that were made for it, and no other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from buildlib.errors import InputError
from buildlib.git.command import GitCommand

# By which people have git keep a directory that is empty otherwise.
_PLACEHOLDERS: Final = frozenset({".gitignore", ".gitkeep", ".keep"})


class DataPlaces:
    """Tells a data directory from any other, and remembers those that were used.

    A directory below the project may be one unless git keeps something in it. Elsewhere it has to
    be new, or empty, or one that was used before: `/etc` is none of these.

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
        # Not Path.is_dir, which raises where a directory on the way can't be entered.
        if not os.path.isdir(path):  # noqa: PTH112
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
    """Return whether there is anything in a directory, or may be."""
    try:
        return any(path.iterdir())
    except OSError:
        return True
