"""What the values of a configuration are, and how each is read; `config.load` says where from.

Each `parse_…` returns the value of a key of that kind, and raises MismatchError with what it has
to be, or InputError where it knows better (exit 2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildlib.config.images import FROM_HERE
from buildlib.config.key_types import (
    FLAG,
    LIST,
    NAMES,
    NUMBER,
    NUMBERS,
    PATTERN,
    PORT,
    SIZE,
    TEXT,
    TEXTS,
    VARIABLE,
    KeyProblemError,
    KeyType,
    MismatchError,
    check_keys,
    choice,
    gathered,
    parse_fields,
    parse_keys,
    parse_text,
    parse_texts,
    schema_of,
    setting,
    written,
)
from buildlib.config.tag_rules import TAGS, TagRule
from buildlib.errors import BuildlibError, InputError, did_you_mean
from buildlib.image.platform import Platform
from buildlib.image.platform import parse_platforms as split_platforms
from buildlib.image.reference import canonical, parse_reference
from buildlib.version_schemes import Scheme

if TYPE_CHECKING:
    from buildlib.config.containers import Port, Service
    from buildlib.config.expectations import Command, Data, HealthVersion, Statuses


class BaseImage(NamedTuple):
    """Another source for a `FROM` reference, handed over with `--build-context`.

    Args:
        source: `docker-image://…`, `oci-layout://…`, or `image:NAME` of the same repository.
        stand_in: it is not the real image, and an image built on it must not be published.
    """

    source: str
    stand_in: bool = False


def _of(module: str, name: str) -> KeyType[Any]:
    """Return the type of a key that not every project has; its module is loaded with its value."""

    def found() -> KeyType[Any]:
        type_: KeyType[Any] = getattr(import_module(f"buildlib.config.{module}"), name)
        return type_

    def parse(value: object, where: str) -> object:
        return found().reader(where)(value)

    return KeyType(parse, lambda: written(found()), placed=True)


def _limit(value: object) -> str:
    """Return a number of processors as docker takes it."""
    text = "" if isinstance(value, bool) else str(value)
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", text) or not float(text):
        raise MismatchError('a number of processors, such as 2 or "1.5"')
    return text


def _folder(value: object) -> str:
    text = parse_text(value)
    parts = text.split("/")
    if text.startswith("/") or ".." in parts or not {*parts} - {"", "."}:
        raise MismatchError("a directory below the project")
    return text


@dataclass(frozen=True, kw_only=True)
class ContainerSettings:
    """What the tables `smoke` and `run` both have; see `containers.health` for how they combine."""

    port: int = setting(PORT, "port where the image's own command serves; 0: none", default=0)
    health: str = setting(
        _of("expectations", "HEALTH"),
        "how it is seen to be healthy; left out: HTTP, or the command",
        default="",
    )
    health_status: Statuses = setting(
        _of("expectations", "STATUSES"),
        "HTTP answers that count as healthy; left out: 200-399",
        default=(),
    )
    health_command: tuple[str, ...] = setting(
        TEXTS, "command that exits with 0 in the container when it is healthy", default=()
    )
    env: tuple[tuple[str, str], ...] = setting(_of("containers", "ENV"), "variables", default=())
    env_file: tuple[str, ...] = setting(
        LIST, "files of variables, relative to the project", default=()
    )
    mounts: tuple[str, ...] = setting(
        _of("containers", "MOUNTS"), "as --volume or --mount; relative to the project", default=()
    )
    network: str = setting(
        _of("containers", "NETWORK"),
        "network that it joins; left out: the engine's default",
        default="",
    )
    add_host: tuple[str, ...] = setting(
        _of("containers", "HOSTS"), "hosts, NAME:ADDRESS", default=()
    )
    ports: tuple[Port, ...] = setting(
        _of("containers", "PORTS"), "further published ports", default=()
    )
    services: tuple[Service, ...] = setting(
        _of("containers", "SERVICES"),
        "containers beside it, in a network of their own",
        default=(),
    )


@dataclass(frozen=True, kw_only=True)
class Smoke(ContainerSettings):
    """What a container of the image has to do."""

    commands: tuple[Command, ...] = setting(
        _of("expectations", "COMMANDS"), "commands, each run in a container of its own", default=()
    )
    version_command: tuple[str, ...] = setting(
        TEXTS, "command that prints the version and nothing else", default=()
    )
    health_path: str = setting(TEXT, "path that is asked by HTTP", default="/")
    health_version: HealthVersion | None = setting(
        _of("expectations", "HEALTH_VERSION"), "where the server says its version", default=None
    )
    start_timeout: int = setting(NUMBER, "seconds from the start to healthy", default=30)
    stop_timeout: int = setting(NUMBER, "seconds from the stop signal to the end", default=2)
    stop_codes: tuple[int, ...] = setting(
        NUMBERS, "exit codes after the stop signal, beside 0 and that of the signal", default=()
    )
    command_timeout: int = setting(NUMBER, "seconds that a command may take", default=60)
    engine_path: str = setting(
        TEXT, "path that answers 200 if the engine's socket works", default=""
    )
    socket_groups: tuple[int, ...] = setting(
        NUMBERS,
        "GIDs of a mounted socket that are tried, beside that of the engine's own",
        default=(),
    )
    data: Data | None = setting(
        _of("expectations", "DATA"), "data that has to outlive the container", default=None
    )
    writable_paths: tuple[str, ...] = setting(
        TEXTS, "where the program may write, beside its data and tmpfs", default=()
    )
    log_errors: str = setting(
        PATTERN,
        "regular expression that no line of the log may match; empty: the log is not read",
        default=r"(?i)\b(error|fatal|panic)\b",
    )
    skip: tuple[str, ...] = setting(LIST, "patterns of checks that are left out", default=())
    helper_image: str = setting(
        TEXT,
        "image with a shell that opens connections, if no port of the engine can be reached",
        default="",
    )
    policy: bool = setting(FLAG, "check the image against the policy too", default=True)
    size_budget: int = setting(
        SIZE, "size that one platform's image may have, as it is pulled", default=0
    )
    size_record: str = setting(TEXT, "file that records the sizes of a release", default="")
    size_growth: int = setting(NUMBER, "percent that the image may have grown since", default=5)

    @property
    def serves(self) -> bool:
        """Return whether the image's own command goes on running, and is looked at."""
        return bool(self.port or self.health_command or self.health in {"healthcheck", "running"})


