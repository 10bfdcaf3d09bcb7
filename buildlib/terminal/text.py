"""Text as it is printed: without secrets and control characters, in columns, in colour, as JSON."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final, TextIO

# Up to the last @ of the host, as a password may hold one; a digest's @ is no such end.
# Only the end of the scheme is looked at: its beginning takes the square of a long word's length.
_CREDENTIALS: Final = re.compile(r"((?<=\w)://)[^/\s?#]+@(?!sha256:)")
# What buildx takes as values of a cache's options: docs.docker.com/build/cache/backends.
_KEYS: Final = "(?:secret_access_key|session_token|ghtoken|token|password)="
# An option is in quotes where it holds a comma.
_SECRETS: Final = re.compile(rf"""((?<="){_KEYS})[^"]+|(\b{_KEYS})[^,\s"']+""")
# What a terminal does not show but obeys: ECMA-48's sequences and strings, in seven bits and in
# eight, single controls, and what turns the direction of text. No string goes over a line's end.
CONTROL: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\n\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
NARROWEST: Final = 20
# Between two columns of a table, or before a line that belongs to the one above.
_GAP: Final = re.compile(r" {2,}")
_STYLES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
# What became of something, as the cells of tables have it, or the beginning of a line.
_STATES: Final = {
    "green": ("ok", "passed", "published", "healthy", "running", "added"),
    "yellow": ("warning", "left out", "not pinned", "starting", "absent", "changed"),
    "red": ("failed", "missing", "error", "unhealthy", "removed"),
}
_STYLE_OF: Final = {state: style for style, states in _STATES.items() for state in states}
_STATE: Final = re.compile(
    rf"(?:^|(?<=  ))(?:{'|'.join(_STYLE_OF)})(?=$|  | \d+\.\d s|[:,])", re.MULTILINE
)
# As `files.difference` returns it, and what was taken away or added in it.
_DIFF: Final = re.compile(r"^--- .*\n\+\+\+ .*\n(?:[-+ @].*(?:\n|\Z))+", re.MULTILINE)
_LINE: Final = re.compile(r"^[-+].*", re.MULTILINE)


def redact(text: str) -> str:
    """Return the text without user and password in any address, and without a cache's keys."""
    return _SECRETS.sub(r"\1\2***", _CREDENTIALS.sub(r"\1***@", text))


def clean(text: str) -> str:
    """Return the text without anything that a terminal obeys; lines and tabs stay.

    What comes from containers, registries and tools is theirs to choose.
    """
    return CONTROL.sub("", text)


def one_line(text: str) -> str:
    """Return a text as it is drawn: without secrets and control characters, on one line."""
    return " ".join(clean(redact(text)).split())


def last_line(text: str) -> str:
    """Return the last line that is not blank: what most programs say in the end is why."""
    lines = [line for line in re.split(r"[\r\n]+", text) if line.strip()]
    return lines[-1].strip() if lines else ""


def redacted(value: object) -> object:
    """Return a value of JSON without credentials and control characters in its texts."""
    if isinstance(value, str):
        return redact(clean(value))
    if isinstance(value, dict):
        return {key: redacted(one) for key, one in value.items()}
    return [redacted(one) for one in value] if isinstance(value, list) else value


def to_json(data: dict[str, Any]) -> str:
    """Return JSON as every task prints it."""
    return json.dumps(data, indent=2, sort_keys=True)


def columns_of(stream: TextIO) -> int:
    """Return how wide a terminal is; 0 where there is none, or it does not know."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0


def table(rows: Sequence[Sequence[str]], *, head: bool = False, columns: int | None = None) -> str:
    """Return rows as left-aligned columns; the last column is not padded.

    Args:
        rows: of the same length.
        head: the first one names the columns: where they do not fit, each row becomes a list.
        columns: of the terminal, 0: there is none; None: as standard output is.
    """
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    room = columns_of(sys.stdout) if columns is None else columns
    needed = sum(width + 2 for width in widths[:-1]) + min(widths[-1], NARROWEST)
    if head and 0 < room < needed:
        return "\n\n".join(_as_list(rows[0], row) for row in rows[1:])
    return "\n".join(
        "  ".join([*map(str.ljust, row, widths[:-1]), row[-1]]).rstrip() for row in rows
    )


def _as_list(names: Sequence[str], row: Sequence[str]) -> str:
    pairs = [(name, cell) for name, cell in zip(names, row, strict=True) if cell]
    return table(pairs, columns=0)


def fit(text: str, columns: int) -> str:
    """Return a text with its lines broken between words where they are too long.

    What is broken off goes on below the beginning of the last column that has room for its words.
    """
    return "\n".join(part for line in text.split("\n") for part in _broken(line, columns))


def _broken(line: str, columns: int) -> Iterator[str]:
    if len(line) <= columns:
        yield line
        return
    starts = [found.end() for found in _GAP.finditer(line)]
    wide = [start for start in starts if start <= columns - NARROWEST]
    roomy = [start for start in wide if start + max(map(len, line[start:].split())) <= columns]
    indent = max(roomy or wide, default=0)
    current, *words = line[indent:].split(" ")
    current = line[:indent] + current
    hanging = " " * (indent or 2)
    for word in words:
        if not current.strip():
            current = hanging + word
        elif len(current) + 1 + len(word) > columns:
            yield current.rstrip()
            current = hanging + word
        else:
            current += f" {word}"
    yield current


def coloured(text: str) -> str:
    """Return a text with the states of a table, and the lines of a diff, in their colours."""
    text = _STATE.sub(lambda found: styled(found[0], _STYLE_OF[found[0]]), text)
    return _DIFF.sub(lambda found: _LINE.sub(_changed, found[0]), text)


def _changed(line: re.Match[str]) -> str:
    return styled(line[0], "red" if line[0][0] == "-" else "green")


def styled(text: str, style: str) -> str:
    """Return a text in a style, with the sequences that end it."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"
