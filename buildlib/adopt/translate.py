"""From a repository's command lines to its configuration, and to the tasks that do the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from buildlib.adopt import facts
from buildlib.adopt.build_lines import BuildLine, ImageBuilds, image_name, is_name, read_build
from buildlib.adopt.docker_options import CommandLine, parse_command
from buildlib.adopt.evidence import DockerLine
from buildlib.adopt.hidden import CONFIDENTIAL, holds_secret
from buildlib.adopt.run_lines import RunImage, RunLine, service_row
from buildlib.adopt.translation import How, Part, Row, Settings, Translation, own_parts
from buildlib.image.reference import canonical, parse_reference

# What smoke calls the checks of all ports but the first.
OTHER_PORTS: Final = "listens on port *"
# The rank of a line that runs another build with a command of its own.
_TEST: Final = 3
_ENV: Final = "set it in the environment of the task"
# The task that does the same, and why its parts need not be carried over.
_SIMPLE: Final[Mapping[str, tuple[str, str]]] = {
    "stop": ("docker-stop", "it stops what this project started"),
    "kill": ("docker-stop", "it stops what this project started"),
    "rm": ("docker-stop", "it removes what this project started"),
    "logs": ("docker-logs --follow", "the container of this project"),
    "exec": ("docker-shell", "it opens a shell in the container of this project"),
    "ps": ("docker-status", "it shows the containers of this project"),
    "rmi": ("docker-clean --images", "it removes the images of this project"),
    "images": ("docker-status", "docker images shows the rest"),
    "image ls": ("docker-status", "docker images shows the rest"),
    "history": ("docker-size", "it shows the layers with their sizes"),
    "image history": ("docker-size", "it shows the layers with their sizes"),
    "scan": ("docker-scan", "its gate is configured in [scan]"),
    "scout": ("docker-scan", "its gate is configured in [scan]"),
    "sbom": ("docker-sbom", "one for each platform"),
    "compose build": ("docker-build", "what the compose file says of the service is above"),
    "compose push": ("docker-publish", "a release is built, checked, pushed and signed at once"),
    "compose up": ("docker-run", "what the compose file says of the service is above"),
    "compose run": ("docker-run", "what the compose file says of the service is above"),
    "compose down": ("docker-stop", "it removes what this project started"),
    "buildx bake": ("docker-build", "what the bake file says of each target is in its own row"),
    "manifest create": ("docker-publish", "it builds one index with all platforms"),
    "manifest annotate": ("docker-publish", "it builds one index with all platforms"),
    "manifest push": ("docker-publish", "it builds one index with all platforms"),
    "buildx imagetools create": ("docker-publish", "it gives the tags once the image is checked"),
    "login": (
        "docker-login",
        "username-env and password-env of [registries] name variables with them",
    ),
    "pull": ("docker-build --pull", "the base images are pulled where they are newer"),
    "save": ("docker-build --output oci", "an OCI archive in dist"),
}
_NOTHING: Final = {
    "system prune": "it removes what other projects have in the engine",
    "image prune": "it removes what other projects have in the engine",
    "container prune": "it removes what other projects have in the engine",
    "builder prune": "it removes what other projects have in the builder",
    "buildx prune": "it removes what other projects have in the builder",
    "volume rm": "docker-clean --data removes the data of this project",
    "network create": "docker-run makes a network where [run.services] needs one",
}
_HOSTS: Final = {"docker.io": "dockerhub", "ghcr.io": "ghcr", "quay.io": "quay"}
# What many a registry is called in its domain.
_ANY_HOST: Final = frozenset({"containers", "cr", "docker", "hub", "images", "registry"})
_NODE: Final = {
    "driver-opt": "options",
    "platform": "platforms",
    "config": "config",
    "buildkitd-config": "config",
    "buildkitd-flags": "flags",
}
_DRIVERS: Final = {"docker-container", "kubernetes", "remote"}


def translate(lines: Sequence[DockerLine], root: Path) -> Translation:
    """Return what a repository's command lines become.

    Args:
        lines: as `docker_lines` found them.
        root: the repository, whose Dockerfiles are read.
    """
    return _Translator(lines, root).translation()


class _Translator:
    def __init__(self, lines: Sequence[DockerLine], root: Path) -> None:
        self._lines, self._root = lines, root
        self._commands = {id(line): parse_command(line.argv or ("docker",)) for line in lines}
        self._settings: Settings = {}
        self._others: dict[str, Settings] = {}
        self._rows: dict[int, Row] = {}
        # Which image a name is of, by its last element.
        self._images: dict[str, str] = {}
        self._built: dict[str, ImageBuilds] = {}
        # By the file and the service of a compose file.
        self._services: dict[tuple[str, str], str] = {}

    def translation(self) -> Translation:
        pushed = tuple(self._pushed())
        self._builds(pushed)
        self._registries(pushed)
        self._logins()
        self._create()
        # What runs the service is what is configured; what a test has besides comes after that.
        for line in sorted(self._lines, key=self._run_rank):
            if id(line) not in self._rows:
                self._rows[id(line)] = self._row(line)
        rows = tuple(self._rows[id(line)] for line in self._lines)
        return Translation(settings=self._settings, rows=rows, others=self._others)

    def _found(self, *names: str) -> Iterator[tuple[DockerLine, CommandLine]]:
        for line in self._lines:
            if self._commands[id(line)].name in names:
                yield line, self._commands[id(line)]

    def _pushed(self) -> Iterator[str]:
        """Yield the names under which images are published."""
        for _, command in self._found("push", "manifest push"):
            yield from (facts.split_image(facts.with_facts(one))[0] for one in command.words[:1])
        for _, command in self._found("tag"):
            names = (facts.split_image(facts.with_facts(one))[0] for one in command.words[1:2])
            yield from (name for name in names if is_name(name) and parse_reference(name).registry)
        for line, command in self._found("build"):
            build = read_build(line, command)
            if build.pushes:
                yield from (name for name, _ in build.names)

    def _builds(self, pushed: Sequence[str]) -> None:
        places: dict[tuple[str, str], list[BuildLine]] = {}
        for line, command in self._found("build"):
            build = read_build(line, command)
            if not build.is_here:
                why = "its context is not a directory of this repository"
                self._rows[id(line)] = _all(line, command, "", why)
                continue
            if builder := self._used(line, command):
                build.words += ["--builder", facts.for_shell(builder)]
            places.setdefault(build.place, []).append(build)
        images = [ImageBuilds(self._root, builds) for builds in places.values()]
        images.sort(key=self._rank)
        for number, image in enumerate(images):
            name = image_name(image.builds, pushed)
            image.translate(name)
            short = facts.last_part(name)
            other = self._free(short, image) if number else ""
            for build in image.builds:
                if build.line.where.startswith("service "):
                    self._services[build.line.file, build.line.where] = other
            self._rows |= dict(image.rows(other))
            self._built[other] = image
            if other:
                self._others[other] = image.settings
            else:
                self._settings = image.settings
            for one in (name for build in image.builds for name, _ in build.names):
                self._images.setdefault(facts.last_part(one), other)

    def _of(self, image: str) -> Settings:
        """Return the settings of an image."""
        return self._others[image] if image else self._settings

    def _used(self, line: DockerLine, command: CommandLine) -> str:
        """Return the builder that the lines before one choose for it, where it names none."""
        chosen = ""
        for other in self._lines:
            before = self._commands[id(other)]
            if other is line:
                break
            if (other.file, other.where) != (line.file, line.where):
                continue
            if before.name == "buildx use":
                chosen = "".join(before.words[:1])
            elif before.name == "buildx create" and before.has("use"):
                chosen = "".join(before.values("name")[:1])
        return "" if command.values("builder") else chosen

    def _rank(self, image: ImageBuilds) -> tuple[bool, bool, bool, int]:
        """Return by what the image of the repository is found among several."""
        context, dockerfile = image.builds[0].place
        there = (self._root / dockerfile).is_file()
        always = any(not one.line.condition for one in image.builds)
        return (
            not there,
            (context, dockerfile) != (".", "Dockerfile"),
            not always,
            -len(image.builds),
        )

    def _free(self, short: str, image: ImageBuilds) -> str:
        folder = image.builds[0].context.rpartition("/")[2]
        name = short or re.sub(r"[^a-z0-9-]", "-", folder.lower()).strip("-") or "image"
        numbers = (f"{name}-{number}" for number in range(2, len(self._others) + 3))
        return next(one for one in (name, *numbers) if one not in self._others)

    def _registries(self, pushed: Iterable[str]) -> None:
        for name in dict.fromkeys(pushed):
            short = facts.last_part(name)
            if not is_name(name) or "/" not in name or (self._images and short not in self._images):
                continue
            table = self._of(self._images.get(short, "")).setdefault("registries", {})
            reference = parse_reference(canonical(name))
            host = reference.registry
            key = _host_name(host)
            if all(one["repository"] != reference.name for one in table.values()):
                key = key if key not in table else f"{key}-{len(table) + 1}"
                table[key] = {"repository": reference.name}

    def _logins(self) -> None:
        """Name the variables with the credentials of each registry that a line signs in to."""
        for line, command in self._found("login"):
            word = "".join(command.words[:1])
            host = word.removeprefix("https://").partition("/")[0] or "docker.io"
            parts = []
            for image in ("", *self._others):
                for key, table in self._of(image).get("registries", {}).items():
                    if parse_reference(table["repository"]).registry == host:
                        name = re.sub("[^A-Z0-9]", "_", key.upper())
                        table["username-env"] = f"{name}_USERNAME"
                        table["password-env"] = f"{name}_PASSWORD"
                        what = f"set {name}_USERNAME and {name}_PASSWORD: [registries.{key}]"
                        parts.append(Part(word or host, How.KEY, what))
            row = self._row(line)
            if parts:
                given = (part for part in row.parts if part.text != word)
                self._rows[id(line)] = replace(row, parts=(*dict.fromkeys(parts), *given))

    def _create(self) -> None:
        """Configure the builder that is created, where one is."""
        for line, command in self._found("buildx create"):
            name = (command.values("name") or ("",))[0]
            driver = (command.values("driver") or ("docker-container",))[0]
            usable = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) and driver in _DRIVERS
            if not usable or driver != "docker-container":
                self._rows[id(line)] = _all(line, command, "", "see [builders.NAME]")
                continue
            parts = own_parts(line)
            node: Settings = {}
            for one in command.options:
                parts.append(_node(node, one.name, one.value or "", one.text))
            parts += [Part(word, How.LEFT, "endpoints are nodes") for word in command.words]
            builder: Settings = {"driver": driver} | ({"nodes": [node]} if node else {})
            self._settings.setdefault("builders", {})[name] = builder
            self._rows[id(line)] = Row(
                line=line, command=f"invoke docker-builder create {name}", parts=tuple(parts)
            )

    def _row(self, line: DockerLine) -> Row:
        command = self._commands[id(line)]
        if not line.argv:
            return Row(line=line, parts=tuple(own_parts(line)))
        if work := self._own_work(command):
            return work(line, command)
        own = _SIMPLE.get(command.name)
        # Other commands of compose do what docker's own do.
        task, why = own or _SIMPLE.get(command.name.removeprefix("compose "), ("", ""))
        why = why or _NOTHING.get(command.name, "no task does it; use docker itself")
        return _all(line, command, task and f"invoke {task}", why)

    def _own_work(self, command: CommandLine) -> Callable[[DockerLine, CommandLine], Row] | None:
        if command.name == "run" and command.words:
            return self._run
        if command.name in {"push", "tag"}:
            return self._published
        return self._use if command.name == "buildx use" else None

    def _image_run(self, line: DockerLine) -> str | None:
        """Return which image of the repository a line runs."""
        command = self._commands[id(line)]
        if command.name != "run" or not command.words:
            return None
        short = facts.last_part(facts.split_image(command.words[0])[0])
        return self._services.get((line.file, line.where), self._images.get(short))

    def _run_rank(self, line: DockerLine) -> int:
        """Return how far a line is from running the service: the image as it is, by itself."""
        image = self._image_run(line)
        if image is None:
            return 0
        reference, *words = self._commands[id(line)].words
        return 2 * bool(words) + bool(self._built[image].beside(line, reference))

    def _configures(self, line: DockerLine, image: str) -> bool:
        """Return whether no line is closer to running the service, and this one is no test."""
        ranks = (self._run_rank(one) for one in self._lines if self._image_run(one) == image)
        return self._run_rank(line) == min(ranks) < _TEST

    def _run(self, line: DockerLine, command: CommandLine) -> Row:
        image = self._image_run(line)
        if image is None:
            return self._beside(line, command)
        builds = self._built[image]
        build = builds.beside(line, command.words[0])
        before = [word for word in build.words if word != "--push"] if build else []
        known = RunImage(
            name=facts.last_part(facts.split_image(command.words[0])[0]),
            run=self._of(image).get("run", {}),
            data_path=builds.data_path,
            before=" ".join(("invoke docker-build", *before)) if build else "",
            configures=self._configures(line, image),
        )
        run = RunLine(line, command, known, self._root)
        row = run.row()
        table = self._of(image).setdefault("run", {}) if run.settings else {}
        for key, value in run.settings.items():
            _join(table, key, value)
        if "ports" in run.settings and command.words[1:]:
            # Another command than the image's own may be what listens there.
            _join(self._of(image).setdefault("smoke", {}), "skip", [OTHER_PORTS])
        return replace(row, image=image)

    def _beside(self, line: DockerLine, command: CommandLine) -> Row:
        """Return the row of a container of another image, which the repository's own may need."""
        name = line.where.removeprefix("service ")
        for other in self._lines:
            image = self._services.get((other.file, other.where))
            if image is not None and other.file == line.file and name in other.needs:
                row, table = service_row(line, command, name)
                if table:
                    run = self._of(image).setdefault("run", {})
                    run.setdefault("services", {})[name] = table
                return replace(row, image=image)
        return _all(line, command, "", "it runs an image that this repository does not build")

    def _published(self, line: DockerLine, command: CommandLine) -> Row:
        names = [facts.split_image(facts.with_facts(word))[0] for word in command.words]
        known = [
            self._images[short]
            for name in names
            if (short := facts.last_part(name)) in self._images
        ]
        if not known:
            return _all(line, command, "", "it is an image that this repository does not build")
        parts = []
        tables = self._of(known[0]).get("registries", {})
        for word, name in zip(command.words, names, strict=True):
            full = canonical(name) if is_name(name) else ""
            key = next((key for key, one in tables.items() if one["repository"] == full), "")
            if key:
                parts.append(Part(word, How.KEY, f'[registries.{key}] repository = "{full}"'))
            elif facts.is_known(name):
                parts.append(Part(word, How.DEFAULT, "the image that is built"))
            else:
                parts.append(Part(word, How.LEFT, "it has no value in the file: add [registries]"))
        row = _all(line, command, "invoke docker-publish", "a release is pushed with all its tags")
        others = tuple(part for part in row.parts if part.text not in command.words)
        return Row(line=line, command=row.command, image=known[0], parts=(*parts, *others))

    def _use(self, line: DockerLine, command: CommandLine) -> Row:
        name = "".join(command.words[:1])
        what = f"--builder {name} of docker-build, or builder in the configuration"
        row = _all(line, command, "invoke docker-build --builder NAME", what)
        return replace(row, command=row.command.replace("NAME", facts.for_shell(name)))


