"""What a registry answers: its headers and documents, and its words without what opens anything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

from urllib3.util import Url

from buildlib.console import redact
from buildlib.registry.headers import Challenge, read_challenges, read_links

WHO_ANSWERS: Final = "see whether it is the registry that answers, and not a page of a proxy's"
_LONGEST: Final = 300
_NOT_FOUND: Final = 404
# What registries say of what they do not have. By the distribution-spec, as distribution, Docker
# Hub, GHCR, ECR, Artifact Registry and zot have it; then Harbor's own word; then Quay's.
_UNKNOWN: Final = frozenset({"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND", "TAG_EXPIRED"})
# Addresses may be signed, and then are a secret of their own.
_QUERY: Final = re.compile(r"(https?://[^\s?\"']+)\?[^\s\"']*")
# The tokens that most services give; RFC 7519. Another program's are not known here.
_TOKEN: Final = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*")
# How urllib3 begins what it says of a connection.
_CONNECTION: Final = re.compile(r"\w+\(host='([^']*)', port=([0-9]+|None)\): ")
_VISIBLE: Final = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the registry said.

    Args:
        status: of HTTP.
        headers: by their names in lower case; several of one name are joined by commas.
        body: of a document the whole; of an error no more than its beginning.
        url: that gave it, after redirects.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: Url = Url()  # noqa: RUF009 - a tuple

    @property
    def reason(self) -> str:
        """Return the status, and the registry's own words where it has some; see `clean`."""
        words = (self._error.get(key) for key in ("code", "message"))
        said = ": ".join(word for word in words if isinstance(word, str) and word)
        return f"{self.status} {said}".rstrip()

    @property
    def _error(self) -> Mapping[str, Any]:
        with suppress(ValueError, LookupError, TypeError):
            first = read_object(self.body)["errors"][0]
            return first if isinstance(first, dict) else {}
        return {}

    @property
    def is_unknown(self) -> bool:
        """Return whether a registry says itself that it does not have what was asked for.

        A 404 alone says nothing: a proxy and a server that is set up wrongly give one as well, and
        a version that is taken for new would be overwritten.
        """
        code, message = (self._error.get(key) for key in ("code", "message"))
        if self.status != _NOT_FOUND or not isinstance(code, str):
            return False
        # Some have a code of their own, as Red Hat's, and say it in words.
        words = isinstance(message, str) and "not found" in message.lower()
        return code in _UNKNOWN or (bool(code) and words)

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
    def challenges(self) -> tuple[Challenge, ...]:
        """Return how to sign in, in the registry's order."""
        return read_challenges(self.headers.get("www-authenticate", ""))

    @property
    def onward(self) -> tuple[str, ...]:
        """Return where the next page of a list is; nothing on the last one.

        Raises:
            ValueError: there is a header that may say so, and can't be read.
        """
        links = read_links(self.headers.get("link", ""))
        return tuple(dict.fromkeys(one.target for one in links if "next" in one.relations))

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


def reason_of(error: BaseException) -> str:
    """Return why there is no answer, without the names of classes."""
    inner = next((one for one in error.args[::-1] if isinstance(one, BaseException)), None)
    if inner is None:
        return _CONNECTION.sub(r"\1:\2: ", str(error)) or type(error).__name__
    around = [one.rstrip(".") for one in error.args if isinstance(one, str) and one]
    return ": ".join((*around, reason_of(inner)))


def on_one_line(text: str) -> str:
    """Return words as a message has them: not too long either."""
    return text.replace("\n", " ").strip()[:_LONGEST]
