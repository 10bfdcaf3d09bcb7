"""The services that the configuration names: started in a network of their own, and waited for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from buildlib.config.containers import Service
from buildlib.containers.health_probe import wait
from buildlib.containers.inspect import container_log, described, health_log, state_of
from buildlib.containers.plan import network_argv, service_argv, service_name
from buildlib.containers.port import Feeder, Inside, NoWayError
from buildlib.errors import EngineError, TimedOutError
from buildlib.executor import NOTHING

_POLL: Final = 0.2
_QUESTION: Final = 10.0


class Services:
    """The services of one run.

    Args:
        labels: options by which what is made is known as this run's.
        helper: an image that can look at a service's ports, where its own image can't.
    """

    def __init__(
        self,
        executor: Feeder,
        services: Sequence[Service],
        network: str,
        labels: tuple[str, ...],
        helper: str = "",
    ) -> None:
        self._executor, self._services = executor, services
        self._network, self._labels, self._helper = network, labels, helper
        self._scale, self._remark = 1.0, ""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the containers."""
        return tuple(service_name(self._network, one) for one in self._services)

    def start(self, *, timeout: float | None = None, scale: float = 1.0, remark: str = "") -> None:
        """Start them, and return as soon as all can be used; without any there is no network.

        Args:
            timeout: seconds that one may take to start, which may have to be pulled first.
            scale: how many times longer than configured one may take to be ready.
            remark: ends a message about that.

        Raises:
            EngineError: one can't be started, or is not ready in time (exit 4).
        """
        self._scale, self._remark = scale, remark
        if self._services:
            self._run(network_argv(self._network, self._labels), "the services' network")
        for one in self._services:
            argv = service_argv(one, self._network, self._labels)
            self._run(argv, f"the service {one.name}", timeout, dict(one.hidden))
        for one in self._services:
            self._wait(one)

    def _run(
        self,
        argv: tuple[str, ...],
        what: str,
        timeout: float | None = None,
        env: Mapping[str, str] = NOTHING,
    ) -> None:
        done = self._executor.run(argv, timeout=timeout, env=env)
        if done.code != 0:
            raise EngineError(f"{what} can't be started", why=done.stderr.strip())

    def _wait(self, service: Service) -> None:
        name = service_name(self._network, service)
        inside = Inside(self._executor, name, self._helper, self._labels)
        problem, ended = wait(
            lambda _: self._problem(service, inside),
            lambda: bool(self._state(name).get("Running")),
            service.start_timeout * self._scale,
            pause=_POLL,
            every=1,
        )
        if problem:
            limit = f"not ready within {service.start_timeout} s{self._remark}"
            raise EngineError(
                f"the service {service.name} can't be used: {'it has ended' if ended else limit}",
                why="\n".join(filter(None, [problem, container_log(self._executor, name)])),
            )

    def _state(self, name: str) -> dict[str, Any]:
        return state_of(described(self._executor, name))

    def _problem(self, service: Service, inside: Inside) -> str:
        """Return why it can't be used yet, or nothing: as configured, or as its image says."""
        state, limit = self._state(inside.container), _QUESTION * self._scale
        if not state.get("Running"):
            return f"it ended with code {state.get('ExitCode')}"
        try:
            if service.ready_command:
                words = ("docker", "exec", inside.container, *service.ready_command)
                done = self._executor.run(words, timeout=limit)
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
