"""Real registries on loopback, and a proxy before them that does what networks do."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import secrets
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock, Thread

import bcrypt

from buildlib.registry.credentials import Credentials

# Made anew for each run: no password is kept anywhere.
USER, PASSWORD = "publisher", secrets.token_hex(16)
KNOWN = Credentials(username=USER, secret=PASSWORD, source="the test")
_CONFIG = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage: {{{storage}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}", secret: loopback}}
"""
_AUTH = "auth: {{htpasswd: {{realm: loopback, path: {path}}}}}\n"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass(frozen=True)
class Server:
    """A registry that runs; `root` is where it keeps what it holds."""

    port: int
    root: Path

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def tags(self, path: str) -> dict[str, str]:
        """Return tag and digest of everything that the registry has on its disk."""
        folder = self.root / "docker/registry/v2/repositories" / path / "_manifests/tags"
        return {
            tag.name: (tag / "current/link").read_text(encoding="utf-8")
            for tag in sorted(folder.glob("*"))
            if (tag / "current/link").is_file()
        }

    def holds(self, digest: str) -> bool:
        kind, _, name = digest.partition(":")
        return (self.root / f"docker/registry/v2/blobs/{kind}/{name[:2]}/{name}/data").is_file()


def ping(port: int) -> int:
    """Return what a registry says to somebody without credentials, as a status; 0: nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def _answers(port: int) -> bool:
    return ping(port) in {200, 401}


@contextmanager
def registry(folder: Path, *, password: bool = True, memory: bool = False) -> Iterator[Server]:
    """Run Debian's registry as a process of our own, and end it.

    As files it does not write a tag in one step: who asks for one at that moment gets a 500. An
    engine does, as it pushes the manifests of an index side by side. In memory it is no question.

    Args:
        folder: of its configuration and its log.
        password: it wants the credentials of the tests.
        memory: it keeps what it holds in its own memory; else in files, for a test to look at.
    """
    # On no disk, where there is such a directory: it waits for the disk with each request that
    # sends something, longer than for all else.
    shared = Path("/dev/shm")
    with TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as data:
        storage = "inmemory: {}" if memory else f"filesystem: {{rootdirectory: {data}}}"
        with _running_registry(folder, storage, password=password) as port:
            yield Server(port, Path(data))


@contextmanager
def _running_registry(folder: Path, storage: str, *, password: bool) -> Iterator[int]:
    program = shutil.which("docker-registry")
    assert program, "docker-registry is needed; scripts/bootstrap.sh installs it"
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    text = _CONFIG.format(storage=storage, port=port)
    if password:
        made = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        (folder / "htpasswd").write_text(f"{USER}:{made}\n", encoding="utf-8")
        text += _AUTH.format(path=folder / "htpasswd")
    (folder / "config.yml").write_text(text, encoding="utf-8")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "serve", str(folder / "config.yml")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + 30
            while not _answers(port):
                assert process.poll() is None, (folder / "log").read_text(encoding="utf-8")
                assert time.monotonic() < deadline, "the registry does not answer"
                time.sleep(0.02)
            yield port
        finally:
            process.terminate()
            process.wait(timeout=30)


@contextmanager
def referrers_registry(program: Path) -> Iterator[str]:
    """Run a registry that knows the referrers API, the fixture `referrers`; yield its host.

    It wants the credentials that the others want.
    """
    port = free_port()
    process = subprocess.Popen(
        [str(program), f"127.0.0.1:{port}"],
        env={"REFERRERS_USER": USER, "REFERRERS_PASSWORD": PASSWORD},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while not _answers(port):
            assert process.poll() is None, "the registry has ended"
            assert time.monotonic() < deadline, "the registry does not answer"
            time.sleep(0.02)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


@dataclass(frozen=True)
class Fault:
    """What happens to a request.

    Args:
        status: the answer that comes instead of the registry's; 0: none of ours.
        headers: that it has.
        body: that it has.
        reset: the connection is torn down without an answer.
        done: the request has reached the registry all the same.
        stall: seconds of silence before anything else.
        cut: only so many bytes of the request's body are read, or of the answer's sent, and the
            connection is torn down; -1: nothing is cut.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    reset: bool = False
    done: bool = False
    stall: float = 0.0
    cut: int = -1


def unknown(code: str, message: str = "") -> Fault:
    """Return what a registry says of something that it does not have."""
    body = {"errors": [{"code": code, "message": message}]}
    return Fault(status=404, body=json.dumps(body).encode())


