"""The services that the configuration names, running beside the image's own containers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from buildlib.config.containers import Service, service_options
from buildlib.containers.port import Inside
from buildlib.containers.services import Readiness
from buildlib.errors import EngineError
from buildlib.smoke.sandbox import Lab

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
            inside = Inside(lab, name, helper, lab.labels)
            Readiness(lab, service, inside, scale=lab.slowness, remark=lab.remark).wait()
        yield network


@contextmanager
def _started(lab: Lab, service: Service, network: str) -> Iterator[str]:
    options = service_options(service, network)
    made = lab.container(
        options,
        service.image,
        service.command,
        timeout=_START,
        pull="missing",
        env=dict(service.hidden),
    )
    with made as (name, started):
        if started.code != 0:
            raise EngineError(
                f"the service {service.name} can't be started", why=started.stderr.strip()
            )
        yield name
