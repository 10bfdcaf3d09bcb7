"""What goes away with a process, under a name by which can be seen whether that has ended."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from buildlib.errors import InputError
from buildlib.files import human_size

_OURS: Final = "buildlib-"
_SAID: Final = re.compile("no space left on device|quota exceeded|file too large", re.IGNORECASE)
# More than what a file system keeps beside its blocks.
_PROBE: Final = 1 << 16
# The kind, the machine, the process, and a random number.
_NAME: Final = re.compile(r"[a-z]+(?:-[a-z]+)*-([0-9a-f]{8})-(\d+)-\w+(?:\.[a-z]+)?")


def _this_machine() -> str:
    """Return what stands for where a process can be looked up; containers may share a name."""
    space = ""
    with suppress(OSError):
        # Linux alone has such a link; the machine's own has the same number after every start.
        space = str(Path("/proc/self/ns/pid").readlink())
    return f"{zlib.crc32(f'{os.uname().nodename} {space}'.encode()):08x}"


def _beginning(kind: str) -> str:
    return f"{kind}-{_this_machine()}-{os.getpid()}-"


def new_name(kind: str) -> str:
    """Return a new name for something of this process."""
    return _beginning(kind) + os.urandom(4).hex()


def has_ended(name: str) -> bool:
    """Return whether a name is one of this machine's, and its process is gone."""
    match = _NAME.fullmatch(name)
    if not match or match[1] != _this_machine():
        return False
    try:
        os.kill(int(match[2]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


@contextmanager
def passing_folder(kind: str) -> Iterator[Path]:
    """Give a directory for the time of the block, which only this user can look into.

    Args:
        kind: what for, in a word.
    """
    with tempfile.TemporaryDirectory(prefix=_beginning(f"{_OURS}{kind}")) as folder:
        yield Path(folder)


def check_room(folder: Path, needed: int) -> None:
    """See that a file of so many bytes fits into a directory.

    Raises:
        InputError: it does not (exit 2).
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        why = f"{human_size(needed)} are needed, and there are {human_size(free)}"
        if folder.is_relative_to(tempfile.gettempdir()):
            raise no_room(why)
        raise InputError(f"there is no room in {folder}", why=why)


def is_full(folder: Path) -> bool:
    """Return whether nothing more can be written in a directory: for programs that do not say."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return is_no_room(error)
    return False


def says_no_room(text: str) -> bool:
    """Return whether a program says so, as the system words it."""
    return bool(_SAID.search(text))


def is_no_room(error: OSError) -> bool:
    """Return whether a file system, a quota or a limit had no room for what was written."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def no_room(why: str) -> InputError:
    """Return the problem of a directory for what passes that is too small."""
    return InputError(
        f"there is no room for temporary files in {tempfile.gettempdir()}",
        why=why,
        hint="TMPDIR names another directory for them",
    )


def system_problem(error: OSError) -> InputError:
    """Return what the system refused, of which no module of ours has more to say."""
    files = [str(name) for name in (error.filename, error.filename2) if name]
    names, reason = " and ".join(files), error.strerror or str(error)
    ours = f"{tempfile.gettempdir()}/{_OURS}"
    if is_no_room(error) and (not files or any(name.startswith(ours) for name in files)):
        # Files that are kept are named by whoever writes them.
        return no_room(f"{names}: {reason}" if names else reason)
    return InputError(
        f"{names}: {reason}" if names else reason,
        hint="BUILDLIB_DEBUG=1 shows a traceback",
    )


def passing_file(kind: str, suffix: str) -> Path:
    """Return a new name for a file; whoever makes the file removes it.

    Args:
        kind: what for, in a word.
        suffix: with its dot.
    """
    return Path(tempfile.gettempdir(), new_name(f"{_OURS}{kind}") + suffix)


def remove_left() -> tuple[str, ...]:
    """Remove the files and directories of processes that were killed, and return their names.

    There may be a registry's password in one.
    """
    return _remove(has_ended)


def remove_own() -> tuple[str, ...]:
    """Remove the files and directories of this process, and return their names.

    An interrupt may come between the making of one and the block that removes it.
    """
    return _remove(_is_own)


def _is_own(name: str) -> bool:
    match = _NAME.fullmatch(name)
    return bool(match and match[1] == _this_machine() and int(match[2]) == os.getpid())


def _remove(matches: Callable[[str], bool]) -> tuple[str, ...]:
    found = {
        path: remove
        for path in sorted(Path(tempfile.gettempdir()).glob(f"{_OURS}*"))
        if matches(path.name) and (remove := _removal(path))
    }
    for path, remove in found.items():
        # Another start may be doing the same.
        with suppress(OSError):
            remove(path)
    return tuple(path.name for path in found)


def _removal(path: Path) -> Callable[[Path], None] | None:
    """Return what removes a file or a directory that belongs to this user; not a link to one."""
    try:
        about = path.lstat()
    except OSError:
        return None
    if about.st_uid != os.getuid():
        return None
    if stat.S_ISDIR(about.st_mode):
        return shutil.rmtree
    return Path.unlink if stat.S_ISREG(about.st_mode) else None
