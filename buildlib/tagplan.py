"""Which tags a publication gives, and which it holds back and why.

Pure functions of the version, of what git and the registry hold, and of the rules.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from buildlib.errors import BuildlibError, InputError
from buildlib.precedence import parse_semver, version_of
from buildlib.reference import legal_part
from buildlib.refusals import UNSHALLOW, Mode, refusals
from buildlib.tagrules import Kind, Line, TagRule
from buildlib.vcs import Changes, GitFacts, NoGit
from buildlib.version import SNAPSHOT, Version

if TYPE_CHECKING:
    import semver

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

    kind: Kind
    tags: tuple[str, ...] = ()
    floating: tuple[str, ...] = ()
    held_back: tuple[tuple[str, str], ...] = ()
    mapped: tuple[tuple[str, str], ...] = ()
    refusals: tuple[BuildlibError, ...] = ()


def kind_of(version: Version, mode: Mode = Mode.RELEASE) -> Kind:
    """Return what a version counts as for the rules."""
    if mode is Mode.EDGE:
        return Kind.EDGE
    if mode is Mode.SNAPSHOT or version.snapshot:
        return Kind.SNAPSHOT
    parsed = parse_semver(version.value)
    if parsed is None:
        return Kind.OTHER
    return Kind.PRERELEASE if parsed.prerelease else Kind.RELEASE


class _Order:
    """Every version that is known, for the question whether a higher one exists."""

    def __init__(
        self, git: GitFacts, prefix: str, rules: Iterable[TagRule], in_registry: Iterable[str]
    ) -> None:
        self._in_git = {version_of(tag, prefix) for tag in git.tags}
        suffixes = {rule.suffix for rule in rules}
        there = {
            tag.removesuffix(end)
            for tag in in_registry
            for end in suffixes
            if tag.endswith(end) and SNAPSHOT not in tag
        }
        found = [(text, "") for text in self._in_git] + [
            (text, " (in the registry)") for text in there - self._in_git
        ]
        self._known = [
            (parsed, where)
            for text, where in found
            # Build metadata has no place in the order, so it holds nobody back.
            if (parsed := parse_semver(text)) and not parsed.build
        ]

    def names(self, text: str) -> bool:
        """Return whether git has a version of exactly this text."""
        return text in self._in_git

    def higher(self, own: semver.Version, line: Line, *, prereleases: bool) -> str:
        """Return the highest version of the line above `own`, and where it is; or nothing."""
        depth = _DEPTH[line]
        above = [
            (other, where)
            for other, where in self._known
            if other > own
            and other.to_tuple()[:depth] == own.to_tuple()[:depth]
            and (prereleases or not other.prerelease)
        ]
        if not above:
            return ""
        other, where = max(above, key=lambda pair: pair[0])
        return f"{other} is higher{where}"


def line_values(parsed: semver.Version) -> dict[str, str]:
    """Return what the names in a template stand for, as far as the version alone tells."""
    return {
        "version": str(parsed),
        "major": str(parsed.major),
        "minor": str(parsed.minor),
        "patch": str(parsed.patch),
        "prerelease": str(parsed.prerelease or ""),
    }


_NO_LINE: Final = {"major": "", "minor": "", "patch": "", "prerelease": ""}


def _values(version: Version, git: GitFacts) -> dict[str, str]:
    """Return what the names in a template stand for; one that is empty has no value."""
    parsed = parse_semver(version.value)
    return {
        **(line_values(parsed) if parsed else _NO_LINE),
        "version": version.value,
        "branch": git.branch,
        "short": git.short,
        "revision": git.revision,
    }


def rightful_tag(tag: str, own: str, rules: Iterable[TagRule], in_registry: Iterable[str]) -> str:
    """Return the version tag of the highest release in the registry that a tag is for by the rules.

    Args:
        tag: that moves.
        own: a version that it could be for.
        rules: of the registry.
        in_registry: every tag that it holds.

    Returns:
        One of `in_registry`, or nothing where there is no higher release than `own`.
    """
    parsed = parse_semver(own)
    rule = next((r for r in rules if r.highest and _renders(r, parsed) == tag), None)
    if parsed is None or rule is None or rule.highest is None:
        return ""
    depth = _DEPTH[rule.highest]
    prereleases = Kind.PRERELEASE in rule.on
    versions = {
        version: held
        for held in in_registry
        if held.endswith(rule.suffix)
        and (version := parse_semver(held.removesuffix(rule.suffix)))
        and not version.build
        and version > parsed
        and version.to_tuple()[:depth] == parsed.to_tuple()[:depth]
        and (prereleases or not version.prerelease)
    }
    return versions[max(versions)] if versions else ""


def _renders(rule: TagRule, parsed: semver.Version | None) -> str:
    values = line_values(parsed) if parsed else {}
    return legal_part(rule.render(values)) if rule.names <= values.keys() else ""


class _Planner:
    """One version, one set of rules."""

    def __init__(self, version: Version, git: GitFacts, kind: Kind, order: _Order) -> None:
        self._version, self._git, self._kind, self._order = version, git, kind, order
        self._own = parse_semver(version.value)
        self._values = _values(version, git)

    def expects(self, rule: TagRule) -> bool:
        """Return whether someone may look for this tag: a release's on what is none as well."""
        almost = self._kind in {Kind.PRERELEASE, Kind.OTHER} and Kind.RELEASE in rule.on
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
            what = "a prerelease" if self._kind is Kind.PRERELEASE else "no version by SemVer"
            yield f"{self._version.value} is {what}"
        if rule.branches and not any(fnmatchcase(branch, glob) for glob in rule.branches):
            yield f"only on {', '.join(rule.branches)}, and this is {branch or 'no branch'}"
        if rule.floating and self._kind is not Kind.EDGE and self._own:
            yield from self._floating_reasons(rule, self._own)

    def _floating_reasons(self, rule: TagRule, own: semver.Version) -> Iterator[str]:
        if own.build:
            yield "build metadata moves no tag"
        if not rule.zero and own.major == 0:
            yield "0.y.z promises nothing for the whole of 0"
        if rule.names and self._order.names(self.render(rule).removesuffix(rule.suffix)):
            yield "a git tag names a version of just that name"
        if rule.highest and self._git.shallow:
            yield f"older tags can't be seen in a shallow clone ({UNSHALLOW})"
        if rule.highest:
            prereleases = Kind.PRERELEASE in rule.on
            yield self._order.higher(own, rule.highest, prereleases=prereleases)


