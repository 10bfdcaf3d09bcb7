"""Servers that never come to an end, asked by what asks the container's server."""

from __future__ import annotations

import json
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event, Thread

import pytest

from buildlib.config.load import load_config
from buildlib.containers.container import Containers
from buildlib.containers.health import Health
from buildlib.containers.plan import RunPlan
from buildlib.docker.http import LONGEST, call
from buildlib.errors import GateError
from buildlib.executor import Completed
from buildlib.smoke.sandbox import Lab
from buildlib.smoke.server import Server

from fakes import FakeExecutor, write_project

Send = Callable[[bytes], None]
Serve = Callable[[Callable[[Send, Event], None]], str]
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a server of what a function sends, until it is told to stop."""
    over, threads = Event(), list[Thread]()
    with ExitStack() as stack:

        def start(act: Callable[[Send, Event], None]) -> str:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def run() -> None:
                with suppress(OSError):
                    client, _ = listener.accept()
                    with client:
                        client.recv(65536)
                        act(client.sendall, over)

            threads.append(Thread(target=run))
            threads[-1].start()
            return f"http://127.0.0.1:{listener.getsockname()[1]}/health"

        yield start
        over.set()
        for thread in threads:
            thread.join(timeout=30)


def _drips(before: bytes, drop: bytes) -> Callable[[Send, Event], None]:
    def act(send: Send, over: Event) -> None:
        send(before)
        while not over.wait(0.05):
            send(drop)

    return act


def _streams(before: bytes, part: bytes) -> Callable[[Send, Event], None]:
    def act(send: Send, over: Event) -> None:
        send(before)
        while not over.is_set():
            send(part)

    return act


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(_drips(b"", b""), id="silence"),
        pytest.param(_drips(b"", b"H"), id="a status line that never ends"),
        pytest.param(_drips(OK, b"a"), id="a header that never ends"),
        pytest.param(_drips(OK, b"a: b\r\n"), id="headers that never end"),
        pytest.param(_drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="Continue for ever"),
        pytest.param(_streams(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="Continue, quickly"),
        pytest.param(_drips(OK + b"\r\n", b"x"), id="a body that drips"),
        pytest.param(
            _drips(OK + b"Content-Length: 1000\r\n\r\n", b"x"),
            id="a body of known length that drips",
        ),
        pytest.param(
            _drips(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
            id="chunks that drip",
        ),
    ],
)
def test_the_deadline_is_of_the_whole_call(
    serve: Serve, act: Callable[[Send, Event], None]
) -> None:
    address, started = serve(act), time.monotonic()
    with pytest.raises(OSError, match=r"does not end within 0\.5 s|no HTTP"):
        call(address, timeout=0.5)
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    ("before", "part"),
    [
        pytest.param(OK + b"\r\n", b"x" * 65536, id="without a length"),
        pytest.param(
            OK + b"Content-Length: 1000000000000\r\n\r\n", b"x" * 65536, id="of a terabyte"
        ),
        pytest.param(
            OK + b"Transfer-Encoding: chunked\r\n\r\n",
            b"10000\r\n" + b"x" * 65536 + b"\r\n",
            id="in chunks",
        ),
    ],
)
def test_a_body_without_end_is_read_to_a_limit(serve: Serve, before: bytes, part: bytes) -> None:
    address = serve(_streams(before, part))
    tracemalloc.start()
    with pytest.raises(OSError, match=r"longer than 16 MB"):
        call(address, timeout=60)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * LONGEST


def test_a_body_that_nobody_takes_is_sent_no_longer_either(serve: Serve) -> None:
    def act(_: Send, over: Event) -> None:
        over.wait(60)

    started = time.monotonic()
    with pytest.raises(OSError, match=r"does not end within 0\.5 s"):
        call(serve(act), method="POST", body=b"x" * 50_000_000, timeout=0.5)
    assert time.monotonic() - started < 15


def test_headers_without_end_are_no_http(serve: Serve) -> None:
    with pytest.raises(OSError, match="no HTTP"):
        call(serve(_streams(OK, b"a: b\r\n")), timeout=60)


def test_an_answer_that_ends_is_returned_whole(serve: Serve) -> None:
    def act(send: Send, _: Event) -> None:
        send(OK + b"Content-Length: 5\r\n\r\nhe")
        send(b"llo")

    assert call(serve(act)) == (200, b"hello")


ENDLESS = pytest.mark.parametrize(
    ("act", "reason"),
    [
        pytest.param(_drips(OK + b"\r\n", b"x"), "does not end within", id="drips"),
        pytest.param(_streams(OK + b"\r\n", b"x" * 65536), "", id="streams"),
    ],
)
RUNS = Completed(code=0, stdout=json.dumps([{"State": {"Running": True}}]))
DOCKER: dict[tuple[str, ...], Completed] = {
    ("docker", "container"): RUNS,
    ("docker", "logs"): Completed(code=0, stdout="its log"),
}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let little be too long, so that it is read in no time on any machine."""
    monkeypatch.setattr("buildlib.docker.http.LONGEST", 1_000_000)


@ENDLESS
@pytest.mark.usefixtures("short")
def test_docker_run_waits_no_longer_than_it_says(
    serve: Serve, act: Callable[[Send, Event], None], reason: str
) -> None:
    address = serve(act).removesuffix("/health")
    plan = RunPlan(image="i", name="n", labels=(), health=Health("http", 80, "/health"), timeout=1)
    started = time.monotonic()
    with pytest.raises(GateError, match="n was not healthy within 1 s") as caught:
        Containers(FakeExecutor(DOCKER), "thing").wait_until_healthy(plan, "c", address)
    assert time.monotonic() - started < 30
    assert "its log" in caught.value.why
    assert reason in caught.value.why


@ENDLESS
@pytest.mark.usefixtures("short")
def test_smoke_waits_no_longer_than_it_says(
    tmp_path: Path, serve: Serve, act: Callable[[Send, Event], None], reason: str
) -> None:
    address = serve(act).removesuffix("/health")
    config = load_config(
        write_project(
            tmp_path,
            'image = "thing"\n[smoke]\nport = 80\nhealth-path = "/health"\nstart-timeout = 1\n',
        ),
        {},
    )
    server = Server(Lab(FakeExecutor(DOCKER), "smoke-1"), "c", config, address)
    started = time.monotonic()
    said = server.healthy()
    assert time.monotonic() - started < 30
    assert "not healthy within 1 s" in said
    assert reason in said


def test_what_says_nothing_is_told_without_the_names_of_classes(serve: Serve) -> None:
    with pytest.raises(OSError, match="no answer: the connection is closed, as where nothing"):
        call(serve(lambda *_: None), timeout=60)
    with pytest.raises(OSError, match=r"^no HTTP: 'SSH-2\.0'$"):
        call(serve(lambda send, _: send(b"SSH-2.0\r\n")), timeout=60)
