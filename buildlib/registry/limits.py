"""Limits for requests and responses: bytes, seconds, numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """The limits of one request and of one list; each is generous for every registry in use.

    A request may take `seconds`, and in addition the time that its bytes take at `rate`: a large
    layer takes as long as it needs, and a server that sends a byte now and then fails. This is the
    time from name resolution to the last byte, with the connection, the body, interim responses,
    redirects and the token. `Patience.timeout` limits the silence of a server.

    Args:
        seconds: for a whole request, besides `rate`. Writing a layer of some GB to its storage
            takes a registry up to a minute after the last byte.
        rate: bytes per second, the lowest that is accepted; a line of 256 kbit/s has it.
        headers: bytes of all headers of an answer, interim answers included. Servers commonly
            accept 8 to 32 KiB in a request.
        document: bytes of an index, a manifest, a configuration, or one page of a list. The
            distribution-spec says that a registry should take manifests of 4 MiB.
        token: bytes of a token service's answer; tokens have some KB.
        error: bytes that are read of an answer that is an error; the rest is not looked at.
        parts: descriptors in one document, and in the whole of an image that is pulled.
        pages: of a list of tags.
        tags: in all pages.
        listing: bytes of all pages.
        listing_seconds: for all pages.
    """

    seconds: float = 120.0
    rate: int = 32 * KIB
    headers: int = 64 * KIB
    document: int = 4 * MIB
    token: int = 256 * KIB
    error: int = 8 * KIB
    parts: int = 2000
    pages: int = 2000
    tags: int = 100_000
    listing: int = 16 * MIB
    listing_seconds: float = 600.0
