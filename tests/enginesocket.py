"""A Docker engine's socket with images of our choice: what the program asks of one, and no more."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

HOUR = 3600


def _digest(text: str) -> str:
    return f"sha256:{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


@dataclass
class Image:
    """An image of the engine; the steps are command and bytes, the first step first."""

    tags: list[str]
    hours: int
    steps: list[tuple[str, int]]
    env: list[str] = field(default_factory=lambda: ["PATH=/usr/bin:/bin"])
    labels: dict[str, str] = field(default_factory=dict)
    platforms: tuple[str, ...] = ("linux/amd64",)
    user: str = ""
    containers: list[tuple[str, str]] = field(default_factory=list)

    @cached_property
    def id(self) -> str:
        """Return a digest of all that makes the image another one."""
        return _digest(repr((self.tags, self.hours, self.steps, self.env, self.labels)))

    @property
    def created(self) -> int:
        """Return when it was made, in seconds since 1970."""
        return int(time.time()) - self.hours * HOUR

    def _manifests(self) -> list[dict[str, Any]]:
        unpacked = sum(size for _, size in self.steps)
        found = []
        for platform in self.platforms:
            system, architecture = platform.split("/")
            data = {
                "Platform": {"os": system, "architecture": architecture},
                "Size": {"Unpacked": unpacked},
            }
            size = {"Content": unpacked * 2 // 5, "Total": unpacked * 7 // 5}
            found.append({"Available": True, "Kind": "image", "Size": size, "ImageData": data})
        return found

    def listed(self) -> dict[str, Any]:
        """Return the image as a row of the engine's list."""
        manifests = self._manifests()
        repositories = {tag.rpartition(":")[0] for tag in self.tags}
        return {
            "Id": self.id,
            "RepoTags": self.tags,
            "RepoDigests": [f"{one}@{self.id}" for one in sorted(repositories)],
            "Created": self.created,
            "Size": sum(one["Size"]["Total"] for one in manifests),
            "Labels": self.labels,
            "Manifests": manifests,
        }

    def inspected(self) -> dict[str, Any]:
        """Return what the engine says about this image alone."""
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.created))
        config = {
            "User": self.user,
            "Env": self.env,
            "Entrypoint": ["/usr/local/bin/entrypoint.sh"],
            "Cmd": ["server", "--port", "80"],
            "WorkingDir": "/app",
            "ExposedPorts": {"8080/tcp": {}},
            "Labels": self.labels,
        }
        layers = [_digest(f"{command} {size}") for command, size in self.steps if size]
        return {
            **self.listed(),
            "Created": created,
            "Os": "linux",
            "Architecture": self.platforms[0].split("/")[1],
            "Config": config,
            "RootFS": {"Type": "layers", "Layers": layers},
        }

    @cached_property
    def row(self) -> bytes:
        """Return the row as the engine writes it, which the list of many images has no time for."""
        return json.dumps(self.listed()).encode()

    def history(self) -> list[dict[str, Any]]:
        """Return the steps as the engine has them, the last first."""
        steps = [
            {"Created": self.created, "CreatedBy": command, "Size": size}
            for command, size in self.steps
        ]
        return steps[::-1]


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True


def _answer(images: list[Image], path: str) -> object:
    """Return what the engine answers to anything but its list of images, or None for 404."""
    if path == "/_ping":
        return "OK"
    parts = path.split("/")[2:]
    if parts == ["containers", "json"]:
        return [
            {"Id": _digest(name), "Names": [f"/{name}"], "ImageID": one.id, "State": state}
            for one in images
            for name, state in one.containers
        ]
    name = unquote(parts[1]) if len(parts) == 3 else ""
    for one in images:
        if name in (one.id, *one.tags):
            return one.history() if parts[2] == "history" else one.inspected()
    return None


@contextmanager
def serving(socket: Path, images: list[Image]) -> Iterator[list[Image]]:
    """Serve images on a socket; the list may be changed meanwhile."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path.endswith("/images/json"):
                body = b"[" + b",".join(one.row for one in images) + b"]"
            else:
                body = json.dumps(_answer(images, path)).encode()
            self.send_response(404 if body == b"null" else 200)
            self.send_header("Api-Version", "1.47")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "socket"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with _Server(str(socket), Handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield images
        server.shutdown()
