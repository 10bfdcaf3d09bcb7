"""The cache mounts of the two builds, found and removed; everything else in the cache stays.

A record of BuildKit's cache bears no mark of the build that it came from, except for a cache
mount, which has a namespace: those alone are surely ours. Layers are collected by BuildKit itself,
as after every other build.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from buildlib import interrupts
from buildlib.executor import Runner

_TIMEOUT: Final = 60.0
# A build that was interrupted lets go of its mounts a moment later.
_TRIES: Final = 15
_PAUSE: Final = 0.2
_REMEDY: Final = "docker buildx prune --filter type=exec.cachemount removes them, and all others"


def mounts_of(text: str, namespaces: Sequence[str]) -> tuple[str, ...]:
    """Return the identities of the cache mounts of some namespaces.

    Args:
        text: what `docker buildx du --verbose` printed; it has no JSON form in every version.
        namespaces: as BUILDKIT_CACHE_MOUNT_NS had them.
    """
    marks = tuple(f'with id "{namespace}/' for namespace in namespaces)
    found = []
    for block in text.split("\n\n"):
        rows = dict(re.findall(r"^([A-Z][A-Za-z ]*):[ \t]+(.*)$", block, re.MULTILINE))
        if "ID" in rows and any(mark in rows.get("Description", "") for mark in marks):
            found.append(rows["ID"].strip())
    return tuple(found)


class Cache:
    """The cache of one builder.

    Args:
        builder: its name; empty: the one in use.
    """

    def __init__(self, executor: Runner, builder: str = "") -> None:
        self._executor = executor
        self._options = ("--builder", builder) if builder else ()

    def mounts(self, namespaces: Sequence[str]) -> tuple[str, ...]:
        """Return the mounts that are there; nothing where the builder does not answer."""
        argv = ("docker", "buildx", "du", "--verbose", *self._options)
        return mounts_of(self._executor.run(argv, timeout=_TIMEOUT).stdout, namespaces)

    def remove(self, identities: Sequence[str]) -> None:
        """Remove records; those that are in use stay."""
        # A regular expression in every version of buildx, which has no other way to name several.
        pattern = "|".join(map(re.escape, identities))
        argv = ("docker", "buildx", "prune", "--force", *self._options)
        self._executor.run((*argv, "--filter", f"id=/^({pattern})$/"), timeout=_TIMEOUT)


@contextmanager
def without_mounts(cache: Cache, namespaces: Sequence[str]) -> Iterator[None]:
    """Remove the cache mounts that the builds in the block leave, however the block ends."""
    with interrupts.leaving("cache mounts of the two builds", _REMEDY):
        try:
            yield
        finally:
            with interrupts.held():
                _remove(cache, namespaces)


def _remove(cache: Cache, namespaces: Sequence[str]) -> None:
    for _ in range(_TRIES):
        left = cache.mounts(namespaces)
        if not left:
            return
        cache.remove(left)
        time.sleep(_PAUSE)
