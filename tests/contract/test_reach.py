"""A port that can't be reached from here is asked by what the container has, or a helper has."""

from __future__ import annotations

import json
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from buildlib.containers.health import Health
from buildlib.containers.health_probe import Probe
from buildlib.containers.port import Inside, NoWayError, Reach, stays_open
from buildlib.docker.http import ServerAnswer
from buildlib.errors import TimedOutError
from buildlib.executor import Completed

from fakes import FakeExecutor

NC = """\
#!{python}
import socket, sys, threading
there = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def send():
    while data := sys.stdin.buffer.raw.read(65536):
        there.sendall(data)
threading.Thread(target=send, daemon=True).start()
while data := there.recv(65536):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
"""


class Engine(FakeExecutor):
    """Runs what is for a container here, with the programs of one folder."""

    def __init__(self, programs: Path, *, shell: bool = True) -> None:
        super().__init__()
        self.programs, self.shell = programs, shell
        self.timed_out = False
        self.listening = ""

    def _answer(self, argv: Sequence[str]) -> Completed:
        self.asked.append(tuple(argv))
        found = [{"NetworkSettings": {"Networks": {"bridge": {"IPAddress": "127.0.0.1"}}}}]
        return Completed(code=0, stdout=json.dumps(found) if argv[1] == "container" else "")

    def feed(self, argv: Sequence[str], text: str, *, timeout: float | None = None) -> Completed:
        assert timeout
        self.asked.append(tuple(argv))
        helped = argv[1] == "run"
        if self.timed_out:
            raise TimedOutError("docker did not answer")
        if not (self.shell or helped):
            return Completed(code=127, stderr='exec: "sh": executable file not found in $PATH')
        words = list(argv[argv.index("-c") :])
        if "/proc/net/tcp" in words[1]:
            return Completed(code=0, stdout=self.listening)
        done = subprocess.run(
            ["/bin/sh", *words],
            env={"PATH": str(self.programs)},
            input=text.encode(),
            capture_output=True,
            timeout=30,
            check=False,
        )
        return Completed(
            code=done.returncode,
            stdout=done.stdout.decode(errors="replace"),
            stderr=done.stderr.decode(errors="replace"),
        )


@pytest.fixture
def port() -> Iterator[int]:
    """Return the port of a server that gives up where half of the connection is closed."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                there, _ = listener.accept()
            except OSError:
                return
            with there:
                request = there.recv(65536)
                readable, _, _ = select.select([there], [], [], 0.2)
                closed = bool(readable) and not there.recv(1, socket.MSG_PEEK)
                body = f"closed: {closed}; {request.splitlines()[0].decode()}; ".encode()
                body += request.partition(b"\r\n\r\n")[2] + b"\xff\xfe"
                there.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
                )

    thread = Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(timeout=5)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("cat", "head", "sleep"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def _give(programs: Path, client: str) -> None:
    if client == "nc":
        (programs / client).write_text(NC.format(python=sys.executable), encoding="utf-8")
        (programs / client).chmod(0o755)
    else:
        found = sys.executable if client == "python3" else shutil.which(client)
        assert found
        (programs / client).symlink_to(found)


@pytest.mark.parametrize("client", ["bash", "nc", "python3", "perl"])
def test_each_client_asks_without_closing_half_of_the_connection(
    programs: Path, port: int, client: str
) -> None:
    _give(programs, client)
    inside = Inside(Engine(programs), "c")
    answer = inside.call(port, "/path?a=b", "POST", '{"ü": 1}', timeout=10)
    assert answer.body.decode(errors="replace") == (
        'closed: False; POST /path?a=b HTTP/1.1; {"ü": 1}\ufffd\ufffd'
    )
    assert inside.call(port, "/", "GET", None, timeout=10).status == 200
    assert inside.way == "inside the container, with docker exec"


@pytest.mark.parametrize("client", ["bash", "nc", "python3", "perl"])
def test_a_refused_connection_is_no_answer(programs: Path, client: str) -> None:
    _give(programs, client)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(OSError, match=r".") as caught:
        Inside(Engine(programs), "c").call(port, "/", "GET", None, timeout=10)
    assert not isinstance(caught.value, NoWayError)


def test_where_there_is_no_way_every_refusal_says_so(programs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    reach = Reach(Inside(Engine(programs, shell=False), "c"), port, f"http://127.0.0.1:{port}")
    # The engine is asked once a second; those in between know what came of it.
    for _ in range(3):
        with pytest.raises(NoWayError, match="helper-image"):
            reach.ask("/", timeout=1)


@pytest.mark.parametrize("shell", [True, False])
def test_a_container_that_can_not_ask_has_a_helper(
    programs: Path, port: int, *, shell: bool
) -> None:
    with pytest.raises(NoWayError, match="helper-image"):
        Inside(Engine(programs, shell=shell), "c").call(port, "/", "GET", None, timeout=10)
    engine = Engine(programs, shell=False)
    _give(programs, "bash")
    inside = Inside(engine, "c", "tools:1", ("--label", "a=b"))
    assert inside.call(port, "/", "GET", None, timeout=10).status == 200
    assert inside.way == "from a container of tools:1 in its network"
    (run,) = [argv for argv in engine.asked if argv[1] == "run"]
    assert {"--rm", "container:c", "a=b", "tools:1"} <= set(run)
    # It is asked at once from then on.
    inside.call(port, "/", "GET", None, timeout=10)
    assert [argv[1] for argv in engine.asked].count("exec") == 1


def test_a_helper_that_hangs_is_removed(programs: Path) -> None:
    engine = Engine(programs, shell=False)
    inside = Inside(engine, "c", "tools:1")
    inside._in_helper = True
    engine.timed_out = True
    with pytest.raises(TimeoutError, match="does not end within 3 s"):
        inside.call(80, "/", "GET", None, timeout=3)
    run, removed = engine.asked[-2:]
    assert removed == ("docker", "rm", "--force", "--volumes", run[run.index("--name") + 1])


LISTENING = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000
   1: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000
   2: 00000000:1F92 0200000A:1234 01 00000000:00000000 00:00000000 00000000  1000
   0: 00000000000000000000000000000000:1F93 00000000000000000000000000000000:0000 0A 0 0 0
   1: 00000000000000000000000001000000:1F94 00000000000000000000000000000000:0000 0A 0 0 0
"""


