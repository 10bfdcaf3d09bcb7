"""Variables in the words of a Dockerfile, replaced as BuildKit does.

Source: github.com/moby/buildkit frontend/dockerfile/shell/lex.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

# $NAME and ${NAME…}; what follows the name may hold variables itself.
# What stands before it is not a variable: 'text', an escaped character, a double quote.
_VARIABLE: Final = re.compile(
    r"""'([^']*)'|\\(.)|"|\$(\w+)|\$\{(\w+)([^{}]*(?:\$\{[^{}]*\}[^{}]*)*)\}"""
)
# Between a name and a word: ${NAME:-word}, ${NAME%pattern}, ${NAME/pattern/word}, and so on.
_SIGNS: Final = (":-", ":+", ":?", "##", "%%", "//", "-", "+", "?", "#", "%", "/")


def make_scope(
    args: Iterable[tuple[str, str | None]], given: Mapping[str, str], own: Iterable[str]
) -> Mapping[str, str]:
    """Return the variables that a FROM sees: an ARG's default sees those before it.

    Args:
        args: those above the first stage, in their order; without a default one is empty.
        given: values by name, which win over defaults.
        own: the names of those that are there without an ARG.
    """
    scope = {name: given[name] for name in own if name in given}
    for name, default in args:
        # One without a default is there, and empty.
        scope[name] = given[name] if name in given else expand(default or "", scope)
    return scope


def expand(text: str, scope: Mapping[str, str]) -> str:
    """Return a word without its quotes, its variables replaced; one that is not there is empty."""

    def value(match: re.Match[str]) -> str:
        plain, escaped, bare, name, rest = match.groups()
        if not (bare or name):
            return plain or escaped or ""
        sign = next((sign for sign in _SIGNS if rest.startswith(sign)), "") if rest else ""
        if rest and not sign:
            # The builder refuses it.
            return match[0]
        found = scope.get(bare or name)
        if sign[-1:] == "?" and not (found or (sign == "?" and found is not None)):
            return match[0]
        return _substituted(found, sign, rest[len(sign) :], scope) if sign else found or ""

    return _VARIABLE.sub(value, text)


def _substituted(found: str | None, sign: str, word: str, scope: Mapping[str, str]) -> str:
    """Return what stands for a variable, by the sign and the word that follow its name."""
    value, other = found or "", expand(word, scope)
    if sign[0] in "#%":
        return _cut(value, sign, other)
    if sign[0] == "/":
        pattern, _, put = other.partition("/")
        return _glob(pattern).sub(lambda _: put, value, count=1 if sign == "/" else 0)
    there = bool(value) if sign[0] == ":" else found is not None
    if sign[-1] == "+":
        return other if there else ""
    return other if sign[-1] == "-" and not there else value


def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)


def _cut(value: str, sign: str, pattern: str) -> str:
    """Return the value without the beginning (#) or the end (%) that the pattern matches."""
    regex, from_end = _glob(pattern), sign[0] == "%"
    cuts = range(len(value) + 1)
    # One sign takes away as little as it can, two as much.
    for cut in cuts if sign in {"#", "%%"} else reversed(cuts):
        before, after = value[:cut], value[cut:]
        if regex.fullmatch(after if from_end else before):
            return before if from_end else after
    return value
