"""What the tasks around a container do; apart from their options, as nothing else needs it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from buildlib.background import Background
from buildlib.build.build_image import build_image
from buildlib.build.planner import BuildRequest
from buildlib.build.preflight import check_engine
from buildlib.commands.connect import connect
from buildlib.commands.session import Edge
from buildlib.config.config import Config
from buildlib.containers.container import Containers, command_error, labels_of, name_of
from buildlib.containers.data_directory import DataDirectory, DataPlaces
from buildlib.containers.inspect import image_group, image_version
from buildlib.containers.leftovers import listed_with
from buildlib.containers.plan import (
    DATA,
    OWNER,
    RunPlan,
    RunRequest,
    bracketed,
    data_mount,
    data_path,
    run_argv,
    services_argv,
)
from buildlib.containers.runner import ContainerRunner, Running, describe_engine
from buildlib.docker.endpoint import Pinged
from buildlib.docker.engine import NOT_EXECUTABLE, OWN_CODES, EngineFacts, inspect_engine
from buildlib.errors import BuildlibError, EngineError, InputError, collected, raise_problems
from buildlib.executor import Executor
from buildlib.image.labels import OWNER as IMAGE_OWNER
from buildlib.image.labels import VERSION_LABEL, value_of
from buildlib.image.reference import parse_reference
from buildlib.project import Project
from buildlib.shell import NOT_FOUND, shell_line
from buildlib.terminal.text import table, to_json


class Start(NamedTuple):
    """What `docker-run` has begun before it is loaded: nothing waits that need not.

    `project` is None where nothing is built, and `engine` where nothing may be started.
    """

    answer: Pinged
    engine: Background[EngineFacts] | None
    project: Background[Project] | None


def docker_run(run: Edge, start: Start, request: RunRequest, *, as_json: bool) -> int:
    """Run the image; return the code of what was run, where that is not a server.

    Raises:
        BuildlibError: it can't be run; nothing is left of it.
    """
    detach = request.detach
    if as_json and not (detach or run.dry):
        raise InputError("--json is for --detach", why="in the foreground the log is on the screen")
    config = run.config()
    image, version = "" if start.project else run.local_image(config), ""
    # Asked while `docker info` still runs.
    version_of = partial(image_version, run.executor, image)
    latest = None if start.project or run.dry else Background(version_of)
    if start.engine:
        facts = start.engine.get()
    else:
        facts = EngineFacts() if start.answer.problem else inspect_engine(run.executor)
    engine = describe_engine(start.answer, facts)
    flow = ContainerRunner(config, run.env, request, engine, run.executor, run.console, Path.cwd())
    flow.check()
    if run.dry:
        plan = flow.plan(image, dry=True)
        # The engine that the socket leads to, as the real run has it.
        host = start.answer.candidate.docker_host
        before = ("env", f"DOCKER_HOST={host}") if host else ()
        for line in (*services_argv(plan), run_argv(plan, detach=detach or not request.args)):
            run.plan(shell_line((*before, *line)))
        _mention_hidden(run, plan)
        return 0
    if not facts.server:
        # What is wrong with buildx is for a build to say.
        problems = check_engine(facts, endpoint=start.answer.candidate.address)
        raise_problems(problems[-1:])
    if latest:
        version = latest.get()
    if start.project:
        build_request = BuildRequest(platforms=(request.platform,) if request.platform else ())
        project = start.project.get()
        built = build_image(
            project,
            build_request,
            run.executor,
            run.console,
            facts=start.engine,
            task="docker-run",
        )
        image, version = built.references[0], built.version
    plan = flow.plan(image)
    if request.args and not detach:
        return _attached(flow, plan, run.executor)
    return _served(flow, plan, run, version=version, detach=detach, as_json=as_json)


def _mention_hidden(run: Edge, plan: RunPlan) -> None:
    """Name the variables that a printed line takes from the environment, if there are any."""
    beside = (service.hidden for service in plan.given.services)
    names = [name for hidden in (plan.given.hidden, *beside) for name, _ in hidden]
    if names:
        run.console.note(f"looks secret, and is not shown: {', '.join(dict.fromkeys(names))}")


def _attached(flow: ContainerRunner, plan: RunPlan, executor: Executor) -> int:
    with flow.guard(keep=False):
        flow.prepare(plan)
        argv = run_argv(plan, detach=False, terminal=sys.stdin.isatty())
        code = executor.attach(argv, env=dict(plan.given.hidden))
        # A program may end with a code of docker's own.
        failed = code in OWN_CODES and not flow.containers.has_started(plan.name)
    if failed:
        raise command_error(code)
    return code


def _served(
    flow: ContainerRunner, plan: RunPlan, run: Edge, *, version: str, detach: bool, as_json: bool
) -> int:
    running = None
    try:
        with flow.guard(keep=detach):
            running = flow.start(plan, version)
            run.console.show(running, as_json=as_json)
            if not detach:
                _follow(flow, running, run)
    finally:
        # Ctrl-C is the way to stop it.
        if running is not None and flow.removed and not detach:
            inside = run.config().run.data_path
            kept = [mount.source for mount in plan.mounts if mount.target == inside]
            stays = f"; data stays in {kept[0]}" if kept else ""
            run.farewell = f"stopped and removed {running.name}{stays}"
    return 0


def _follow(flow: ContainerRunner, running: Running, run: Edge) -> None:
    """Show the log until the container ends, or somebody interrupts.

    Raises:
        EngineError: it ended with a code, or its log can't be shown (exit 4).
    """
    run.console.note("Ctrl-C stops and removes it")
    followed = _show_log(run, running.container, "--follow")
    # It may be gone as well, removed by somebody else.
    state = (flow.containers.inspect(running.container) or {}).get("State", {})
    if followed and state.get("Running"):
        raise EngineError(
            f"the log of {running.name} can't be followed, so it is stopped",
            why=f"docker logs ended with code {followed}",
            hint="--detach leaves it running without its log",
        )
    if code := int(state.get("ExitCode") or 0):
        raise EngineError(f"{running.name} ended with code {code}")
    run.console.note(f"{running.name} has ended")


def _containers(run: Edge) -> Containers:
    connect(run)
    return Containers(run.executor, run.config().owner)


def stop(run: Edge, name: str) -> None:
    """Stop and remove our containers, or one."""
    containers = _containers(run)
    found = containers.ours(name)
    if not found:
        run.console.note("no container of this project" + (f" is called {name}" if name else ""))
    _remove_containers(run, containers, found)


def _remove_containers(
    run: Edge, containers: Containers, found: Sequence[dict[str, Any]], prefix: str = ""
) -> None:
    """Remove each of them, and print its name; one that stays keeps no other."""
    problems: list[BuildlibError] = []
    for container in found:
        with collected(problems):
            if not run.dry:
                with run.console.running(f"stopping {name_of(container)}"):
                    containers.remove_all(container)
            run.console.answer(prefix + name_of(container))
    if not run.dry:
        containers.remove_stale(run.console.note, former=True)
    raise_problems(problems)


def logs(run: Edge, name: str, *, follow: bool) -> int:
    """Show the log of our container; return docker's code."""
    containers = _containers(run)
    return _show_log(run, str(containers.only(name)["Id"]), *(["--follow"] if follow else []))


