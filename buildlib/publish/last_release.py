"""The release before this one, as the registries have it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from buildlib.config.config import Config
from buildlib.diff.check import Subject
from buildlib.registry.open import Opened
from buildlib.registry.repository import Repository
from buildlib.registry.transfer import pulled
from buildlib.versioning.tag_plan import versions_in
from buildlib.versioning.version import SNAPSHOT


class Release(NamedTuple):
    """A release in a registry: its reference by tag, and its digest."""

    name: str
    digest: str
    repository: Repository


def last_release(opened: Iterable[Opened], config: Config, own: str = "") -> Release | None:
    """Return the highest release in the first registry that has one; None: there is none yet.

    Args:
        opened: registries, in their order; required ones come first.
        own: the version that is being published: only a lower one counts; empty: any does.

    Raises:
        AuthorisationError, TransientError, EngineError: a registry does not answer.
    """
    naming = config.naming
    ours = naming.read(own) if own else None
    # A registry that may fail comes after those that may not.
    for one in sorted(opened, key=lambda one: not one.registry.required):
        tags = [tag for tag in one.repository.tags() if SNAPSHOT not in tag]
        found = [
            (version, tag)
            for version, tag in versions_in(tags, config.tag_rules(one.registry), naming)
            if ours is None or version.key < ours.key
        ]
        # A prerelease only counts where nothing else was released.
        found.sort(key=lambda pair: (not pair[0].prerelease, pair[0].key))
        for _, tag in reversed(found):
            if digest := one.repository.digest(tag):
                return Release(f"{one.registry.repository}:{tag}", digest, one.repository)
    return None


def find_release(opened: Iterable[Opened], config: Config, version: str) -> Release | None:
    """Return the release of a version in the first registry that has it; None: none has it.

    Raises:
        AuthorisationError, TransientError, EngineError: a registry does not answer.
    """
    naming = config.naming
    wanted = naming.read(version)
    for one in opened:
        known = versions_in(one.repository.tags(), config.tag_rules(one.registry), naming)
        tags = [tag for found, tag in known if wanted and found.key == wanted.key]
        for tag in (version, *tags):
            if digest := one.repository.digest(tag):
                return Release(f"{one.registry.repository}:{tag}", digest, one.repository)
    return None


@contextmanager
def pulled_release(
    opened: Iterable[Opened], config: Config, own: str = ""
) -> Iterator[Subject | None]:
    """Pull the release that `last_release` finds, for the time of the block.

    Raises:
        GateError: it is not a whole image (exit 7).
        AuthorisationError, TransientError, EngineError: a registry does not answer.
    """
    found = last_release(opened, config, own)
    if found is None:
        yield None
        return
    with pulled(found.repository, found.digest) as archive:
        yield Subject(name=found.name, archive=archive)
