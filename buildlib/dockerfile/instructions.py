"""The instructions of a Dockerfile one by one, for what `parser` does not read."""

from __future__ import annotations

from typing import NamedTuple

from buildlib.dockerfile.lines import (
    escape_of,
    logical_lines,
    split_instruction,
    split_lines,
    split_options,
)

_BYTE_ORDER_MARK = "\ufeff"


class Instruction(NamedTuple):
    """One instruction.

    Args:
        name: in capitals.
        options: those at its beginning, without quotes.
        rest: what follows them, as written.
        line: the number of its first line, from 1.
        stage: the number of its stage, from 0; -1 above the first FROM.
    """

    name: str
    options: tuple[str, ...]
    rest: str
    line: int
    stage: int


def read_instructions(text: str) -> tuple[Instruction, ...]:
    """Return the instructions of a Dockerfile's text in their order, FROM included."""
    found: list[Instruction] = []
    stage = -1
    lines = split_lines(text.removeprefix(_BYTE_ORDER_MARK))
    for (first, _), line in logical_lines(lines, escape_of(lines)):
        name, rest = split_instruction(line)
        options, rest = split_options(rest)
        stage += name.upper() == "FROM"
        found.append(Instruction(name.upper(), tuple(options), rest, first + 1, stage))
    return tuple(found)
