"""Reads the commands of a shell script without running any.

Quotes, escapes, here-documents and variables with a known value are read as a POSIX shell reads
them. What only running could tell (`$(date)`, `$1`) stays as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from posixpath import normpath
from typing import Final, NamedTuple

_PLAIN: Final = re.compile(r"[^\s\\'\"$`;|&()<>#]+")
_QUOTED: Final = re.compile(r"[^\\\"$`\n]+")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_OPERATOR: Final = re.compile(r"&&|\|\||;;|\|&|&>>?|<<-|<<<|<<|>>|>&|<&|>\||[;|&()<>\n]")
_HEREDOC: Final = re.compile(r"[ \t]*(['\"]?)([\w.-]+)\1")
_DEFAULT: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*|[0-9@*])(?::?[-=])(.*)", re.DOTALL)
_SCRIPT_FOLDER: Final = re.compile(r"\$\(dirname\b[^()]*(?:\$0|\$\{?BASH_SOURCE)[^()]*\)")
_DECLARES: Final = {"export", "local", "readonly", "declare", "typeset"}
_OPENS: Final = {"if", "for", "while", "until", "case", "{"}
_CLOSES: Final = {"fi", "done", "esac", "}"}
_WITHIN: Final = {"then", "else", "elif", "do", "!", *_OPENS, "time"}
# How far a bracket is looked for, and how often in vain: any text ends in bounded time.
_FURTHEST: Final = 4096
_VAIN: Final = 64
_DEEPEST: Final = 8


class Command(NamedTuple):
    """A simple command.

    Args:
        words: as the program would get them.
        line: where it begins, from 0.
        folder: that it is run in.
        env: the variables before it.
        inside: it is in a condition, a loop or a function.
        stdin: the file or the here-document that it reads.
    """

    words: tuple[str, ...]
    line: int
    folder: str
    env: tuple[tuple[str, str], ...] = ()
    inside: bool = False
    stdin: str = ""


def closing(text: str, start: int, opening: str = "(", ending: str = ")") -> int:
    """Return where the bracket closes whose content begins at `start`; -1: nowhere near."""
    depth, at, quote = 1, start, ""
    for at in range(start, min(len(text), start + _FURTHEST)):
        char = text[at]
        if at > start and text[at - 1] == "\\":
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == opening:
            depth += 1
        elif char == ending:
            depth -= 1
            if not depth:
                return at
    return -1


def split_fields(text: str) -> list[str]:
    """Split a value at blanks, as a shell does; what it would have to run first is one piece."""
    pieces, at, start = list[str](), 0, 0
    while at < len(text):
        if text[at].isspace():
            pieces.append(text[start:at])
            at = start = at + 1
            continue
        end = closing(text, at + 2) if text.startswith("$(", at) else -1
        at = end + 1 if end >= 0 else at + 1
    return [piece for piece in (*pieces, text[start:]) if piece]


class _Token(NamedTuple):
    """A word, or an operator."""

    text: str
    line: int
    operator: bool = False


@dataclass
class _Reader:
    """Splits a text into tokens."""

    text: str
    variables: Mapping[str, str]
    depth: int = 0
    at: int = 0
    line: int = 0
    vain: int = 0
    # Of the word at hand: None where none has begun.
    word: str | None = None
    begun: int = 0
    done: list[_Token] = field(default_factory=list)
    # Ends of here-documents whose text comes after this line.
    heredocs: list[str] = field(default_factory=list)

    def tokens(self) -> Iterator[_Token]:
        while self.at < len(self.text):
            self._step(self.text[self.at])
            yield from self.done
            self.done.clear()
        self._end_word()
        yield from self.done

    def _step(self, char: str) -> None:
        if plain := _PLAIN.match(self.text, self.at):
            self._add(plain[0])
            self.at = plain.end()
        elif char == "\\":
            following = self.text[self.at + 1 : self.at + 2]
            self.line += following == "\n"
            if following != "\n":
                self._add(following)
            self.at += 2
        elif char in " \t\r":
            self._end_word()
            self.at += 1
        elif char == "#" and self.word is None:
            end = self.text.find("\n", self.at)
            self.at = len(self.text) if end < 0 else end
        elif char == "'":
            end = self.text.find("'", self.at + 1)
            end = len(self.text) if end < 0 else end
            self._add(self.text[self.at + 1 : end])
            self.line += self.text.count("\n", self.at, end)
            self.at = end + 1
        elif char == '"':
            self.at += 1
            self._quoted()
        elif char in "$`":
            self._fields(self._dollar())
        elif found := _OPERATOR.match(self.text, self.at):
            self._operator(found[0])
        else:
            self._add(char)
            self.at += 1

    def _operator(self, operator: str) -> None:
        if operator[0] in "<>" and (self.word or "").isdecimal():
            self.word = None  # a file descriptor
        self._end_word()
        self.done.append(_Token(operator, self.line, operator=True))
        self.at += len(operator)
        if operator == "\n":
            self.line += 1
            self._skip_heredocs()
        elif operator in {"<<", "<<-"} and (found := _HEREDOC.match(self.text, self.at)):
            self.heredocs.append(found[2])

    def _skip_heredocs(self) -> None:
        for ending in self.heredocs:
            found = re.compile(rf"^\t*{re.escape(ending)}$", re.MULTILINE).search(
                self.text, self.at
            )
            end = found.end() if found else len(self.text)
            self.line += self.text.count("\n", self.at, end)
            self.at = end
        self.heredocs.clear()

    def _quoted(self) -> None:
        self._add("")
        while self.at < len(self.text):
            char = self.text[self.at]
            following = self.text[self.at + 1 : self.at + 2]
            if char == '"':
                self.at += 1
                return
            if plain := _QUOTED.match(self.text, self.at):
                self._add(plain[0])
                self.at = plain.end()
                continue
            if char == "\\" and following and following in '"\\$`\n':
                self._add("" if following == "\n" else following)
                self.line += following == "\n"
                self.at += 2
            elif char in "$`":
                self._add(self._dollar())
            else:
                self._add(char)
                self.line += char == "\n"
                self.at += 1

    def _add(self, text: str) -> None:
        if self.word is None:
            self.word, self.begun = "", self.line
        self.word += text

    def _fields(self, text: str) -> None:
        """Add what an expansion without quotes comes to: as many words as it has."""
        pieces = split_fields(text)
        if text[:1].isspace():
            self._end_word()
        for number, piece in enumerate(pieces):
            if number:
                self._end_word()
            self._add(piece)
        if pieces and text[-1:].isspace():
            self._end_word()

    def _end_word(self) -> None:
        if self.word is not None:
            self.done.append(_Token(self.word, self.begun))
        self.word = None

    def _dollar(self) -> str:
        """Return what stands for an expansion, and go behind it."""
        start = self.at
        if self.text[start] == "`":
            end = self.text.find("`", start + 1, start + _FURTHEST)
            self.at = (start if end < 0 else end) + 1
            return "`" if end < 0 else f"$({self.text[start + 1 : end]})"
        following = self.text[start + 1 : start + 2]
        if following and following in "({" and self.vain < _VAIN:
            brackets = ("(", ")") if following == "(" else ("{", "}")
            end = closing(self.text, start + 2, *brackets)
            if end >= 0:
                self.at = end + 1
                self.line += self.text.count("\n", start, end)
                raw = self.text[start : self.at]
                return raw if following == "(" else self._braced(raw, raw[2:-1])
            self.vain += 1
        if found := _NAME.match(self.text, start + 1):
            self.at = found.end()
            return self.variables.get(found[0], f"${found[0]}")
        self.at += 2 if following and following in "0123456789@*#?$!-" else 1
        return self.text[start : self.at]

    def _braced(self, raw: str, inner: str) -> str:
        if _NAME.fullmatch(inner):
            return self.variables.get(inner, raw)
        found = _DEFAULT.fullmatch(inner)
        if not found or self.depth > _DEEPEST:
            return raw
        if found[1] in self.variables:
            return self.variables[found[1]]
        tokens = _Reader(found[2], self.variables, self.depth + 1).tokens()
        return " ".join(token.text for token in tokens)


_INTERPOLATED: Final = re.compile(
    r"\$\$|\$\{([A-Za-z_]\w*+)(?:(:?[-?])([^{}]*+))?\}|\$([A-Za-z_]\w*+)"
)


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """Return a text of a compose file, its variables replaced by their value or their default."""

    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        default = found[3] if (found[2] or "").endswith("-") else found[0]
        return variables.get(found[1] or found[4], default)

    return _INTERPOLATED.sub(value, text)


def shell_words(text: str, variables: Mapping[str, str]) -> list[str]:
    """Return the words of a text; operators between them are left out."""
    return [token.text for token in _Reader(text, variables).tokens() if not token.operator]


def shell_commands(
    text: str, variables: MutableMapping[str, str], folder: str = ".", script: str = "."
) -> Iterator[Command]:
    """Yield the commands of a script, in their order.

    Args:
        text: the script.
        variables: what is known at its beginning; the script's own are added.
        folder: that it is run in.
        script: the folder that it lies in, for `cd "$(dirname "$0")"`.
    """
    interpreter = _Interpreter(variables, folder, script)
    for token in _Reader(text, variables).tokens():
        if token.operator:
            yield from interpreter.operator(token)
        else:
            interpreter.word(token)
    yield from interpreter.end()


@dataclass
class _Interpreter:
    """Follows directories, assignments and blocks from command to command."""

    variables: MutableMapping[str, str]
    folder: str
    script: str
    depth: int = 0
    words: list[str] = field(default_factory=list)
    line: int = 0
    redirect: str = ""
    stdin: str = ""
    outer: list[str] = field(default_factory=list)

    def word(self, token: _Token) -> None:
        if self.redirect:
            self.stdin = token.text if self.redirect.startswith("<") else self.stdin
            self.redirect = ""
            return
        if not self.words:
            self.line = token.line
            if token.text in _WITHIN | _CLOSES:
                self.depth += (token.text in _OPENS) - (token.text in _CLOSES)
                return
        self.words.append(token.text)

    def operator(self, token: _Token) -> Iterator[Command]:
        if token.text[0] in "<>" or token.text.startswith("&>"):
            self.redirect = token.text
            return
        self.redirect = ""
        yield from self.end()
        if token.text == "(":
            self.outer.append(self.folder)
        elif token.text == ")" and self.outer:
            self.folder = self.outer.pop()

    def end(self) -> Iterator[Command]:
        words, stdin = self.words, self.stdin
        self.words, self.stdin = [], ""
        env = list[tuple[str, str]]()
        while words and (found := _ASSIGNMENT.fullmatch(words[0])):
            env.append((found[1], found[2]))
            words = words[1:]
        if not words:
            self.variables.update(env)
        elif words[0] in _DECLARES:
            pairs = (_ASSIGNMENT.fullmatch(word) for word in words[1:])
            self.variables.update((pair[1], pair[2]) for pair in pairs if pair)
        elif words[0] == "cd":
            self._change(words[1:])
        else:
            inside = self.depth > 0
            yield Command(tuple(words), self.line, self.folder, tuple(env), inside, stdin)

    def _change(self, words: list[str]) -> None:
        target = next((word for word in words if not word.startswith("-")), "")
        if found := _SCRIPT_FOLDER.match(target):
            self.folder = normpath(f"{self.script}/.{target[found.end() :]}")
        elif target.startswith(("/", "$", "~")) or not target:
            self.folder = target or "~"
        else:
            self.folder = normpath(f"{self.folder}/{target}")
