"""What is to be run, as pure data, and the one command that runs it."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from buildlib.config.config import Config
from buildlib.config.containers import Service, publishes, resolve_mount, service_options
from buildlib.config.key_types import LAST_PORT
from buildlib.config.tables import Run
from buildlib.containers.health import ContainerExtras, Health, run_health, run_surroundings
from buildlib.errors import InputError, did_you_mean
from buildlib.findings.secrets import looks_secret
from buildlib.image.labels import NAMESPACE
from buildlib.image.platform import parse_platform
from buildlib.image.reference import LATEST
from buildlib.shell import csv_field, repeated

# Whose container it is, which run made it, and what it keeps its data in.
OWNER: Final = f"{NAMESPACE}.run"
RUN_ID: Final = f"{NAMESPACE}.run-id"
DATA: Final = f"{NAMESPACE}.data"
# The checkout that it was started from: two may have one image.
CHECKOUT: Final = f"{NAMESPACE}.run-checkout"
# It has services beside it, which bear the same run.
SERVICES: Final = f"{NAMESPACE}.run-services"
# It is meant to outlive the process that started it.
DETACHED: Final = f"{NAMESPACE}.run-detached"
_VOLUME: Final = "volume:"
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
POLICIES: Final = ("always", "missing", "never")
# What reaches a port that is published on all addresses of this machine.
_LOOPBACK: Final = {
    str(ipaddress.IPv4Address(0)): "127.0.0.1",
    str(ipaddress.IPv6Address(0)): "::1",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """What was asked for, as it was typed.

    Args:
        persistent: keep the data after the container.
        socket: path or address of the engine's socket; `no_socket`: give the container none.
        port: on this machine; empty: as inside; 0: any that is free.
        host: address to publish on.
        data_dir: a directory, or `volume:NAME`; means persistent.
        env: `NAME=value`, or `NAME` alone for the value that it has here.
        volumes: mounts, as docker's `--volume` or `--mount` take them.
        detach: it outlives the task, once it is healthy.
        args: for the image's entrypoint; with them no server is run: it is not waited for
            it, no port is published unless one is given, and its name is one of its own.
    """

    persistent: bool = False
    socket: str = ""
    no_socket: bool = False
    port: str = ""
    host: str = "127.0.0.1"
    data_dir: str = ""
    name: str = ""
    platform: str = ""
    env: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    pull_policy: str = "never"
    unconfined: bool = False
    detach: bool = False
    args: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """A bind mount or a volume; the source of an anonymous volume is empty."""

    kind: str
    source: str
    target: str

    def __str__(self) -> str:
        """Return the value of docker's `--mount`."""
        parts = [f"type={self.kind}", f"source={self.source}", f"target={self.target}"]
        return ",".join(csv_field(part) for part in parts if not part.endswith("="))


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan:
    """One container.

    Args:
        health: what to ask; None: there is nothing to wait for.
        given: what it is given beside mounts and variables of its own.
        host: the address that ports are published on.
        helper: an image that can ask the container, where its own can't; empty: none.
        published: (address, port here, port inside), or None.
        groups: that the process joins, by number.
        confined: docker's options that take away what the image does not need.
        timeout: seconds from the start to healthy.
    """

    image: str
    name: str
    labels: tuple[tuple[str, str], ...]
    published: tuple[str, int, int] | None = None
    mounts: tuple[Mount, ...] = ()
    groups: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    platform: str = ""
    pull_policy: str = "never"
    confined: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    health: Health | None = None
    given: ContainerExtras = field(default_factory=ContainerExtras)
    host: str = "127.0.0.1"
    helper: str = ""
    timeout: int = 30


def published_address(plan: RunPlan) -> str:
    """Return where a browser on this machine finds it, or nothing."""
    if plan.published is None:
        return ""
    address, port, _ = plan.published
    return local_address(address, port)


def local_address(host: str, port: int | str) -> str:
    """Return where this machine finds what is published on an address: `http://…`."""
    return f"http://{bracketed(_LOOPBACK.get(host, host))}:{port}"


