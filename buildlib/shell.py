"""Words as a POSIX shell takes them, and fields of docker's options, which are lines of CSV."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

# The code of a command that is not there; POSIX, of a shell and of env.
NOT_FOUND: Final = 127


def repeated(option: str, values: Iterable[object]) -> list[str]:
    """Return the words of an option that is given once for each value."""
    return [word for value in values for word in (option, str(value))]


def csv_field(text: str) -> str:
    """Return a field as docker's own options read it: as CSV, quoted where it has to be."""
    if any(character in text for character in ',"\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def csv_fields(text: str) -> list[str]:
    """Return the fields of one of docker's options.

    Raises:
        ValueError: it is not a line of CSV.
    """
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise ValueError(str(error)) from error


def csv_pairs(text: str) -> dict[str, str]:
    """Return keys, in lower case as buildx reads them, and values; raises as `csv_fields`."""
    pairs = (field.partition("=") for field in csv_fields(text))
    return {key.lower(): value for key, _, value in pairs}


def anchored(text: str, folder: Path) -> str:
    """Return an option of buildx, one line of CSV, with its relative paths taken from a directory.

    What buildx would not read stays as it is, for whoever checks it.
    """
    try:
        fields = csv_fields(text)
    except ValueError:
        return text
    pairs = (field.partition("=") for field in fields)
    return ",".join(
        csv_field(f"{key}={folder / value}" if _is_path(key, value) else f"{key}{equals}{value}")
        for key, equals, value in pairs
    )


def _is_path(key: str, value: str) -> bool:
    # A dash is the standard output.
    return key.strip().lower() in {"src", "source", "dest"} and value not in {"", "-"}


def shell_line(argv: Sequence[str], context: Path | None = None) -> str:
    """Return argv quoted for a POSIX shell.

    Args:
        context: a directory that the shell calls $CONTEXT.
    """
    if context is None:
        return shlex.join(argv)
    return " ".join(_named(word, str(context)) for word in argv)


def _named(word: str, folder: str) -> str:
    before, found, after = word.partition(folder)
    parts = (shlex.quote(before) if before else "", '"$CONTEXT"', shlex.quote(after))
    return "".join(parts) if found else shlex.quote(word)
