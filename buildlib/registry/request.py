"""One request and its response: follows redirects, and reads bodies within their limits."""

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
from buildlib.registry.response import WHO_ANSWERS, Response

AGENT: Final = "buildlib"
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# Redirects that keep the method of requests other than GET and HEAD; RFC 9110, 15.4.
_SAME_METHOD: Final = frozenset({307, 308})
_HOPS: Final = 6
DONE: Final = 300
_PART: Final = 1 << 16
_FOLDED: Final = re.compile(r"[\r\n]+[ \t]*")
T = TypeVar("T")


class ReadableBody(Protocol):
    """A body that is read while it is sent."""

    def read(self, size: int = -1) -> bytes:
        """Return so many bytes at most."""


Body = Callable[[], "bytes | ReadableBody"]


class Options(TypedDict):
    """The options of a request.

    Args:
        scope: of the token, by the token specification.
        expect: statuses that are returned; every other one is an error.
        headers: beside those of the authorisation.
        body: returns what is sent, again for each attempt.
        limit: bytes in the body of a success; default: those of a document.
        into: takes the body of a success part by part, instead of the response.
        seconds: for the request; default: as for all.
        stays: the body is secret, and never sent to another address.
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
    """A body of a known size, whose errors are not those of the registry.

    It sends exactly as many bytes as the header of the request says: the registry would take more
    bytes for another request.

    Args:
        size: in bytes.
        sent: called with the number of bytes that were read.

    Raises:
        InputError: it can't be read, or has another size (exit 2).
    """

    def __init__(
        self,
        opened: Callable[[], IO[bytes]],
        size: int,
        sent: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._size = self._left = size
        self._sent = sent
        self._stream = self._trying(opened)

    @staticmethod
    def _trying(do: Callable[[], T]) -> T:
        try:
            return do()
        except (OSError, tarfile.TarError) as error:
            raise InputError(
                "the content to push can't be read", why=str(error), hint="check the disk"
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
            f"the content to push has {what} than the {self._size} bytes of its descriptor",
            hint="build the image again",
        )


class Exchange:
    """Sends requests to a registry, and to the servers that it leads to.

    Args:
        host: of the registry, for messages.
    """

    def __init__(self, host: str, routes: Routes, limits: Limits) -> None:
        self._host, self._routes, self._limits = host, routes, limits

    def send(self, method: str, url: Url, secret: Mapping[str, str], options: Options) -> Response:
        """Send a request, and follow redirects.

        Args:
            url: of the server that gets `secret`.
            secret: headers with credentials, which no other server gets.
            options: of the request; `expect` is not used.

        Raises:
            LocationValueError: a redirect to an invalid address.
            HTTPError, HTTPException, OSError, ValueError: there is no complete response.
            EngineError: it is larger than a limit, or encoded (exit 4).
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
                # Another host, such as the storage of a registry, must not get credentials.
                secret = {}
        raise EngineError(f"{self._host} redirects {method} without end", why=f"{_HOPS} redirects")

    def _once(self, method: str, url: Url, secret: Mapping[str, str], options: Options) -> Response:
        body = options.get("body")
        headers = {"User-Agent": AGENT, **options.get("headers", {}), **secret}
        response = self._routes.open(method, url, body() if body else None, headers)
        try:
            return self._received(method, url, response, options)
        finally:
            # A connection whose response was read completely is in the pool already.
            response.close()
            response.release_conn()

    def _received(
        self, method: str, url: Url, response: BaseHTTPResponse, options: Options
    ) -> Response:
        # Several headers of one name are one list, RFC 9110, 5.3, and a line may be folded,
        # RFC 9112, 5.2.
        headers = {
            name.lower(): _FOLDED.sub(" ", response.headers[name]) for name in response.headers
        }
        if response.status >= DONE:
            data = self._beginning(response)
        else:
            if method == "GET":
                self._check_form(headers)
            data = self._whole(method, response, options)
        return Response(response.status, headers, data, url)

    def _beginning(self, response: BaseHTTPResponse) -> bytes:
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
        """Raise if a body is compressed: its size is unknown before it is unpacked."""
        for name, plain in (("content-encoding", "identity"), ("transfer-encoding", "chunked")):
            if headers.get(name, plain).strip().lower() != plain:
                raise EngineError(
                    f"{self._host} answers GET in a form that was not asked for",
                    why=f"it has the header {name}",
                    hint=WHO_ANSWERS,
                )
