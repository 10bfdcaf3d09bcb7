"""The table `builders` of a configuration: each builder described once.

What buildx would refuse, or would quietly take otherwise than it is meant, is refused here, where
it is written. Options and their names are those of buildx 0.13 and later.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from buildlib.errors import InputError, did_you_mean
from buildlib.platforms import Platform, parse_platforms
from buildlib.values import (
    MismatchError,
    check_keys,
    parse_fields,
    parse_flag,
    parse_pairs,
    parse_size,
    parse_text,
    parse_texts,
)

DOCKER: Final = "docker"
CONTAINER: Final = "docker-container"
REMOTE: Final = "remote"
KUBERNETES: Final = "kubernetes"
DRIVERS: Final = (DOCKER, CONTAINER, REMOTE, KUBERNETES)
# What stands for the platform in a builder's cache references.
PLATFORM: Final = "{platform}"

# What buildx's remote driver dials, with the helpers that it is built with.
_SCHEMES: Final = ("tcp", "unix", "ssh", "docker-container", "kube-pod")
# As buildx has it, but for upper case, which buildx would change silently.
_NAME: Final = re.compile(r"[a-z][a-z0-9._-]*")
_DURATION: Final = re.compile(r"([0-9]+(\.[0-9]+)?(s|m|h))+")
_TLS: Final = ("cacert", "cert", "key", "servername")


class Collection(NamedTuple):
    """Garbage collection of a builder's cache.

    Args:
        enabled: false: nothing is ever collected.
        keep_storage: bytes that the cache may have; 0: BuildKit's own choice.
        keep_duration: what nobody used for so long goes first, as `168h`; empty: BuildKit's own.
    """

    enabled: bool = True
    keep_storage: int = 0
    keep_duration: str = ""


class NodeSettings(NamedTuple):
    """One machine of a builder.

    Args:
        name: as buildx calls it.
        endpoint: of `remote`: where buildkitd listens; of `docker-container`: a docker context, or
            an address such as ssh://me@machine; of `docker`: a docker context; empty: docker's own.
        platforms: what is built here; none: what the node says that it can.
        cacert, cert, key: files, relative to the project; `servername` is the name in the node's
            certificate where it is not that of the address.
        options: as buildx's `--driver-opt`, sorted pairs.
        flags: of buildkitd.
        config: buildkitd's own configuration file, relative to the project.
    """

    name: str
    endpoint: str = ""
    platforms: tuple[Platform, ...] = ()
    cacert: str = ""
    cert: str = ""
    key: str = ""
    servername: str = ""
    options: tuple[tuple[str, str], ...] = ()
    flags: tuple[str, ...] = ()
    config: str = ""


class BuilderSettings(NamedTuple):
    """A builder; `cache_from` and `cache_to` count where neither project nor command line say."""

    name: str
    driver: str
    nodes: tuple[NodeSettings, ...]
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    gc: Collection | None = None

    @property
    def buildx_name(self) -> str:
        """Return what buildx calls it: the driver docker has one builder for each context."""
        return self.nodes[0].endpoint or "default" if self.driver == DOCKER else self.name

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """Return what it builds; none where a node decides that by itself."""
        if not all(node.platforms for node in self.nodes):
            return ()
        return tuple(platform for node in self.nodes for platform in node.platforms)


def _duration(value: object) -> str:
    text = parse_text(value)
    if not _DURATION.fullmatch(text):
        raise MismatchError('a time, such as "168h" or "30m"')
    return text


def _platforms(value: object) -> tuple[Platform, ...]:
    return parse_platforms(parse_texts(value))


_GC_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    "enabled": parse_flag,
    "keep-storage": parse_size,
    "keep-duration": _duration,
}
_NODE_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    "name": parse_text,
    "endpoint": parse_text,
    "platforms": _platforms,
    "cacert": parse_text,
    "cert": parse_text,
    "key": parse_text,
    "servername": parse_text,
    "options": parse_pairs,
    "flags": parse_texts,
    "config": parse_text,
}
_KEYS: Final[Mapping[str, object]] = dict.fromkeys(
    (*("driver", "nodes", "cache-from", "cache-to", "gc"),)
)


def _check_name(name: str, where: str) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{where}: {name!r} is not a name that buildx keeps as it is",
            hint="give lower-case letters, digits, dots, dashes and underscores, a letter first",
        )


def _node(builder: str, index: int, value: object) -> NodeSettings:
    where = f"builders.{builder}.nodes[{index}]"
    if not isinstance(value, Mapping):
        raise MismatchError(f"a list of tables; {where} is none")
    fields = parse_fields(value, _NODE_KEYS, f"{where}.")
    # The name that buildx would give.
    node = NodeSettings(**{"name": f"{builder}{index}", **fields})
    _check_name(node.name, where)
    return node


def _nodes(builder: str, value: object) -> tuple[NodeSettings, ...]:
    if not isinstance(value, list):
        raise MismatchError(f"a table with nodes = [{{ … }}] in builders.{builder}")
    # A builder without nodes is one node as buildx would make it.
    return tuple(_node(builder, n, node) for n, node in enumerate(value or [{}]))


def _gc(builder: str, value: object) -> Collection:
    return Collection(**parse_fields(value, _GC_KEYS, f"builders.{builder}.gc."))


def _driver(builder: str, table: Mapping[str, object]) -> str:
    driver = table.get("driver")
    if driver not in DRIVERS:
        raise InputError(
            f"builders.{builder}: unknown driver {driver!r}"
            if driver
            else f"builders.{builder} names no driver",
            hint=did_you_mean(driver or "", DRIVERS),
        )
    return str(driver)


def _builder(name: str, value: object) -> BuilderSettings:
    if not isinstance(value, Mapping):
        raise MismatchError(f'a table of {name} = {{ driver = "…", nodes = [{{ … }}] }}')
    check_keys(value, _KEYS, where=f"builders.{name}.")
    _check_name(name, f"builders.{name}")
    if name == "default":
        raise InputError("builders.default: buildx keeps that name for itself")
    found = BuilderSettings(
        name=name,
        driver=_driver(name, value),
        nodes=_nodes(name, value.get("nodes", [])),
        cache_from=parse_texts(value.get("cache-from", ())),
        cache_to=parse_texts(value.get("cache-to", ())),
        gc=_gc(name, value["gc"]) if "gc" in value else None,
    )
    _check(found, given=bool(value.get("nodes")))
    return found


def parse_builders(value: object) -> tuple[BuilderSettings, ...]:
    """Return what the table says.

    Raises:
        MismatchError: a value is of another kind.
        InputError: a key is not known, or two contradict each other (exit 2).
    """
    if not isinstance(value, Mapping):
        raise MismatchError('a table of NAME = { driver = "…", nodes = [{ … }] }')
    return tuple(_builder(name, table) for name, table in value.items())


def find_builder(builders: Iterable[BuilderSettings], name: str) -> BuilderSettings | None:
    """Return the builder of that name; None where none is described."""
    return next((builder for builder in builders if builder.name == name), None)


def _check(builder: BuilderSettings, *, given: bool) -> None:
    where = f"builders.{builder.name}"
    _check_nodes(builder, where, given=given)
    for node in builder.nodes:
        _check_keys(builder, node, f"{where}, node {node.name}")
    if builder.gc and builder.driver in {DOCKER, REMOTE}:
        raise InputError(
            f"{where}: gc is for the drivers {CONTAINER} and {KUBERNETES}",
            why="the others' daemon is not started by buildx, and has a configuration of its own",
            hint="write it in /etc/docker/daemon.json"
            if builder.driver == DOCKER
            else "write it in the buildkitd.toml of the node",
        )


def _doubles(names: Sequence[object]) -> list[str]:
    return sorted({str(name) for name in names if names.count(name) > 1})


def _check_nodes(builder: BuilderSettings, where: str, *, given: bool) -> None:
    nodes = builder.nodes
    if builder.driver == DOCKER and len(nodes) > 1:
        raise InputError(
            f"{where}: the driver docker has one node, not {len(nodes)}",
            hint=f"choose {CONTAINER} or {REMOTE}, or give one node",
        )
    if builder.driver == REMOTE and not given:
        raise InputError(f"{where} has no node", hint='add: nodes = [{ endpoint = "tcp://…" }]')
    if names := _doubles([node.name for node in nodes]):
        raise InputError(f"{where}: two nodes are called {', '.join(names)}")
    ends = [node.endpoint for node in nodes]
    if builder.driver != KUBERNETES and (same := _doubles(ends)):
        raise InputError(
            f"{where}: two nodes have the endpoint {', '.join(same) or 'of docker itself'}",
            hint="each node is a machine of its own: give each its endpoint",
        )
    if len(nodes) > 1:
        _check_platforms(builder, where)


def _check_platforms(builder: BuilderSettings, where: str) -> None:
    if idle := [node.name for node in builder.nodes if not node.platforms]:
        raise InputError(
            f"{where}: nothing says what {', '.join(idle)} builds",
            why="without platforms the first node takes all that it can run, by emulation too",
            hint='give each node its platforms = ["…"]',
        )
    if names := _doubles([p for node in builder.nodes for p in node.platforms]):
        raise InputError(
            f"{where}: two nodes build {', '.join(names)}",
            why="buildx would take it from the first silently",
            hint="give each platform to one node",
        )


def _check_keys(builder: BuilderSettings, node: NodeSettings, where: str) -> None:
    """Raise what a node of this driver can't have."""
    match builder.driver:
        case "docker":
            _refuse(node, where, "docker", (*_TLS, "platforms", "options", "flags", "config"))
            if "://" in node.endpoint:
                raise InputError(
                    f"{where}: the endpoint of the driver docker is a docker context",
                    hint="docker context ls lists them; docker context create makes one",
                )
        case "kubernetes":
            _refuse(node, where, "kubernetes", (*_TLS, "endpoint"))
        case "docker-container":
            _refuse(node, where, CONTAINER, _TLS)
        case _:
            _check_remote(node, where)
    if node.config and builder.gc:
        raise InputError(f"{where}: config and gc exclude each other", hint="write gc in the file")
    if taken := sorted({name for name, _ in node.options} & set(_TLS)):
        raise InputError(f"{where}: {taken[0]} is no option", hint="it is a key of the node itself")


