"""Asks an address whether an engine is there, without docker: in a millisecond, with the reason."""

from __future__ import annotations

import errno
import http.client
import json
import os
import socket
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from buildlib.run.endpoint import Candidate, Pinged

# An engine that is there answers at once; one that does not within this is not taken.
_TIMEOUT: Final = 2.0
_PROBLEMS: Final = {
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.ECONNREFUSED: "nobody listens",
    errno.ENOENT: "not there",
}


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket of the file system."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _not_a_socket(path: str) -> str:
    """Return why the path can't be one, or nothing."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - a path may hold what Path would change
    except OSError as error:
        if os.path.islink(path):  # noqa: PTH114 - as above
            return "a link that leads nowhere"
        return _PROBLEMS.get(error.errno or 0, error.strerror or "can't be read")
    if stat.S_ISSOCK(mode):
        return ""
    return "a directory" if stat.S_ISDIR(mode) else "a file, not a socket"


def ping(candidate: Candidate) -> Pinged:
    """Ask; an engine elsewhere is for docker to reach, and is taken at its word."""
    if not candidate.path:
        return Pinged(candidate=candidate)
    if problem := _not_a_socket(candidate.path):
        return Pinged(candidate=candidate, problem=problem)
    connection = _Connection(candidate.path)
    try:
        connection.request("GET", "/_ping")
        answer = connection.getresponse()
    except TimeoutError:
        return Pinged(candidate=candidate, problem=f"no answer within {_TIMEOUT:g} s")
    except (OSError, http.client.HTTPException) as error:
        number = error.errno if isinstance(error, OSError) else 0
        return Pinged(candidate=candidate, problem=_PROBLEMS.get(number or 0) or str(error))
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        return Pinged(candidate=candidate, problem=f"answers {answer.status}")
    return Pinged(candidate=candidate, podman="Libpod-API-Version" in answer.headers)


def ping_all(found: Iterable[Candidate]) -> Iterator[Pinged]:
    """Ask one after the other, as long as somebody wants the answers."""
    return (ping(candidate) for candidate in found)


def current_context(env: Mapping[str, str], ask: Callable[[str], str]) -> tuple[str, str]:
    """Return docker's current context and what it leads to; both empty for the default one.

    Args:
        env: for DOCKER_CONTEXT, DOCKER_HOST, DOCKER_CONFIG and HOME.
        ask: returns the address of a context; called only where there is one to ask about.
    """
    if env.get("DOCKER_HOST"):
        return "", ""
    name = env.get("DOCKER_CONTEXT", "")
    if not name:
        folder = env.get("DOCKER_CONFIG") or f"{env.get('HOME', '')}/.docker"
        try:
            config = json.loads(Path(folder, "config.json").read_text(encoding="utf-8"))
            name = str(config.get("currentContext") or "")
        except (OSError, ValueError, AttributeError):
            name = ""
    return ("", "") if name in {"", "default"} else (name, ask(name))
