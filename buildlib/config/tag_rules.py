"""Rules that say which image tags a version gets: templates with conditions, checked when loaded.

A template writes tags, and reads them back: one that can't be read back is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any, Final, TypeVar

from buildlib.config.key_types import (
    FLAG,
    KeyType,
    MismatchError,
    gathered,
    parse_keys,
    parse_names,
    parse_table,
    parse_text,
    parse_texts,
    schema_of,
    setting,
)
from buildlib.errors import InputError, did_you_mean
from buildlib.image.reference import LATEST


class VersionKind(StrEnum):
    """What is published: the version's own kind, or a build that was asked for by name."""

    RELEASE = "release"
    PRERELEASE = "prerelease"
    OTHER = "other"  # a version that the scheme does not order
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
_TEXT: Final = frozenset("_.-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_NUMBER: Final = frozenset("0123456789")
_HEX: Final = frozenset("0123456789abcdef")
# What each name may be in a tag, and which characters that are.
_FORMS: Final = {
    "version": (r"v?[0-9][0-9A-Za-z_.-]*", _TEXT),
    "major": (r"[0-9]+", _NUMBER),
    "minor": (r"[0-9]+", _NUMBER),
    "patch": (r"[0-9]+", _NUMBER),
    "prerelease": (r"[0-9A-Za-z_.-]+", _TEXT),
    "branch": (r"[0-9A-Za-z_.-]+", _TEXT),
    "short": (r"[0-9a-f]{7,40}", _HEX),
    "revision": (r"[0-9a-f]{40}", _HEX),
}
_LINE: Final = frozenset({"major", "minor", "patch"})
_ORDERED: Final = frozenset({VersionKind.RELEASE, VersionKind.PRERELEASE})


Choice = TypeVar("Choice", VersionKind, Line)


def _choice(kind: type[Choice], value: object, where: str) -> Choice:
    # What is not text can't be looked up in a set.
    if not isinstance(value, str) or value not in set(kind):
        raise InputError(f"{where}: unknown value {value!r}", hint=did_you_mean(value, kind))
    return kind(value)


def _filled(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise MismatchError("a list of texts")
    if not value:
        raise InputError(
            f"{where} is empty: the rule can never apply", hint="fill it, or leave it out"
        )
    return parse_texts(value)


def _kinds(value: object, where: str) -> tuple[VersionKind, ...]:
    return tuple(_choice(VersionKind, word, where) for word in _filled(value, where))


def _template(value: object, where: str, names: Sequence[str] = _NAMES) -> str:
    template = parse_text(value)
    for name in _PLACEHOLDER.findall(template):
        if name not in names:
            raise InputError(
                f"{where}: unknown name {{{name}}} in {template!r}", hint=did_you_mean(name, names)
            )
    literal = _PLACEHOLDER.sub("", template)
    if not template or not _LITERAL.fullmatch(literal) or template[0] in ".-":
        raise InputError(
            f"{where}: {template!r} can't become a tag",
            why="a tag has letters, digits, _ . - and starts with none of . and -",
            hint="names stand in braces, {version}",
        )
    return template


def _suffix(value: object, where: str) -> str:
    if not isinstance(value, str) or not _LITERAL.fullmatch(value):
        raise InputError(f"{where}: {value!r} can't be part of a tag", hint='such as "-alpine"')
    return value


_LISTED: Final = {"type": "array", "minItems": 1}
SUFFIX: Final = KeyType(_suffix, {"type": "string"}, placed=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class TagRule:
    """One tag, and when it is given.

    Args:
        template: its names are `version`, `major`, `minor`, `patch`, `prerelease`, `branch`,
            `short` and `revision` (of the commit).
    """

    template: str = setting(
        KeyType(_template, {"type": "string"}, placed=True),
        "text of the tag, with names such as {version} in braces",
    )
    on: tuple[VersionKind, ...] = setting(
        KeyType(
            _kinds, {**_LISTED, "items": {"enum": [str(kind) for kind in VersionKind]}}, placed=True
        ),
        "kinds of versions that get it",
        default=(),
    )
    highest: Line | None = setting(
        KeyType(partial(_choice, Line), {"enum": [str(line) for line in Line]}, placed=True),
        "it moves only to the highest release of this line",
        default=None,
    )
    zero: bool = setting(FLAG, "false: not for 0.y.z", default=True)
    branches: tuple[str, ...] = setting(
        KeyType(_filled, {**_LISTED, "items": {"type": "string"}}, placed=True),
        "patterns of branches, one of which has to match",
        default=(),
    )
    suffix: str = setting(SUFFIX, "comes after the template, such as -alpine", default="")

    @property
    def parts(self) -> tuple[str, ...]:
        """Return texts and names in turn, as they make the tag; the first and the last is a text.

        By them the tag is written, and read.
        """
        return tuple(_PLACEHOLDER.split(self.template + self.suffix))

    @property
    def names(self) -> frozenset[str]:
        """Return the names that the template uses."""
        return frozenset(self.parts[1::2])

    @property
    def floating(self) -> bool:
        """Return whether the same tag can stand for one version today and another tomorrow."""
        pinned = self.names & {"version", "short", "revision"}
        return not pinned and not self.names >= _LINE

    @property
    def has_version(self) -> bool:
        """Return whether the whole version can be read from a tag."""
        return "version" in self.names or self.names >= _LINE

    def render(self, values: Mapping[str, str]) -> str:
        """Return the text of the tag, not yet mapped into the tag grammar."""
        return "".join(
            values[part] if number % 2 else part for number, part in enumerate(self.parts)
        )

    def read(self, tag: str) -> Mapping[str, str] | None:
        """Return what each name stands for in a tag; None: this rule did not write it."""
        pattern, seen = "", set[str]()
        for number, part in enumerate(self.parts):
            if number % 2 == 0:
                pattern += re.escape(part)
            elif part in seen:
                pattern += f"(?P={part})"
            else:
                seen.add(part)
                pattern += f"(?P<{part}>{_FORMS[part][0]})"
        match = re.fullmatch(pattern, tag)
        return match.groupdict() if match else None

    def version_in(self, tag: str) -> str:
        """Return the version that a tag was made of; empty: it can't be read from it."""
        found = self.read(tag) if self.has_version else None
        if found is None:
            return ""
        if "version" in found:
            return found["version"]
        end = f"-{found['prerelease']}" if "prerelease" in found else ""
        return f"{found['major']}.{found['minor']}.{found['patch']}{end}"


DEFAULT_RULES: Final = (
    TagRule(
        template="{version}",
        on=(VersionKind.RELEASE, VersionKind.PRERELEASE, VersionKind.OTHER, VersionKind.SNAPSHOT),
    ),
    TagRule(template="{major}.{minor}", on=(VersionKind.RELEASE,), highest=Line.MINOR),
    TagRule(template="{major}", on=(VersionKind.RELEASE,), highest=Line.MAJOR, zero=False),
    TagRule(template=LATEST, on=(VersionKind.RELEASE,), highest=Line.ALL),
    TagRule(template="edge", on=(VersionKind.EDGE,)),
    TagRule(template="sha-{short}", on=(VersionKind.EDGE,)),
)


def version_ending(rules: Sequence[TagRule]) -> str:
    """Return what comes after the version in the tag of a release: `-alpine`."""
    with_version = [rule for rule in rules if rule.has_version]
    releases = [rule for rule in with_version if VersionKind.RELEASE in rule.on]
    rule = (releases or with_version or rules)[0]
    return rule.parts[-1] if rule.has_version else rule.suffix


def latest_tag(rules: Sequence[TagRule]) -> str:
    """Return `latest` as the rules write it, or with the version's ending where none does."""
    written = (rule.parts[0] for rule in rules if rule.template == LATEST)
    return next(written, LATEST + version_ending(rules))


def moves(rules: Sequence[TagRule], tag: str) -> bool:
    """Return whether a tag looks like one that moves from version to version."""
    # A branch may be called anything: a version stays one.
    moving = (rule for rule in rules if rule.floating and "branch" not in rule.names)
    return any(rule.read(tag) is not None for rule in moving)


def pins(rules: Sequence[TagRule], tag: str) -> bool:
    """Return whether a tag looks like one that stands for one image for ever, and like none else.

    Args:
        tag: as the tag grammar allows it.
    """
    pinned = any(rule.read(tag) is not None for rule in rules if not rule.floating)
    return pinned and not moves(rules, tag)


def _shorthand(template: str, suffix: str) -> TagRule:
    """Return the rule that a template alone stands for."""
    for rule in DEFAULT_RULES:
        if rule.template == template:
            return replace(rule, suffix=suffix)
    names = frozenset(_PLACEHOLDER.findall(template))
    if "version" in names:
        return TagRule(template=template, on=DEFAULT_RULES[0].on, suffix=suffix)
    if names & _COMMIT:
        return TagRule(template=template, on=(VersionKind.EDGE,), suffix=suffix)
    if "prerelease" in names:
        return TagRule(template=template, on=(VersionKind.PRERELEASE,), suffix=suffix)
    # A number, or a word such as "stable": of releases, and only ever forward.
    line = Line.MINOR if "minor" in names else Line.MAJOR if "major" in names else Line.ALL
    pinned = names >= _LINE
    return TagRule(
        template=template,
        on=(VersionKind.RELEASE,),
        highest=None if pinned else line,
        suffix=suffix,
    )


def _never(rule: TagRule) -> tuple[str, str] | None:
    """Return why the rule can never apply, and what to do, or None."""
    if rule.names & _NUMBERS and set(rule.on) == {VersionKind.OTHER}:
        return "a version without an order has no numbers", "use {version}"
    if "prerelease" in rule.names and set(rule.on) == {VersionKind.RELEASE}:
        return "a release has no prerelease", 'say on = ["prerelease"]'
    if rule.highest and not set(rule.on) & _ORDERED:
        return "only releases and prereleases have a highest", "leave highest out"
    return None


def _check_readable(where: str, rule: TagRule) -> None:
    """Raise InputError where it can't be read from a tag where one name ends and the next begins.

    It does from the left where what is between them can't be part of the first, and from the
    right where it can't be part of the second.
    """
    parts = rule.parts
    seams = [(parts[n], parts[n + 1], parts[n + 2]) for n in range(1, len(parts) - 2, 2)]
    from_left = [bool(text) and text[0] not in _FORMS[one][1] for one, text, _ in seams]
    from_right = [bool(text) and text[-1] not in _FORMS[other][1] for _, text, other in seams]
    for number, (one, _, other) in enumerate(seams):
        if not all(from_left[: number + 1]) and not all(from_right[number:]):
            raise InputError(
                f"{where}: {rule.template!r} can't be read back",
                why=f"a tag would not tell where {{{one}}} ends and {{{other}}} begins",
                hint=f"give {{{other}}} a rule of its own, or use {{short}} instead",
            )


def _listed(value: object) -> list[object]:
    if not isinstance(value, list) or not value:
        raise MismatchError("a list with a rule in it")
    return value


def _schema_of_rules() -> dict[str, Any]:
    return {**_LISTED, "items": {"anyOf": [{"type": "string"}, schema_of(TagRule)]}}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tags:
    """The table `tags`, of the project or of a registry."""

    rules: Sequence[object] = setting(
        KeyType(_listed, _schema_of_rules),
        "tags that a publication gives: templates, or tables with conditions",
        default=(),
    )
    suffix: str = setting(SUFFIX, "comes after every template", default="")


def _rule(value: object, suffix: str, where: str) -> TagRule:
    """Return a rule, with the conditions of the shorthand where it has none of its own."""
    if not isinstance(value, str | Mapping):
        raise MismatchError("a text or a table", where, value)
    fields = parse_keys(TagRule, {"template": value} if isinstance(value, str) else value, where)
    if "template" not in fields:
        raise InputError(f"{where} has no template", hint='such as template = "{version}"')
    rule = _shorthand(fields["template"], suffix)
    if not set(fields.get("on", rule.on)) & _ORDERED:
        rule = replace(rule, highest=None)
    rule = replace(rule, **fields)
    _check_readable(where, rule)
    return rule


def _check(rules: Sequence[TagRule], where: str) -> None:
    for number, rule in enumerate(rules):
        if never := _never(rule):
            raise InputError(
                f"{where}[{number}] ({rule.template}) can never apply", why=never[0], hint=never[1]
            )
        for before, other in enumerate(rules[:number]):
            same = (rule.template, rule.suffix) == (other.template, other.suffix)
            if same and set(rule.on) & set(other.on):
                raise InputError(
                    f"{where}[{number}] ({rule.template}) repeats {where}[{before}]",
                    hint="remove one of the two",
                )


def parse_rules(value: object, where: str = "tags") -> tuple[TagRule, ...]:
    """Return the rules that a table `{ rules = […], suffix = "…" }` holds.

    Args:
        value: the table; without `rules` it has the default ones.
        where: the table's name, for messages.

    Raises:
        MismatchError: a value is of another kind.
        InputError: a rule is not legal, repeats another, or can never apply.
    """
    table = parse_table(_Tags, value, where)
    listed = table.rules or [rule.template for rule in DEFAULT_RULES]
    where = f"{where}.rules"
    rules = gathered(
        partial(_rule, item, table.suffix, f"{where}[{number}]")
        for number, item in enumerate(listed)
    )
    _check(rules, where)
    return tuple(rules)


def _local_tags(value: object, where: str) -> tuple[str, ...]:
    found = parse_names(value)
    if not found:
        raise MismatchError('a list with a tag in it, such as ["{version}"]')
    return tuple(_template(one, where, ("version",)) for one in found)


LOCAL_TAGS: Final = KeyType(
    _local_tags,
    {"anyOf": [{"type": "string"}, {**_LISTED, "items": {"type": "string"}}]},
    placed=True,
)
TAGS: Final = KeyType(parse_rules, partial(schema_of, _Tags), placed=True)