def _show_log(run: Edge, container: str, *options: str) -> int:
    """Show the log of a container as docker does; return docker's code."""
    argv = ("docker", "logs", *options, container)
    if run.console.reads_commands:
        # What a container prints must not be a command to the reader of our output.
        return run.executor.stream(argv, run.console.answer)
    return run.executor.attach(argv)


def shell(run: Edge, name: str, command: str) -> int:
    """Open a shell in our container; return its code.

    Raises:
        InputError: there is no such container, or the command can't be read (exit 2).
        EngineError: the container does not have the program (exit 4).
    """
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if not words:
        raise InputError(f"--command can't be read: {command!r}", hint="quote it as a shell does")
    containers = _containers(run)
    terminal = ("--tty",) if sys.stdin.isatty() else ()
    container = str(containers.only(name)["Id"])
    argv = ("docker", "exec", "--interactive", *terminal, container, *words)
    code = run.executor.attach(argv)
    if code in {NOT_EXECUTABLE, NOT_FOUND}:
        # A program may end with one of these itself.
        there = ("sh", "-c", 'command -v "$1"', "sh", words[0])
        if run.executor.run(("docker", "exec", container, *there)).code != 0:
            raise EngineError(
                f"the container can't run {words[0]!r}",
                why=f"docker exec ended with code {code}",
                hint="--command names a program of the image, which may have no shell at all",
            )
    return code


