"""What texts with variables and commands mean: a fact of git, or something for the shell."""

from __future__ import annotations

import re
import shlex
from typing import Final

from buildlib.adopt.shell_text import closing

# A version as it is written in a file.
RELEASE: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z.-]+)?")
# What a command in a text finds out, and the placeholder that has it here.
_COMMANDS: Final = (
    (re.compile(r"abbrev-ref|--show-current|symbolic-ref"), "{branch}"),
    (
        re.compile(r"\bgit\b.*\bdescribe\b|\bgit\b.*\btag\b|\bcat\b.*VERSION|git-version"),
        "{version}",
    ),
    (re.compile(r"\bgit\b.*\brev-parse\b|\bgit\b.*\blog\b.*%[hH]"), "{revision}"),
    (re.compile(r"\bgit\b.*\b(?:log|show)\b.*%c|\bdate\b"), "{created}"),
)
# Of GoReleaser's templates.
_TEMPLATES: Final = {
    "Version": "{version}",
    "Tag": "{version}",
    "RawVersion": "{version}",
    "FullCommit": "{revision}",
    "Commit": "{revision}",
    "ShortCommit": "{revision}",
    "Date": "{created}",
    "CommitDate": "{created}",
    "Branch": "{branch}",
}
_SHORT: Final = re.compile(r"--short\b|%h|ShortCommit")
_TEMPLATE: Final = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")
_ANY_TEMPLATE: Final = re.compile(r"\{\{.*?\}\}")
_NAME: Final = re.compile(r"\$[A-Za-z_]\w*|\$[0-9@*#?!<^+|%]")
_AUTOMATIC: Final = re.compile(r"\$[*<^+|%]")
_FACT: Final = re.compile(r"\{(version|revision|created|branch)\}")
_MAKE_SHELL: Final = re.compile(r"\$\(shell\s+")
_MAKE_VARIABLE: Final = re.compile(r"\$\((\w+)\)")


def expansions(text: str) -> list[tuple[int, int]]:
    """Return where the parts of a text are that only running could replace."""
    found, at = list[tuple[int, int]](), 0
    while at < len(text):
        end = -1
        if text.startswith(("$(", "${"), at):
            brackets = "()" if text[at + 1] == "(" else "{}"
            end = closing(text, at + 2, *brackets) + 1 or -1
        elif match := _NAME.match(text, at) or _ANY_TEMPLATE.match(text, at):
            end = match.end()
        if end > 0:
            found.append((at, end))
        at = max(at + 1, end)
    return found


def with_facts(text: str) -> str:
    """Return a text with placeholders for the facts of a version that its commands find out."""
    parts, at = list[str](), 0
    for start, end in expansions(text):
        piece = text[start:end]
        parts += [text[at:start], _fact(piece) or piece]
        at = end
    return "".join([*parts, text[at:]])


def is_abbreviated(text: str) -> bool:
    """Return whether a text has an abbreviated revision."""
    return any(
        _fact(text[start:end]) == "{revision}" and bool(_SHORT.search(text[start:end]))
        for start, end in expansions(text)
    )


def _fact(piece: str) -> str:
    if match := _TEMPLATE.fullmatch(piece):
        return _TEMPLATES.get(match[1], "")
    if piece.startswith("$("):
        return next((fact for pattern, fact in _COMMANDS if pattern.search(piece)), "")
    return ""


def is_known(text: str) -> bool:
    """Return whether a text has nothing that only running could replace."""
    return not expansions(text)


def has_fact(text: str) -> bool:
    """Return whether a text has a placeholder."""
    return bool(_FACT.search(text))


def masked(text: str) -> str:
    """Return a text of the same length in which no separator of an expansion is left."""
    for start, end in expansions(text):
        text = f"{text[:start]}{'x' * (end - start)}{text[end:]}"
    return text


def split_image(text: str) -> tuple[str, str]:
    """Return name and tag of a reference, whatever of it has no value yet."""
    shape = masked(text)
    shape = shape.partition("@")[0]
    colon = shape.find(":", shape.rfind("/") + 1)
    return (text[:colon], text[colon + 1 : len(shape)]) if colon >= 0 else (text[: len(shape)], "")


def last_part(name: str) -> str:
    """Return the last element of an image's path."""
    return name[masked(name).rfind("/") + 1 :]


def for_shell(text: str) -> str:
    """Return a word as a shell takes it, with make's expansions in the shell's own form.

    Empty: make's functions have none.
    """
    if is_known(text):
        return shlex.quote(text)
    text = _MAKE_VARIABLE.sub(r"$\1", _MAKE_SHELL.sub("$(", text))
    if _ANY_TEMPLATE.search(text) or _AUTOMATIC.search(text):
        return ""
    parts, at = list[str](), 0
    for start, end in expansions(text):
        if text.startswith("$(", start) and text[start + 2 : end].split(" ")[0] in _FUNCTIONS:
            return ""
        parts += [re.sub(r'(["\\`$])', r"\\\1", text[at:start]), text[start:end]]
        at = end
    return '"' + "".join([*parts, re.sub(r'(["\\`$])', r"\\\1", text[at:])]) + '"'


_FUNCTIONS: Final = {
    *("subst", "patsubst", "strip", "filter", "filter-out", "sort", "word", "words", "if", "or"),
    *("and", "foreach", "call", "wildcard", "firstword", "lastword", "dir", "notdir", "basename"),
    *("suffix", "addprefix", "addsuffix", "join", "findstring", "eval", "file", "origin"),
}