@dataclass
class Proxy:
    """Stands before a registry; `plan` says what happens to the how-manieth request, from 0.

    Args:
        upstream: port of the registry.
        plan: by the number of the request.
        always: what happens to each request whose "METHOD path" matches the pattern.
        once: the same, for one request each, and in this order: each waits for its request to come
            after those of the ones before it.
        seen: "METHOD path" of each request, in order.
    """

    upstream: int
    plan: dict[int, Fault] = field(default_factory=dict)
    always: dict[str, Fault] = field(default_factory=dict)
    once: list[tuple[str, Fault]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    port: int = 0
    lock: Lock = field(default_factory=Lock)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def sent(self, method: str, pattern: str = "") -> list[str]:
        """Return the requests of a method whose path matches."""
        return [line for line in self.seen if re.match(f"{method} .*{pattern}", line)]

    def met(self, pattern: str) -> bool:
        """Return whether there was a request that matches."""
        return any(re.search(pattern, line) for line in self.seen)

    def forget(self) -> None:
        """Do nothing to any request from here on, and count anew."""
        for known in (self.plan, self.always, self.once, self.seen):
            known.clear()

    def fault(self, line: str) -> Fault:
        with self.lock:
            number = len(self.seen)
            self.seen.append(line)
            if self.once and re.search(self.once[0][0], line):
                return self.once.pop(0)[1]
        found = [fault for pattern, fault in self.always.items() if re.search(pattern, line)]
        return self.plan.get(number) or (found[0] if found else Fault())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body go out apart: without this each answer waits 40 ms to be acknowledged.
    disable_nagle_algorithm = True

    @property
    def _proxy(self) -> Proxy:
        assert isinstance(self.server, _Proxying)
        return self.server.proxy

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _tear(self) -> None:
        # Not a closed connection but a broken one: RST instead of FIN.
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes, cut: int) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {"transfer-encoding", "connection", "content-length"}:
                self.send_header(name, value)
        length = headers.get("Content-Length") if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if cut < 0 else body[:cut])

    def _any(self) -> None:
        fault = self._proxy.fault(f"{self.command} {self.path}")
        if fault.stall:
            time.sleep(fault.stall)
        if fault.cut >= 0 and self.command in {"PUT", "PATCH", "POST"}:
            self.rfile.read(min(fault.cut, int(self.headers.get("Content-Length") or 0)))
            self._tear()
            return
        body = self._body()
        if fault.reset and not fault.done:
            self._tear()
            return
        if fault.status and not fault.done:
            self._answer(fault.status, fault.headers, fault.body, -1)
            return
        self._forward(body, fault)

    def _forward(self, body: bytes, fault: Fault) -> None:
        upstream = http.client.HTTPConnection("127.0.0.1", self._proxy.upstream, timeout=60)
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in {"transfer-encoding", "connection"}
        }
        try:
            upstream.request(self.command, self.path, body=body, headers=headers)
            answer = upstream.getresponse()
            data = answer.read()
        finally:
            upstream.close()
        if fault.reset:
            self._tear()
        elif fault.status:
            self._answer(fault.status, fault.headers, fault.body, -1)
        else:
            self._answer(answer.status, dict(answer.getheaders()), data, fault.cut)
        if fault.cut >= 0:
            self._tear()

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _any


class QuietServer(ThreadingHTTPServer):
    """A server on loopback that says nothing about connections that break: that is what it is for.

    Args:
        handler: answers requests.
    """

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


class _Proxying(QuietServer):
    def __init__(self, proxy: Proxy) -> None:
        super().__init__(_Handler)
        self.proxy = proxy


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[int]:
    """Let a server answer for the time of the block; yield its port."""
    with server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def fault_proxy(upstream: int) -> Iterator[Proxy]:
    """Run a proxy before the registry on that port."""
    proxy = Proxy(upstream)
    with serving(_Proxying(proxy)) as port:
        proxy.port = port
        yield proxy


def docker_config(folder: Path, *hosts: str, password: str = PASSWORD) -> Path:
    """Write docker's own store with the credentials of these registries; return its directory."""
    folder.mkdir(parents=True, exist_ok=True)
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    entries = ", ".join(f'"{host}": {{"auth": "{auth}"}}' for host in hosts)
    path = folder / "config.json"
    path.write_text(f'{{"auths": {{{entries}}}}}', encoding="utf-8")
    # The buildx under test may be one that only its own directory knows.
    plugins = Path(os.environ.get("DOCKER_CONFIG", "/nonexistent"), "cli-plugins")
    if plugins.is_dir() and not (folder / plugins.name).exists():
        (folder / plugins.name).symlink_to(plugins)
    return folder
