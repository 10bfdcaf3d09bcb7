"""The base images of a Dockerfile and their digests: read, and rewritten in place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from buildlib.dockerfile.parser import Dockerfile, Place, parse_dockerfile

# What stands for the platform of the builder, and for those of the image.
BUILDER = "$BUILDPLATFORM"
TARGET = "$TARGETPLATFORM"


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """A base image.

    Args:
        reference: as the Dockerfile has it once its variables are replaced, without digest.
        digests: what it is pinned to; empty text where it has none somewhere.
        lines: of the instructions that name it, from 1.
        platforms: that instructions fix for it, as written; empty text: those of the image.
    """

    reference: str
    digests: tuple[str, ...]
    lines: tuple[int, ...]
    platforms: tuple[str, ...] = ("",)

    @property
    def pinned(self) -> str:
        """Return the one digest that it has everywhere, or nothing."""
        return self.digests[0] if len(self.digests) == 1 else ""


def read_bases(text: str, build_args: Mapping[str, str]) -> tuple[Base, ...]:
    """Return the images that all stages stand on or take files from, in the Dockerfile's order.

    Args:
        build_args: that replace the defaults of its variables.
    """
    found: dict[str, list[tuple[str, Place]]] = {}
    dockerfile = parse_dockerfile(text)
    for place, base in dockerfile.external(build_args):
        name, _, digest = base.partition("@")
        found.setdefault(name, []).append((digest, place))
    return tuple(
        Base(
            reference=name,
            digests=tuple(dict.fromkeys(digest for digest, _ in rows)),
            lines=tuple(place.lines[0] + 1 for _, place in rows),
            platforms=tuple(
                dict.fromkeys(_platform(dockerfile, place, build_args) for _, place in rows)
            ),
        )
        for name, rows in found.items()
    )


def _platform(dockerfile: Dockerfile, place: Place, build_args: Mapping[str, str]) -> str:
    """Return the platform that a place fixes; BuildKit's own variables stay as they are."""
    if place.directive:
        # It runs where the builder does.
        return BUILDER
    own = {name: f"${name}" for name in ("BUILDPLATFORM", "TARGETPLATFORM")}
    found = dockerfile.expand(place.platform, {**own, **build_args})
    return "" if found == TARGET else found


def repin(text: str, pins: Mapping[str, str], build_args: Mapping[str, str]) -> str:
    """Return the Dockerfile with the digests of its bases replaced, or added, and nothing else.

    Args:
        pins: digest by reference, as `Base` has it.
        build_args: as for `read_bases`.
    """
    lines = re.split(r"(?<=\n)", text)
    dockerfile = parse_dockerfile(text)
    for place, base in dockerfile.external(build_args):
        name, _, old = base.partition("@")
        new = pins.get(name, old)
        for number, pattern, put in _changes(place, old, new, dockerfile.global_lines):
            # A comment may stand between the lines of one instruction.
            if place.directive or not lines[number].lstrip().startswith("#"):
                lines[number] = re.sub(pattern, put.replace("\\", r"\\"), lines[number])
    return "".join(lines)


def _changes(
    place: Place, old: str, new: str, above: Sequence[int]
) -> Iterator[tuple[int, str, str]]:
    """Yield line, pattern and replacement for one place.

    A digest that it does not spell out itself is in the ARG above it.
    """
    if new == old:
        return
    if old and old not in place.name:
        yield from ((number, re.escape(old), new) for number in above)
        return
    # A command that follows a mount may name the same image, and stays as it is.
    before = r"(?:(?<=(?i:from=))|(?<=(?i:from=)[\"']))" if place.option else r"(?<![^\s])"
    before = r"(?<==)|(?<=\s)" if place.directive else before
    word = rf"(?:{before}){re.escape(place.name)}(?![^\s,\"'])"
    for number in range(*place.lines):
        yield number, word, _pinned(place.name, old, new)


def _pinned(written: str, old: str, new: str) -> str:
    """Return a name with its new digest, within its quotes if it ends with one."""
    if old:
        return written.replace(old, new)
    end = written[-1] if written[-1] in "\"'" else ""
    return f"{written.removesuffix(end)}@{new}{end}"
