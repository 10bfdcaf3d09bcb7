"""The base images of a Dockerfile and their digests: read, and rewritten in place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from buildlib.dockerfile import Stage, parse_dockerfile


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """A base image.

    Args:
        reference: as the Dockerfile has it once its variables are replaced, without digest.
        digests: what it is pinned to; empty text where a FROM has none.
        lines: of its FROMs, from 1.
    """

    reference: str
    digests: tuple[str, ...]
    lines: tuple[int, ...]

    @property
    def pinned(self) -> str:
        """Return the one digest that all of its FROMs have, or nothing."""
        return self.digests[0] if len(self.digests) == 1 else ""


def read_bases(text: str, build_args: Mapping[str, str]) -> tuple[Base, ...]:
    """Return the base images of all stages, in the order of the Dockerfile.

    Args:
        text: of the Dockerfile.
        build_args: that replace the defaults of its variables.
    """
    found: dict[str, list[tuple[str, int]]] = {}
    for stage, base in parse_dockerfile(text).external(build_args):
        name, _, digest = base.partition("@")
        found.setdefault(name, []).append((digest, stage.lines[0] + 1))
    return tuple(
        Base(
            reference=name,
            digests=tuple(dict.fromkeys(digest for digest, _ in rows)),
            lines=tuple(line for _, line in rows),
        )
        for name, rows in found.items()
    )


def repin(text: str, pins: Mapping[str, str], build_args: Mapping[str, str]) -> str:
    """Return the Dockerfile with the digests of its bases replaced, or added, and nothing else.

    Args:
        text: of the Dockerfile.
        pins: digest by reference, as `Base` has it.
        build_args: as for `read_bases`.
    """
    lines = text.splitlines(keepends=True)
    dockerfile = parse_dockerfile(text)
    for stage, base in dockerfile.external(build_args):
        name, _, old = base.partition("@")
        new = pins.get(name, old)
        for number, pattern, put in _changes(stage, old, new, dockerfile.global_lines):
            # A comment may stand between the lines of one instruction.
            if not lines[number].lstrip().startswith("#"):
                lines[number] = re.sub(pattern, put.replace("\\", r"\\"), lines[number])
    return "".join(lines)


def _changes(
    stage: Stage, old: str, new: str, above: Sequence[int]
) -> Iterator[tuple[int, str, str]]:
    """Yield line, pattern and replacement for one FROM.

    A digest that the FROM does not spell out itself is in the ARG above it.
    """
    if new == old:
        return
    if old:
        for number in range(*stage.lines) if old in stage.base else above:
            yield number, re.escape(old), new
        return
    word = rf"(?<![^\s]){re.escape(stage.base)}(?![^\s])"
    for number in range(*stage.lines):
        yield number, word, f"{stage.base}@{new}"
