"""Whether a builder can do a build, and what to know about it: facts in, problems out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from buildlib.build.plan import BuildPlan, Output
from buildlib.builders.commands import create_hint, is_unreachable
from buildlib.config.builders import (
    CLOUD,
    DOCKER,
    KUBERNETES,
    PLATFORM,
    REMOTE,
    BuilderSettings,
    NodeSettings,
)
from buildlib.errors import BuildlibError, EngineError, InputError, NodeError
from buildlib.image.platform import Platform
from buildlib.program import PROGRAM

if TYPE_CHECKING:
    from buildlib.docker.engine import Builder, EngineFacts, Node

# buildx has no exporter that puts together an archive from several nodes. The outputs oci and load
# of a builder of the configuration are merged here instead.
_ONE_NODE: Final = re.compile(r"\btype=(oci|docker|tar)\b")


def check_platforms(builder: BuilderSettings, platforms: Sequence[Platform]) -> list[BuildlibError]:
    """Return a problem where no node of a builder builds what is wanted of it."""
    known = builder.platforms
    lacking = [str(p) for p in platforms if known and p not in known]
    if not lacking:
        return []
    return [
        InputError(
            f"no node of the builder {builder.name} builds {', '.join(lacking)}",
            why=f"its nodes build {', '.join(map(str, known))}",
            hint=f"add it to the platforms of a node in builders.{builder.name}",
        )
    ]


def needed_nodes(builder: Builder, platforms: Sequence[str]) -> tuple[Node, ...]:
    """Return the nodes that buildx gives the platforms to.

    It goes by the platforms that the nodes were given; where one is given to none, every node has
    to answer.
    """
    if not platforms:
        return builder.nodes[:1]
    given = {name: node for node in reversed(builder.nodes) for name in node.given}
    if not set(platforms) <= set(given):
        return builder.nodes
    return tuple({given[name].name: given[name] for name in platforms}.values())


def _alike(described: BuilderSettings, found: Builder) -> bool:
    if found.driver != described.driver:
        return False
    if described.driver in {KUBERNETES, DOCKER}:
        # The one's nodes are pods, with names of their own; the other's is a context.
        return True
    if described.driver == CLOUD:
        # The service's names of its nodes begin with the builder's.
        group = f"cloud://{described.nodes[0].endpoint.removeprefix('cloud://')}"
        return all(node.endpoint.startswith(group) for node in found.nodes)
    endpoints = {node.name: node.endpoint for node in found.nodes}
    if described.driver == REMOTE:
        return endpoints == {node.name: node.endpoint for node in described.nodes}
    return set(endpoints) == {node.name for node in described.nodes}


def check_builder(
    plan: BuildPlan, facts: EngineFacts, found: Builder, described: BuilderSettings | None
) -> list[BuildlibError]:
    """Return why a builder can't do the build.

    Args:
        found: what buildx says about the builder.
        described: what the configuration says about it; None: nothing.
    """
    if not found.driver:
        return []
    if described and not _alike(described, found):
        return [
            EngineError(
                f"the builder {described.name} is not what the configuration describes",
                hint=create_hint(described.name),
            )
        ]
    if described and described.driver == DOCKER and facts.context != plan.builder:
        return [
            EngineError(
                f"the builder {described.name} is the engine of docker's context {plan.builder}",
                why=f"docker uses the context {facts.context}",
                hint=f"set DOCKER_CONTEXT={plan.builder}",
            )
        ]
    nodes = needed_nodes(found, [str(platform) for platform in plan.platforms])
    dead = [] if spared(plan, found, described) else check_nodes(plan, found, described)
    return [*dead, *_check_output(plan, nodes)]


def spared(plan: BuildPlan, found: Builder, described: BuilderSettings | None) -> bool:
    """Return whether each platform of a build of its own can be built, if need be by a spare."""
    if not (described and described.retry) or not (plan.separate or len(plan.platforms) == 1):
        return False
    return all(living_nodes(described.nodes_for((p,)), found) for p in plan.platforms)


def living_nodes(nodes: Sequence[NodeSettings], found: Builder) -> list[NodeSettings]:
    """Return the described nodes that answer; all of them if buildx does not say which."""
    if not found.nodes:
        return list(nodes)
    dead = {node.name for node in found.nodes if is_unreachable(found.driver, node)}
    known = {node.name for node in found.nodes}
    return [node for node in nodes if node.name in known - dead]


def check_nodes(
    plan: BuildPlan, found: Builder, described: BuilderSettings | None
) -> list[NodeError]:
    """Return a problem for each node that the build needs and that does not answer.

    Args:
        found: what buildx says about the builder.
        described: what the configuration says about it; None: nothing.
    """
    nodes = needed_nodes(found, [str(platform) for platform in plan.platforms])
    name = described.name if described else ""
    return [_dead(node, found, name) for node in nodes if is_unreachable(found.driver, node)]


def _dead(node: Node, found: Builder, described: str) -> NodeError:
    return NodeError(
        f"node {node.name} of the builder {described or found.name} does not answer",
        why=node.error or f"{node.endpoint} is {node.status or 'not to be reached'}",
        hint=f"{PROGRAM} docker-builder status --name {described} says why"
        if described
        else f"docker buildx inspect {found.name} shows it",
    )


def _check_output(plan: BuildPlan, nodes: Sequence[Node]) -> list[BuildlibError]:
    if len(nodes) <= 1 or len(plan.platforms) <= 1 or plan.separate:
        return []
    alone = plan.output in {Output.LOAD, Output.OCI} or _ONE_NODE.search(plan.output)
    if not alone:
        return []
    names = ", ".join(node.name for node in nodes)
    described = (
        "describe the builder in the configuration"
        if plan.output in {Output.OCI, Output.LOAD}
        else "give --output oci with a builder of the configuration"
    )
    return [
        EngineError(
            f"{plan.output} can't be put together from several nodes: {names}",
            why="buildx can do that in a registry only",
            hint=f"{described}, or give --push, or --output local or cacheonly, or build one "
            "platform at a time with --platform",
        )
    ]


def cache_warnings(plan: BuildPlan, described: BuilderSettings) -> list[str]:
    """Return what becomes of a cache that several nodes would write."""
    nodes = described.first_nodes(plan.platforms) if plan.platforms else ()
    held = any(PLATFORM in word for word in described.cache_to)
    warnings = []
    alone = len(plan.platforms) <= 1 or plan.separate
    if held and not alone and not any("type=inline" in w for w in plan.cache_to):
        warnings.append(
            f"the cache of {described.name} is written by builds of one platform alone: "
            "this one reads it"
        )
    shared = [w for w in plan.cache_to if "type=inline" not in w]
    if len(nodes) > 1 and shared:
        warnings.append(
            f"{len(nodes)} nodes write their cache to one place, where the last one stays: "
            f"put {PLATFORM} in cache-to, and build one platform at a time"
        )
    return warnings
