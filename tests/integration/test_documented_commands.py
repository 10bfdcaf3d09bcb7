"""The commands that the documentation has had from its beginning, as somebody types them."""

from __future__ import annotations

import json
import os
import pty
import secrets
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from conftest import ROOT, Checkout, docker, remove_images

pytestmark = pytest.mark.engine
SOCKET = "/var/run/docker.sock"
PAGE = "http://127.0.0.1:8080"


class Typed:
    """A line that somebody typed into a terminal, and what the terminal shows."""

    def __init__(self, line: str, folder: Path, env: dict[str, str] | None = None) -> None:
        self._terminal, theirs = pty.openpty()
        environment = {**os.environ, **(env or {})}
        self.process = subprocess.Popen(
            # Ctrl-C is for whoever has a terminal of their own.
            ["setsid", "--ctty", "sh", "-c", line],
            cwd=folder,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self._shown = bytearray()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._terminal, 4096):
                self._shown += data
        except OSError:
            return  # How a terminal ends.

    @property
    def shown(self) -> str:
        return self._shown.decode(errors="replace").replace("\r\n", "\n")

    def until(self, ready: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            assert self.process.poll() is None, self.shown
            assert time.monotonic() < deadline, self.shown
            time.sleep(0.05)

    def interrupt(self) -> int:
        """Press Ctrl-C, and return the code."""
        os.write(self._terminal, b"\x03")
        return self.ends()

    def ends(self, seconds: float = 120) -> int:
        code = self.process.wait(timeout=seconds)
        self._reader.join(timeout=60)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._terminal)


@contextmanager
def _typed(line: str, folder: Path) -> Iterator[Typed]:
    typed = Typed(line, folder)
    try:
        yield typed
    finally:
        typed.close()


class Server:
    """The container that a typed line started."""

    def __init__(self, typed: Typed, image: str) -> None:
        typed.until(lambda: "listening" in typed.shown)
        (self.name,) = _containers(image)

    def ask(self, path: str, method: str = "GET", body: object = None) -> Any:
        """Ask inside: nothing is published by these lines."""
        words = ["wget", "-q", "-O", "-", "--header", "Content-Type: application/json"]
        words += ["--post-data", json.dumps(body)] if method == "POST" else []
        text = docker("exec", self.name, *words, PAGE + path)
        return json.loads(text) if path.startswith("/api") else text

    def users(self) -> set[str]:
        """Return whom every process of the container runs as, as the engine's machine sees it."""
        listing = docker("top", self.name, "-eo", "uid,gid,pid,args").splitlines()[1:]
        return {":".join(line.split()[:2]) for line in listing}

    def close(self) -> None:
        docker("rm", "--force", "--volumes", self.name, check=False)


def _containers(image: str) -> list[str]:
    """Return the containers of an image of exactly this name: others may have the same ID."""
    rows = docker("ps", "--all", "--format", "{{.ID}} {{.Image}}").splitlines()
    return [row.split()[0] for row in rows if row.split()[1] == image]


@contextmanager
def _serving(line: str, image: str, folder: Path) -> Iterator[tuple[Server, Typed]]:
    """Type a line that has IMAGE in the place of the image, and give the server that it starts."""
    with _typed(line.replace("dockerutilities:latest", shlex.quote(image)), folder) as typed:
        server = Server(typed, image)
        try:
            yield server, typed
        finally:
            server.close()


@pytest.fixture(name="image")
def _image(own_image: str) -> Iterator[str]:
    """Return a name of the image that only this test has, by which its container is found."""
    name = f"buildlib-test-{secrets.token_hex(4)}"
    docker("tag", own_image, f"{name}:latest")
    yield f"{name}:latest"
    remove_images(name)


def test_the_plain_line_serves_as_1001_and_stops_on_ctrl_c(image: str, tmp_path: Path) -> None:
    line = "docker run --rm -it dockerutilities:latest"
    with _serving(line, image, tmp_path) as (server, typed):
        assert server.users() == {"1001:1001"}
        assert server.ask("/api/health")["status"] == "healthy"
        assert f"{SOCKET} is not mounted" in typed.shown
        assert typed.interrupt() == 0
        assert _containers(image) == []


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("--help", "Usage:"),
        ("version", "0."),
        ("""sh -c 'printf "[%s]" "$(id -u)" "two  words"'""", "[1001][two  words]"),
    ],
)
def test_a_command_of_the_plain_line_prints_and_ends(
    image: str, tmp_path: Path, words: str, wanted: str
) -> None:
    with _typed(f"docker run --rm -it {image} {words}", tmp_path) as typed:
        assert typed.ends() == 0
        assert wanted in typed.shown


def _lists(server: Server, image: str) -> None:
    images = server.ask("/api/images")["images"]
    assert image in [tag for one in images for tag in one["tags"]]
    assert image.partition(":")[0] in server.ask("/")


def test_with_the_engines_socket_page_and_api_list_images(image: str, tmp_path: Path) -> None:
    line = f"docker run --rm -it -v {SOCKET}:{SOCKET} dockerutilities:latest"
    with _serving(line, image, tmp_path) as (server, _):
        _lists(server, image)
        assert server.users() == {"1001:1001"}


