"""Which paths a `.dockerignore` keeps out of the build context.

Source: docs.docker.com/build/concepts/context, ".dockerignore files": Go's filepath.Match plus
`**`; the last line that matches decides; a pattern that matches a directory holds for all below.
What that leaves open is as in github.com/moby/patternmatcher, by which the context is sent: it
checks patterns by filepath.Match, and matches by a regular expression into which it turns them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from posixpath import normpath
from typing import Final, NamedTuple

from buildlib.errors import InputError

# The builder reads it in any case.
_OWN: Final = ".dockerignore"
_CHARACTER: Final = r"(?:\\.|[^\\\]-])"
_SET: Final = rf"(?:\[\^|\[(?!\^))(?:{_CHARACTER}(?:-{_CHARACTER})?)+\]"
_SPECIAL: Final = frozenset(r"*?[]\\")
# What the builder's regular expression takes for its own, beside something special.
_PASSED_ON: Final = frozenset("^{|}")
# What a backslash makes a class of characters, there as here, whatever filepath.Match says.
_CLASSES: Final = frozenset("dDsSwW")


class IgnoreFile(NamedTuple):
    """The file that says what stays out of a context; without a path there is none."""

    path: Path | None = None
    lines: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return what messages call it."""
        return self.path.name if self.path else _OWN


def read_ignore_file(*candidates: Path) -> IgnoreFile:
    """Return the first that is there.

    Raises:
        InputError: it can't be read (exit 2).
    """
    try:
        path = next((one for one in candidates if _is_there(one)), None)
        if path is None:
            return IgnoreFile()
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{error.filename} can't be read", why=str(error.strerror)) from error
    return IgnoreFile(path, tuple(text.removeprefix("\ufeff").split("\n")))


def _is_there(path: Path) -> bool:
    # A directory that can't be entered is reported when it is needed itself.
    with suppress(PermissionError):
        return path.is_file()
    return False


class _UnknownError(Exception):
    """What the builder matches is not known here."""


def _to_regex(pattern: str) -> re.Pattern[str] | None:
    """Return what the builder matches; None where that is not known here.

    Raises:
        ValueError: the builder refuses the pattern.
    """
    parts: list[str] = []
    position = 0
    try:
        while position < len(pattern):
            length, part = _part(pattern, position)
            parts.append(part)
            position += length
        return re.compile("".join(parts) + "(?:/.*)?", re.DOTALL | re.ASCII)
    except _UnknownError:
        return None
    except re.error as error:
        raise ValueError("a range that ends before it begins") from error


def _part(pattern: str, start: int) -> tuple[int, str]:
    """Return how long the next part of a pattern is, and its regular expression."""
    rest, text = pattern[start:], pattern[start]
    if rest.startswith("**"):
        length = 3 if rest.startswith("**/") else 2
        # At the beginning of a plain name they need no slash behind them.
        free = not start and length == len("**") and not _SPECIAL & {*rest[2:]}
        return length, ".*" if free or len(rest) == length else "(?:.*/)?"
    if text in "*?":
        return 1, "[^/]*" if text == "*" else "[^/]"
    if text == "\\" and len(rest) > 1:
        return 2, _character(rest[:2])
    if text == "[" and (found := re.match(_SET, rest, re.DOTALL)):
        return len(found[0]), _set(found[0])
    unfinished = text in "[\\"
    # filepath.Match looks no further than a star where nothing fits before it.
    if unfinished and "*" not in pattern[:start]:
        raise ValueError("a [ or a \\ that nothing ends")
    if unfinished or (text in _PASSED_ON and _SPECIAL & {*pattern}):
        raise _UnknownError
    return 1, re.escape(text)


def _set(text: str) -> str:
    body = text[1:-1]
    turned = "^" if body.startswith("^") else ""
    parts = []
    for first, last in re.findall(
        rf"({_CHARACTER})(?:-({_CHARACTER}))?", body[len(turned) :], re.DOTALL
    ):
        # Stars are replaced there as well, and letters after a backslash end no range.
        if {"*", "?"} & {first, last} or (last and _CLASSES & {first[1:], last[1:]}):
            raise _UnknownError
        parts.append("-".join(_character(one) for one in (first, last) if one))
    if "[:" in body:
        raise _UnknownError
    return f"[{turned}{''.join(parts)}]"


