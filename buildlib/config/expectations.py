"""What is expected of a container: of its commands, and of the data that it keeps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from buildlib.config.key_types import (
    NUMBER,
    PATTERN,
    TEXT,
    TEXTS,
    KeyType,
    MismatchError,
    parse_table,
    parse_texts,
    schema_of,
    setting,
)


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command of the image, and what has to be seen of it."""

    run: tuple[str, ...] = setting(TEXTS, "its words", default=())
    code: int = setting(NUMBER, "exit code that it ends with", default=0)
    stdout: str = setting(
        PATTERN,
        "regular expression that standard output matches; {version} is the version",
        default="",
    )
    stderr: str = setting(PATTERN, "the same for standard error", default="")
    entrypoint: tuple[str, ...] = setting(
        TEXTS, "instead of the image's own; the first word is the program", default=()
    )


@dataclass(frozen=True, kw_only=True)
class Data:
    """How the server is given something to keep, and asked for it."""

    write: str = setting(TEXT, 'request that changes the data, "POST /path"', default="")
    read: str = setting(TEXT, "path whose answer shows the change", default="")
    body: str = setting(TEXT, "body of the request; {image} is the image under test", default="")


def _command(value: object) -> Command:
    if isinstance(value, list) and value:
        return Command(run=parse_texts(value))
    found = parse_table(Command, value if isinstance(value, Mapping) else {}, "smoke.commands")
    if not (found.run or found.entrypoint):
        raise MismatchError('a list of commands, each a list of texts or { run = ["…"] }')
    return found


def parse_commands(value: object) -> tuple[Command, ...]:
    """Return the commands of the table `smoke`; raises MismatchError where they are invalid."""
    if not isinstance(value, list):
        raise MismatchError("a list of commands")
    return tuple(_command(item) for item in value)


def parse_data(value: object) -> Data:
    """Return what its table `data` says; raises MismatchError where it can't be used."""
    found = parse_table(Data, value, "smoke.data")
    if not re.fullmatch(r"(POST|PUT|PATCH) /\S*", found.write) or not found.read.startswith("/"):
        raise MismatchError('a table with write = "POST /path" and read = "/path"')
    return found


@dataclass(frozen=True, kw_only=True)
class HealthVersion:
    """Where the running server says its version; without a field it is somewhere in the text.

    Args:
        text_too: an answer that is not JSON may have it as text.
    """

    path: str = setting(TEXT, "path that is asked by HTTP; left out: the health path", default="")
    field: str = setting(TEXT, 'field of its JSON, "info.version"', default="")
    text_too: bool = False


# How a server is found to be healthy; see docs/smoke.md.
HEALTH_KINDS: Final = ("http", "tcp", "command", "healthcheck", "running")
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
    found = parse_table(HealthVersion, value, "smoke.health-version")
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


def _command_schema() -> dict[str, object]:
    words = {"type": "array", "items": {"type": "string"}}
    return {"type": "array", "items": {"anyOf": [words, schema_of(Command)]}}


_STATUS: Final = {
    "anyOf": [
        {"type": "integer", "minimum": _FIRST_STATUS, "maximum": _LAST_STATUS},
        {"type": "string", "pattern": "^([1-5][xX]{2}|[1-5][0-9]{2}(-[1-5][0-9]{2})?)$"},
    ]
}
COMMANDS: Final = KeyType(parse_commands, _command_schema)
DATA: Final = KeyType(parse_data, lambda: schema_of(Data))
HEALTH: Final = KeyType(parse_health, {"enum": [*HEALTH_KINDS]})
STATUSES: Final = KeyType(
    parse_statuses, {"anyOf": [*_STATUS["anyOf"], {"type": "array", "items": _STATUS}]}
)
HEALTH_VERSION: Final = KeyType(
    parse_health_version,
    lambda: {"anyOf": [{"type": "boolean"}, {"type": "string"}, schema_of(HealthVersion)]},
)
