"""A fake of the service behind buildx's driver cloud: it names nodes, and hands out tokens.

Source: driver/cloud of buildx 0.38, whose options `internal.…` lead to another service.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from nodes import Daemon
from registries import QuietServer, docker_config, serving

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
def cloud_service(one: Daemon, folder: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Run the service; yield docker's directory with credentials for it, and buildx's options.

    Args:
        one: builds for all nodes of the builder acme/default.
        folder: for docker's directory.
    """
    with serving(QuietServer(_Handler)) as port:
        address = f"http://localhost:{port}"
        yield (
            docker_config(folder / "docker", f"{address}/"),
            {
                "internal.auth.entry": f"{address}/",
                "internal.auth.host": address,
                "internal.hub.host": address,
                "internal.cloud.health.address": f"{address}/v2/",
                "internal.cloud.proxy.address": f"localhost:{one.port}",
                "internal.tls.cacert": str(one.authority.certificate),
                "internal.tls.servername": "node.test",
            },
        )
