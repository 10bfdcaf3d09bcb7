"""The task `docker-builder` as a user runs it, without an engine; and nodes that do not answer."""

from __future__ import annotations

import json
import os
import shlex
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
from conftest import Checkout
from nodes import Authority, make_authority

from buildlib.builders import probe
from buildlib.config.builders import NodeSettings

Make = Callable[..., Checkout]
FARM = """\
platforms = ["linux/amd64", "linux/arm64"]
[builders.farm]
driver = "remote"
nodes = [
  { endpoint = "tcp://one:1", platforms = ["linux/amd64"], cacert = "it's.pem" },
  { endpoint = "ssh://me@two", platforms = ["linux/arm64"] },
]
"""
LOCAL = """\
[builders.local]
driver = "docker-container"
gc = { keep-storage = "5 GB" }
"""


def _no_docker(folder: Path) -> str:
    """Return a PATH on which docker notes that it was started."""
    folder.mkdir()
    (folder / "docker").write_text(f"#!/bin/sh\ntouch {folder}/started\nexit 9\n", encoding="utf-8")
    (folder / "docker").chmod(0o755)
    return f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin"


@pytest.fixture(name="user")
def _user(make_checkout: Make) -> Checkout:
    checkout = make_checkout(config=FARM + LOCAL)
    (checkout.root / "it's.pem").touch()
    return checkout


def test_a_dry_run_prints_every_command_and_starts_none(user: Checkout, tmp_path: Path) -> None:
    path = _no_docker(tmp_path / "bin")
    printed = {}
    for action, name in (("create", "farm"), ("create", "local"), ("remove", "farm")):
        words = ("docker-builder", action, "--name", name)
        done = user.invoke(*words, "--dry-run", PATH=path)
        assert done.returncode == 0, done.stderr
        assert user.invoke("--dry", *words, PATH=path).stdout == done.stdout
        printed[action, name] = done.stdout.splitlines()
    pem = shlex.quote(f"cacert={user.root}/it's.pem")
    assert printed["create", "farm"] == [
        (
            "docker buildx create --name farm --driver remote --node farm0 --platform linux/amd64 "
            f"--driver-opt {pem} tcp://one:1"
        ),
        (
            "docker buildx create --append --name farm --driver remote --node farm1 "
            "--platform linux/arm64 ssh://me@two"
        ),
    ]
    assert printed["create", "local"][-2:] == [
        (
            '\' >"$file" && docker buildx create --name local --driver docker-container '
            '--node local0 --buildkitd-config "$file" && rm "$file"'
        ),
        "docker buildx inspect --bootstrap local",
    ]
    assert printed["remove", "farm"] == ["docker buildx rm --force farm"]
    done = user.invoke("docker-builder", "status", "--dry-run", PATH=path)
    assert done.stdout.splitlines() == [
        line
        for name in ("farm", "local")
        for line in (
            f"docker buildx inspect {name}",
            f"docker buildx du --builder {name}",
            f"docker buildx history ls --builder {name} --format json",
        )
    ]
    assert not (tmp_path / "bin/started").exists()


def test_the_dry_run_says_where_places_would_be_claimed(make_checkout: Make) -> None:
    more = FARM.replace('driver = "remote"', 'driver = "remote"\nlease-repository = "r.example/x"')
    user = make_checkout(config=more.replace('"ssh://me@two",', '"ssh://me@two", max-builds = 1,'))
    (user.root / "it's.pem").touch()
    words = ("docker-build", "--builder", "farm", "--dry-run", "--output", "oci", "--platform")
    done = user.invoke(*words, "linux/arm64")
    assert done.returncode == 0, done.stderr
    assert "claims a place on node farm1 in r.example/x" in done.stderr.splitlines()
    assert "place" not in done.stdout
    assert "claims a place" not in user.invoke(*words, "linux/amd64").stderr


