"""Answers of registries that docker gets through, and a proxy that gives them.

Each was tried with docker 26.1 and its containerd store; `test_dialects` asks docker again.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import NamedTuple

from ociwriter import OciWriter
from registries import QuietServer, serving

from buildlib.image.archive import open_archive
from buildlib.registry.credentials import Credentials
from buildlib.registry.repository import Repository
from buildlib.registry.tags import put_tag
from buildlib.registry.transfer import pulled, push_archive
from buildlib.registry.transport import Transport
from buildlib.retry import Patience


class Reply(NamedTuple):
    """An answer; `length` is what a HEAD says that the body has."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    length: str = ""


# Returns None to leave a request to the registry.
Answer = Callable[["_Handler"], Reply | None]


class Dialect(NamedTuple):
    """What a registry does otherwise.

    Args:
        name: of it.
        what: `push` or `pull`.
        request: a pattern for "METHOD path".
        answer: to it.
    """

    name: str
    what: str
    request: str
    answer: Answer


@dataclass
class Speaker:
    """A proxy before the registry on a port, which speaks a dialect."""

    upstream: int
    dialect: Dialect | None = None
    port: int = 0
    seen: list[str] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def met(self) -> bool:
        """Return whether the dialect was spoken."""
        found = self.dialect
        return bool(found) and any(re.search(found.request, one) for one in self.seen)  # type: ignore[union-attr]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def speaker(self) -> Speaker:
        assert isinstance(self.server, _Server)
        return self.server.speaker

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def handle_one_request(self) -> None:
        # docker tries encryption first, and then goes on without.
        if self.connection.recv(1, 2) == b"\x16":
            self.connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            self.close_connection = True
        else:
            super().handle_one_request()

    def _read(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def ask(self) -> Reply:
        """Return what the registry itself answers."""
        way = http.client.HTTPConnection("127.0.0.1", self.speaker.upstream, timeout=60)
        own = {"authorization", "connection", "transfer-encoding", "content-length"}
        headers = {name: value for name, value in self.headers.items() if name.lower() not in own}
        sends = self.command in {"POST", "PUT", "PATCH"}
        path = re.sub(r"[?&]again=1", "", self.path)
        try:
            way.request(self.command, path, self.sent if sends else None, headers)
            answer = way.getresponse()
            data = answer.read()
        finally:
            way.close()
        length = answer.getheader("Content-Length") or ""
        return Reply(answer.status, answer.getheaders(), data, length)

    def _any(self) -> None:
        speaker, line = self.speaker, f"{self.command} {self.path}"
        self.sent = self._read()
        speaker.seen.append(line)
        dialect, reply = speaker.dialect, None
        if dialect and re.search(dialect.request, line):
            reply = dialect.answer(self)
        elif self.path.startswith("/token"):
            reply = Reply(200, [], b'{"token": "t", "access_token": "t"}')
        status, headers, body, length = reply or self.ask()
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        is_head = self.command == "HEAD"
        self.send_header("Content-Length", length if is_head and length else str(len(body)))
        self.end_headers()
        if not is_head:
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _any


class _Server(QuietServer):
    def __init__(self, speaker: Speaker) -> None:
        super().__init__(_Handler)
        self.speaker = speaker


@contextmanager
def speaking(upstream: int) -> Iterator[Speaker]:
    """Run a proxy before the registry on a port, for the time of the block."""
    speaker = Speaker(upstream)
    with serving(_Server(speaker)) as port:
        speaker.port = port
        yield speaker


def _says(status: int, *headers: tuple[str, str], body: bytes = b"") -> Answer:
    return lambda _: Reply(status, [*headers], body)


def _as(status: int) -> Answer:
    """Do it, and give another status to what went well."""

    def answer(handler: _Handler) -> Reply:
        found = handler.ask()
        return found._replace(status=status) if found.status < 300 else found

    return answer


def _changes(name: str, change: Callable[[str, _Handler], str]) -> Answer:
    """Change a header; nothing leaves it out."""

    def answer(handler: _Handler) -> Reply:
        found = handler.ask()
        new = [
            (key, change(value, handler) if key.lower() == name else value)
            for key, value in found.headers
        ]
        return found._replace(headers=[(key, value) for key, value in new if value])

    return answer


def _leads(status: int, host: str = "") -> Answer:
    """Redirect once, to the same server or to another one."""

    def answer(handler: _Handler) -> Reply | None:
        if "again=1" in handler.path:
            return None
        base = f"http://{host}:{handler.speaker.port}" if host else ""
        more = "&" if "?" in handler.path else "?"
        return Reply(status, [("Location", f"{base}{handler.path}{more}again=1")])

    return answer


def _wants(*challenges: str) -> Answer:
    """Want credentials; `HOST` is the registry's own."""

    def answer(handler: _Handler) -> Reply | None:
        if handler.headers.get("Authorization"):
            return None
        texts = (text.replace("HOST", handler.speaker.host) for text in challenges)
        return Reply(401, [("WWW-Authenticate", text) for text in texts], b"{}")

    return answer


def _token(answer: Answer) -> Answer:
    """Want a token, and give it in another way."""

    def both(handler: _Handler) -> Reply | None:
        return answer(handler) if handler.path.startswith("/token") else _wants(BEARER)(handler)

    return both


def _token_by_post(handler: _Handler) -> Reply:
    return Reply(200, [], b'{"access_token": "t"}') if handler.command == "POST" else Reply(405, [])


BEARER = 'Bearer realm="http://HOST/token",service="r"'
BASIC = 'Basic realm="x"'
CHALLENGES = {
    "Basic and Negotiate": (BASIC, "Negotiate"),
    "Negotiate and Basic": ("Negotiate", BASIC),
    "Digest and Basic": ('Digest realm="x", nonce="y"', BASIC),
    "Basic and Bearer": (BASIC, BEARER),
    "Bearer and Basic": (BEARER, BASIC),
    "Bearer, Basic in one header": (f"{BEARER}, {BASIC}",),
    "Basic, Bearer in one header": (f"{BASIC}, {BEARER}",),
    "small letters": ('bearer Realm="http://HOST/token",Service="r"',),
    "a scheme alone": ("Basic",),
    "a realm with a query": ('Bearer realm="http://HOST/token?account=x",service="r"',),
    "no service": ('Bearer realm="http://HOST/token"',),
    "another scope": (f'{BEARER},scope="repository:mirror/x:pull"',),
    "an error": (f'{BEARER},scope="repository:x:pull",error="insufficient_scope"',),
    "semicolons": ('Bearer realm="http://HOST/token"; service="r"',),
    "a comma at the end": (f"{BEARER},",),
    "a service with a comma": ('Bearer realm="http://HOST/token",service="a, b"',),
    "a service with quotes": ('Bearer realm="http://HOST/token",service="a \\"b"',),
}
_POST, _BLOB, _MANIFEST = "POST .*/uploads/", "PUT .*/uploads/", "PUT .*/manifests/"
_GET, _LAYER, _ALL = "GET .*/manifests/sha256:", "GET .*/blobs/", ". /v2/"
_SENT = {"an upload": _POST, "a blob": _BLOB, "a manifest": _MANIFEST}
_READ = {"a manifest": _GET, "a blob": _LAYER}
OCTETS = "application/octet-stream"
DIALECTS = [
    *(
        Dialect(
            f"{status} to {host or 'the same host'} for {what} in {how}",
            how,
            request,
            _leads(status, host),
        )
        for how, requests, statuses in (
            ("push", _SENT, (307, 308)),
            ("pull", _READ, (301, 302, 303, 307, 308)),
        )
        for what, request in requests.items()
        for status in statuses
        for host in ("", "localhost")
    ),
    *(
        Dialect(f"{status} after {what} in {how}", how, request, _as(status))
        for how, what, request, statuses in (
            ("push", "an upload", _POST, (200, 202, 204)),
            ("push", "a blob", _BLOB, (200, 201, 204)),
            ("push", "a manifest", _MANIFEST, (200, 201, 204)),
            ("pull", "a manifest", _GET, (200, 201, 202, 206)),
            ("pull", "a blob", _LAYER, (200, 201, 202, 206)),
        )
        for status in statuses
    ),
    *(
        Dialect(f"no {name} in {how}", how, request, _changes(name, lambda *_: ""))
        for how, request, names in (
            ("push", _ALL, ("docker-upload-uuid", "range")),
            ("pull", "GET .*/", ("content-type", "docker-content-digest")),
        )
        for name in names
    ),
    Dialect("everything is octets", "pull", "GET .*/", _changes("content-type", lambda *_: OCTETS)),
    *(
        Dialect(f"a location {name}", "push", _POST, _changes("location", change))
        for name, change in {
            "without a host": lambda text, _: re.sub("^http://[^/]+", "", text),
            "by another name": lambda text, _: text.replace("127.0.0.1", "localhost"),
            "with encryption": lambda text, _: text.replace("http:", "https:"),
        }.items()
    ),
    *(
        Dialect(f"{status} for calling off", "push", "DELETE .*/uploads/", _says(status))
        for status in (302, 400, 401, 403, 404, 405, 500, 501, 503)
    ),
    *(
        Dialect(f"{name} in {how}", how, _ALL, _wants(*texts))
        for how in ("push", "pull")
        for name, texts in CHALLENGES.items()
    ),
    Dialect("a token by POST alone", "push", "", _token(_token_by_post)),
]


def get_through(speaker: Speaker, dialect: Dialect, path: str, folder: Path) -> None:
    """Push an image of our own and give it a tag, or pull what has the tag `there`.

    Raises:
        BuildlibError: it does not work.
    """
    credentials = Credentials(username="ann", secret="pass", source="the test")
    transport = Transport(speaker.host, credentials, patience=_QUICK)
    repository = Repository(transport, path)
    speaker.dialect = dialect
    try:
        if dialect.what == "pull":
            with pulled(repository, repository.digest("there")) as archive:
                assert archive.images()
            return
        writer = OciWriter()
        image = writer.image([writer.layer({"a": dialect.name.encode()})])
        repository.check_writable()
        with open_archive(writer.write(folder / "image.tar", image)) as archive:
            done = push_archive(archive, repository)
        put_tag(repository, done.digest, "given", immutable=True)
    finally:
        transport.close()


_QUICK = Patience(attempts=2, base=0.01, ceiling=0.02, timeout=20.0)
