"""Moves floating tags back to an earlier version that is in the registries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from buildlib.config.tag_rules import TagRule, VersionKind, latest_tag
from buildlib.errors import GateError, InputError
from buildlib.image.reference import LATEST
from buildlib.program import PROGRAM
from buildlib.registry.claim import Claim, all_claimed
from buildlib.registry.repository import Repository
from buildlib.registry.tags import Tagged, check_lapse, put_tag
from buildlib.version_schemes import Naming, Parsed
from buildlib.versioning.tag_plan import tag_of, versions_in
from buildlib.versioning.version import SNAPSHOT

_NAMING: Final = Naming()


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollback:
    """The rollback of one registry: `tags` go to the digest of a version, each with its digest now.

    `latest` is the tag by which the release that is rolled back is found.
    """

    repository: Repository
    version: str
    digest: str
    tags: tuple[tuple[str, str], ...]
    latest: str


def _releases(
    tags: Iterable[str], rules: Sequence[TagRule], naming: Naming
) -> list[tuple[Parsed, str]]:
    found = versions_in((tag for tag in tags if SNAPSHOT not in tag), rules, naming)
    return sorted(
        ((version, tag) for version, tag in found if not version.prerelease),
        key=lambda pair: pair[0].key,
    )


def gives_latest(rules: Iterable[TagRule]) -> bool:
    """Return whether these rules give `latest` to releases, with any suffix."""
    return any(rule.template == LATEST and VersionKind.RELEASE in rule.on for rule in rules)


class _Releases:
    """The releases of one registry."""

    def __init__(self, repository: Repository, rules: Sequence[TagRule], naming: Naming) -> None:
        self.repository, self._rules = repository, rules
        self.tags, self.latest = repository.tags(), latest_tag(rules)
        self._releases = _releases(self.tags, rules, naming)

    def pointed_to(self, moving: str) -> Parsed | None:
        """Return the release that a tag points to; None: it points to something else."""
        now = self.repository.digest(moving)
        # The highest first, as it is the likely one, and each takes a request.
        return next(
            (v for v, tag in reversed(self._releases) if self.repository.digest(tag) == now), None
        )

    def below(self, current: Parsed) -> Parsed | None:
        """Return the highest release below one, and not another tag of the same release."""
        now = {self.repository.digest(tag) for v, tag in self._releases if v.key == current.key}
        lower = [(v, tag) for v, tag in self._releases if v.key < current.key]
        # If versions may have one or two numbers, 1.2 may be a floating tag.
        return next((v for v, tag in reversed(lower) if self._is_fixed(tag, now)), None)

    def _is_fixed(self, tag: str, others: set[str]) -> bool:
        moves = any(rule.floating and rule.read(tag) is not None for rule in self._rules)
        return not moves or self.repository.digest(tag) not in others


def earlier_version(
    registries: Iterable[tuple[Repository, Sequence[TagRule]]], naming: Naming = _NAMING
) -> str:
    """Return the highest release below the one that `latest` points to in all registries.

    Args:
        registries: with their rules; those without the tag are ignored.

    Raises:
        InputError: no registry has the tag; or it differs between them, as after a rollback that
            was interrupted; or there is no earlier release (exit 2).
    """
    held = [_Releases(repository, rules, naming) for repository, rules in registries]
    asked = [one for one in held if one.latest in one.tags]
    found = {one.repository.name: one.pointed_to(one.latest) for one in asked}
    moving = " and ".join(dict.fromkeys(one.latest for one in asked or held)) or LATEST
    hint = f"name the version: {PROGRAM} docker-rollback --version VERSION"
    if not found:
        raise InputError(f"no registry has a tag {moving}", hint=hint)
    texts = {name: version.text if version else "no release" for name, version in found.items()}
    if len(set(texts.values())) > 1:
        each = ", ".join(f"{name}: {text}" for name, text in texts.items())
        raise InputError(
            f"{moving} differs ({each})",
            why="an earlier rollback was interrupted",
            hint=hint,
        )
    current = next(iter(found.values()))
    if current is None:
        raise InputError(f"{moving} does not point to a release that is there", hint=hint)
    below = [version for one in asked if (version := one.below(current))]
    if not below:
        raise InputError(
            f"there is no release before {current.text}, which {moving} points to", hint=hint
        )
    return max(below, key=lambda version: version.key).text


def plan_rollback(
    repository: Repository,
    version: str,
    rules: Sequence[TagRule],
    immutable: Iterable[str] = (),
    naming: Naming = _NAMING,
) -> Rollback:
    """Return what a rollback to a version moves: every floating tag that the version could have.

    Args:
        immutable: patterns of tags that never move there.

    Raises:
        InputError: the version is not a release, or is missing (exit 2).
        GateError: a tag that is immutable would have to move (exit 7).
    """
    parsed = naming.parse(version)
    if parsed is None or parsed.prerelease:
        raise InputError(f"{version} is not a release: no tag that moves points to it")
    there = set(repository.tags())
    releases = _releases(there, rules, naming)
    # A version with build metadata can't be read from its tag, only written as one.
    own = [tag_of(rule, parsed) for rule in rules if "version" in rule.names]
    own += [tag for known, tag in releases if known.same(parsed)]
    digest = next((repository.digest(tag) for tag in own if tag in there), "")
    if not digest:
        known = dict.fromkeys(release.text for release, _ in releases)
        raise InputError(
            f"{repository.name} has no {version}", hint=f"there are {', '.join(known) or 'none'}"
        )
    names = [
        tag
        for rule in rules
        if rule.floating
        and VersionKind.RELEASE in rule.on
        and (rule.zero or parsed.numbers[0])
        and (tag := tag_of(rule, parsed))
    ]
    held = [(tag, repository.digest(tag)) for tag in dict.fromkeys(names) if tag in there]
    moving = tuple((tag, before) for tag, before in held if before != digest)
    for pattern in immutable:
        for tag, _ in moving:
            if fnmatchcase(tag, pattern):
                raise GateError(
                    f"{repository.name}:{tag} would have to move, and immutable forbids that",
                    why=f"it matches {pattern!r}",
                    hint="change immutable in that registry's table if the tag may move",
                )
    return Rollback(
        repository=repository, version=version, digest=digest, tags=moving, latest=latest_tag(rules)
    )


def in_order(plans: Iterable[Rollback]) -> Iterator[tuple[Rollback, str]]:
    """Yield each tag that moves, with its plan; `latest` comes last in all registries.

    The release to roll back is found by `latest`: a rollback that is interrupted before all of
    them have moved is found again, or as a difference, and never goes back one release too far.
    """
    pairs = [(plan, tag) for plan in plans for tag, _ in plan.tags]
    yield from sorted(pairs, key=lambda pair: pair[1] == pair[0].latest)


def roll_back(
    plans: Sequence[Rollback],
    replan: Callable[[], Sequence[Rollback]],
    claims: Mapping[str, Claim],
) -> Iterator[tuple[Rollback, Tagged]]:
    """Move the tags, and yield each as it moves; the version has been verified before.

    Args:
        plans: one for each registry.
        replan: makes them again, once the repositories are claimed.
        claims: on the repositories, by their names.

    Raises:
        GateError: another publisher has moved a tag since the plans were made (exit 7).
        BuildlibError: a registry failed.
    """
    with all_claimed(claims.values()):
        if tuple(replan()) != tuple(plans):
            raise GateError(
                "tags were moved while the version to go back to was verified",
                hint=f"see what they point to now, and run {PROGRAM} docker-rollback again",
            )
        for plan, tag in in_order(plans):
            claim = claims[plan.repository.name]
            yield plan, put_tag(plan.repository, plan.digest, tag, immutable=False, claim=claim)
            check_lapse(claim, plan.repository, tag)
