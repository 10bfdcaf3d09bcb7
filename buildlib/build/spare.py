"""Builds a platform once more, on another node, where the node that builds it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Final, TypeVar

from buildlib import interrupts
from buildlib.build.builder_check import living_nodes
from buildlib.build.plan import BuildPlan
from buildlib.build.recording import Recorded
from buildlib.builders.commands import create_steps
from buildlib.config.builders import BuilderSettings, NodeSettings
from buildlib.docker.client_config import buildx_folder
from buildlib.docker.engine import inspect_builder
from buildlib.errors import EngineError, NodeError
from buildlib.executor import Cancellable, Executor
from buildlib.shell import shell_line
from buildlib.tempfiles import has_ended, new_name
from buildlib.terminal.console import Console

T = TypeVar("T")
Nodes = Sequence[NodeSettings]

_KIND: Final = "buildlib-spare"
# buildx only writes a file.
_TIMEOUT: Final = 60.0


def build_with_spares(
    about: Recorded,
    executor: Executor,
    console: Console,
    build: Callable[[BuildPlan, Nodes], T],
    said: list[str],
) -> T:
    """Build; where the builder has `retry`, and the node fails, on the next node that can.

    Args:
        about: what is built.
        executor: starts docker.
        console: says on which node it is built.
        build: builds a plan on some nodes.
        said: gets what the user should know.

    Raises:
        NodeError: no other node can, or `retry` is used up (exit 4).
        BuildlibError: whatever else `build` raises.
    """
    plan, described = about.plan, about.project.config.described_builder()
    if described is None:
        return build(plan, ())
    # buildx itself gives several platforms to several nodes.
    if not described.retry or len(plan.platforms) != 1:
        return build(plan, described.first_nodes(plan.platforms))
    first, *_ = nodes = list(described.nodes_for(plan.platforms))
    found = about.builder or inspect_builder(executor, plan.builder)
    why = f"node {first.name} of the builder {plan.builder} does not answer"
    retries = described.retry
    while True:
        node, *_ = living_nodes(nodes, found) or nodes
        if node != first:
            text = f"{why}: {plan.platforms[0]} is built on node {node.name}"
            console.warn(text)
            said.append(text)
        alone = nullcontext(plan.builder)
        with alone if node == first else _alone(about, described, node, executor, console) as name:
            try:
                return build(replace(plan, builder=name), (node,))
            except NodeError as error:
                why = error.what
                nodes.remove(node)
                found = inspect_builder(executor, plan.builder) if nodes and retries else found
                if not retries or not living_nodes(nodes, found):
                    raise
                retries -= 1


@contextmanager
def _alone(
    about: Recorded,
    described: BuilderSettings,
    node: NodeSettings,
    executor: Executor,
    console: Console,
) -> Iterator[str]:
    """Give the name of a builder of that node only, for the time of the block.

    buildx lets nobody choose among the nodes of one.
    """
    instances = buildx_folder(about.project.env) / "instances"
    for left in instances.glob(f"{_KIND}-*"):
        if has_ended(left.name):
            _remove(left.name, executor, console)
    name = new_name(_KIND)
    builder = replace(described, name=name, nodes=(node,), gc=None)
    (step,) = create_steps(builder, about.project.config.root)
    try:
        console.line(step.line())
        done = executor.run(step.argv, timeout=_TIMEOUT)
        if done.code != 0:
            raise EngineError(f"node {node.name} can't be used alone", why=done.stderr.strip())
        yield name
    finally:
        cleaner = executor.always if isinstance(executor, Cancellable) else executor
        with interrupts.held():
            _remove(name, cleaner, console)


def _remove(name: str, executor: Executor, console: Console) -> None:
    """Remove a builder of ours; the build counts, whatever comes of this."""
    # The node itself, its container and its cache are the described builder's.
    argv = ("docker", "buildx", "rm", "--force", "--keep-daemon", name)
    try:
        executor.run(argv, timeout=_TIMEOUT)
    except EngineError as error:
        console.warn(f"the builder {name} is still there: {error.what}: {shell_line(argv)}")
