"""What Invoke lets pass: an option without its value, or with an empty one.

A list's option without a value, as `--registry $UNSET` is, counts there as one that was not given,
and an option of text that is empty is what it is by default. Either would mean everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from string import whitespace
from typing import Any

from invoke.parser.argument import Argument
from invoke.parser.context import ParserContext
from invoke.tasks import Task

from buildlib.errors import InputError


def check_values(argv: Sequence[str], tasks: Iterable[Task[Any]]) -> None:
    """Raise where an option that takes a value is given without one.

    Args:
        argv: the command line, beginning with the program.
        tasks: of ours; the options of others are not known here.

    Raises:
        InputError: it names the option, or the task whose argument is empty (exit 2).
    """
    words = list(argv[1 : argv.index("--")] if "--" in argv else argv[1:])
    called = [word.rpartition(".")[2] for word in words]
    found = {task.name.replace("_", "-"): task for task in tasks}
    # The last one first: an earlier one does not know the options of those after it.
    for name in sorted(found.keys() & set(called), key=called.index, reverse=True):
        context = ParserContext(name, args=found[name].get_arguments())
        _check(name, context, words[called.index(name) + 1 :])


def _check(name: str, known: ParserContext, words: list[str]) -> None:
    flags = {*known.flags, *known.inverse_flags}
    valued = {flag: _nothing(option) for flag, option in known.flags.items() if option.takes_value}
    waiting = ""
    for word in words:
        flag, equals, value = word.partition("=")
        if waiting and (word in flags or not word.strip(valued[waiting])):
            raise _empty(waiting)
        if not waiting and equals and flag in valued and not value.strip(valued[flag]):
            raise _empty(flag)
        if not waiting and not word.strip():
            raise InputError(f"an argument of {name} is empty", hint=f"invoke --help {name}")
        waiting = word if not waiting and word in valued else ""
    if waiting:
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
