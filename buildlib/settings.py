"""What the values of a configuration are, and how each is read; `config` says where from.

Each `parse_…` returns the value of a key of that kind, and raises MismatchError with what it has
to be, or InputError where it knows better (exit 2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from buildlib.errors import BuildlibError, InputError, did_you_mean
from buildlib.platforms import Platform
from buildlib.platforms import parse_platforms as split_platforms
from buildlib.precedence import Scheme
from buildlib.reference import canonical, parse_reference
from buildlib.values import (
    VARIABLE,
    KeyProblemError,
    MismatchError,
    check_keys,
    gathered,
    parse_fields,
    parse_flag,
    parse_list,
    parse_names,
    parse_number,
    parse_numbers,
    parse_pattern,
    parse_port,
    parse_size,
    parse_text,
    parse_texts,
)

if TYPE_CHECKING:
    from buildlib.bases.settings import Bases
    from buildlib.builders.settings import BuilderSettings
    from buildlib.expectations import Command, Data, HealthVersion, Statuses
    from buildlib.goreleaser.settings import GoReleaser
    from buildlib.policy.settings import Policy
    from buildlib.publish.settings import Publish
    from buildlib.scan.settings import ScanSettings
    from buildlib.sign.settings import Sign, Verify
    from buildlib.surroundings import Port, Service
    from buildlib.tagrules import TagRule


@dataclass(frozen=True, kw_only=True)
class BaseImage:
    """Another source for a `FROM` reference, handed over with `--build-context`.

    Args:
        source: `docker-image://…` or `oci-layout://…`.
        stand_in: it is not the real image, and an image built on it must not be published.
    """

    source: str
    stand_in: bool = False


@dataclass(frozen=True, kw_only=True)
class ContainerSettings:
    """What the tables `smoke` and `run` both say of a container; see `health` for how they combine.

    Args:
        port: where the image's own command serves; 0: nowhere.
        health: how it is seen to be healthy, of HEALTH_KINDS; empty: by HTTP, or by health_command.
        health_status: the answers that count as healthy; empty: 200 to 399.
        health_command: ends with 0 in the container when healthy.
        env: variables.
        env_file: files of variables, relative to the project.
        mounts: as `--volume` or `--mount` takes them; relative to the project.
        network: that it joins; empty: the engine's default.
        add_host: `NAME:ADDRESS` that it knows.
        ports: further ones to publish.
        services: containers beside it, in a network of their own.
    """

    port: int = 0
    health: str = ""
    health_status: Statuses = ()
    health_command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    env_file: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    network: str = ""
    add_host: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    services: tuple[Service, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Smoke(ContainerSettings):
    """What a container of the image has to do.

    Args:
        commands: each is run in a container of its own.
        version_command: has to print the version and nothing else; empty: not asked.
        health_path: is asked by HTTP.
        health_version: where the server says its version; None: not asked.
        start_timeout: seconds from the start to healthy.
        stop_timeout: seconds from the stop signal to the end.
        stop_codes: with which it may end then, beside 0 and that of the signal.
        command_timeout: seconds that a command may take.
        engine_path: answers 200 where the engine's socket is reached; empty: not asked.
        socket_groups: GIDs that a mounted socket may have, beside that of the engine's own.
        data: what has to outlive the container; None: not asked.
        writable_paths: where the program may write, beside its data and `tmpfs`.
        log_errors: a regular expression that no line of the log matches; empty: not looked at.
        skip: patterns of checks that are not made.
        helper_image: has a shell and a way to open a connection, where the image has none and no
            port of the engine can be reached; empty: none.
        policy: the image is held against its policy as well.
        size_budget: bytes that one platform's image may have as it is pulled; 0: any.
        size_record: the file that remembers the sizes of a release, relative to the project;
            empty: none is kept.
        size_growth: percent that it may have grown since.
    """

    commands: tuple[Command, ...] = ()
    version_command: tuple[str, ...] = ()
    health_path: str = "/"
    health_version: HealthVersion | None = None
    start_timeout: int = 30
    stop_timeout: int = 2
    stop_codes: tuple[int, ...] = ()
    command_timeout: int = 60
    engine_path: str = ""
    socket_groups: tuple[int, ...] = ()
    data: Data | None = None
    writable_paths: tuple[str, ...] = ()
    log_errors: str = r"(?i)\b(error|fatal|panic)\b"
    skip: tuple[str, ...] = ()
    helper_image: str = ""
    policy: bool = True
    size_budget: int = 0
    size_record: str = ""
    size_growth: int = 5

    @property
    def serves(self) -> bool:
        """Return whether the image's own command goes on running, and is looked at."""
        return bool(self.port or self.health_command or self.health in {"healthcheck", "running"})


