"""What a command of docker becomes: each of its parts, and where that is carried over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import groupby
from typing import Any, NamedTuple

from buildlib.adopt.evidence import DockerLine
from buildlib.adopt.hidden import hide_text, hide_words, secret_words
from buildlib.shell import shell_line

Settings = dict[str, Any]


class How(StrEnum):
    """How a part of a command line is carried over."""

    KEY = "key"
    OPTION = "option"
    DEFAULT = "default"
    LEFT = "left"


class Part(NamedTuple):
    """A part of a command line.

    Args:
        text: as it was written.
        how: it is carried over.
        what: the key, the option, or the reason.
    """

    text: str
    how: How
    what: str

    def __str__(self) -> str:
        """Return it as a line of the report."""
        left = "not carried over: " if self.how is How.LEFT else ""
        return f"{self.text}: {left}{self.what}"

    def hidden(self, known: Mapping[str, str]) -> Part:
        """Return it without secrets, of which `secret_words` are known."""
        return Part(hide_text(self.text, known), self.how, hide_text(self.what, known))


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A command line, and what does the same.

    Args:
        line: that was found.
        command: the task with its options, for a shell; empty: there is none.
        before: what has to be run first; empty: nothing.
        image: which of the `others` of the translation it is about; empty: the main one.
        parts: everything that the line has.
    """

    line: DockerLine
    command: str = ""
    before: str = ""
    image: str = ""
    parts: tuple[Part, ...] = ()

    @property
    def commands(self) -> str:
        """Return all that does the same."""
        return f"{self.before} && {self.command}" if self.before else self.command

    @property
    def left(self) -> tuple[Part, ...]:
        """Return what is not carried over."""
        return tuple(part for part in self.parts if part.how is How.LEFT)

    def hidden(self) -> Row:
        """Return it without secrets."""
        known = secret_words(self.line.argv)
        return replace(
            self,
            line=replace(self.line, argv=tuple(hide_words(self.line.argv))),
            command=hide_text(self.command, known),
            before=hide_text(self.before, known),
            parts=tuple(one.hidden(known) for one in self.parts),
        )

    def as_text(self) -> str:
        """Return it for people."""
        when = f"  (only: {self.line.condition})" if self.line.condition else ""
        where = f"  {self.line.where}" if self.line.where else ""
        shown = shell_line(self.line.argv) if self.line.argv else ""
        lines = [f"{self.line.place}{where}{when}", f"  {shown}" if shown else ""]
        lines.append(f"  → {self.commands or 'nothing does the same'}")
        # What one reason holds for is one line.
        for (how, what), parts in groupby(self.parts, key=lambda part: part[1:]):
            lines.append(f"    {Part(' '.join(part.text for part in parts), how, what)}")
        return "\n".join(filter(None, lines))

    def as_dict(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "file": self.line.file,
            "line": self.line.line,
            "where": self.line.where,
            "condition": self.line.condition,
            "argv": list(self.line.argv),
            "command": self.commands,
            "image": self.image,
            "parts": [
                {"text": part.text, "how": str(part.how), "what": part.what} for part in self.parts
            ],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Translation:
    """What a repository's command lines become.

    Args:
        settings: keys of the configuration, as its file has them.
        rows: one for each line.
        others: the settings of further images of the repository, by their names.
    """

    settings: Settings
    rows: tuple[Row, ...]
    others: dict[str, Settings] = field(default_factory=dict)


def own_parts(line: DockerLine) -> list[Part]:
    """Return what a line has beside the words of docker."""
    left = [Part(text, How.LEFT, why) for text, why in line.left]
    return [*left, *(Part(text, How.DEFAULT, why) for text, why in line.done)]
