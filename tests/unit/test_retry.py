"""Which errors of other programs pass, so that what failed is worth another attempt."""

from __future__ import annotations

import pytest

from buildlib.retry import is_transient

GET = 'Get "https://registry.example/v2/": '


@pytest.mark.parametrize(
    "text",
    [
        f"{GET}dial tcp: lookup registry.example: no such host",
        f"{GET}dial tcp: lookup registry.example on 10.0.0.1:53: server misbehaving",
        f"{GET}dial tcp 10.0.0.1:443: i/o timeout",
        f"{GET}dial tcp 10.0.0.1:443: connect: connection timed out",
        f"{GET}dial tcp 10.0.0.1:443: connect: network is unreachable",
        f"{GET}net/http: TLS handshake timeout",
        f"{GET}net/http: request canceled (Client.Timeout exceeded while awaiting headers)",
        f"{GET}context deadline exceeded",
        f"{GET}EOF",
        "signing [x]: unexpected EOF\nmain.go:74: error during command execution",
        "read tcp 10.0.0.2:9->10.0.0.1:443: read: connection reset by peer",
        "toomanyrequests: You have reached your pull rate limit.",
        "TOO_MANY_REQUESTS: slow down",
        "UNAVAILABLE: service not available",
        "unexpected status code 429 Too Many Requests",
        "unexpected status code 503 Service Unavailable",
        "unexpected status from HEAD request to http://r/v2/m/1: 503 Service Unavailable",
        "received unexpected HTTP status: 500 Internal Server Error",
        "error parsing HTTP 502 response body: invalid character '<'",
    ],
)
def test_an_error_that_passes(text: str) -> None:
    assert is_transient(text)


@pytest.mark.parametrize(
    "text",
    [
        "unexpected status code 400 Bad Request",
        "unexpected status code 404 Not Found",
        "unexpected status code 451 Unavailable For Legal Reasons",
        "GET https://registry.example/v2/team/timeout/manifests/1: MANIFEST_UNKNOWN: unknown",
        "GET https://registry.example/v2/timeout-proxy/manifests/eof: MANIFEST_UNKNOWN: unknown",
        "GET https://auth.example/token?scope=repository%3Aunreachable%3Apull: NAME_UNKNOWN: no",
        "signing [registry.example/timeout@sha256:a]: reading key: open /keys/timeout: not a file",
        "no matching signatures for timeout.example/eof:timeout",
        "no signatures found",
    ],
)
def test_an_error_that_stays(text: str) -> None:
    assert not is_transient(text)