@dataclass(frozen=True, kw_only=True)
class Run(ContainerSettings):
    """How a container of the image is run; what it does not say of health is as in `smoke`.

    Args:
        health_path: is asked by HTTP; empty: that of `smoke`.
        start_timeout: seconds from the start to healthy; 0: that of `smoke`.
        data_path: the directory inside that is kept; empty: none.
        data_dir: what `--persistent` mounts there, relative to the project.
        user: the UID that the image runs as.
        drops_root: the image starts as root, and its entrypoint becomes `user` by itself; it is
            started as `user` from the beginning.
        group: its GID; None: what the image's USER says.
        groups: that it is in beside that; None: what the image's files say.
        socket_path: where the image expects the engine's socket; empty: it needs none.
        root_group_env: NAME=VALUE by which the image is told that it may join group root.
        read_only, drop_capabilities, no_new_privileges, init: as docker's options of that name.
        memory, pids, cpus: limits; empty and 0: none.
        tmpfs: writable directories in memory, needed where the rest is read-only; each with the
            options that docker takes behind a colon.
    """

    health_path: str = ""
    start_timeout: int = 0
    data_path: str = ""
    data_dir: str = "data"
    user: int = 0
    drops_root: bool = False
    group: int | None = None
    groups: tuple[int, ...] | None = None
    socket_path: str = ""
    root_group_env: str = ""
    read_only: bool = True
    drop_capabilities: bool = True
    no_new_privileges: bool = True
    init: bool = True
    memory: str = "512m"
    pids: int = 256
    cpus: str = ""
    tmpfs: tuple[str, ...] = ("/tmp",)  # noqa: S108 - inside the container


# The build args by which a build is told what it is.
INJECTED: Final = ("CREATED", "REVISION", "VERSION")
# Of buildx; `none` came later than the oldest that does here.
_PROGRESS: Final = ("auto", "plain", "tty", "rawjson", "quiet", "none")
NO_RUN: Final = Run()
NO_SMOKE: Final = Smoke()


@dataclass(frozen=True, kw_only=True)
class Registry:
    """A place to publish to.

    Args:
        name: what the configuration calls it.
        repository: with the registry's host, without tag or digest.
        tags: its own tag rules; none: those of the project.
        username_env, password_env: variables with the credentials; empty, or not set: docker's
            own store is asked.
        required: nothing is published anywhere where this one fails.
        immutable: patterns of tags that never move, beside those that stand for one version.
        claim: publishers claim the repository before they give tags there.
    """

    name: str
    repository: str
    tags: tuple[TagRule, ...] = ()
    username_env: str = ""
    password_env: str = ""
    required: bool = True
    immutable: tuple[str, ...] = ()
    claim: bool = True

    @property
    def host(self) -> str:
        """Return the registry's host, with its port; Docker Hub where none was named."""
        return self.full_name.partition("/")[0]

    @property
    def full_name(self) -> str:
        """Return the repository in the one form by which two of them are compared."""
        return canonical(self.repository)


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
    if not isinstance(source, str) or not source.startswith(("docker-image://", "oci-layout://")):
        raise MismatchError("a source that begins with docker-image:// or oci-layout://")
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


def _commands(value: object) -> tuple[Command, ...]:
    from buildlib.expectations import parse_commands  # noqa: PLC0415 - not every project has any

    return parse_commands(value)


def _data(value: object) -> Data:
    from buildlib.expectations import parse_data  # noqa: PLC0415 - as above

    return parse_data(value)


def _of(module: str, name: str) -> Callable[[object], Any]:
    """Return a parser of a module that not every project needs."""

    def parse(value: object) -> Any:  # noqa: ANN401 - as the parsers have it
        from importlib import import_module  # noqa: PLC0415 - as above

        return getattr(import_module(f"buildlib.{module}"), name)(value)

    return parse


def _services(where: str) -> Callable[[object], Any]:
    def parse(value: object) -> tuple[Service, ...]:
        from buildlib.surroundings import parse_services  # noqa: PLC0415 - as above

        return parse_services(value, where)

    return parse


_HEALTH_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    "port": parse_port,
    "health": _of("expectations", "parse_health"),
    "health-path": parse_text,
    "health-status": _of("expectations", "parse_statuses"),
    "health-command": parse_texts,
    "start-timeout": parse_number,
}
_SURROUNDING_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    "env": _of("surroundings", "parse_env"),
    "env-file": parse_list,
    "mounts": _of("surroundings", "parse_mounts"),
    "network": _of("surroundings", "parse_network"),
    "add-host": _of("surroundings", "parse_hosts"),
    "ports": _of("surroundings", "parse_ports"),
}


