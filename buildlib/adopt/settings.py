"""The configuration of a repository as far as it can be found, and where each value comes from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from buildlib.adopt.dockerfile_facts import DockerfileFacts
from buildlib.adopt.hidden import hide_words
from buildlib.errors import InputError
from buildlib.image.platform import parse_platforms
from buildlib.image.user_and_shell import starts_shell

# What is built where nothing speaks against it: what most servers and developers have.
_PLATFORMS: Final = ("linux/amd64", "linux/arm64")
# What others call the build args that every build gets.
_CALLED: Final = {
    "VERSION": (
        *("APP_VERSION", "BUILD_VERSION", "IMAGE_VERSION", "RELEASE_VERSION", "PROJECT_VERSION"),
        "SERVICE_VERSION",
    ),
    "REVISION": (
        *("COMMIT", "COMMIT_HASH", "COMMIT_SHA", "GIT_COMMIT", "GIT_HASH", "GIT_REV", "GIT_SHA"),
        *("GIT_REVISION", "SOURCE_COMMIT", "VCS_REF"),
    ),
    "CREATED": ("BUILD_DATE", "BUILD_TIME", "BUILD_TIMESTAMP", "BUILDTIME", "BUILT_AT"),
}
# A default that is the version of something.
_FIXED: Final = re.compile(r"v?[1-9][0-9]*(\.[0-9]+)+|v?[0-9]+\.[1-9][0-9]*(\.[0-9]+)*")
_HEALTH: Final = ("health", "health-path", "health-command", "health-status")


class Setting(NamedTuple):
    """A value of the configuration.

    Args:
        path: the key, with the tables that it is in.
        source: where it was found.
    """

    path: tuple[str, ...]
    value: object
    source: str


def nested(settings: Iterable[Setting]) -> dict[str, Any]:
    """Return settings as the tables of a file."""
    found: dict[str, Any] = {}
    for one in settings:
        table = found
        for name in one.path[:-1]:
            table = table.setdefault(name, {})
        table[one.path[-1]] = one.value
    return found


def flattened(
    table: Mapping[str, object], source: str, path: tuple[str, ...] = ()
) -> Iterator[Setting]:
    """Yield the values of tables, each with its path."""
    for name, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from flattened(value, source, (*path, name))
        else:
            yield Setting((*path, name), value, source)


def found_settings(
    facts: DockerfileFacts, place: str, given: Iterable[Setting] = ()
) -> tuple[Setting, ...]:
    """Return the configuration of an image: what was given before what the Dockerfile says.

    Args:
        facts: of the Dockerfile.
        place: what messages call the Dockerfile.
        given: what something else says, such as a Makefile; it comes first.
    """
    known = (*_build_settings(facts, place), *_run_settings(facts, place), *given)
    found = {one.path: one for one in known}
    _choose_port(found)
    _choose_data(found)
    _choose_health(found, facts, place)
    _choose_commands(found, facts, place)
    found = {path: one for path, one in found.items() if writable(one.value)}
    # A build arg that gets a value of its own gets no other.
    for path in [path for path in found if path[0] == "inject"]:
        value = found[path].value
        if isinstance(value, str) and ("build-args", value) in found:
            del found[path]
    return tuple(sorted(found.values(), key=lambda one: (len(one.path) > 1, _rank(one.path))))


# The order of the file; what else there is comes after that, as it was found.
_ORDER: Final = ("image", "dockerfile", "context", "target", "platforms", "tag-prefix")
_TABLES: Final = ("build-args", "inject", "smoke", "run")


def _rank(path: tuple[str, ...]) -> int:
    order = (*_ORDER, *_TABLES)
    return order.index(path[0]) if path[0] in order else len(order)


def _build_settings(facts: DockerfileFacts, place: str) -> Iterator[Setting]:
    stage = facts.dockerfile.stage()
    fixed: tuple[str, ...] = ()
    if stage and stage.platform and "$" not in stage.platform:
        try:
            fixed = tuple(map(str, parse_platforms([stage.platform])))
        except InputError:
            fixed = ()
    source = f"FROM --platform, {place} line {stage.lines[0] + 1}" if stage and fixed else "default"
    yield Setting(("platforms",), list(fixed or _PLATFORMS), source)
    yield from _injected(facts, place)


def called(facts: DockerfileFacts, name: str) -> str:
    """Return what a Dockerfile calls a build arg that every build gets, if not by its own name."""
    args, used = facts.dockerfile.args, facts.dockerfile.choosing() | facts.downloads
    if name in args:
        return ""
    found = [
        one
        for one in args
        if one.isascii() and one.upper() in {*_CALLED[name], name} and one not in used
    ]
    fits = len(found) == 1 and not _FIXED.fullmatch(args[found[0]] or "")
    return found[0] if fits else ""


def _injected(facts: DockerfileFacts, place: str) -> Iterator[Setting]:
    args, choosing = facts.dockerfile.args, facts.dockerfile.choosing()
    for name in _CALLED:
        if name in args:
            default = args[name] or ""
            if name in choosing or (name in facts.downloads and _FIXED.fullmatch(default)):
                said = "chooses a base image" if name in choosing else "is what is downloaded"
                source = f"ARG {name} of {place} {said}"
                yield Setting(path=("inject", name), value=False, source=source)
        elif own := called(facts, name):
            yield Setting(("inject", name), own, f"ARG {own} of {place}")


def _run_settings(facts: DockerfileFacts, place: str) -> Iterator[Setting]:
    if facts.ports:
        # The one that is asked for its health is the one that serves.
        asked = facts.health.value.port if facts.health else 0
        port = next((one for one in facts.ports if one.value == asked), facts.ports[0])
        yield Setting(("smoke", "port"), port.value, f"EXPOSE, {place} line {port.line}")
    elif facts.health and facts.health.value.scheme == "http":
        source = f"HEALTHCHECK, {place} line {facts.health.line}"
        yield Setting(("smoke", "port"), facts.health.value.port, source)
    if facts.user and facts.uid:
        yield Setting(("run", "user"), facts.uid, f"USER, {place} line {facts.user.line}")
    if facts.volumes:
        first = facts.volumes[0]
        yield Setting(("run", "data-path"), first.value, f"VOLUME, {place} line {first.line}")


def _choose_port(found: dict[tuple[str, ...], Setting]) -> None:
    """Let smoke ask the port that a container publishes, where that is said."""
    if said := found.pop(("run", "port"), None):
        found["smoke", "port"] = said._replace(path=("smoke", "port"))


def _choose_data(found: dict[tuple[str, ...], Setting]) -> None:
    """Let nothing be mounted twice: what is mounted where the data is keeps it already."""
    path, mounts = found.get(("run", "data-path")), found.get(("run", "mounts"))
    if path is None or mounts is None or not isinstance(mounts.value, list):
        return
    targets = ("".join(one.split(":")[1:2]).rstrip("/") for one in mounts.value)
    if str(path.value).rstrip("/") in targets:
        del found["run", "data-path"]


def _choose_health(
    found: dict[tuple[str, ...], Setting], facts: DockerfileFacts, place: str
) -> None:
    """Add how a container is seen to be healthy, unless that is said."""
    if any((table, key) in found for table in ("smoke", "run") for key in _HEALTH):
        return
    port = found.get(("smoke", "port"))
    check = facts.health.value if facts.health else None
    source = f"HEALTHCHECK, {place} line {facts.health.line}" if facts.health else ""
    if check and port and check.scheme == "http" and check.port == port.value:
        if check.path != "/":
            key = ("smoke", "health-path")
            found[key] = Setting(key, check.path, source)
    elif check and hide_words(check.words) == [*check.words]:
        key = ("smoke", "health-command")
        found[key] = Setting(key, list(check.words), source)
    elif port:
        key = ("smoke", "health")
        found[key] = Setting(key, "tcp", f"{place} has no HEALTHCHECK")


def is_served(table: Mapping[str, Any]) -> bool:
    """Return whether a container of an image is known to serve, or to be healthy somehow."""
    keys = ("port", "commands", *_HEALTH)
    return any(key in table.get(name, {}) for name in ("smoke", "run") for key in keys)


def program_of(facts: DockerfileFacts) -> tuple[str, ...]:
    """Return what a container's command begins with to run the program; empty: its entrypoint."""
    words = facts.command.value if facts.command and not facts.entrypoint else ()
    return words[:1] if not starts_shell(words) else ()


def _choose_commands(
    found: dict[tuple[str, ...], Setting], facts: DockerfileFacts, place: str
) -> None:
    """Let smoke run a program that is for a command line: it serves nothing, and has options."""
    entry = facts.entrypoint
    if is_served(nested(found.values())) or not entry or not entry.value:
        return
    options = facts.command.value if facts.command else ()
    if starts_shell(entry.value) or not all(word.startswith("-") for word in options):
        return
    said = facts.command if facts.command and options else entry
    name = "CMD" if said is facts.command else "ENTRYPOINT"
    key = ("smoke", "commands")
    source = f"{name}, {place} line {said.line}"
    found[key] = Setting(key, [[*(options or ("--version",))]], source)


def writable(value: object) -> bool:
    """Return whether a value can be in a file of TOML, and be used after that."""
    if isinstance(value, Mapping):
        return all(map(writable, (*value, *value.values())))
    if isinstance(value, list | tuple):
        return all(map(writable, value))
    # Half of a character, as JSON has it, or a byte of no character.
    return not (isinstance(value, str) and re.search("[\0\ud800-\udfff]", value))
