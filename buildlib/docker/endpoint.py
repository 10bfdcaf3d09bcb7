"""Which engine to connect to, and which path to mount as its socket: two questions.

On an engine inside a virtual machine the socket that we talk to is a forwarded one, and what a
container can mount is the path inside the machine.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from buildlib.docker.client_config import config_folder
from buildlib.docker.engine import EngineFacts
from buildlib.errors import EngineError
from buildlib.executor import Executor

_UNIX: Final = "unix://"
_USUAL: Final = "/var/run/docker.sock"


class EngineKind(StrEnum):
    """Engines that differ in what a container can mount."""

    LINUX = "Linux"
    ROOTLESS = "rootless"
    DOCKER_DESKTOP = "Docker Desktop"
    COLIMA = "Colima"
    ORBSTACK = "OrbStack"
    RANCHER_DESKTOP = "Rancher Desktop"
    PODMAN = "Podman"
    REMOTE = "remote"


class Group(StrEnum):
    """Where the group of the mounted socket can be seen."""

    HOST = "host"
    CONTAINER = "container"
    NONE = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """An address that may lead to an engine, and who named it.

    Args:
        source: `--socket`, `DOCKER_SOCKET`, `DOCKER_HOST`, `context NAME`, or the product.
        address: `unix:///path`, `tcp://…`, `ssh://…`.
        named: the user chose it, so nothing else is tried where it does not answer.
    """

    source: str
    address: str
    named: bool = False

    @property
    def path(self) -> str:
        """Return the socket's path, or nothing for an engine elsewhere."""
        return self.address.removeprefix(_UNIX) if self.address.startswith(_UNIX) else ""

    @property
    def docker_host(self) -> str:
        """Return the DOCKER_HOST that leads docker there; nothing where it goes there itself."""
        itself = self.source == "DOCKER_HOST" or self.source.startswith("context ")
        return "" if itself or (not self.named and self.path == _USUAL) else self.address


@dataclass(frozen=True, kw_only=True, slots=True)
class Pinged:
    """A candidate and how it answered; `problem` is empty where it did."""

    candidate: Candidate
    problem: str = ""
    podman: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class SocketMount:
    """What a container mounts; no source: it can't have the socket, and `note` says why."""

    source: str = ""
    group: Group = Group.NONE
    note: str = ""


def _address(text: str) -> str:
    return text if "://" in text else f"{_UNIX}{text}"


def candidates(
    env: Mapping[str, str], *, option: str = "", context: str = "", context_host: str = ""
) -> tuple[Candidate, ...]:
    """Return where an engine may be, in the order in which to ask.

    Args:
        env: for DOCKER_SOCKET, DOCKER_HOST, HOME and XDG_RUNTIME_DIR.
        option: from `--socket`, a path or an address.
        context: docker's current context, where it is not the default one.
        context_host: what that leads to.
    """
    named = [
        ("--socket", option),
        ("DOCKER_SOCKET", env.get("DOCKER_SOCKET", "")),
        ("DOCKER_HOST", env.get("DOCKER_HOST", "")),
        (f"context {context}", context_host),
    ]
    found = [Candidate(source=s, address=_address(a), named=True) for s, a in named if a]
    home, runtime = env.get("HOME", ""), env.get("XDG_RUNTIME_DIR", "")
    usual = [
        ("the usual place", _USUAL),
        ("rootless Docker", runtime and f"{runtime}/docker.sock"),
        ("Docker Desktop", home and f"{home}/.docker/run/docker.sock"),
        ("Docker Desktop", home and f"{home}/.docker/desktop/docker.sock"),
        ("Colima", home and f"{home}/.colima/default/docker.sock"),
        ("OrbStack", home and f"{home}/.orbstack/run/docker.sock"),
        ("Rancher Desktop", home and f"{home}/.rd/docker.sock"),
        ("Podman", runtime and f"{runtime}/podman/podman.sock"),
        ("Podman", "/run/podman/podman.sock"),
    ]
    found += [Candidate(source=s, address=_address(a)) for s, a in usual if a]
    first: dict[str, Candidate] = {}
    for candidate in found:
        first.setdefault(candidate.address, candidate)
    return tuple(first.values())