@dataclass(frozen=True, kw_only=True)
class Run(ContainerSettings):
    """How a container of the image is run; what it does not say of health is as in `smoke`.

    Args:
        group, groups: None: what the image's USER and its files say.
    """

    health_path: str = setting(
        TEXT, "path that is asked by HTTP; left out: as in smoke", default=""
    )
    start_timeout: int = setting(
        NUMBER, "seconds from the start to healthy; 0: as in smoke", default=0
    )
    data_path: str = setting(TEXT, "directory in the container whose content is kept", default="")
    data_dir: str = setting(
        KeyType(_folder, {"type": "string"}),
        "directory that --persistent mounts there, relative to the project",
        default="data",
    )
    user: int = setting(NUMBER, "UID that the image runs as", default=0)
    drops_root: bool = setting(
        FLAG,
        "the image starts as root and drops to user itself; docker-run starts it as user",
        default=False,
    )
    group: int | None = setting(NUMBER, "GID; left out: that of the image's USER", default=None)
    groups: tuple[int, ...] | None = setting(
        NUMBERS, "further GIDs; left out: those of the image's files", default=None
    )
    socket_path: str = setting(TEXT, "where the image expects the engine's socket", default="")
    root_group_env: str = setting(
        TEXT, "NAME=VALUE that tells the image that it may join the group root", default=""
    )
    read_only: bool = setting(FLAG, "read-only root, as --read-only", default=True)
    drop_capabilities: bool = setting(FLAG, "no capabilities, as --cap-drop ALL", default=True)
    no_new_privileges: bool = setting(FLAG, "as --security-opt no-new-privileges", default=True)
    init: bool = setting(FLAG, "as --init", default=True)
    memory: str = setting(TEXT, "memory limit, as --memory; empty: none", default="512m")
    pids: int = setting(NUMBER, "limit of processes, as --pids-limit; 0: none", default=256)
    cpus: str = setting(
        KeyType(_limit, {"type": ["string", "number"]}),
        "limit of processors, as --cpus",
        default="",
    )
    tmpfs: tuple[str, ...] = setting(
        _of("containers", "TMPFS"),
        "writable directories in memory, each with options behind a colon",
        default=("/tmp",),  # noqa: S108 - inside the container
    )


