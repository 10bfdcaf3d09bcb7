"""Connections of urllib3 with a deadline for each request, and a limit for headers.

urllib3 and http.client only have a timeout for each wait: a server that sends a byte now and then
holds them for ever, and so does one that sends `100 Continue` without end, before any code of
urllib3 is reached. So the deadline is checked where bytes are read and sent.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from threading import Event
from typing import TYPE_CHECKING, Final

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HeaderParsingError
from urllib3.util.response import assert_header_parsing

from buildlib import interrupts
from buildlib.background import Background
from buildlib.errors import EngineError, TransientError
from buildlib.registry.limits import Limits
from buildlib.registry.response import WHO_ANSWERS

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Longer than any line with the size of a chunk; http.client has its own limit for other lines.
_LONGEST: Final = 4096


class Deadline:
    """The deadline of a request with all that belongs to it.

    Args:
        host: for messages.
        silence: seconds without a byte until a connection counts as dead.
        size: bytes of the largest body that may come.
    """

    def __init__(
        self, host: str, method: str, limits: Limits, *, silence: float, size: int = 0
    ) -> None:
        self.host, self.method, self.limits = host, method, limits
        self.size = max(size, limits.document)
        self._silence = silence
        self._until = time.monotonic() + limits.seconds

    def left(self) -> float:
        """Return the seconds for the next step.

        Raises:
            TransientError: the request has taken too long (exit 6).
        """
        left = self._until - time.monotonic()
        if left <= 0:
            limits = self.limits
            raise TransientError(
                f"{self.host} takes too long for {self.method}",
                why=f"more than {limits.seconds:g} s, at less than {limits.rate} bytes per second",
                hint="try again later",
            )
        return min(left, self._silence)

    def moved(self, count: int) -> None:
        """Extend the deadline for bytes that were sent or read."""
        self._until += count / self.limits.rate

    def too_much(self, what: str) -> EngineError:
        """Return the error for an answer that is larger than a limit."""
        return EngineError(
            f"{self.host} answers {self.method} with more than {what}",
            hint=WHO_ANSWERS,
        )


_DEADLINE: ContextVar[Deadline] = ContextVar("deadline")


@contextmanager
def until(deadline: Deadline) -> Iterator[None]:
    """Apply a deadline to all that is read and sent in the block."""
    before = _DEADLINE.set(deadline)
    try:
        yield
    finally:
        _DEADLINE.reset(before)


class _Incoming(io.RawIOBase):
    """Reads from a socket until the deadline, and as many bytes as are allowed."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._raw = sock, sock.makefile("rb", buffering=0)
        self._deadline = _DEADLINE.get()
        self.allow(self._deadline.limits.headers, "of headers")

    def allow(self, count: int, what: str) -> None:
        """Allow so many bytes from now on."""
        self._left, self._what = count, f"{count} bytes {what}"

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        for turn in interrupts.turns(self._deadline.left()):
            self._sock.settimeout(turn)
            with suppress(TimeoutError):
                count = self._sock.recv_into(buffer)
                break
        else:
            # The deadline may have passed.
            self._deadline.left()
            raise TimeoutError
        self._deadline.moved(count)
        self._left -= count
        if self._left < 0:
            raise self._deadline.too_much(self._what)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Lines(io.BufferedReader):
    """A reader that limits the length of a line and of a rest."""

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(_LONGEST if size is None or size < 0 else size)
        if len(line) == _LONGEST and not line.endswith(b"\n"):
            raise http.client.LineTooLong("chunk size")
        return line

    def read(self, size: int | None = -1, /) -> bytes:
        # http.client accepts a sign before the size of a chunk.
        if size is None or size < 0:
            raise http.client.HTTPException("a chunk of a negative size")
        return super().read(size)


class _LimitedResponse(http.client.HTTPResponse):
    """A response whose headers are read until the deadline, completely, and within a limit."""

    def __init__(
        self,
        sock: socket.socket,
        debuglevel: int = 0,
        method: str | None = None,
        url: str | None = None,
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp.close()
        self._incoming = _Incoming(sock)
        self.fp = _Lines(self._incoming)

    def begin(self) -> None:
        deadline = _DEADLINE.get()
        try:
            super().begin()
            # http.client takes interim responses other than `100 Continue` for the final one, and
            # the final one for the response to the next request; RFC 9110, 15.2.
            while self.status < http.HTTPStatus.OK:
                self.headers = None  # type: ignore[assignment]
                super().begin()
            assert_header_parsing(self.msg)
        except http.client.HTTPException as error:
            if type(error) in {http.client.HTTPException, http.client.LineTooLong}:
                raise deadline.too_much("100 headers, or lines of 64 KiB") from None
            raise
        except HeaderParsingError:
            # All lines after one that is not a header would be ignored.
            raise http.client.HTTPException("headers that can't be read") from None
        # Twice its size is enough for a body in chunks, unless they have only a few bytes each.
        self._incoming.allow(2 * deadline.size, "in the chunks of a body")


class _DeadlineConnection:
    """A connection that is opened, and that sends, until the deadline."""

    response_class = _LimitedResponse
    sock: socket.socket | None
    timeout: float

    def _new_conn(self) -> socket.socket:
        deadline = _DEADLINE.get()
        self.timeout = min(self.timeout, deadline.left())
        given_up = Event()
        connect: Callable[[], socket.socket] = super()._new_conn  # type: ignore[misc]

        def open_it() -> socket.socket:
            found = connect()
            if given_up.is_set():
                found.close()
            return found

        # Name resolution has no timeout and can't be interrupted, and each address of the name has
        # a timeout of its own.
        opening = Background(open_it)
        try:
            opening.wait(deadline.left())
        finally:
            in_time = opening.wait(0)
            if not in_time:
                given_up.set()
        if not in_time:
            deadline.left()
            raise ConnectTimeoutError(self, "the host is not reached in time")
        return opening.get()

    def send(self, data: bytes) -> None:
        deadline = _DEADLINE.get()
        left = deadline.left()
        if self.sock is not None:
            self.sock.settimeout(left)
        try:
            super().send(data)  # type: ignore[misc]
        except TimeoutError:
            deadline.left()
            raise
        deadline.moved(len(data))


class _Plain(_DeadlineConnection, HTTPConnection):  # type: ignore[misc]
    """Without encryption."""


class _Encrypted(_DeadlineConnection, HTTPSConnection):  # type: ignore[misc]
    """With encryption."""


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain  # type: ignore[assignment]


class _EncryptedPool(HTTPSConnectionPool):
    ConnectionCls = _Encrypted  # type: ignore[assignment]


POOLS: Final = {"http": _PlainPool, "https": _EncryptedPool}
