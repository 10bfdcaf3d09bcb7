"""The files that are written: shown as a diff before, and all of them or none."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from buildlib import interrupts
from buildlib.errors import InputError
from buildlib.files import create_file, difference, write_file

_BYTE_ORDER_MARK = "\ufeff"


class Change(NamedTuple):
    """A file that is made, or that gets more lines.

    Args:
        path: of the file.
        name: relative to the repository.
        before: what it has; None: there is none.
        after: what it will have.
    """

    path: Path
    name: str
    before: str | None
    after: str

    @property
    def diff(self) -> str:
        """Return it as a unified diff, as `git apply` takes it."""
        text = difference(self.name, self.before or "", self.after)
        new = self.before is None
        return text.replace(f"--- a/{self.name}\n", "--- /dev/null\n", 1) if new else text


class NotAppendedError(Exception):
    """Why a file does not get more lines."""


def read_file(path: Path) -> str | None:
    """Return the text of a file, byte for byte; None: there is none.

    Raises:
        NotAppendedError: something else is there, or it can't be read.
    """
    if not os.path.lexists(path):
        return None
    try:
        # Not of a pipe, which would wait.
        data = path.read_bytes() if path.is_file() else None
    except OSError as error:
        raise NotAppendedError(f"it can't be read: {error.strerror}") from error
    if data is None:
        raise NotAppendedError("it is not a file")
    if b"\0" in data:
        raise NotAppendedError("it is not a text in UTF-8")
    return data.decode("utf-8", "surrogateescape")


def appended(path: Path, name: str, lines: Sequence[str], root: Path) -> Change:
    """Return the change that adds lines to a file, as its other lines end.

    Raises:
        NotAppendedError: it can't get any.
    """
    before = read_file(path)
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
        raise NotAppendedError(f"it is a link that leads out of {root}")
    end = "\r\n" if "\r\n" in (before or "") else "\n"
    text = (before or "").removeprefix(_BYTE_ORDER_MARK)
    gap = end if text and not text.endswith("\n") else ""
    return Change(path, name, before, (before or "") + gap + "".join(line + end for line in lines))


def write_all(changes: Iterable[Change]) -> None:
    """Write all of the files; where one can't be written, those before it are as they were.

    Raises:
        InputError: one can't be written, or was changed meanwhile (exit 2).
    """
    done: list[Change] = []
    made: list[Path] = []
    with interrupts.held():
        for one in changes:
            try:
                _make_folders(one.path.parent, made)
                _write(one)
            except OSError as error:
                _undo(done, made)
                raise InputError(
                    f"can't write {one.name}, so nothing was written",
                    why=error.strerror or str(error),
                    hint="once that is fixed, run it again",
                ) from error
            done.append(one)


def _make_folders(folder: Path, made: list[Path]) -> None:
    """Make a directory and those above it, and note each."""
    for one in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
        one.mkdir()
        made.append(one)


def _write(one: Change) -> None:
    if one.before is None:
        create_file(one.path, one.after)
        return
    with suppress(NotAppendedError):
        if read_file(one.path) == one.before:
            write_file(one.path, one.after)
            return
    raise OSError("it was changed meanwhile")


def _undo(done: Iterable[Change], made: Sequence[Path]) -> None:
    for one in done:
        # What can't be undone is not made worse.
        with suppress(OSError):
            if one.before is None:
                one.path.unlink()
            else:
                write_file(one.path, one.before)
    for folder in reversed(made):
        with suppress(OSError):
            folder.rmdir()
