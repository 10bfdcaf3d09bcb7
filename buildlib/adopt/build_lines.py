"""From the lines that build one image to its configuration, and to options of docker-build."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import normpath
from typing import Final

from buildlib.adopt import facts
from buildlib.adopt.docker_options import CommandLine, Option
from buildlib.adopt.dockerfile_facts import DockerfileFacts, read_facts
from buildlib.adopt.evidence import DockerLine
from buildlib.adopt.hidden import CONFIDENTIAL, holds_secret
from buildlib.adopt.settings import called
from buildlib.adopt.text_files import read_text
from buildlib.adopt.translation import How, Part, Row, Settings, own_parts
from buildlib.config.key_types import VARIABLE
from buildlib.config.tables import INJECTED
from buildlib.dockerfile.parser import PREDEFINED, Dockerfile
from buildlib.errors import BuildlibError
from buildlib.image.platform import parse_platforms
from buildlib.image.reference import LATEST, canonical, parse_reference
from buildlib.shell import csv_pairs

_OF_PLATFORM: Final = re.compile(r"-(?:amd64|arm64(?:v8)?|armv?[67]|386|ppc64le|s390x|riscv64)$")
_ADDRESS: Final = re.compile(r"[a-z]+://|git@|-$")
# The keys of buildx's options that a build is given as they are: of one value, and of several.
_ONE: Final = {
    "builder": "builder",
    "progress": "progress",
    "network": "build.network",
    "shm-size": "build.shm-size",
    "cgroup-parent": "build.cgroup-parent",
}
_SEVERAL: Final = {
    "cache-from": "cache-from",
    "cache-to": "cache-to",
    "add-host": "build.add-hosts",
    "allow": "build.allow",
    "no-cache-filter": "build.no-cache-filter",
    "policy": "build.policy",
    "resource": "build.resources",
    "ssh": "build.ssh",
    "ulimit": "build.ulimits",
}
_PAIRS: Final = {
    "build-arg": "build-args",
    "label": "labels",
    "annotation": "build.annotations",
    "build-context": "build.contexts",
}
_FLAGS: Final = ("no-cache", "pull", "check")
# Options of docker-build without a key.
_NO_KEY: Final = (*_FLAGS, "iidfile", "metadata-file", "call")
# A build context of these kinds, with the name of an image, replaces a base image.
_IMAGES: Final = ("docker-image://", "oci-layout://")
_BUILT_IN: Final = "BuildKit does it by itself"
_NOT_BUILDX: Final = "docker buildx build has no such option"
_DEFAULTS: Final = {
    "load": "the default output",
    "rm": "BuildKit leaves no containers",
    "force-rm": "BuildKit leaves no containers",
    "disable-content-trust": "the default",
    "layers": _BUILT_IN,
    "compress": _BUILT_IN,
    "stream": _BUILT_IN,
}
_ATTESTS: Final = {"provenance", "sbom", "attest"}


@dataclass
class BuildLine:
    """A line that builds, taken apart."""

    line: DockerLine
    command: CommandLine
    context: str
    dockerfile: str
    names: tuple[tuple[str, str], ...]
    words: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    version: str = ""

    @property
    def place(self) -> tuple[str, str]:
        """Return what it builds from."""
        return self.context, self.dockerfile

    @property
    def is_here(self) -> bool:
        """Return whether its context is a directory of this repository, as far as is known."""
        elsewhere = _ADDRESS.match(self.context) or self.context.startswith(("/", ".."))
        return not elsewhere and facts.is_known(self.context)

    @property
    def pushes(self) -> bool:
        """Return whether it pushes."""
        return self.command.has("push") or any(map(_pushes, self.command.values("output")))

    def key(self, text: str, what: str) -> None:
        """Note a part that a key has."""
        self.parts.append(Part(text, How.KEY, what))

    def option(self, text: str, *words: str) -> None:
        """Note a part that the task is given."""
        shown = [facts.for_shell(word) for word in words]
        if not all(shown):
            self.left(text, "only make or GoReleaser knows the value")
            return
        self.words += shown
        self.parts.append(Part(text, How.OPTION, " ".join(shown)))

    def default(self, text: str, why: str) -> None:
        """Note a part that is so by itself."""
        self.parts.append(Part(text, How.DEFAULT, why))

    def left(self, text: str, why: str) -> None:
        """Note a part that is not carried over."""
        self.parts.append(Part(text, How.LEFT, why))


def _pushes(output: str) -> bool:
    try:
        fields = csv_pairs(output)
    except ValueError:
        return False
    kind = fields.get("type", "")
    return kind == "registry" or (kind == "image" and fields.get("push") == "true")


def read_build(line: DockerLine, command: CommandLine) -> BuildLine:
    """Return what a line builds."""
    words = [word for word in command.words if word[:1] not in {"", "-"} or word == "-"]
    # A variable without a value is more likely to hold further options than the context.
    known = [word for word in words if facts.is_known(word)]
    context = (known or words or ["."])[-1]
    file = (command.values("file") or ("",))[-1]
    place = context if _ADDRESS.match(context) else normpath(f"{line.folder}/{context}")
    dockerfile = f"{line.folder}/{file}" if file else f"{place}/Dockerfile"
    names = tuple(facts.split_image(facts.with_facts(tag)) for tag in command.values("tag"))
    build = BuildLine(line, command, place, normpath(dockerfile), names)
    for word in command.words:
        if word != context:
            build.left(word, "it has no value in the file")
    build.parts += own_parts(line)
    build.parts += [Part(one.text, How.LEFT, _OUTER) for one in command.outer]
    build.parts += [Part(text, How.LEFT, _NOT_BUILDX) for text in command.unknown]
    return build


_OUTER: Final = "set DOCKER_CONTEXT or DOCKER_HOST in the environment of the task"


@dataclass
class ImageBuilds:
    """The lines that build one image, from one context and one Dockerfile."""

    root: Path
    builds: list[BuildLine]
    settings: Settings = field(default_factory=dict)
    _dockerfile: Dockerfile | None = None
    # What the Dockerfile calls the version, revision and time that every build gets.
    _called: dict[str, str] = field(default_factory=dict)

    @property
    def main(self) -> BuildLine:
        """Return the line that the configuration goes by: one that is always run, and publishes."""
        always = [one for one in self.builds if not one.line.condition] or self.builds
        return next((one for one in always if one.pushes), always[0])

    @property
    def data_path(self) -> str:
        """Return the first volume of the stage that is built; empty: none is known."""
        found = self._read(self.settings.get("target", ""))
        return found.volumes[0].value if found and found.volumes else ""

    def beside(self, line: DockerLine, reference: str) -> BuildLine | None:
        """Return the line that builds what a line runs, where docker-run would build another.

        Args:
            line: that runs it.
            reference: of the image, as written.
        """
        name, tag = facts.split_image(facts.with_facts(reference))
        found = []
        for build in self.builds:
            service = build.line.where.startswith("service ") and build.line.file == line.file
            built = {(one, given or LATEST) for one, given in build.names}
            if (service and build.line.where == line.where) or (name, tag or LATEST) in built:
                found.append(build)
        return found[0] if found and all(map(self._differs, found)) else None

    def _differs(self, build: BuildLine) -> bool:
        """Return whether the options of a line make another image than the configuration."""
        args = "--build-arg" in build.words and build is not self.main
        return args or "--target" in build.words

    def translate(self, name: str) -> None:
        """Fill the settings, and the parts of each line.

        Args:
            name: of the image, with its registry; empty: none is known.
        """
        self._read_dockerfile()
        if name and "/" in name and not parse_reference(name).registry:
            # docker-build pushes what names its registry.
            name = canonical(name) if any(one.pushes for one in self.builds) else name
        if name:
            self.settings["image"] = name
        self._place()
        for build in self.builds:
            self._version(build)
        self._platforms()
        self._target()
        for option, key in _ONE.items():
            self._one(option, key)
        for option, key in _SEVERAL.items():
            self._several(option, key)
        for option, key in _PAIRS.items():
            self._pairs(option, key)
        self._secrets()
        for build in self.builds:
            self._tags(build, name)
            self._output(build)
            self._rest(build)

    def rows(self, image: str = "") -> Iterator[tuple[int, Row]]:
        """Yield a row for each line, by the line's identity; `image` is that of `others`."""
        for build in self.builds:
            command = " ".join(("invoke docker-build", *build.words))
            parts = tuple(map(_unabbreviated, build.parts))
            row = Row(line=build.line, command=command, image=image, parts=parts)
            yield id(build.line), row

    def _read(self, target: str = "") -> DockerfileFacts | None:
        text = read_text(self.root / self.builds[0].dockerfile, self.root)
        try:
            return read_facts(text, target) if text is not None else None
        except BuildlibError:
            return None

    def _read_dockerfile(self) -> None:
        found = self._read()
        if found:
            self._dockerfile = found.dockerfile
            self._called = {own: name for name in INJECTED if (own := called(found, name))}

    def _set(self, key: str, value: object) -> None:
        """Set a key of the configuration, which may be in a table."""
        table, dot, name = key.rpartition(".")
        where = self.settings.setdefault(table, {}) if dot else self.settings
        where[name] = value

    def _place(self) -> None:
        build = self.builds[0]
        context, dockerfile = build.place
        self._fixed("context", context, ".", lambda one: _shown(one.command.words, one))
        self._fixed("dockerfile", dockerfile, "Dockerfile", _file_text)

    def _fixed(self, key: str, value: str, default: str, text: Callable[[BuildLine], str]) -> None:
        if value != default:
            self.settings[key] = value
        for build in self.builds:
            if shown := text(build):
                if value == default:
                    build.default(shown, f"the default {key}")
                else:
                    build.key(shown, f'{key} = "{value}"')

    def _version(self, build: BuildLine) -> None:
        """Note a version that is written in the file: git tags have it from now on."""
        given = {tag for _, tag in build.names if facts.RELEASE.fullmatch(tag)}
        if self._declares("VERSION"):
            args = dict(_split_pair(text) for text in build.command.values("build-arg"))
            version = args.get("VERSION") or ""
            given |= {version} if facts.RELEASE.fullmatch(version) else set()
        if len(given) == 1:
            build.version = given.pop()
            build.words += ["--version", build.version]

    def _declares(self, name: str) -> bool:
        """Return whether the library fills a build arg by itself."""
        found = self._dockerfile
        return found is not None and name in found.args and name not in found.choosing()

    def _platforms(self) -> None:
        named = {id(build): _platform_names(build) for build in self.builds}
        every = tuple(dict.fromkeys(name for names in named.values() for name in names))
        if every:
            self.settings["platforms"] = list(every)
        for build in self.builds:
            texts = [one.text for one in build.command.options if one.name == "platform"]
            if not texts:
                continue
            names, shown = named[id(build)], " ".join(texts)
            if not names:
                build.option(shown, "--platform", build.command.values("platform")[-1])
            elif set(names) == set(every) and len(names) > 1:
                build.words += ["--platform", "all"]
                build.key(shown, "platforms, and --platform all")
            else:
                build.option(shown, *(word for name in names for word in ("--platform", name)))

    def _target(self) -> None:
        """Set the stage of what is published; each other line names its own."""
        targets = {(build.command.values("target") or ("",))[-1] for build in self.builds}
        main = (self.main.command.values("target") or ("",))[-1]
        chosen = main if main and "" not in targets and facts.is_known(main) else ""
        if chosen:
            self.settings["target"] = chosen
        for build in self.builds:
            for one in _given(build, "target"):
                if one.value == chosen:
                    build.key(one.text, f'target = "{chosen}"')
                else:
                    build.option(one.text, "--target", one.value or "")

    def _one(self, option: str, key: str) -> None:
        values = {(build.command.values(option) or ("",))[-1] for build in self.builds}
        common = values.pop() if len(values) == 1 else ""
        common = common if _is_configurable(common) else ""
        if common:
            self._set(key, common)
        for build in self.builds:
            for one in _configurable(build, option):
                if common and one.value == common:
                    build.key(one.text, f'{_dotted(key)} = "{common}"')
                else:
                    self._as_option(build, one)

    def _several(self, option: str, key: str) -> None:
        common = self._common(lambda build: list(build.command.values(option)))
        common = [text for text in common if _is_configurable(text)]
        if common:
            self._set(key, common)
        for build in self.builds:
            for one in _configurable(build, option):
                if one.value in common:
                    build.key(one.text, _dotted(key))
                else:
                    self._as_option(build, one)

    def _common(self, values: Callable[[BuildLine], list[str]]) -> list[str]:
        """Return what every line has: a configuration counts for all of them."""
        counts = Counter(text for build in self.builds for text in dict.fromkeys(values(build)))
        return [text for text, count in counts.items() if count == len(self.builds)]

    def _as_option(self, build: BuildLine, one: Option) -> None:
        """Give docker-build an option that it has as buildx has it."""
        value = [] if one.value is None or one.name in _FLAGS else [one.value]
        build.option(one.text, f"--{one.name}", *value)

    def _pairs(self, option: str, key: str) -> None:
        def usable(build: BuildLine) -> list[str]:
            texts = (facts.with_facts(text) for text in build.command.values(option))
            return [text for text in texts if "=" in text and _is_configurable(text)]

        common = dict(_split_pair(text) for text in self._common(usable))
        configured: dict[str, dict[str, str]] = {}
        for build in self.builds:
            for one in _configurable(build, option):
                text = facts.with_facts(one.value or "")
                name, value = _split_pair(text)
                if option == "build-arg" and self._arg(build, one, name, value):
                    continue
                if option == "build-arg" and name not in common and self._is_injected(name, value):
                    build.default(one.text, f"{name} is passed by itself, as [inject] says")
                    continue
                if value is None or common.get(name) != value:
                    self._as_option(build, one)
                    continue
                base = option == "build-context" and re.search("[:/]", name)
                table = "base-images" if base and value.startswith(_IMAGES) else key
                configured.setdefault(table, {})[name] = value
                build.key(one.text, f'{_dotted(table)} {name} = "{value}"')
        for table, pairs in configured.items():
            self._set(table, pairs)

    def _is_injected(self, name: str, value: str | None) -> bool:
        """Return whether a build arg has another name, and the value that it gets by itself."""
        fact = self._called.get(name, "")
        return bool(fact) and value == f"{{{fact.lower()}}}"

    def _arg(self, build: BuildLine, one: Option, name: str, value: str | None) -> bool:
        """Note a build arg that needs no configuration; return whether it is one."""
        found = self._dockerfile
        if not re.fullmatch(VARIABLE, name):
            build.left(one.text, f"{name!r} is not the name of a build arg")
        elif found is not None and name not in found.args and name not in PREDEFINED:
            build.left(one.text, f"the Dockerfile has no ARG {name}, so it has no effect")
        elif name == "SOURCE_DATE_EPOCH" and value != "0":
            build.default(one.text, "the time of the commit is passed by itself")
        elif self._declares(name) and name in INJECTED and value == f"{{{name.lower()}}}":
            build.default(one.text, f"{name} is passed by itself")
        elif name == "VERSION" and build.version and value == build.version:
            build.default(one.text, f"VERSION is passed by itself, here from --version {value}")
        else:
            return False
        return True

    def _secrets(self) -> None:
        def usable(build: BuildLine) -> list[str]:
            texts = build.command.values("secret")
            return [text for text in texts if _secret_pair(text, build.line.folder)[0]]

        common = self._common(usable)
        folder = self.builds[0].line.folder
        if any(build.line.folder != folder for build in self.builds):
            common = []
        table = dict(_secret_pair(text, folder) for text in common)
        if table:
            self.settings["secrets"] = table
        for build in self.builds:
            for one in _given(build, "secret"):
                if one.value in common:
                    build.key(one.text, "secrets")
                else:
                    build.option(one.text, "--secret", one.value or "")

    def _tags(self, build: BuildLine, image: str) -> None:
        for one, (name, tag) in zip(_given(build, "tag"), build.names, strict=True):
            known = facts.is_known(name)
            same = not known and facts.last_part(name) == facts.last_part(image)
            if not known:
                build.left(name, "it has no value in the file; image says what it is")
            if known and canonical(name) != canonical(image):
                written = facts.split_image(one.value or "")[1]
                build.option(one.text, "--tag", f"{name}:{written or tag or LATEST}")
            elif tag in {"", LATEST}:
                build.key(one.text, f'image = "{image}"; latest is a tag by itself')
            elif tag == "{version}":
                build.key(one.text, f'image = "{image}"; the version is a tag by itself')
            elif facts.has_fact(tag) and _OF_PLATFORM.search(tag):
                build.default(one.text, "docker-publish pushes one index for all platforms")
            elif tag == build.version:
                build.key(one.text, f'image = "{image}"; --version {tag}, or a git tag')
            elif same or known:
                build.option(one.text, "--tag", facts.split_image(one.value or "")[1])

    def _output(self, build: BuildLine) -> None:
        for one in _given(build, "push"):
            if one.value != "false":
                build.option(one.text, "--push")
        for one in _given(build, "output"):
            value = one.value or ""
            fields = _fields(value)
            if _pushes(value) and set(fields) <= {"type", "push"}:
                build.option(one.text, "--push")
            elif fields == {"type": "docker"}:
                build.default(one.text, "the default output")
            elif fields == {"type": "cacheonly"}:
                build.option(one.text, "--output", "cacheonly")
            elif "type" not in fields:
                build.option(one.text, "--output", f"type=local,dest={value}")
            else:
                build.option(one.text, "--output", value)

    def _rest(self, build: BuildLine) -> None:
        for one in build.command.options:
            if one.name in {*_ONE, *_SEVERAL, *_PAIRS, "platform", "target", "secret", "tag"}:
                continue
            if one.name in {"push", "output", "file"}:
                continue
            if one.value == "false" and one.name not in _ATTESTS:
                build.default(one.text, "the default")
            elif one.name in _NO_KEY:
                self._as_option(build, one)
            elif one.name == "quiet":
                build.option(one.text, "--progress", "quiet")
            elif one.name in _DEFAULTS:
                build.default(one.text, _DEFAULTS[one.name])
            elif one.name in _ATTESTS:
                self._attests(build, one)
            else:
                build.left(one.text, _NOT_BUILDX)

    def _attests(self, build: BuildLine, one: Option) -> None:
        if one.value == "false" or "disabled=true" in (one.value or ""):
            build.default(one.text, "docker-build makes no attestation by itself")
        else:
            build.option(one.text, f"--{one.name}", one.value or "true")


