"""`[records]`: what is kept of each build."""

from __future__ import annotations

from dataclasses import dataclass
from posixpath import normpath
from typing import Final

from buildlib.config.key_types import (
    NUMBER,
    KeyType,
    MismatchError,
    parse_table,
    parse_text,
    schema_of,
    setting,
)


def _directory(value: object) -> str:
    text = parse_text(value)
    if text and normpath(text) == ".":
        raise MismatchError("a directory other than the project itself")
    if text.startswith("~") and text.partition("/")[0] != "~":
        raise MismatchError("a directory, relative to the project or to ~")
    return text


@dataclass(frozen=True, kw_only=True)
class Records:
    """How records of builds are kept.

    Args:
        enabled: false where the file says `records = false`.
    """

    keep: int = setting(NUMBER, "how many records are kept", default=50)
    max_age: int = setting(NUMBER, "days after which a record is removed", default=90)
    directory: str = setting(
        KeyType(_directory, {"type": "string"}),
        "where they are kept, relative to the project; left out: the user's state directory",
        default="",
    )
    enabled: bool = True

    def place(self, home: str) -> str:
        """Return the directory with the user's home for `~`; empty: none, or there is no home."""
        if not self.directory.startswith("~"):
            return self.directory
        return home + self.directory[1:] if home.startswith("/") else ""


def parse_records(value: object, where: str) -> Records:
    """Read the table, or false.

    Raises:
        MismatchError, InputError, ExceptionGroup: as `parse_table`.
    """
    if value is False:
        return Records(enabled=False)
    if isinstance(value, bool):
        raise MismatchError("false, or a table such as { keep = 50 }")
    return parse_table(Records, value, where)


RECORDS: Final = KeyType(
    parse_records, lambda: {"anyOf": [{"const": False}, schema_of(Records)]}, placed=True
)
