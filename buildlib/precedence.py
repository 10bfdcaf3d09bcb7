"""Which tags are versions, and which of them is higher: prefixes, and SemVer's precedence.

Source: semver.org, §9 to §11.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import semver


def parse_semver(text: str) -> semver.Version | None:
    """Return the version, or None where the text is not SemVer 2.0.0."""
    import semver  # noqa: PLC0415 - costs start-up time, and not every command asks

    try:
        return semver.Version.parse(text)
    except ValueError:
        return None


def version_of(tag: str, prefix: str) -> str:
    """Return the version that a tag names, or nothing where it names none.

    The prefix is cut; the customary `v` alone may be missing as well (`v1.2.3` or `1.2.3`).
    """
    if tag.startswith(prefix):
        return tag.removeprefix(prefix)
    return tag if prefix == "v" and tag[:1] in tuple("0123456789") else ""


def highest(tags: Iterable[str], prefix: str) -> str:
    """Return the highest of the tags that name a version, or nothing.

    SemVer comes before what is none, which is ordered by name; of two that SemVer calls equal
    the one without build metadata counts.
    """

    def precedence(tag: str) -> tuple[bool, object, bool, str]:
        text = version_of(tag, prefix)
        parsed = parse_semver(text)
        if parsed is None:
            return (False, text, False, tag)
        return (True, parsed, not parsed.build, tag)

    return max((tag for tag in tags if version_of(tag, prefix)), key=precedence, default="")
