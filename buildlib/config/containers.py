"""What a container of the image is given so that it works, and the services beside it.

The tables `run` and `smoke` have these keys in common; see `config.tables`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from buildlib.config.key_types import (
    LAST_PORT,
    LIST,
    NUMBER,
    PORT,
    TEXT,
    TEXTS,
    VARIABLE,
    KeyType,
    MismatchError,
    parse_keys,
    parse_list,
    parse_text,
    parse_texts,
    schema_of,
    setting,
)
from buildlib.errors import InputError
from buildlib.shell import csv_field, csv_fields

_HOST: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")
_VOLUME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]+")
_PLACE: Final = ("/", ".", "~")
_SOURCES: Final = ("source", "src")
_TARGETS: Final = ("target", "destination", "dst")
# Networks that give a container no address of its own, so that no port of it can be published.
_NO_PORTS: Final = ("host", "none")


# Names of variables, each with its value.
Pairs: TypeAlias = tuple[tuple[str, str], ...]


class GivenMount(NamedTuple):
    """A mount as docker takes it.

    Args:
        option: `--volume` or `--mount`.
        value: of that option, with a path of this machine made absolute.
        source: that path; empty: a volume, or memory.
        target: where the container finds it.
    """

    option: str
    value: str
    source: str
    target: str


class Port(NamedTuple):
    """A port that is published beside the first: here, and inside."""

    here: int
    inside: int
    kind: str = "tcp"


def publishes(network: str) -> bool:
    """Return whether a port of a container in this network can be published."""
    return network not in _NO_PORTS and not network.startswith("container:")


def parse_env(value: object) -> Pairs:
    """Return variables; a number or a truth value is what a shell would have for it."""
    if not isinstance(value, Mapping):
        raise MismatchError('a table of NAME = "text"')
    found = []
    for name, text in value.items():
        if not re.fullmatch(VARIABLE, name):
            raise MismatchError(f"a table of NAME = text; {name!r} is not a variable's name")
        if isinstance(text, bool) or not isinstance(text, str | int | float):
            raise MismatchError(f'a table of NAME = "text"; {name} is not text')
        found.append((name, parse_text(str(text))))
    return tuple(found)


def parse_tmpfs(value: object) -> tuple[str, ...]:
    """Return what `--tmpfs` takes: an absolute path, with options behind a colon."""
    found = parse_texts(value)
    if not all(one.startswith("/") for one in found):
        raise MismatchError('a list of absolute paths in the container, such as "/tmp"')
    return found


def parse_hosts(value: object) -> tuple[str, ...]:
    """Return what `--add-host` takes: `NAME:ADDRESS`."""
    hosts = parse_texts(value)
    for host in hosts:
        name, sign, address = _host(host)
        if not (name and sign and address):
            raise MismatchError('a list of "NAME:ADDRESS"')
    return hosts


def _host(text: str) -> tuple[str, str, str]:
    signs = [sign for sign in ("=", ":") if sign in text]
    return text.partition(min(signs, key=text.index)) if signs else (text, "", "")


def parse_network(value: object) -> str:
    """Return a network's name, or what docker has instead of one."""
    text = parse_text(value)
    if not re.fullmatch(r"(container:)?[A-Za-z0-9][A-Za-z0-9_.-]*", text):
        raise MismatchError('the name of a network, or "host" or "none"')
    return text


def parse_ports(value: object) -> tuple[Port, ...]:
    """Return further ports: `9090`, or `"9091:9090"` where it is another one here."""
    if not isinstance(value, list):
        raise MismatchError('a list of ports, each 9090 or "9091:9090"')
    return tuple(map(_port, value))


def _port(value: object) -> Port:
    match = re.fullmatch(r"(?:([0-9]{1,5}):)?([0-9]{1,5})(?:/(tcp|udp))?", str(value))
    if isinstance(value, bool) or not isinstance(value, int | str) or not match:
        raise MismatchError('a list of ports, each 9090 or "9091:9090"')
    here, inside = int(match[1] or match[2]), int(match[2])
    if not 0 < inside <= LAST_PORT or here > LAST_PORT:
        raise MismatchError(f"a list of ports from 1 to {LAST_PORT}")
    return Port(here, inside, match[3] or "tcp")


def parse_mounts(value: object) -> tuple[str, ...]:
    """Return mounts as they were written; docker's two forms are known."""
    mounts = parse_list(value)
    for text in mounts:
        try:
            resolve_mount(text, Path("/"))
        except InputError as error:
            raise MismatchError(f"a list of mounts ({error.what})") from error
    return mounts


def resolve_mount(text: str, start: Path) -> GivenMount:
    """Return what docker is given for a mount.

    Args:
        text: `SOURCE:TARGET[:OPTIONS]` as for `--volume`, where a source that begins with `/`, `.`
            or `~` is a path and any other a volume; or `type=…,source=…,target=…` as for `--mount`.
        start: what a relative path is relative to.

    Raises:
        InputError: it has neither form (exit 2).
    """
    if re.match(r"[a-z-]+=", text):
        return _long_mount(text, start)
    parts = text.split(":")
    if len(parts) == 1:
        return GivenMount("--volume", text, "", _target(text, text))
    source, target, *options = parts
    if len(options) > 1 or not source:
        raise InputError(f"not a mount: {text!r}", hint="give SOURCE:TARGET or SOURCE:TARGET:ro")
    _target(target, text)
    if source.startswith(_PLACE):
        path = _absolute(source, start)
        return GivenMount("--volume", ":".join([path, target, *options]), path, target)
    if not _VOLUME.fullmatch(source):
        raise InputError(
            f"not a mount: {text!r}",
            why=f"{source!r} is not the name of a volume",
            hint=f"a path begins with / or ./: ./{source}",
        )
    return GivenMount("--volume", text, "", target)