def _problems(
    version: Version, kind: Kind, given: Collection[str], rules: Iterable[TagRule]
) -> tuple[BuildlibError, ...]:
    literals = {rule.template + rule.suffix for rule in rules if not rule.names}
    if not given:
        return (
            InputError(
                f"no tag is left for {version.value}",
                why=f"no rule gives one to {kind} here",
                hint="see the rules in the table tags",
            ),
        )
    clashes = sorted(literals & set(given)) if kind is Kind.OTHER else []
    return tuple(
        InputError(
            f"the version {version.value} would take the tag {clash}, which moves",
            hint="rename the git tag, or change the rule",
        )
        for clash in clashes
    )


def _sorted_out(
    planner: _Planner, rules: Sequence[TagRule], kind: Kind
) -> tuple[dict[str, str], set[str], dict[str, str]]:
    """Return what is given, as tag and text, those of it that never move, and what is held back."""
    given: dict[str, str] = {}
    pinned: set[str] = set()
    held: dict[str, str] = {}
    for rule in filter(planner.expects, rules):
        if missing := planner.missing(rule):
            # Where the rule is not for this kind anyway, nobody looks for a tag without a name.
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
    prefix: str = "v",
    mode: Mode = Mode.RELEASE,
    in_registry: Iterable[str] = (),
) -> TagPlan:
    """Return the tags that publishing would give now.

    Args:
        version: what would be published.
        git: what git says; all its tags count for the floating ones.
        changes: what `git status` lists.
        rules: in the order of their tags.
        prefix: of the git tags that name versions.
        mode: a release, or what was asked for by name.
        in_registry: tags that the registry holds already; the versions among them count as git's.
    """
    kind = kind_of(version, mode)
    forbidden = refusals(version, git, changes, mode=mode, prefix=prefix)
    if forbidden or isinstance(git, NoGit):
        return TagPlan(kind=kind, refusals=forbidden)
    planner = _Planner(version, git, kind, _Order(git, prefix, rules, in_registry))
    given, pinned, held = _sorted_out(planner, rules, kind)
    problems = _problems(version, kind, given, rules)
    return TagPlan(
        kind=kind,
        tags=() if problems else tuple(given),
        floating=() if problems else tuple(tag for tag in given if tag not in pinned),
        # Held back by one rule and given by another: given.
        held_back=tuple((tag, reason) for tag, reason in held.items() if tag not in given),
        mapped=tuple((text, tag) for tag, text in given.items() if text != tag),
        refusals=problems,
    )