def _unabbreviated(part: Part) -> Part:
    """Return a part that says so if it is abbreviated where it stood, and not here."""
    if part.how in {How.LEFT, How.OPTION} or not facts.is_abbreviated(part.text):
        return part
    return part._replace(what=f"{part.what}; the revision in full, not abbreviated")


def _shown(words: Sequence[str], build: BuildLine) -> str:
    known = [word for word in words if facts.is_known(word)]
    return (known or words or [build.context])[-1]


def _file_text(build: BuildLine) -> str:
    return next((one.text for one in _given(build, "file")), "")


def _given(build: BuildLine, option: str) -> list[Option]:
    return [one for one in build.command.options if one.name == option]


def _is_configurable(text: str) -> bool:
    return facts.is_known(text) and not holds_secret(text)


def _configurable(build: BuildLine, option: str) -> Iterator[Option]:
    """Yield the options of a line without those that hold a secret, which are noted."""
    for one in _given(build, option):
        if holds_secret(one.value or ""):
            build.left(one.text, CONFIDENTIAL)
        else:
            yield one


def _split_pair(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    return name, value if equals else None


def _dotted(key: str) -> str:
    table, dot, name = key.rpartition(".")
    return f"[{table}] {name}" if dot else key


def _platform_names(build: BuildLine) -> list[str]:
    texts = [name for text in build.command.values("platform") for name in text.split(",")]
    try:
        return [str(one) for one in parse_platforms(tuple(texts))] if texts else []
    except BuildlibError:
        return []


def _fields(text: str) -> dict[str, str]:
    try:
        return csv_pairs(text) if "=" in text else {}
    except ValueError:
        return {}


def _secret_pair(text: str, folder: str) -> tuple[str, dict[str, str]]:
    """Return what the configuration has for a secret; an empty name: it has to be an option."""
    fields = _fields(text)
    name = fields.get("id", "")
    kind = "env" if "env" in fields else "file"
    source = fields.get("env") or fields.get("src") or fields.get("source") or ""
    more = set(fields) - {"id", "env", "src", "source", "type"}
    if not name or not source or more or "," in name or not facts.is_known(source):
        return "", {}
    if kind == "env" and not re.fullmatch(VARIABLE, source):
        return "", {}
    if kind == "file" and folder != "." and not source.startswith(("/", "~")):
        source = normpath(f"{folder}/{source}")
    return name, {kind: source}


def image_name(builds: Sequence[BuildLine], pushed: Sequence[str]) -> str:
    """Return the name that most lines give an image, with its registry where one has it."""
    counts = Counter(
        name for build in builds for name in dict.fromkeys(name for name, _ in build.names)
    )
    names = [name for name in counts if is_name(name)]
    if not names:
        # A registry without a value is left out.
        rough = (name[facts.masked(name).find("/") + 1 :] for name in counts)
        return next(filter(is_name, (*rough, *map(facts.last_part, counts))), "")
    return max(names, key=lambda name: (counts[name], name in pushed, -names.index(name)))


def is_name(text: str) -> bool:
    """Return whether a text names a repository for images."""
    if not facts.is_known(text) or facts.has_fact(text):
        return False
    try:
        return parse_reference(text).name == text
    except BuildlibError:
        return False
