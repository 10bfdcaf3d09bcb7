"""How a Dockerfile's text falls into instructions, their options and words, as BuildKit takes it.

Sources: github.com/moby/buildkit frontend/dockerfile/parser (parser.go, split_command.go,
directives.go, line_parsers.go) and instructions/commands_runmount.go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence

from buildlib.shell import csv_pairs

# Go's idea of a space, which is not Python's: there a separator of records is one as well.
SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
# Between an instruction and its words.
BLANKS = "\t\v\f\r "
# Comments that say how the file is to be read stand above all else, even above other comments.
_DIRECTIVES = frozenset({"check", "escape", "syntax"})
# BuildKit's own rule: a word of its own, so neither `$((1<<2))` nor `<<<text` begins one.
_HEREDOC = re.compile(r"\d*<<(-?)([^<]+)")
WORD = re.compile(rf"""(?:[^{SPACES}"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+""")
_WITH_HEREDOC = re.compile(rf"(?:ONBUILD[{BLANKS}]+)?(?:ADD|COPY|RUN)[{BLANKS}]", re.IGNORECASE)
_OPTION = re.compile(
    rf"""--(?:[^{SPACES}"'\\]|\\.|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')*""", re.DOTALL
)
_QUOTED = re.compile(r"""\\(.)|"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'""", re.DOTALL)


def split_lines(text: str) -> list[str]:
    """Return the lines of a file: nothing but a line feed ends one."""
    lines = [line.rstrip("\r") for line in text.split("\n")]
    return lines if lines[-1] else lines[:-1]


def directives(lines: Iterable[str]) -> Iterator[tuple[int, str, str]]:
    """Yield the number, from 0, the name and the value of each parser directive."""
    for number, line in enumerate(lines):
        comment, equals, value = line.strip().partition("=")
        name = comment.removeprefix("#").strip().lower()
        if not (equals and comment.startswith("#") and name in _DIRECTIVES):
            return
        yield number, name, value.strip()


def escape_of(lines: Iterable[str]) -> str:
    """Return the character that continues a line, which a parser directive may choose."""
    chosen = [value for _, name, value in directives(lines) if name == "escape"]
    return "`" if "`" in chosen else "\\"


def logical_lines(lines: Sequence[str], escape: str) -> Iterator[tuple[tuple[int, int], str]]:
    """Yield each line and where it stands; continued ones are joined.

    Comments, blank lines and the bodies of here-documents are left out.
    """
    pending, first, number = "", 0, 0
    bodies: list[tuple[str, str]] = []
    for number, raw in enumerate(lines):
        if bodies:
            strip, end = bodies[0]
            bodies = bodies[1:] if raw.lstrip(strip) == end else bodies
            continue
        bare = raw.lstrip(SPACES)
        if bare.startswith("#") or not bare:
            continue
        first = first if pending else number
        line = raw if pending else bare
        # Only blanks and tabs may follow; two of them at the end are an escaped one.
        end = line.rstrip(" \t")
        more = end.endswith(escape) and not end.endswith(escape * 2)
        pending += end[:-1] if more else line
        if more:
            continue
        yield (first, number + 1), pending.strip(SPACES)
        bodies, pending = _heredocs(pending), ""
    if pending.strip(SPACES):
        yield (first, number + 1), pending.strip(SPACES)


def heredoc_body(line: str, following: Iterable[str]) -> str:
    """Return the here-documents of an instruction, with the lines that end them."""
    bodies, taken = _heredocs(line), list[str]()
    for raw in following if bodies else ():
        taken.append(raw)
        strip, end = bodies[0]
        bodies = bodies[1:] if raw.lstrip(strip) == end else bodies
        if not bodies:
            break
    return "\n".join(taken)


def _heredocs(line: str) -> list[tuple[str, str]]:
    """Return what may stand before the last line of each here-document, and that line."""
    if not _WITH_HEREDOC.match(line):
        return []
    words = (_HEREDOC.fullmatch(word) for word in WORD.findall(line))
    return [("\t" if word[1] else "", re.sub(r"[\"'\\]", "", word[2])) for word in words if word]


def split_instruction(line: str) -> tuple[str, str]:
    """Return the name of an instruction, and all that follows."""
    name, *rest = re.split(f"[{BLANKS}]+", line, maxsplit=1)
    return name, rest[0] if rest else ""


def _bare(word: str) -> str:
    def inside(match: re.Match[str]) -> str:
        text = match[2] if match[2] is not None else match[3] or ""
        return match[1] or re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)

    return _QUOTED.sub(inside, word)


def split_options(rest: str) -> tuple[list[str], str]:
    """Return the options at the beginning, without quotes, and what follows them."""
    options: list[str] = []
    rest = rest.lstrip(SPACES)
    while found := _OPTION.match(rest):
        rest = rest[found.end() :].lstrip(SPACES)
        option = _bare(found[0])
        if option == "--":
            break
        options.append(option)
    return options, rest.strip(SPACES)


def json_words(text: str) -> list[str] | None:
    """Return the strings of a JSON list, whatever follows it; None: it is not a list of strings."""
    try:
        found, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    is_list = isinstance(found, list) and all(isinstance(word, str) for word in found)
    return found if is_list else None


def mount_value(mount: str, key: str) -> str:
    """Return the value of a key of a mount; keys are in any case, and the last one counts."""
    try:
        return csv_pairs(mount).get(key, "")
    except ValueError:
        return ""