def test_the_dry_run_hands_over_a_configuration_that_can_be_read_twice(
    user: Checkout, tmp_path: Path
) -> None:
    """As buildx 0.38 does it."""
    printed = user.invoke("docker-builder", "create", "--name", "local", "--dry-run").stdout
    folder, temporary = tmp_path / "bin", tmp_path / "temporary"
    folder.mkdir()
    temporary.mkdir()
    twice = '[ "$2" != create ] || { for path; do :; done; cat "$path" "$path"; }'
    (folder / "docker").write_text(f"#!/bin/sh\n{twice}\n", encoding="utf-8")
    (folder / "docker").chmod(0o755)
    env = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(temporary)}
    argv = ["sh", "-ec", printed]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "[worker.oci]\n  gc = true\n  gckeepstorage = 5000000000\n" * 2
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["crate"], "did you mean create", id="an action that is none"),
        pytest.param(["create"], "there are several builders", id="no name, and two builders"),
        pytest.param(["create", "--name", "fram"], "did you mean farm", id="a name that is none"),
        pytest.param(["remove", "--name", "x"], "no builder 'x'", id="nothing to remove"),
    ],
)
def test_what_is_not_there_is_refused_with_code_2(
    user: Checkout, words: list[str], message: str
) -> None:
    done = user.invoke("docker-builder", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


def test_a_file_that_is_missing_is_refused_with_code_2(user: Checkout, tmp_path: Path) -> None:
    (user.root / "it's.pem").unlink()
    for dry in ((), ("--dry-run",)):
        done = user.invoke("docker-builder", "create", "--name", "farm", *dry)
        assert done.returncode == 2
        assert "node farm0: cacert" in done.stderr
    none = Checkout(tmp_path / "none", "x")
    none.root.mkdir()
    (none.root / "buildlib.toml").write_text('image = "x"\n', encoding="utf-8")
    (none.root / "tasks.py").write_bytes((user.root / "tasks.py").read_bytes())
    done = none.invoke("docker-builder", "status")
    assert done.returncode == 2
    assert "no builder is configured" in done.stderr


def test_docker_s_own_builder_is_nothing_to_make(make_checkout: Make) -> None:
    checkout = make_checkout(config='[builders.own]\ndriver = "docker"\n')
    done = checkout.invoke("docker-builder", "create", "--dry-run")
    assert (done.returncode, done.stdout) == (0, "")
    assert "nothing is made or removed" in done.stderr
    done = checkout.invoke("docker-builder", "remove")
    assert done.returncode == 2
    assert "docker's own builder" in done.stderr


def test_docker_s_own_builder_is_told_about(make_checkout: Make, tmp_path: Path) -> None:
    checkout = make_checkout(config='[builders.own]\ndriver = "docker"\n')
    path = _no_docker(tmp_path / "bin")
    says = "Name: default\nDriver: docker\n\nNodes:\nName: default\nStatus: running\n"
    says += "BuildKit version: v0.13.2\nPlatforms: linux/amd64, linux/amd64/v2\n"
    script = f"#!/bin/sh\ncat <<'END'\n{says}END\n"
    (tmp_path / "bin/docker").write_text(script, encoding="utf-8")
    made = checkout.invoke("docker-builder", "create", PATH=path)
    assert made.returncode == 0, made.stderr
    assert made.stdout.splitlines() == [
        "own  docker  ready",
        "  default    linux/amd64  running  v0.13.2",
    ]
    assert "there is nothing to make" in made.stderr
    assert checkout.invoke("docker-builder", "status", PATH=path).stdout == made.stdout
    for action in ("create", "status"):
        done = checkout.invoke("docker-builder", action, "--json", PATH=path)
        (found,) = json.loads(done.stdout)["builders"]
        assert (found["name"], found["state"], done.stderr) == ("own", "ready", "")
        assert found["nodes"][0]["platforms"] == ["linux/amd64"]


def test_a_builder_that_is_described_no_longer_can_be_removed(
    user: Checkout, tmp_path: Path
) -> None:
    records = tmp_path / "buildx/buildlib"
    records.mkdir(parents=True)
    (records / "old.json").write_text(json.dumps({"driver": "remote"}), encoding="utf-8")
    words = ("docker-builder", "remove", "--name", "old")
    done = user.invoke(*words, "--dry-run", BUILDX_CONFIG=str(tmp_path / "buildx"))
    assert done.stdout == "docker buildx rm --force old\n"
    folder = tmp_path / "bin"
    path = _no_docker(folder)
    says = "#!/bin/sh\necho 'ERROR: no builder \"old\" found' >&2\nexit 1\n"
    (folder / "docker").write_text(says, encoding="utf-8")
    done = user.invoke(*words, PATH=path, BUILDX_CONFIG=str(tmp_path / "buildx"))
    assert (done.returncode, done.stdout) == (0, "old was not there\n")
    assert not (records / "old.json").exists()


def test_a_builder_that_nobody_would_find_again_is_not_made(user: Checkout, tmp_path: Path) -> None:
    home = str(tmp_path / "buildlib-buildx-passing")
    done = user.invoke("docker-builder", "create", "--name", "local", BUILDX_CONFIG=home)
    assert done.returncode == 2
    assert "would be gone with this task" in done.stderr


def test_the_builder_of_a_build_is_asked_for_before_work(user: Checkout) -> None:
    done = user.invoke(
        "docker-build", "--builder", "farm", "--platform", "linux/riscv64", "--dry-run"
    )
    assert done.returncode == 2
    assert "no node of the builder farm builds linux/riscv64" in done.stderr
    done = user.invoke("docker-build", "--builder", "farm", "--dry-run")
    assert shlex.split(done.stdout)[:5] == ["docker", "buildx", "build", "--builder", "farm"]


# --- nodes that do not answer -----------------------------------------------------------------

_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
Serve = Callable[[Callable[[socket.socket], None]], str]


@pytest.fixture(name="authority", scope="module")
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority") / "ca")


@pytest.fixture(name="serve")
def _serve() -> Iterator[Serve]:
    """Return what answers one connection on loopback; it returns its address."""
    threads = []
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def start(answer: Callable[[socket.socket], None]) -> str:
            def take() -> None:
                connection, _ = listening.accept()
                with connection:
                    answer(connection)

            threads.append(Thread(target=take))
            threads[-1].start()
            return f"tcp://127.0.0.1:{listening.getsockname()[1]}"

        yield start
        for thread in threads:
            thread.join(timeout=30)


def _secured(authority: Authority, *, demands: bool = False) -> Callable[[socket.socket], None]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign("node"))
    context.set_alpn_protocols(["h2"])
    if demands:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority.certificate)

    def answer(plain: socket.socket) -> None:
        try:
            with context.wrap_socket(plain, server_side=True) as secure:
                secure.sendall(_SETTINGS)
                secure.recv(1)
        except OSError:
            # What the test is about: the other side does not like it.
            plain.close()

    return answer


