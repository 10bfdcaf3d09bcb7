"""What a Dockerfile says of the containers of its image: port, health, user, data, build args."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from buildlib.config.key_types import VARIABLE
from buildlib.dockerfile.instructions import Instruction, read_instructions
from buildlib.dockerfile.lines import BLANKS, WORD, json_words
from buildlib.dockerfile.parser import PREDEFINED, Dockerfile, parse_dockerfile
from buildlib.dockerfile.variables import expand

T = TypeVar("T")

_LAST_PORT: Final = 65535
_LAST_UID: Final = 2**32 - 2
# What the images of Debian, Alpine and distroless have.
_USERS: Final = {"root": 0, "nobody": 65534, "nonroot": 65532}
_ADDING: Final = ("adduser", "useradd")
_BETWEEN: Final = ("&&", "||", ";", "|")
# The address in a health check, on this container.
_ADDRESS: Final = re.compile(
    r"\b(https?)://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\]|\$\(hostname[^)]*\))"
    r"(?::([0-9]{1,5}))?(/[^\s\"'`|;,)<>\\]*)?",
    re.IGNORECASE,
)
_USUAL_PORTS: Final = {"http": 80, "https": 443}


class Fact(NamedTuple, Generic[T]):
    """Something that is said, and the line that says it, from 1."""

    value: T
    line: int


class HealthCheck(NamedTuple):
    """What HEALTHCHECK runs.

    Args:
        words: of the command; a line is for a shell.
        scheme, port, path: of the address in it; empty and 0: there is none.
    """

    words: tuple[str, ...]
    scheme: str = ""
    port: int = 0
    path: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class DockerfileFacts:
    """What the stage that is built says.

    Args:
        dockerfile: as read for builds.
        ports: TCP ports of EXPOSE.
        uids: the numbers of users that it makes, by name.
        downloads: build args that are part of an address.
        runs: what its RUN instructions run, as written.
        entrypoint, command: what a container starts; a line is for a shell.
    """

    dockerfile: Dockerfile
    ports: tuple[Fact[int], ...] = ()
    health: Fact[HealthCheck] | None = None
    user: Fact[str] | None = None
    volumes: tuple[Fact[str], ...] = ()
    uids: Mapping[str, int] = field(default_factory=dict)
    downloads: frozenset[str] = frozenset()
    runs: tuple[str, ...] = ()
    entrypoint: Fact[tuple[str, ...]] | None = None
    command: Fact[tuple[str, ...]] | None = None
    target: str = ""

    @property
    def main_command(self) -> tuple[str, ...]:
        """Return what a container starts, as far as the Dockerfile says it."""
        return tuple(word for one in (self.entrypoint, self.command) if one for word in one.value)

    @property
    def is_of_files(self) -> bool:
        """Return whether the image starts nothing: its files are for others."""
        stage = self.dockerfile.stage(self.target)
        base = self.dockerfile.base_of(stage) if stage else ""
        return base == "scratch" and not (self.entrypoint or self.command)

    @property
    def uid(self) -> int | None:
        """Return the number of its user; None: there is no USER, or its number is not known."""
        name = self.user.value.partition(":")[0] if self.user else ""
        if name.isascii() and name.isdecimal():
            return int(name) if int(name) <= _LAST_UID else None
        return self.uids.get(name, _USERS.get(name))

    @property
    def wanting(self) -> tuple[str, ...]:
        """Return the build args without a default that BuildKit does not fill itself."""
        args = self.dockerfile.args.items()
        names = {name for name, value in args if value is None and re.fullmatch(VARIABLE, name)}
        return tuple(sorted(names - PREDEFINED))


def read_facts(text: str, target: str = "") -> DockerfileFacts:
    """Read what a Dockerfile says; what can't be understood is left out, never an error.

    Args:
        text: of the file.
        target: stage that is built; empty: the last one.
    """
    dockerfile = parse_dockerfile(text)
    stage = dockerfile.stage(target)
    every = read_instructions(text)
    if stage is None:
        return DockerfileFacts(dockerfile=dockerfile)
    numbers = [dockerfile.stages.index(one) for one in reversed(dockerfile.lineage(stage))]
    own = [one for number in numbers for one in every if one.stage == number]
    reader = _Reader(dockerfile)
    for instruction in own:
        reader.read(instruction)
    runs = tuple(one.rest for one in every if one.name == "RUN")
    return DockerfileFacts(
        dockerfile=dockerfile,
        ports=tuple(reader.ports.values()),
        health=reader.health,
        user=reader.user,
        volumes=tuple(reader.volumes.values()),
        uids=dict(pair for run in runs for pair in _users(run)),
        downloads=frozenset(_downloads(every, dockerfile.args)),
        runs=runs,
        entrypoint=reader.entrypoint,
        command=reader.command,
        target=target,
    )


class _Reader:
    """Takes the instructions of a stage in their order."""

    def __init__(self, dockerfile: Dockerfile) -> None:
        self._dockerfile = dockerfile
        self._args: dict[str, str] = {}
        self._env: dict[str, str] = {}
        self.ports: dict[int, Fact[int]] = {}
        self.volumes: dict[str, Fact[str]] = {}
        self.health: Fact[HealthCheck] | None = None
        self.user: Fact[str] | None = None
        self.entrypoint: Fact[tuple[str, ...]] | None = None
        self.command: Fact[tuple[str, ...]] | None = None
        self._command_stage = -1

    @property
    def _scope(self) -> Mapping[str, str]:
        return self._args | self._env

    def read(self, one: Instruction) -> None:
        match one.name:
            case "ARG":
                self._args |= self._declared(WORD.findall(one.rest))
            case "ENV":
                self._env |= dict(self._variables(one.rest))
            case "EXPOSE":
                for port in self._exposed(one.rest):
                    self.ports.setdefault(port, Fact(port, one.line))
            case "VOLUME":
                for path in self._paths(one.rest):
                    self.volumes.setdefault(path, Fact(path, one.line))
            case "USER":
                # An empty one leaves it as it was.
                name = expand(one.rest, self._scope).strip()
                self.user = Fact(name, one.line) if name else self.user
            case "HEALTHCHECK":
                self.health = self._check(one)
            case _:
                self._start(one)

    def _start(self, one: Instruction) -> None:
        words = Fact(_words(one.rest), one.line)
        if one.name == "CMD":
            self.command, self._command_stage = words, one.stage
        elif one.name == "ENTRYPOINT":
            self.entrypoint = words
            # It resets the command of the stages below.
            own = self._command_stage == one.stage
            self.command = self.command if own else None

    def _declared(self, words: Iterable[str]) -> dict[str, str]:
        above = dict(self._dockerfile.global_args)
        found = {}
        for word in words:
            name, equals, default = word.partition("=")
            text = default if equals else self._dockerfile.expand(above.get(name) or "", {})
            found[name] = expand(text, self._scope) if equals else text
        return found

    def _variables(self, rest: str) -> Iterator[tuple[str, str]]:
        words = WORD.findall(rest)
        if words and "=" in words[0]:
            pairs = [word.partition("=") for word in words]
            yield from ((name, expand(text, self._scope)) for name, _, text in pairs)
        else:
            # A blank stands between a name and its value; a quote in the name does not.
            name, *texts = re.split(f"[{BLANKS}]+", rest, maxsplit=1)
            yield from ((name, expand(text, self._scope)) for text in texts)

    def _exposed(self, rest: str) -> Iterator[int]:
        for word in expand(rest, self._scope).split():
            number, _, kind = word.partition("/")
            usable = number.isascii() and number.isdecimal() and kind.lower() in {"", "tcp"}
            if usable and 0 < int(number[:6]) <= _LAST_PORT:
                yield int(number)

    def _paths(self, rest: str) -> Iterator[str]:
        words = json_words(rest)
        for word in WORD.findall(rest) if words is None else words:
            path = expand(word, self._scope)
            # The engine takes no other.
            if path.startswith("/") and path != "/":
                yield path

    def _check(self, one: Instruction) -> Fact[HealthCheck] | None:
        kind, *command = re.split(f"[{BLANKS}]+", one.rest.strip(), maxsplit=1)
        if kind.upper() != "CMD" or not command:
            return None
        words = json_words(command[0])
        line = expand(command[0] if words is None else " ".join(words), self._scope)
        found = _ADDRESS.search(line)
        own = _words(command[0]) or ("/bin/sh", "-c", command[0])
        if not found:
            return Fact(HealthCheck(own), one.line)
        scheme = found[1].lower()
        port = int(found[2] or _USUAL_PORTS[scheme])
        path = (found[3] or "/").rstrip(".") or "/"
        return Fact(HealthCheck(own, scheme, port, path), one.line)


def _words(rest: str) -> tuple[str, ...]:
    """Return the words of a command; a line is for a shell."""
    words = json_words(rest)
    line = rest.strip()
    return tuple(words or ()) or (("/bin/sh", "-c", line) if line and words is None else ())


def _users(run: str) -> Iterator[tuple[str, int]]:
    """Yield the users that a RUN makes with a number of its own choice."""
    words = [word.strip("\"'") for word in run.replace(";", " ; ").split()]
    starts = [number for number, word in enumerate(words) if word.rpartition("/")[2] in _ADDING]
    for start in starts:
        rest = words[start + 1 :]
        end = next((number for number, word in enumerate(rest) if word in _BETWEEN), len(rest))
        command = rest[:end]
        number = _uid_option(command)
        # The name is the last word of both programs, but for the group of Debian's and BusyBox's.
        names = [word for word in command if not word.startswith("-") and not word.isdecimal()]
        if number is not None:
            yield from ((name, number) for name in names)


def _uid_option(command: Sequence[str]) -> int | None:
    for number, word in enumerate(command):
        following = command[number + 1] if number + 1 < len(command) else ""
        text = following if word in {"-u", "--uid"} else ""
        text = word.removeprefix("--uid=") if word.startswith("--uid=") else text
        if re.fullmatch("-u[0-9]+", word):
            text = word[2:]
        if text.isascii() and text.isdecimal() and int(text[:11]) <= _LAST_UID:
            return int(text)
    return None


def _downloads(every: Iterable[Instruction], args: Iterable[str]) -> Iterator[str]:
    """Yield the build args that are in an instruction with an address."""
    texts = [one.rest for one in every if one.name in {"ADD", "RUN"} and "://" in one.rest]
    for name in args:
        if any(re.search(rf"\$(?:{re.escape(name)}\b|\{{{re.escape(name)}\b)", t) for t in texts):
            yield name
