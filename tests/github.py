"""As much of GitHub as a release needs: it takes everything, and remembers what it was told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

_THERE = {"resource": "ReleaseAsset", "code": "already_exists", "field": "name"}
_RATES = {"resources": {"core": {"limit": 5000, "remaining": 5000, "reset": 1}}}


@dataclass
class GitHub:
    """What became of one release.

    Args:
        told: of the release, each later value in place of the one before.
        assets: the files of it, by name.
        numbers: the names of all files that it ever had; the place of each is its number.
    """

    port: int = 0
    told: dict[str, Any] = field(default_factory=dict)
    assets: dict[str, bytes] = field(default_factory=dict)
    numbers: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def keep(self, name: str, body: bytes) -> int:
        """Take a file, and return its number."""
        self.assets[name] = body
        self.numbers.append(name)
        return len(self.numbers) - 1

    def _asset(self, method: str, last: str, name: str, body: bytes) -> tuple[int, Any]:
        """Answer a request for the files; a name is taken once."""
        if method == "GET":
            there = ((number, name) for number, name in enumerate(self.numbers))
            return 200, [{"id": n, "name": name} for n, name in there if name in self.assets]
        if method == "DELETE":
            del self.assets[self.numbers[int(last)]]
            return 204, {}
        if name in self.assets:
            return 422, {"message": "Validation Failed", "errors": [_THERE]}
        return 201, {"id": self.keep(name, body)}

    def answer(self, method: str, address: str, body: bytes) -> tuple[int, Any]:
        """Return the status and the answer to a request."""
        where = urlsplit(address)
        known = {"id": 7, "full_name": "some/one", "default_branch": "main"}
        last = where.path.rsplit("/", 1)[1]
        if "/assets" in where.path:
            name = parse_qs(where.query).get("name", [""])[0]
            return self._asset(method, last, name, body)
        match method, last:
            case "GET", "rate_limit":
                return 200, _RATES
            case "GET", "dockerutilities":
                return 200, known
            case ("POST", "releases") | ("PATCH", "7"):
                self.told |= json.loads(body)
                return 201 if method == "POST" else 200, known | self.told
        return 404, {"message": "Not Found"}


@contextmanager
def github() -> Iterator[GitHub]:
    """Serve it on loopback."""
    found = GitHub()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, answer = found.answer(self.command, self.path, body)
            data = b"" if status == HTTPStatus.NO_CONTENT else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = _serve

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.port = server.server_port
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield found
        finally:
            server.shutdown()