def _refuse(node: NodeSettings, where: str, driver: str, keys: Sequence[str]) -> None:
    wrong = [key for key in keys if getattr(node, key)]
    if not wrong:
        return
    hints = {
        CONTAINER: "docker context create makes a context with certificates; name that as endpoint",
        KUBERNETES: "the cluster is the one of KUBECONFIG; options = { namespace = … } and so on",
        DOCKER: f"the engine is as it is; choose {CONTAINER} or {REMOTE}",
    }
    raise InputError(
        f"{where}: the driver {driver} knows no {', '.join(wrong)}", hint=hints[driver]
    )


def _check_remote(node: NodeSettings, where: str) -> None:
    if wrong := [key for key in ("flags", "config") if getattr(node, key)]:
        raise InputError(
            f"{where}: the driver remote knows no {', '.join(wrong)}",
            why="buildx does not start that daemon",
            hint="give it to the buildkitd of the node",
        )
    scheme, found, rest = node.endpoint.partition("://")
    if not found or not rest or scheme not in _SCHEMES:
        raise InputError(
            f"{where}: {node.endpoint!r} is no address of a buildkitd"
            if node.endpoint
            else f"{where} has no endpoint",
            hint=f"give one that begins with {', '.join(f'{s}://' for s in _SCHEMES)}",
        )
    secured = [key for key in _TLS if getattr(node, key)]
    if secured and scheme != "tcp":
        raise InputError(
            f"{where}: {', '.join(secured)} with {scheme}://, which has no TLS",
            hint="leave them out, or give a tcp:// endpoint",
        )
    if secured and not node.cacert:
        raise InputError(f"{where}: {secured[0]} without cacert", hint="give all that TLS needs")
    if bool(node.cert) != bool(node.key):
        raise InputError(f"{where}: cert and key belong together")
