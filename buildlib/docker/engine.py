"""What docker, buildx, engine and builder are here: asked once, kept as data."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from buildlib.docker.buildx_version import PROBED, says_version
from buildlib.errors import EngineError, InputError
from buildlib.executor import Completed, Executor
from buildlib.image.platform import Platform, parse_platform
from buildlib.shell import NOT_FOUND
from buildlib.terminal.text import last_line

# An engine that is there answers in milliseconds; one behind ssh may take seconds.
_TIMEOUT: Final = 30.0
_LISTINGS: Final = 5
_PAUSE: Final = 0.2
# The codes of docker run and docker exec themselves; see
# docs.docker.com/reference/cli/docker/container/run.
ENGINE_FAILED: Final = 125
NOT_EXECUTABLE: Final = 126
OWN_CODES: Final = frozenset({ENGINE_FAILED, NOT_EXECUTABLE, NOT_FOUND})
REGISTER_EMULATION: Final = "docker run --privileged --rm tonistiigi/binfmt --install all"
_CONTAINERD_STORE: Final = "io.containerd.snapshotter.v1"


@dataclass(frozen=True, kw_only=True)
class Node:
    """A machine of a builder.

    Args:
        given: the platforms that it was given, which buildx sends to it before others; `platforms`
            are all that it can run, as far as it answers.
        error: why buildx can't use it.
        gc: the rules by which its cache is collected, in buildx's words.
    """

    name: str
    endpoint: str = ""
    status: str = ""
    buildkit: str = ""
    given: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    error: str = ""
    gc: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Builder:
    """A buildx builder; `platforms` are those that it can run, natively or emulated."""

    name: str
    driver: str
    status: str = ""
    buildkit: str = ""
    platforms: tuple[str, ...] = ()
    nodes: tuple[Node, ...] = ()
    error: str = ""

    @property
    def versions(self) -> str:
        """Return the versions of BuildKit that its nodes have; empty: buildx reports none."""
        found = {node.buildkit for node in self.nodes} | {self.buildkit}
        return ", ".join(sorted(filter(None, found)))


@dataclass(frozen=True, kw_only=True)
class EngineFacts:
    """What `docker info` says; an empty version means that it is not there.

    Args:
        client, buildx, server: versions.
        buildx_path: the plugin's program.
        buildx_fits: a buildx that does not say its version has the options that are needed; None:
            it says its version, or was not asked.
        context: docker's current context; `endpoint` what it leads to, as far as it is known.
        os, arch: of the engine, in OCI's words.
        containerd_store: images are kept by containerd, with indexes and attestations.
        operating_system, host: of the engine, in its own words.
        security: `name=rootless`, `name=selinux`, ….
        problem: why the engine did not answer, in docker's own words.
    """

    client: str = ""
    buildx: str = ""
    buildx_path: str = ""
    buildx_fits: bool | None = None
    server: str = ""
    context: str = ""
    os: str = ""
    arch: str = ""
    storage: str = ""
    containerd_store: bool = False
    operating_system: str = ""
    host: str = ""
    security: tuple[str, ...] = ()
    problem: str = ""

    @property
    def platform(self) -> Platform | None:
        """Return the engine's own platform; None where it is not known, or has no name here."""
        try:
            return parse_platform(f"{self.os}/{self.arch}") if self.os and self.arch else None
        except InputError:
            return None


def _probe(executor: Executor) -> bool:
    """Return whether buildx has what the oldest release that does brought."""
    try:
        result = executor.run(("docker", "buildx", "create", "--help"), timeout=_TIMEOUT)
    except EngineError:
        return False
    return result.code == 0 and PROBED in result.stdout.split()


def inspect_engine(executor: Executor) -> EngineFacts:
    """Ask docker about itself and its engine, in one call; a second for a buildx without version.

    Raises:
        ToolError: docker is not installed (exit 3).
    """
    try:
        result = executor.run(("docker", "info", "--format", "{{json .}}"), timeout=_TIMEOUT)
    except EngineError as error:
        return EngineFacts(client="unknown", buildx="unknown", problem=error.what)
    facts = parse_info(result)
    if facts.client == "unknown" or not facts.buildx or says_version(facts.buildx):
        return facts
    return replace(facts, buildx_fits=_probe(executor))


def parse_info(result: Completed) -> EngineFacts:
    """Read what `docker info --format '{{json .}}'` printed; it prints even without an engine."""
    try:
        info: dict[str, Any] = json.loads(result.stdout)
    except ValueError:
        # A context that does not exist: docker gives up before it prints.
        problem = last_line(result.stderr) or "docker info printed nothing"
        return EngineFacts(client="unknown", buildx="unknown", problem=problem)
    client = info.get("ClientInfo") or {}
    plugins = {str(p.get("Name")): p for p in client.get("Plugins") or ()}
    buildx = plugins.get("buildx", {})
    if buildx.get("Err"):
        buildx = {}
    errors = info.get("ServerErrors") or ()
    server = str(info.get("ServerVersion") or "")
    return EngineFacts(
        client=str(client.get("Version") or "unknown"),
        buildx=str(buildx.get("Version") or "unknown") if buildx else "",
        buildx_path=str(buildx.get("Path") or ""),
        server=server,
        context=str(client.get("Context") or ""),
        os=str(info.get("OSType") or ""),
        arch=str(info.get("Architecture") or ""),
        storage=str(info.get("Driver") or ""),
        operating_system=str(info.get("OperatingSystem") or ""),
        host=str(info.get("Name") or ""),
        security=tuple(str(option) for option in info.get("SecurityOptions") or ()),
        containerd_store=["driver-type", _CONTAINERD_STORE] in (info.get("DriverStatus") or ()),
        problem="" if server else " ".join(map(str, errors)) or last_line(result.stderr),
    )


