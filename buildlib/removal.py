"""Removes files and directories without following a link on the way to them."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# Search permission is enough for what is only passed through, where the system has such a flag.
_THROUGH: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW
_MOUNTS: Final = Path("/proc/self/mountinfo")
# As the kernel writes blanks and the like in the name of a mount point: proc_pid_mountinfo(5).
_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")


@contextmanager
def opened_directory(path: Path) -> Iterator[int]:
    """Open a directory for the time of the block, and return its descriptor.

    Args:
        path: absolute; no part of it may be a link.

    Raises:
        OSError: it can't be opened, or a part of it is a link.
    """
    descriptor = os.open(path.anchor, _THROUGH)
    try:
        for part in path.parts[1:]:
            inner = os.open(part, _THROUGH, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def remove(path: Path, expected: os.stat_result | None = None) -> None:
    """Remove a file, a link itself, or a directory with all that is in it.

    Args:
        path: absolute; no part of it but the last may be a link.
        expected: what a check looked at; anything else that took its place since stays.

    Raises:
        OSError: it can't be removed, something is mounted in it, or the way to it leads through a
            link.
    """
    if mounted := mounts_in(path):
        raise OSError(errno.EBUSY, f"{mounted[0]} is mounted, so nothing is removed", str(path))
    with opened_directory(path.parent) as parent:
        found = os.stat(path.name, dir_fd=parent, follow_symlinks=False)
        if expected and not os.path.samestat(found, expected):
            raise OSError(errno.ESTALE, "it was replaced meanwhile", str(path))
        if stat.S_ISDIR(found.st_mode):
            # It follows no link either, not even one that is put there meanwhile.
            shutil.rmtree(path.name, dir_fd=parent)
        else:
            os.unlink(path.name, dir_fd=parent)


def link_on_the_way(path: Path, root: Path) -> Path | None:
    """Return the first link among the directories that lead from `root` to `path`.

    Args:
        path: below `root`; it may be a link itself.
        root: where to begin.
    """
    between = [root / above for above in reversed(path.relative_to(root).parents)]
    return next((above for above in between[1:] if above.is_symlink()), None)


def mounts_in(path: Path) -> tuple[str, ...]:
    """Return what is mounted at a directory or below it, where the system lists it.

    Args:
        path: without links.
    """
    try:
        lines = _MOUNTS.read_bytes().strip().split(b"\n")
    except OSError:
        return ()
    points = (os.fsdecode(_ESCAPED.sub(_unescaped, line.split()[4])) for line in lines)
    return tuple(one for one in points if Path(one).is_relative_to(path))


def _unescaped(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 8)])
