"""Which paths a `.dockerignore` keeps out of the build context.

Source: docs.docker.com/build/concepts/context, ".dockerignore files": Go's filepath.Match plus
`**`; the last line that matches decides; a pattern that matches a directory holds for all below.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from posixpath import normpath


def _to_regex(pattern: str) -> re.Pattern[str]:
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        rest = pattern[position:]
        if rest.startswith("**/"):
            parts.append("(?:.*/)?")
            position += 3
        elif rest.startswith("**"):
            parts.append(".*")
            position += 2
        elif rest[0] in "*?":
            parts.append("[^/]*" if rest[0] == "*" else "[^/]")
            position += 1
        elif (bracket := re.match(r"\[(\^?)([^]]+)\]", rest)) is not None:
            parts.append(f"[{bracket[1]}{bracket[2]}]")
            position += len(bracket[0])
        else:
            escaped = rest[0] == "\\" and len(rest) > 1
            parts.append(re.escape(rest[1] if escaped else rest[0]))
            position += 2 if escaped else 1
    return re.compile("".join(parts) + "(?:/.*)?", re.DOTALL)


def _may_match_below(pattern: str, name: str) -> bool:
    """Return whether the pattern could match something that lies in the directory."""
    wanted, given = pattern.split("/"), name.split("/")
    for part, own in zip(wanted, given, strict=False):
        if "**" in part:
            return True
        if not _to_regex(part).fullmatch(own):
            return False
    return len(wanted) > len(given)


class DockerIgnore:
    """The lines of one file, ready to be asked."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Compile the patterns; comments and blank lines count for nothing."""
        self._rules: list[tuple[bool, re.Pattern[str], str]] = []
        for raw in lines:
            line = raw.strip()
            if not line or line.startswith("#"):
                continue
            exclude = not line.startswith("!")
            pattern = normpath(line.removeprefix("!").strip()).lstrip("/")
            self._rules.append((exclude, _to_regex(pattern), pattern))

    def excludes(self, path: str, *, directory: bool = True) -> bool:
        """Return whether the path, or all that lies below it, stays out of the context.

        Args:
            path: relative to the context.
            directory: it is one, and in as soon as a later exception could match below it.
        """
        name = normpath(path).strip("/")
        if name in {".", ""}:
            return False
        excluded = False
        for exclude, regex, pattern in self._rules:
            if regex.fullmatch(name):
                excluded = exclude
            elif directory and not exclude and excluded and _may_match_below(pattern, name):
                excluded = False
        return excluded
