"""Our tag rules as templates of GoReleaser.

Source: goreleaser.com/customization/templates; a template that is empty in the end gives no tag.
"""

from __future__ import annotations

import json
from typing import Final

from buildlib.config.tag_rules import TagRule, VersionKind
from buildlib.errors import InputError

# Tags that are not to be moved by this release, with blanks between them. GoReleaser can't know:
# only the whole history shows whether a higher version was released already.
HELD_BACK: Final = "BUILDLIB_HELD_BACK"
# What our VERSION is to GoReleaser, and the version of a snapshot.
VERSION: Final = "{{ .Version }}"
SNAPSHOT: Final = "{{ incpatch .Version }}-SNAPSHOT-{{ .ShortCommit }}"
_FIELDS: Final = {
    "version": '(replace .Version "+" "-")',
    "major": ".Major",
    "minor": ".Minor",
    "patch": ".Patch",
    "prerelease": ".Prerelease",
    "short": ".ShortCommit",
    "revision": ".FullCommit",
}
_RELEASES: Final = {VersionKind.RELEASE, VersionKind.PRERELEASE}


def escape(text: str) -> str:
    """Return plain text as a template that gives that text."""
    return text.replace("{{", '{{ "{{" }}')


def _text(rule: TagRule, where: str) -> str:
    if unknown := sorted(rule.names - set(_FIELDS)):
        raise InputError(
            f"{where}: {rule.template} has {{{unknown[0]}}}, for which GoReleaser has no template",
            hint='give the rule on = ["edge"]; edge builds are published by docker-publish alone',
        )
    pattern = json.dumps("%v".join(rule.parts[::2]))
    fields = [_FIELDS[name] for name in rule.parts[1::2]]
    return f"printf {' '.join([pattern, *fields])}" if fields else pattern


def _conditions(rule: TagRule) -> list[str]:
    kinds = set(rule.on)
    found = [] if VersionKind.SNAPSHOT in kinds else ["(not .IsSnapshot)"]
    if not kinds >= _RELEASES:
        found.append(
            '(eq .Prerelease "")' if VersionKind.RELEASE in kinds else '(ne .Prerelease "")'
        )
    if not rule.zero:
        found.append("(ne .Major 0)")
    if rule.floating or rule.branches:
        held = f'(printf " %s " (envOrDefault "{HELD_BACK}" ""))'
        # Where the tags that are not moved are unknown, none is moved.
        found += [f'(isEnvSet "{HELD_BACK}")', f'(not (contains {held} (printf " %s " $tag)))']
    return found


def tag_template(rule: TagRule, where: str = "tags") -> str:
    """Return the template of a rule, or nothing where it is not about releases.

    Args:
        rule: of our configuration.
        where: it stands, for messages.

    Raises:
        InputError: GoReleaser can't know what it asks for (exit 2).
    """
    if not set(rule.on) & _RELEASES:
        return ""
    tag = f"{{{{ $tag := {_text(rule, where)} }}}}"
    conditions = _conditions(rule)
    if not conditions:
        return f"{tag}{{{{ $tag }}}}"
    both = conditions[0] if len(conditions) == 1 else f"and {' '.join(conditions)}"
    return f"{tag}{{{{ if {both} }}}}{{{{ $tag }}}}{{{{ end }}}}"
