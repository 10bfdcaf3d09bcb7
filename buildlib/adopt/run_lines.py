"""From a command line that runs the image to the table `run`, and to options of docker-run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from posixpath import normpath
from typing import Any, Final, NamedTuple

from buildlib.adopt import facts
from buildlib.adopt.docker_options import CommandLine, Option
from buildlib.adopt.evidence import DockerLine
from buildlib.adopt.hidden import CONFIDENTIAL, hide_words, holds_secret
from buildlib.adopt.translation import How, Part, Row, Settings, own_parts
from buildlib.config.containers import (
    parse_hosts,
    parse_network,
    parse_ports,
    parse_tmpfs,
    resolve_mount,
)
from buildlib.config.key_types import VARIABLE, MismatchError
from buildlib.errors import BuildlibError
from buildlib.findings.secrets import looks_secret

_SOCKET: Final = "/var/run/docker.sock"
_PORT: Final = re.compile(r"(?:(?:(.*):)?([0-9]*|\$.*):)?([0-9]{1,5})(?:/(tcp|udp))?", re.DOTALL)
_LOOPBACK: Final = {"127.0.0.1", "localhost"}
_OUTER: Final = "set it in the environment of the task"
_OF_SERVICE: Final = ("env", "ready-command", "has image, env and commands alone")
_NO_VALUE: Final = "it has no value in the file"
_UNCONFINED: Final = "docker-run confines the container; --unconfined does not"
_LEFT: Final = {
    "cap-add": "docker-run drops all capabilities; --unconfined keeps docker's own",
    "entrypoint": "docker-run starts the image's own; set ENTRYPOINT in the Dockerfile",
    "user": "the image's USER counts; set it in the Dockerfile",
    "workdir": "the image's WORKDIR counts; set it in the Dockerfile",
    "restart": "a container of docker-run ends with it, or with docker-stop",
    "network-alias": "containers of a service of [run.services] have their name",
    "link": "use [run.services]",
    "hostname": "docker gives it one",
    "stop-timeout": "smoke.stop-timeout says how long stopping may take",
    "label": "containers have labels of buildlib alone",
}
_DEFAULTS: Final = {
    "rm": "a container of docker-run is removed when it ends",
    "read-only": "the default",
    "init": "the default",
    "interactive": "docker-shell opens a shell in the container",
    "tty": "docker-shell opens a shell in the container",
    "quiet": "nothing is pulled",
    "sig-proxy": "the default",
    "replace": "docker-run replaces the container of the same name",
}
_LIMITS: Final = {"memory": "memory", "cpus": "cpus"}
_PULLS: Final = {"always", "missing", "never"}


class _Done(NamedTuple):
    how: How
    what: str


class RunImage(NamedTuple):
    """What is known of the image that a line runs.

    Args:
        name: without its path.
        run: its table `run` so far.
        data_path: its volume; empty: none is known.
        before: the task that builds it, where docker-run would build another; empty: none.
        configures: the line says how the image is run; a test does not.
    """

    name: str
    run: Settings
    data_path: str = ""
    before: str = ""
    configures: bool = True


class RunLine:
    """A line that runs an image, taken apart."""

    def __init__(self, line: DockerLine, command: CommandLine, image: RunImage, root: Path) -> None:
        """Take it apart."""
        self.line, self.command, self._image, self._root = line, command, image, root
        self.settings: Settings = {}
        self._words: list[str] = ["--no-build"] if image.before else []
        self._parts: list[Part] = []

    def row(self) -> Row:
        """Return what the line becomes, and fill the settings."""
        unknown = "docker run has no such option"
        self._parts += own_parts(self.line)
        self._parts += [Part(text, How.LEFT, unknown) for text in self.command.unknown]
        self._parts += [Part(one.text, How.LEFT, _OUTER) for one in self.command.outer]
        for option in self.command.options:
            done = self._option(option)
            self._parts.append(Part(option.text, *done))
        image, *words = self.command.words
        if self._image.before:
            what = "--no-build runs what was built last, as above"
            self._parts.append(Part(image, How.OPTION, what))
        else:
            self._parts.append(Part(image, How.DEFAULT, "the image that was built last"))
        command = " ".join(("invoke docker-run", *self._words))
        if words:
            shown = [facts.for_shell(word) for word in words]
            if all(shown):
                command = f"{command} -- {' '.join(shown)}"
                self._parts.append(Part(shlex.join(words), How.OPTION, "after --"))
            else:
                self._parts.append(Part(shlex.join(words), How.LEFT, "only make knows the value"))
        parts = tuple(self._parts)
        return Row(line=self.line, command=command, before=self._image.before, parts=parts)

    def _option(self, option: Option) -> _Done:
        value = option.value or ""
        if option.name in _DEFAULTS:
            return _Done(How.DEFAULT, _DEFAULTS[option.name])
        if work := self._WORK.get(option.name):
            return work(self, value)
        if option.name in _LIMITS and facts.is_known(value):
            return self._key(_LIMITS[option.name], value)
        return _Done(How.LEFT, _LEFT.get(option.name, "docker-run has no such option"))

    def _key(self, key: str, value: object) -> _Done:
        """Set a key of the table; a list or a table gets one entry more."""
        if not self._image.configures:
            return self._once(key, value)
        if isinstance(value, dict):
            self.settings.setdefault(key, {}).update(value)
        elif isinstance(value, list):
            self.settings.setdefault(key, []).extend(value)
        else:
            self.settings[key] = value
        return _Done(How.KEY, f"[run] {key}")

    def _once(self, key: str, value: object) -> _Done:
        """Give docker-run alone what other containers of the image do not have."""
        before = self._image.run.get(key)
        if isinstance(value, dict):
            known = value.items() <= (before or {}).items()
            words = [word for pair in value.items() for word in ("--env", "=".join(pair))]
        elif isinstance(value, list):
            known = {*value} <= {*(before or ())}
            words = [word for one in value for word in ("--volume", one)]
        else:
            known, words = value == before, []
        if known:
            return _Done(How.KEY, f"[run] {key}")
        if key in {"env", "mounts"}:
            return self._given(*words)
        return _Done(How.LEFT, f"[run] {key} is for every container; this is a command of its own")

    def _given(self, *words: str) -> _Done:
        shown = [facts.for_shell(word) for word in words]
        if not all(shown):
            return _Done(How.LEFT, "only make knows the value")
        self._words += shown
        return _Done(How.OPTION, " ".join(shown))

    def _parsed(self, key: str, value: str, parse: Callable[[Any], object]) -> _Done:
        """Set a list's entry, or say why the configuration would not take it."""
        try:
            parse([value])
        except (MismatchError, BuildlibError) as error:
            return _Done(How.LEFT, str(error))
        return self._key(key, [value])

    def _publish(self, value: str) -> _Done:
        found = _PORT.fullmatch(value)
        if not found or (found[4] and found[4] != "tcp"):
            return self._parsed("ports", value, parse_ports)
        host, here, inside = found[1] or "", found[2] or "", int(found[3])
        if "port" in self.settings:
            return self._parsed("ports", f"{here or inside}:{inside}", parse_ports)
        done = self._key("port", inside)
        if done.how is How.LEFT:
            return done
        what = f"[run] port = {inside}"
        if here and here != str(inside):
            self._given("--port", here)
            what = f"{what}, and --port {here}"
        reach = "" if host in _LOOPBACK else "; on 127.0.0.1 unless --host 0.0.0.0 is given"
        return _Done(How.KEY, f"{what}{reach}")

    def _env(self, value: str) -> _Done:
        name, equals, text = value.partition("=")
        if not re.fullmatch(VARIABLE, name):
            return _Done(How.LEFT, "it is not a variable")
        if not equals or not facts.is_known(text):
            variable = f"${name}", f"${{{name}}}", f"$({name})"
            return self._given("--env", name if text in {"", *variable} else value)
        if looks_secret(name, text):
            done = self._given("--env", name)
            return _Done(How.OPTION, f"{done.what}, as it looks like a secret: export it before")
        return self._key("env", {name: text})

    def _env_file(self, value: str) -> _Done:
        if not facts.is_known(value):
            return _Done(How.LEFT, _NO_VALUE)
        return self._key("env-file", [self._placed(value)])

    def _placed(self, path: str) -> str:
        """Return a path of the line as it is from the repository's root."""
        folder = self.line.folder
        return path if folder == "." or path.startswith(("/", "~")) else f"{folder}/{path}"

    def _volume(self, value: str) -> _Done:
        source, _, rest = value.partition(":")
        target = rest.partition(":")[0]
        if source == _SOCKET and target:
            return self._key("socket-path", target)
        for here in ("$(pwd)", "${PWD}", "$PWD", "$(shell pwd)"):
            if value.startswith(here):
                value = f".{value[len(here) :]}"
        if not facts.is_known(value):
            return self._given("--volume", value)
        if rest and not source.startswith(("/", ".", "~", "$")) and "/" in source:
            value = f"./{value}"
        if value.startswith("."):
            placed = self._placed(value)
            value = placed if placed == value else f"./{placed}"
        try:
            resolve_mount(value, self._root)
        except BuildlibError as error:
            return _Done(How.LEFT, error.why or error.what)
        folder = self._data_folder(value)
        return self._data(folder) if folder else self._key("mounts", [value])

    def _data_folder(self, mount: str) -> str:
        """Return the directory of the repository that a mount keeps the image's data in."""
        source, target = (*mount.split(":"), "")[:2]
        folder = normpath(source)
        inside = source.startswith("./") and folder != "." and not folder.startswith("..")
        is_data = target.rstrip("/") == self._image.data_path.rstrip("/") != ""
        return folder if inside and is_data else ""

    def _data(self, folder: str) -> _Done:
        """Let `--persistent` mount a directory for the data."""
        known = self._image.run.get("data-dir", self.settings.get("data-dir"))
        if known is None and self._image.configures:
            known = folder
            self._key("data-dir", folder)
        if known != folder:
            return self._given("--data-dir", folder)
        self._words.append("--persistent")
        return _Done(How.KEY, f'[run] data-dir = "{folder}", which --persistent mounts')

    def _network(self, value: str) -> _Done:
        try:
            parse_network(value)
        except MismatchError:
            return _Done(How.LEFT, _NO_VALUE)
        return self._key("network", value)

    def _security(self, value: str) -> _Done:
        if value.startswith("no-new-privileges"):
            return _Done(How.DEFAULT, "the default")
        return _Done(How.LEFT, _UNCONFINED)

    def _pids(self, value: str) -> _Done:
        known = value.isdecimal()
        return self._key("pids", int(value)) if known else _Done(How.LEFT, _UNCONFINED)

    def _tmpfs(self, value: str) -> _Done:
        if not facts.is_known(value):
            return _Done(How.LEFT, _NO_VALUE)
        return self._parsed("tmpfs", value, parse_tmpfs)

    def _pull(self, value: str) -> _Done:
        value = "missing" if value == "if_not_present" else value
        if value in _PULLS:
            return self._given("--pull-policy", value)
        return _Done(How.DEFAULT, "docker-run builds the image before")

    def _named(self, value: str) -> _Done:
        if value == self._image.name:
            return _Done(How.DEFAULT, "a container is named after its image")
        return self._given("--name", value)

    def _health(self, value: str) -> _Done:
        if holds_secret(value):
            return _Done(How.LEFT, CONFIDENTIAL)
        try:
            words = shlex.split(value)
        except ValueError:
            words = []
        plain = words and not re.search(r"[|&;<>$`]", value)
        return self._key("health-command", words if plain else ["sh", "-c", value])

    # What carries an option over.
    _WORK: Final[Mapping[str, Callable[[RunLine, str], _Done]]] = {
        "publish": _publish,
        "env": _env,
        "env-file": _env_file,
        "volume": _volume,
        "mount": _volume,
        "network": _network,
        "add-host": lambda self, value: self._parsed("add-host", value, parse_hosts),
        "cap-drop": lambda _, value: _Done(How.DEFAULT, f"docker-run drops all, {value} too"),
        "security-opt": _security,
        "pids-limit": _pids,
        "tmpfs": _tmpfs,
        "detach": lambda self, _: self._given("--detach"),
        "privileged": lambda self, _: self._given("--unconfined"),
        "no-healthcheck": lambda self, _: self._key("health", "running"),
        "platform": lambda self, value: self._given("--platform", value),
        "pull": _pull,
        "name": _named,
        "health-cmd": _health,
    }


