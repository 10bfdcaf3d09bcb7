"""What Invoke says of the command line too late, too little, or not at all.

A list's option without a value, as `--registry $UNSET` is, counts there as one that was not given,
and an option of text that is empty is what it is by default. Either would mean everything. A word
that it does not know ends it with code 1, and without a suggestion.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from copy import copy
from itertools import pairwise
from string import whitespace
from typing import Any

from invoke.exceptions import ParseError
from invoke.parser import Parser
from invoke.parser.argument import Argument
from invoke.parser.context import ParserContext
from invoke.program import Program
from invoke.tasks import Task

from buildlib.errors import InputError, did_you_mean
from buildlib.program import program_of

_UNKNOWN = "No idea what "
_HELP = ("--help", "-h")


def check_values(argv: Sequence[str], tasks: Mapping[str, Task[Any]]) -> None:
    """Raise where an option that takes a value is given without one.

    Args:
        argv: the command line, beginning with the program.
        tasks: of ours, by their names; the options of others are not known here. What has a dot
            in its name is looked for under any name of its collection.

    Raises:
        InputError: it names the option, or the task whose argument is empty (exit 2).
    """
    words = list(argv[1 : argv.index("--")] if "--" in argv else argv[1:])
    nested = any("." in name for name in tasks)
    called = [word.rpartition(".")[2] if "." in word or not nested else "" for word in words]
    whole = {name.rpartition(".")[2]: name for name in tasks}
    # The last one first: an earlier one does not know the options of those after it.
    for name in sorted(whole.keys() & set(called), key=called.index, reverse=True):
        at = called.index(name)
        known = context_of(name, tasks[whole[name]])
        _check(words[at], known, words[at + 1 :], program_of(argv[0]))


def fresh(task: Task[Any]) -> Task[Any]:
    """Return a copy with help texts of its own: Invoke removes them from a task as it reads it."""
    made = copy(task)
    made.help = dict(task.help)
    return made


def context_of(name: str, task: Task[Any]) -> ParserContext:
    """Return what parses the options of a task that is called by a name."""
    return ParserContext(name, args=fresh(task).get_arguments())


def _check(name: str, known: ParserContext, words: list[str], program: str) -> None:
    flags = {*known.flags, *known.inverse_flags}
    valued = {flag: _nothing(option) for flag, option in known.flags.items() if option.takes_value}
    # Without a value they have one of their own; an empty one is not the same.
    bare = {flag for flag in valued if known.flags[flag].optional}
    waiting = ""
    for word in words:
        flag, equals, value = word.partition("=")
        if waiting in bare and word in flags:
            waiting = ""
        if waiting and (word in flags or not word.strip(valued[waiting])):
            raise _empty(waiting)
        if not waiting and equals and flag in valued and not value.strip(valued[flag]):
            raise _empty(flag)
        if not waiting and not word.strip():
            raise InputError(f"an argument of {name} is empty", hint=f"{program} --help {name}")
        waiting = word if not waiting and word in valued else ""
    if waiting and waiting not in bare:
        raise _empty(waiting)


def _nothing(option: Argument) -> str:
    """Return the characters that are not a value: of a list, its separators as well."""
    return whitespace + "," if option.kind is list else whitespace


def _empty(flag: str) -> InputError:
    return InputError(
        f"{flag} needs a value",
        why="an empty one, as of a variable that is not set, is not the same as leaving it out",
        hint=f"give it one, or leave {flag} out",
    )


class CommandLine:
    """The command line, as Invoke will read it where there are no tasks but ours.

    Args:
        argv: the command line, beginning with the program.
        tasks: of ours, by the names that they are called by.
    """

    def __init__(self, argv: Sequence[str], tasks: Mapping[str, Task[Any]]) -> None:
        self._tasks = tasks
        self._program = program_of(argv[0])
        program = Program()
        self._initial = ParserContext(args=[*program.core_args(), *program.task_args()])
        parsed = Parser(initial=self._initial, ignore_unknown=True).parse_argv(list(argv[1:]))
        self._core, self._words = parsed[0].args, parsed.unparsed

    @property
    def wants_list(self) -> bool:
        """Return whether it asks for all tasks, as the plain `invoke` does."""
        core = self._core
        other = core.help.value or core.complete.value or core["list-depth"].value
        plain = core["list-format"].value == "flat" and core.list.value in {None, False, True}
        return plain and not (self._words or other)

    @property
    def wants_help(self) -> str:
        """Return the task whose help is asked for, before it or after it."""
        asked = self._core.help.value
        name = asked if isinstance(asked, str) else "".join(self._words[:1])
        if name not in self._tasks or asked:
            return name if name in self._tasks else ""
        # A word may also be the value of an option: docker-smoke --check --help.
        flags = context_of(name, self._tasks[name]).flags
        options = {flag for flag, option in flags.items() if option.takes_value}
        behind = [before not in options for before, word in pairwise(self._words) if word in _HELP]
        return name if any(behind) else ""

    def check_first(self, prefix: str) -> None:
        """Raise if the first task, or the one whose help is asked for, is called by a wrong name.

        Args:
            prefix: of the names that no other tasks have, such as `image.`.

        Raises:
            InputError: it names the nearest one that is known (exit 2).
        """
        asked = self._core.help.value
        for name in (*self._words[:1], asked if isinstance(asked, str) else ""):
            if name.startswith(prefix) and name not in self._tasks:
                raise self._no_task(name)

    @property
    def tasks(self) -> Mapping[str, Task[Any]]:
        """Return the tasks that Invoke needs: those that it names, or all where it asks for any."""
        core = self._core
        asks = core.help.value or core.list.value or core.complete.value
        return self._tasks if asks else self._named

    @property
    def _named(self) -> dict[str, Task[Any]]:
        return {name: self._tasks[name] for name in self._tasks.keys() & set(self._words)}

    def check(self) -> None:
        """Raise what Invoke would not understand.

        Raises:
            InputError: it names the word, with the nearest one that is known (exit 2).
        """
        asked = self._core.help.value
        if isinstance(asked, str) and asked not in self._tasks:
            raise self._no_task(asked)
        # Those of tasks that are not named would be copied for nothing.
        contexts = [context_of(name, task) for name, task in self._named.items()]
        try:
            Parser(initial=self._initial, contexts=contexts).parse_argv(list(self._words))
        except ParseError as error:
            raise self._problem(error) from None
        except ValueError:
            raise InputError(_no_number(contexts, self._words)) from None

    def _problem(self, error: ParseError) -> InputError:
        context, text = error.context, str(error)
        task = context.name if context and context.name else ""
        if task and context and (missing := context.missing_positional_args):
            names = " and ".join(str(one.name).upper() for one in missing)
            return InputError(f"{task} needs {names}", hint=f"{self._program} --help {task}")
        word = _unknown_word(text)
        if word.startswith("-") and task and context:
            # One letter of what was to be a long option.
            typed = [one for one in self._words if one[:2] == word and len(one) > len(word)]
            word = typed[0].partition("=")[0] if len(word) == len("-x") and typed else word
            hint = did_you_mean(word, [*context.flags, *context.inverse_flags])
            return InputError(f"{task} has no option {word}", hint=hint)
        return self._no_task(word) if word else InputError(text)

    def _no_task(self, word: str) -> InputError:
        if word.startswith("-"):
            hint = did_you_mean(word, self._initial.flags)
            return InputError(f"there is no option {word}", hint=hint)
        hint = did_you_mean(word, self._tasks)
        if not hint.startswith("did"):
            hint = f"{self._program} --list lists the tasks"
        return InputError(f"there is no task {word!r}", hint=hint)


def _no_number(contexts: Sequence[ParserContext], words: Sequence[str]) -> str:
    """Return which option needs a number, and was given something else."""
    flags = {flag for one in contexts for flag, option in one.flags.items() if option.kind is int}
    for word, after in zip(words, [*words[1:], ""], strict=True):
        flag, equals, value = word.partition("=")
        given = value if equals else after
        if flag in flags and not given.removeprefix("-").isdecimal():
            return f"{flag} needs a number, not {given!r}"
    return "an option needs a number"


def _unknown_word(message: str) -> str:
    quoted = message.removeprefix(_UNKNOWN).removesuffix(" is!")
    try:
        word = ast.literal_eval(quoted) if quoted != message else ""
    except (SyntaxError, ValueError):
        return ""
    return str(word)
