"""The services that the configuration names: how one is started, and when it is ready."""

from __future__ import annotations

import json
import time
from typing import Any, Final

from buildlib.config.containers import Service
from buildlib.containers.inspect import container_log, health_log
from buildlib.containers.port import Feeder, Inside, NoWayError
from buildlib.errors import EngineError, TimedOutError

_POLL: Final = 0.2
_QUESTION: Final = 10.0


class Readiness:
    """Waits for a service.

    Args:
        executor: starts docker.
        service: from the configuration.
        inside: asks its container.
        scale: how many times longer than configured it may take.
        remark: ends a message about that.
    """

    def __init__(
        self,
        executor: Feeder,
        service: Service,
        inside: Inside,
        *,
        scale: float = 1.0,
        remark: str = "",
    ) -> None:
        """Keep what every question needs."""
        self._executor, self._service, self._inside = executor, service, inside
        self._scale, self._remark = scale, remark

    def wait(self) -> None:
        """Return as soon as it can be used.

        Raises:
            EngineError: it has ended, or is not ready in time (exit 4).
        """
        service, name = self._service, self._inside.container
        deadline = time.monotonic() + service.start_timeout * self._scale
        while True:
            state = self._state()
            problem = self._problem(state)
            if not problem:
                return
            ended = not state.get("Running")
            if ended or time.monotonic() > deadline:
                limit = f"not ready within {service.start_timeout} s{self._remark}"
                raise EngineError(
                    f"the service {service.name} can't be used: "
                    f"{'it has ended' if ended else limit}",
                    why="\n".join(filter(None, [problem, container_log(self._executor, name)])),
                )
            time.sleep(_POLL)

    def _state(self) -> dict[str, Any]:
        words = ("docker", "container", "inspect", self._inside.container)
        found: list[dict[str, Any]] = json.loads(self._executor.run(words).stdout or "[]") or [{}]
        return dict(found[0].get("State") or {})

    def _problem(self, state: dict[str, Any]) -> str:
        """Return why it can't be used yet, or nothing: as configured, or as its image says."""
        service, limit = self._service, _QUESTION * self._scale
        if not state.get("Running"):
            return f"it ended with code {state.get('ExitCode')}"
        try:
            if service.ready_command:
                words = ("docker", "exec", self._inside.container, *service.ready_command)
                done = self._executor.run(words, timeout=limit)
                return "" if done.code == 0 else (done.stderr or done.stdout).strip() or "not ready"
            if service.ready_port:
                return self._inside.listens(service.ready_port, timeout=limit)
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
