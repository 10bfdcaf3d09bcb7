"""Which tags of a repository are newer than the one in use, by their numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

_TAG: Final = re.compile(r"(v?)(\d+(?:\.\d+)*)((?:[-_].*)?)")
_PARTS_WITH_PATCH: Final = 3
_DATE: Final = 100_000  # of six digits or more


class Newer(NamedTuple):
    """Newer tags; empty where there is none.

    Args:
        patch: of the same line, `1.24.9` for `1.24.3`; a tag without a patch moves by itself.
        minor: of a later line, `1.26` for `1.24`.
    """

    patch: str = ""
    minor: str = ""


NOTHING_NEWER: Final = Newer()


def _numbers(match: re.Match[str]) -> tuple[int, ...]:
    return tuple(map(int, match[2].split(".")))


def find_newer(tag: str, tags: Iterable[str]) -> Newer:
    """Return the newest tags that are written as this one is: `1.24-alpine`, `1.26-alpine`.

    Args:
        tag: the one in use; one without numbers has no newer ones.
    """
    own = _TAG.fullmatch(tag)
    if not own:
        return Newer()
    numbers = _numbers(own)
    alike = {
        _numbers(match): match[0]
        for match in map(_TAG.fullmatch, tags)
        if match and (match[1], match[3]) == (own[1], own[3])
    }
    # A date, 3.12.20240101, is another way to number than 3.12.1.
    dated = [number >= _DATE for number in numbers]
    same = {
        found: name
        for found, name in alike.items()
        if len(found) == len(numbers) and [number >= _DATE for number in found] == dated
    }
    patches = [found for found in same if found[:-1] == numbers[:-1] and found > numbers]
    minors = [found for found in same if found[0] == numbers[0] and found[:2] > numbers[:2]]
    has_patch = len(numbers) >= _PARTS_WITH_PATCH
    return Newer(
        patch=same[max(patches)] if has_patch and patches else "",
        minor=same[max(minors)] if len(numbers) > 1 and minors else "",
    )
