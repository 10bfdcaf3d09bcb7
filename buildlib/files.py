"""The one writer of files: whole or not at all, through links, as what is there is owned."""

from __future__ import annotations

import difflib
import errno
import fcntl
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from buildlib.errors import InputError

# What the system says where a file can't be replaced by another: not ours to give, or mounted.
_KEPT: Final = frozenset({errno.EPERM, errno.EACCES, errno.EBUSY})
# What it says where a file system knows no hard links.
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS})
_UNIT: Final = 1000
# Seconds between two looks at a lock.
_LOOK: Final = 0.1


@contextmanager
def locked(folder: Path, *, waits: bool = True) -> Iterator[None]:
    """Hold the lock of a directory for the time of a block.

    It is on the directory itself: no lock file is left behind, and it ends with the process.

    Raises:
        BlockingIOError: another one holds it, and it is not waited for.
        OSError: the directory can't be read.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waits:
                    raise
            time.sleep(_LOOK)
        yield
    finally:
        os.close(handle)


def write_file(path: Path, data: str | bytes) -> None:
    """Write a file, in a directory that is made where it is not there.

    A link stays one, and what it leads to is written. A file keeps its mode and its owner; where a
    new one can't have them or take its place, as where the file itself is mounted, the old one is
    written. So is what is not a regular file.

    Raises:
        OSError: it can't be written.
    """
    content = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    about = None
    with suppress(FileNotFoundError):
        about = target.stat()
    if about and not stat.S_ISREG(about.st_mode):
        # A terminal, a pipe: by the name that was given, as a link of /proc leads nowhere.
        _overwrite(path, content)
        return
    # In the same directory, where a rename replaces the file in one go.
    new = target.with_name(f".{target.name[:200]}.{os.urandom(4).hex()}")
    try:
        # Nothing may be there, not even a link to somewhere else.
        with new.open("xb") as stream:
            if about:
                # Before there is anything in it to read.
                _take_after(stream.fileno(), about)
            stream.write(content)
        new.replace(target)
    except OSError as error:
        if about is None or error.errno not in _KEPT:
            raise
        _overwrite(target, content)
    finally:
        with suppress(OSError):
            new.unlink()


def create_file(path: Path, data: str) -> None:
    """Write a file that is not there yet, whole or not at all; its directory is there.

    Raises:
        FileExistsError: something is there, a link that leads nowhere included.
        OSError: it can't be written.
    """
    new = path.with_name(f".{path.name[:200]}.{os.urandom(4).hex()}")
    try:
        with new.open("xb") as stream:
            stream.write(data.encode("utf-8", "surrogateescape"))
        try:
            # Unlike a rename it replaces nothing, not even what was put there meanwhile.
            path.hardlink_to(new)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
            new.replace(path)
    finally:
        with suppress(OSError):
            new.unlink()


def _take_after(handle: int, about: os.stat_result) -> None:
    """Give a new file the owner and the mode of the old one."""
    made = os.fstat(handle)
    if (made.st_uid, made.st_gid) != (about.st_uid, about.st_gid):
        os.fchown(handle, about.st_uid, about.st_gid)
    os.fchmod(handle, stat.S_IMODE(about.st_mode))


def _overwrite(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)


def read_regular(path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        OSError: it can't be read, or is something else, such as a pipe, which would wait.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a file", str(path))
        return file.read()


def human_size(size: int | None) -> str:
    """Return bytes as docker prints them: powers of 1000."""
    if size is None:
        return ""
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < _UNIT:
            return f"{amount:.4g} {unit}"
        amount /= _UNIT
    return f"{amount:.4g} GB"


def difference(name: str, before: str, after: str) -> str:
    """Return how two versions of a file differ, as a unified diff; nothing where they do not."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"a/{name}", f"b/{name}", lineterm=""
    )
    return "\n".join(lines)


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 step`, `2 steps`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def write_text(path: Path, text: str, *, append: bool = False) -> None:
    """Write a report, in a directory that is made where it is not there.

    Raises:
        InputError: it can't be written (exit 2).
    """
    try:
        if append:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as stream:
                stream.write(text)
        else:
            write_file(path, text)
    except OSError as error:
        raise InputError(f"can't write to {path}", why=str(error)) from error


# Removes files and directories without following a link on the way to them.


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
    points = (
        os.fsdecode(_ESCAPED.sub(lambda code: bytes([int(code[1], 8)]), line.split()[4]))
        for line in lines
    )
    return tuple(one for one in points if Path(one).is_relative_to(path))