@pytest.mark.parametrize(
    ("port", "problem"),
    [
        (8080, ""),
        (8081, "it listens on port 8081 for itself alone"),
        (8082, "nothing listens on port 8082"),
        (8083, ""),
        (8084, "it listens on port 8084 for itself alone"),
        (0x1F9, "nothing listens on port 505"),
    ],
)
def test_who_listens_is_read_off_the_kernel(programs: Path, port: int, problem: str) -> None:
    engine = Engine(programs)
    engine.listening = LISTENING
    assert Inside(engine, "c").listens(port, timeout=1) == problem


def _unused() -> str:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


def test_what_can_be_reached_here_is_asked_here(programs: Path, port: int) -> None:
    engine = Engine(programs)
    reach = Reach(Inside(engine, "c"), port, f"http://127.0.0.1:{port}")
    assert reach.ask("/", timeout=5).status == 200
    assert (reach.way, engine.asked) == ("", [])


def test_what_refuses_here_is_asked_through_the_engine(programs: Path, port: int) -> None:
    _give(programs, "bash")
    reach = Reach(Inside(Engine(programs), "c"), port, _unused())
    assert reach.ask("/", timeout=5).status == 200
    assert reach.way == "inside the container, with docker exec"


def test_what_serves_nowhere_yet_is_asked_here_again(
    programs: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _give(programs, "bash")
    engine = Engine(programs)
    reach = Reach(Inside(engine, "c"), int(_unused().rpartition(":")[2]), _unused())
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            reach.ask("/", timeout=5)
    # docker is not started at each look.
    assert sum(argv[1] == "exec" for argv in engine.asked) == 1
    reach.address = f"http://127.0.0.1:{port}"
    assert reach.ask("/", timeout=5).status == 200
    assert reach.way == ""
    # From now on there is but one way.
    monkeypatch.setattr("buildlib.containers.port._PAUSE", 0.0)
    reach.address = _unused()
    with pytest.raises(ConnectionRefusedError):
        reach.ask("/", timeout=5)


def test_an_engine_elsewhere_is_never_asked_here(programs: Path, port: int) -> None:
    _give(programs, "bash")
    reach = Reach(Inside(Engine(programs), "c"), port, "")
    assert reach.ask("/", timeout=5).status == 200
    engine = Engine(programs)
    engine.listening = LISTENING
    assert Reach(Inside(engine, "c"), 8080, "").connects(timeout=1) == ""


@pytest.mark.parametrize("says", [b"", b"hello\n"])
def test_a_connection_that_stays_open_is_a_server(says: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def accept() -> None:
            there, _ = listener.accept()
            with there:
                there.sendall(says)
                with suppress(ConnectionError):
                    there.recv(1)

        thread = Thread(target=accept)
        thread.start()
        assert stays_open(address, timeout=5) == ""
        thread.join()


def test_a_connection_that_is_closed_at_once_is_dockers_proxy_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def close() -> None:
            listener.accept()[0].close()

        thread = Thread(target=close)
        thread.start()
        assert stays_open(address, timeout=5) == "the connection is closed at once"
        thread.join()


class Known(Reach):
    """A port that answers as told."""

    def __init__(self, status: int = 200, *, way: bool = True) -> None:
        super().__init__(Inside(FakeExecutor(), "c"), 80, "")
        self.status, self.has_way = status, way

    def ask(self, *_: object, **__: object) -> ServerAnswer:
        if not self.has_way:
            raise NoWayError("no client")
        return ServerAnswer(self.status, b"")

    def connects(self, *, timeout: float) -> str:
        return f"no answer in {timeout} s"


STATES = {
    "healthy": {"Running": True, "Health": {"Status": "healthy"}},
    "ill": {"Running": True, "Health": {"Status": "unhealthy", "Log": [{"Output": "ouch"}]}},
    "silent": {"Running": True, "Health": {"Status": "unhealthy", "Log": [{"ExitCode": 3}]}},
    "young": {"Running": True, "Health": {"Status": "starting"}},
    "plain": {"Running": True},
}
PROBES = {
    "http": (Health("http"), Known(302), "plain", ""),
    "http that is not": (Health("http"), Known(404), "plain", "HTTP 404"),
    "http that should be": (Health("http", statuses=((404, 404),)), Known(404), "plain", ""),
    "tcp": (Health("tcp"), Known(), "plain", "no answer in 2 s"),
    "a command": (Health("command", command=("good",)), Known(), "plain", ""),
    "one that fails": (Health("command", command=("x",)), Known(), "plain", "exit code 1: said x"),
    "healthy by itself": (Health("healthcheck"), Known(), "healthy", ""),
    "ill by itself": (Health("healthcheck"), Known(), "ill", "health check: ouch"),
    "ill without a word": (Health("healthcheck"), Known(), "silent", "health check: exit code 3"),
    "not yet": (Health("healthcheck"), Known(), "young", "starting"),
    "no check": (Health("healthcheck"), Known(), "plain", "the image has no HEALTHCHECK"),
    "runs": (Health("running"), Known(), "plain", "it has just been started"),
    "no way, and its own check": (Health("http"), Known(way=False), "healthy", ""),
    "no way at all": (
        Health("http"),
        Known(way=False),
        "plain",
        "it can't be asked from here: no client",
    ),
}


@pytest.mark.parametrize(("health", "reach", "state", "problem"), PROBES.values(), ids=PROBES)
def test_each_kind_of_health(health: Health, reach: Reach, state: str, problem: str) -> None:
    check = {"Test": ["CMD", "good"]} if state == "healthy" else None
    described = {"State": STATES[state], "Config": {"Healthcheck": check}}

    def execute(words: tuple[str, ...]) -> Completed:
        return Completed(code=int(words != ("good",)), stderr=f"said {words[0]}")

    probe = Probe(health, reach, execute, lambda: described)
    assert probe.problem(2) == problem


def test_one_that_goes_on_running_is_well() -> None:
    described = {"State": {"Running": True}}
    probe = Probe(Health("running"), Known(), lambda _: Completed(code=0), lambda: described)
    deadline = time.monotonic() + 20
    while probe.problem(1) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert probe.problem(1) == ""
    described["State"]["Running"] = False
    assert probe.problem(1)


class Slow(Known):
    """A port whose next answer does not end, if there is a `delay`."""

    delay = False

    def ask(self, *_: object, **__: object) -> ServerAnswer:
        if self.delay:
            raise TimeoutError("its answer does not end within 0.03 s")
        return super().ask()


def test_the_last_complete_answer_counts_where_the_time_ends_within_the_next() -> None:
    reach = Slow(503)
    probe = Probe(Health("http"), reach, lambda _: Completed(code=0), dict)
    assert probe.problem(2) == "HTTP 503"
    reach.delay = True
    assert probe.problem(0.03) == "HTTP 503"
    # That much time is enough to say something about the server.
    assert probe.problem(2) == "HTTP 503; then its answer does not end within 0.03 s"
    assert "does not end" in Probe(
        Health("http"), reach, lambda _: Completed(code=0), dict
    ).problem(2)
