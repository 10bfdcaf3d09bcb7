"""What every form of a report says in the same words."""

from __future__ import annotations

import unicodedata
from typing import Final

from buildlib.findings.secrets import HIDDEN, hide_tokens, looks_secret
from buildlib.records.record import Record
from buildlib.records.redaction import is_hidden
from buildlib.terminal.text import clean, redact

# Marks of direction, which the terminal's rules leave in.
_HIDDEN_MARKS: Final = {"\u061c", "\u200e", "\u200f"}
_MINUTE: Final = 60


def shown(text: str) -> str:
    """Return a text as any reader may have it: no secret, no control character, valid UTF-8."""
    text = redact(clean(hide_tokens(text, lambda _: HIDDEN)))
    if not text.isprintable():
        text = "".join(
            f"\\u{ord(one):04x}"
            if one in _HIDDEN_MARKS or unicodedata.category(one) in {"Cs", "Cn"}
            else one
            for one in text
        )
    return text


def argument(name: str, value: str) -> str:
    """Return the value of a build arg; of a secret, that it is one."""
    return HIDDEN if is_hidden(value) or looks_secret(name, value) else value


def duration(seconds: float | None) -> str:
    """Return a time as people read it: `0.3 s`, `1 min 5 s`."""
    if seconds is None:
        return ""
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    return f"{minutes} min {rest} s"


def share(part: float, whole: float) -> str:
    """Return a share in percent."""
    return f"{100 * part / whole:.0f} %" if whole > 0 else ""


def cached_of(record: Record) -> tuple[int, int]:
    """Return how many steps were cached, and how many there were."""
    steps = [one for one in record.steps if one.parts.total]
    return sum(one.cached for one in steps), len(steps)
