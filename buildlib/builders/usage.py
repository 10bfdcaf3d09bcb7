"""What the nodes of a builder do now, and what their caches take, as buildx reports it."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Final, NamedTuple

from buildlib.errors import EngineError
from buildlib.executor import Runner

# buildx gives up on a node after 20 s.
_TIMEOUT: Final = 60.0
_TOTAL: Final = re.compile(r"^Total:\s*([0-9.]+) ?([kMGT]?B)\s*$", re.MULTILINE)
_UNITS: Final = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


class Usage(NamedTuple):
    """What a builder does and holds.

    Args:
        cache: bytes on all nodes together; None where buildx does not say.
        running: number of builds that run on each node with any; None where this buildx has no
            history of builds.
    """

    cache: int | None = None
    running: dict[str, int] | None = None


def cache_argv(builder: str) -> tuple[str, ...]:
    """Return the command that prints the size of the caches of all nodes."""
    return ("docker", "buildx", "du", "--builder", builder)


def history_argv(builder: str) -> tuple[str, ...]:
    """Return the command that lists builds, also those that run; buildx 0.13 has none."""
    return ("docker", "buildx", "history", "ls", "--builder", builder, "--format", "json")


def read_usage(executor: Runner, builder: str) -> Usage:
    """Ask buildx about a builder all of whose nodes run: it waits for one that does not."""
    return Usage(
        cache=parse_cache(_answer(executor, cache_argv(builder))),
        running=parse_history(_answer(executor, history_argv(builder))),
    )


def _answer(executor: Runner, argv: tuple[str, ...]) -> str | None:
    try:
        done = executor.run(argv, timeout=_TIMEOUT)
    except EngineError:
        return None
    return done.stdout if done.code == 0 else None


def parse_cache(text: str | None) -> int | None:
    """Return the bytes that `docker buildx du` ends with."""
    match = _TOTAL.search(text or "")
    return round(float(match[1]) * _UNITS[match[2]]) if match else None


def parse_history(text: str | None) -> dict[str, int] | None:
    """Return how many builds run on each node, from a JSON object on each line.

    Their references are BUILDER/NODE/ID.
    """
    if text is None:
        return None
    try:
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
        refs = [str(one["ref"]) for one in found if one["status"] == "Running"]
        return dict(Counter(ref.split("/")[1] for ref in refs))
    except (ValueError, LookupError, TypeError):
        return None
