"""What a Dockerfile declares, read without building: stages, bases, build args, sources.

Not a parser of every instruction: what is read here are the few that a check before the build
needs. dockerfile-parse has had no release since 2023, and buildx answers only by starting a
build, so this stays our own.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from itertools import takewhile
from typing import NamedTuple

from buildlib.record import record

# Declared by BuildKit itself, in every Dockerfile.
# Source: docs.docker.com/reference/dockerfile, "Predefined ARGs" and "global scope".
PREDEFINED = frozenset(
    f"{kind}{part}"
    for kind in ("BUILD", "TARGET")
    for part in ("PLATFORM", "OS", "ARCH", "VARIANT")
) | {
    *(
        name
        for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
        for name in (proxy, proxy.lower())
    ),
    "BUILDKIT_CACHE_MOUNT_NS",
    "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
    "BUILDKIT_INLINE_CACHE",
    "BUILDKIT_MULTI_PLATFORM",
    "BUILDKIT_SANDBOX_HOSTNAME",
    "BUILDKIT_SYNTAX",
    "SOURCE_DATE_EPOCH",
}

# Where files come from: COPY has an option of its own, RUN a key of each mount.
_FROM = {
    "COPY": re.compile(r"^--from=([^\s,]+)"),
    "RUN": re.compile(r"^--mount=(?:.*,)?from=([^\s,]+)"),
}
# $NAME, ${NAME}, ${NAME:-word}, ${NAME:+word}; the word may hold variables itself.
_VARIABLE = re.compile(
    r"\$(?:\{(?P<braced>\w+)(?:(?P<kind>:?[-+])(?P<word>(?:[^{}]|\$\{[^{}]*\})*))?\}|(?P<bare>\w+))"
)
# BuildKit's own rule: a word of its own, so neither `$((1<<2))` nor `<<<text` begins one.
# Source: github.com/moby/buildkit frontend/dockerfile/parser/parser.go, reHeredoc.
_HEREDOC = re.compile(r"\d*<<(-?)([^<]+)")
_WORD = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+""")
_WITH_HEREDOC = re.compile(r"(?:ONBUILD\s+)?(?:ADD|COPY|RUN)\s", re.IGNORECASE)
# A repository by ssh, as ADD takes it; one with :// is seen by that.
_REMOTE = re.compile(r"[\w-]+@[\w.-]+:")


class Place(NamedTuple):
    """Where a stage, an image or a context is named.

    Args:
        name: as written.
        lines: the numbers of the instruction's first line and of the one after its last, from 0.
        option: it is the value of `from=`, and no word of its own.
    """

    name: str
    lines: tuple[int, int]
    option: bool = False


@record(frozen=True, kw_only=True)
class Stage:
    """One `FROM`.

    Args:
        base: as written; `name` is empty where there is no AS.
        sources: what COPY and ADD take from the build context.
        uses: the stages, images or contexts that COPY and RUN take files from.
        lines: the numbers of its first line and of the one after its last, from 0.
    """

    base: str
    name: str = ""
    sources: tuple[str, ...] = ()
    uses: tuple[Place, ...] = ()
    lines: tuple[int, int] = (0, 0)


@record(frozen=True, kw_only=True)
class Dockerfile:
    """Stages in order, and every ARG anywhere with its default (None: it has none).

    Args:
        global_args: those above the first stage, and `global_lines` the numbers of their lines,
            from 0.
    """

    stages: tuple[Stage, ...] = ()
    args: Mapping[str, str | None] = field(default_factory=dict)
    global_args: Mapping[str, str | None] = field(default_factory=dict)
    global_lines: tuple[int, ...] = ()

    def stage(self, target: str = "") -> Stage | None:
        """Return the stage to build: the named one, by name or number, or the last."""
        if not target:
            return self.stages[-1] if self.stages else None
        for number, stage in enumerate(self.stages):
            if target.lower() in {stage.name.lower(), str(number)} - {""}:
                return stage
        return None

    def _below(self, stage: Stage, build_args: Mapping[str, str]) -> Stage | None:
        """Return the stage that another one stands on; None where that is an external image."""
        name = self.expand(stage.base, build_args)
        below = self.stage(name) if name else None
        return None if below is stage else below

    def base_of(self, stage: Stage, build_args: Mapping[str, str] | None = None) -> str:
        """Return the external image that a stage stands on, through other stages, expanded."""
        seen, known = stage, build_args or {}
        while below := self._below(seen, known):
            seen = below
        return self.expand(seen.base, known)

    def runtime_base(self, target: str, build_args: Mapping[str, str]) -> str:
        """Return the external image that the target stands on; nothing for scratch."""
        stage = self.stage(target)
        base = self.base_of(stage, build_args) if stage else ""
        return "" if base == "scratch" else base

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
                waiting += [self.stage(place.name) for place in stage.uses]
        return tuple(found)

    def bases(
        self, target: str = "", build_args: Mapping[str, str] | None = None
    ) -> tuple[str, ...]:
        """Return the external images that the target needs, expanded; `scratch` is none."""
        needed = self.needed(target, build_args)
        names = [self.base_of(stage, build_args) for stage in needed]
        names += [place.name for stage in needed for place in self._foreign(stage)]
        return tuple(dict.fromkeys(name for name in names if name != "scratch"))

    def external(self, build_args: Mapping[str, str]) -> Iterator[tuple[Place, str]]:
        """Yield each place where an external image is named, and that image, expanded."""
        for stage in self.stages:
            base = self.expand(stage.base, build_args)
            if base not in {"", "scratch"} and not self._below(stage, build_args):
                yield Place(stage.base, stage.lines), base
            yield from ((place, place.name) for place in self._foreign(stage))

    def _foreign(self, stage: Stage) -> Iterator[Place]:
        """Yield the uses of a stage that are of no other stage, but of an image.

        A number is always a stage's, and BuildKit replaces no variable there.
        """
        for place in stage.uses:
            known = place.name == "scratch" or place.name.isdigit() or self.stage(place.name)
            if not known and "$" not in place.name:
                yield place

    def expand(self, text: str, build_args: Mapping[str, str]) -> str:
        """Replace the variables of a FROM line by build args, then by defaults."""

        def value(match: re.Match[str]) -> str:
            name, kind, word = match["braced"] or match["bare"], match["kind"], match["word"]
            found = build_args.get(name) or self.global_args.get(name) or ""
            if not kind or (kind.endswith("-") and found):
                return found
            return self.expand(word, build_args) if kind.endswith("-") or found else ""

        return _VARIABLE.sub(value, text)