def _node(endpoint: str, authority: Authority | None = None, name: str = "") -> NodeSettings:
    if authority is None:
        return NodeSettings(name="n", endpoint=endpoint)
    certificate, key = authority.sign("client")
    return NodeSettings(
        name="n",
        endpoint=endpoint,
        cacert=str(authority.certificate),
        cert=str(certificate),
        key=str(key),
        servername=name,
    )


def test_a_node_that_answers_is_not_blamed(serve: Serve, authority: Authority) -> None:
    node = _node(serve(_secured(authority, demands=True)), authority)
    assert probe.why_unreachable(node, Path("/")) == ""


def test_a_node_that_waits_for_the_client_is_not_blamed(serve: Serve) -> None:
    def second(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(_SETTINGS)

    assert probe.why_unreachable(_node(serve(second)), Path("/")) == ""


def test_a_certificate_that_is_refused_is_told(
    serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    stranger = make_authority(tmp_path / "stranger")
    certificate, key = stranger.sign("client")
    node = _node(serve(_secured(authority, demands=True)), authority)
    node = replace(node, cert=str(certificate), key=str(key))
    assert "it refuses the certificate" in probe.why_unreachable(node, Path("/"))


def test_a_node_with_another_name_is_told(serve: Serve, authority: Authority) -> None:
    node = _node(serve(_secured(authority)), authority, "else.test")
    assert "its certificate is not trusted" in probe.why_unreachable(node, Path("/"))


def test_a_node_that_is_none_is_told(serve: Serve, authority: Authority) -> None:
    def page(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    assert "or wants TLS" in probe.why_unreachable(_node(serve(page)), Path("/"))
    node = _node(serve(page), authority)
    assert probe.why_unreachable(node, Path("/")).startswith("TLS failed")


def test_a_node_that_never_says_a_word_is_not_waited_for(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_PATIENCE", 0.1)
    monkeypatch.setattr(probe, "_TIMEOUT", 0.2)

    def silent(connection: socket.socket) -> None:
        while connection.recv(100):
            pass

    started = time.monotonic()
    assert "did not answer within 0.2 s" in probe.why_unreachable(_node(serve(silent)), Path("/"))
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        pytest.param("tcp://127.0.0.1:1", "127.0.0.1:1: Connection refused", id="nothing listens"),
        pytest.param("tcp://127.0.0.1:x", "", id="a port that is none"),
        pytest.param("tcp://127.0.0.1", "", id="no port"),
        pytest.param("ssh://me@there", "", id="a way that a socket does not go"),
    ],
)
def test_what_a_connection_does_not_tell_stays_untold(endpoint: str, expected: str) -> None:
    assert probe.why_unreachable(_node(endpoint), Path("/")) == expected


def test_a_file_that_is_no_certificate_is_told(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing", encoding="utf-8")
    node = NodeSettings(name="n", endpoint=serve(lambda _: None), cacert=str(tmp_path / "ca.pem"))
    assert probe.why_unreachable(node, tmp_path)
