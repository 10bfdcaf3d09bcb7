"""Where keys stand in a TOML file, for messages: the standard library's parser does not say."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final

Path = tuple[str, ...]
# Strings of several lines and of one, comments, what has a meaning of its own, all else.
# Source: toml.io, v1.0.0; a string of several lines may end with one quote or two of its own.
_WORD: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|[][{}=,\n]"
    r"""|[^][{}=,\n"'\#]+""",
    re.DOTALL,
)


def lines_of(text: str) -> Mapping[Path, int]:
    """Return the line that each key and each table begins on, by the names that lead there.

    Of tables in a list, and of values in one, the first counts.

    Args:
        text: of the file, valid TOML.
    """
    return _Reader().read(text)


class _Reader:
    """Reads a file once, a word at a time."""

    def __init__(self) -> None:
        self._found: dict[Path, int] = {}
        self._table: Path = ()
        # Of the value that is read.
        self._path: Path = ()
        # Brackets that are open in a value, each with the key that it belongs to.
        self._open: list[tuple[str, Path]] = []
        self._begin()

    def _begin(self) -> None:
        """Expect a key, or at the beginning of a line a heading."""
        self._names, self._line, self._in_key, self._in_heading = "", 0, True, False

    def read(self, text: str) -> Mapping[Path, int]:
        for line, word in _words(text):
            if word == "\n":
                if not self._open:
                    self._begin()
            elif word.startswith("#"):
                continue
            elif self._in_key:
                self._key(line, word)
            else:
                self._value(word)
        return self._found

    def _key(self, line: int, word: str) -> None:
        if word == "=":
            self._enter(self._open[-1][1] if self._open else self._table)
            self._in_key = False
        elif word == "[" and not self._open:
            self._in_heading = True
        elif word == "]" and self._in_heading:
            # The second one of a table in a list ends nothing.
            self._table = self._enter(()) if self._names else self._table
        elif word == "}":
            self._open.pop()
            self._in_key = False
        elif word.strip():
            self._names, self._line = self._names + word, self._line or line

    def _enter(self, above: Path) -> Path:
        """Note the names that were read; return the path that they lead to."""
        found: Any = tomllib.loads(f"{self._names} = 0")
        path = above
        while isinstance(found, dict):
            ((name, found),) = found.items()
            path = (*path, name)
            self._found.setdefault(path, self._line)
        self._path, self._names = path, ""
        return path

    def _value(self, word: str) -> None:
        if word in {"[", "{"}:
            # What is in a list belongs to the key of the list.
            listed = self._open and self._open[-1][0] == "["
            self._open.append((word, self._open[-1][1] if listed else self._path))
        elif word in {"]", "}"}:
            self._open.pop()
        if word == "{" or (word == "," and self._open[-1][0] == "{"):
            self._begin()


def _words(text: str) -> Iterator[tuple[int, str]]:
    line = 1
    for match in _WORD.finditer(text):
        yield line, match[0]
        line += match[0].count("\n")
