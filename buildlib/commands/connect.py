"""The first thing that a task around a container does: find the engine, and let docker use it."""

from __future__ import annotations

from buildlib.commands.session import Edge
from buildlib.docker.endpoint import Candidate, Pinged, find_engine
from buildlib.errors import EngineError


def connect(run: Edge, option: str = "") -> Pinged:
    """Return the engine that answers; a dry run supposes the usual one where none does.

    Raises:
        EngineError: none does, or not the one whose socket was named (exit 4).
    """
    try:
        answer = find_engine(run.env, run.executor, option=option)
    except EngineError as error:
        if not run.dry or option or run.env.get("DOCKER_SOCKET"):
            raise
        run.console.warn(f"{error.what}; the line below supposes the usual one")
        supposed = Candidate(source="supposed", address="unix:///var/run/docker.sock")
        return Pinged(candidate=supposed, problem=error.what)
    if answer.candidate.docker_host:
        run.connect(answer.candidate.docker_host)
    return answer
