"""Completes the command line: tasks, options, and what Invoke itself has nothing for, their values.

A shell starts the program with `--complete -- PROGRAM WORD…`; the last word is the one that is
completed. The scripts of Invoke leave that out where it is empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from invoke.parser.argument import Argument
from invoke.parser.context import ParserContext
from invoke.program import Program
from invoke.tasks import Task

from buildlib.tasks.options import context_of
from buildlib.tasks.values import Values

_ASKS: Final = "--complete"
# Nothing that a shell would expand or run.
_PLAIN: Final = re.compile(r"[\w./:@%+=,-]+", re.ASCII)


def completed_words(argv: Sequence[str]) -> list[str] | None:
    """Return the words that are to be completed; None: the command line asks for something else."""
    own, dashes, words = _split(list(argv[1:]))
    return words[1:] or [""] if dashes and _ASKS in own else None


def _split(words: list[str]) -> tuple[list[str], bool, list[str]]:
    end = words.index("--") if "--" in words else len(words)
    return words[:end], "--" in words, words[end + 1 :]


class _Place(NamedTuple):
    """Where the last word is: in which task, and as the value of which option or argument."""

    task: str
    context: ParserContext
    value_of: Argument | None


class Completion:
    """What a word of the command line can be.

    Args:
        tasks: of ours, by the names that they are called by.
        complete: there are no other tasks.
    """

    def __init__(self, tasks: Mapping[str, Task[Any]], values: Values, *, complete: bool) -> None:
        self._tasks, self._values, self._complete = tasks, values, complete
        program = Program()
        self._core = ParserContext(args=[*program.core_args(), *program.task_args()])

    def candidates(self, words: Sequence[str]) -> list[str] | None:
        """Return what the last of the words can be; None: Invoke knows it better."""
        *before, current = words
        if "--" in before:
            return [] if self._complete else None
        task, context, option = self._place(before)
        flag, equals, _ = current.partition("=")
        if option is None and (known := context.flags.get(flag)) and known.takes_value:
            # Invoke's scripts leave out the empty word after it.
            option = known
        elif not current.startswith("-") or option:
            equals = ""
        if not (self._complete or (task and option)):
            return None
        if option is not None:
            found = self._of(task, option)
            # Files are completed by the shell.
            return _plain(f"{flag}={one}" if equals else one for one in found)
        if current.startswith("-"):
            return _plain((*context.flag_names(), *context.inverse_flags))
        return _plain(self._tasks)

    def _of(self, task: str, option: Argument) -> Iterable[str]:
        if not task:
            return self._tasks if "help" in option.names and self._complete else ()
        found: Iterable[str] = ()
        # Whoever presses a key wants no message, whatever is wrong with the configuration.
        with suppress(Exception):
            found = self._values.of(self._tasks[task].name.replace("_", "-"), option.names[0])
        return found

    def _place(self, words: Sequence[str]) -> _Place:
        """Return where the word after these is, as Invoke's parser sees it."""
        task, context = "", self._core
        waiting: Argument | None = None
        positional: list[Argument] = []
        for word in words:
            flag, equals, _ = word.partition("=")
            option = context.flags.get(flag) or self._core.flags.get(flag)
            if option:
                waiting = None if equals or not option.takes_value else option
            elif waiting:
                waiting = None
            elif word.startswith("-"):
                continue
            elif positional:
                del positional[0]
            elif word in self._tasks:
                task, context = word, context_of(word, self._tasks[word])
                positional = list(context.positional_args)
            else:
                # Of somebody else's task nothing is known.
                task, context = "", self._core
        return _Place(task, context, waiting or (positional[0] if positional else None))


def _plain(words: Iterable[str]) -> list[str]:
    return [word for word in words if _PLAIN.fullmatch(word)]
