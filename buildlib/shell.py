"""Words as a POSIX shell takes them, and fields of docker's options, which are lines of CSV."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path


def csv_field(text: str) -> str:
    """Return a field as docker's own options read it: as CSV, quoted where it has to be."""
    if any(character in text for character in ',"\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def shell_line(argv: Sequence[str], context: Path | None = None) -> str:
    """Return argv quoted for a POSIX shell.

    Args:
        argv: the words.
        context: a directory that the shell calls $CONTEXT.
    """
    if context is None:
        return shlex.join(argv)
    return " ".join(_named(word, str(context)) for word in argv)


def _named(word: str, folder: str) -> str:
    before, found, after = word.partition(folder)
    parts = (shlex.quote(before) if before else "", '"$CONTEXT"', shlex.quote(after))
    return "".join(parts) if found else shlex.quote(word)
