"""Rules that say which image tags a version gets: templates with conditions, checked when read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from buildlib.errors import InputError, did_you_mean


class Kind(StrEnum):
    """What is published: the version's own kind, or a build that was asked for by name."""

    RELEASE = "release"
    PRERELEASE = "prerelease"
    OTHER = "other"  # a version that is not SemVer
    SNAPSHOT = "snapshot"
    EDGE = "edge"


class Line(StrEnum):
    """Among which releases a version has to be the highest to move a tag."""

    MINOR = "minor"
    MAJOR = "major"
    ALL = "all"


_NUMBERS: Final = frozenset({"major", "minor", "patch", "prerelease"})
_COMMIT: Final = frozenset({"branch", "short", "revision"})
_NAMES: Final = ("version", "major", "minor", "patch", "prerelease", "branch", "short", "revision")
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_LITERAL: Final = re.compile(r"[A-Za-z0-9_.-]*")
_KEYS: Final = ("template", "on", "highest", "zero", "branches", "suffix")
_ORDERED: Final = frozenset({Kind.RELEASE, Kind.PRERELEASE})


@dataclass(frozen=True, kw_only=True, slots=True)
class TagRule:
    """One tag, and when it is given.

    Args:
        template: text with names in braces: `version`, `major`, `minor`, `patch`, `prerelease`,
            `branch`, `short` and `revision` (of the commit).
        on: the kinds that it applies to.
        highest: it moves only to the highest release of this line; None: always.
        zero: it applies to `0.y.z` as well.
        branches: patterns, one of which the branch has to match; none: any branch.
        suffix: comes after what the template gives, `-alpine`.
    """

    template: str
    on: tuple[Kind, ...]
    highest: Line | None = None
    zero: bool = True
    branches: tuple[str, ...] = ()
    suffix: str = ""

    @property
    def names(self) -> frozenset[str]:
        """Return the names that the template uses."""
        return frozenset(_PLACEHOLDER.findall(self.template))

    @property
    def floating(self) -> bool:
        """Return whether the same tag can stand for one version today and another tomorrow."""
        pinned = self.names & {"version", "short", "revision"}
        return not pinned and not self.names >= {"major", "minor", "patch"}

    def render(self, values: Mapping[str, str]) -> str:
        """Return the text of the tag, not yet mapped into the tag grammar."""
        return _PLACEHOLDER.sub(lambda match: values[match[1]], self.template) + self.suffix


DEFAULT_RULES: Final = (
    TagRule(template="{version}", on=(Kind.RELEASE, Kind.PRERELEASE, Kind.OTHER, Kind.SNAPSHOT)),
    TagRule(template="{major}.{minor}", on=(Kind.RELEASE,), highest=Line.MINOR),
    TagRule(template="{major}", on=(Kind.RELEASE,), highest=Line.MAJOR, zero=False),
    TagRule(template="latest", on=(Kind.RELEASE,), highest=Line.ALL),
    TagRule(template="edge", on=(Kind.EDGE,)),
    TagRule(template="sha-{short}", on=(Kind.EDGE,)),
)


# What may stand where a name was, in a tag that somebody else wrote.
_FORMS: Final = {
    "version": r"v?[0-9][0-9A-Za-z_.-]*",
    "major": r"(?:0|[1-9][0-9]*)",
    "minor": r"(?:0|[1-9][0-9]*)",
    "patch": r"(?:0|[1-9][0-9]*)",
    "prerelease": r"[0-9A-Za-z_.-]+",
    "branch": r"[0-9A-Za-z_.-]+",
    "short": r"[0-9a-f]{7,40}",
    "revision": r"[0-9a-f]{40}",
}


def _looks_like(rule: TagRule, tag: str) -> bool:
    parts = _PLACEHOLDER.split(rule.template + rule.suffix)
    pattern = "".join(
        _FORMS[part] if number % 2 else re.escape(part) for number, part in enumerate(parts)
    )
    return bool(re.fullmatch(pattern, tag))


def pins(rules: Sequence[TagRule], tag: str) -> bool:
    """Return whether a tag looks like one that stands for one image for ever, and like none else.

    Args:
        rules: of a registry.
        tag: as the tag grammar allows it.
    """
    # A branch may be called anything: a version stays one.
    moving = (rule for rule in rules if rule.floating and "branch" not in rule.names)
    pinned = any(_looks_like(rule, tag) for rule in rules if not rule.floating)
    return pinned and not any(_looks_like(rule, tag) for rule in moving)


Choice = TypeVar("Choice", Kind, Line)


def _choice(where: str, key: str, value: object, kind: type[Choice]) -> Choice:
    # What is no text can't be looked up in a set.
    if not isinstance(value, str) or value not in set(kind):
        raise InputError(f"{where}: unknown {key} {value!r}", hint=did_you_mean(value, kind))
    return kind(value)


