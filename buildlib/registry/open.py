"""Configured registries, with the credentials for them; nothing is requested of them yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from buildlib.config.config import Config
from buildlib.config.tables import Registry
from buildlib.errors import BuildlibError, InputError, collected, did_you_mean, raise_problems
from buildlib.executor import Executor
from buildlib.registry.credentials import find_credentials
from buildlib.registry.loopback import is_loopback
from buildlib.registry.repository import Repository
from buildlib.registry.transport import Transport
from buildlib.retry import Patience
from buildlib.tempfiles import remove_left


class Opened(NamedTuple):
    """A registry as configured, and its repository."""

    registry: Registry
    repository: Repository


def asking(opened: Iterable[Opened]) -> str:
    """Return what is shown while they are asked."""
    return f"asking {', '.join(dict.fromkeys(one.registry.host for one in opened))}"


def chosen_registries(config: Config, names: Iterable[str]) -> tuple[Registry, ...]:
    """Return the registries with these names, or all of them, in the order of the configuration.

    Raises:
        InputError: no registry is configured, or none with such a name (exit 2).
    """
    known = config.registries
    if not known:
        raise InputError(
            "no registry is configured",
            hint=f'add {config.table("registries.NAME")} with repository = "registry.example/name"',
        )
    wanted = list(names)
    for name in wanted:
        if name not in {registry.name for registry in known}:
            raise InputError(
                f"no registry is called {name!r}", hint=did_you_mean(name, [r.name for r in known])
            )
    return tuple(registry for registry in known if not wanted or registry.name in wanted)


def are_local(registries: Iterable[Registry]) -> bool:
    """Return whether all registries are on this machine: nothing becomes public."""
    hosts = [registry.host for registry in registries]
    # Without a registry it is not known where an image will go.
    return bool(hosts) and all(map(is_loopback, hosts))


def open_registries(
    registries: Iterable[Registry],
    env: Mapping[str, str],
    executor: Executor,
    patience: Patience | None = None,
    *,
    spare_optional: bool = False,
    dry: bool = False,
) -> tuple[Opened, ...]:
    """Return the registries with their credentials.

    Args:
        env: for credentials and proxies.
        executor: starts docker's credential helpers.
        patience: with the registries; None: the default.
        spare_optional: an optional registry whose credentials fail raises that error with its
            first request, and not here.
        dry: change nothing on this machine either.

    Raises:
        BuildlibError: configured credentials can't be read; all problems at once.
    """
    if not dry:
        # There may be passwords in the files of earlier runs that were killed.
        remove_left()
    problems: list[BuildlibError] = []
    found: list[Opened] = []
    for registry in registries:
        credentials = None
        failed: list[BuildlibError] = []
        with collected(failed):
            credentials = find_credentials(registry, env, executor)
        if registry.required or not spare_optional:
            problems += failed
        transport = Transport(
            *(registry.host, credentials),
            env=env,
            patience=patience or Patience(),
            refused=failed[0] if failed else None,
        )
        # A repository of Docker Hub's own has one part more there than it is written with.
        path = registry.full_name.partition("/")[2]
        found.append(Opened(registry, Repository(transport, path)))
    raise_problems(problems)
    return tuple(found)