def bracketed(host: str) -> str:
    """Return an address as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def container_name(config: Config, name: str = "") -> str:
    """Return the container's name: that of the image, where none was given.

    Raises:
        InputError: docker would not take it.
    """
    own = config.short_name
    own += config.local_latest.removeprefix(LATEST)
    # An image may be called by one letter, a container by two at least.
    chosen = name or (own if len(own) > 1 else f"{own}-run")
    if not _NAME.fullmatch(chosen):
        raise InputError(
            f"not a name for a container: {chosen!r}",
            why="two or more of letters, digits, _ . - and the first a letter or a digit",
        )
    return chosen


def _check_host(text: str) -> str:
    try:
        return str(ipaddress.ip_address("127.0.0.1" if text == "localhost" else text))
    except ValueError as error:
        raise InputError(
            f"not an address of this machine: {text!r}", hint="give 127.0.0.1 or 0.0.0.0"
        ) from error


def _check_port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > LAST_PORT:
        raise InputError(f"not a port: {text!r}", hint="0 to 65535; 0 chooses a free one")
    return int(text)


def _check_env(
    texts: Iterable[str], env: Mapping[str, str], allowed: Iterable[str]
) -> tuple[str, ...]:
    for text in texts:
        name, equals, value = text.partition("=")
        if not _VARIABLE.fullmatch(name):
            raise InputError(f"not a variable: {text!r}", hint="give NAME=value, or NAME alone")
        if equals and looks_secret(name, value, allowed):
            raise InputError(
                f"--env {name} looks like a secret",
                why="what is typed is seen by others in the list of processes, and in logs",
                hint=f"export it, and give --env {name} alone; if it is not a secret, "
                f'[policy] allow-names = ["{name}"]',
            )
        if not equals and name not in env:
            raise InputError(f"--env {name} has no value here", hint=f"export {name}=…")
    return tuple(texts)


def data_mount(config: Config, request: RunRequest, start: Path) -> Mount | None:
    """Return where the data goes, or None for what goes with the container.

    Args:
        config: names the directory inside.
        start: what a relative directory is relative to.

    Raises:
        InputError: the image keeps no data, or the volume's name is invalid.
    """
    if not request.persistent and not request.data_dir:
        return None
    if not config.run.data_path:
        raise InputError("the image keeps no data", hint='set data-path = "…" in the table run')
    if request.data_dir.startswith(_VOLUME):
        name = request.data_dir.removeprefix(_VOLUME)
        if not _NAME.fullmatch(name):
            raise InputError(f"not a name for a volume: {name!r}")
        return Mount(kind="volume", source=name, target=config.run.data_path)
    # As docker would follow links: what is checked is what is mounted.
    source = os.path.realpath(data_path(config, request, start))
    return Mount(kind="bind", source=source, target=config.run.data_path)


def data_path(config: Config, request: RunRequest, start: Path) -> Path:
    """Return the data directory as it was given, made absolute.

    Raises:
        InputError: there is no such user, whose home it is in.
    """
    try:
        default = config.root / config.run.data_dir
        chosen = Path(request.data_dir).expanduser() if request.data_dir else default
    except RuntimeError as error:
        raise InputError(f"no such data directory: {request.data_dir}", why=str(error)) from error
    return (start / chosen).absolute()


def user_options(run: Run) -> tuple[str, ...]:
    """Return docker's options that start an image as its user which would start as root itself."""
    group = run.user if run.group is None else run.group
    return (f"--user={run.user}:{group}",) if run.drops_root else ()


def confined_options(run: Run) -> tuple[str, ...]:
    """Return docker's options that take away what the image does not need."""
    return (
        *user_options(run),
        *(["--read-only", *(f"--tmpfs={path}" for path in run.tmpfs)] if run.read_only else []),
        *(["--cap-drop=ALL"] if run.drop_capabilities else []),
        *(["--security-opt=no-new-privileges"] if run.no_new_privileges else []),
        *(["--init"] if run.init else []),
        *([f"--memory={run.memory}"] if run.memory else []),
        *([f"--pids-limit={run.pids}"] if run.pids else []),
        *([f"--cpus={run.cpus}"] if run.cpus else []),
    )


def _port_inside(
    config: Config, request: RunRequest, network: str, exposed: tuple[int, ...] | None
) -> int:
    """Return the port inside that is to be published: of the configuration, or of EXPOSE.

    Raises:
        InputError: one is asked for, and there is none to publish.
    """
    configured = config.run.port or config.smoke.port
    if request.port and not publishes(network):
        raise InputError(
            f"--port {request.port}: no port is published of a container in the network {network}",
            hint=f"leave --port out, or network out of {config.table('run')}",
        )
    if configured or not request.port or exposed is None:
        return configured
    if len(exposed) != 1:
        several = ", ".join(map(str, exposed))
        raise InputError(
            f"--port {request.port}: no port is configured",
            why=f"the image has EXPOSE for {several or 'none'}",
            hint=f"add port = … to {config.table('run')}: where it serves inside",
        )
    return exposed[0]


