"""Which tags a publication gives, and which it holds back and why.

Pure functions of the version, of what git and the registry hold, and of the rules.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from buildlib.config.tag_rules import Line, TagRule, VersionKind
from buildlib.errors import BuildlibError, InputError
from buildlib.git.facts import Changes, GitFacts, NoGit
from buildlib.image.reference import legal_part
from buildlib.version_schemes import Naming, Parsed
from buildlib.versioning.preconditions import UNSHALLOW, Mode, refusals
from buildlib.versioning.version import SNAPSHOT, Version

_NAMING: Final = Naming()
# How many numbers two versions of one line have in common.
_DEPTH: Final = {Line.ALL: 0, Line.MAJOR: 1, Line.MINOR: 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class TagPlan:
    """The outcome.

    Args:
        kind: what the version counts as.
        tags: to be given, in the order of the rules; empty where something forbids it.
        floating: those of them that may stand for another version tomorrow.
        held_back: (tag, reason) of those that a reader may have expected.
        mapped: (as the rule wrote it, as the tag grammar allows it), where the two differ.
        refusals: what forbids to publish, all of it.
    """

    kind: VersionKind
    tags: tuple[str, ...] = ()
    floating: tuple[str, ...] = ()
    held_back: tuple[tuple[str, str], ...] = ()
    mapped: tuple[tuple[str, str], ...] = ()
    refusals: tuple[BuildlibError, ...] = ()


def kind_of(version: Version, mode: Mode = Mode.RELEASE, naming: Naming = _NAMING) -> VersionKind:
    """Return what a version counts as for the rules."""
    if mode is Mode.EDGE:
        return VersionKind.EDGE
    if mode is Mode.SNAPSHOT or version.snapshot:
        return VersionKind.SNAPSHOT
    parsed = naming.parse(version.value)
    if parsed is None:
        return VersionKind.OTHER
    return VersionKind.PRERELEASE if parsed.prerelease else VersionKind.RELEASE


def versions_in(
    tags: Iterable[str], rules: Iterable[TagRule], naming: Naming = _NAMING
) -> list[tuple[Parsed, str]]:
    """Return the versions that can be read from a registry's tags by the rules, each with its tag.

    Args:
        naming: by which a text is a version.
    """
    with_version = [rule for rule in rules if rule.has_version]
    texts = ((rule.version_in(tag), tag) for tag in tags for rule in with_version)
    found = ((naming.read(text), tag) for text, tag in texts if text)
    return [(parsed, tag) for parsed, tag in found if parsed]


class _Order:
    """Every version that is known, for the question whether a higher one exists."""

    def __init__(
        self, git: GitFacts, naming: Naming, rules: Iterable[TagRule], in_registry: Iterable[str]
    ) -> None:
        self._naming = naming
        self._texts = {naming.version_of(tag) for tag in git.tags} - {""}
        self._in_git = [parsed for text in self._texts if (parsed := naming.parse(text))]
        released = (tag for tag in in_registry if SNAPSHOT not in tag)
        there = [parsed for parsed, _ in versions_in(released, rules, naming)]
        found = [(parsed, "") for parsed in self._in_git]
        found += [(one, " (in the registry)") for one in there if one.text not in self._texts]
        # Build metadata has no place in the order, so no tag is kept back for it.
        self._known = [(parsed, where) for parsed, where in found if not parsed.build]

    def has(self, text: str, own: Parsed) -> bool:
        """Return whether git has the version of an image tag, and that is not our own."""
        found_version = self._naming.read(text)
        if text in self._texts or found_version is None or found_version.same(own):
            return text in self._texts
        return any(found_version.same(parsed) for parsed in self._in_git)

    def higher(self, own: Parsed, line: Line, *, prereleases: bool) -> str:
        """Return the highest version of the line above `own`, and where it is; or nothing."""
        above = [
            (other, where)
            for other, where in self._known
            if _is_above(other, own, line, prereleases=prereleases)
        ]
        if not above:
            return ""
        other, where = max(above, key=lambda pair: pair[0].key)
        return f"{other.text} is higher{where}"


def _is_above(other: Parsed, own: Parsed, line: Line, *, prereleases: bool) -> bool:
    """Return whether a version is higher than `own` in the same line."""
    depth = _DEPTH[line]
    # Without a name of its major it is of no line, but counts among all versions.
    of_line = not depth or bool(other.names[0])
    return bool(
        other.key > own.key
        and of_line
        and other.numbers[:depth] == own.numbers[:depth]
        and (prereleases or not other.prerelease)
    )


def line_values(parsed: Parsed) -> dict[str, str]:
    """Return what the names in a template stand for, as far as the version alone gives it."""
    numbers = zip(("major", "minor", "patch"), parsed.names, strict=True)
    return {"version": parsed.text, **dict(numbers), "prerelease": parsed.prerelease}


_NO_LINE: Final = {"major": "", "minor": "", "patch": "", "prerelease": ""}


def _values(version: Version, git: GitFacts, parsed: Parsed | None) -> dict[str, str]:
    """Return what the names in a template stand for; one that is empty has no value."""
    return {
        **(line_values(parsed) if parsed else _NO_LINE),
        "version": version.value,
        "branch": git.branch,
        "short": git.short,
        "revision": git.revision,
    }


def tag_of(rule: TagRule, parsed: Parsed | None) -> str:
    """Return the tag that a rule gives to a version; empty: it needs more than the version."""
    values = line_values(parsed) if parsed else {}
    known = all(values.get(name) for name in rule.names)
    return legal_part(rule.render(values)) if known else ""


def rightful_tag(
    tag: str,
    own: str,
    rules: Sequence[TagRule],
    in_registry: Iterable[str],
    naming: Naming = _NAMING,
) -> str:
    """Return the version tag of the highest release in the registry that a tag is for by the rules.

    Args:
        own: a version that it could be for.
        naming: by which a text is a version.

    Returns:
        One of `in_registry`, or nothing where there is no higher release than `own`.
    """
    parsed = naming.parse(own)
    rule = next((r for r in rules if r.highest and tag_of(r, parsed) == tag), None)
    if parsed is None or rule is None or rule.highest is None:
        return ""
    prereleases = VersionKind.PRERELEASE in rule.on
    # Of a flavour with a suffix, only what has the same one.
    alike = [r for r in rules if r.suffix == rule.suffix]
    above = [
        (version, held)
        for version, held in versions_in(in_registry, alike, naming)
        if not version.build and _is_above(version, parsed, rule.highest, prereleases=prereleases)
    ]
    return max(above, key=lambda pair: pair[0].key)[1] if above else ""


class _Planner:
    """One version, one set of rules."""

    def __init__(
        self,
        version: Version,
        git: GitFacts,
        kind: VersionKind,
        order: _Order,
        naming: Naming,
        rules: Sequence[TagRule],
    ) -> None:
        self._rules = rules
        self._version, self._git, self._kind, self._order = version, git, kind, order
        self._naming, self._own = naming, naming.parse(version.value)
        self._values = _values(version, git, self._own)

    def expects(self, rule: TagRule) -> bool:
        """Return whether someone may look for this tag: a release's on other builds as well."""
        almost = (
            self._kind in {VersionKind.PRERELEASE, VersionKind.OTHER}
            and VersionKind.RELEASE in rule.on
        )
        return self._kind in rule.on or almost

    def missing(self, rule: TagRule) -> list[str]:
        """Return the names in the template that have no value here."""
        return sorted(name for name in rule.names if not self._values[name])

    def render(self, rule: TagRule) -> str:
        """Return the text of the rule's tag."""
        return rule.render(self._values)

    def reason(self, rule: TagRule) -> str:
        """Return why the rule's tag is held back, or nothing."""
        return next(filter(None, self._reasons(rule)), "")

    def _reasons(self, rule: TagRule) -> Iterator[str]:
        branch = self._git.branch
        if self._kind not in rule.on:
            scheme = f'not a version by version-scheme = "{self._naming.scheme}"'
            what = "a prerelease" if self._kind is VersionKind.PRERELEASE else scheme
            yield f"{self._version.value} is {what}"
        if rule.branches and not any(fnmatchcase(branch, glob) for glob in rule.branches):
            yield f"only on {', '.join(rule.branches)}, and this is {branch or 'no branch'}"
        if self._own and self._kind is not VersionKind.EDGE:
            yield self.misread(rule)
            if rule.floating:
                yield from self._floating_reasons(rule, self._own)

    def misread(self, rule: TagRule) -> str:
        """Return why a tag would be taken for that of another version, or nothing."""
        own = self._own
        if own is None or not rule.has_version or self._kind is VersionKind.SNAPSHOT:
            return ""
        found = self._naming.read(rule.version_in(legal_part(self.render(rule))))
        # With build metadata, 1.2.3-fork for 1.2.3+fork, no tag that moves depends on it.
        same = found is not None and found.same(own)
        harmless = own.build and "version" in rule.names and (not found or found.prerelease)
        if same or harmless:
            return ""
        other = f"reads as {found.text}" if found else "does not contain its version"
        return f"such a tag {other}, and this is {own.text}"

    def _floating_reasons(self, rule: TagRule, own: Parsed) -> Iterator[str]:
        if own.build:
            yield "build metadata moves no tag"
        if not rule.zero and own.numbers[0] == 0:
            yield "0.y releases may be incompatible with each other"
        called = self._versions_called(self.render(rule)) if rule.names else ()
        if any(self._order.has(text, own) for text in called):
            yield "a git tag names a version of just that name"
        if rule.highest and self._git.shallow:
            yield f"older tags can't be seen in a shallow clone ({UNSHALLOW})"
        if rule.highest:
            prereleases = VersionKind.PRERELEASE in rule.on
            yield self._order.higher(own, rule.highest, prereleases=prereleases)

    def _versions_called(self, tag: str) -> Iterator[str]:
        """Yield the versions that would have just this tag, and keep it."""
        texts = (rule.version_in(tag) for rule in self._rules if not rule.floating)
        yield from (text for text in texts if text not in {"", self._version.value})


