"""The work of `docker-builder`."""

from __future__ import annotations

from dataclasses import replace

from buildlib.build.lease import node_key, open_sharing
from buildlib.builders.commands import boot_step, boots, create_steps, remove_step
from buildlib.builders.manager import (
    BuilderManager,
    BuildersReport,
    BuilderStatus,
    check_files,
)
from buildlib.builders.usage import cache_argv, history_argv
from buildlib.commands.session import Edge
from buildlib.config.builders import ACTIONS, DOCKER, BuilderSettings, find_builder
from buildlib.config.config import Config
from buildlib.errors import FailureError, InputError, did_you_mean, raise_problems
from buildlib.findings.report import show
from buildlib.shell import shell_line
from buildlib.terminal.text import to_json


def check_action(action: str) -> None:
    """Raise InputError (exit 2) where there is no such action."""
    if action not in ACTIONS:
        raise InputError(f"unknown action {action!r}", hint=did_you_mean(action, ACTIONS))


def _chosen(config: Config, name: str) -> BuilderSettings:
    """Return the builder of that name, or the only one.

    Raises:
        InputError: there is none, or several (exit 2).
    """
    names = [builder.name for builder in config.builders]
    if not names:
        raise InputError(
            "no builder is configured", hint=f"add {config.table('builders.NAME')} with driver"
        )
    if not name and len(names) > 1:
        raise InputError(
            f"there are several builders: {', '.join(names)}", hint="give one with --name"
        )
    found = find_builder(config.builders, name or names[0])
    if not found:
        raise InputError(f"no builder {name!r} is configured", hint=did_you_mean(name, names))
    return found


def _dry(run: Edge, config: Config, builder: BuilderSettings, action: str) -> None:
    """Print the commands that would run where nothing is there yet, or all is."""
    if action == "create":
        raise_problems(check_files(builder, config.root))
        steps = create_steps(builder, config.root)
        steps += (boot_step(builder.name),) if boots(builder) else ()
    else:
        steps = () if builder.driver == DOCKER else (remove_step(builder.name),)
    if not steps:
        run.console.note(f"{builder.name} is docker's own builder: nothing is made or removed")
    for step in steps:
        run.plan(step.line())


def status(run: Edge, name: str, *, as_json: bool) -> None:
    """Print what is there of one builder, or of all.

    Raises:
        BuildlibError: a build can't use one of them (exit 4).
    """
    config = run.config()
    wanted = config.builders if not name and config.builders else (_chosen(config, name),)
    if run.dry:
        for builder in wanted:
            name = builder.buildx_name
            run.plan(f"docker buildx inspect {name}")
            run.plan(shell_line(cache_argv(name)))
            run.plan(shell_line(history_argv(name)))
        return
    manager = BuilderManager(config.root, run.env, run.executor, run.console)
    found = (
        _with_places(run, one, manager.usage(manager.status(one), one.buildx_name))
        for one in wanted
    )
    report = BuildersReport(builders=tuple(found))
    show(report, run.console, as_json=as_json)
    raise_problems(report.problems())


def _with_places(run: Edge, builder: BuilderSettings, status: BuilderStatus) -> BuilderStatus:
    """Return the status with the builds of all machines that have a place, if these are shared."""
    try:
        sharing = open_sharing(builder, run.env, run.executor, run.console.warn)
        if sharing is None:
            return status
        with run.console.running(f"asking {sharing.repository.transport.host}"):
            now = sharing.repository.transport.clock()
            held = {
                node.name: tuple(
                    (what, max(now - began, 0.0))
                    for what, began in sharing.holders(node, node_key(builder, node))
                )
                for node in builder.nodes
                if node.max_builds
            }
    except FailureError as error:
        run.console.warn(f"who has a place on the nodes of {builder.name} is unknown: {error.what}")
        return status
    return replace(status, nodes=tuple(replace(n, places=held.get(n.name)) for n in status.nodes))


def create(run: Edge, name: str, *, as_json: bool) -> None:
    """Create a builder, and print what it is."""
    config = run.config()
    builder = _chosen(config, name)
    if run.dry:
        _dry(run, config, builder, "create")
        return
    if run.passing_home:
        raise InputError(
            "a builder made now would be gone with this task",
            why="buildx's directory in your home can't be written",
            hint="give it one of yours in BUILDX_CONFIG",
        )
    manager = BuilderManager(config.root, run.env, run.executor, run.console)
    report = BuildersReport(builders=(manager.create(builder),))
    show(report, run.console, as_json=as_json)


def remove(run: Edge, name: str, *, as_json: bool) -> None:
    """Remove a builder of ours, described still or no longer."""
    config = run.config()
    manager = BuilderManager(config.root, run.env, run.executor, run.console)
    described = find_builder(config.builders, name)
    if described or not (name and manager.records.read(name)):
        described = _chosen(config, name)
        name = described.name
    if run.dry and described:
        _dry(run, config, described, "remove")
        return
    if run.dry:
        run.plan(remove_step(name).line())
        return
    if described and described.driver == DOCKER:
        raise InputError(f"{name} is docker's own builder", why="it is there as long as docker is")
    gone = manager.remove(name)
    if as_json:
        run.console.answer(to_json({"name": name, "removed": gone}))
    else:
        run.console.answer(f"removed {name}" if gone else f"{name} was not there")
