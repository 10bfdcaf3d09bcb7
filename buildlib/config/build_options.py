"""The table `build` of a configuration: options of buildx that every build of the project gets.

What each option takes is checked here, for the configuration and for the command line. Sources:
commands/build.go, util/buildflags and build/utils.go of buildx; util/entitlements of BuildKit;
ulimit.go and size.go of docker/go-units.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Final

from buildlib.config.key_types import (
    KeyType,
    MismatchError,
    gathered,
    parse_list,
    parse_pairs,
    parse_text,
    setting,
    table_type,
)
from buildlib.errors import InputError
from buildlib.findings.secrets import has_credentials, is_token
from buildlib.image.platform import parse_platform
from buildlib.image.reference import parse_reference
from buildlib.shell import csv_fields, csv_pairs

Check = Callable[[str], tuple[str, ...]]

NETWORKS: Final = ("default", "none", "host")
_GATEWAY: Final = "host-gateway"
_LEVELS: Final = ("index", "index-descriptor", "manifest", "manifest-descriptor")
INDEX_LEVELS: Final = _LEVELS[:2]
_LEVEL: Final = re.compile(r"([a-z-]*)(?:\[([A-Za-z0-9_/-]+)\])?")
_ENTITLEMENTS: Final = ("network.host", "security.insecure", "device", "buildx.local.delete")
_LIMITS: Final = (
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
    *("rss", "rtprio", "rttime", "sigpending", "stack"),
)
_RESOURCES: Final = (
    *("memory", "memory-swap", "cpu-shares", "cpu-period", "cpu-quota"),
    *("cpuset-cpus", "cpuset-mems"),
)
_POLICY: Final = ("filename", "reset", "disabled", "strict", "log-level")
_SIZE: Final = re.compile(r"[0-9]+(\.[0-9]+)? ?([bkmgtp]|[kmgtp]i?b)?", re.IGNORECASE)
_SSH_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
# A git or HTTP address, or a source with a scheme of its own; `host:path` is git by ssh.
_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+-]*://|github\.com/|(?:[\w-]+@)?[\w.-]+:")
LAYOUT: Final = "oci-layout://"
IMAGE: Final = "docker-image://"


def is_directory(source: str) -> bool:
    """Return whether the source of a build context is a directory of this machine."""
    return source.startswith(("/", ".", "~")) or not _ADDRESS.match(source)


def pair(text: str) -> tuple[str, str]:
    """Return name and value of `NAME=value`."""
    name, _, value = text.partition("=")
    return name, value


def parse_host(text: str) -> tuple[str, ...]:
    """Return a host with each of its addresses; an old buildx takes only one at a time."""
    sign = "=" if "=" in text else ":"
    name, _, rest = text.partition(sign)
    addresses = rest.split(",")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or not all(map(_is_address, addresses)):
        raise MismatchError(f"NAME:ADDRESS, with an IP address or {_GATEWAY}")
    return tuple(f"{name}={address}" for address in addresses)


def _is_address(text: str) -> bool:
    inner = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
    try:
        return inner == _GATEWAY or bool(ip_address(inner))
    except ValueError:
        return False


def parse_entitlement(text: str) -> tuple[str, ...]:
    name, equals, value = text.partition("=")
    if name not in _ENTITLEMENTS or bool(equals) != bool(name == "device" and value):
        raise MismatchError(f"an entitlement: {', '.join(_ENTITLEMENTS)}")
    return (text,)


def parse_annotation(text: str) -> tuple[str, ...]:
    """Return an annotation; a name with a colon needs its level in front."""
    name, equals, _ = text.partition("=")
    levels, key = split_levels(name)
    if not (equals and re.fullmatch(r"\S+", key) and all(map(_is_level, levels))):
        raise MismatchError(f"[TYPE:]NAME=value, the type one of {', '.join(_LEVELS)}")
    return (text,)


def split_levels(name: str) -> tuple[tuple[str, ...], str]:
    """Return the levels that an annotation is for, and its name; no level: that of the image."""
    levels, colon, key = name.partition(":")
    return (tuple(levels.split(",")), key) if colon else ((), name)


def _is_level(text: str) -> bool:
    found = _LEVEL.fullmatch(text)
    if not found or found[1] not in ("", *_LEVELS):
        return False
    try:
        return not found[2] or bool(parse_platform(found[2]))
    except InputError:
        return False


def parse_attestation(text: str) -> tuple[str, ...]:
    if not _are_pairs(text) or not csv_pairs(text).get("type"):
        raise MismatchError("type=sbom or type=provenance, with further KEY=value")
    return (text,)


def _are_pairs(text: str) -> bool:
    try:
        fields = csv_fields(text)
    except ValueError:
        return False
    return bool(fields) and all("=" in field for field in fields)


def short_attestation(kind: str, text: str) -> str:
    """Return what `--sbom` and `--provenance` are short for."""
    truth = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
    known = truth.get(text.lower())
    return (
        f"type={kind},{text}" if known is None else f"type={kind},disabled={str(not known).lower()}"
    )


def parse_build_context(text: str) -> tuple[str, ...]:
    """Return a context.

    Raises:
        InputError: a password is in its address; it is not repeated (exit 2).
    """
    name, source = pair(text)
    try:
        reference = parse_reference(name)
    except InputError:
        reference = None
    if reference is None or name != name.lower().strip() or not source:
        raise MismatchError("NAME=SOURCE, with a name as an image has it")
    if has_credentials(source) or is_token(source):
        raise InputError(
            f"the address of the build context {name} has a password or token in it",
            why="it would be in the command line, and in the image's provenance",
            hint="hand it over as a secret: --secret id=GIT_AUTH_TOKEN, or use --ssh",
        )
    if source.startswith("target:"):
        raise MismatchError("NAME=SOURCE; target: is for bake")
    return (text,)


def parse_cgroup(text: str) -> tuple[str, ...]:
    if not text.strip():
        raise MismatchError("the path of a cgroup")
    return (text,)


def parse_network_mode(text: str) -> tuple[str, ...]:
    if text not in NETWORKS:
        raise MismatchError(
            f"one of {', '.join(NETWORKS)}; a builder may have a network of its own"
        )
    return (text,)


def parse_stages(text: str) -> tuple[str, ...]:
    """Return the stages of a list: buildx hands several over with commas."""
    names = tuple(filter(None, text.split(",")))
    if not names or any(re.search(r"\s", name) for name in names):
        raise MismatchError("the name of a stage")
    return names


def parse_source_policy(text: str) -> tuple[str, ...]:
    if not _are_pairs(text) or csv_pairs(text).keys() - set(_POLICY):
        raise MismatchError(f"a list of KEY=value, of {', '.join(_POLICY)}")
    return (text,)


def parse_resource(text: str) -> tuple[str, ...]:
    name, value = pair(text)
    if name not in _RESOURCES or not value.strip():
        raise MismatchError(f"NAME=value, of {', '.join(_RESOURCES)}")
    return (text,)


def parse_memory(text: str) -> tuple[str, ...]:
    if not _SIZE.fullmatch(text):
        raise MismatchError('a size, such as "128m" or "1g"')
    return (text,)


def parse_ssh(text: str) -> tuple[str, ...]:
    """Return an ssh agent or keys; what was given is never repeated, as it may be a key.

    Raises:
        InputError: buildx could not read it (exit 2).
    """
    name, equals, paths = text.partition("=")
    if not _SSH_ID.fullmatch(name) or (equals and not all(paths.split(","))) or "\n" in text:
        raise InputError(
            "an ssh agent or key can't be read",
            hint="give default, ID=SOCKET or ID=KEY[,KEY], each a path",
        )
    return (text,)


def parse_ulimit(text: str) -> tuple[str, ...]:
    match = re.fullmatch(r"([a-z]+)=(-1|[0-9]{1,18})(?::(-1|[0-9]{1,18}))?", text)
    if not match or match[1] not in _LIMITS:
        raise MismatchError(f"NAME=SOFT[:HARD], of {', '.join(_LIMITS)}")
    soft, hard = int(match[2]), int(match[3] or match[2])
    if hard != -1 and not 0 <= soft <= hard:
        raise MismatchError("NAME=SOFT[:HARD], where the hard limit is not the lower one")
    return (text,)


# By buildx's name of the option.
CHECKS: Final[Mapping[str, Check]] = {
    "add-host": parse_host,
    "allow": parse_entitlement,
    "annotation": parse_annotation,
    "attest": parse_attestation,
    "build-context": parse_build_context,
    "cgroup-parent": parse_cgroup,
    "network": parse_network_mode,
    "no-cache-filter": parse_stages,
    "policy": parse_source_policy,
    "resource": parse_resource,
    "shm-size": parse_memory,
    "ssh": parse_ssh,
    "ulimit": parse_ulimit,
}


def _each(option: str) -> KeyType[tuple[str, ...]]:
    def parse(value: object) -> tuple[str, ...]:
        found = gathered(partial(CHECKS[option], text) for text in parse_list(value))
        return tuple(text for texts in found for text in texts)

    text = {"type": "string"}
    return KeyType(parse, {"anyOf": [text, {"type": "array", "items": text}]})


def _one(option: str) -> KeyType[str]:
    def parse(value: object) -> str:
        return CHECKS[option](parse_text(value))[0]

    return KeyType(parse, {"type": "string"})


def _named(option: str) -> KeyType[tuple[tuple[str, str], ...]]:
    """Return the type of a key that is a table of what an option takes."""

    def parse(value: object) -> tuple[tuple[str, str], ...]:
        pairs = parse_pairs(value)
        gathered(partial(CHECKS[option], f"{name}={text}") for name, text in pairs)
        return pairs

    return KeyType(parse, {"type": "object", "additionalProperties": {"type": "string"}})


@dataclass(frozen=True, kw_only=True)
class BuildSettings:
    """What every build of the project gets."""

    add_hosts: tuple[str, ...] = setting(
        _each("add-host"), "hosts that the build's commands know, NAME:ADDRESS", default=()
    )
    allow: tuple[str, ...] = setting(
        _each("allow"), "entitlements that a build may use, such as network.host", default=()
    )
    annotations: tuple[tuple[str, str], ...] = setting(
        _named("annotation"),
        "OCI annotations; a name may begin with `index:` or `manifest[os/arch]:`",
        default=(),
    )
    attest: tuple[str, ...] = setting(
        _each("attest"), "attestations of docker-build, as --attest of buildx", default=()
    )
    cgroup_parent: str = setting(
        _one("cgroup-parent"), "parent cgroup of the build's commands", default=""
    )
    contexts: tuple[tuple[str, str], ...] = setting(
        _named("build-context"),
        "further build contexts: directories, docker-image://, oci-layout://, git addresses",
        default=(),
    )
    network: str = setting(
        KeyType(_one("network").parse, {"enum": [*NETWORKS]}),
        "network of the build's commands",
        default="",
    )
    no_cache_filter: tuple[str, ...] = setting(
        _each("no-cache-filter"), "stages that are always built again", default=()
    )
    policy: tuple[str, ...] = setting(
        _each("policy"), "policies for what a build reads, as --policy of buildx", default=()
    )
    resources: tuple[str, ...] = setting(
        _each("resource"), "limits of the build's commands, as --resource of buildx", default=()
    )
    shm_size: str = setting(_one("shm-size"), "size of /dev/shm in a build", default="")
    ssh: tuple[str, ...] = setting(
        _each("ssh"), "ssh agents or keys, as --ssh of buildx", default=()
    )
    ulimits: tuple[str, ...] = setting(
        _each("ulimit"), "limits of the build's commands, NAME=SOFT[:HARD]", default=()
    )


NO_BUILD_OPTIONS: Final = BuildSettings()
BUILD: Final = table_type(BuildSettings)