def make_run_plan(
    config: Config,
    request: RunRequest,
    *,
    image: str,
    env: Mapping[str, str],
    data: Mount | None = None,
    run_id: str = "",
    exposed: tuple[int, ...] | None = None,
    start: Path | None = None,
) -> RunPlan:
    """Return the plan, without the socket, which depends on the engine.

    Args:
        image: reference or ID of an image that is there.
        env: the environment, for variables that are given by name alone.
        data: where the data goes, see `data_mount`.
        run_id: a label by which the container of this very run is found again.
        exposed: the ports of the image's EXPOSE; None: there is no image yet.
        start: what a relative path of `--volume` is relative to; None: the project.

    Raises:
        InputError: an option is not usable (exit 2).
    """
    run, given = config.run, run_surroundings(config)
    volumes = (resolve_mount(text, start or config.root) for text in request.volumes)
    given = given._replace(
        mounts=(*given.mounts, *volumes),
        # A variable that is given by its name has the value that it has here.
        hidden=tuple(pair for pair in given.hidden if pair[0] not in request.env),
    )
    inside = _port_inside(config, request, given.network, exposed)
    if request.pull_policy not in POLICIES:
        hint = did_you_mean(request.pull_policy, POLICIES)
        raise InputError(f"unknown pull policy {request.pull_policy!r}", hint=hint)
    host, port = _check_host(request.host), _check_port(request.port or str(inside))
    kept = f"{data.kind}:{data.source}" if data else ""
    beside = " ".join(service.name for service in given.services)
    labels = {OWNER: config.owner, RUN_ID: run_id, DATA: kept, SERVICES: beside}
    labels |= {DETACHED: "true" if request.detach else "", CHECKOUT: str(config.root)}
    serves = not request.args
    shown = publishes(given.network) and (serves or bool(request.port))
    name = container_name(config, request.name)
    if request.args and not request.name:
        name = f"{name}-{run_id}"
    if given.services:
        given = given._replace(network=f"{name}-{run_id}")
    return RunPlan(
        image=image,
        name=name,
        labels=tuple((key, value) for key, value in sorted(labels.items()) if value),
        published=(host, port, inside) if inside and shown else None,
        mounts=(data,) if data else (),
        env=_check_env(request.env, env, config.allowed_names()),
        platform=str(parse_platform(request.platform)) if request.platform else "",
        pull_policy=request.pull_policy,
        confined=user_options(run) if request.unconfined else confined_options(run),
        args=request.args,
        health=run_health(config) if serves else None,
        given=given if shown else given._replace(ports=()),
        host=host,
        helper=config.smoke.helper_image,
        timeout=run.start_timeout or config.smoke.start_timeout,
    )


def _published(plan: RunPlan) -> list[str]:
    host, places = bracketed(plan.host), []
    if plan.published:
        address, port, inside = plan.published
        places.append(f"{bracketed(address)}:{port or ''}:{inside}")
    # Whoever wants any free port for the first wants no certain one for the others.
    free = plan.published and not plan.published[1]
    places += [
        f"{host}:{'' if free else more.here or ''}:{more.inside}/{more.kind}"
        for more in plan.given.ports
    ]
    return repeated("--publish", places)


def run_label(plan: RunPlan) -> tuple[str, str]:
    """Return the options by which what is started beside it is known as this run's."""
    return ("--label", f"{RUN_ID}={dict(plan.labels).get(RUN_ID, '')}")


def service_name(network: str, service: Service) -> str:
    """Return what the container of a service is called."""
    return f"{network}-{service.name}"


def network_argv(network: str, label: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command that makes the network of services."""
    return ("docker", "network", "create", *label, network)


def service_argv(service: Service, network: str, label: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command that starts a service in its network."""
    return (
        *("docker", "run", "--name", service_name(network, service), *label),
        *(*service_options(service, network), service.image, *service.command),
    )


def services_argv(plan: RunPlan) -> tuple[tuple[str, ...], ...]:
    """Return the commands that make a network and start the services in it."""
    services, network, label = plan.given.services, plan.given.network, run_label(plan)
    if not services:
        return ()
    return (network_argv(network, label), *(service_argv(one, network, label) for one in services))


def run_argv(plan: RunPlan, *, detach: bool = True, terminal: bool = False) -> tuple[str, ...]:
    """Return the one command that runs the plan."""
    options = [
        # Without --rm: how it ended is read off the container, which is removed after that.
        *(["--detach"] if detach else ["--interactive"]),
        *(["--tty"] if terminal and not detach else []),
        *["--name", plan.name, "--pull", plan.pull_policy],
        *(["--platform", plan.platform] if plan.platform else []),
        *repeated("--label", (f"{key}={value}" for key, value in plan.labels)),
        *_published(plan),
        *repeated("--mount", plan.mounts),
        *plan.given.options(),
        *repeated("--group-add", plan.groups),
        *repeated("--env", plan.env),
        *plan.confined,
    ]
    return ("docker", "run", *options, plan.image, *plan.args)
