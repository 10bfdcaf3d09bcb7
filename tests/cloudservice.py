"""A fake of the service behind buildx's driver cloud: it names nodes, and hands out tokens.

Source: driver/cloud of buildx 0.38, whose options `internal.…` lead to another service.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from nodes import Daemon

_ARCHITECTURES = ("arm64", "amd64")


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, document: object) -> None:
        text = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(200, {"access_token": "t"})

    def do_GET(self) -> None:
        if self.path.startswith("/token"):
            self._answer(200, {"access_token": "t"})
        elif self.path == "/v2/cloud-builds/accounts/acme/builder-groups/default/instances":
            found = [
                {
                    "name": f"linux-{arch}",
                    "platform": f"linux/{arch}",
                    "endpoint": f"cloud://acme/default_linux-{arch}",
                }
                for arch in _ARCHITECTURES
            ]
            self._answer(200, {"results": found})
        else:
            # Who is not signed in is asked to: that it answers is all that counts.
            self._answer(401 if self.path == "/v2/" else 404, {})


@contextmanager
def cloud_service(one: Daemon, docker: Path) -> Iterator[dict[str, str]]:
    """Run the service, and sign in to it; yield the options that lead buildx there.

    Args:
        one: builds for all nodes of the builder acme/default.
        docker: a directory for docker's configuration, with the credentials.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://localhost:{server.server_port}"
    auth = base64.b64encode(b"user:password").decode()
    config = {"auths": {f"{address}/": {"auth": auth}}}
    (docker / "config.json").write_text(json.dumps(config), encoding="utf-8")
    try:
        yield {
            "internal.auth.entry": f"{address}/",
            "internal.auth.host": address,
            "internal.hub.host": address,
            "internal.cloud.health.address": f"{address}/v2/",
            "internal.cloud.proxy.address": f"localhost:{one.port}",
            "internal.tls.cacert": str(one.authority.certificate),
            "internal.tls.servername": "node.test",
        }
    finally:
        server.shutdown()
        server.server_close()