# The build args with version, revision and time of a build.
INJECTED: Final = ("CREATED", "REVISION", "VERSION")
# Of buildx; `none` came later than the oldest that does here.
_PROGRESS: Final = ("auto", "plain", "tty", "rawjson", "quiet", "none")
# Where a base image may come from.
_SOURCES: Final = ("docker-image://", "oci-layout://", FROM_HERE)
NO_RUN: Final = Run()
NO_SMOKE: Final = Smoke()


def parse_image(value: object) -> str:
    reference = parse_reference(parse_text(value))
    if reference.tag or reference.digest:
        raise MismatchError("a repository without tag or digest")
    return reference.name


def parse_platforms(value: object) -> tuple[Platform, ...]:
    return split_platforms(parse_texts(value))


def parse_context(value: object) -> dict[str, Any]:
    """Return the fields that the key sets: a path, or a table of it and of what is included."""
    if not isinstance(value, Mapping):
        return {"context": parse_text(value)}
    keys = {"path": parse_text, "include": _included, "allow": _included}
    fields = parse_fields(value, keys, "context.")
    return {
        "context": fields.get("path", "."),
        "context_include": fields.get("include", ()),
        "context_allow": fields.get("allow", ()),
    }


def _included(value: object) -> tuple[str, ...]:
    paths = _paths_below(value, "context")
    if any(path.startswith("!") for path in paths):
        raise MismatchError("a list of paths below the context, without exceptions")
    return paths


def parse_paths_below(value: object) -> tuple[str, ...]:
    return _paths_below(value, "project")


def _paths_below(value: object, what: str) -> tuple[str, ...]:
    paths = parse_texts(value)
    for path in paths:
        if path.startswith("/") or set(path.split("/")) & {"", ".", "..", ".git"}:
            raise MismatchError(f"a list of paths below the {what}, outside of .git")
    return paths


def parse_progress(value: object) -> str:
    text = parse_text(value)
    if text not in _PROGRESS:
        raise InputError(f"unknown progress {text!r}", hint=did_you_mean(text, _PROGRESS))
    return text


def _base_image(value: object) -> BaseImage:
    table = value if isinstance(value, Mapping) else {"source": value}
    source, stand_in = table.get("source"), table.get("stand-in", False)
    if set(table) - {"source", "stand-in"} or not isinstance(stand_in, bool):
        raise MismatchError('a text, or { source = "…", stand-in = true }')
    if not isinstance(source, str) or not source.startswith(_SOURCES):
        raise MismatchError(
            f"a source that begins with {_SOURCES[0]}, {_SOURCES[1]} or {FROM_HERE}"
        )
    return BaseImage(source=source, stand_in=stand_in)


def parse_base_images(value: object) -> tuple[tuple[str, BaseImage], ...]:
    if not isinstance(value, Mapping):
        raise MismatchError("a table of FROM reference = source")
    found = []
    for name, source in value.items():
        try:
            found.append((name, _base_image(source)))
        except MismatchError as error:
            raise MismatchError(str(error), f'base-images."{name}"', source) from error
    return tuple(sorted(found, key=lambda pair: pair[0]))


def parse_inject(value: object) -> tuple[tuple[str, str], ...]:
    """Return which build args get version, revision and time: another name, or none."""
    if value is False:
        return tuple((name, "") for name in INJECTED)
    if not isinstance(value, Mapping):
        raise MismatchError('false, or a table such as { VERSION = "APP_VERSION" }')
    check_keys(value, dict.fromkeys(INJECTED), where="inject.")
    for name, other in value.items():
        named = isinstance(other, str) and re.fullmatch(VARIABLE, other)
        if other is not False and not named:
            raise MismatchError("the name of a build arg, or false", f"inject.{name}", other)
    return tuple(sorted((name, str(other or "")) for name, other in value.items()))