def _target(target: str, text: str) -> str:
    if not target.startswith("/"):
        raise InputError(f"not a mount: {text!r}", why=f"{target!r} is not an absolute path")
    return target


def _absolute(source: str, start: Path) -> str:
    try:
        return os.path.normpath(start / Path(source).expanduser())
    except RuntimeError as error:
        raise InputError(f"no such directory: {source}", why=str(error)) from error


def _long_mount(text: str, start: Path) -> GivenMount:
    try:
        fields = [field.partition("=") for field in csv_fields(text)]
    except ValueError as error:
        raise InputError(f"not a mount: {text!r}", why=str(error)) from error
    known = {name: value for name, _, value in fields}
    target = next((known[name] for name in _TARGETS if name in known), "")
    _target(target, text)
    source = next((known[name] for name in _SOURCES if name in known), "")
    path = _absolute(source, start) if known.get("type") == "bind" and source else ""
    words = [
        csv_field(f"{name}={path}" if path and name in _SOURCES else f"{name}{sign}{value}")
        for name, sign, value in fields
    ]
    return GivenMount("--mount", ",".join(words), path, target)


ENV: Final = KeyType(
    parse_env,
    {
        "type": "object",
        "additionalProperties": False,
        "patternProperties": {f"^{VARIABLE}$": {"type": ["string", "number"]}},
    },
)


@dataclass(frozen=True, kw_only=True)
class Service:
    """A container beside the image's own, which finds it under its name.

    Args:
        name: by which it is found.
        hidden: variables whose values must be in no command line.
    """

    name: str
    image: str = setting(TEXT, "image; it is pulled where the engine does not have it")
    env: Pairs = setting(ENV, "variables", default=())
    hidden: Pairs = ()
    command: tuple[str, ...] = setting(TEXTS, "command instead of the image's own", default=())
    ready_command: tuple[str, ...] = setting(
        TEXTS, "command that exits with 0 in the container once it can be used", default=()
    )
    ready_port: int = setting(PORT, "port that accepts connections once it can be used", default=0)
    start_timeout: int = setting(NUMBER, "seconds until then", default=60)


def parse_services(value: object, where: str) -> tuple[Service, ...]:
    """Return the services of a table; `where` names that, such as `smoke.services`."""
    if not isinstance(value, Mapping):
        raise MismatchError('a table of NAME = { image = "…" }')
    found = []
    for name, table in value.items():
        if not _HOST.fullmatch(name):
            what = "named like a host, with letters, digits and hyphens"
            raise MismatchError(what, f"{where}.{name}", name)
        fields = parse_keys(Service, table, f"{where}.{name}")
        if not fields.get("image"):
            raise MismatchError(f'a table with image = "…" for {name}')
        found.append(Service(name=name, **fields))
    return tuple(found)


_PORT_FORMS: Final = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": LAST_PORT},
        {"type": "string", "pattern": "^([0-9]{1,5}:)?[0-9]{1,5}(/(tcp|udp))?$"},
    ]
}
MOUNTS: Final = KeyType(parse_mounts, LIST.schema)
NETWORK: Final = KeyType(parse_network, {"type": "string"})
HOSTS: Final = KeyType(parse_hosts, TEXTS.schema)
TMPFS: Final = KeyType(parse_tmpfs, TEXTS.schema)
PORTS: Final = KeyType(parse_ports, {"type": "array", "items": _PORT_FORMS})
SERVICES: Final = KeyType(
    parse_services,
    lambda: {"type": "object", "additionalProperties": schema_of(Service)},
    placed=True,
)


def service_options(service: Service, network: str) -> tuple[str, ...]:
    """Return docker's options for a service that others find in a network under its name."""
    return (
        *("--detach", "--network", network, "--network-alias", service.name),
        *env_options(service.env, service.hidden),
    )


def env_options(env: Pairs, hidden: Pairs) -> tuple[str, ...]:
    """Return docker's options for variables; those of `hidden` it finds in its own environment."""
    words = [f"{name}={value}" for name, value in env] + [name for name, _ in hidden]
    return tuple(word for text in words for word in ("--env", text))


def check_sources(mounts: tuple[GivenMount, ...], env_files: tuple[Path, ...]) -> None:
    """See that what is on this machine is there: docker would make an empty directory of it.

    Raises:
        InputError: it is not (exit 2).
    """
    for mount in mounts:
        if mount.source and not os.path.lexists(mount.source):
            raise InputError(
                f"what is to be mounted at {mount.target} is not there: {mount.source}",
                hint="make it, or name another path",
            )
    for path in env_files:
        if not path.is_file():
            raise InputError(f"there is no env file {path}", hint="make it, or change env-file")
