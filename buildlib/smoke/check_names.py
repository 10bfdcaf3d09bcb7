"""The names of a project's checks, before anything is built or started."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from buildlib.config.config import Config
from buildlib.containers.health import smoke_surroundings
from buildlib.errors import InputError
from buildlib.smoke import checks
from buildlib.smoke.report import DROPS_ROOT, POLICY
from buildlib.smoke.socket_relay import OWN, named


def check_names(config: Config) -> tuple[str, ...]:
    """Return the checks that the configuration comes to, in their order."""
    smoke = config.smoke
    found = [checks.name_of(command) for command in smoke.commands]
    found += [checks.VERSION] if smoke.version_command else []
    found += [checks.LABEL_VERSION, *(_of_server(config) if smoke.serves else ())]
    found += [POLICY] if smoke.policy else []
    return tuple(dict.fromkeys(found))


def _of_server(config: Config) -> Iterator[str]:
    smoke, run = config.smoke, config.run
    yield from (checks.HEALTHY, checks.HEALTHCHECK)
    if smoke.health_version:
        yield checks.HEALTH_VERSION
    for port in smoke_surroundings(config).ports:
        if port.kind == "tcp":
            yield checks.port_check(port.inside)
    yield checks.PLATFORM
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
    """Check that each pattern fits a check, and that what is skipped is one.

    Raises:
        InputError: one fits none (exit 2).
    """
    all_of_them = check_names(config)
    for pattern in config.smoke.skip:
        if not checks.is_selected((pattern,), *all_of_them):
            raise InputError(
                f"smoke.skip names no check: {pattern}", hint=f"there are: {'; '.join(all_of_them)}"
            )
    skip = config.smoke.skip
    known = [name for name in all_of_them if checks.is_selected((), name, skip=skip)]
    for pattern in only:
        if not checks.is_selected((pattern,), *known):
            raise InputError(f"no check is called {pattern}", hint=f"there are: {'; '.join(known)}")
