"""A registry with TLS, and a proxy that leads to it: names and ports without touching resolvers."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import NamedTuple

from nodes import Authority, make_authority
from registries import QuietServer, serving

HOST = "node.test"
NOTHING = b'{"tags": null}'


class Seen(NamedTuple):
    """A request as it arrived; `authorisation` is the header's value, or nothing."""

    method: str
    address: str
    authorisation: str


@dataclass
class Encrypted:
    """What the registry and the proxy do, and have seen.

    Args:
        authority: signed the registry's certificate.
        answers: status and headers by "METHOD address"; everything else is found: no tags.
        challenge: for who has no credentials.
        breaks: how many connections still break off while encryption is agreed on.
        cuts: how many answers still break off in their middle.
        seen: each request, in order, by whatever way it came.
    """

    authority: Authority
    answers: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    challenge: str = "Basic realm=x"
    breaks: int = 0
    cuts: int = 0
    seen: list[Seen] = field(default_factory=list)
    port: int = 0
    registry_port: int = 0

    @property
    def env(self) -> dict[str, str]:
        return {"https_proxy": f"http://127.0.0.1:{self.port}"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    @property
    def _state(self) -> Encrypted:
        assert isinstance(self.server, _Server)
        return self.server.state

    def _any(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        plain = self.path.startswith("http:")
        address = self.path if plain else f"https://{self.headers['Host']}{self.path}"
        authorisation = self.headers.get("Authorization", "")
        self._state.seen.append(Seen(self.command, address, authorisation))
        wants = address.startswith(f"https://{HOST}/") and not authorisation
        status, headers = self._state.answers.get(f"{self.command} {address}", (200, {}))
        if wants:
            status, headers = 401, {"WWW-Authenticate": self._state.challenge}
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(len(NOTHING))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self._state.cuts:
            self._state.cuts -= 1
            self.wfile.flush()
            # Without the end that TLS has for it.
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif self.command != "HEAD":
            self.wfile.write(NOTHING)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any

    def do_CONNECT(self) -> None:
        self.send_response_only(200)
        self.end_headers()
        self.close_connection = True
        if self._state.breaks:
            self._state.breaks -= 1
            self.connection.recv(1)
            return
        with socket.create_connection(("127.0.0.1", self._state.registry_port)) as upstream:
            _join(self.connection, upstream)


def _join(one: socket.socket, other: socket.socket) -> None:
    while True:
        for ready in select.select([one, other], [], [])[0]:
            data = ready.recv(65536)
            if not data:
                return
            (other if ready is one else one).sendall(data)


class _Server(QuietServer):
    def __init__(self, state: Encrypted) -> None:
        super().__init__(_Handler)
        self.state = state


@contextmanager
def encrypted_registry(folder: Path) -> Iterator[Encrypted]:
    """Run a registry that is `HOST` on any port, through the proxy; plain HTTP is the proxy's."""
    state = Encrypted(make_authority(folder))
    certificate, key = state.authority.sign("registry")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    registry, proxy = _Server(state), _Server(state)
    # The handshake is the thread's of each connection: one that fails holds up nobody.
    registry.socket = context.wrap_socket(
        registry.socket, server_side=True, do_handshake_on_connect=False
    )
    with ExitStack() as stack:
        state.registry_port = stack.enter_context(serving(registry))
        state.port = stack.enter_context(serving(proxy))
        yield state
