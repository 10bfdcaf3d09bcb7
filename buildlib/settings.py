"""What the values of a configuration are, and how each is read; `config` says where from.

Each `parse_…` returns the value of a key of that kind, and raises MismatchError with what it has
to be, or InputError where it knows better (exit 2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from buildlib.errors import InputError, did_you_mean
from buildlib.platforms import Platform
from buildlib.platforms import parse_platforms as split_platforms
from buildlib.precedence import Scheme
from buildlib.record import record
from buildlib.reference import parse_reference
from buildlib.values import (
    VARIABLE,
    MismatchError,
    check_keys,
    parse_fields,
    parse_flag,
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
    from buildlib.expectations import Command, Data
    from buildlib.goreleaser.settings import GoReleaser
    from buildlib.policy.settings import Policy
    from buildlib.publish.settings import Publish
    from buildlib.scan.settings import ScanSettings
    from buildlib.sign.settings import Sign, Verify
    from buildlib.tagrules import TagRule


@record(frozen=True, kw_only=True)
class BaseImage:
    """Another source for a `FROM` reference, handed over with `--build-context`.

    Args:
        source: `docker-image://…` or `oci-layout://…`.
        stand_in: it is not the real image, and an image built on it must not be published.
    """

    source: str
    stand_in: bool = False


@record(frozen=True, kw_only=True)
class Smoke:
    """What a container of the image has to do.

    Args:
        commands: each is run in a container of its own.
        version_command: has to print the version and nothing else; empty: not asked.
        port: where the image's own command serves HTTP; 0: it serves none.
        health_path: answers 200 when healthy, and holds the version.
        start_timeout: seconds from the start to healthy.
        stop_timeout: seconds from SIGTERM to the end.
        command_timeout: seconds that a command may take.
        engine_path: answers 200 where the engine's socket is reached; empty: not asked.
        socket_groups: GIDs that a mounted socket may have, beside that of the engine's own.
        data: what has to outlive the container; None: not asked.
        writable_paths: where the program may write, beside its data and `tmpfs`.
        log_errors: a regular expression that no line of the log matches; empty: not looked at.
        policy: the image is held against its policy as well.
        size_budget: bytes that one platform's image may have as it is pulled; 0: any.
        size_record: the file that remembers the sizes of a release, relative to the project;
            empty: none is kept.
        size_growth: percent that it may have grown since.
    """

    commands: tuple[Command, ...] = ()
    version_command: tuple[str, ...] = ()
    port: int = 0
    health_path: str = "/"
    start_timeout: int = 30
    stop_timeout: int = 2
    command_timeout: int = 60
    engine_path: str = ""
    socket_groups: tuple[int, ...] = ()
    data: Data | None = None
    writable_paths: tuple[str, ...] = ()
    log_errors: str = r"(?i)\b(error|fatal|panic)\b"
    policy: bool = True
    size_budget: int = 0
    size_record: str = ""
    size_growth: int = 5


@record(frozen=True, kw_only=True)
class Run:
    """How a container of the image is run.

    Args:
        port: where it serves HTTP inside; 0: the port of `smoke`.
        health_path: answers 200 when healthy; empty: that of `smoke`.
        start_timeout: seconds from the start to healthy; 0: that of `smoke`.
        data_path: the directory inside that is kept; empty: none.
        user: the UID, and GID, that the image runs as; for messages and new data directories.
        drops_root: the image starts as root, and its entrypoint becomes `user` by itself; it is
            started as `user` from the beginning.
        socket_path: where the image expects the engine's socket; empty: it needs none.
        root_group_env: NAME=VALUE by which the image is told that it may join group root.
        read_only, drop_capabilities, no_new_privileges, init: as docker's options of that name.
        memory, pids: limits; empty and 0: none.
        tmpfs: writable directories in memory, needed where the rest is read-only.
    """

    port: int = 0
    health_path: str = ""
    start_timeout: int = 0
    data_path: str = ""
    user: int = 0
    drops_root: bool = False
    socket_path: str = ""
    root_group_env: str = ""
    read_only: bool = True
    drop_capabilities: bool = True
    no_new_privileges: bool = True
    init: bool = True
    memory: str = "512m"
    pids: int = 256
    tmpfs: tuple[str, ...] = ("/tmp",)  # noqa: S108 - inside the container


_HUB: Final = "docker.io"
# The build args by which a build is told what it is.
INJECTED: Final = ("CREATED", "REVISION", "VERSION")
# Of buildx; `none` came later than the oldest that does here.
_PROGRESS: Final = ("auto", "plain", "tty", "rawjson", "quiet", "none")
NO_RUN: Final = Run()
NO_SMOKE: Final = Smoke()


@record(frozen=True, kw_only=True)
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
        return parse_reference(self.repository).registry or _HUB


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


_SMOKE_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    "commands": _commands,
    "version-command": parse_texts,
    "port": parse_port,
    "health-path": parse_text,
    "start-timeout": parse_number,
    "stop-timeout": parse_number,
    "command-timeout": parse_number,
    "engine-path": parse_text,
    "socket-groups": parse_numbers,
    "data": _data,
    "writable-paths": parse_texts,
    "log-errors": parse_pattern,
    "policy": parse_flag,
    "size-budget": parse_size,
    "size-record": parse_text,
    "size-growth": parse_number,
}


_RUN_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    "port": parse_port,
    "health-path": parse_text,
    "start-timeout": parse_number,
    "data-path": parse_text,
    "user": parse_number,
    "drops-root": parse_flag,
    "socket-path": parse_text,
    "root-group-env": parse_text,
    "read-only": parse_flag,
    "drop-capabilities": parse_flag,
    "no-new-privileges": parse_flag,
    "init": parse_flag,
    "memory": parse_text,
    "pids": parse_number,
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
    return Smoke(**parse_fields(value, _SMOKE_KEYS, "smoke."))


def parse_run(value: object) -> Run:
    run = Run(**parse_fields(value, _RUN_KEYS, "run."))
    if run.drops_root and not run.user:
        raise InputError("run.drops-root needs run.user", hint="set the UID that it drops to")
    return run


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
    check_keys(value, {**_REGISTRY_KEYS, "tags": None}, where=f"{where}.")
    plain = {key: item for key, item in value.items() if key != "tags"}
    fields = parse_fields(plain, _REGISTRY_KEYS, f"{where}.")
    if bool(fields.get("username_env")) != bool(fields.get("password_env")):
        raise InputError(f"{where}: username-env and password-env belong together")
    tags = parse_tag_rules(value["tags"], f"{where}.tags") if "tags" in value else ()
    return Registry(name=name, tags=tags, **fields)


def parse_registries(value: object) -> tuple[Registry, ...]:
    if not isinstance(value, Mapping):
        raise MismatchError('a table of NAME = { repository = "…" }')
    return tuple(_registry(name, table) for name, table in value.items())