def service_row(line: DockerLine, command: CommandLine, name: str) -> tuple[Row, Settings]:
    """Return the row of a container beside the image's own, and its table in `run.services`.

    The table is empty where its image is not known.
    """
    image, *words = command.words
    where = f"[run.services.{name}]"
    if not facts.is_known(image):
        parts = [*own_parts(line), Part(image, How.LEFT, _NO_VALUE)]
        return Row(line=line, parts=tuple(parts)), {}
    table: Settings = {"image": image}
    parts = [*own_parts(line), Part(image, How.KEY, f"{where} image")]
    mounted = [target for source in command.values("volume") for target in source.split(":")[1:2]]
    for one in command.options:
        if one.name == "name" and one.value == name:
            parts.append(Part(one.text, How.KEY, where))
        else:
            how, what = _service_option(one.name, one.value or "", table, mounted)
            parts.append(Part(one.text, how, f"{where} {what}" if what in _OF_SERVICE else what))
    if words and hide_words(words) != words:
        parts.append(Part(shlex.join(words), How.LEFT, CONFIDENTIAL))
    elif not all(map(facts.is_known, words)):
        parts.append(Part(shlex.join(words), How.LEFT, _NO_VALUE))
    elif words:
        table["command"] = words
        parts.append(Part(shlex.join(words), How.KEY, f"{where} command"))
    return Row(line=line, command="invoke docker-run", parts=tuple(parts)), table


def _service_option(
    name: str, value: str, table: Settings, mounted: Sequence[str]
) -> tuple[How, str]:
    """Put an option into the table of a service; return what became of it."""
    variable, equals, text = value.partition("=")
    if name == "env" and not (equals and facts.is_known(text)):
        return How.LEFT, _NO_VALUE
    if name == "env" and re.fullmatch(VARIABLE, variable) and not looks_secret(variable, text):
        table.setdefault("env", {})[variable] = text
        return How.KEY, "env"
    if name == "health-cmd" and any(target in value for target in mounted):
        return How.LEFT, "it is in a volume, which is not carried over"
    if name == "health-cmd" and not holds_secret(value):
        table["ready-command"] = ["sh", "-c", value]
        return How.KEY, "ready-command"
    return How.LEFT, "has image, env and commands alone"