def _character(text: str) -> str:
    """Return one that stands for itself, or with a backslash for itself or a class."""
    escaped, character = len(text) > 1, text[-1]
    if escaped and character in _CLASSES:
        return text
    if escaped and (character.isalnum() or not character.isascii()):
        raise _UnknownError
    return re.escape(character)


def _may_match_below(pattern: str, name: str) -> bool:
    """Return whether the pattern could match something that lies in the directory."""
    expected, given = pattern.split("/"), name.split("/")
    for part, own in zip(expected, given, strict=False):
        if "**" in part:
            return True
        try:
            regex = _to_regex(part)
        except ValueError:
            # A slash within brackets.
            return True
        if regex and not regex.fullmatch(own):
            return False
    return len(expected) > len(given)


class DockerIgnore:
    """The lines of one file, ready to be asked."""

    def __init__(self, lines: Iterable[str], name: str = ".dockerignore") -> None:
        """Compile the patterns; comments and blank lines count for nothing.

        Args:
            name: of the file, for messages.

        Raises:
            InputError: the builder would refuse a pattern (exit 2).
        """
        self.name = name
        self._rules: list[tuple[bool, re.Pattern[str] | None, str]] = []
        for number, raw in enumerate(lines, start=1):
            line = raw.strip()
            if not line or raw.startswith("#"):
                continue
            try:
                self._rules.append(_rule(line))
            except ValueError as error:
                raise InputError(
                    f"line {number} of {name} is not a pattern: {line}",
                    why=str(error),
                    hint="the builder would refuse it: fix the line, or remove it",
                ) from error

    def excludes(self, path: str, *, directory: bool = True) -> bool:
        """Return whether the path, or all that lies below it, stays out of the context.

        Args:
            path: relative to the context.
            directory: it is one, and in as soon as a later exception could match below it.
        """
        if not self._rules:
            return False
        name = normpath(path).strip("/")
        if name in {".", ""}:
            return False
        excluded = False
        for exclude, regex, pattern in self._rules:
            if regex is None:
                # What is not known is not reported as kept out.
                excluded = excluded and exclude
            elif regex.fullmatch(name):
                excluded = exclude
            elif directory and not exclude and excluded and _may_match_below(pattern, name):
                excluded = False
        return excluded


def _rule(line: str) -> tuple[bool, re.Pattern[str] | None, str]:
    """Return whether it excludes, what it matches, and its pattern.

    Raises:
        ValueError: it is not a pattern.
    """
    exclude = not line.startswith("!")
    pattern = normpath(line.removeprefix("!").strip() or "/").lstrip("/").strip()
    if not (exclude or pattern):
        raise ValueError("there is nothing after the !")
    return exclude, _to_regex(pattern), pattern


def context_paths(context: Path, ignore: DockerIgnore) -> tuple[str, ...]:
    """Return what the builder gets of a context, sorted: a directory before what is in it.

    Raises:
        InputError: a directory can't be read (exit 2).
    """
    return tuple(sorted(walk_context(context, "", ignore)))


def walk_context(context: Path, below: str, ignore: DockerIgnore) -> Iterator[str]:
    """Yield what the builder gets of a directory of the context: a directory before its files.

    Raises:
        InputError: a directory can't be read (exit 2).
    """
    try:
        entries = list(os.scandir(context / below))
    except OSError as error:
        raise InputError(f"can't read {context / below}", why=str(error)) from error
    for entry in entries:
        path = f"{below}/{entry.name}" if below else entry.name
        folder = entry.is_dir(follow_symlinks=False)
        if ignore.excludes(path, directory=folder) and path != _OWN:
            continue
        if folder:
            yield path
            yield from walk_context(context, path, ignore)
        elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
            yield path