def _logical_lines(text: str) -> Iterator[tuple[tuple[int, int], str]]:
    """Yield each line and where it stands; continued ones are joined.

    Comments, blank lines and the bodies of here-documents are left out.
    """
    pending, first, number = "", 0, 0
    bodies: list[tuple[str, str]] = []
    for number, raw in enumerate(text.splitlines()):
        if bodies:
            strip, end = bodies[0]
            bodies = bodies[1:] if raw.lstrip(strip) == end else bodies
            continue
        if raw.lstrip().startswith("#") or not raw.strip():
            continue
        first = first if pending else number
        pending += raw.strip()
        if pending.endswith("\\"):
            pending = pending[:-1] + " "
            continue
        yield (first, number + 1), pending
        bodies, pending = _heredocs(pending), ""
    if pending:
        yield (first, number + 1), pending


def _heredocs(line: str) -> list[tuple[str, str]]:
    """Return what may stand before the last line of each here-document, and that line."""
    if not _WITH_HEREDOC.match(line):
        return []
    words = (_HEREDOC.fullmatch(word) for word in _WORD.findall(line))
    return [("\t" if word[1] else "", re.sub(r"[\"'\\]", "", word[2])) for word in words if word]


def _uses(instruction: str, words: list[str]) -> tuple[str, ...]:
    """Return where a COPY or RUN takes files from: `--from=x`, `--mount=…,from=x`."""
    pattern = _FROM.get(instruction)
    # What follows the options is a command, which may have options of its own.
    options = takewhile(lambda word: word.startswith("--"), words)
    found = [pattern.match(option) for option in options] if pattern else []
    return tuple(match[1] for match in found if match)


def _sources(instruction: str, words: list[str]) -> tuple[str, ...]:
    """Return what a COPY or ADD takes from the build context."""
    if instruction == "RUN" or _uses(instruction, words):
        return ()
    paths = [word for word in words if not word.startswith("--")]
    if paths[:1] and paths[0].startswith("["):
        paths = re.findall(r'"((?:[^"\\]|\\.)*)"', " ".join(paths))
    own = (path for path in paths[:-1] if "://" not in path and not _REMOTE.match(path))
    return tuple(path for path in own if "<<" not in path)


def _words(rest: str) -> list[str]:
    try:
        return shlex.split(rest, posix=not rest.lstrip().startswith("["))
    except ValueError:
        # An unbalanced quote is the build's own error to tell.
        return rest.split()


def _from(words: list[str], lines: tuple[int, int]) -> Stage:
    base, *rest = [word for word in words if not word.startswith("--")] or [""]
    named = len(rest) > 1 and rest[0].upper() == "AS"
    return Stage(base=base, name=rest[1] if named else "", lines=lines)


def parse_dockerfile(text: str) -> Dockerfile:
    """Read a Dockerfile's text; what can't be understood is left out, never an error."""
    stages: list[Stage] = []
    args: dict[str, str | None] = {}
    global_args: dict[str, str | None] = {}
    global_lines: tuple[int, ...] = ()
    for lines, line in _logical_lines(text):
        instruction, *rest = line.split(maxsplit=1)
        words = _words("".join(rest))
        match instruction.upper():
            case "FROM":
                stages.append(_from(words, lines))
            case "ARG":
                pairs = [word.partition("=") for word in words]
                found = {name: default if equals else None for name, equals, default in pairs}
                args = found | args
                global_args |= {} if stages else found
                global_lines += () if stages else tuple(range(*lines))
            case "COPY" | "ADD" | "RUN" as name if stages:
                last = stages[-1]
                uses = tuple(Place(used, lines, option=True) for used in _uses(name, words))
                stages[-1] = replace(
                    last, sources=last.sources + _sources(name, words), uses=last.uses + uses
                )
            case _:
                pass
    return Dockerfile(
        stages=tuple(stages), args=args, global_args=global_args, global_lines=global_lines
    )
