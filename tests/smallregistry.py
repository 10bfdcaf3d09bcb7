"""A registry in memory that knows as much as giving tags and reading images takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from registries import serving

from buildlib.registry.claim import PREFIX
from buildlib.registry.repository import INDEX, MANIFEST, Document

PATH = "team/thing"


class SmallRegistry(ThreadingHTTPServer):
    """Holds one repository.

    Its `tags` are by name, `documents` and `blobs` by digest. Whoever puts one of `refused` is told
    that it may not, and `done` are the tags that were put, in order, but for
    claims.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.documents: dict[str, Document] = {}
        self.blobs: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.refused: set[str] = set()
        self.done: list[str] = []

    @property
    def name(self) -> str:
        """Return the repository with its registry's host."""
        return f"127.0.0.1:{self.server_address[1]}/{PATH}"

    def hold(self, what: str, *tags: str) -> str:
        """Keep an index that is like no other, under these tags; return its digest."""
        return self.keep({"manifests": [], "annotations": {"of": what}}, INDEX, *tags)

    def image(self, platform: str, **labels: str) -> str:
        """Keep the image of a platform; return the digest of its manifest."""
        keys = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
        config = Document(json.dumps({**keys, "config": {"Labels": labels}}).encode(), "")
        self.blobs[config.digest] = config.data
        part = {"digest": config.digest, "size": len(config.data)}
        return self.keep({"config": part, "layers": []}, MANIFEST)

    def index(self, *images: str) -> str:
        """Keep an index of images that are here; return its digest."""
        entries = []
        for digest in images:
            config = json.loads(self.documents[digest].data)["config"]["digest"]
            kind = json.loads(self.blobs[config])
            platform = {key: kind[key] for key in ("os", "architecture", "variant") if key in kind}
            entries.append({"mediaType": MANIFEST, "digest": digest, "platform": platform})
        return self.keep({"manifests": entries}, INDEX)

    def keep(self, content: object, media_type: str, *tags: str) -> str:
        """Keep a document; return its digest."""
        document = Document(json.dumps(content).encode(), media_type)
        self.documents[document.digest] = document
        self.tags |= dict.fromkeys(tags, document.digest)
        return document.digest


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    @property
    def _registry(self) -> SmallRegistry:
        assert isinstance(self.server, SmallRegistry)
        return self.server

    def _say(self, status: int, body: bytes = b"", media_type: str = "application/json") -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        here, (kind, what) = self._registry, self.path.partition("?")[0].split("/")[-2:]
        document = here.documents.get(here.tags.get(what, what))
        if kind == "tags":
            self._say(200, json.dumps({"tags": sorted(here.tags)}).encode())
        elif kind == "manifests" and document:
            self._say(200, document.data, document.media_type)
        elif kind == "blobs" and what in here.blobs:
            self._say(200, here.blobs[what])
        else:
            code = "NAME_UNKNOWN" if kind == "tags" else "MANIFEST_UNKNOWN"
            self._say(404, json.dumps({"errors": [{"code": code}]}).encode())

    def do_HEAD(self) -> None:
        # It has whatever anybody wants to send.
        self._say(200)

    def do_DELETE(self) -> None:
        here, digest = self._registry, self.path.rpartition("/")[2]
        here.documents.pop(digest)
        here.tags = {tag: held for tag, held in here.tags.items() if held != digest}
        self._say(202)

    def do_PUT(self) -> None:
        here, tag = self._registry, self.path.rpartition("/")[2]
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if tag in here.refused:
            self._say(403, b'{"errors": [{"code": "DENIED"}]}')
            return
        document = Document(data, self.headers["Content-Type"])
        here.documents[document.digest] = document
        here.tags[tag] = document.digest
        if not tag.startswith(PREFIX):
            here.done.append(tag)
        self._say(201)


@contextmanager
def small_registry() -> Iterator[SmallRegistry]:
    """Run a registry for the time of the block."""
    found = SmallRegistry()
    with serving(found):
        yield found
