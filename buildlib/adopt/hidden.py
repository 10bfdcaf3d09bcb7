"""Hides the secrets of command lines: no report prints them, and no configuration gets them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from buildlib.findings.secrets import HIDDEN, has_credentials, hide_tokens, looks_secret
from buildlib.terminal.text import redact

CONFIDENTIAL: Final = "it holds a secret, which a configuration must not"
# Options with a name like that, whose value is none.
_ABOUT: Final = {"--secret", "--password-stdin"}
_CURL: Final = re.compile(r"(\bcurl\b.*?\s(?:-u|--user)[ =]?[^\s:]+:)\S+")
# Pairs of one word: of a list with commas, or of a line for another shell.
_PAIR: Final = re.compile(r"([\w.-]+)=((?:(?![,\s][\w.-]+=).)*)", re.DOTALL)


def hide(value: object) -> object:
    """Return a value of JSON without secrets."""
    if isinstance(value, str):
        return hide_text(value)
    if isinstance(value, dict):
        return {
            name: HIDDEN if isinstance(one, str) and looks_secret(name, one) else hide(one)
            for name, one in value.items()
        }
    if isinstance(value, list | tuple):
        words = all(isinstance(one, str) for one in value)
        return hide_words(value) if words else [hide(one) for one in value]
    return value


def hide_words(words: Sequence[str]) -> list[str]:
    """Return the words of a command without secrets."""
    found = list(_hidden(words))
    user = _CURL.sub(rf"\1{HIDDEN}", " ".join(found)).split(" ")
    # Only where no word has a blank are these the same words.
    return user if len(user) == len(found) else found


def secret_words(words: Sequence[str]) -> dict[str, str]:
    """Return the words of a command that hold a secret, and what is shown of each."""
    pairs = zip(words, hide_words(words), strict=True)
    return {word: shown for word, shown in pairs if shown != word}


def hide_text(text: str, known: Mapping[str, str] | None = None) -> str:
    """Return a command, or a part of one, without secrets; one without any is as it was.

    Args:
        text: of the command.
        known: words of the whole command, see `secret_words`.
    """
    known = known or {}
    for word, shown in known.items():
        if shown != HIDDEN:
            text = text.replace(word, shown)
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    found = [known.get(word, word) for word in hide_words(words)]
    return text if found == words else shlex.join(found)


def holds_secret(text: str) -> bool:
    """Return whether a command, or a part of one, would be shown with something hidden."""
    return hide_text(text) != text


def _hidden(words: Sequence[str]) -> Iterator[str]:
    login = "login" in words
    for before, word in zip(("", *words), words, strict=False):
        named = before.startswith("--") and "=" not in before and before not in _ABOUT
        option = before.lstrip("-") if named else ""
        if (login and before == "-p") or (option and looks_secret(option, word)):
            yield HIDDEN
            continue
        plain = redact(word) if has_credentials(word) or "secret_access_key" in word else word
        plain = hide_tokens(plain, lambda _: HIDDEN)
        yield _CURL.sub(rf"\1{HIDDEN}", _PAIR.sub(_pair, plain))


def _pair(found: re.Match[str]) -> str:
    name, value = found[1], found[2]
    if looks_secret(name.lstrip("-"), value):
        return f"{name}={HIDDEN}"
    return f"{name}={_PAIR.sub(_pair, value)}"
