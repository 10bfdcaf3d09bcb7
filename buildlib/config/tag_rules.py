"""Rules that say which image tags a version gets: templates with conditions, checked when loaded.

A template writes tags, and reads them back: one that can't be read back is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final, TypeVar

from buildlib.config.parse import check_keys, gathered
from buildlib.errors import InputError, did_you_mean
from buildlib.image.reference import LATEST


class Kind(StrEnum):
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
    def tells_version(self) -> bool:
        """Return whether a tag tells the whole version that it was made of."""
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
        """Return the version that a tag was made of; empty: it does not tell one."""
        found = self.read(tag) if self.tells_version else None
        if found is None:
            return ""
        if "version" in found:
            return found["version"]
        end = f"-{found['prerelease']}" if "prerelease" in found else ""
        return f"{found['major']}.{found['minor']}.{found['patch']}{end}"


DEFAULT_RULES: Final = (
    TagRule(template="{version}", on=(Kind.RELEASE, Kind.PRERELEASE, Kind.OTHER, Kind.SNAPSHOT)),
    TagRule(template="{major}.{minor}", on=(Kind.RELEASE,), highest=Line.MINOR),
    TagRule(template="{major}", on=(Kind.RELEASE,), highest=Line.MAJOR, zero=False),
    TagRule(template=LATEST, on=(Kind.RELEASE,), highest=Line.ALL),
    TagRule(template="edge", on=(Kind.EDGE,)),
    TagRule(template="sha-{short}", on=(Kind.EDGE,)),
)


def version_ending(rules: Sequence[TagRule]) -> str:
    """Return what comes after the version in the tag of a release: `-alpine`."""
    telling = [rule for rule in rules if rule.tells_version]
    releases = [rule for rule in telling if Kind.RELEASE in rule.on]
    rule = (releases or telling or rules)[0]
    return rule.parts[-1] if rule.tells_version else rule.suffix


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
        rules: of a registry.
        tag: as the tag grammar allows it.
    """
    pinned = any(rule.read(tag) is not None for rule in rules if not rule.floating)
    return pinned and not moves(rules, tag)


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
    pinned = names >= _LINE
    return TagRule(
        template=template, on=(Kind.RELEASE,), highest=None if pinned else line, suffix=suffix
    )


def _never(rule: TagRule) -> tuple[str, str] | None:
    """Return why the rule can never apply, and what to do, or None."""
    if rule.names & _NUMBERS and set(rule.on) == {Kind.OTHER}:
        return "a version without an order has no numbers", "use {version}"
    if "prerelease" in rule.names and set(rule.on) == {Kind.RELEASE}:
        return "a release has no prerelease", 'say on = ["prerelease"]'
    if rule.highest and not set(rule.on) & _ORDERED:
        return "only releases and prereleases have a highest", "leave highest out"
    return None


def _check_readable(where: str, rule: TagRule) -> None:
    """Raise InputError where a tag would not tell where one name ends and the next begins.

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
    rule = TagRule(
        template=template, on=on, highest=highest, zero=zero, branches=branches, suffix=own
    )
    _check_readable(where, rule)
    return rule


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
    check_keys(value, {"rules": None, "suffix": None}, where=f"{where}.")
    suffix = _check_suffix(where, value.get("suffix", ""))
    listed = value.get("rules", [rule.template for rule in DEFAULT_RULES])
    if not isinstance(listed, list) or not listed:
        raise InputError(
            f"{where}.rules must be a list with a rule in it, not {listed!r}",
            hint="leave it out for the default rules",
        )
    rules = gathered(
        partial(_rule, f"{where}: rule {number}", item, suffix)
        for number, item in enumerate(listed, 1)
    )
    _check_rules(f"{where}: rule", rules)
    return tuple(rules)


_ONE: Final = {
    "type": "object",
    "additionalProperties": False,
    "required": ["template"],
    "properties": {
        "template": {
            "type": "string",
            "description": "text of the tag, with names such as {version} in braces",
        },
        "on": {
            "type": "array",
            "items": {"enum": [str(kind) for kind in Kind]},
            "minItems": 1,
            "description": "kinds of versions that get it",
        },
        "highest": {
            "enum": [str(line) for line in Line],
            "description": "it moves only to the highest release of this line",
        },
        "zero": {"type": "boolean", "description": "false: not for 0.y.z"},
        "branches": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "description": "patterns of branches, one of which has to match",
        },
        "suffix": {"type": "string", "description": "comes after the template, such as -alpine"},
    },
}
# Of `tags`, and of the same table of a registry.
SCHEMA: Final[Mapping[str, object]] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "rules": {
            "type": "array",
            "minItems": 1,
            "items": {"anyOf": [{"type": "string"}, _ONE]},
            "description": "tags that a publication gives: templates, or tables with conditions",
        },
        "suffix": {"type": "string", "description": "comes after every template"},
    },
}
