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
        entrypoint: instead of the image's own; the first word is the program.
        code: that it ends with.
        stdout, stderr: regular expressions that are found there; `{version}` is the version.
    """

    run: tuple[str, ...]
    code: int = 0
    stdout: str = ""
    stderr: str = ""
    entrypoint: tuple[str, ...] = ()


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
    "entrypoint": parse_texts,
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
    if not (fields.get("run") or fields.get("entrypoint")):
        raise MismatchError('a list of commands, each a list of texts or { run = ["…"] }')
    return Command(**{"run": (), **fields})


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


class HealthVersion(NamedTuple):
    """Where the running server says its version.

    Args:
        path: of HTTP; empty: the health path.
        field: of its JSON, `info.version`; empty: the version is somewhere in the text.
        text_too: an answer that is not JSON may have it as text.
    """

    path: str = ""
    field: str = ""
    text_too: bool = False


# How a server is found to be healthy; see docs/smoke.md.
HEALTH_KINDS: Final = ("http", "tcp", "command", "healthcheck", "running")
_VERSION_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    "path": parse_text,
    "field": parse_text,
}
_FIRST_STATUS, _LAST_STATUS = 100, 599
Statuses = tuple[tuple[int, int], ...]


def parse_health(value: object) -> str:
    """Return one of HEALTH_KINDS."""
    if value not in HEALTH_KINDS:
        raise MismatchError(f"one of {', '.join(HEALTH_KINDS)}")
    return str(value)


def parse_health_version(value: object) -> HealthVersion | None:
    """Return where to look for the version; None: it is not looked for."""
    if isinstance(value, bool):
        return HealthVersion(field="version", text_too=True) if value else None
    if isinstance(value, str):
        return HealthVersion(field=value)
    if not isinstance(value, Mapping):
        raise MismatchError('true, a field such as "info.version", or { path = "…", field = "…" }')
    found = HealthVersion(**parse_fields(value, _VERSION_KEYS, "smoke.health-version."))
    if found.path and not found.path.startswith("/"):
        raise MismatchError('a table with path = "/path"')
    return found


def parse_statuses(value: object) -> Statuses:
    """Return ranges of HTTP's status codes: 204, "2xx", "200-399", or a list of these."""
    return tuple(map(_statuses, value if isinstance(value, list) else [value]))


def _statuses(value: object) -> tuple[int, int]:
    text = "" if isinstance(value, bool) else str(value)
    if re.fullmatch(r"[1-5]xx", text, re.IGNORECASE):
        return int(text[0]) * 100, int(text[0]) * 100 + 99
    match = re.fullmatch(r"([0-9]{3})(?:-([0-9]{3}))?", text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not _FIRST_STATUS <= first <= last <= _LAST_STATUS:
        raise MismatchError('status codes of HTTP: 204, "2xx", "200-399", or a list of these')
    return first, last