def parse_secrets(value: object) -> tuple[tuple[str, str, str], ...]:
    """Return the id, the kind and the source of each secret that every build gets."""
    example = 'a table of NAME = { env = "VARIABLE" } or { file = "path" }'
    if not isinstance(value, Mapping):
        raise MismatchError(example)
    found = []
    for name, source in value.items():
        if not isinstance(source, Mapping) or len(source) != 1 or "," in name:
            raise MismatchError(example, f"secrets.{name}", source)
        check_keys(source, {"env": None, "file": None}, where=f"secrets.{name}.")
        ((kind, text),) = source.items()
        pattern = VARIABLE if kind == "env" else ".+"
        if not isinstance(text, str) or not re.fullmatch(pattern, text):
            raise MismatchError(example, f"secrets.{name}", source)
        found.append((name, kind, parse_text(text)))
    return tuple(sorted(found))


def parse_smoke(value: object) -> Smoke:
    return Smoke(**_one_network(parse_keys(Smoke, value, "smoke"), "smoke"))


def health_problems(smoke: Smoke, run: Run) -> list[BuildlibError]:
    """Return which of the two tables wants to be asked what it does not name."""
    tables = {"smoke": smoke, "run": run}
    found: list[BuildlibError] = [
        KeyProblemError(
            f'{name}.health = "command" without a command',
            path=(name, "health"),
            hint="add health-command",
        )
        for name, table in tables.items()
        if table.health == "command" and not (table.health_command or smoke.health_command)
    ]
    if smoke.health in {"http", "tcp"} and not smoke.port:
        what = f'smoke.health = "{smoke.health}" without a port'
        found.append(KeyProblemError(what, path=("smoke", "health"), hint="add port"))
    return found


def parse_run(value: object) -> Run:
    run = Run(**_one_network(parse_keys(Run, value, "run"), "run"))
    if run.drops_root and not run.user:
        raise InputError("run.drops-root needs run.user", hint="set the UID that it drops to")
    return run


def _one_network(fields: dict[str, Any], table: str) -> dict[str, Any]:
    if fields.get("network") and fields.get("services"):
        raise InputError(
            f"{table}.network and {table}.services exclude each other",
            why="services run in a network of their own, which the container joins",
        )
    return fields


def parse_prefix(value: object) -> str:
    text = parse_text(value)
    # What git allows in no ref: git-check-ref-format(1).
    if re.search(r"[\s~^:?*\[\\\x00-\x1f\x7f]|\.\.|@\{|//|^[-/.]", text):
        raise MismatchError("the beginning of a git tag's name, such as v or cli/v")
    return text


def parse_scheme(value: object) -> Scheme:
    text = parse_text(value)
    if text not in set(Scheme):
        raise InputError(f"unknown version-scheme {text!r}", hint=did_you_mean(text, Scheme))
    return Scheme(text)


