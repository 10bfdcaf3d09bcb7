"""As much of GitHub as a release needs: it takes everything, and remembers what it was told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

_RATES = {"resources": {"core": {"limit": 5000, "remaining": 5000, "reset": 1}}}


@dataclass
class GitHub:
    """What became of one release.

    Args:
        told: of the release, each later value in place of the one before.
        assets: the files of it, by name.
    """

    port: int = 0
    told: dict[str, Any] = field(default_factory=dict)
    assets: dict[str, bytes] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def answer(self, method: str, address: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Return the status and the answer to a request."""
        where = urlsplit(address)
        known = {"id": 7, "full_name": "some/one", "default_branch": "main"}
        match method, where.path.rsplit("/", 1)[1]:
            case "GET", "rate_limit":
                return 200, _RATES
            case "GET", "dockerutilities":
                return 200, known
            case "POST", "assets":
                self.assets[parse_qs(where.query)["name"][0]] = body
                return 201, {"id": len(self.assets)}
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
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = _serve  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.port = server.server_port
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield found
        finally:
            server.shutdown()
