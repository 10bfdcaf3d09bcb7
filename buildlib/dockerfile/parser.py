"""What a Dockerfile declares, read without building: stages, bases, build args, sources.

Not a parser of every instruction: what is read here are the few that a check before the build
needs. dockerfile-parse has had no release since 2023, and buildx answers only by starting a
build, so this stays our own.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from posixpath import normpath
from typing import NamedTuple

from buildlib.dockerfile.lines import (
    BLANKS,
    WORD,
    directives,
    escape_of,
    json_words,
    logical_lines,
    mount_value,
    split_instruction,
    split_lines,
    split_options,
)
from buildlib.dockerfile.variables import expand, make_scope
from buildlib.image.platform import KNOWN, Platform, parse_platforms

# Of the build and the target platform; what a FROM may see without an ARG.
_PLATFORM_ARGS = frozenset(
    f"{kind}{part}"
    for kind in ("BUILD", "TARGET")
    for part in ("PLATFORM", "OS", "ARCH", "VARIANT")
)
_TARGET_ARGS = frozenset(name for name in _PLATFORM_ARGS if name.startswith("TARGET"))
_BUILD_ARGS = _PLATFORM_ARGS - _TARGET_ARGS
# Declared by BuildKit itself, in every Dockerfile.
# Source: docs.docker.com/reference/dockerfile, "Predefined ARGs" and "global scope".
PREDEFINED = _PLATFORM_ARGS | {
    *(
        name
        for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
        for name in (proxy, proxy.lower())
    ),
    "BUILDKIT_BUILD_NAME",
    "BUILDKIT_CACHE_MOUNT_NS",
    "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
    "BUILDKIT_DOCKERFILE_CHECK",
    "BUILDKIT_GIT_ADVICE",
    "BUILDKIT_INLINE_CACHE",
    "BUILDKIT_MULTI_PLATFORM",
    "BUILDKIT_SANDBOX_HOSTNAME",
    "BUILDKIT_SYNTAX",
    "SOURCE_DATE_EPOCH",
}

_READ = frozenset({"ADD", "ARG", "COPY", "ENV", "FROM", "LABEL", "RUN"})
_BYTE_ORDER_MARK = "\ufeff"
_NAMED = re.compile(r"\$\{?(\w+)")
# What Go's Atoi takes.
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")
# A repository by ssh, as ADD takes it; one with :// is seen by that.
_REMOTE = re.compile(r"[\w-]+@[\w.-]+:")


class Place(NamedTuple):
    """Where a stage, an image or a context is named.

    Args:
        name: as written.
        lines: the numbers of the instruction's first line and of the one after its last, from 0.
        option: it is the value of `from=`, and no word of its own.
        by_number: a number means the stage of that number, and not an image.
        directive: it is what `# syntax=` names.
        platform: that a FROM fixes, as written; empty: that of the target.
    """

    name: str
    lines: tuple[int, int]
    option: bool = False
    by_number: bool = False
    directive: bool = False
    platform: str = ""


class VariableSource(NamedTuple):
    """What is taken from the build context by a name with variables.

    Args:
        source: as written.
        args: the ARGs of its stage above it, each default with its quotes and variables.
    """

    source: str
    args: tuple[tuple[str, str | None], ...]


class FilledSource(NamedTuple):
    """Such a source, with its variables replaced; `certain`: nothing unknown can change them."""

    source: str
    path: str
    certain: bool


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One `FROM`.

    Args:
        base: without its quotes; `name` is empty where there is no AS.
        written: the base as the file has it.
        platform: that FROM fixes, as written; empty: that of the target.
        sources: what COPY, ADD and the mounts of RUN take from the build context.
        uses: the stages, images or contexts that COPY and RUN take files from.
        lines: the numbers of its first line and of the one after its last, from 0.
        variable_sources: those of the sources that have variables.
        env, labels: the names that its ENVs and LABELs set.
    """

    base: str
    name: str = ""
    platform: str = ""
    written: str = ""
    sources: tuple[str, ...] = ()
    uses: tuple[Place, ...] = ()
    lines: tuple[int, int] = (0, 0)
    variable_sources: tuple[VariableSource, ...] = ()
    env: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Dockerfile:
    """Stages in order, and every ARG anywhere with its default (None: it has none).

    Args:
        syntax: where the image is named that reads it, as `# syntax=` has it; None: nowhere.
        global_args: those above the first stage in their order, each default with its quotes and
            variables; `global_lines` are the numbers of their lines, from 0.

    What a FROM sees is asked for with `build_args`: values by name, BuildKit's own of a platform
    among them; `views` has these.
    """

    stages: tuple[Stage, ...] = ()
    syntax: Place | None = None
    args: Mapping[str, str | None] = field(default_factory=dict)
    global_args: tuple[tuple[str, str | None], ...] = ()
    global_lines: tuple[int, ...] = ()

    def stage(self, target: str = "") -> Stage | None:
        """Return the stage to build: the last of that name, or number, or the last of all."""
        if not target:
            return self.stages[-1] if self.stages else None
        for number, stage in reversed([*enumerate(self.stages)]):
            if target.lower() in {stage.name.lower(), str(number)} - {""}:
                return stage
        return None

    def _used(self, place: Place) -> Stage | None:
        """Return the stage that files are taken from; None: it is not a stage."""
        if place.by_number and _NUMBER.fullmatch(place.name):
            number = int(place.name)
            return self.stages[number] if 0 <= number < len(self.stages) else None
        named = (one for one in reversed(self.stages) if one.name.lower() == place.name.lower())
        return next(named, None)

    def _below(self, stage: Stage, build_args: Mapping[str, str]) -> Stage | None:
        """Return the stage that another one is based on; None where that is an external image.

        A FROM sees the stages above it, and of two with one name the nearer.
        """
        name = self.expand(stage.base, build_args).lower()
        above = [one for one in self.stages if one.lines < stage.lines]
        return next((one for one in reversed(above) if name and one.name.lower() == name), None)

    def lineage(
        self, stage: Stage, build_args: Mapping[str, str] | None = None
    ) -> tuple[Stage, ...]:
        """Return a stage and the stages that it is based on, itself first."""
        found = [stage]
        while below := self._below(found[-1], build_args or {}):
            found.append(below)
        return tuple(found)

    def base_of(self, stage: Stage, build_args: Mapping[str, str] | None = None) -> str:
        """Return the base image of a stage, through other stages, expanded."""
        return self.expand(self.lineage(stage, build_args)[-1].base, build_args or {})

    def runtime_base(self, target: str, build_args: Mapping[str, str]) -> str:
        """Return the base image of the target; nothing for scratch.

        Nothing either where a variable can't be replaced: that is not the name of an image.
        """
        stage = self.stage(target)
        base = self.base_of(stage, build_args) if stage else ""
        return "" if base == "scratch" or "$" in base else base

    def labels(self, target: str, build_args: Mapping[str, str]) -> frozenset[str]:
        """Return the names of the labels that the target's LABELs set."""
        stage = self.stage(target)
        lineage = self.lineage(stage, build_args) if stage else ()
        return frozenset(name for one in lineage for name in one.labels)

    def filled(
        self,
        target: str,
        build_args: Mapping[str, str],
        targets: Sequence[Platform],
        here: Platform,
    ) -> tuple[FilledSource, ...]:
        """Return what the target takes by names whose variables can be replaced.

        Args:
            target: as for `needed`.
            build_args: values by name.
            targets: the target platforms; none: that of an engine, which may be elsewhere.
            here: the platform of this machine.
        """
        unsure = _BUILD_ARGS if targets else _PLATFORM_ARGS
        found = (
            one
            for platform in targets or (here,)
            for scope in [{**platform_args(platform, here), **build_args}]
            for stage in self.needed(target, scope)
            for one in self._filled(stage, scope, unsure)
        )
        return tuple(dict.fromkeys(found))

    def _filled(
        self, stage: Stage, known: Mapping[str, str], unsure: AbstractSet[str]
    ) -> Iterator[FilledSource]:
        """Yield the sources of a stage whose variables can be replaced.

        An ENV wins over an ARG, and what the base image sets is not known here; it sets none of
        the target platform's.

        Args:
            known: the values of build args, and what BuildKit says of the platforms.
            unsure: the names of those that may have another value.
        """
        env, below = set(stage.env), self._below(stage, known)
        while below:
            env |= below.env
            below = self._below(below, known)
        outer = make_scope(self.global_args, known, _PLATFORM_ARGS)
        given = {name for name, default in self.global_args if default is not None}
        for source, args in stage.variable_sources:
            scope: dict[str, str] = {}
            for name, default in args:
                if name in known:
                    scope[name] = known[name]
                elif default is not None:
                    scope[name] = expand(default, scope)
                elif name in given:
                    scope[name] = outer[name]
            names = set(_NAMED.findall(source))
            if names <= scope.keys() - env and (path := expand(source, scope)):
                used = self._made_of(source, args, known)
                certain = used <= _TARGET_ARGS or self.base_of(stage, known) == "scratch"
                yield FilledSource(source, path, certain and not used & unsure)

    def _made_of(
        self, text: str, args: Iterable[tuple[str, str | None]], known: Mapping[str, str]
    ) -> set[str]:
        """Return the variables that a text is made of, those of their defaults included."""
        own = {name: default for name, default in args if default is not None}
        return _variables([text], {**dict(self.global_args), **own}, known)

    def needed(
        self, target: str = "", build_args: Mapping[str, str] | None = None
    ) -> tuple[Stage, ...]:
        """Return the stages that a build of the target needs, the target first.

        A stage may be chosen by a build arg, as in `FROM ${PROGRAM}`.
        """
        found: list[Stage] = []
        waiting = [self.stage(target)]
        while waiting:
            stage = waiting.pop()
            if stage and stage not in found:
                found.append(stage)
                waiting.append(self._below(stage, build_args or {}))
                waiting += [self._used(place) for place in stage.uses]
        return tuple(found)

    def bases(
        self, target: str = "", build_args: Mapping[str, str] | None = None
    ) -> tuple[str, ...]:
        """Return the external images that the target needs, expanded; without `scratch`."""
        needed = self.needed(target, build_args)
        names = [self.base_of(stage, build_args) for stage in needed]
        names += [place.name for stage in needed for place in self._foreign(stage)]
        names += [self.syntax.name] if self.syntax else []
        return tuple(dict.fromkeys(name for name in names if name not in {"", "scratch"}))

    def external(self, build_args: Mapping[str, str]) -> Iterator[tuple[Place, str]]:
        """Yield each place where an external image is named, and that image, expanded.

        A place that names another image for each platform is left out.
        """
        views = self.views(build_args)
        if self.syntax:
            yield self.syntax, self.syntax.name
        for stage in self.stages:
            base, *others = {self.expand(stage.base, view) for view in views}
            if not others and base not in {"", "scratch"} and not self._below(stage, views[0]):
                yield Place(stage.written, stage.lines, platform=stage.platform), base
            yield from ((place, place.name) for place in self._foreign(stage))

    def _foreign(self, stage: Stage) -> Iterator[Place]:
        """Yield the uses of a stage that are of no other stage, but of an image.

        BuildKit replaces no variable there.
        """
        for place in stage.uses:
            numbered = place.by_number and _NUMBER.fullmatch(place.name)
            known = place.name == "scratch" or numbered or self._used(place)
            if not known and "$" not in place.name:
                yield place

    def views(
        self,
        build_args: Mapping[str, str],
        targets: Sequence[Platform] = (),
        build: Platform | None = None,
    ) -> list[Mapping[str, str]]:
        """Return what its FROMs may see: one view where no platform matters to them.

        Args:
            build_args: win over BuildKit's own values, as they do there.
            targets: the target platforms; none: it may be any.
            build: the build platform; None: it may be any.
        """
        texts = [stage.base for stage in self.stages]
        texts += [default for _, default in self.global_args if default]
        named = [text for text in texts if "$" in text]
        if not any(name in text for text in named for name in _PLATFORM_ARGS):
            return [build_args]
        anywhere = parse_platforms(KNOWN)
        builds = (build,) if build else anywhere
        pairs = [(target, one) for target in targets or anywhere for one in builds]
        return [{**platform_args(*pair), **build_args} for pair in pairs]

    def choosing(self) -> frozenset[str]:
        """Return the variables by which a FROM chooses a base image or a platform."""
        texts = [text for stage in self.stages for text in (stage.base, stage.platform)]
        return frozenset(_variables(texts, dict(self.global_args)) - _PLATFORM_ARGS)

    def expand(self, text: str, build_args: Mapping[str, str]) -> str:
        """Replace the variables of a FROM line by build args, then by defaults."""
        if "$" not in text:
            return text
        return expand(text, make_scope(self.global_args, build_args, _PLATFORM_ARGS))


