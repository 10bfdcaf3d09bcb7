"""Asks a container's server over HTTP, on this machine: never through a proxy."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import urlsplit

_TIMEOUT: Final = 2.0
_OK: Final = 200


class Answer(NamedTuple):
    """A status and the whole body."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        """Return whether it is 200."""
        return self.status == _OK


def call(
    address: str, *, method: str = "GET", body: bytes | None = None, timeout: float = _TIMEOUT
) -> Answer:
    """Return what the server answers, whatever its status.

    Args:
        address: `http://host:port/path`.
        method: of HTTP.
        body: JSON, where the method takes one.
        timeout: seconds to wait for each part of the answer.

    Raises:
        OSError: there is no answer, or it is not HTTP.
    """
    from http.client import HTTPConnection, HTTPException  # noqa: PLC0415 - while it starts

    parts = urlsplit(address)
    # urllib would take a proxy from the environment, for an address that only we can reach.
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    path = parts.path or "/"
    headers = {"Content-Type": "application/json"} if body is not None else {}
    try:
        target = f"{path}?{parts.query}" if parts.query else path
        connection.request(method, target, body=body, headers=headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read())
    except HTTPException as error:
        raise OSError(f"no HTTP: {error!r}") from error
    finally:
        connection.close()
