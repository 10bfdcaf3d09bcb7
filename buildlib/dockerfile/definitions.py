"""The instructions of a Dockerfile in their order, and what each step of a build is made of.

Source: github.com/moby/buildkit frontend/dockerfile/dockerfile2llb/convert.go: which instructions
are steps, how steps are numbered, and which variables a RUN gets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from posixpath import join, normpath
from typing import Final, NamedTuple

from buildlib.dockerfile.lines import (
    BLANKS,
    WORD,
    directives,
    escape_of,
    heredoc_body,
    logical_lines,
    split_instruction,
    split_lines,
    split_options,
)
from buildlib.dockerfile.parser import sources_of, split_words
from buildlib.dockerfile.variables import expand

STEPS: Final = frozenset({"ADD", "COPY", "RUN", "WORKDIR"})
_SCRATCH: Final = "scratch"


class InstructionText(NamedTuple):
    """An instruction on one line, without comments, and the text of its here-documents."""

    text: str
    body: str = ""

    @property
    def name(self) -> str:
        """Return `FROM`, `COPY`, …."""
        return split_instruction(self.text)[0].upper()

    @property
    def rest(self) -> str:
        """Return what follows the name."""
        return split_instruction(self.text)[1]


class Written(NamedTuple):
    """A Dockerfile: the frontend that `# syntax=` names, and its instructions."""

    syntax: str
    escape: str
    instructions: tuple[InstructionText, ...]


def read_written(text: str) -> Written:
    """Read every instruction of a Dockerfile's text."""
    lines = split_lines(text.removeprefix("\ufeff"))
    escape = escape_of(lines)
    return Written(
        syntax=next((value for _, name, value in directives(lines) if name == "syntax"), ""),
        escape=escape,
        instructions=tuple(
            InstructionText(line, heredoc_body(line, lines[place[1] :]))
            for place, line in logical_lines(lines, escape)
        ),
    )


