"""The services that the configuration names, running beside the image's own containers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from buildlib.config.containers import Service
from buildlib.containers.services import Services
from buildlib.smoke.sandbox import Lab

# An image has to be pulled first, perhaps.
_START: Final = 600.0


@contextmanager
def beside(lab: Lab, services: Sequence[Service], helper: str = "") -> Iterator[str]:
    """Run services for the time of the block, in a network of their own, and return its name.

    Without any there is no network either.

    Args:
        helper: an image that can look at a service's ports, where its own image can't.

    Raises:
        EngineError: one can't be started, or is not ready in time (exit 4).
    """
    if not services:
        yield ""
        return
    network = lab.new_name()
    started = Services(lab, services, network, lab.labels, helper)
    try:
        started.start(timeout=lab.limit(_START), scale=lab.slowness, remark=lab.remark)
        yield network
    finally:
        lab.remove(*started.names, network=network)
