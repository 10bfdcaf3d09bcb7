"""How the lists of what is ignored are read: each entry says why, and until when or for good."""

from __future__ import annotations

from datetime import date, datetime
from typing import Final

from buildlib.config.key_types import KeyType, MismatchError, keys_of, parse_keys, schema_of
from buildlib.errors import InputError
from buildlib.findings.suppressions import SuppressionT


def parse_date(value: object) -> date:
    """Return the day that a value of TOML means, or raise MismatchError."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError as error:
        raise MismatchError("a table whose until is a date, such as 2027-01-31") from error


DATE: Final = KeyType(parse_date, {"type": "string", "format": "date"})


def ignores_type(
    entry: type[SuppressionT], *, where: str, example: str, for_good: bool = False
) -> KeyType[tuple[SuppressionT, ...]]:
    """Return the type of a key that is a list of ignores; the arguments are `parse_ignores`'s."""

    def parse(value: object) -> tuple[SuppressionT, ...]:
        return parse_ignores(value, entry, where=where, example=example, for_good=for_good)

    return KeyType(parse, lambda: {"type": "array", "items": schema_of(entry)})


def parse_ignores(
    value: object,
    entry: type[SuppressionT],
    *,
    where: str,
    example: str,
    for_good: bool = False,
) -> tuple[SuppressionT, ...]:
    """Return what a list of tables ignores.

    Args:
        entry: the dataclass of one; its first key says what is ignored.
        where: the name of the list, such as `policy.ignore`.
        example: what is ignored, as TOML has it.
        for_good: no last day is needed.

    Raises:
        MismatchError: it is not a list, or a value is of another kind.
        InputError: a key is not known, or an entry says too little (exit 2).
    """
    if not isinstance(value, list):
        raise MismatchError(f"a list of tables [[{where}]]")
    what = next(iter(keys_of(entry)))
    found = []
    for item in value:
        fields = parse_keys(entry, item, where)
        needed = (what, "reason", *(() if for_good else ("until",)))
        missing = [name for name in needed if not fields.get(name)]
        if missing:
            raise InputError(
                f"{where} lacks {' and '.join(missing)}",
                why="an ignored finding needs a reason" + ("" if for_good else ", and until when"),
                hint=f'{example}, reason = "…"' + ("" if for_good else ", until = 2027-01-31"),
            )
        found.append(entry(**fields))
    return tuple(found)