def emulation_problem(output: str) -> EngineError | None:
    """Return the error where output says that a program of another platform could not run."""
    if "exec format error" not in output.lower():
        return None
    return EngineError(
        "a program for another platform was to run, and emulation is not registered",
        why=last_line(output),
        hint=f"{REGISTER_EMULATION} registers it",
    )


def inspect_builder(executor: Executor, name: str = "") -> Builder:
    """Ask buildx about a builder, or about the current one; it is not started by that."""
    argv = ("docker", "buildx", "inspect", *([name] if name else []))
    try:
        result = executor.run(argv, timeout=_TIMEOUT)
    except EngineError as error:
        return Builder(name=name, driver="", error=error.what)
    if result.code != 0:
        return Builder(name=name, driver="", error=last_line(result.stderr))
    return parse_builder(result.stdout)


def buildkit_versions(executor: Executor, name: str = "") -> str:
    """Return the versions of BuildKit that a builder's nodes have, as buildx reports them."""
    return inspect_builder(executor, name).versions or "unknown"


def _rows(text: str) -> dict[str, list[str]]:
    """Return the values of each row of `NAME:  VALUE`, by the name in lower case."""
    rows: dict[str, list[str]] = {}
    for match in re.finditer(r"^[ \t]*([A-Z][\w ]*?):[ \t]+(.*)$", text, re.MULTILINE):
        rows.setdefault(match[1].lower(), []).append(match[2].strip())
    return rows


def _first(rows: Mapping[str, Sequence[str]], *names: str) -> str:
    return next((rows[name][0] for name in names if name in rows), "")


def _names(rows: Mapping[str, Sequence[str]]) -> list[str]:
    """Return all platforms; one that the node was given bears a star."""
    return [n for row in rows.get("platforms", ()) for n in re.split(r"[,\s]+", row) if n]


def _plain(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.rstrip("*") for name in names))


def _rule(text: str) -> str:
    """Return a rule of garbage collection on one line, as `keep duration 48h0m0s, …`."""
    rows = {name: values[0] for name, values in _rows(text).items()}
    everything = rows.pop("all", "") == "true"
    said = [f"{name} {value}" for name, value in rows.items()]
    return ", ".join([*said, *(["all"] if everything else [])])


def _parse_node(text: str) -> Node:
    text, *rules = re.split(r"^GC Policy rule#\d+:[ \t]*$", text, flags=re.MULTILINE)
    rows = _rows(text)
    names = _names(rows)
    return Node(
        name=_first(rows, "name"),
        endpoint=_first(rows, "endpoint"),
        status=_first(rows, "status"),
        buildkit=_first(rows, "buildkit version", "buildkit"),
        given=_plain(name for name in names if name.endswith("*")),
        platforms=_plain(names),
        error=_first(rows, "error"),
        gc=tuple(map(_rule, rules)),
    )


def parse_builder(text: str) -> Builder:
    """Read what `docker buildx inspect` printed; it has no JSON form in every version."""
    rows = _rows(text)
    _, _, nodes = text.partition("\nNodes:")
    parts = [part for part in re.split(r"^(?=Name:)", nodes, flags=re.MULTILINE) if part.strip()]
    return Builder(
        name=_first(rows, "name"),
        driver=_first(rows, "driver"),
        status=_first(rows, "status"),
        buildkit=_first(rows, "buildkit version", "buildkit"),
        platforms=_plain(_names(rows)),
        nodes=tuple(map(_parse_node, parts)),
        error=_first(rows, "error"),
    )


def listed(
    executor: Executor, *words: str, sleep: Callable[[float], None] = time.sleep
) -> tuple[str, ...]:
    """Return what docker lists, word by word.

    The engine's listing can fail when an image goes while it is made (moby/moby#46077), so it is
    made again a few times.

    Args:
        words: of the command, such as `ps --quiet`.
        sleep: waits for so many seconds.

    Raises:
        EngineError: it fails every time (exit 4).
    """
    answer = executor.run(("docker", *words))
    for _ in range(_LISTINGS - 1):
        if answer.code == 0:
            break
        sleep(_PAUSE)
        answer = executor.run(("docker", *words))
    if answer.code != 0 and "cannot connect to the docker daemon" in answer.stderr.lower():
        raise EngineError(
            "the Docker engine does not answer",
            why=answer.stderr.strip(),
            hint="start it, or choose another: docker context ls",
        )
    if answer.code != 0:
        raise EngineError(f"docker {words[0]} failed", why=answer.stderr.strip())
    return tuple(answer.stdout.split())
