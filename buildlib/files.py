"""The one writer of files: whole or not at all, through links, as what is there is owned."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from buildlib.errors import InputError

# What the system says where a file can't be replaced by another: not ours to give, or mounted.
_KEPT: Final = frozenset({errno.EPERM, errno.EACCES, errno.EBUSY})


def write_file(path: Path, data: str | bytes) -> None:
    """Write a file, in a directory that is made where it is not there.

    A link stays one, and what it leads to is written. A file keeps its mode and its owner; where a
    new one can't have them or take its place, as where the file itself is mounted, the old one is
    written. So is what is no regular file.

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


def _take_after(handle: int, about: os.stat_result) -> None:
    """Give a new file the owner and the mode of the old one."""
    made = os.fstat(handle)
    if (made.st_uid, made.st_gid) != (about.st_uid, about.st_gid):
        os.fchown(handle, about.st_uid, about.st_gid)
    os.fchmod(handle, stat.S_IMODE(about.st_mode))


def _overwrite(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)


def human_size(size: int | None) -> str:
    """Return bytes as docker prints them: powers of 1000."""
    if size is None:
        return ""
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:  # noqa: PLR2004 - the base of the units
            return f"{amount:.4g} {unit}"
        amount /= 1000
    return f"{amount:.4g} GB"


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