def _host_name(host: str) -> str:
    """Return what a registry is called in the configuration: the part of its host that tells."""
    labels = re.split(r"[.:]", host)
    if host in _HOSTS or labels[0].isdecimal():
        return _HOSTS.get(host, "main")
    # The last is the top-level domain, or the port.
    return next((one for one in labels[:-1] if one not in _ANY_HOST), labels[0])


def _node(node: Settings, name: str, value: str, text: str) -> Part:
    """Return what an option of `buildx create` becomes, and put it into the node."""
    if name == "bootstrap":
        return Part(text, How.DEFAULT, "docker-builder create starts it")
    if name in {"name", "driver", "use"}:
        how = How.OPTION if name == "use" else How.KEY
        return Part(text, how, "--builder of docker-build" if name == "use" else "[builders.NAME]")
    key = _NODE.get(name, "")
    if not key or not facts.is_known(value):
        return Part(text, How.LEFT, "see [builders.NAME]")
    if holds_secret(value):
        return Part(text, How.LEFT, CONFIDENTIAL)
    if key == "options":
        pairs = (one.partition("=") for one in value.split(","))
        node.setdefault(key, {}).update({option: found for option, _, found in pairs})
    elif key == "config":
        node[key] = value
    else:
        node.setdefault(key, []).extend(re.split(r"[ ,]+", value))
    return Part(text, How.KEY, f"{key} of the node")


def _join(table: Settings, key: str, value: object) -> None:
    """Set a key of a table that several lines fill; the first line counts."""
    before = table.get(key)
    if isinstance(before, dict) and isinstance(value, dict):
        table[key] = {**value, **before}
    elif isinstance(before, list) and isinstance(value, list) and key != "health-command":
        table[key] = [*before, *(one for one in value if one not in before)]
    else:
        table.setdefault(key, value)


def _all(line: DockerLine, command: CommandLine, task: str, why: str) -> Row:
    """Return a row whose parts all have the same reason."""
    how = How.DEFAULT if task else How.LEFT
    parts = own_parts(line)
    parts += [Part(one.text, How.LEFT, _ENV) for one in command.outer]
    given = (*(one.text for one in command.options), *command.words, *command.unknown)
    parts += [Part(text, how, why) for text in given or (command.name,)]
    return Row(line=line, command=task, parts=tuple(parts))
