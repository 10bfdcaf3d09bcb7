"""Tags that move, back to an earlier version: what is there is verified, and nothing is built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from buildlib.errors import GateError, InputError
from buildlib.precedence import parse_semver
from buildlib.reference import legal_part
from buildlib.registry.claim import Claim, all_claimed
from buildlib.registry.client import Repository
from buildlib.registry.tags import Tagged, check_lapse, put_tag
from buildlib.tagplan import line_values
from buildlib.tagrules import Kind, TagRule

if TYPE_CHECKING:
    import semver

# What a release is found by that is to be taken back.
LATEST: Final = "latest"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollback:
    """Of one registry: `tags` go to a version's digest, each with what it stands for by now."""

    repository: Repository
    version: str
    digest: str
    tags: tuple[tuple[str, str], ...]


def _releases(tags: Iterable[str]) -> list[semver.Version]:
    found = [parsed for tag in tags if (parsed := parse_semver(tag))]
    return sorted(version for version in found if not version.prerelease)


def gives_latest(rules: Iterable[TagRule]) -> bool:
    """Return whether a registry with these rules has `latest` from publishing."""
    return any(rule.template + rule.suffix == LATEST and Kind.RELEASE in rule.on for rule in rules)


def _standing(
    repository: Repository, moving: str, releases: Sequence[semver.Version]
) -> semver.Version | None:
    """Return the release that a tag stands for; None: it is something else by now."""
    now = repository.digest(moving)
    # The highest is the likely one, and each is a question of its own.
    highest_first = reversed(releases)
    return next((v for v in highest_first if repository.digest(legal_part(str(v))) == now), None)


def earlier_version(repositories: Iterable[Repository], moving: str = LATEST) -> str:
    """Return the highest release below the one that a tag stands for, everywhere.

    Args:
        repositories: say what is there; one that does not have the tag has no say.
        moving: the tag.

    Raises:
        InputError: the tag is nowhere, or not one release everywhere, as after a rollback that
            broke off; or there is no earlier release (exit 2).
    """
    held = [(one, one.tags()) for one in repositories]
    asked = [(one, _releases(tags)) for one, tags in held if moving in tags]
    found = {one.name: _standing(one, moving, releases) for one, releases in asked}
    hint = "name the version: invoke docker-rollback --version VERSION"
    if not found:
        raise InputError(f"no registry has a tag {moving}", hint=hint)
    if len(set(found.values())) > 1:
        each = ", ".join(f"{name}: {version or 'no release'}" for name, version in found.items())
        raise InputError(
            f"{moving} differs ({each})", why="an earlier rollback may have broken off", hint=hint
        )
    (current,) = set(found.values())
    if current is None:
        raise InputError(f"{moving} stands for no release that is there", hint=hint)
    below = [v for _, releases in asked for v in releases if v < current]
    if not below:
        raise InputError(f"there is no release before {current}, which {moving} is", hint=hint)
    return str(max(below))


def plan_rollback(
    repository: Repository,
    version: str,
    rules: Sequence[TagRule],
    immutable: Iterable[str] = (),
) -> Rollback:
    """Return what a rollback to a version moves: every floating tag that the version could have.

    Args:
        repository: says what is there.
        version: to go back to.
        rules: of the registry.
        immutable: patterns of tags that never move there.

    Raises:
        InputError: the version is no release, or not there (exit 2).
        GateError: a tag would have to move that must not (exit 7).
    """
    parsed = parse_semver(version)
    if parsed is None or parsed.prerelease:
        raise InputError(f"{version} is no release: no tag that moves stands for it")
    digest = repository.digest(legal_part(version))
    if not digest:
        raise InputError(
            f"{repository.name} has no {version}",
            hint=f"there are {', '.join(map(str, _releases(repository.tags()))) or 'none'}",
        )
    values = line_values(parsed)
    names = [
        legal_part(rule.render(values))
        for rule in rules
        if rule.floating
        and Kind.RELEASE in rule.on
        and rule.names <= values.keys()
        and (rule.zero or parsed.major)
    ]
    there = set(repository.tags())
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
    return Rollback(repository=repository, version=version, digest=digest, tags=moving)


def moves(plans: Iterable[Rollback]) -> Iterator[tuple[Rollback, str]]:
    """Yield each tag that moves, with the plan that it is of; everywhere `latest` comes last.

    By that tag the way back is found: who breaks off before it has moved everywhere finds the
    same way once more, or that it differs, and never one that leads a release too far.
    """
    pairs = [(plan, tag) for plan in plans for tag, _ in plan.tags]
    yield from sorted(pairs, key=lambda pair: pair[1] == LATEST)


def roll_back(
    plans: Sequence[Rollback],
    replan: Callable[[], Sequence[Rollback]],
    claims: Mapping[str, Claim],
) -> Iterator[tuple[Rollback, Tagged]]:
    """Move the tags, and yield each as it moves; that the version is to be trusted was seen before.

    Args:
        plans: one for each registry.
        replan: makes them again, when nobody else gives tags.
        claims: on the repositories, by their names.

    Raises:
        GateError: a tag was moved by somebody else since the plans were made (exit 7).
        BuildlibError: a registry does not do it.
    """
    with all_claimed(claims.values()):
        if tuple(replan()) != tuple(plans):
            raise GateError(
                "tags were moved while the version to go back to was verified",
                hint="see what they point to now, and run invoke docker-rollback again",
            )
        for plan, tag in moves(plans):
            claim = claims[plan.repository.name]
            yield plan, put_tag(plan.repository, plan.digest, tag, immutable=False, claim=claim)
            check_lapse(claim, plan.repository, tag)
