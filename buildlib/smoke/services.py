"""The services that the configuration names, running beside the image's own containers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from buildlib.errors import EngineError, TimedOutError
from buildlib.run.ask import container_log, health_log
from buildlib.run.reach import Inside, NoWayError
from buildlib.smoke.lab import Lab
from buildlib.surroundings import Service

_POLL: Final = 0.2
_QUESTION: Final = 10.0
# An image has to be pulled first, perhaps.
_START: Final = 600.0


@contextmanager
def beside(lab: Lab, services: Sequence[Service], helper: str = "") -> Iterator[str]:
    """Run services for the time of the block, in a network of their own, and return its name.

    Without any there is no network either.

    Args:
        lab: starts them.
        services: from the configuration.
        helper: an image that can look at a service's ports, where its own image can't.

    Raises:
        EngineError: one can't be started, or is not ready in time (exit 4).
    """
    if not services:
        yield ""
        return
    with lab.network() as network, ExitStack() as running:
        names = [running.enter_context(_started(lab, one, network)) for one in services]
        for service, name in zip(services, names, strict=True):
            _wait(lab, service, name, helper)
        yield network


@contextmanager
def _started(lab: Lab, service: Service, network: str) -> Iterator[str]:
    options = (
        *("--detach", "--network", network, "--network-alias", service.name),
        *(word for name, value in service.env for word in ("--env", f"{name}={value}")),
    )
    made = lab.container(options, service.image, service.command, timeout=_START, pull="missing")
    with made as (name, started):
        if started.code != 0:
            raise EngineError(
                f"the service {service.name} can't be started", why=started.stderr.strip()
            )
        yield name


def _wait(lab: Lab, service: Service, name: str, helper: str) -> None:
    deadline = time.monotonic() + lab.limit(service.start_timeout)
    while True:
        found: list[dict[str, Any]] = json.loads(
            lab.docker("container", "inspect", name).stdout or "[]"
        ) or [{}]
        state = dict(found[0].get("State") or {})
        problem = _not_ready(lab, service, Inside(lab, name, helper, lab.labels), state)
        if not problem:
            return
        ended = not state.get("Running")
        if ended or time.monotonic() > deadline:
            limit = f"not ready within {service.start_timeout} s{lab.remark}"
            what = "it has ended" if ended else limit
            log = container_log(lab, name)
            raise EngineError(
                f"the service {service.name} can't be used: {what}",
                why="\n".join(filter(None, [problem, log])),
            )
        time.sleep(_POLL)


def _not_ready(lab: Lab, service: Service, inside: Inside, state: dict[str, Any]) -> str:
    """Return why a service can't be used yet, or nothing: as configured, or as its image says."""
    limit = lab.limit(_QUESTION)
    if not state.get("Running"):
        return f"it ended with code {state.get('ExitCode')}"
    try:
        if service.ready_command:
            words = ("exec", inside.container, *service.ready_command)
            done = lab.docker(*words, timeout=limit)
            return "" if done.code == 0 else (done.stderr or done.stdout).strip() or "not ready"
        if service.ready_port:
            return inside.listens(service.ready_port, timeout=limit)
    except NoWayError as error:
        raise EngineError(
            f"the port of the service {service.name} can't be asked", why=str(error)
        ) from error
    except (OSError, TimedOutError) as error:
        return str(error)
    health = state.get("Health") or {}
    if health and health.get("Status") != "healthy":
        return health_log(health).strip() or "starting"
    return ""