def _untold(
    version: Version, planner: _Planner, rules: Iterable[TagRule], kind: VersionKind
) -> InputError | None:
    """Return why the version is in no tag: what moves then could go back unnoticed."""
    with_version = [r for r in rules if r.has_version and kind in r.on and not planner.missing(r)]
    misread = list(filter(None, map(planner.misread, with_version)))
    if not misread or len(misread) < len(with_version):
        return None
    return InputError(
        f"no tag would contain the version {version.value}",
        why=misread[0],
        hint="give it another number, or add a rule with {version}",
    )


def _problems(
    version: Version,
    kind: VersionKind,
    given: Collection[str],
    held: Mapping[str, str],
    rules: Iterable[TagRule],
) -> tuple[BuildlibError, ...]:
    literals = {rule.template + rule.suffix for rule in rules if not rule.names}
    if not given:
        reasons = "; ".join(f"{tag}: {reason}" for tag, reason in held.items())
        return (
            InputError(
                f"no tag is left for {version.value}",
                why=reasons or f"no rule gives one to {kind} here",
                hint="see the rules in the table tags",
            ),
        )
    clashes = sorted(literals & set(given)) if kind is VersionKind.OTHER else []
    return tuple(
        InputError(
            f"the version {version.value} would take the tag {clash}, which moves",
            hint="rename the git tag, or change the rule",
        )
        for clash in clashes
    )