@contextmanager
def _relay(path: Path, group: int) -> Iterator[None]:
    """Give another socket that leads to the engine, of root and a group."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with source, sink:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            engine = socket.socket(socket.AF_UNIX)
            engine.connect(SOCKET)
            for ends in ((client.dup(), engine.dup()), (engine, client)):
                Thread(target=pump, args=ends, daemon=True).start()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        os.chown(path, 0, group)
        path.chmod(0o660)
        Thread(target=serve, args=(listener,), daemon=True).start()
        yield
        listener.shutdown(socket.SHUT_RDWR)


# Any group by its number: test_entrypoint.py.
@pytest.mark.parametrize("group", [0, 4242])
def test_with_a_socket_of_any_group_images_are_listed(
    image: str, tmp_path: Path, group: int
) -> None:
    path = tmp_path / "s.sock"
    line = f"docker run --rm -it -v {path}:{SOCKET} dockerutilities:latest"
    with _relay(path, group), _serving(line, image, tmp_path) as (server, typed):
        _lists(server, image)
        assert typed.shown.count("joining group root") == (1 if group == 0 else 0)


DATA_LINE = "docker run --rm -it -v ./data:/app/data dockerutilities:latest"
BOTH_LINE = f"docker run --rm -it -v {SOCKET}:{SOCKET} -v ./data:/app/data dockerutilities:latest"


def test_reports_persist_in_a_directory_that_docker_makes(image: str, tmp_path: Path) -> None:
    with _serving(BOTH_LINE, image, tmp_path) as (server, typed):
        made = server.ask("/api/reports", "POST", {"image": image})
        assert "/app/data was empty and root's" in typed.shown
    assert (tmp_path / "data").stat().st_uid == 1001
    with _serving(DATA_LINE, image, tmp_path) as (server, _):
        assert [one["id"] for one in server.ask("/api/reports")["reports"]] == [made["id"]]


def _owners(root: Path) -> dict[str, tuple[int, int]]:
    found = [root, *sorted(root.rglob("*"))]
    return {str(one): (one.lstat().st_uid, one.lstat().st_mode) for one in found}


@pytest.mark.parametrize(
    "line", [DATA_LINE, DATA_LINE.replace("-it", "-it --user 1001:1001")], ids=["root", "1001"]
)
def test_a_directory_that_is_not_empty_stays_and_the_message_has_the_chown(
    image: str, tmp_path: Path, line: str
) -> None:
    (tmp_path / "data" / "theirs").mkdir(parents=True)
    before = _owners(tmp_path / "data")
    with _typed(line.replace("dockerutilities:latest", image), tmp_path) as typed:
        assert typed.ends() == 1
        assert "user 1001 must be able to write it: chown 1001:1001" in typed.shown
    assert _owners(tmp_path / "data") == before


def test_another_user_changes_nothing_and_learns_its_own_number(image: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    before = _owners(tmp_path / "data")
    line = DATA_LINE.replace("-it", "-it --user 2000:2001 --read-only --cap-drop ALL")
    with _typed(line.replace("dockerutilities:latest", image), tmp_path) as typed:
        assert typed.ends() == 1
        assert "chown 2000:2001" in typed.shown
    assert _owners(tmp_path / "data") == before


def test_a_command_that_is_no_server_takes_nothing_over(image: str, tmp_path: Path) -> None:
    line = f"docker run --rm -it -v ./data:/app/data {image} version"
    with _typed(line, tmp_path) as typed:
        assert typed.ends() == 0
    assert (tmp_path / "data").stat().st_uid == 0


@pytest.fixture(name="clone")
def _clone(tmp_path: Path) -> Iterator[Checkout]:
    """Return a clone of this repository with an image name of its own, and what it made removed."""
    name = f"buildlib-test-{secrets.token_hex(4)}"
    root = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(root)], check=True)
    yield Checkout(root, name)
    docker("rm", "--force", "--volumes", name, check=False)
    remove_images(name)


def _address(shown: str) -> str:
    found = [line.split()[1] for line in shown.splitlines() if line.startswith("address")]
    return found[0] if found else ""


def test_the_script_runs_it_as_1001(clone: Checkout) -> None:
    # Which option comes to which of the task's: tests/shell/test_docker_run.py.
    path = clone.root.parent / "engine.sock"
    path.symlink_to(SOCKET)
    words = f"--persistent --socket {path} --port {_free_port()}"
    line = f"BUILDLIB_IMAGE={clone.image} ./scripts/docker-run.sh {words}"
    with _typed(line, clone.root) as typed:
        typed.until(lambda: bool(_address(typed.shown)), 300)
        listing = docker("top", clone.image, "-eo", "uid,pid,args").splitlines()[1:]
        started_as = docker("inspect", "--format", "{{.Config.User}}", clone.image)
        assert started_as == "1001:1001"
        # docker's own init has the user too.
        assert {line.split()[0] for line in listing} == {"1001"}
        ask = ("exec", clone.image, "wget", "-q", "-O", "-", f"{PAGE}/api/images")
        assert json.loads(docker(*ask))["images"]
        assert (clone.root / "data").is_dir()
        # As the task ends, or as the shell does that waited for it.
        assert typed.interrupt() in {0, 130, -signal.SIGINT}
    assert docker("ps", "--all", "--quiet", "--filter", f"name={clone.image}") == ""


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
