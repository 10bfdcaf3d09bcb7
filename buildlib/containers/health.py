"""How a container of the image is seen to be healthy, and what it is given, for run and smoke."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from buildlib.config.config import Config
from buildlib.config.containers import (
    GivenMount,
    Pairs,
    Port,
    Service,
    env_options,
    resolve_mount,
)
from buildlib.config.expectations import Statuses
from buildlib.config.tables import ContainerSettings, Run, Smoke
from buildlib.errors import InputError
from buildlib.findings.secrets import looks_secret
from buildlib.shell import repeated

# As curl --fail and Kubernetes have it.
_HEALTHY: Final[Statuses] = ((200, 399),)
# What docker's client reads of its environment and could be a secret, beside proxies; see
# docs.docker.com/reference/cli/docker, "Environment variables".
_OF_DOCKER: Final = frozenset(
    {"DOCKER_AUTH_CONFIG", "DOCKER_CUSTOM_HEADERS", "DOCKER_HOST", "DOCKER_CONFIG"}
)


class Health(NamedTuple):
    """What is asked, and what counts.

    Args:
        kind: of HEALTH_KINDS.
    """

    kind: str
    port: int = 0
    path: str = "/"
    statuses: Statuses = _HEALTHY
    command: tuple[str, ...] = ()

    def accepts(self, status: int) -> bool:
        """Return whether an answer of HTTP counts as healthy."""
        return any(first <= status <= last for first, last in self.statuses)

    def __str__(self) -> str:
        """Return what is asked, for a message."""
        asked = {
            "http": f"GET {self.path} on port {self.port}",
            "tcp": f"a connection to port {self.port}",
            "command": " ".join(self.command),
            "healthcheck": "the image's HEALTHCHECK",
            "running": "whether it goes on running",
        }
        return asked[self.kind]


def _health(config: Config, table: Run | Smoke) -> Health:
    smoke = config.smoke
    command = table.health_command or smoke.health_command
    chosen = table.health or ("command" if table.health_command else smoke.health)
    kind = chosen or ("command" if command else "http")
    return Health(
        kind=kind,
        port=table.port or smoke.port,
        path=table.health_path or smoke.health_path,
        statuses=table.health_status or smoke.health_status or _HEALTHY,
        command=command if kind == "command" else (),
    )


def smoke_health(config: Config) -> Health:
    """Return how smoke sees it."""
    return _health(config, config.smoke)


def run_health(config: Config) -> Health | None:
    """Return how `docker-run` sees it; None: there is nothing to wait for."""
    health = _health(config, config.run)
    return health if health.port or health.kind not in {"http", "tcp"} else None


class ContainerExtras(NamedTuple):
    """What a container is given beside what `docker-run` always gives it.

    Those of `hidden` are variables whose values must be in no command line: whoever starts docker
    gives them to it in its environment.
    """

    env: Pairs = ()
    hidden: Pairs = ()
    env_files: tuple[Path, ...] = ()
    mounts: tuple[GivenMount, ...] = ()
    network: str = ""
    hosts: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    services: tuple[Service, ...] = ()

    def options(self) -> tuple[str, ...]:
        """Return docker's options, without the ports, which depend on where they are published."""
        return (
            *repeated("--env-file", self.env_files),
            *env_options(self.env, self.hidden),
            *(word for mount in self.mounts for word in (mount.option, mount.value)),
            *(["--network", self.network] if self.network else []),
            *repeated("--add-host", self.hosts),
        )


def run_surroundings(config: Config) -> ContainerExtras:
    """Return what `docker-run` gives a container."""
    return _joined(config, config.run)


def smoke_surroundings(config: Config) -> ContainerExtras:
    """Return what smoke gives one: that of `run`, and its own besides or instead."""
    return _joined(config, config.run, config.smoke)


def _joined(config: Config, *tables: ContainerSettings) -> ContainerExtras:
    env: dict[str, str] = {}
    for table in tables:
        env |= dict(table.env)
    root, allowed = config.root, config.allowed_names()
    shown, hidden = _split_secret(tuple(env.items()), allowed)
    services = {one.name: one for table in tables for one in table.services}.values()
    return ContainerExtras(
        env=shown,
        hidden=hidden,
        env_files=tuple(root / path for table in tables for path in table.env_file),
        mounts=tuple(resolve_mount(text, root) for table in tables for text in table.mounts),
        network=next((table.network for table in reversed(tables) if table.network), ""),
        hosts=tuple(host for table in tables for host in table.add_host),
        ports=tuple(dict.fromkeys(port for table in tables for port in table.ports)),
        services=tuple(_hiding(one, allowed) for one in services),
    )


def _split_secret(env: Pairs, allowed: Sequence[str]) -> tuple[Pairs, Pairs]:
    """Return the variables that anybody may see in a command line, and those that look secret.

    Raises:
        InputError: one that looks secret would change what docker itself does (exit 2).
    """
    hidden = tuple(pair for pair in env if looks_secret(*pair, allowed))
    for name, _ in hidden:
        if name.upper().endswith("_PROXY") or name in _OF_DOCKER:
            raise InputError(
                f"the variable {name} of a container holds a secret, and docker itself reads it",
                why="such values reach docker in its own environment, and not in a command line",
                hint="put it into a file that env-file names",
            )
    return tuple(pair for pair in env if pair not in hidden), hidden


def _hiding(service: Service, allowed: Sequence[str]) -> Service:
    shown, hidden = _split_secret(service.env, allowed)
    return replace(service, env=shown, hidden=hidden)
