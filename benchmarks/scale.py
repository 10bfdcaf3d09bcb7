"""Compute on paper what a builder of many nodes needs; docs/scale.md explains it.

What one build costs was measured by benchmarks/farm.py. Everything else is an assumption, and an
option. Standard library only.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

SECONDS = 3600
DAYS = 30


def _option(default: float, text: str) -> Any:  # noqa: ANN401 - as dataclasses.field is typed
    return field(default=default, metadata={"text": text})


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What is built, on what, and what a build costs; times and requests are of all platforms."""

    repositories: float = _option(1000, "repositories")
    builds: float = _option(10, "builds of each on a day")
    platforms: float = _option(2, "platforms, each with nodes of its own")
    warm: float = _option(0.8, "share of builds that find everything in the registry cache")
    hours: float = _option(10, "hours of a day in which builds start")
    peak: float = _option(2, "builds of the busiest hour, in builds of an average one")
    cores: float = _option(8, "cores of a node")
    used: float = _option(0.6, "share of a node's cores that is planned with")
    spares: float = _option(1, "further nodes for each platform")
    cold_core_seconds: float = _option(95.5, "measured: processor time of a cold build")
    warm_core_seconds: float = _option(1.8, "measured: processor time of a warm build")
    cold_requests: float = _option(59, "measured: registry requests of a cold build")
    warm_requests: float = _option(41, "measured: registry requests of a warm build")
    cache_megabytes: float = _option(169.3, "measured: registry cache of a repository")
    generations: float = _option(2, "caches of a repository until the registry removes old ones")
    node_price: float = _option(0.4, "price of a node for an hour")
    storage_price: float = _option(0.02, "price of a gigabyte for a month")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What that comes to."""

    builds_a_day: float
    builds_in_the_busiest_hour: float
    nodes: int
    cache_gigabytes: float
    requests_a_build: float
    requests_a_day: float
    requests_a_second: float
    cold_price: float
    warm_price: float
    nodes_price: float
    storage_price: float


def plan(given: Assumptions) -> Plan:
    """Return what the assumptions come to; requests a second are those of the busiest hour."""
    builds = given.repositories * given.builds
    busiest = builds / given.hours * given.peak

    def mixed(cold: float, warm: float) -> float:
        return warm * given.warm + cold * (1 - given.warm)

    core_seconds = mixed(given.cold_core_seconds, given.warm_core_seconds)
    core = SECONDS * given.cores * given.used
    needed = math.ceil(round(busiest * core_seconds / given.platforms / core, 6))
    nodes = int(given.platforms * (needed + given.spares))
    requests = mixed(given.cold_requests, given.warm_requests)
    stored = given.repositories * given.cache_megabytes * given.generations / 1000
    price = given.node_price / core
    return Plan(
        builds_a_day=builds,
        builds_in_the_busiest_hour=busiest,
        nodes=nodes,
        cache_gigabytes=stored,
        requests_a_build=requests,
        requests_a_day=requests * builds,
        requests_a_second=requests * busiest / SECONDS,
        cold_price=given.cold_core_seconds * price,
        warm_price=given.warm_core_seconds * price,
        nodes_price=nodes * given.node_price * 24 * DAYS,
        storage_price=stored * given.storage_price,
    )


def as_text(given: Assumptions, found: Plan) -> str:
    """Return assumptions and plan as a table."""
    rows = [("assumed", "")]
    rows += [
        (f"  {one.metadata['text']}", f"{getattr(given, one.name):g}") for one in fields(given)
    ]
    rows += [
        ("needed", ""),
        ("  builds a day", f"{found.builds_a_day:,.0f}"),
        ("  builds in the busiest hour", f"{found.builds_in_the_busiest_hour:,.0f}"),
        ("  nodes, with spares", f"{found.nodes:,}"),
        ("  cache storage", f"{found.cache_gigabytes:,.0f} GB"),
        ("  registry requests of a build", f"{found.requests_a_build:,.0f}"),
        ("  registry requests a day", f"{found.requests_a_day:,.0f}"),
        ("  registry requests a second, busiest hour", f"{found.requests_a_second:,.1f}"),
        ("  price of 1,000 cold builds", f"{1000 * found.cold_price:.2f}"),
        ("  price of 1,000 warm builds", f"{1000 * found.warm_price:.2f}"),
        ("  price of the nodes for a month", f"{found.nodes_price:,.0f}"),
        ("  price of the cache for a month", f"{found.storage_price:,.0f}"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value:>10}".rstrip() for name, value in rows)


def main(words: Sequence[str] | None = None) -> None:
    """Print the plan."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for one in fields(Assumptions):
        option = f"--{one.name.replace('_', '-')}"
        text = f"{one.metadata['text']} (%(default)g)"
        parser.add_argument(option, type=float, default=one.default, metavar="N", help=text)
    given = Assumptions(**vars(parser.parse_args(words)))
    print(as_text(given, plan(given)))


if __name__ == "__main__":
    main()
