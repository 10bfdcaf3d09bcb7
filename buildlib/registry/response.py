"""Responses of a registry: status, headers, JSON, and texts without secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final

from urllib3.util import Url

from buildlib.registry.headers import Challenge, read_challenges, read_links
from buildlib.terminal.text import redact

WHO_ANSWERS: Final = "check that the registry answers, and not a proxy before it"
_LONGEST: Final = 300
_NOT_FOUND: Final = 404
# The codes for what is missing: of the distribution-spec, as in distribution, Docker Hub, GHCR,
# ECR, Artifact Registry and zot; then Harbor's own; then Quay's.
_UNKNOWN: Final = frozenset({"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND", "TAG_EXPIRED"})
# A signed address is a secret.
_QUERY: Final = re.compile(r"(https?://[^\s?\"']+)\?[^\s\"']*")
# The form of most tokens, RFC 7519, also of those of other programs.
_TOKEN: Final = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*")
# The beginning of urllib3's messages about a connection.
_CONNECTION: Final = re.compile(r"\w+\(host='([^']*)', port=([0-9]+|None)\): ")
_VISIBLE: Final = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Response:
    """A response of a registry, or of a server that it leads to.

    Args:
        headers: by their names in lower case; several of one name are joined by commas.
        body: the whole of a document; only the beginning of an error.
        url: of the server, after redirects.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: Url = field(default_factory=Url)

    @property
    def reason(self) -> str:
        """Return the status with the registry's own code and message; see `clean`."""
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
        """Return whether the registry itself says that it does not have what was requested.

        A 404 alone is not enough: proxies and misconfigured servers send one as well, and a version
        that is taken for new would be overwritten.
        """
        code, message = (self._error.get(key) for key in ("code", "message"))
        if self.status != _NOT_FOUND or not isinstance(code, str):
            return False
        # Some, such as Red Hat's, have a code of their own, with a message.
        words = isinstance(message, str) and "not found" in message.lower()
        return code in _UNKNOWN or (bool(code) and words)

    @property
    def token(self) -> str:
        """Return the token of a token service, empty if it has none that fits into a header."""
        found = object_or_nothing(self.body)
        token = found.get("token") or found.get("access_token")
        return token if isinstance(token, str) and _VISIBLE.fullmatch(token) else ""

    @property
    def challenges(self) -> tuple[Challenge, ...]:
        """Return the ways to sign in, in the registry's order."""
        return read_challenges(self.headers.get("www-authenticate", ""))

    @property
    def next_pages(self) -> tuple[str, ...]:
        """Return the addresses of the next page of a list; none on the last one.

        Raises:
            ValueError: the header can't be read.
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
    if isinstance(found, dict):
        return found
    raise ValueError(type(found).__name__)


def object_or_nothing(data: bytes) -> Mapping[str, Any]:
    """Return a JSON object; empty for anything else."""
    with suppress(ValueError):
        return read_object(data)
    return {}


def clean(text: str, secrets: Iterable[str]) -> str:
    """Return a text without secrets and control characters.

    Args:
        text: from a registry, or another program.
        secrets: to remove, beside those that are known by their form.
    """
    # A secret may be part of another.
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    text = _TOKEN.sub("***", _QUERY.sub(r"\1?***", redact(text)))
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def reason_of(error: BaseException) -> str:
    """Return why there is no response, without the names of classes."""
    inner = next((one for one in error.args[::-1] if isinstance(one, BaseException)), None)
    if inner is None:
        return _CONNECTION.sub(r"\1:\2: ", str(error)) or type(error).__name__
    around = [one.rstrip(".") for one in error.args if isinstance(one, str) and one]
    return ": ".join((*around, reason_of(inner)))


def on_one_line(text: str) -> str:
    """Return a text for a message: one line, and not too long."""
    return text.replace("\n", " ").strip()[:_LONGEST]