_SOURCE: Final = f"^(docker-image://|oci-layout://|{FROM_HERE})"
_OBJECT: Final = {"type": "object"}
_STRING: Final = {"type": "string"}
IMAGE: Final = KeyType(parse_image, _STRING)
PLATFORMS: Final = KeyType(parse_platforms, TEXTS.schema)
# One key that sets several fields.
CONTEXT: Final[KeyType[Any]] = KeyType(
    parse_context,
    {
        "anyOf": [
            _STRING,
            {
                **_OBJECT,
                "additionalProperties": False,
                "properties": {
                    "path": {**_STRING, "description": "directory that is built"},
                    "include": {
                        **written(TEXTS),
                        "description": "generated files that a release has beside its commit's",
                    },
                    "allow": {
                        **written(TEXTS),
                        "description": "files that git ignores and an image may have all the same",
                    },
                },
            },
        ]
    },
)
PATHS_BELOW: Final = KeyType(parse_paths_below, TEXTS.schema)
PROGRESS: Final = choice(parse_progress, _PROGRESS)
BASE_IMAGES: Final = KeyType(
    parse_base_images,
    {
        **_OBJECT,
        "additionalProperties": {
            "anyOf": [
                {**_STRING, "pattern": _SOURCE},
                {
                    **_OBJECT,
                    "additionalProperties": False,
                    "required": ["source"],
                    "properties": {
                        "source": {
                            **_STRING,
                            "pattern": _SOURCE,
                            "description": "docker-image://…, oci-layout://… or image:NAME",
                        },
                        "stand-in": {
                            "type": "boolean",
                            "description": "it is a placeholder, and not for publishing",
                        },
                    },
                },
            ]
        },
    },
)
INJECT: Final = KeyType(
    parse_inject,
    {
        "anyOf": [
            {"const": False},
            {
                **_OBJECT,
                "additionalProperties": False,
                "properties": {
                    name: {
                        "description": f"build arg that gets the {name.lower()}; false: none",
                        "anyOf": [{**_STRING, "pattern": f"^{VARIABLE}$"}, {"const": False}],
                    }
                    for name in INJECTED
                },
            },
        ]
    },
)
SECRETS: Final = KeyType(
    parse_secrets,
    {
        **_OBJECT,
        "additionalProperties": {
            **_OBJECT,
            "additionalProperties": False,
            "properties": {
                "env": {**_STRING, "description": "variable with the secret"},
                "file": {**_STRING, "description": "file with the secret"},
            },
            "minProperties": 1,
            "maxProperties": 1,
        },
    },
)
PREFIX: Final = KeyType(parse_prefix, _STRING)
SCHEME: Final = choice(parse_scheme, Scheme)


SMOKE: Final = KeyType(parse_smoke, lambda: schema_of(Smoke))
RUN: Final = KeyType(parse_run, lambda: schema_of(Run))
BASES: Final = _of("bases", "BASES")
BUILD: Final = _of("build_options", "BUILD")
BUILDERS: Final = _of("builders", "BUILDERS")
POLICY: Final = _of("policy", "POLICY")
SCAN: Final = _of("scan", "SCAN")
DIFF: Final = _of("diff", "DIFF")
PUBLISH: Final = _of("publish", "PUBLISH")
GORELEASER: Final = _of("goreleaser", "GORELEASER")
SIGN: Final = _of("signing", "SIGN")
VERIFY: Final = _of("signing", "VERIFY")
RECORDS: Final = _of("records", "RECORDS")


@dataclass(frozen=True, kw_only=True)
class Registry:
    """A place to publish to; `name` is what the configuration calls it."""

    name: str
    repository: str = setting(IMAGE, "repository with the registry's host, without tag or digest")
    tags: tuple[TagRule, ...] = setting(
        TAGS, "its own tag rules; left out: those of the project", default=()
    )
    username_env: str = setting(
        TEXT, "variable with the user name; left out: docker's own credentials are used", default=""
    )
    password_env: str = setting(TEXT, "variable with the password", default="")
    required: bool = setting(
        FLAG, "nothing is published anywhere if this registry fails", default=True
    )
    immutable: tuple[str, ...] = setting(
        NAMES, "patterns of tags that never move, beside those of one version", default=()
    )
    claim: bool = setting(
        FLAG, "publishers claim the repository before they write tags there", default=True
    )

    @property
    def host(self) -> str:
        """Return the registry's host, with its port; Docker Hub where none was named."""
        return self.full_name.partition("/")[0]

    @property
    def full_name(self) -> str:
        """Return the repository in the one form by which two of them are compared."""
        return canonical(self.repository)


def _registry(name: str, value: object) -> Registry:
    where = f"registries.{name}"
    if not isinstance(value, Mapping) or "repository" not in value:
        raise MismatchError(f'a table of {name} = {{ repository = "…" }}')
    found = Registry(name=name, **parse_keys(Registry, value, where))
    if bool(found.username_env) != bool(found.password_env):
        raise InputError(f"{where}: username-env and password-env belong together")
    return found


def parse_registries(value: object) -> tuple[Registry, ...]:
    if not isinstance(value, Mapping):
        raise MismatchError('a table of NAME = { repository = "…" }')
    return tuple(gathered(partial(_registry, *item) for item in value.items()))


REGISTRIES: Final = KeyType(
    parse_registries, lambda: {**_OBJECT, "additionalProperties": schema_of(Registry)}
)
