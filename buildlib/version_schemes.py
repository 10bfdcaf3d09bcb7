"""Which git tags are versions, and which of two versions is higher: prefixes and schemes.

Sources: semver.org, §9 to §11; packaging.python.org, the specification of version specifiers
(PEP 440); calver.org.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from functools import cache
from typing import Any, Final, NamedTuple

import semver

_DIGITS: Final = tuple("0123456789")
_CENTURY: Final = 2000
# Year and what follows it, with dots or dashes, or a date without either; then a prerelease.
_CALVER: Final = re.compile(
    r"((?:[0-9]{4}|[0-9]{2})(?:[.-][0-9]{1,9}){1,3}|[0-9]{8}(?:[.-][0-9]{1,9}){0,2}|[0-9]{6})"
    r"(?:[._-]?((dev|alpha|a|beta|b|pre|rc|c)[.-]?([0-9]{0,9})))?"
)
_STAGES: Final = {"dev": 0, "alpha": 1, "a": 1, "beta": 2, "b": 2, "pre": 3, "rc": 3, "c": 3}
_DATE: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})?")


class Scheme(StrEnum):
    """By what a version is recognised and ordered."""

    SEMVER = "semver"
    PEP440 = "pep440"
    CALVER = "calver"
    ANY = "any"  # begins with a digit; what is SemVer is ordered by it, all else by nothing


EXAMPLES: Final = {
    Scheme.SEMVER: "1.2.3",
    Scheme.PEP440: "1.2.post1",
    Scheme.CALVER: "2026.1.3",
    Scheme.ANY: "1.2.3",
}


class Parsed(NamedTuple):
    """A version, taken apart; versions of one scheme are compared by `key`.

    Args:
        text: as it is written.
        key: has an order.
        numbers: the first three; one that is missing counts as 0.
        names: texts of major, minor and patch; empty where there is none, as with an epoch.
        prerelease: empty: it is a release.
        build: metadata that has no place in the order.
    """

    text: str
    key: Any
    numbers: tuple[int, int, int]
    names: tuple[str, str, str]
    prerelease: str = ""
    build: str = ""

    def same(self, other: Parsed | None) -> bool:
        """Return whether the other is the same version, however it is written."""
        return other is not None and (self.key, self.build) == (other.key, other.build)


def parse_semver(text: str) -> semver.Version | None:
    """Return the version, or None where the text is not SemVer 2.0.0."""
    try:
        return semver.Version.parse(text)
    except ValueError:
        return None


def _semver(text: str) -> Parsed | None:
    found = parse_semver(text)
    if found is None:
        return None
    numbers = (found.major, found.minor, found.patch)
    major, minor, patch = map(str, numbers)
    return Parsed(
        *(text, found, numbers, (major, minor, patch)),
        prerelease=found.prerelease or "",
        build=found.build or "",
    )


def _pep440(text: str) -> Parsed | None:
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415 - few projects ask

    if text.strip() != text or not text.isascii():
        return None
    try:
        found = Version(text)
    except InvalidVersion:
        return None
    numbers = (found.major, found.minor, found.micro)
    # A tag such as 2.0 stands for the line without an epoch: 1!2.0.1 is not of it.
    major, minor, patch = ("", "", "") if found.epoch else map(str, numbers)
    stage = "".join(map(str, found.pre or ()))
    stages = [stage, "" if found.dev is None else f"dev{found.dev}"]
    return Parsed(
        *(text, found, numbers, (major, minor, patch)),
        prerelease=".".join(filter(None, stages)),
        build=found.local or "",
    )


def _calver(text: str) -> Parsed | None:
    match = _CALVER.fullmatch(text)
    if not match:
        return None
    texts = re.split("[.-]", match[1])
    date = _DATE.fullmatch(texts[0])
    parts = [*filter(None, date.groups()), *texts[1:]] if date else texts
    year, *rest = map(int, parts)
    numbers = (year + _CENTURY * (len(parts[0]) == len("26")), *rest)
    stage = (_STAGES[match[3]], int(match[4] or 0)) if match[2] else (len(_STAGES), 0)
    first, second, third = (*numbers, 0, 0)[:3]
    major, minor, patch = (*texts, "", "")[:3]
    return Parsed(
        *(text, (numbers, stage), (first, second, third), (major, minor, patch)),
        prerelease=match[2] or "",
    )


_PARSERS: Final = {
    Scheme.SEMVER: _semver,
    Scheme.PEP440: _pep440,
    Scheme.CALVER: _calver,
    Scheme.ANY: _semver,
}


@cache
def parse_version(text: str, scheme: Scheme) -> Parsed | None:
    """Return the version, or None where the scheme does not order the text as a whole."""
    return _PARSERS[scheme](text) if text[:1] in _DIGITS else None


class Naming(NamedTuple):
    """How git tags name versions: `tag-prefix` and `version-scheme` of the configuration."""

    prefix: str = "v"
    scheme: Scheme = Scheme.SEMVER

    def parse(self, text: str) -> Parsed | None:
        """Return the version, or None where it has no place in the order."""
        return parse_version(text, self.scheme)

    def read(self, text: str) -> Parsed | None:
        """Return the version that an image tag was made of; what a tag can't hold became `-`."""
        if (found := self.parse(text)) or self.scheme is not Scheme.PEP440:
            return found
        # An epoch, 1!2.0, or a local version, 1.0+ubuntu.
        head, _, tail = text.partition("-")
        return self.parse(f"{head}!{tail}") or self.parse(f"{head}+{tail}")

    def version_of(self, tag: str) -> str:
        """Return the version that a tag names, or nothing where it names none.

        The prefix is cut; the customary `v` alone may be missing as well (`v1.2.3` or `1.2.3`).
        All of the rest has to be a version.
        """
        text = tag.removeprefix(self.prefix)
        if text == tag and self.prefix not in {"", "v"}:
            return ""
        return text if self.names(text) else ""

    def names(self, text: str) -> bool:
        """Return whether the whole of a text is a version, with a place in the order or without."""
        return text[:1] in _DIGITS and (self.scheme is Scheme.ANY or bool(self.parse(text)))

    def highest(self, tags: Iterable[str]) -> str:
        """Return the highest of the tags that name a version, or nothing.

        What has an order comes before what has none, which is ordered by name; of two equals
        the one without build metadata counts.
        """

        def precedence(tag: str) -> tuple[bool, object, bool, str]:
            text = self.version_of(tag)
            parsed = self.parse(text)
            if parsed is None:
                return (False, text, False, tag)
            return (True, parsed.key, not parsed.build, tag)

        return max(filter(self.version_of, tags), key=precedence, default="")

    def lines_of(self, tags: Iterable[str]) -> dict[str, list[str]]:
        """Return tags of one number or two, each with the tags of versions that begin with it.

        They may be tags that are moved along, as `v1` and `v1.2` with `v1.2.3`. By SemVer they are
        no versions anyway.
        """
        if self.scheme is Scheme.SEMVER:
            return {}
        named = {tag: text for tag in tags if (text := self.version_of(tag))}
        short = {tag: text for tag, text in named.items() if re.fullmatch(r"\d+(\.\d+)?", text)}
        found = {
            tag: [other for other, longer in named.items() if longer.startswith(f"{text}.")]
            for tag, text in short.items()
        }
        return {tag: longer for tag, longer in found.items() if longer}
