"""The options of docker's commands, and how a command line is taken apart by them.

Names are those of the help of docker 28, of its former builder, and of buildx 0.13 and 0.38; of
podman-build(1) and podman-run(1) those that docker does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

_GLOBAL: Final = (
    "config context:c debug:D! host:H log-level:l tls! tlscacert tlscert tlskey tlsverify!"
)
# Each option, its short form behind a colon; an exclamation mark: it takes no value.
_BUILD: Final = """
add-host allow annotation attest build-arg build-context builder cache-from cache-to call
cgroup-parent check! debug:D! file:f iidfile label load! metadata-file network no-cache!
no-cache-filter output:o platform policy progress provenance pull! push! quiet:q! resource sbom
secret shm-size ssh tag:t target ulimit
compress! cpu-period cpu-quota cpu-shares:c cpuset-cpus cpuset-mems disable-content-trust!
force-rm! isolation memory:m memory-swap rm! security-opt squash! stream!
arch authfile cap-add cap-drop format ignorefile jobs layers! manifest no-hosts! os squash-all!
storage-driver tls-verify! userns variant volume:v
"""
_RUN: Final = """
add-host annotation attach:a blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent
cgroupns cidfile cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares:c cpus cpuset-cpus
cpuset-mems detach:d! detach-keys device device-cgroup-rule device-read-bps device-read-iops
device-write-bps device-write-iops disable-content-trust! dns dns-option dns-search domainname
entrypoint env:e env-file expose gpus group-add health-cmd health-interval health-retries
health-start-interval health-start-period health-timeout help! hostname:h init! interactive:i! ip
ip6 ipc isolation kernel-memory label:l label-file link link-local-ip log-driver log-opt
mac-address memory:m memory-reservation memory-swap memory-swappiness mount name network net
network-alias net-alias no-healthcheck! oom-kill-disable! oom-score-adj pid pids-limit platform
privileged! publish:p publish-all:P! pull quiet:q! read-only! restart rm! runtime security-opt
shm-size sig-proxy! stop-signal stop-timeout storage-opt sysctl tmpfs tty:t! ulimit
use-api-socket! user:u userns uts volume:v volume-driver volumes-from workdir:w
pod replace! systemd tls-verify!
"""
_COMPOSE: Final = "file:f profile project-name:p env-file project-directory ansi progress parallel"
_COMPOSE_SUB: Final = """
build! build-arg builder check! detach:d! force-recreate! follow:f! memory:m no-build! no-cache!
no-deps! parallel! progress provenance! pull push! quiet:q! quiet-pull! remove-orphans! rmi rm!
sbom! scale ssh timeout:t user:u volumes:v! wait! with-dependencies! abort-on-container-exit!
exit-code-from env:e entrypoint name publish:p service-ports! interactive:i! no-TTY:T! tail
"""
_TABLES: Final = {
    "build": _BUILD,
    "run": _RUN,
    "push": "all-tags:a! disable-content-trust! quiet:q! tls-verify! creds platform",
    "pull": "all-tags:a! disable-content-trust! platform quiet:q!",
    "tag": "",
    "login": "password:p password-stdin! username:u tls-verify!",
    "manifest create": "amend:a! insecure!",
    "manifest push": "insecure! purge:p! all!",
    "manifest annotate": "arch os os-features os-version variant",
    "buildx create": "append! bootstrap! buildkitd-config config buildkitd-flags driver driver-opt "
    "leave! name node platform timeout use!",
    "buildx use": "builder default! global!",
    "buildx bake": "allow builder call check! file:f load! metadata-file no-cache! print! progress "
    "provenance pull! push! sbom set var",
    "buildx imagetools create": "annotation append! builder dry-run! file:f progress tag:t",
    "compose": _COMPOSE,
    "compose *": _COMPOSE_SUB,
    "save": "output:o platform",
}
# Another name of the same command.
_ALIASES: Final = {
    ("image", "build"): ("build",),
    ("builder", "build"): ("build",),
    ("buildx", "build"): ("build",),
    ("buildx", "b"): ("build",),
    ("buildx", "f"): ("buildx", "bake"),
    ("image", "push"): ("push",),
    ("image", "pull"): ("pull",),
    ("image", "tag"): ("tag",),
    ("image", "save"): ("save",),
    ("container", "run"): ("run",),
    ("image", "rm"): ("rmi",),
    ("container", "rm"): ("rm",),
    ("container", "stop"): ("stop",),
    ("container", "logs"): ("logs",),
    ("container", "exec"): ("exec",),
    ("container", "ls"): ("ps",),
}
_GROUPS: Final = {
    *("buildx", "compose", "manifest", "image", "container", "builder", "system"),
    *("network", "volume", "context"),
}
# The same option by another name.
_SAME: Final = {"net": "network", "net-alias": "network-alias"}


class Option(NamedTuple):
    """An option that was given.

    Args:
        name: the long one.
        value: None: it takes none.
        text: as it was written.
    """

    name: str
    value: str | None
    text: str


class CommandLine(NamedTuple):
    """A command of docker, taken apart.

    Args:
        name: `build`, `run`, `compose up`, ….
        options: of docker itself, and of the command.
        words: what is no option.
        unknown: options that docker does not have.
    """

    name: str
    outer: tuple[Option, ...]
    options: tuple[Option, ...]
    words: tuple[str, ...]
    unknown: tuple[str, ...]

    def values(self, name: str) -> tuple[str, ...]:
        """Return the values of an option, in their order."""
        return tuple(one.value or "" for one in self.options if one.name == name)

    def has(self, name: str) -> bool:
        """Return whether a flag is set."""
        values = [one.value for one in self.options if one.name == name]
        return bool(values) and values[-1] != "false"


class _Table:
    def __init__(self, text: str) -> None:
        self.long: dict[str, bool] = {}
        self.short: dict[str, str] = {}
        for word in text.split():
            name, _, short = word.rstrip("!").partition(":")
            self.long[name] = word.endswith("!")
            if short:
                self.short[short] = name


_GLOBALS: Final = _Table(_GLOBAL)
_READ: Final = {name: _Table(text) for name, text in _TABLES.items()}


def parse_command(argv: Sequence[str]) -> CommandLine:
    """Take a command line apart whose first word is docker."""
    outer, rest, unknown = _parse(_GLOBALS, argv[1:], first_word_ends=True)
    name, rest = _command(rest)
    if name == "compose":
        more, rest, strange = _parse(_READ["compose"], rest, first_word_ends=True)
        outer, unknown = [*outer, *more], [*unknown, *strange]
        name, rest = (f"compose {rest[0]}", rest[1:]) if rest else (name, rest)
    key = "compose *" if name.startswith("compose ") else name
    table = _READ.get(key)
    if table is None:
        return CommandLine(name, tuple(outer), (), tuple(rest), tuple(unknown))
    ends = name in {"run", "compose run"}
    options, words, strange = _parse(table, rest, first_word_ends=ends)
    every = (*unknown, *strange)
    return CommandLine(name, tuple(outer), tuple(options), tuple(words), every)


def _command(words: Sequence[str]) -> tuple[str, list[str]]:
    for length in (2, 1):
        if alias := _ALIASES.get(tuple(words[:length])):  # type: ignore[arg-type]
            return " ".join(alias), list(words[length:])
    length = 3 if tuple(words[:2]) == ("buildx", "imagetools") else 2
    length = length if words and words[0] in _GROUPS - {"compose"} else 1
    return " ".join(words[:length]), list(words[length:])


def _parse(
    table: _Table, words: Sequence[str], *, first_word_ends: bool
) -> tuple[list[Option], list[str], list[str]]:
    """Return options, other words, and unknown options, as pflag reads them."""
    options, others, unknown = list[Option](), list[str](), list[str]()
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            others += words[at:]
            break
        if not word.startswith("-") or word == "-":
            others.append(word)
            if first_word_ends:
                others += words[at:]
                break
            continue
        following = words[at] if at < len(words) else None
        found, takes = (_long if word.startswith("--") else _short)(table, word, following)
        at += takes
        options += found
        if not found:
            unknown.append(word)
    return options, others, unknown


def _long(table: _Table, word: str, following: str | None) -> tuple[list[Option], int]:
    name, equals, value = word[2:].partition("=")
    if name not in table.long:
        return [], 0
    flag, real = table.long[name], _SAME.get(name, name)
    if equals or flag:
        return [Option(real, value if equals else None, word)], 0
    text = f"{word} {following}" if following is not None else word
    return [Option(real, following or "", text)], int(following is not None)


def _short(table: _Table, word: str, following: str | None) -> tuple[list[Option], int]:
    found = list[Option]()
    for at, letter in enumerate(word[1:], 1):
        name = table.short.get(letter)
        if name is None:
            return [], 0
        if table.long[name]:
            found.append(Option(name, None, f"-{letter}"))
            continue
        value = word[at + 1 :].removeprefix("=")
        if value:
            return [*found, Option(name, value, f"-{letter} {value}")], 0
        text = f"-{letter} {following}" if following is not None else f"-{letter}"
        return [*found, Option(name, following or "", text)], int(following is not None)
    return found, 0
