"""`[records]`: what is kept of each build."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from buildlib.config.key_types import (
    NUMBER,
    TEXT,
    KeyType,
    MismatchError,
    parse_table,
    schema_of,
    setting,
)


@dataclass(frozen=True, kw_only=True)
class Records:
    """How records of builds are kept.

    Args:
        enabled: false where the file says `records = false`.
    """

    keep: int = setting(NUMBER, "how many records are kept", default=50)
    max_age: int = setting(NUMBER, "days after which a record is removed", default=90)
    directory: str = setting(
        TEXT,
        "where they are kept, relative to the project; left out: the user's state directory",
        default="",
    )
    enabled: bool = True


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