def _strings(where: str, key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InputError(
            f"{where}: {key} must be a list of texts, not {value!r}", hint=f'such as {key} = ["…"]'
        )
    if not value:
        raise InputError(
            f"{where} can never apply: {key} is empty", hint=f"leave {key} out, or fill it"
        )
    return tuple(value)


def _check_template(where: str, template: object) -> str:
    if not isinstance(template, str) or not template:
        raise InputError(
            f"{where}: template must be a text, not {template!r}", hint='such as "{version}"'
        )
    for name in _PLACEHOLDER.findall(template):
        if name not in _NAMES:
            raise InputError(
                f"{where}: unknown name {{{name}}} in {template!r}", hint=did_you_mean(name, _NAMES)
            )
    literal = _PLACEHOLDER.sub("", template)
    if not _LITERAL.fullmatch(literal) or template[0] in ".-":
        raise InputError(
            f"{where}: {template!r} can't become a tag",
            why="a tag has letters, digits, _ . - and starts with none of . and -",
            hint="names stand in braces, {version}",
        )
    return template


def _check_suffix(where: str, suffix: object) -> str:
    if not isinstance(suffix, str) or not _LITERAL.fullmatch(suffix):
        raise InputError(
            f"{where}: the suffix {suffix!r} can't be part of a tag", hint='such as "-alpine"'
        )
    return suffix


def _shorthand(template: str, suffix: str) -> TagRule:
    """Return the rule that a template alone stands for."""
    for rule in DEFAULT_RULES:
        if rule.template == template:
            return TagRule(
                template=template, on=rule.on, highest=rule.highest, zero=rule.zero, suffix=suffix
            )
    names = frozenset(_PLACEHOLDER.findall(template))
    if "version" in names:
        return TagRule(template=template, on=DEFAULT_RULES[0].on, suffix=suffix)
    if names & _COMMIT:
        return TagRule(template=template, on=(Kind.EDGE,), suffix=suffix)
    if "prerelease" in names:
        return TagRule(template=template, on=(Kind.PRERELEASE,), suffix=suffix)
    # A number, or a word such as "stable": of releases, and only ever forward.
    line = Line.MINOR if "minor" in names else Line.MAJOR if "major" in names else Line.ALL
    pinned = "patch" in names
    return TagRule(
        template=template, on=(Kind.RELEASE,), highest=None if pinned else line, suffix=suffix
    )


def _never(rule: TagRule) -> tuple[str, str] | None:
    """Return why the rule can never apply, and what to do, or None."""
    if rule.names & _NUMBERS and set(rule.on) == {Kind.OTHER}:
        return "a version that is not SemVer has no numbers", "use {version}"
    if "prerelease" in rule.names and set(rule.on) == {Kind.RELEASE}:
        return "a release has no prerelease", 'say on = ["prerelease"]'
    if rule.highest and not set(rule.on) & _ORDERED:
        return "only releases and prereleases have a highest", "leave highest out"
    return None


def _rule(where: str, value: object, suffix: str) -> TagRule:
    table = {"template": value} if isinstance(value, str) else value
    if not isinstance(table, Mapping):
        raise InputError(
            f"{where} must be a text or a table, not {value!r}",
            hint='such as { template = "{major}", on = ["release"], highest = "major" }',
        )
    for key in table:
        if key not in _KEYS:
            raise InputError(f"{where}: unknown key {key}", hint=did_you_mean(key, _KEYS))
    template = _check_template(where, table.get("template"))
    own = _check_suffix(where, table.get("suffix", suffix))
    short = _shorthand(template, own)
    on, highest, zero = short.on, short.highest, table.get("zero", short.zero)
    if "on" in table:
        words = _strings(where, "on", table["on"])
        on = tuple(_choice(where, "on", word, Kind) for word in words)
        # What the shorthand says of the order holds for what it says of the kinds.
        highest = highest if set(on) & _ORDERED else None
    if "highest" in table:
        highest = _choice(where, "highest", table["highest"], Line)
    if not isinstance(zero, bool):
        raise InputError(
            f"{where}: zero must be true or false, not {zero!r}", hint="false: never for 0.y.z"
        )
    branches = _strings(where, "branches", table["branches"]) if "branches" in table else ()
    return TagRule(
        template=template, on=on, highest=highest, zero=zero, branches=branches, suffix=own
    )


def _check_rules(where: str, rules: Sequence[TagRule]) -> None:
    for number, rule in enumerate(rules, 1):
        if never := _never(rule):
            raise InputError(
                f"{where} {number} ({rule.template}) can never apply", why=never[0], hint=never[1]
            )
        for before, other in enumerate(rules[: number - 1], 1):
            same = (rule.template, rule.suffix) == (other.template, other.suffix)
            if same and set(rule.on) & set(other.on):
                raise InputError(
                    f"{where} {number} ({rule.template}) repeats rule {before}",
                    hint="remove one of the two",
                )


def parse_rules(value: object, *, where: str = "tags") -> tuple[TagRule, ...]:
    """Return the rules that a table `{ rules = […], suffix = "…" }` holds.

    Args:
        value: the table; without `rules` it has the default ones.
        where: the table's name, for messages.

    Raises:
        InputError: a rule is not legal, repeats another, or can never apply.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"{where} must be a table, not {value!r}", hint=f"[{where}] rules = […]")
    for key in value:
        if key not in {"rules", "suffix"}:
            raise InputError(
                f"unknown configuration key {where}.{key}",
                hint=did_you_mean(key, ("rules", "suffix")),
            )
    suffix = _check_suffix(where, value.get("suffix", ""))
    listed = value.get("rules", [rule.template for rule in DEFAULT_RULES])
    if not isinstance(listed, list) or not listed:
        raise InputError(
            f"{where}.rules must be a list with a rule in it, not {listed!r}",
            hint="leave it out for the default rules",
        )
    rules = [
        _rule(f"{where}: rule {number}", item, suffix) for number, item in enumerate(listed, 1)
    ]
    _check_rules(f"{where}: rule", rules)
    return tuple(rules)