def _sorted_out(
    planner: _Planner, rules: Sequence[TagRule], kind: VersionKind
) -> tuple[dict[str, str], set[str], dict[str, str]]:
    """Return what is given, as tag and text, those of it that never move, and what is held back."""
    given: dict[str, str] = {}
    pinned: set[str] = set()
    held: dict[str, str] = {}
    for rule in filter(planner.expects, rules):
        if missing := planner.missing(rule):
            # Where the rule is not for this kind anyway, a missing name does not matter.
            if kind in rule.on:
                held[rule.template + rule.suffix] = f"there is no {', no '.join(missing)} here"
            continue
        text = planner.render(rule)
        tag = legal_part(text)
        if reason := planner.reason(rule) or ("" if tag else "no character of it is legal"):
            held[tag or text] = reason
        else:
            given[tag] = text
            # One rule that pins a tag is enough, whatever the others call by the same name.
            pinned |= set() if rule.floating else {tag}
    return given, pinned, held


def plan_tags(
    version: Version,
    git: GitFacts | NoGit,
    changes: Changes,
    *,
    rules: Sequence[TagRule],
    naming: Naming = _NAMING,
    mode: Mode = Mode.RELEASE,
    in_registry: Iterable[str] = (),
) -> TagPlan:
    """Return the tags that publishing would give now.

    Args:
        git: what git says; all its tags count for the floating ones.
        changes: what `git status` lists.
        rules: in the order of their tags.
        mode: a release, or what was asked for by name.
        in_registry: tags that the registry holds already; the versions among them count as git's.
    """
    kind = kind_of(version, mode, naming)
    forbidden = refusals(version, git, changes, mode=mode, naming=naming)
    if forbidden or isinstance(git, NoGit):
        return TagPlan(kind=kind, refusals=forbidden)
    order = _Order(git, naming, rules, in_registry)
    planner = _Planner(version, git, kind, order, naming, rules)
    given, pinned, held = _sorted_out(planner, rules, kind)
    untold = _untold(version, planner, rules, kind)
    problems = (untold,) if untold else _problems(version, kind, given, held, rules)
    return TagPlan(
        kind=kind,
        tags=() if problems else tuple(given),
        floating=() if problems else tuple(tag for tag in given if tag not in pinned),
        # Held back by one rule and given by another: given.
        held_back=tuple((tag, reason) for tag, reason in held.items() if tag not in given),
        mapped=tuple((text, tag) for tag, text in given.items() if text != tag),
        refusals=problems,
    )
