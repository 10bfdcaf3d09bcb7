"""The functions of make that only rearrange words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from buildlib.adopt.shell_text import split_fields


def matches(pattern: str, word: str) -> str | None:
    """Return what `%` stands for, where a word fits a pattern; an empty text where it has none."""
    before, percent, after = pattern.partition("%")
    if not percent:
        return "" if pattern == word else None
    fits = word.startswith(before) and word.endswith(after)
    if not fits or len(word) < len(before) + len(after):
        return None
    return word[len(before) : len(word) - len(after)]


def patsubst(pattern: str, replacement: str, text: str) -> str:
    """Return the words of a text, those that fit the pattern replaced."""
    words = []
    for word in text.split():
        stem = matches(pattern, word)
        fitting = replacement.replace("%", stem or "", 1) if "%" in pattern else replacement
        words.append(word if stem is None else fitting)
    return " ".join(words)


def _filter(patterns: str, text: str, *, wanted: bool) -> str:
    def fits(word: str) -> bool:
        return any(matches(pattern, word) is not None for pattern in patterns.split())

    return " ".join(word for word in text.split() if fits(word) == wanted)


def _word(number: str, text: str) -> str:
    words = text.split()
    at = int(number) if re.fullmatch(r"[0-9]{1,9}", number.strip()) else 0
    return words[at - 1] if 0 < at <= len(words) else ""


def _wordlist(start: str, end: str, text: str) -> str:
    numbers = [re.fullmatch(r"[0-9]{1,9}", one.strip()) for one in (start, end)]
    if not all(numbers):
        return ""
    return " ".join(text.split()[max(int(start) - 1, 0) : int(end)])


def _each(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: " ".join(filter(None, map(change, text.split())))


def _stem(word: str) -> tuple[str, str]:
    dot = word.rfind(".")
    return (word[:dot], word[dot:]) if dot > word.rfind("/") else (word, "")


def _joined(first: str, second: str) -> str:
    one, other = first.split(), second.split()
    length = max(len(one), len(other))
    one += [""] * (length - len(one))
    other += [""] * (length - len(other))
    return " ".join(a + b for a, b in zip(one, other, strict=True))


def _affixed(words: Iterable[str], before: str = "", after: str = "") -> str:
    return " ".join(f"{before}{word}{after}" for word in words)


# By name: how many arguments (the last takes the remaining commas), and what it does.
# Source: the manual of GNU make, "Functions for Transforming Text".
FUNCTIONS: Final[Mapping[str, tuple[int, Callable[..., str]]]] = {
    "subst": (3, lambda old, new, text: text.replace(old, new) if old else text + new),
    "patsubst": (3, patsubst),
    "strip": (1, lambda text: " ".join(text.split())),
    "findstring": (2, lambda wanted, text: wanted if wanted in text else ""),
    "filter": (2, lambda patterns, text: _filter(patterns, text, wanted=True)),
    "filter-out": (2, lambda patterns, text: _filter(patterns, text, wanted=False)),
    "sort": (1, lambda text: " ".join(sorted(set(text.split())))),
    "word": (2, _word),
    "wordlist": (3, _wordlist),
    "words": (1, lambda text: str(len(text.split()))),
    "firstword": (1, lambda text: "".join(text.split()[:1])),
    "lastword": (1, lambda text: "".join(text.split()[-1:])),
    "dir": (1, _each(lambda word: word[: word.rfind("/") + 1] or "./")),
    "notdir": (1, _each(lambda word: word.rpartition("/")[2])),
    "basename": (1, _each(lambda word: _stem(word)[0])),
    "suffix": (1, _each(lambda word: _stem(word)[1])),
    "addprefix": (2, lambda affix, text: _affixed(split_fields(text), before=affix)),
    "addsuffix": (2, lambda affix, text: _affixed(split_fields(text), after=affix)),
    "join": (2, _joined),
    # What they print is for who runs make.
    "info": (1, lambda _: ""),
    "warning": (1, lambda _: ""),
    "error": (1, lambda _: ""),
}
# Those that need not know what a word is.
WORD_BY_WORD: Final = {"addprefix", "addsuffix"}
