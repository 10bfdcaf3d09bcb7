"""From a request to a healthy container: connect, plan, start, wait."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from buildlib import interrupts
from buildlib.config.config import Config
from buildlib.config.containers import check_sources
from buildlib.containers.container import Containers, NameTakenError
from buildlib.containers.data_directory import DataDirectory, DataPlaces
from buildlib.containers.inspect import helper_argv, image_group, image_runtime, published_at
from buildlib.containers.plan import (
    CHECKOUT,
    Mount,
    RunPlan,
    RunRequest,
    container_name,
    data_mount,
    local_address,
    make_run_plan,
    published_address,
)
from buildlib.docker.endpoint import EngineKind, Group, Pinged, SocketMount, kind_of, socket_mount
from buildlib.docker.engine import EngineFacts
from buildlib.errors import EngineError, InputError, ProblemsError
from buildlib.executor import Executor
from buildlib.image.runtime_config import exposed_ports
from buildlib.program import PROGRAM
from buildlib.tempfiles import new_name
from buildlib.terminal.console import Console
from buildlib.terminal.text import table


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """The engine that was chosen, and what it gives a container."""

    answer: Pinged
    facts: EngineFacts
    kind: EngineKind
    mount: SocketMount


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A container that runs, for people and for programs."""

    name: str
    container: str
    image: str
    version: str
    address: str
    data: str
    socket: str
    engine: str
    stop: str
    health: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return asdict(self)

    def as_text(self) -> str:
        """Return one row a field."""
        rows = [
            ("address", self.address),
            ("checked", self.health),
            ("version", self.version),
            ("container", self.name),
            ("data", self.data),
            ("socket", self.socket),
            ("stop", self.stop),
        ]
        return table([(name, value) for name, value in rows if value])


def describe_engine(answer: Pinged, facts: EngineFacts) -> Engine:
    """Return what is known of the engine that answered."""
    kind = kind_of(answer, facts)
    mount = socket_mount(kind, answer, facts, system=sys.platform)
    return Engine(answer=answer, facts=facts, kind=kind, mount=mount)


def socket_group(engine: Engine, executor: Executor, image: str) -> str:
    """Return the number of the socket's group as a container sees it, or nothing.

    Raises:
        EngineError: the socket can't be mounted (exit 4).
    """
    source = engine.mount.source
    if engine.mount.group is Group.HOST:
        try:
            return str(os.stat(source).st_gid)  # noqa: PTH116 - Path drops a slash at the end
        except OSError as error:
            raise EngineError(f"{source} can't be mounted", why=str(error)) from error
    mount = Mount(kind="bind", source=source, target="/socket")
    done = executor.run(helper_argv(image, mount, "stat", "-c", "%g", mount.target))
    if done.code != 0:
        raise EngineError(
            f"{source} can't be mounted on {engine.kind}",
            why=done.stderr.strip(),
            hint="--no-socket runs without",
        )
    return done.stdout.strip()