def _variables(
    texts: list[str], defaults: Mapping[str, str | None], known: Iterable[str] = ()
) -> set[str]:
    """Return the variables that texts are made of: a default may be made of others."""
    found: set[str] = set()
    while texts:
        names = set(_NAMED.findall(texts.pop())) - found
        found |= names
        texts += [text for name in names - set(known) if (text := defaults.get(name))]
    return found


def platform_args(target: Platform, build: Platform) -> dict[str, str]:
    """Return what BuildKit says of the two platforms."""
    return {
        f"{kind}{part}": value
        for kind, one in (("BUILD", build), ("TARGET", target))
        for part, value in (
            ("PLATFORM", str(one)),
            ("OS", one.os),
            ("ARCH", one.arch),
            ("VARIANT", one.variant),
        )
    }


def _uses(instruction: str, options: Sequence[str]) -> tuple[tuple[str, bool], ...]:
    """Return where a COPY or RUN takes files from, and whether a number there is a stage's.

    COPY has an option of its own, RUN a key of each mount.
    """
    if instruction == "COPY":
        found = [option.removeprefix("--from=") for option in options if option[:7] == "--from="]
    else:
        mounts = [option[8:] for option in options if option.startswith("--mount=")]
        found = [mount_value(mount, "from") for mount in mounts if instruction == "RUN"]
    return tuple((name, instruction == "COPY") for name in found if name)