_SMOKE_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    **_HEALTH_KEYS,
    **_SURROUNDING_KEYS,
    "commands": _commands,
    "version-command": parse_texts,
    "health-version": _of("expectations", "parse_health_version"),
    "stop-timeout": parse_number,
    "stop-codes": parse_numbers,
    "command-timeout": parse_number,
    "engine-path": parse_text,
    "socket-groups": parse_numbers,
    "data": _data,
    "writable-paths": parse_texts,
    "log-errors": parse_pattern,
    "skip": parse_list,
    "helper-image": parse_text,
    "services": _services("smoke.services"),
    "policy": parse_flag,
    "size-budget": parse_size,
    "size-record": parse_text,
    "size-growth": parse_number,
}


def _limit(value: object) -> str:
    """Return a number of processors as docker takes it."""
    text = "" if isinstance(value, bool) else str(value)
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", text) or not float(text):
        raise MismatchError('a number of processors, such as 2 or "1.5"')
    return text


def _folder(value: object) -> str:
    text = parse_text(value)
    if not text or text.startswith("/") or ".." in text.split("/"):
        raise MismatchError("a directory below the project")
    return text


_RUN_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    **_HEALTH_KEYS,
    **_SURROUNDING_KEYS,
    "services": _services("run.services"),
    "data-path": parse_text,
    "data-dir": _folder,
    "user": parse_number,
    "drops-root": parse_flag,
    "group": parse_number,
    "groups": parse_numbers,
    "socket-path": parse_text,
    "root-group-env": parse_text,
    "read-only": parse_flag,
    "drop-capabilities": parse_flag,
    "no-new-privileges": parse_flag,
    "init": parse_flag,
    "memory": parse_text,
    "pids": parse_number,
    "cpus": _limit,
    "tmpfs": parse_texts,
}


def parse_inject(value: object) -> tuple[tuple[str, str], ...]:
    """Return by which build args a build is told what it is: another name, or none."""
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
    return Smoke(**_one_network(parse_fields(value, _SMOKE_KEYS, "smoke."), "smoke"))


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
    run = Run(**_one_network(parse_fields(value, _RUN_KEYS, "run."), "run"))
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


def parse_tag_rules(value: object, where: str = "tags") -> tuple[TagRule, ...]:
    from buildlib.tagrules import parse_rules  # noqa: PLC0415 - most projects have no rules

    return parse_rules(value, where=where)


def parse_bases(value: object) -> Bases:
    from buildlib.bases.settings import parse_bases as parse  # noqa: PLC0415 - as above

    return parse(value)


def parse_builders(value: object) -> tuple[BuilderSettings, ...]:
    from buildlib.builders.settings import parse_builders as parse  # noqa: PLC0415 - few have any

    return parse(value)


def parse_policy(value: object) -> Policy:
    from buildlib.policy.settings import parse_policy as parse  # noqa: PLC0415 - only the gates ask

    return parse(value)


def parse_scan(value: object) -> ScanSettings:
    from buildlib.scan.settings import parse_scan as parse  # noqa: PLC0415 - only the gates ask

    return parse(value)


def parse_publish(value: object) -> Publish:
    from buildlib.publish.settings import parse_publish as parse  # noqa: PLC0415 - as above

    return parse(value)


def parse_goreleaser(value: object) -> GoReleaser:
    from buildlib.goreleaser.settings import parse_goreleaser as parse  # noqa: PLC0415 - as above

    return parse(value)


def parse_sign(value: object) -> Sign:
    from buildlib.sign.settings import parse_sign as parse  # noqa: PLC0415 - as above

    return parse(value)


def parse_verify(value: object) -> Verify:
    from buildlib.sign.settings import parse_verify as parse  # noqa: PLC0415 - as above

    return parse(value)


_REGISTRY_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    "repository": parse_image,
    "username-env": parse_text,
    "password-env": parse_text,
    "required": parse_flag,
    "immutable": parse_names,
    "claim": parse_flag,
}


def _registry(name: str, value: object) -> Registry:
    where = f"registries.{name}"
    if not isinstance(value, Mapping) or "repository" not in value:
        raise MismatchError(f'a table of {name} = {{ repository = "…" }}')
    tags = partial(parse_tag_rules, where=f"{where}.tags")
    known: dict[str, Callable[[object], Any]] = {**_REGISTRY_KEYS, "tags": tags}
    fields = parse_fields(value, known, f"{where}.")
    if bool(fields.get("username_env")) != bool(fields.get("password_env")):
        raise InputError(f"{where}: username-env and password-env belong together")
    return Registry(name=name, **fields)


def parse_registries(value: object) -> tuple[Registry, ...]:
    if not isinstance(value, Mapping):
        raise MismatchError('a table of NAME = { repository = "…" }')
    return tuple(gathered(partial(_registry, *item) for item in value.items()))
