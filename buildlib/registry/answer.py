"""What a registry answers: its headers and documents, and its words without what opens anything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

from buildlib.console import redact

_LONGEST: Final = 300
_PARAMETER: Final = re.compile(r'(\w+)="([^"]*)"')
# Addresses may be signed, and then are a secret of their own.
_QUERY: Final = re.compile(r"(https?://[^\s?\"']+)\?[^\s\"']*")
# The tokens that most services give; RFC 7519. Another program's are not known here.
_TOKEN: Final = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*")
_VISIBLE: Final = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the registry said; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def reason(self) -> str:
        """Return the status, and the registry's own words where it has some; see `clean`."""
        with suppress(ValueError, LookupError, TypeError, AttributeError):
            first = read_object(self.body)["errors"][0]
            words = ": ".join(str(first[key]) for key in ("code", "message") if first.get(key))
            return f"{self.status} {words}"
        return str(self.status)

    @property
    def token(self) -> str:
        """Return the token that a token service gives, or nothing: a header has to take it."""
        with suppress(ValueError):
            found = read_object(self.body)
            token = found.get("token") or found.get("access_token")
            if isinstance(token, str) and _VISIBLE.fullmatch(token):
                return token
        return ""

    @property
    def challenge(self) -> tuple[str, dict[str, str]]:
        """Return how to sign in: the scheme, and its parameters."""
        scheme, _, rest = self.headers.get("www-authenticate", "").partition(" ")
        return scheme.lower(), dict(_PARAMETER.findall(rest))

    def asked_wait(self, now: float) -> float:
        """Return the seconds that `Retry-After` asks for; RFC 9110, 10.2.3."""
        text = self.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            return float(text)
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - now)
        except (ValueError, OverflowError):
            return 0.0


def read_object(data: bytes) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        ValueError: it is something else.
    """
    try:
        found = json.loads(data)
    except RecursionError as error:
        raise ValueError(str(error)) from None
    if not isinstance(found, dict):
        raise ValueError(type(found).__name__)  # noqa: TRY004 - as where it is no JSON at all
    return found


def clean(text: str, secrets: Iterable[str]) -> str:
    """Return somebody's words, line by line, without what they were told.

    Args:
        text: may hold what a registry answers.
        secrets: that it was told.
    """
    # One may be a part of another.
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    text = _TOKEN.sub("***", _QUERY.sub(r"\1?***", redact(text)))
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def on_one_line(text: str) -> str:
    """Return words as a message has them: not too long either."""
    return text.replace("\n", " ").strip()[:_LONGEST]
