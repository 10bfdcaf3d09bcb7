"""Tags that move, back to an earlier version: what is there is verified, and nothing is built."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildlib.errors import InputError
from buildlib.precedence import parse_semver
from buildlib.reference import legal_part
from buildlib.registry.client import Repository
from buildlib.registry.push import Tagged, put_tag
from buildlib.tagplan import line_values
from buildlib.tagrules import Kind, TagRule

if TYPE_CHECKING:
    import semver


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


def earlier_version(repository: Repository, moving: str) -> str:
    """Return the highest release below the one that a tag stands for.

    Args:
        repository: says what is there.
        moving: the tag, such as `latest`.

    Raises:
        InputError: the tag is not there, or there is no earlier release (exit 2).
    """
    tags = repository.tags()
    if moving not in tags:
        raise InputError(f"{repository.name} has no tag {moving}")
    now = repository.digest(moving)
    releases = _releases(tags)
    current = [v for v in releases if repository.digest(legal_part(str(v))) == now]
    below = [v for v in releases if v < max(current, default=releases[-1])] if releases else []
    if not below:
        raise InputError(
            f"{repository.name} has no release before the one that {moving} stands for",
            hint="name the version: invoke docker-rollback --version VERSION",
        )
    return str(below[-1])


def plan_rollback(repository: Repository, version: str, rules: Sequence[TagRule]) -> Rollback:
    """Return what a rollback to a version moves: every floating tag that the version could have.

    Raises:
        InputError: the version is no release, or not there (exit 2).
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
    return Rollback(
        repository=repository,
        version=version,
        digest=digest,
        tags=tuple((tag, before) for tag, before in held if before != digest),
    )


def roll_back(rollback: Rollback) -> tuple[Tagged, ...]:
    """Move the tags; that the version is to be trusted was seen before.

    Raises:
        BuildlibError: the registry does not do it.
    """
    return tuple(
        put_tag(rollback.repository, rollback.digest, tag, immutable=False)
        for tag, _ in rollback.tags
    )
