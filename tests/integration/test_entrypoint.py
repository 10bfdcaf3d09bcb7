"""The entrypoint in real containers: whoever starts it, whatever is mounted as the socket."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from conftest import docker

pytestmark = pytest.mark.engine
SOCKET = "/var/run/docker.sock"
# Who it is and what it may do with the socket, in one line.
SHOW = f'echo "$(id -u) $(id -g) $(id -G)"; test -w {SOCKET} && echo writable; exit 0'
MINIMAL = (
    *("--read-only", "--cap-drop", "ALL", "--cap-add", "SETUID", "--cap-add", "SETGID"),
    *("--security-opt", "no-new-privileges", "--init"),
)
NO_ROOT_GROUP = "DOCKERUTILITIES_ALLOW_ROOT_GROUP=0"
AS_USER = ("--user", "1001:1001")


@contextmanager
def _socket(folder: Path, group: int, name: str = "s.sock") -> Iterator[str]:
    """Give a socket that belongs to root and a group, as an engine's does; the option to mount."""
    path = folder / name
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        os.chown(path, 0, group)
        path.chmod(0o660)
        yield f"{path}:{SOCKET}"


def _run(
    image: str, *options: str, command: tuple[str, ...] = ("sh", "-c", SHOW)
) -> tuple[int, str, str]:
    done = subprocess.run(
        ["docker", "run", "--rm", *options, image, *command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


# 999 is Debian's usual one, 1001 is the user's own, 10 is Alpine's wheel. Smoke has 4242, without a
# name, which other tests here have too.
@pytest.mark.parametrize(
    ("group", "options"),
    [(999, ()), (1001, MINIMAL), (10, MINIMAL)],
    ids=["999", "1001, hardened", "10, hardened"],
)
def test_root_joins_the_sockets_group_by_number_and_drops(
    own_image: str, tmp_path: Path, group: int, options: tuple[str, ...]
) -> None:
    with _socket(tmp_path, group) as mount:
        code, out, err = _run(own_image, "--volume", mount, *options)
        assert (code, err) == (0, "")
        groups = "1001" if group == 1001 else f"1001 {group}"
        assert out == f"1001 1001 {groups}\nwritable\n"
        # The mounted socket is the host's: nothing about it has changed.
        status = (tmp_path / "s.sock").stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, group, 0o660)


def test_group_root_is_joined_with_a_line_that_says_so_or_forbidden(
    own_image: str, tmp_path: Path
) -> None:
    with _socket(tmp_path, 0) as mount:
        code, out, err = _run(own_image, "--volume", mount)
        assert (code, out) == (0, "1001 1001 1001 0\nwritable\n")
        assert err.splitlines() == [
            f"entrypoint: joining group root, which {SOCKET} belongs to; {NO_ROOT_GROUP} forbids it"
        ]
        code, out, err = _run(own_image, "--volume", mount, "--env", NO_ROOT_GROUP)
        assert (code, out) == (0, "1001 1001 1001\n")
        assert f"belongs to group root, which {NO_ROOT_GROUP} forbids to join" in err


IS_IT = 'id -G; test -w "$DOCKER_SOCKET" && echo writable; exit 0'
# What a shell, stat or the program could take for something else than a path.
ODD_PATHS = ["-x", "--help", "!", "(", "@s", "a\nb * it's $HOME", "/sockets/-x", "/sockets/a b"]


def test_the_variable_is_a_path_whatever_it_looks_like(own_image: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    options = ("--volume", f"{tmp_path}:/sockets", "--workdir", "/sockets", "--entrypoint", "sh")
    run = 'echo "of $path:"; DOCKER_SOCKET=$path entrypoint.sh sh -c "$0" || exit 1'
    with ExitStack() as stack:
        for name in {path.removeprefix("/sockets/") for path in ODD_PATHS}:
            stack.enter_context(_socket(tmp_path, 4242, name))
        code, out, err = _run(
            own_image, *options, command=("-c", f"for path; do {run}; done", IS_IT, *ODD_PATHS)
        )
    assert (code, err) == (0, "")
    found = out.split("of ")[1:]
    assert found == [f"{path}:\n1001 4242\nwritable\n" for path in ODD_PATHS]


def test_an_empty_variable_is_the_usual_path(own_image: str, tmp_path: Path) -> None:
    with _socket(tmp_path, 4242) as mount:
        options = ("--volume", mount, "--env", "DOCKER_SOCKET=")
        assert _run(own_image, *options) == (0, "1001 1001 1001 4242\nwritable\n", "")


@pytest.fixture(name="linked")
def _linked(tmp_path: Path) -> tuple[str, ...]:
    """Return the options that mount a folder in which `link` leads over `first` to `s.sock`."""
    tmp_path.chmod(0o755)
    (tmp_path / "first").symlink_to("s.sock")
    (tmp_path / "link").symlink_to("/sockets/first")
    return ("--volume", f"{tmp_path}:/sockets", "--env", "DOCKER_SOCKET=/sockets/link")


def test_of_a_socket_that_is_a_link_the_sockets_group_counts(
    own_image: str, tmp_path: Path, linked: tuple[str, ...]
) -> None:
    with _socket(tmp_path, 4242):
        done = _run(own_image, "--user", "0", *linked, command=("sh", "-c", IS_IT))
    assert done == (0, "1001 4242\nwritable\n", "")


def test_root_without_a_socket_drops_all_the_same(own_image: str) -> None:
    assert _run(own_image, "--user", "0") == (0, "1001 1001 1001\n", "")


@pytest.mark.parametrize("user", ["1001", "2000:2000"])
def test_another_user_is_left_as_it_is(own_image: str, tmp_path: Path, user: str) -> None:
    with _socket(tmp_path, 4242) as mount:
        code, out, err = _run(
            own_image, "--user", user, "--group-add", "4242", "--volume", mount, *MINIMAL[:3]
        )
    number, _, group = user.partition(":")
    # Docker knows the group of a user by the image's /etc/passwd.
    assert (code, err) == (0, "")
    assert out == f"{number} {group or '1001'} {group or '1001'} 4242\nwritable\n"


def test_with_every_capability_dropped_the_image_runs_as_its_user(own_image: str) -> None:
    options = (*AS_USER, "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only")
    assert _run(own_image, *options) == (0, "1001 1001 1001\n", "")


def test_root_that_may_not_drop_is_refused_with_the_way_out(own_image: str) -> None:
    code, out, err = _run(own_image, "--cap-drop", "ALL")
    assert (code, out) == (1, "")
    assert "--cap-add SETUID --cap-add SETGID" in err
    assert "--user 1001:1001" in err


class Started:
    """The server in a container, until the block ends."""

    def __init__(self, image: str, *options: str, command: tuple[str, ...] = ()) -> None:
        # Known before it is there, so that one that does not start can be removed as well.
        self.name = f"entrypoint-{os.urandom(8).hex()}"
        self._words = ("--detach", "--name", self.name, *options, image, *command)

    def begin(self) -> None:
        docker("run", *self._words)
        deadline = time.monotonic() + 60
        while "listening" not in self.log():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def log(self) -> str:
        done = subprocess.run(
            ["docker", "logs", self.name], capture_output=True, text=True, check=True
        )
        return done.stdout + done.stderr

    def orphans(self) -> list[str]:
        """Return the processes, dead ones too, that the first one should wait for."""
        stats = docker("exec", self.name, "sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null || :")
        # The number, the name in brackets, the state, the parent.
        found = [line for line in stats.splitlines() if line.rpartition(") ")[2].split()[1] == "1"]
        return [line for line in found if "(dockerutilities" not in line]

    def status(self) -> dict[str, str]:
        text = docker("exec", self.name, "cat", "/proc/1/status")
        return {
            key: value.strip()
            for key, _, value in (line.partition(":") for line in text.splitlines())
        }


@pytest.fixture
def start(own_image: str) -> Iterator[Callable[..., Started]]:
    started: list[Started] = []

    def starter(*options: str, command: tuple[str, ...] = ()) -> Started:
        started.append(Started(own_image, *options, command=command))
        started[-1].begin()
        return started[-1]

    yield starter
    for server in started:
        docker("rm", "--force", "--volumes", server.name, check=False)


SERVED = {
    "a directory": ("dir", "is a directory", "1001"),
    "a file": ("file", "is not a socket", "0"),
}


# A directory, as root: the test after this one.
@pytest.mark.parametrize(("kind", "message", "user"), SERVED.values(), ids=SERVED)
def test_what_is_no_socket_is_told_and_the_server_runs(
    start: Callable[..., Started], tmp_path: Path, kind: str, message: str, user: str
) -> None:
    path = tmp_path / kind
    path.mkdir() if kind == "dir" else path.touch()
    server = start("--user", user, "--volume", f"{path}:{SOCKET}")
    assert message in server.log()


def test_a_mount_of_what_is_not_there_is_told(
    start: Callable[..., Started], tmp_path: Path
) -> None:
    # The old short form makes a directory on the host, as plain docker run would.
    server = start("--volume", f"{tmp_path}/gone.sock:{SOCKET}")
    assert "is a directory" in server.log()


@pytest.mark.parametrize("options", [AS_USER, ()], ids=["as 1001", "as root"])
def test_the_program_is_the_first_process_and_stops_in_time(
    start: Callable[..., Started], options: tuple[str, ...]
) -> None:
    server = start(*options)
    status = server.status()
    assert status["Name"] == "dockerutilities"
    assert status["Uid"].split() == ["1001"] * 4
    assert int(status["CapEff"], 16) == 0
    # After so many seconds it would be killed, and end with 137.
    docker("stop", "--time", "2", server.name)
    assert docker("inspect", "--format", "{{.State.ExitCode}}", server.name) == "0"


PORT, HOST = ("--port", "9090"), ("--host", "127.0.0.1", "--port=9090")
OTHER = ("--user", "2000:2000", "--tmpfs", "/app/data:uid=2000,gid=2000")


@pytest.mark.parametrize(
    ("options", "words"),
    [((), HOST), (MINIMAL, PORT), (OTHER, HOST)],
    ids=["as the first process", "under an init", "as another user"],
)
def test_a_server_with_options_of_its_own_is_healthy(
    start: Callable[..., Started], options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    server = start(*options, command=("server", *words))
    # By the image's own HEALTHCHECK, run as the engine runs it: without the server's options.
    check = json.loads(docker("inspect", "--format", "{{json .Config.Healthcheck}}", server.name))
    docker("exec", server.name, *check["Test"][1:])


def test_the_group_that_is_missing_is_that_of_what_a_link_leads_to(
    start: Callable[..., Started], tmp_path: Path, linked: tuple[str, ...]
) -> None:
    with _socket(tmp_path, 4242):
        server = start("--user", "1001", *linked)
        assert "/sockets/link is not accessible to UID 1001; add --group-add 4242" in server.log()


@pytest.mark.parametrize("user", ["0", "1001"])
def test_a_dangling_link_is_reported(
    start: Callable[..., Started], linked: tuple[str, ...], user: str
) -> None:
    assert "/sockets/link is a dangling symbolic link" in start("--user", user, *linked).log()


def test_a_path_with_control_characters_is_one_line_of_the_log(
    start: Callable[..., Started], tmp_path: Path
) -> None:
    (tmp_path / "a\n\x1b]0;b").mkdir()
    tmp_path.chmod(0o755)
    variable = "DOCKER_SOCKET=/sockets/a\n\x1b]0;b"
    server = start("--volume", f"{tmp_path}:/sockets", "--env", variable)
    first = server.log().splitlines()[0]
    assert first.startswith("entrypoint: /sockets/a??]0;b is a directory")


def test_the_real_engine_is_reached_through_a_link_with_an_odd_name(
    start: Callable[..., Started], own_image: str, tmp_path: Path
) -> None:
    (tmp_path / "-x").symlink_to("/engine.sock")
    tmp_path.chmod(0o755)
    mounts = ("--volume", f"{SOCKET}:/engine.sock", "--volume", f"{tmp_path}:/sockets")
    variables = ("--env", "DOCKER_SOCKET=-x")
    server = start("--workdir", "/sockets", *mounts, *variables)
    ask = ("exec", server.name, "wget", "-q", "-O", "-", "http://127.0.0.1:8080/api/images")
    images = json.loads(docker(*ask))["images"]
    assert own_image in [tag for image in images for tag in image["tags"]]


def test_a_socket_of_the_real_engine_is_used_as_user_1001(
    start: Callable[..., Started], own_image: str
) -> None:
    server = start("--volume", f"{SOCKET}:{SOCKET}", *MINIMAL)
    ask = ("exec", server.name, "wget", "-q", "-O", "-", "http://127.0.0.1:8080/api/images")
    images = json.loads(docker(*ask))["images"]
    assert own_image in [tag for image in images for tag in image["tags"]]


@pytest.mark.parametrize(
    "options", [(), ("--init",)], ids=["as the first process", "under an init"]
)
def test_orphans_are_reaped(start: Callable[..., Started], options: tuple[str, ...]) -> None:
    server = start(*options)
    # The shell ends at once, and its child becomes an orphan of the container's first process.
    for _ in range(3):
        docker("exec", server.name, "sh", "-c", "sleep 0.2 & exit 0")
    deadline = time.monotonic() + 60
    while left := server.orphans():
        assert time.monotonic() < deadline, left


def test_arguments_with_blanks_and_quotes_arrive_as_root_too(own_image: str) -> None:
    command = ("sh", "-c", 'printf "[%s]" "$@"', "sh", "a b", "", "*", 'it\'s "so"')
    for user in ("0", "1001"):
        code, out, _ = _run(own_image, "--user", user, command=command)
        assert (code, out) == (0, '[a b][][*][it\'s "so"]')
    assert _run(own_image, "--user", "0", command=("no-such-command",))[0] != 0
