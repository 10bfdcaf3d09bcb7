"""Asks a container's server over HTTP, on this machine: never through a proxy.

A container may answer anything: a body without end, a byte each second, headers that never
end. One deadline stands for the whole of a call, and one limit for its body.
"""

from __future__ import annotations

import socket
import time
from io import BufferedReader, RawIOBase
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
from http.client import HTTPConnection, HTTPException, HTTPResponse

_TIMEOUT: Final = 2.0
# Of what is not HTTP.
_SHOWN: Final = 80
_OK: Final = range(200, 300)
# Enough for what a list of reports or images comes to.
LONGEST: Final = 16_000_000


class ServerAnswer(NamedTuple):
    """A status and the whole body."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        """Return whether it is a success of HTTP."""
        return self.status in _OK


class _Stream(RawIOBase):
    """What a socket receives until a deadline.

    Args:
        connection: a socket that is connected.
        deadline: by the monotonic clock.
    """

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection, self._deadline = connection, deadline
        self._raw = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        self._connection.settimeout(_left(self._deadline))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedSocket:
    """As much of a socket as an answer of `http.client` wants of one."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection, self._deadline = connection, deadline

    def makefile(self, _mode: str) -> BufferedReader:
        return BufferedReader(_Stream(self._connection, self._deadline))


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def call(
    address: str, *, method: str = "GET", body: bytes | None = None, timeout: float = _TIMEOUT
) -> ServerAnswer:
    """Return what the server answers, whatever its status.

    Args:
        address: `http://host:port/path`.
        body: JSON, where the method takes one.
        timeout: seconds for the whole call.

    Raises:
        OSError: there is no answer, it is not HTTP, or it does not end within the time or LONGEST.
    """
    parts, deadline = urlsplit(address), time.monotonic() + timeout
    path = parts.path or "/"
    target = f"{path}?{parts.query}" if parts.query else path
    headers = {"Content-Type": "application/json"} if body is not None else {}
    connection = _connect(parts.hostname or "", parts.port, deadline)
    try:
        connection.connect()
        connection.sock.settimeout(_left(deadline))
        connection.request(method, target, body=body, headers=headers)
        with connection.getresponse() as answer:
            text = answer.read(LONGEST + 1)
        if len(text) > LONGEST:
            raise OSError(f"its answer is longer than {LONGEST // 1_000_000} MB")
        return ServerAnswer(answer.status, text)
    except TimeoutError as error:
        raise TimeoutError(f"its answer does not end within {timeout:.3g} s") from error
    except ConnectionResetError as error:
        # An engine's proxy takes what nothing in the container listens for.
        raise OSError("no answer: the connection is closed, as where nothing listens") from error
    except HTTPException as error:
        raise OSError(f"no HTTP: {str(error).strip()[:_SHOWN]!r}") from error
    finally:
        connection.close()


def _connect(host: str, port: int | None, deadline: float) -> HTTPConnection:
    """Return a connection whose answers have come by a deadline.

    urllib would take a proxy from the environment, for an address that only we can reach.
    """
    connection = HTTPConnection(host, port, timeout=_left(deadline))
    connection.response_class = lambda sock, **options: HTTPResponse(  # type: ignore[assignment]
        _TimedSocket(sock, deadline),  # type: ignore[arg-type]
        **options,
    )
    return connection
