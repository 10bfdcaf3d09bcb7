"""`[bases]`: what is known of the base images beside what their registries say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from buildlib.values import parse_fields, parse_number, parse_text


class Bases(NamedTuple):
    """How base images are judged.

    Args:
        end_of_life: the file with the table of lines and their last days, relative to the
            project; empty: there is none.
        table_max_age: days after which that table is to be compared with its source again.
    """

    end_of_life: str = ""
    table_max_age: int = 180


NO_BASES: Final = Bases()
_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    "end-of-life": parse_text,
    "table-max-age": parse_number,
}


def parse_bases(value: object) -> Bases:
    """Return what the table `bases` holds.

    Raises:
        MismatchError, InputError: it is no such table.
    """
    return Bases(**parse_fields(value, _KEYS, "bases."))
