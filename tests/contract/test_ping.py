"""Asking addresses whether an engine is there, on real sockets of the file system."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ROOT

from buildlib.docker.endpoint import Candidate, current_context, ping

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"
PODMAN = b"HTTP/1.1 200 OK\r\nLibpod-API-Version: 5.0.0\r\nContent-Length: 2\r\n\r\nOK"
BROKEN = b"HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def _engine(path: Path, answer: bytes) -> Iterator[Candidate]:
    """Listen on a socket, and answer one request as an engine would."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                assert peer.recv(4096).startswith(b"GET /_ping ")
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield _at(path)
        thread.join()


def _at(path: Path) -> Candidate:
    return Candidate(source="x", address=f"unix://{path}")


def test_a_socket_with_a_slash_behind_it_is_not_one(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        # Docker refuses it as well; a Path would drop the slash.
        assert (
            ping(Candidate(source="x", address=f"unix://{tmp_path}/s/")).problem
            == "Not a directory"
        )


@pytest.mark.parametrize(
    ("answer", "problem", "podman"),
    [(OK, "", False), (PODMAN, "", True), (BROKEN, "answers 'HTTP/1.1 500 no'", False)],
    ids=["Docker", "Podman", "broken"],
)
def test_who_answers(tmp_path: Path, answer: bytes, problem: str, *, podman: bool) -> None:
    with _engine(tmp_path / "s", answer) as candidate:
        found = ping(candidate)
    assert (found.problem, found.podman) == (problem, podman)


def test_who_speaks_no_http_is_no_engine(tmp_path: Path) -> None:
    with _engine(tmp_path / "s", b"SSH-2.0\r\n") as candidate:
        assert ping(candidate).problem


@pytest.mark.parametrize("name", ["with blank", "quo'te\"", "new\nline", "ünï", "-dash"])
def test_odd_paths(tmp_path: Path, name: str) -> None:
    with _engine(tmp_path / name, OK) as candidate:
        assert ping(candidate).problem == ""


def _dangling(path: Path) -> None:
    path.symlink_to(path.parent / "gone")


def _dead(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


THERE: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda _: None, "not there"),
    "a file": (Path.touch, "a file, not a socket"),
    "a directory": (Path.mkdir, "a directory"),
    "a link that leads nowhere": (_dangling, "a link that leads nowhere"),
    "a socket of one that has ended": (_dead, "nothing listens there"),
}


@pytest.mark.parametrize(("make", "problem"), THERE.values(), ids=THERE)
def test_what_is_no_engine(tmp_path: Path, make: Callable[[Path], object], problem: str) -> None:
    make(tmp_path / "s")
    assert ping(_at(tmp_path / "s")).problem == problem


def test_one_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        assert ping(_at(tmp_path / "s")).problem == "no answer within 2 s"


def test_one_that_drips_is_given_up(tmp_path: Path) -> None:
    over = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()

        def serve() -> None:
            peer, _ = listener.accept()
            with peer, contextlib.suppress(OSError):
                while not over.wait(0.2):
                    peer.sendall(b"H")

        thread = threading.Thread(target=serve)
        thread.start()
        started = time.monotonic()
        assert ping(_at(tmp_path / "s")).problem == "no answer within 2 s"
        assert time.monotonic() - started < 60
        over.set()
        thread.join()


def test_without_permission() -> None:
    # Root may do everything, so somebody else has to ask, who can't look into pytest's folders.
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[2])\n"
        "from buildlib.docker.endpoint import Candidate\n"
        "from buildlib.docker.endpoint import ping\n"
        "import encodings.idna\n"
        "os.geteuid() or os.setuid(65534)\n"
        "print(ping(Candidate(source='x', address='unix://' + sys.argv[1])).problem)"
    )
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        Path(folder).chmod(0o755)
        path = Path(folder, "s")
        listener.bind(str(path))
        listener.listen()
        path.chmod(0o000)
        done = subprocess.run(
            [sys.executable, "-c", code, str(path), str(ROOT)],
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout == "no permission\n"


def test_an_engine_elsewhere_is_left_to_docker() -> None:
    assert ping(Candidate(source="x", address="tcp://192.0.2.1:1")).problem == ""


def _context(folder: Path, config: object, **env: str) -> tuple[tuple[str, str], list[str]]:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    asked: list[str] = []

    def ask(name: str) -> str:
        asked.append(name)
        return f"unix:///{name}.sock"

    return current_context({"DOCKER_CONFIG": str(folder), **env}, ask), asked


def test_the_current_context_is_asked_for_its_address(tmp_path: Path) -> None:
    found, asked = _context(tmp_path, {"currentContext": "colima"})
    assert found == ("colima", "unix:///colima.sock")
    assert asked == ["colima"]


def test_docker_context_comes_before_the_file_and_docker_host_before_both(tmp_path: Path) -> None:
    config = {"currentContext": "colima"}
    assert _context(tmp_path, config, DOCKER_CONTEXT="box")[0] == ("box", "unix:///box.sock")
    assert _context(tmp_path, config, DOCKER_HOST="tcp://x:1") == (("", ""), [])


@pytest.mark.parametrize("config", [{}, {"currentContext": "default"}, [], "x"])
def test_the_default_context_needs_no_question(tmp_path: Path, config: object) -> None:
    assert _context(tmp_path, config) == (("", ""), [])


def test_a_broken_configuration_of_docker_is_dockers_business(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    assert current_context({"DOCKER_CONFIG": str(tmp_path)}, str) == ("", "")
