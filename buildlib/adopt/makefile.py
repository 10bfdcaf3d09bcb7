"""Reads a Makefile without running any of it.

make itself would run `$(shell …)` while it reads, whatever it is asked: code of a repository that
is only looked at. So this is a reader of our own for what names an image and its options:
variables, conditionals, `include`, `define`, and the functions that rearrange words. Everything
else stays in the text as it was written.

Source: the manual of GNU make.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from buildlib.adopt.make_functions import FUNCTIONS, WORD_BY_WORD, patsubst
from buildlib.adopt.shell_text import split_fields
from buildlib.adopt.text_files import read_text

_OPERATOR: Final = r"(:{0,3}=|\?=|\+=|!=)"
_DEFINITION: Final = re.compile(
    rf"(?:(?:export|override|private)\s++)*+([^\s:#=+?!$]++)\s*+{_OPERATOR}\s*+(.*)", re.DOTALL
)
_DEFINE: Final = re.compile(
    rf"(?:override\s++)?+define\s++([^\s:#=+?!]++)(?:\s*+{_OPERATOR})?+\s*+"
)
_CONDITIONAL: Final = re.compile(r"(ifeq|ifneq|ifdef|ifndef|else|endif)\b\s*+(.*)", re.DOTALL)
_INCLUDE: Final = re.compile(r"(?:-?include|sinclude)\s++(.*)", re.DOTALL)
_QUOTED_PAIR: Final = re.compile(r"""(["'])(.*?)\1\s*+(["'])(.*?)\3""", re.DOTALL)
_FUNCTION: Final = re.compile(r"([a-z][a-z-]*+)\s++(.*)", re.DOTALL)
_SUBSTITUTION: Final = re.compile(r"([^:\s]++):([^=]*+)=(.*)", re.DOTALL)
_UNKNOWN: Final = re.compile(r"\$[({]")
_BRACKETS: Final = {"(", "{"}
_PREFIXES: Final = "@-+ \t"
# What only running could tell; what they are given is replaced all the same.
_LEFT: Final = {"shell", "wildcard", "file", "eval", "origin", "flavor", "guile", "let", "intcmp"}
# Paths stay relative to the repository.
_PATHS: Final = {"abspath", "realpath"}
# Any text ends in bounded time: characters looked at, size of a value, nesting, files, lines.
_STEPS: Final = 1_000_000
_LONGEST: Final = 100_000
_DEEPEST: Final = 40
_FILES: Final = 50
_LINES: Final = 5_000


class Recipe(NamedTuple):
    """A line that make gives to a shell.

    Args:
        file, line: where it begins, from 1.
        target: that it makes.
        text: with make's variables replaced.
        condition: under which it is read, where that does not hold as things are.
    """

    file: str
    line: int
    target: str
    text: str
    condition: str


class _Variable(NamedTuple):
    value: str
    # It is expanded where it is used, and not where it is set.
    deferred: bool = False


class _Line(NamedTuple):
    number: int
    text: str


@dataclass
class _Branch:
    """A conditional at work.

    Args:
        holds: whether its lines count; None: only running could tell.
        text: what it says.
        taken: a branch before this one held.
    """

    holds: bool | None
    text: str
    taken: bool = False


def _logical_lines(text: str) -> Iterator[_Line]:
    """Yield lines with what continues them; a recipe keeps its backslashes for the shell."""
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        start, parts = at, [lines[at].rstrip("\r")]
        recipe = parts[0].startswith("\t")
        while (len(parts[-1]) - len(parts[-1].rstrip("\\"))) % 2 and at + 1 < len(lines):
            at += 1
            following = lines[at].rstrip("\r")
            if recipe:
                parts.append(following.removeprefix("\t"))
            else:
                parts[-1] = parts[-1][:-1].rstrip()
                parts.append(following.lstrip())
        yield _Line(start + 1, ("\n" if recipe else " ").join(parts))
        at += 1


def _pair(text: str) -> tuple[str, str] | None:
    """Return the two texts that an `ifeq` compares."""
    if text.startswith("(") and text.endswith(")"):
        first, *second = _split(text[1:-1], 2)
        return (first, second[0]) if second else None
    found = _QUOTED_PAIR.fullmatch(text)
    return (found[2], found[4]) if found else None


def _split(text: str, most: int) -> list[str]:
    """Split arguments at the commas that are in no bracket; the last takes what remains."""
    parts, start, depth = list[str](), 0, 0
    for found in re.finditer(r"[(){},]", text):
        if len(parts) + 1 >= most:
            break
        if found[0] == ",":
            if not depth:
                parts.append(text[start : found.start()])
                start = found.end()
        else:
            depth += 1 if found[0] in "({" else -1
    return [*parts, text[start:]]


@dataclass
class Makefile:
    """A Makefile of a repository, as far as it was read."""

    root: Path
    recipes: list[Recipe] = field(default_factory=list)
    _variables: dict[str, _Variable] = field(default_factory=dict)
    # Of one target each, and those that are at work now.
    _local: dict[str, dict[str, _Variable]] = field(default_factory=dict)
    _scopes: list[dict[str, _Variable]] = field(default_factory=list)
    _branches: list[_Branch] = field(default_factory=list)
    _targets: tuple[str, ...] = ()
    _found: list[tuple[str, _Line, tuple[str, ...], str]] = field(default_factory=list)
    _files: list[Path] = field(default_factory=list)
    _active: list[str] = field(default_factory=list)
    _depth: int = 0
    _steps: int = 0

    def read(self, path: Path, given: Mapping[str, str] | None = None) -> None:
        """Read a file and all that it includes; recipes see what their end left of variables."""
        here = {"CURDIR": ".", "PWD": ".", "MAKE": "make", **(given or {})}
        self._variables |= {name: _Variable(value) for name, value in here.items()}
        self._file(path)
        for name, line, targets, condition in self._found:
            for target in targets:
                if len(self.recipes) >= _LINES:
                    return
                own = {} if "%" in target else {"@": _Variable(target)}
                with self._scope({**own, **self._local.get(target, {})}):
                    text = self.expand(line.text)
                for part in re.split(r"(?<!\\)\n", text):
                    shown = part.lstrip(_PREFIXES)
                    self.recipes.append(Recipe(name, line.number, target, shown, condition))

    @contextmanager
    def _scope(self, variables: dict[str, _Variable]) -> Iterator[None]:
        self._scopes.append(variables)
        try:
            yield
        finally:
            self._scopes.pop()

    def _file(self, path: Path) -> None:
        text = read_text(path, self.root)
        if text is None or path in self._files or len(self._files) >= _FILES:
            return
        self._files.append(path)
        name = path.relative_to(self.root).as_posix()
        depth, lines = len(self._branches), _logical_lines(text)
        for line in lines:
            self._line(name, line, lines)
        # What a file leaves open ends with it.
        del self._branches[depth:]
        self._targets = ()

    def _line(self, name: str, line: _Line, lines: Iterator[_Line]) -> None:
        if line.text.startswith("\t") and self._targets:
            self._recipe(name, _Line(line.number, line.text[1:]))
            return
        text = re.split(r"(?<!\\)#", line.text, maxsplit=1)[0].strip()
        if found := _CONDITIONAL.fullmatch(text):
            self._conditional(found[1], found[2].strip())
        elif found := _DEFINE.fullmatch(text):
            body = "\n".join(_until_endef(lines))
            self._assign(self._variables, found[1], found[2] or "=", body)
        elif found := _INCLUDE.fullmatch(text):
            self._include(found[1])
        elif found := _DEFINITION.fullmatch(text):
            self._assign(self._variables, found[1], found[2], found[3])
        elif ":" in text:
            self._rule(name, line, text)

    def _conditional(self, word: str, text: str) -> None:
        if word == "endif":
            if self._branches:
                self._branches.pop()
            return
        if word != "else":
            self._branches.append(self._branch(word, text))
            return
        if not self._branches:
            return
        before = self._branches.pop()
        taken = before.taken or before.holds is True
        if found := _CONDITIONAL.fullmatch(text):
            branch = self._branch(found[1], found[2].strip())
        else:
            holds = None if before.holds is None else True
            branch = _Branch(holds, f"else of {before.text}")
        branch.holds = False if taken else branch.holds
        branch.taken = taken
        self._branches.append(branch)

    def _branch(self, word: str, text: str) -> _Branch:
        shown = f"{word} {text}"
        if word in {"ifdef", "ifndef"}:
            found = self._lookup(self.expand(text))
            return _Branch((found is not None and found.value != "") == (word == "ifdef"), shown)
        pair = _pair(text)
        one, other = (self.expand(part, empty=True).strip() for part in pair or ("$(", ""))
        if _UNKNOWN.search(one) or _UNKNOWN.search(other):
            return _Branch(None, shown)
        return _Branch((one == other) == (word == "ifeq"), shown)

    def _recipe(self, name: str, line: _Line) -> None:
        if len(self._found) < _LINES:
            texts = (branch.text for branch in self._branches if branch.holds is not True)
            self._found.append((name, line, self._targets, " and ".join(texts)))

    def _rule(self, name: str, line: _Line, text: str) -> None:
        targets, _, after = text.partition(":")
        if "=" in targets:
            return
        names = self.expand(targets.rstrip("&")).split()
        after = after.removeprefix(":").strip()
        if local := _DEFINITION.fullmatch(after):
            for target in names:
                self._assign(self._local.setdefault(target, {}), local[1], local[2], local[3])
            return
        self._targets = tuple(names)
        _, semicolon, recipe = line.text.partition(";")
        if semicolon and ";" in after:
            self._recipe(name, _Line(line.number, recipe.strip()))

    def _include(self, names: str) -> None:
        # For make, two asterisks are no more than one.
        for name in re.sub(r"\*+", "*", self.expand(names)).split():
            if "$" in name or name.startswith("/") or ".." in name.split("/"):
                continue
            for path in sorted(self.root.glob(name)) if "*" in name else [self.root / name]:
                self._file(path)

    def _assign(self, scope: dict[str, _Variable], name: str, operator: str, value: str) -> None:
        holds = [branch.holds for branch in self._branches]
        before = scope.get(name) or self._variables.get(name)
        # What only may count gives a value where there is none.
        if False in holds or (before and (None in holds or operator == "?=")):
            return
        if operator == "!=":
            scope[name] = _Variable(f"$(shell {self.expand(value)})")
        elif operator == "+=" and before:
            more = value if before.deferred else self.expand(value)
            total = f"{before.value} {more}".strip()
            scope[name] = before if len(total) > _LONGEST else _Variable(total, before.deferred)
        elif operator.startswith(":"):
            scope[name] = _Variable(self.expand(value))
        else:
            scope[name] = _Variable(value, deferred=True)

    def _lookup(self, name: str) -> _Variable | None:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        return self._variables.get(name)

    def expand(self, text: str, *, empty: bool = False) -> str:
        """Return a text with its variables and functions replaced, as far as they are known.

        Args:
            text: as written.
            empty: a variable without a value is empty, as in a condition, and not left.
        """
        self._steps += len(text) + 1
        if "$" not in text or self._steps > _STEPS or self._depth > _DEEPEST:
            return text
        parts, at, length = list[str](), 0, 0
        self._depth += 1
        while (dollar := text.find("$", at)) >= 0 and length <= _LONGEST:
            piece, end = self._dollar(text, dollar, empty=empty)
            parts += [text[at:dollar], piece]
            length += len(parts[-1]) + len(parts[-2])
            at = end
        self._depth -= 1
        self._steps += length
        return text if length > _LONGEST else "".join([*parts, text[at:]])

    def _dollar(self, text: str, at: int, *, empty: bool) -> tuple[str, int]:
        """Return what stands for a dollar sign's expansion, and where the text goes on."""
        sign = text[at + 1 : at + 2]
        if sign not in {"(", "{"}:
            if sign in {"$", ""}:
                return "$", at + 2
            return self._value(sign, f"${sign}", empty=empty), at + 2
        end = self._end(text, at + 2, sign)
        if end < 0:
            return text[at : at + 2], at + 2
        raw, inner = text[at : end + 1], text[at + 2 : end]
        return self._reference(raw, inner, empty=empty), end + 1

    def _end(self, text: str, start: int, opening: str) -> int:
        ending, depth = ")" if opening == "(" else "}", 1
        for found in re.compile(rf"[\{opening}\{ending}]").finditer(text, start):
            self._steps += found.end() - start
            depth += 1 if found[0] == opening else -1
            if not depth:
                return found.start()
            if self._steps > _STEPS:
                break
        self._steps += len(text) - start
        return -1

    def _reference(self, raw: str, inner: str, *, empty: bool) -> str:
        if (found := _FUNCTION.fullmatch(inner)) and "$" not in found[1]:
            return self._function(raw, found[1], found[2], empty=empty)
        if found := _SUBSTITUTION.fullmatch(inner):
            value = self._value(self.expand(found[1]), "", empty=True)
            old, new = self.expand(found[2]), self.expand(found[3])
            old, new = (old, new) if "%" in old else (f"%{old}", f"%{new}")
            return raw if _UNKNOWN.search(value) or not value else patsubst(old, new, value)
        return self._value(self.expand(inner), raw, empty=empty)

    def _value(self, name: str, raw: str, *, empty: bool) -> str:
        found = self._lookup(name)
        if found is None:
            return "" if empty and raw[1:2] in _BRACKETS else raw
        if not found.deferred:
            return found.value
        if name in self._active:
            return raw
        self._active.append(name)
        value = self.expand(found.value, empty=empty)
        self._active.pop()
        return value

    def _function(self, raw: str, name: str, text: str, *, empty: bool) -> str:
        own = {"if": self._if, "or": self._or_and, "and": self._or_and}
        own |= {"foreach": self._foreach, "call": self._call}
        if name in own:
            return own[name](raw, name, text)
        if name in _PATHS:
            return self.expand(text, empty=empty).strip()
        if name in FUNCTIONS:
            count, work = FUNCTIONS[name]
            values = [self.expand(one, empty=empty) for one in _split(text, count)]
            whole = name in WORD_BY_WORD or not any(map(_UNKNOWN.search, values))
            if len(values) == count and whole:
                return work(*values)
            return f"$({name} {','.join(values)})"
        if name not in _LEFT:
            return raw
        command = self.expand(text)
        return "." if (name, command.strip()) == ("shell", "pwd") else f"$({name} {command})"

    def _if(self, raw: str, _: str, text: str) -> str:
        condition, *values = _split(text, 3)
        known = self.expand(condition, empty=True).strip()
        if _UNKNOWN.search(known):
            return raw
        return self.expand("".join(values[:1] if known else values[1:]))

    def _foreach(self, raw: str, _: str, text: str) -> str:
        variable, words, body = (*_split(text, 3), "", "")[:3]
        found, name = list[str](), self.expand(variable).strip()
        if not name:
            return raw
        for word in split_fields(self.expand(words)):
            with self._scope({name: _Variable(word)}):
                found.append(self.expand(body))
        return " ".join(found)[:_LONGEST]

    def _call(self, raw: str, _: str, text: str) -> str:
        called, *given = _split(text, _LINES)
        arguments = [self.expand(one) for one in given]
        scope = {str(n): _Variable(one) for n, one in enumerate(arguments, 1)}
        with self._scope({**scope, "0": _Variable(called.strip())}):
            return self._value(self.expand(called).strip(), raw, empty=False)

    def _or_and(self, raw: str, name: str, text: str) -> str:
        value = ""
        for part in _split(text, _LINES):
            value = self.expand(part, empty=True).strip()
            if _UNKNOWN.search(value):
                return value if name == "or" else raw
            if bool(value) == (name == "or"):
                break
        return value


def _until_endef(lines: Iterator[_Line]) -> Iterator[str]:
    for line in lines:
        if line.text.strip() == "endef":
            return
        yield line.text.removeprefix("\t")