def sources_of(instruction: str, options: Sequence[str], rest: str, escape: str) -> tuple[str, ...]:
    """Return what a COPY, an ADD or the mounts of a RUN take from the build context."""
    if instruction == "RUN":
        mounts = [option[8:] for option in options if option.startswith("--mount=")]
        return tuple(
            mount_value(mount, "source") or mount_value(mount, "src") or "."
            for mount in mounts
            if mount_value(mount, "type") in {"", "bind"} and not mount_value(mount, "from")
        )
    if _uses(instruction, options):
        return ()
    paths = json_words(rest)
    if paths is None:
        # Blanks separate even within quotes, which go afterwards.
        words = re.split(f"[{BLANKS}]+", rest)
        paths = ["".join(split_words(word.removesuffix(escape), escape)) for word in words]
    own = (path for path in paths[:-1] if "://" not in path and not _REMOTE.match(path))
    return tuple(path for path in own if "<<" not in path)


def context_path(source: str) -> str:
    """Return the path below the build context that a source names; `.` is all of it.

    As BuildKit takes it, nothing leads out of the context: `../x` is `x`.
    """
    return normpath(f"/{source}").lstrip("/") or "."


def split_words(rest: str, escape: str) -> list[str]:
    """Return the words of an instruction, without their quotes."""
    lexer = shlex.shlex(rest, posix=True)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", escape
    lexer.whitespace = BLANKS
    try:
        return list(lexer)
    except ValueError:
        # An unbalanced quote is for the build to report.
        return rest.split()