def choose(answers: Iterable[Pinged]) -> Pinged:
    """Return the first that answers; a named one that does not ends the search.

    Raises:
        EngineError: none does; the message lists every place and its problem (exit 4).
    """
    asked: list[Pinged] = []
    for answer in answers:
        if not answer.problem:
            return answer
        asked.append(answer)
        if answer.candidate.named:
            break
    places = "\n  ".join(
        f"{pinged.candidate.address} ({pinged.candidate.source}): {pinged.problem}"
        for pinged in asked
    )
    denied = any("permission" in p.problem for p in asked)
    raise EngineError(
        "no Docker engine answers",
        why=f"asked\n  {places}",
        hint="join the group that owns the socket (usually docker) and log in again"
        if denied
        else "start it, or name its socket with --socket PATH or DOCKER_HOST",
    )


def kind_of(answer: Pinged, facts: EngineFacts) -> EngineKind:
    """Return what kind of engine it is, by what it says and by where it is."""
    path = answer.candidate.path
    signs = (
        (EngineKind.REMOTE, not path),
        (EngineKind.PODMAN, answer.podman or "podman" in path),
        (EngineKind.DOCKER_DESKTOP, facts.operating_system == "Docker Desktop"),
        (EngineKind.ORBSTACK, facts.operating_system == "OrbStack" or "/.orbstack/" in path),
        (EngineKind.COLIMA, facts.host.startswith("colima") or "/.colima/" in path),
        (
            EngineKind.RANCHER_DESKTOP,
            "rancher-desktop" in facts.host
            or facts.operating_system.startswith("Rancher Desktop")
            or "/.rd/" in path,
        ),
        (EngineKind.ROOTLESS, "name=rootless" in facts.security),
    )
    return next((kind for kind, sign in signs if sign), EngineKind.LINUX)


def socket_mount(
    kind: EngineKind, answer: Pinged, facts: EngineFacts, *, system: str
) -> SocketMount:
    """Return what to mount so that a container reaches the engine.

    Args:
        answer: what we connect to.
        system: of this machine, as `sys.platform` has it.
    """
    path = answer.candidate.path
    match kind:
        case EngineKind.REMOTE:
            note = f"{answer.candidate.address} is elsewhere: its socket can't be named from here"
            return SocketMount(note=f"{note}, so the container runs without it")
        case EngineKind.LINUX:
            # With user namespaces a container sees other numbers than the host.
            remapped = "name=userns" in facts.security
            return SocketMount(source=path, group=Group.CONTAINER if remapped else Group.HOST)
        case EngineKind.ROOTLESS:
            return SocketMount(source=path, group=Group.CONTAINER)
        case EngineKind.PODMAN if not system.startswith("linux"):
            rootless = "name=rootless" in facts.security
            inside = "/run/user/501/podman/podman.sock" if rootless else "/run/podman/podman.sock"
            return SocketMount(source=inside, group=Group.CONTAINER)
        case EngineKind.PODMAN:
            return SocketMount(source=path, group=Group.CONTAINER)
        case _:
            return SocketMount(source=_USUAL, group=Group.CONTAINER)


# Asks an address whether an engine is there, without docker: in a millisecond, with the reason.


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
        mode = os.stat(path).st_mode  # noqa: PTH116 - Path drops a slash at the end
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
    """Return the beginning of the answer to a ping."""
    deadline = time.monotonic() + _TIMEOUT
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_TIMEOUT)
        connection.connect(path)
        connection.sendall(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _LONGEST_HEAD:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
            part = connection.recv(_LONGEST_HEAD)
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
        try:
            text = (config_folder(env) / "config.json").read_text(encoding="utf-8-sig")
            config = json.loads(text)
            name = str(config.get("currentContext") or "")
        except (OSError, ValueError, AttributeError):
            name = ""
    return ("", "") if name in {"", "default"} else (name, ask(name))
