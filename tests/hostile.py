"""A registry that does its worst: a right one in memory, of which single answers are raw bytes.

It holds the versions 1.2.3 and 1.4.0, which is `latest`, and an image that has no tag.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from socketserver import StreamRequestHandler, ThreadingTCPServer

from buildlib.registry.repository import INDEX, MANIFEST, Document

PATH = "team/thing"
TAGS = f"GET /v2/{PATH}/tags/list"
VERSION = f"GET /v2/{PATH}/manifests/1.2.3"
LAYER = b"a layer" * 1000


@dataclass(frozen=True)
class Wire:
    """A connection, at the moment when a request was read.

    Args:
        send: sends bytes.
        path: of the request.
        headers: of the request, by their names in lower case.
        body: of the request.
        number: of this request among those of its method and path, from 0.
        closing: is set when the test is over.
        host: of the registry.
    """

    send: Callable[[bytes], None]
    path: str
    headers: Mapping[str, str]
    body: bytes
    number: int
    closing: threading.Event
    host: str

    def answer(self, status: int = 200, body: bytes = b"", *headers: str) -> bool:
        """Send a whole answer; return that the connection may stay open."""
        lines = (f"HTTP/1.1 {status} X", *headers, f"Content-Length: {len(body)}", "", "")
        self.send("\r\n".join(lines).encode("latin-1") + body)
        return True

    def head(self, *headers: str, status: int = 200) -> None:
        """Send headers alone."""
        self.send("\r\n".join((f"HTTP/1.1 {status} X", *headers, "", "")).encode("latin-1"))

    def drip(self, data: bytes, *, every: float = 0.05) -> None:
        """Send the same again and again, with a pause each time, until the other side is gone."""
        while not self.closing.wait(every):
            self.send(data)

    def pour(self, data: bytes) -> None:
        """Send the same again and again, as fast as it is taken."""
        while not self.closing.is_set():
            self.send(data)

    def stall(self) -> None:
        """Send nothing until the test is over."""
        self.closing.wait()


Behaviour = Callable[[Wire], object]


@dataclass
class Hostile:
    """What the registry holds, and what it does.

    Args:
        documents, blobs: by digest.
        tags: their digests.
        behaviours: what answers requests whose "METHOD path" matches; raw bytes.
        unread: requests whose body is not read before they are answered.
        seen: "METHOD path authorisation" of each request, in order.
    """

    documents: dict[str, Document] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    unread: str = "$^"
    seen: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    closing: threading.Event = field(default_factory=threading.Event)
    host: str = ""
    new: str = ""

    def __post_init__(self) -> None:
        """Hold what a right registry does."""
        layer = self.keep_blob(LAYER)
        rootfs = {"type": "layers", "diff_ids": [layer["digest"]]}
        about = {"os": "linux", "architecture": "amd64", "rootfs": rootfs}
        config = self.keep_blob(json.dumps(about).encode())
        for name in ("1.2.3", "1.4.0", ""):
            found = {"config": config, "layers": [layer], "annotations": {"of": name}}
            manifest = Document(json.dumps(found).encode(), MANIFEST)
            platform = {"os": "linux", "architecture": "amd64"}
            entry = {"digest": manifest.digest, "size": len(manifest.data), "platform": platform}
            index = Document(json.dumps({"manifests": [entry]}).encode(), INDEX)
            self.documents |= {one.digest: one for one in (manifest, index)}
            self.new = index.digest
            if name:
                self.tags |= {name: index.digest, "latest": index.digest}

    def keep_blob(self, data: bytes) -> dict[str, object]:
        """Hold a blob; return its descriptor."""
        digest = Document(data, "").digest
        self.blobs[digest] = data
        return {"digest": digest, "size": len(data)}

    def do(self, wire: Wire, method: str) -> None:
        """Answer as a right registry does."""
        kind, what = wire.path.partition("?")[0].split("/")[-2:]
        document = self.documents.get(self.tags.get(what, what))
        if method == "POST":
            wire.answer(202, b"", f"Location: /v2/{PATH}/blobs/uploads/1")
        elif method == "PUT" and kind == "manifests":
            new = Document(wire.body, wire.headers.get("content-type", ""))
            self.documents[new.digest] = new
            if not what.startswith("sha256:"):
                self.tags[what] = new.digest
            wire.answer(201)
        elif method == "PUT":
            self.keep_blob(wire.body)
            wire.answer(201)
        elif kind == "tags":
            wire.answer(200, json.dumps({"tags": sorted(self.tags)}).encode())
        elif kind == "manifests" and document:
            wire.answer(200, document.data, f"Content-Type: {document.media_type}")
        elif kind == "blobs" and what in self.blobs:
            wire.answer(200, b"" if method == "HEAD" else self.blobs[what])
        else:
            wire.answer(404, b"" if method == "HEAD" else unknown("MANIFEST_UNKNOWN"))


def unknown(code: str) -> bytes:
    """Return what a registry says of something that it does not have."""
    return json.dumps({"errors": [{"code": code, "message": "unknown"}]}).encode()


class _Handler(StreamRequestHandler):
    def handle(self) -> None:
        with suppress(OSError, ValueError):
            while self._one():
                pass

    def _one(self) -> bool:
        assert isinstance(self.server, _Server)
        state = self.server.state
        words = self.rfile.readline(1 << 20).decode("latin-1").split(" ")
        if len(words) < 2:
            return False
        headers: dict[str, str] = {}
        while line := self.rfile.readline(1 << 20).decode("latin-1").strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        request = f"{words[0]} {words[1]}"
        length = int(headers.get("content-length") or 0)
        body = b"" if re.match(state.unread, request) else self.rfile.read(length)
        number = state.counts.get(request, 0)
        state.counts[request] = number + 1
        state.seen.append(f"{request} {headers.get('authorization', '')}".rstrip())
        wire = Wire(
            *(self.connection.sendall, words[1], headers, body, number, state.closing, state.host)
        )
        found = [one for pattern, one in state.behaviours.items() if re.match(pattern, request)]
        if not found:
            state.do(wire, words[0])
            return True
        # A behaviour that returns True leaves the connection open for the next request.
        return found[0](wire) is True


class _Server(ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, state: Hostile) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.state = state

    def get_request(self) -> tuple[socket.socket, object]:
        found, address = super().get_request()
        # No thread is left behind that sends to somebody who does not read.
        found.settimeout(20)
        return found, address


@contextmanager
def hostile_registry() -> Iterator[Hostile]:
    """Run a registry for the time of the block."""
    state = Hostile()
    with _Server(state) as server:
        state.host = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        thread.start()
        try:
            yield state
        finally:
            state.closing.set()
            server.shutdown()
            thread.join()
