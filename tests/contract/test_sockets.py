"""Sockets as containers may find them, over a server that listens on a real one."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from buildlib.containers.runner import Engine, describe_engine
from buildlib.docker.endpoint import Candidate, Pinged
from buildlib.docker.engine import EngineFacts
from buildlib.errors import CancelledError, EngineError
from buildlib.executor import Completed
from buildlib.smoke.socket_relay import relay, sockets

from fakes import FakeExecutor

# Whether the engine can mount what is made here is tried on a container that is never started.
SEEN: dict[tuple[str, ...], Completed] = {
    ("docker", "create"): Completed(code=0),
    ("docker", "rm"): Completed(code=0),
}


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[str]:
    """Listen on a socket; each connection is answered, once it is closed, with what it sent."""
    path = tmp_path / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    told = b""
                    while part := client.recv(4096):
                        told += part
                    client.sendall(told.upper())

        thread = threading.Thread(target=serve)
        thread.start()
        yield str(path)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _ask(path: str | Path, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while part := client.recv(65536):
            answer += part
        return answer


def _engine(address: str, **facts: object) -> Engine:
    answer = Pinged(candidate=Candidate(source="DOCKER_HOST", address=address, named=True))
    return describe_engine(answer, EngineFacts(**facts))  # type: ignore[arg-type]


def test_a_relay_passes_everything_on_both_ways(echo: str) -> None:
    data = b"abc" * 100_000
    with relay(echo) as path:
        assert _ask(path, b"one") == b"ONE"
        assert _ask(path, data) == data.upper()
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.parent.exists()


def test_a_relay_to_nowhere_closes_at_once(tmp_path: Path) -> None:
    with relay(str(tmp_path / "nowhere.sock")) as path, socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        assert client.recv(1) == b""


def test_a_relay_listens_below_a_path_that_is_too_long_for_a_socket(
    echo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / ("long" * 30)
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with relay(echo) as path:
        assert path.parent.parent == temporary
        # A container has it mounted elsewhere, so the length is nothing to it.
        short = tmp_path / "s"
        short.symlink_to(path.parent)
        assert _ask(short / path.name, b"one") == b"ONE"
    assert list(temporary.iterdir()) == []


def test_on_linux_each_group_has_a_socket_that_leads_to_the_engine(
    echo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[str, int, int]] = []
    # Only root may give a file away, and these tests are for everybody.
    monkeypatch.setattr(
        os, "chown", lambda path, user, group: given.append((str(path), user, group))
    )
    own = Path(echo).stat().st_gid
    others = [own, 4242, 4243]
    with sockets(_engine(f"unix://{echo}"), others, FakeExecutor(SEEN), "thing") as found:
        assert [one.group for one in found] == [own, 4242, 4243]
        assert found[0].source == echo
        for one in found[1:]:
            assert (one.source, 0, one.group) in given
            assert stat.S_IMODE(Path(one.source).stat().st_mode) == 0o660
            assert _ask(one.source, b"hello") == b"HELLO"
    assert not Path(found[1].source).exists()


def test_who_may_not_give_it_away_lets_a_container_do_it(
    echo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "chown", refuse)
    docker = FakeExecutor({**SEEN, ("docker", "run"): Completed(code=0)})
    with sockets(_engine(f"unix://{echo}"), [4242], docker, "thing") as found:
        (argv,) = [argv for argv in docker.asked if argv[1] == "run"]
        folder = str(Path(found[1].source).parent)
    assert argv == (
        *("docker", "run", "--rm", "--pull", "never", "--network", "none", "--user", "0:0"),
        *("--mount", f"type=bind,source={folder},target=/relay", "--entrypoint", "chown"),
        *("thing", "0:4242", "/relay/engine.sock"),
    )
    docker = FakeExecutor({**SEEN, ("docker", "run"): Completed(code=127, stderr="no chown")})
    with (
        pytest.raises(EngineError, match="a socket of group 4242 can't be made"),
        sockets(_engine(f"unix://{echo}"), [4242], docker, "thing"),
    ):
        raise AssertionError


def test_an_engine_that_does_not_see_our_files_has_its_own_socket_alone(echo: str) -> None:
    absent = "invalid mount config: bind source path does not exist: /tmp/x"
    docker = FakeExecutor({**SEEN, ("docker", "create"): Completed(code=1, stderr=absent)})
    with sockets(_engine(f"unix://{echo}"), [4242], docker, "thing") as found:
        own, other = found
    assert own.source == echo
    assert other.left_out == "the engine does not see the files of this machine"
    created, removed = docker.asked
    name = created[created.index("--name") + 1]
    assert removed == ("docker", "rm", "--force", "--volumes", name)


def test_an_interrupt_while_the_engine_looks_for_our_files_leaves_no_container(echo: str) -> None:
    class Interrupted(FakeExecutor):
        def _answer(self, argv: Sequence[str]) -> Completed:
            answer = super()._answer(argv)
            if argv[1] == "create":
                raise CancelledError("interrupted")
            return answer

    docker = Interrupted(SEEN)
    with (
        pytest.raises(CancelledError),
        sockets(_engine(f"unix://{echo}"), [4242], docker, "thing"),
    ):
        raise AssertionError
    created, removed = docker.asked
    assert removed[-1] == created[created.index("--name") + 1]


def test_an_engine_in_a_machine_of_its_own_has_one_socket(echo: str) -> None:
    engine = _engine(f"unix://{echo}", operating_system="Docker Desktop")
    docker = FakeExecutor({("docker", "run"): Completed(code=0, stdout="0\n")})
    with sockets(engine, [0, 999], docker, "thing") as found:
        assert [(one.group, one.source) for one in found] == [
            (0, "/var/run/docker.sock"),
            (999, ""),
        ]
        assert found[1].left_out == "Docker Desktop can mount no socket of this machine but its own"


def test_an_engine_elsewhere_has_none() -> None:
    with sockets(_engine("tcp://127.0.0.1:1"), [999], FakeExecutor(), "thing") as found:
        (one,) = found
    assert one.group == 999
    assert "is elsewhere" in one.left_out
