"""What is expected of a container: of its commands, and of the data that it keeps.

Every task reads them with the rest of the configuration, and a NamedTuple is made in a fifth of
the time that a dataclass takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from buildlib.values import (
    MismatchError,
    parse_fields,
    parse_number,
    parse_pattern,
    parse_text,
    parse_texts,
)


class Command(NamedTuple):
    """A command of the image, and what has to be seen of it.

    Args:
        run: its words.
        code: that it ends with.
        stdout, stderr: regular expressions that are found there; `{version}` is the version.
    """

    run: tuple[str, ...]
    code: int = 0
    stdout: str = ""
    stderr: str = ""


class Data(NamedTuple):
    """How the server is given something to keep, and asked for it.

    Args:
        write: method and path of the request that changes its data, `POST /path`.
        body: of that request; `{image}` is the image under test.
        read: the path whose answer shows the change.
    """

    write: str
    read: str
    body: str = ""


_COMMAND_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    "run": parse_texts,
    "code": parse_number,
    "stdout": parse_pattern,
    "stderr": parse_pattern,
}


_DATA_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    "write": parse_text,
    "body": parse_text,
    "read": parse_text,
}


def _command(value: object) -> Command:
    if isinstance(value, list):
        return Command(run=parse_texts(value))
    fields = (
        parse_fields(value, _COMMAND_KEYS, "smoke.commands.") if isinstance(value, Mapping) else {}
    )
    if not fields.get("run"):
        raise MismatchError('a list of commands, each a list of texts or { run = ["…"] }')
    return Command(**fields)


def parse_commands(value: object) -> tuple[Command, ...]:
    """Return the commands of the table `smoke`; raises MismatchError where they are none."""
    if not isinstance(value, list):
        raise MismatchError("a list of commands")
    return tuple(_command(item) for item in value)


def parse_data(value: object) -> Data:
    """Return what its table `data` says; raises MismatchError where it is of no use."""
    found = Data(**{"write": "", "read": "", **parse_fields(value, _DATA_KEYS, "smoke.data.")})
    if not re.fullmatch(r"(POST|PUT|PATCH) /\S*", found.write) or not found.read.startswith("/"):
        raise MismatchError('a table with write = "POST /path" and read = "/path"')
    return found
