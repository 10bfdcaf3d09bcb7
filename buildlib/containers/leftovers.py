"""What a run makes in the engine bears a label that names the run, and is found again by it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from buildlib.docker.engine import listed
from buildlib.errors import EngineError
from buildlib.executor import Executor
from buildlib.image.labels import names_of
from buildlib.tempfiles import has_ended

# With the anonymous volumes of a container.
REMOVE: Final = ("rm", "--force", "--volumes")
_KINDS: Final = (
    (("ps", "--all", "--quiet"), REMOVE),
    (("volume", "ls", "--quiet"), ("volume", "rm", "--force")),
    (("network", "ls", "--quiet"), ("network", "rm")),
)


def listed_now(executor: Executor, *words: str) -> tuple[str, ...]:
    """Return what docker lists; what it does not list now, the next run removes."""
    with suppress(EngineError):
        return listed(executor, *words)
    return ()


def listed_with(executor: Executor, label: str, value: str, *words: str) -> tuple[str, ...]:
    """Return what docker lists of what has a label of ours, under its name or its former one.

    Raises:
        EngineError: the engine does not list them (exit 4).
    """
    found = [
        one
        for name in names_of(label)
        for one in listed(executor, *words, "--filter", f"label={name}={value}")
    ]
    return tuple(dict.fromkeys(found))


def runs_in(executor: Executor, label: str) -> tuple[str, ...]:
    """Return the names of the runs that have a container, a volume or a network."""
    template = f'{{{{.Label "{label}"}}}}'
    return tuple(
        name
        for (kind, *words, _), _ in _KINDS
        for name in listed_now(
            executor, kind, *words, "--filter", f"label={label}", "--format", template
        )
    )


def remove_made(executor: Executor, label: str, run_id: str) -> None:
    """Remove the containers, volumes and networks of a run, as far as the engine lets them go."""
    for listing, removal in _KINDS:
        found = listed_now(executor, *listing, "--filter", f"label={label}={run_id}")
        if found:
            executor.run(("docker", *removal, *found))


def ended(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of runs whose process has ended on this machine."""
    return tuple(sorted({name for name in names if has_ended(name)}))
