"""Parses the two headers that have a grammar: links and challenges.

Source: RFC 8288, 3; RFC 9110, 5.6 and 11.6.1. Several headers of one name are one list, joined by
commas. Neither urllib3 nor the standard library parses them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_SPACE: Final = re.compile(r"[ \t]*")
_GAP: Final = re.compile(r"[ \t,]*")
# Some registries separate the parameters of a challenge by semicolons.
_WIDE_GAP: Final = re.compile(r"[ \t,;]*")
_TARGET: Final = re.compile(r"<([^<>]*)>")
_LINK_PARAMETER: Final = re.compile(
    rf'({_NAME})[ \t]*(?:=[ \t]*({_QUOTED}|[^\s",;=][^\s",;]*))?(?=[ \t]*(?:[;,]|$))'
)
# Some registries write an address without quotes, although it is not a token.
_PARAMETER: Final = re.compile(
    rf'({_NAME})[ \t]*=[ \t]*({_QUOTED}|[^\s",=][^\s",]*)(?=[ \t]*(?:[,;]|$))'
)
_SCHEME: Final = re.compile(rf"({_NAME})(?=[ \t,]|$)")
_TOKEN68: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))")


class Link(NamedTuple):
    """A link with its relation types, in lower case."""

    target: str
    relations: frozenset[str]


class Challenge(NamedTuple):
    """A way to sign in; the scheme and the names of the parameters are in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def _plain(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value[:1] == '"' else value


def _after(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position


def read_links(text: str) -> tuple[Link, ...]:
    """Return the links of a header, or of several that were joined.

    Raises:
        ValueError: it is not a list of links; a part of it is not returned.
    """
    found = []
    position = _after(_GAP, text, 0)
    while position < len(text):
        target = _TARGET.match(text, position)
        if not target:
            raise ValueError(text)
        relations, position = _relations(text, target.end())
        found.append(Link(target[1].strip(), relations))
        if position < len(text) and text[position] != ",":
            raise ValueError(text)
        position = _after(_GAP, text, position)
    return tuple(found)


def _relations(text: str, position: int) -> tuple[frozenset[str], int]:
    """Return the relation types of a link, and the end of its parameters."""
    relations: str | None = None
    position = _after(_SPACE, text, position)
    while text[position : position + 1] == ";":
        position = _after(_SPACE, text, position + 1)
        if one := _LINK_PARAMETER.match(text, position):
            position = _after(_SPACE, text, one.end())
            # Only the first counts; single quotes are in use, although the grammar has none.
            if one[1].lower() == "rel" and relations is None:
                relations = _plain(one[2] or "").strip("'")
    return frozenset((relations or "").lower().split()), position


def read_challenges(text: str) -> tuple[Challenge, ...]:
    """Return the challenges of a header, up to the first syntax error."""
    found: list[tuple[str, dict[str, str]]] = []
    position = _after(_GAP, text, 0)
    while position < len(text):
        if found and (one := _PARAMETER.match(text, position)):
            # The first of two parameters with the same name counts.
            found[-1][1].setdefault(one[1].lower(), _plain(one[2]))
        elif one := _SCHEME.match(text, position):
            found.append((one[1].lower(), {}))
            start = _after(_SPACE, text, one.end())
            # A token68, such as Negotiate's, unless it looks like a parameter.
            if not _PARAMETER.match(text, start):
                position = _after(_GAP, text, _after(_TOKEN68, text, start))
                continue
            position = start
            continue
        else:
            break
        position = _after(_WIDE_GAP, text, one.end())
    return tuple(Challenge(scheme, parameters) for scheme, parameters in found)