def _status(container: dict[str, Any]) -> dict[str, str]:
    state, labels = container.get("State", {}), labels_of(container)
    health = (state.get("Health") or {}).get("Status", "")
    ports = (container.get("NetworkSettings", {}).get("Ports") or {}).values()
    places = [place for listed in ports for place in listed or ()]
    published = [f"{bracketed(place['HostIp'])}:{place['HostPort']}" for place in places]
    return {
        "name": name_of(container),
        "state": str(state.get("Status", "")),
        "health": str(health),
        "version": labels.get(VERSION_LABEL, ""),
        "address": ", ".join(f"http://{place}" for place in published),
        "data": value_of(labels, DATA),
        "image": str(container.get("Config", {}).get("Image", "")),
    }


def status(run: Edge, *, as_json: bool) -> None:
    """Print our containers."""
    containers = _containers(run)
    rows = [_status(container) for container in containers.ours()]
    if as_json:
        run.console.answer(to_json({"containers": rows}))
    elif rows:
        cells = [tuple(rows[0]), *(tuple(row.values()) for row in rows)]
        run.console.report(table(cells, head=True))
    else:
        run.console.note("no container of this project")


def clean(run: Edge, *, images: bool, data: bool, data_dir: str, yes: bool) -> None:
    """Remove our containers, and what else is asked for.

    Raises:
        InputError: it is not a data directory, or there was no confirmation (exit 2).
        EngineError: the data can't be removed (exit 4).
    """
    answer, config = connect(run), run.config()
    containers = Containers(run.executor, config.owner)
    listing = ("volume", "ls", "--quiet")
    volumes = listed_with(run.executor, OWNER, config.owner, *listing) if data else ()
    places = DataPlaces(config.root, run.env, config.run.user)
    # One image of several may keep none, and the others are cleaned all the same.
    none = data and bool(config.name) and not config.run.data_path
    if none:
        run.console.note(f"{config.name} keeps no data")
    folder = _folder(config, data_dir) if data and not none else None
    # What was asked about, and nothing that takes its place meanwhile, is removed.
    checked = places.check_removable(folder) if folder else None
    _ask(run, [*volumes, *([str(folder)] if folder else [])], yes=yes)
    _remove_containers(run, containers, containers.ours(), "container ")
    for volume in volumes:
        _remove(run, "volume", volume)
    if folder and checked:
        if not run.dry:
            _directory(run, config, answer, places).remove(folder, checked)
        run.console.answer(f"data {folder}")
    if images:
        _clean_images(run, config)


def _folder(config: Config, data_dir: str) -> Path | None:
    request = RunRequest(persistent=True, data_dir=data_dir)
    mount = data_mount(config, request, Path.cwd())
    if not mount or mount.kind != "bind" or not Path(mount.source).is_dir():
        return None
    return Path(os.path.normpath(data_path(config, request, Path.cwd())))


def _directory(run: Edge, config: Config, answer: Pinged, places: DataPlaces) -> DataDirectory:
    kind = describe_engine(answer, inspect_engine(run.executor)).kind
    image = run.local_image(config)
    account = (config.run.user, image_group(run.executor, config.run, image))
    return DataDirectory(run.executor, image, account, kind, places)


def _ask(run: Edge, what: Sequence[str], *, yes: bool) -> None:
    if not what or yes or run.dry:
        return
    if not run.console.confirms(f"Remove the data in {', '.join(what)}?"):
        raise InputError("nothing was removed", hint="--yes removes the data without asking")


def _clean_images(run: Edge, config: Config) -> None:
    repository = parse_reference(config.image).name
    words = ("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", repository)
    for reference in listed_with(run.executor, IMAGE_OWNER, config.owner, *words):
        _remove(run, "image", reference)


def _remove(run: Edge, kind: str, name: str) -> None:
    """Remove a volume or an image's tag; one that somebody else uses stays, with a warning."""
    if not run.dry:
        done = run.executor.run(("docker", kind, "rm", name))
        if done.code != 0:
            run.console.warn(f"the {kind} {name} stays: {done.stderr.strip()}")
            return
    run.console.answer(f"{kind} {name}")
