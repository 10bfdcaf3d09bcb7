"""The way to a registry in memory, without a network."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Unpack

from simulation.registries import Registry

from buildlib.errors import EngineError
from buildlib.registry.request import Options
from buildlib.registry.response import Response
from buildlib.registry.transport import Transport


class Direct(Transport):
    """Asks a registry in memory.

    Args:
        fails: is asked before each request.
        asked: each request, with its method.
        lock: is held while the registry answers.
    """

    def __init__(
        self,
        registry: Registry,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
        lock: AbstractContextManager[object] | None = None,
    ) -> None:
        super().__init__(registry.host, sleep=sleep, clock=clock)
        self.fails: Callable[[str, str], object] = lambda _method, _path: None
        self.asked: list[str] = []
        self._registry, self._lock = registry, lock or nullcontext()

    def ask(self, method: str, path: str, **options: Unpack[Options]) -> Response:
        self.asked.append(f"{method} {path}")
        self.fails(method, path)
        make = options.get("body")
        body = make() if make else b""
        data = body if isinstance(body, bytes) else body.read()
        with self._lock:
            answer = self._registry.answer(method, path, data)
        if answer.status not in options["expect"]:
            raise EngineError(f"{self.host} refuses {method}")
        return answer