class Variable(NamedTuple):
    """A variable that a RUN gets; `origin` is the instruction that set it, ARG or ENV."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """What decides about a step, beside the files that it takes and the steps before it.

    Args:
        instruction: as written.
        expanded: its words with variables replaced; of a RUN as written, as a shell replaces them.
        base: the image that its stage stands on, through other stages.
        scope: the variables that it sees, in the order in which they were set: a RUN gets them all.
        user, folder, shell: as set before the step.
        sources: what it takes from the build context.
    """

    instruction: InstructionText
    expanded: str
    base: str = ""
    scope: tuple[Variable, ...] = ()
    user: str = ""
    folder: str = "/"
    shell: str = ""
    sources: tuple[str, ...] = ()


class Stage(NamedTuple):
    """A stage: its name, as BuildKit names its steps, and what its steps are made of."""

    name: str
    steps: tuple[Definition, ...]


class _State(NamedTuple):
    """What the instructions of a stage have set so far."""

    env: tuple[Variable, ...] = ()
    user: str = ""
    folder: str = "/"
    shell: str = ""
    base: str = ""

    @property
    def scope(self) -> dict[str, str]:
        return {one.name: one.value for one in self.env}

    def having(self, variables: Iterable[Variable]) -> _State:
        """Return the state with further variables: one that is set again goes to the end."""
        env = self.env
        for variable in variables:
            env = (*(one for one in env if one.name != variable.name), variable)
        return self._replace(env=env)


class _Reader:
    """Goes through the stages of a Dockerfile as the builder does."""

    def __init__(self, escape: str, args: Mapping[str, str], known: Mapping[str, str]) -> None:
        """Begin above the first stage.

        Args:
            args: build args with their values.
            known: BuildKit's own variables of the platform.
        """
        self._escape, self._args = escape, args
        self._globals = dict(known)
        self._ends: list[tuple[str, _State]] = []

    def above(self, instructions: Iterable[InstructionText]) -> None:
        """Take the ARGs above the first stage."""
        for one in instructions:
            for name, default in self._pairs(one.rest) if one.name == "ARG" else ():
                if name in self._args:
                    self._globals[name] = self._args[name]
                elif default is not None:
                    self._globals[name] = expand(default, self._globals)

    def stage(self, instructions: Sequence[InstructionText], *, alone: bool) -> Stage:
        """Return a stage, which begins with its FROM."""
        first, *others = instructions
        words = split_words(split_options(first.rest)[1], self._escape) or [""]
        named = words[2].lower() if [word.upper() for word in words[1:2]] == ["AS"] else ""
        number = len(self._ends)
        base = expand(words[0], self._globals)
        below = next((end for name, end in reversed(self._ends) if name == base.lower()), None)
        state, steps = below or _State(base=base), list[Definition]()
        if below is None and base != _SCRATCH:
            steps.append(
                Definition(
                    instruction=first,
                    expanded=expand(first.text, self._globals),
                    base=base,
                    scope=tuple(Variable(*pair, "ARG") for pair in self._globals.items()),
                )
            )
        for one in others:
            state = self._taken(state, one)
            if one.name in STEPS:
                steps.append(self._step(one, state))
        self._ends.append((named, state))
        return Stage("" if alone else named or f"stage-{number}", tuple(steps))

    def _pairs(self, rest: str) -> Iterator[tuple[str, str | None]]:
        for word in WORD.findall(rest):
            name, equals, value = word.partition("=")
            yield name, value if equals else None

    def _step(self, one: InstructionText, state: _State) -> Definition:
        scope = state.scope
        options, rest = split_options(one.rest)
        words = [expand(word, scope) for word in sources_of(one.name, options, rest, self._escape)]
        return Definition(
            instruction=one,
            expanded=one.text if one.name == "RUN" else expand(one.text, scope),
            base=state.base,
            scope=state.env,
            user=state.user,
            folder=state.folder,
            shell=state.shell,
            sources=tuple(words),
        )

    def _taken(self, state: _State, one: InstructionText) -> _State:
        """Return the state after an instruction that is no step, or a WORKDIR."""
        scope = state.scope
        match one.name:
            case "ARG":
                return state.having(self._declared(one, scope))
            case "ENV":
                pairs = list(self._pairs(one.rest))
                if pairs and pairs[0][1] is None:
                    # ENV NAME VALUE, the old form.
                    name, *value = re.split(f"[{BLANKS}]+", one.rest, maxsplit=1)
                    pairs = [(name, "".join(value))]
                return state.having(
                    Variable(expand(name, scope), expand(value or "", scope), "ENV")
                    for name, value in pairs
                )
            case "USER":
                return state._replace(user=expand(one.rest, scope))
            case "WORKDIR":
                return state._replace(folder=normpath(join(state.folder, expand(one.rest, scope))))
            case "SHELL":
                return state._replace(shell=one.rest)
        return state

    def _declared(self, one: InstructionText, scope: Mapping[str, str]) -> Iterator[Variable]:
        for name, default in self._pairs(one.rest):
            given = self._args.get(name)
            value = given if given is not None or default is None else expand(default, scope)
            value = self._globals.get(name) if value is None else value
            if value is not None:
                yield Variable(name, value, "ARG")


def stages_of(
    written: Written, args: Mapping[str, str], known: Mapping[str, str]
) -> tuple[Stage, ...]:
    """Return the stages of a Dockerfile, and what each of their steps is made of.

    Args:
        written: as `read_written` returns it.
        args: the build args that the build gets, with their values.
        known: BuildKit's own variables of the platform, such as TARGETARCH.
    """
    starts = [n for n, one in enumerate(written.instructions) if one.name == "FROM"]
    reader = _Reader(written.escape, args, known)
    reader.above(written.instructions[: starts[0]] if starts else ())
    ends = [*starts[1:], len(written.instructions)]
    return tuple(
        reader.stage(written.instructions[start:end], alone=len(starts) == 1)
        for start, end in zip(starts, ends, strict=True)
    )
