"""What the checks of a project are called, before anything is built or started."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from buildlib.config import Config
from buildlib.errors import InputError
from buildlib.smoke import checks
from buildlib.smoke.flow import POLICY
from buildlib.smoke.result import DROPS_ROOT
from buildlib.smoke.sockets import OWN, named


def check_names(config: Config) -> tuple[str, ...]:
    """Return the checks that the configuration comes to, in their order."""
    smoke = config.smoke
    found = [" ".join(command.run) for command in smoke.commands]
    found += [checks.VERSION] if smoke.version_command else []
    found += [checks.LABEL_VERSION, *(_of_server(config) if smoke.port else ())]
    found += [POLICY] if smoke.policy else []
    return tuple(dict.fromkeys(found))


def _of_server(config: Config) -> Iterator[str]:
    smoke, run = config.smoke, config.run
    yield from (checks.HEALTHY, checks.HEALTHCHECK, checks.HEALTH_VERSION, checks.PLATFORM)
    mounts = bool(smoke.engine_path and run.socket_path)
    sockets = [OWN, *map(named, smoke.socket_groups)] if mounts else []
    for socket in sockets or ([""] if run.user else []):
        if run.user:
            yield f"{checks.USER}, {socket}" if socket else checks.USER
        if socket:
            yield f"{checks.ENGINE}, {socket}"
    if smoke.data:
        yield checks.DATA
    yield checks.STOPS
    if run.drops_root:
        yield DROPS_ROOT
    yield from (checks.DIFF, checks.LOG)


def check_only(config: Config, only: Sequence[str]) -> None:
    """See that each pattern fits a check.

    Raises:
        InputError: one fits none (exit 2).
    """
    known = check_names(config)
    for pattern in only:
        if not checks.is_wanted((pattern,), *known):
            raise InputError(f"no check is called {pattern}", hint=f"there are: {'; '.join(known)}")
