"""What the two builds leave in the builder's cache, found and removed; everything else stays.

A record of BuildKit's cache bears no mark of the build that it came from, except for a cache
mount, which has a namespace. So it is one of ours if it was not there before, and is of a step of
ours, by name and time: docs/reproducible.md says what follows for others who build the same.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from buildlib.executor import Completed, Executor
from buildlib.progress import BuildProgress, Step

_TIMEOUT: Final = 60.0
# A build that was interrupted lets go of its records a moment later.
_TRIES: Final = 15
_PAUSE: Final = 0.2
# A record is written a little after BuildKit takes the step for done.
_SLACK: Final = timedelta(seconds=1)
_EXEC: Final = "mount / from exec "
_VARIABLE: Final = re.compile(r"\$\{[^}]*\}|\$\w+")


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheRecord:
    """A record of the builder's cache: what made it, and when."""

    id: str
    description: str
    created: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A step of a build of ours; one that was cut off has no end."""

    name: str
    started: datetime
    ended: datetime | None


def parse_records(text: str) -> tuple[CacheRecord, ...]:
    """Read what `docker buildx du --verbose` printed; it has no JSON form in every version."""
    found = []
    for block in text.split("\n\n"):
        rows = dict(re.findall(r"^([A-Z][A-Za-z ]*):[ \t]+(.*)$", block, re.MULTILINE))
        created = re.match(r"\S+ \d\d:\d\d:\d\d(\.\d{1,6})?", rows.get("Created at", ""))
        if "ID" in rows and created:
            found.append(
                CacheRecord(
                    id=rows["ID"].strip(),
                    description=rows.get("Description", "").strip(),
                    created=datetime.fromisoformat(created[0]).replace(tzinfo=UTC),
                )
            )
    return tuple(found)


def spans(steps: Iterable[Step]) -> tuple[Span, ...]:
    """Return the steps that were begun."""
    return tuple(
        Span(
            name=step.name,
            started=step.started,
            ended=None if step.seconds is None else step.started + timedelta(seconds=step.seconds),
        )
        for step in steps
        if step.started and not step.cached
    )


def ours(
    records: Iterable[CacheRecord],
    before: frozenset[str],
    steps: Sequence[Span],
    namespaces: Sequence[str],
) -> tuple[str, ...]:
    """Return the identities of the records that builds of ours made.

    Args:
        records: that are there now.
        before: identities of those that were there before the builds.
        steps: of the builds.
        namespaces: of their cache mounts.
    """
    mounts = tuple(f'with id "{namespace}/' for namespace in namespaces)
    return tuple(
        record.id
        for record in records
        if record.id not in before
        and (
            any(mount in record.description for mount in mounts)
            or any(_fits(record, step) for step in steps)
        )
    )


def _fits(record: CacheRecord, step: Span) -> bool:
    if not step.started - _SLACK <= record.created:
        return False
    if step.ended is not None and record.created > step.ended + _SLACK:
        return False
    if record.description.startswith(_EXEC):
        return _runs(step.name, record.description.removeprefix(_EXEC))
    if record.description.startswith("local source for"):
        return step.name.startswith("[internal] load")
    return record.description == step.name


def _runs(step: str, command: str) -> bool:
    """Return whether a step runs a command.

    The record has the command with its variables, the name of the step has what they come to.
    """
    # The shell is in the record alone.
    words = (command.partition(" -c ")[2] or command).split()
    literal = [part for word in words for part in _VARIABLE.split(word) if part]
    pattern = ".*".join(map(re.escape, literal))
    return bool(literal) and bool(re.search(rf"\] RUN .*{pattern}", step, re.DOTALL))


class Recording:
    """An executor that notes the steps of the builds that it starts.

    Args:
        executor: starts the processes.
    """

    def __init__(self, executor: Executor) -> None:
        """Begin with no step."""
        self._executor = executor
        self._builds: list[BuildProgress] = []

    @property
    def steps(self) -> tuple[Span, ...]:
        """Return the steps so far."""
        return spans(step for build in self._builds for step in build.steps)

    def run(self, argv: Sequence[str], *, timeout: float | None = None) -> Completed:
        """Run to the end, as the executor does."""
        return self._executor.run(argv, timeout=timeout)

    def stream(self, argv: Sequence[str], on_line: Callable[[str], None]) -> int:
        """Run to the end, and note what BuildKit says."""
        progress = BuildProgress()
        self._builds.append(progress)

        def both(line: str) -> None:
            progress.feed(line)
            on_line(line)

        return self._executor.stream(argv, both)

    def attach(self, argv: Sequence[str]) -> int:
        """Run to the end, as the executor does."""
        return self._executor.attach(argv)


class Cache:
    """The cache of one builder.

    Args:
        executor: starts docker.
        builder: its name; empty: the one in use.
    """

    def __init__(self, executor: Executor, builder: str = "") -> None:
        """Keep them."""
        self._executor = executor
        self._options = ("--builder", builder) if builder else ()

    def records(self) -> tuple[CacheRecord, ...]:
        """Return what is there; nothing where the builder does not answer."""
        argv = ("docker", "buildx", "du", "--verbose", *self._options)
        return parse_records(self._executor.run(argv, timeout=_TIMEOUT).stdout)

    def remove(self, identities: Sequence[str]) -> None:
        """Remove records; those that are in use stay."""
        # A regular expression in every version of buildx, which has no other way to name several.
        pattern = "|".join(identities)
        argv = ("docker", "buildx", "prune", "--force", *self._options)
        self._executor.run((*argv, "--filter", f"id=/^({pattern})$/"), timeout=_TIMEOUT)


@contextmanager
def cleaned(
    cache: Cache, steps: Callable[[], Sequence[Span]], namespaces: Sequence[str]
) -> Iterator[None]:
    """Remove what the builds in the block leave in the cache, however the block ends.

    Args:
        cache: of the builder.
        steps: tells those of the builds, when they are over.
        namespaces: of their cache mounts.
    """
    before = frozenset(record.id for record in cache.records())
    try:
        yield
    finally:
        for _ in range(_TRIES):
            left = ours(cache.records(), before, steps(), namespaces)
            if not left:
                break
            cache.remove(left)
            time.sleep(_PAUSE)
