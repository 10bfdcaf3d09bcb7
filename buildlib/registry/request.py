"""One request and its answer: redirects are followed, and bodies are read within their limits."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Mapping
from typing import IO, Final, NotRequired, Protocol, TypedDict, TypeVar

from urllib3 import BaseHTTPResponse
from urllib3.util import Url

from buildlib.errors import EngineError, InputError
from buildlib.registry.address import Routes, follow, same_server
from buildlib.registry.limits import Limits
from buildlib.registry.response import WHO_ANSWERS, Answer

AGENT: Final = "buildlib"
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# Those that lead another request than GET and HEAD on as it is; RFC 9110, 15.4.
_SAME_METHOD: Final = frozenset({307, 308})
_HOPS: Final = 6
_DONE: Final = 300
_PART: Final = 1 << 16
_FOLDED: Final = re.compile(r"[\r\n]+[ \t]*")
T = TypeVar("T")


class Readable(Protocol):
    """What is read as it is sent; what it raises that is no OSError comes through."""

    def read(self, size: int = -1) -> bytes:
        """Return so many bytes at most."""


Body = Callable[[], "bytes | Readable"]


class Options(TypedDict):
    """What belongs to a request.

    Args:
        scope: what for, as the token specification has it.
        expect: codes that are answers; every other one is an error.
        headers: beside those of the authorisation.
        body: returns what is sent, again for each attempt.
        limit: bytes that the body of a success may have; without it, those of a document.
        into: takes the body of a success, part after part, so that it is not held.
        seconds: that the request may take at most; without it, as for all.
        stays: the body is secret, and goes to no other address.
    """

    scope: str
    expect: frozenset[int]
    headers: NotRequired[Mapping[str, str]]
    body: NotRequired[Body]
    limit: NotRequired[int]
    into: NotRequired[Callable[[bytes], object]]
    seconds: NotRequired[float]
    stays: NotRequired[bool]


class Content:
    """What is sent from this machine: that it can't be read is no failure of the registry's.

    Exactly as many bytes are sent as the header of the request says: of what comes after them, the
    registry would take the beginning for another request.

    Args:
        opened: opens it.
        size: bytes that it has to have.
        sent: is told how many of them were read.

    Raises:
        InputError: it can't be read, or has another size (exit 2).
    """

    def __init__(
        self,
        opened: Callable[[], IO[bytes]],
        size: int,
        sent: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Open it."""
        self._size = self._left = size
        self._sent = sent
        self._stream = self._trying(opened)

    @staticmethod
    def _trying(do: Callable[[], T]) -> T:
        try:
            return do()
        except (OSError, tarfile.TarError) as error:
            raise InputError(
                "what is to be pushed can't be read", why=str(error), hint="see to the disk"
            ) from error

    def read(self, size: int = -1) -> bytes:
        """Return so many bytes at most, or all that are left."""
        wanted = min(size, self._left) if size >= 0 else self._left
        data = self._trying(lambda: self._stream.read(wanted))
        self._left -= len(data)
        self._sent(self._size - self._left)
        if self._left and not data:
            raise self._other("less")
        if data and not self._left and self._trying(lambda: self._stream.read(1)):
            raise self._other("more")
        return data

    def _other(self, what: str) -> InputError:
        return InputError(
            f"what is to be pushed has {what} than the {self._size} bytes that its descriptor says",
            hint="build the image again",
        )


class Exchange:
    """What is asked of one registry, and of the servers that it leads to.

    Args:
        host: of the registry, for people.
        routes: to all servers.
        limits: of what may come.
    """

    def __init__(self, host: str, routes: Routes, limits: Limits) -> None:
        """Send nothing yet."""
        self._host, self._routes, self._limits = host, routes, limits

    def send(self, method: str, url: Url, secret: Mapping[str, str], options: Options) -> Answer:
        """Send a request, and follow where its answer leads.

        Args:
            method: of HTTP.
            url: of the server that may know `secret`.
            secret: headers that say who we are; another server does not get them.
            options: of the request; what is expected is not looked at.

        Raises:
            LocationValueError: the answer leads to an invalid address.
            HTTPError, HTTPException, OSError, ValueError: there is no whole answer.
            EngineError: it is larger than a limit, or in a form that was not asked for (exit 4).
            TransientError: the deadline has passed (exit 6).
        """
        start = url
        for _ in range(_HOPS):
            answer = self._once(method, url, secret, options)
            location = answer.headers.get("location", "")
            followed = _REDIRECTS if method in {"GET", "HEAD"} else _SAME_METHOD
            if answer.status not in followed or not location or options.get("stays"):
                return answer
            url = follow(url, location)
            if not same_server(start, url):
                # Another host, such as the storage behind a registry, must not learn who we are.
                secret = {}
        raise EngineError(f"{self._host} sends {method} on and on", why=f"{_HOPS} redirects")

    def _once(self, method: str, url: Url, secret: Mapping[str, str], options: Options) -> Answer:
        body = options.get("body")
        headers = {"User-Agent": AGENT, **options.get("headers", {}), **secret}
        response = self._routes.open(method, url, body() if body else None, headers)
        try:
            return self._received(method, url, response, options)
        finally:
            # One that was read to its end is in the pool again by now, and this does nothing.
            response.close()
            response.release_conn()

    def _received(
        self, method: str, url: Url, response: BaseHTTPResponse, options: Options
    ) -> Answer:
        # Several of one name are one list, and a long line may go on in the next one:
        # RFC 9110, 5.3, and RFC 9112, 5.2.
        headers = {
            name.lower(): _FOLDED.sub(" ", response.headers[name]) for name in response.headers
        }
        if response.status >= _DONE:
            data = self._beginning(response)
        else:
            if method == "GET":
                self._check_form(headers)
            data = self._whole(method, response, options)
        return Answer(response.status, headers, data, url)

    def _beginning(self, response: BaseHTTPResponse) -> bytes:
        """Return the beginning of an error: its words, where it is short enough to have some."""
        data = bytearray()
        for part in response.stream(_PART, decode_content=False):
            data += part
            if len(data) > self._limits.error:
                break
        return bytes(data[: self._limits.error])

    def _whole(self, method: str, response: BaseHTTPResponse, options: Options) -> bytes:
        limit = options.get("limit", self._limits.document)
        data, count = bytearray(), 0
        take = options.get("into", data.extend)
        for part in response.stream(_PART, decode_content=False):
            count += len(part)
            if count > limit:
                raise EngineError(
                    f"{self._host} answers {method} with more than {limit} bytes", hint=WHO_ANSWERS
                )
            take(part)
        return bytes(data)

    def _check_form(self, headers: Mapping[str, str]) -> None:
        """Raise where a body would have to be unpacked: how large it becomes nobody knows."""
        for name, plain in (("content-encoding", "identity"), ("transfer-encoding", "chunked")):
            if headers.get(name, plain).strip().lower() != plain:
                raise EngineError(
                    f"{self._host} answers GET in a form that was not asked for",
                    why=f"it has the header {name}",
                    hint=WHO_ANSWERS,
                )
