"""The table `builders` of a configuration: each builder described once.

What buildx would refuse, or would quietly take otherwise than it is meant, is refused here, where
it is written. Options and their names are those of buildx 0.13 and later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from buildlib.config.key_types import (
    FLAG,
    NUMBER,
    PAIRS,
    SIZE,
    TEXT,
    TEXTS,
    KeyType,
    MismatchError,
    parse_keys,
    parse_text,
    schema_of,
    setting,
    table_type,
)
from buildlib.config.tables import IMAGE, PLATFORMS
from buildlib.errors import InputError, did_you_mean
from buildlib.image.platform import Platform, parse_platforms

DOCKER: Final = "docker"
CONTAINER: Final = "docker-container"
REMOTE: Final = "remote"
KUBERNETES: Final = "kubernetes"
CLOUD: Final = "cloud"
# What docker-builder does with one.
ACTIONS: Final = ("create", "status", "remove")
DRIVERS: Final = (DOCKER, CONTAINER, REMOTE, KUBERNETES, CLOUD)
# What stands for the platform in a builder's cache references.
PLATFORM: Final = "{platform}"

# What buildx's remote driver dials, with the helpers that it is built with.
_SCHEMES: Final = ("tcp", "unix", "ssh", "docker-container", "kube-pod")
_OWN_MACHINE: Final = ("unix://", "docker-container://")
# As buildx has it, but for upper case, which buildx would change silently.
_NAME: Final = re.compile(r"[a-z][a-z0-9._-]*")
_DURATION: Final = re.compile(r"([0-9]+(\.[0-9]+)?(s|m|h))+")
# A builder of Docker Build Cloud, and its native nodes.
# Source: docs.docker.com/build/builders/drivers/cloud.
_IN_CLOUD: Final = re.compile(r"(?:cloud://)?(?!\.\.?/)[^/\s]+/(?!\.\.?$)[^/\s]+")
_CLOUD_PLATFORMS: Final = parse_platforms(("linux/amd64", "linux/arm64"))
_TLS: Final = ("cacert", "cert", "key", "servername")


def _duration(value: object) -> str:
    text = parse_text(value)
    if not _DURATION.fullmatch(text):
        raise MismatchError('a time, such as "168h" or "30m"')
    return text


_DURATION_SCHEMA: Final = {"type": "string", "pattern": f"^{_DURATION.pattern}$"}


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Garbage collection of a builder's cache."""

    enabled: bool = setting(FLAG, "false: nothing is ever collected", default=True)
    keep_storage: int = setting(
        SIZE, "size that the cache may have; BuildKit's own choice", default=0
    )
    keep_duration: str = setting(
        KeyType(_duration, _DURATION_SCHEMA),
        "what was not used for this long goes first, such as 168h; BuildKit's own choice",
        default="",
    )


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """One machine of a builder."""

    name: str = setting(
        TEXT, "its name in buildx; left out: the builder's, with a number", default=""
    )
    endpoint: str = setting(
        TEXT,
        "remote: where buildkitd listens; docker-container: a docker context or ssh://me@machine; "
        "docker: a docker context; cloud: ORG/BUILDER",
        default="",
    )
    platforms: tuple[Platform, ...] = setting(
        PLATFORMS,
        "platforms that are built here; left out: what the node says that it can",
        default=(),
    )
    cacert: str = setting(
        TEXT, "file of the certificate authority, relative to the project", default=""
    )
    cert: str = setting(
        TEXT, "file of the client's certificate, relative to the project", default=""
    )
    key: str = setting(TEXT, "file of the client's key, relative to the project", default="")
    servername: str = setting(TEXT, "name in the node's certificate, if it is another", default="")
    max_builds: int = setting(
        NUMBER,
        "builds at the same time, further ones wait; those of this machine, and with "
        "lease-repository of all machines; 0: any",
        default=0,
    )
    options: tuple[tuple[str, str], ...] = setting(PAIRS, "as --driver-opt of buildx", default=())
    flags: tuple[str, ...] = setting(TEXTS, "flags of buildkitd", default=())
    config: str = setting(
        TEXT, "buildkitd's own configuration file, relative to the project", default=""
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
        raise MismatchError(f"a list of tables; {where} is not a table")
    # The name that buildx would give.
    node = NodeSettings(**{"name": f"{builder}{index}", **parse_keys(NodeSettings, value, where)})
    _check_name(node.name, where)
    return node


def _nodes(value: object, where: str) -> tuple[NodeSettings, ...]:
    table = where.rpartition(".")[0]
    if not isinstance(value, list):
        raise MismatchError(f"a table with nodes = [{{ … }}] in {table}")
    # A builder without nodes is one node as buildx would make it.
    name = table.partition(".")[2]
    return tuple(_node(name, number, node) for number, node in enumerate(value or [{}]))


def _driver(value: object, where: str) -> str:
    table = where.rpartition(".")[0]
    if value not in DRIVERS:
        raise InputError(
            f"{table}: unknown driver {value!r}" if value else f"{table} names no driver",
            hint=did_you_mean(value or "", DRIVERS),
        )
    return str(value)


@dataclass(frozen=True, kw_only=True)
class BuilderSettings:
    """A builder; `cache_from` and `cache_to` count where neither project nor command line say."""

    name: str
    driver: str = setting(KeyType(_driver, {"enum": [*DRIVERS]}, placed=True), "driver of buildx")
    nodes: tuple[NodeSettings, ...] = setting(
        KeyType(_nodes, lambda: {"type": "array", "items": schema_of(NodeSettings)}, placed=True),
        "its machines; left out: one, as buildx makes it",
        default=(),
    )
    retry: int = setting(
        NUMBER,
        "how often a platform whose node fails is built again, each time on the next node that has "
        "it in its platforms",
        default=0,
    )
    lease_repository: str = setting(
        IMAGE,
        "repository that all clients can write, with the registry's host: max-builds of the nodes "
        "then counts the builds of all of them",
        default="",
    )
    cache_from: tuple[str, ...] = setting(TEXTS, "as the project's cache-from", default=())
    cache_to: tuple[str, ...] = setting(TEXTS, "as the project's cache-to", default=())
    gc: Collection | None = setting(
        table_type(Collection), "garbage collection of its cache", default=None
    )

    @property
    def buildx_name(self) -> str:
        """Return what buildx calls it: the driver docker has one builder for each context."""
        return self.nodes[0].endpoint or "default" if self.driver == DOCKER else self.name

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """Return what it builds; none where a node decides that by itself."""
        if not all(node.platforms for node in self.nodes):
            return ()
        return tuple(dict.fromkeys(p for node in self.nodes for p in node.platforms))

    def nodes_for(self, platforms: Iterable[Platform]) -> tuple[NodeSettings, ...]:
        """Return the nodes that build all of them: the one that does, then its spares."""
        return tuple(node for node in self.nodes if set(platforms) <= set(node.platforms))

    def first_nodes(self, platforms: Iterable[Platform]) -> tuple[NodeSettings, ...]:
        """Return the nodes that buildx gives the platforms to; none: the builder's first node."""
        found = [node for p in platforms for node in self.nodes_for((p,))[:1]]
        return tuple({node.name: node for node in found or self.nodes[:1]}.values())


def _builder(name: str, value: object) -> BuilderSettings:
    if not isinstance(value, Mapping):
        raise MismatchError(f'a table of {name} = {{ driver = "…", nodes = [{{ … }}] }}')
    where = f"builders.{name}"
    _check_name(name, where)
    if name == "default":
        raise InputError("builders.default: buildx keeps that name for itself")
    found = BuilderSettings(
        name=name, **parse_keys(BuilderSettings, {"driver": "", "nodes": [], **value}, where)
    )
    _check(found, given=bool(value.get("nodes")))
    return found if found.driver != CLOUD else replace(found, nodes=_cloud_nodes(found.nodes[0]))


def _cloud_nodes(given: NodeSettings) -> tuple[NodeSettings, ...]:
    """Return the nodes that buildx finds behind the name of one builder."""
    platforms = given.platforms or _CLOUD_PLATFORMS
    return tuple(replace(given, name=one.slug, platforms=(one,)) for one in platforms)


def parse_builders(value: object) -> tuple[BuilderSettings, ...]:
    """Return what the table says.

    Raises:
        MismatchError: a value is of another kind.
        InputError: a key is not known, or two contradict each other (exit 2).
    """
    if not isinstance(value, Mapping):
        raise MismatchError('a table of NAME = { driver = "…", nodes = [{ … }] }')
    return tuple(_builder(name, table) for name, table in value.items())


BUILDERS: Final = KeyType(
    parse_builders,
    lambda: {"type": "object", "additionalProperties": schema_of(BuilderSettings)},
)


def find_builder(builders: Iterable[BuilderSettings], name: str) -> BuilderSettings | None:
    """Return the builder of that name; None where none is described."""
    return next((builder for builder in builders if builder.name == name), None)


def _check(builder: BuilderSettings, *, given: bool) -> None:
    where = f"builders.{builder.name}"
    if builder.retry and builder.driver not in {CONTAINER, REMOTE}:
        raise InputError(
            f"{where}: retry is for the drivers {CONTAINER} and {REMOTE}",
            why={
                DOCKER: "docker has one engine",
                KUBERNETES: "Kubernetes itself replaces a pod",
                CLOUD: "Docker Build Cloud replaces its nodes",
            }[builder.driver],
        )
    _check_nodes(builder, where, given=given)
    _check_leases(builder, where)
    for node in builder.nodes:
        _check_keys(builder, node, f"{where}, node {node.name}")
    if builder.gc and builder.driver in {DOCKER, REMOTE, CLOUD}:
        raise InputError(
            f"{where}: gc is for the drivers {CONTAINER} and {KUBERNETES}",
            why="the others' daemon is not started by buildx, and has a configuration of its own",
            hint={
                DOCKER: "write it in /etc/docker/daemon.json",
                REMOTE: "write it in the buildkitd.toml of the node",
                CLOUD: "see the storage in the settings of the cloud builder",
            }[builder.driver],
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
    if builder.driver == CLOUD and len(nodes) > 1:
        raise InputError(
            f"{where}: the driver cloud has one node, not {len(nodes)}",
            why="buildx asks the service which nodes the builder has",
            hint='give nodes = [{ endpoint = "ORG/BUILDER" }]',
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
    if len(nodes) > 1 or builder.retry:
        _check_platforms(builder, where)


def _check_leases(builder: BuilderSettings, where: str) -> None:
    """Raise where a limit across machines counts nothing, or builds on different machines."""
    if not builder.lease_repository:
        return
    limited = [node for node in builder.nodes if node.max_builds]
    if not limited:
        raise InputError(
            f"{where}: lease-repository without max-builds", hint="add max-builds to a node"
        )
    for node in limited if builder.driver != KUBERNETES else ():
        if not node.endpoint or node.endpoint.startswith(_OWN_MACHINE):
            raise InputError(
                f"{where}, node {node.name}: lease-repository for a node of each client's own",
                why=f"{node.endpoint or 'docker itself'} is another machine for each client",
                hint="give the node an address that is the same for all; or leave out "
                "lease-repository, as max-builds alone counts the builds of one machine",
            )


def _check_platforms(builder: BuilderSettings, where: str) -> None:
    if idle := [node.name for node in builder.nodes if not node.platforms]:
        raise InputError(
            f"{where}: no platforms for {', '.join(idle)}",
            why="without platforms the first node takes all that it can run, by emulation too",
            hint='give each node its platforms = ["…"]',
        )
    names = _doubles([p for node in builder.nodes for p in node.platforms])
    if names and not builder.retry:
        raise InputError(
            f"{where}: two nodes build {', '.join(names)}",
            why="buildx would take it from the first silently",
            hint="give each platform to one node; or retry = 1 makes the second a spare",
        )
    if builder.retry and not names:
        raise InputError(
            f"{where}: retry without a spare node",
            why="no platform is in the platforms of two nodes",
            hint="add a node that has the platforms of others as well",
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
        case "cloud":
            _refuse(node, where, CLOUD, (*_TLS, "flags", "config"))
            if not _IN_CLOUD.fullmatch(node.endpoint):
                raise InputError(
                    f"{where}: {node.endpoint!r} is not a builder of Docker Build Cloud",
                    hint='give endpoint = "ORG/BUILDER"',
                )
        case "docker-container":
            _refuse(node, where, CONTAINER, _TLS)
        case _:
            _check_remote(node, where)
    if node.config and builder.gc:
        raise InputError(f"{where}: config and gc exclude each other", hint="write gc in the file")
    if taken := sorted({name for name, _ in node.options} & set(_TLS)):
        raise InputError(
            f"{where}: {taken[0]} is not an option", hint="it is a key of the node itself"
        )


def _refuse(node: NodeSettings, where: str, driver: str, keys: Sequence[str]) -> None:
    wrong = [key for key in keys if getattr(node, key)]
    if not wrong:
        return
    hints = {
        CONTAINER: "docker context create makes a context with certificates; name that as endpoint",
        KUBERNETES: "the cluster is the one of KUBECONFIG; options = { namespace = … } and so on",
        DOCKER: f"the engine is as it is; choose {CONTAINER} or {REMOTE}",
        CLOUD: "Docker runs those nodes; docker login is all that they need",
    }
    raise InputError(
        f"{where}: the driver {driver} does not accept {', '.join(wrong)}", hint=hints[driver]
    )


def _check_remote(node: NodeSettings, where: str) -> None:
    if wrong := [key for key in ("flags", "config") if getattr(node, key)]:
        raise InputError(
            f"{where}: the driver remote does not accept {', '.join(wrong)}",
            why="buildx does not start that daemon",
            hint="give it to the buildkitd of the node",
        )
    scheme, found, rest = node.endpoint.partition("://")
    if not found or not rest or scheme not in _SCHEMES:
        raise InputError(
            f"{where}: {node.endpoint!r} is not the address of a buildkitd"
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
