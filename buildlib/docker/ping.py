"""Asks an address whether an engine is there, without docker: in a millisecond, with the reason."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from buildlib.docker.endpoint import Candidate, Pinged, candidates, choose
from buildlib.docker.http import receive
from buildlib.errors import EngineError

if TYPE_CHECKING:
    from buildlib.executor import Executor

# An engine that is there answers at once; one that does not within this is not taken.
_TIMEOUT: Final = 2.0
_LONGEST_HEAD: Final = 16384
_PROBLEMS: Final = {
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.ECONNREFUSED: "nothing listens there",
    errno.ENOENT: "not there",
}


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
    try:
        head = _ask(candidate.path)
    except TimeoutError:
        return Pinged(candidate=candidate, problem=f"no answer within {_TIMEOUT:g} s")
    except OSError as error:
        return Pinged(candidate=candidate, problem=_PROBLEMS.get(error.errno or 0) or str(error))
    first = head.partition(b"\r\n")[0].decode(errors="replace")
    if first.split(" ", 2)[1:2] != ["200"]:
        return Pinged(candidate=candidate, problem=f"answers {first!r}")
    return Pinged(candidate=candidate, podman=b"\r\nlibpod-api-version:" in head.lower())


def _ask(path: str) -> bytes:
    """Return the beginning of the answer to a ping; http.client would take longer to load."""
    deadline = time.monotonic() + _TIMEOUT
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_TIMEOUT)
        connection.connect(path)
        connection.sendall(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _LONGEST_HEAD:
            part = receive(connection, _LONGEST_HEAD, deadline)
            if not part:
                break
            head += part
        return head


def find_engine(env: Mapping[str, str], executor: Executor, *, option: str = "") -> Pinged:
    """Return the address to connect to.

    Raises:
        EngineError: none answers (exit 4).
    """

    def ask(context: str) -> str:
        words = ("context", "inspect", "--format", "{{.Endpoints.docker.Host}}", context)
        answer = executor.run(("docker", *words))
        if answer.code != 0:
            raise EngineError(
                f"docker's current context {context!r} does not exist",
                why=answer.stderr.strip(),
                hint="docker context ls lists them",
            )
        return answer.stdout.strip()

    named = option or env.get("DOCKER_SOCKET") or env.get("DOCKER_HOST")
    name, host = ("", "") if named else current_context(env, ask)
    found = candidates(env, option=option, context=name, context_host=host)
    return choose(map(ping, found))


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
            config = json.loads(Path(folder, "config.json").read_text(encoding="utf-8-sig"))
            name = str(config.get("currentContext") or "")
        except (OSError, ValueError, AttributeError):
            name = ""
    return ("", "") if name in {"", "default"} else (name, ask(name))