def _from(rest: str, escape: str, options: Sequence[str], lines: tuple[int, int]) -> Stage:
    base, *others = split_words(rest, escape) or [""]
    named = len(others) > 1 and others[0].upper() == "AS"
    written = re.split(f"[{BLANKS}]+", rest, maxsplit=1)[0]
    fixed = [one.removeprefix("--platform=") for one in options if one.startswith("--platform=")]
    return Stage(
        base=base,
        name=others[1] if named else "",
        written=written,
        platform=fixed[-1] if fixed else "",
        lines=lines,
    )


def _syntax(lines: Sequence[str]) -> Place | None:
    for number, name, value in directives(lines):
        if name == "syntax" and value:
            # What follows a blank is for the frontend.
            return Place(value.split()[0], (number, number + 1), directive=True)
    return None


def _pairs(words: Iterable[str]) -> tuple[tuple[str, str | None], ...]:
    """Return the names of an ARG and their defaults."""
    parts = (word.partition("=") for word in words)
    return tuple((name, default if equals else None) for name, equals, default in parts)


def _set_names(rest: str) -> frozenset[str]:
    """Return the names of an ENV or LABEL: `NAME=value …`, or the old form `NAME value`."""
    words = WORD.findall(rest)
    several = bool(words) and "=" in words[0]
    return frozenset(
        word.partition("=")[0].strip("\"'") for word in (words if several else words[:1])
    )


def parse_dockerfile(text: str) -> Dockerfile:
    """Read a Dockerfile's text; what can't be understood is left out, never an error."""
    stages: list[Stage] = []
    args: dict[str, str | None] = {}
    global_args: tuple[tuple[str, str | None], ...] = ()
    global_lines: tuple[int, ...] = ()
    own_args: tuple[tuple[str, str | None], ...] = ()
    given = split_lines(text.removeprefix(_BYTE_ORDER_MARK))
    escape = escape_of(given)
    for lines, line in logical_lines(given, escape):
        instruction, rest = split_instruction(line)
        name = instruction.upper()
        if name not in _READ:
            continue
        options, rest = split_options(rest)
        if name == "FROM":
            stages.append(_from(rest, escape, options, lines))
            own_args = ()
        elif name == "ARG":
            args = dict(_pairs(split_words(rest, escape))) | args
            if stages:
                own_args += _pairs(WORD.findall(rest))
            else:
                global_args += _pairs(WORD.findall(rest))
                global_lines += tuple(range(*lines))
        elif name == "ENV" and stages:
            stages[-1] = replace(stages[-1], env=stages[-1].env | _set_names(rest))
        elif name == "LABEL" and stages:
            stages[-1] = replace(stages[-1], labels=stages[-1].labels | _set_names(rest))
        elif stages:
            last = stages[-1]
            uses = tuple(
                Place(used, lines, option=True, by_number=number)
                for used, number in _uses(name, options)
            )
            sources = sources_of(name, options, rest, escape)
            variable = (VariableSource(one, own_args) for one in sources if "$" in one)
            stages[-1] = replace(
                last,
                sources=last.sources + sources,
                uses=last.uses + uses,
                variable_sources=(*last.variable_sources, *variable),
            )
    return Dockerfile(
        stages=tuple(stages),
        syntax=_syntax(given),
        args=args,
        global_args=global_args,
        global_lines=global_lines,
    )
