"""The registries: whether each answers, whose credentials there are, and whether they may push."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from buildlib.config.config import Config
from buildlib.config.tables import Registry
from buildlib.doctor.check import Check, asked, check, unasked
from buildlib.executor import Executor
from buildlib.registry.credentials import find_credentials
from buildlib.registry.repository import Repository
from buildlib.registry.transport import LATER, Transport
from buildlib.retry import LaterError, Patience

_ONCE: Final = Patience(attempts=1, timeout=10.0)


def repository_of(registry: Registry, env: Mapping[str, str], executor: Executor) -> Repository:
    """Return a repository that is asked once, with the credentials that there are.

    Raises:
        BuildlibError: credentials that are configured can't be had.
    """
    credentials = find_credentials(registry, env, executor)
    transport = Transport(registry.host, credentials, env=env, patience=_ONCE)
    return Repository(transport, registry.full_name.partition("/")[2])


def for_registries(
    config: Config, env: Mapping[str, str], executor: Executor, *, network: bool
) -> list[Check]:
    """Return a check for each configured registry.

    Args:
        env: the environment, for credentials.
        executor: starts docker's credential helpers.
        network: they may be asked.
    """
    if not config.registries:
        example = f'add {config.table("registries.NAME")} with repository = "registry.example/name"'
        return [check("registries", "", fix=f"{example}")]
    return [_registry(one, env, executor, network=network) for one in config.registries]


def _registry(
    registry: Registry, env: Mapping[str, str], executor: Executor, *, network: bool
) -> Check:
    name = f"registry {registry.name}"
    if not network:
        return unasked(name, registry.repository, "publish")

    def ask() -> str:
        known = find_credentials(registry, env, executor)
        try:
            repository_of(registry, env, executor).check_writable()
        except LaterError as error:
            # Its hint is about a push.
            if error.hint.startswith(LATER):
                error.hint = f"start it, or check the address {registry.host}"
            raise
        who = f"credentials from {known.source}" if known else "without credentials"
        return f"{registry.repository} may be pushed to, {who}"

    return asked(name, ask, needed=registry.required)
