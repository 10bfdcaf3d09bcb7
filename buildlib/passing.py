"""What goes away with a process, under a name that tells later whether that process has ended."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_OURS: Final = "buildlib-"
# The kind, the machine, the process, and what tells two of them apart.
_NAME: Final = re.compile(r"[a-z]+(?:-[a-z]+)*-([0-9a-f]{8})-(\d+)-\w+")


def _this_machine() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _beginning(kind: str) -> str:
    return f"{kind}-{_this_machine()}-{os.getpid()}-"


def new_name(kind: str) -> str:
    """Return a name that nobody else has, for something of this process."""
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
    """Give a directory for the time of the block, that nobody else can look into.

    Args:
        kind: what for, in a word.
    """
    with tempfile.TemporaryDirectory(prefix=_beginning(f"{_OURS}{kind}")) as folder:
        yield Path(folder)


def remove_left_folders() -> tuple[str, ...]:
    """Remove the directories of processes that were killed, and return their names.

    There may be a registry's password in one.
    """
    found = [
        path
        for path in sorted(Path(tempfile.gettempdir()).glob(f"{_OURS}*"))
        if has_ended(path.name) and _is_own_folder(path)
    ]
    for path in found:
        # Another start may be doing the same.
        shutil.rmtree(path, ignore_errors=True)
    return tuple(path.name for path in found)


def _is_own_folder(path: Path) -> bool:
    """Return whether it is a directory, no link to one, and belongs to who we are."""
    try:
        about = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid()