class ContainerRunner:
    """One run of the image.

    Args:
        start: what a relative data directory is relative to.
    """

    def __init__(
        self,
        config: Config,
        env: Mapping[str, str],
        request: RunRequest,
        engine: Engine,
        executor: Executor,
        console: Console,
        start: Path,
    ) -> None:
        self._config, self._env = config, env
        self._request, self._engine = request, engine
        self._executor, self._console, self._start = executor, console, start
        self._places = DataPlaces(config.root, env, config.run.user)
        self.containers = Containers(executor, config.owner)
        self.run_id = new_name("run")
        self.removed = False

    def check(self) -> None:
        """Find what can be found before a build: bad options.

        Raises:
            InputError: an option is not usable (exit 2).
        """
        plan, remote = self._bare_plan(""), self._engine.kind is EngineKind.REMOTE
        for mount in plan.mounts:
            if mount.kind == "bind" and not remote:
                self._places.check(Path(mount.source))
        elsewhere = [mount for mount in plan.given.mounts if mount.source]
        if remote and elsewhere:
            raise InputError(
                f"an engine elsewhere can't mount {elsewhere[0].source}", hint="mount a volume"
            )
        check_sources(plan.given.mounts, plan.given.env_files)

    def _bare_plan(self, image: str) -> RunPlan:
        return make_run_plan(
            self._config,
            self._request,
            image=image,
            env=self._env,
            data=data_mount(self._config, self._request, self._start),
            run_id=self.run_id,
            exposed=self._exposed(image) if image else None,
            start=self._start,
        )

    def _exposed(self, image: str) -> tuple[int, ...]:
        """Return the ports of the image's EXPOSE, where one may be wanted."""
        if not self._request.port or self._config.run.port or self._config.smoke.port:
            return ()
        return exposed_ports(image_runtime(self._executor, image))

    def plan(self, image: str, *, dry: bool = False) -> RunPlan:
        """Return the whole plan, the socket and its group included.

        Raises:
            InputError, EngineError: it can't be run so.
        """
        plan = self._bare_plan(image)
        if plan.published and not ip_address(plan.published[0]).is_loopback:
            self._console.warn(
                f"published on {plan.published[0]}: the service may have no authentication, "
                "and whoever reaches this machine reaches it"
            )
        inside = self._config.run.socket_path
        mounts_socket = (inside or self._request.socket) and not self._request.no_socket
        if mounts_socket and self._engine.mount.source:
            plan = self._with_socket(plan, inside or "/var/run/docker.sock", dry=dry)
        elif mounts_socket:
            self._console.note(self._engine.mount.note)
        if (plan.mounts or plan.given.mounts) and "name=selinux" in self._engine.facts.security:
            # Relabelling would change the user's own files, and last.
            option = ("--security-opt=label=disable",)
            plan = replace(plan, confined=plan.confined + option)
        return plan

    def _with_socket(self, plan: RunPlan, inside: str, *, dry: bool) -> RunPlan:
        mount = Mount(kind="bind", source=self._engine.mount.source, target=inside)
        group = self._group(plan.image, dry=dry)
        self._console.note(
            "the container can control the engine through its socket; --no-socket runs without"
        )
        allow = self._config.run.root_group_env
        env = plan.env
        if group == "0":
            self._console.note(
                f"the socket of {self._engine.kind} belongs to group root, which is joined"
            )
            env = (*env, allow) if allow else env
        groups = (group,) if group else ()
        return replace(plan, mounts=(*plan.mounts, mount), groups=groups, env=env)

    def _group(self, image: str, *, dry: bool) -> str:
        """Return the group to join; a dry run starts no container to ask, and says so."""
        if not dry:
            return socket_group(self._engine, self._executor, image)
        path = Path(self._engine.mount.source)
        if self._engine.mount.group is Group.HOST and path.exists():
            return socket_group(self._engine, self._executor, image)
        self._console.warn("the socket's group is known when it runs: --group-add is missing here")
        return ""

    def start(self, plan: RunPlan, version: str) -> Running:
        """Start the container and wait until it is healthy.

        Raises:
            InputError: the data directory (exit 2).
            EngineError: the engine (exit 4).
            GateError: it is not healthy (exit 7).
        """
        self.containers.remove_stale(self._console.note)
        self._prepare_data(plan)
        self.containers.start_services(plan)
        container = self._started(plan)
        address, remote = self._address(plan), self._engine.kind is EngineKind.REMOTE
        waiting = f"waiting for {plan.name}: {plan.health}" if plan.health else "starting"
        with self._console.running(waiting):
            way = self.containers.wait_until_healthy(plan, container, "" if remote else address)
        if way:
            self._console.note(f"its port can't be reached from here; asked {way}")
        return self._running(plan, container, address, version, elsewhere=remote or bool(way))

    def prepare(self, plan: RunPlan) -> None:
        """Make room for the container, and see to its data.

        Raises:
            InputError, EngineError: as `start`.
        """
        self.containers.remove_stale(self._console.note)
        self._prepare_data(plan)
        self.containers.start_services(plan)
        self._make_room(plan)

    def _prepare_data(self, plan: RunPlan) -> None:
        config = self._config
        for mount in plan.mounts:
            if mount.target == config.run.data_path:
                directory = DataDirectory(
                    self._executor,
                    plan.image,
                    (config.run.user, image_group(self._executor, config.run, plan.image)),
                    self._engine.kind,
                    self._places,
                )
                directory.prepare(mount, config.owner)

    def _make_room(self, plan: RunPlan) -> None:
        labels = self.containers.make_room(plan.name)
        if labels is None:
            return
        checkout = labels.get(CHECKOUT, "")
        if checkout in {"", str(self._config.root)}:
            self._console.note(f"replaced our own older container {plan.name}")
        else:
            self._console.warn(
                f"replaced the container {plan.name}, which was started from {checkout}; "
                "--name gives each checkout a container of its own"
            )

    def _started(self, plan: RunPlan) -> str:
        # Mostly the name is free, and docker itself is the first to know where it is not.
        try:
            return self.containers.start(plan)
        except NameTakenError:
            self._make_room(plan)
            return self.containers.start(plan)

    @contextlib.contextmanager
    def guard(self, *, keep: bool) -> Iterator[None]:
        """See to it that nothing is left of this run after the block.

        Args:
            keep: the container stays where all went well.
        """
        with interrupts.leaving("its container", f"{PROGRAM} docker-stop removes it"):
            try:
                yield
            except BaseException:
                try:
                    self._clean_up()
                except (EngineError, ProblemsError) as error:
                    # Why it failed is what has to be known first.
                    self._console.warn(f"something of it may be left: {error}")
                raise
            if not keep:
                self._clean_up()

    def _clean_up(self) -> None:
        with interrupts.held():
            self.containers.clean_up(self.run_id, services=bool(self._config.run.services))
            self.removed = True

    def _address(self, plan: RunPlan) -> str:
        if plan.published and not plan.published[1]:
            return published_at(self._executor, plan.name, plan.published[2])
        inside = plan.health.port if plan.health else 0
        if plan.given.network == "host" and inside:
            return local_address("127.0.0.1", inside)
        return published_address(plan)

    def _running(
        self, plan: RunPlan, container: str, address: str, version: str, *, elsewhere: bool
    ) -> Running:
        kept = [m for m in plan.mounts if m.target == self._config.run.data_path]
        socket = [m.source for m in plan.mounts if m not in kept]
        own = plan.name == container_name(self._config)
        where = " on the engine's machine" if elsewhere else ""
        return Running(
            name=plan.name,
            container=container,
            image=plan.image,
            version=version,
            address=address + where if address else "",
            data=kept[0].source if kept else "is removed with the container",
            socket=f"{socket[0]} (group {', '.join(plan.groups)})" if socket else "none",
            engine=str(self._engine.kind),
            health=str(plan.health or ""),
            stop=f"{PROGRAM} docker-stop" + ("" if own else f" --name {plan.name}"),
        )
