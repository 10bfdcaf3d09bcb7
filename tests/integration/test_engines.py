"""Engines that are not there, not ours, full, or of the classic kind: real ones, each of them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Checkout, docker
from registries import registry
from releases import make_release

from buildlib.build.preflight import check_engine
from buildlib.docker.engine import inspect_engine, parse_info
from buildlib.executor import Completed, PlumbumExecutor

pytestmark = [pytest.mark.engine, pytest.mark.unmeasured, pytest.mark.usefixtures("engine")]
Make = Callable[..., Checkout]


@pytest.mark.parametrize(
    ("env", "named"),
    [
        pytest.param(
            {"DOCKER_HOST": "unix:///nonexistent.sock"}, "unix:///nonexistent.sock", id="no socket"
        ),
        pytest.param(
            {"DOCKER_HOST": "tcp://127.0.0.1:1"}, "tcp://127.0.0.1:1", id="nothing listens there"
        ),
        pytest.param({"DOCKER_CONTEXT": "no-such"}, "no-such", id="no such context"),
        pytest.param({"DOCKER_HOST": "nonsense://x"}, "nonsense://x", id="no address"),
    ],
)
def test_an_engine_that_is_not_there_exits_4_at_once_and_is_named(
    make_checkout: Make, env: dict[str, str | None], named: str
) -> None:
    started = time.monotonic()
    done = make_checkout().invoke("docker-build", **env)
    assert done.returncode == 4, done.stderr
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started < 30


@pytest.mark.toolchain
def test_buildx_is_started_by_itself_and_says_what_docker_lets_it_say(tmp_path: Path) -> None:
    executor = PlumbumExecutor(os.environ, tmp_path)
    facts = inspect_engine(executor)
    assert Path(facts.buildx_path).name == "docker-buildx"
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY nothing /\n", encoding="utf-8")
    questions = [
        ("docker", "buildx", "version"),
        ("docker", "buildx", "inspect"),
        ("docker", "buildx", "inspect", "no-such-builder"),
        ("docker", "buildx", "build", "--progress", "quiet", "--builder", "no-such-builder", "."),
        ("docker", "buildx", "imagetools", "inspect", "127.0.0.1:1/nothing"),
    ]

    def answers() -> list[tuple[int, str, str]]:
        done = [executor.run(argv) for argv in questions]
        # When it built last is another time after each build, and others build here too.
        lasting = re.compile("Last Activity: .*")
        return [(one.code, lasting.sub("", one.stdout), one.stderr) for one in done]

    before = answers()
    executor.start_directly(facts.buildx_path)
    assert answers() == before
    assert [code for code, _, _ in before] == [0, 0, 1, 1, 1]


def test_an_engine_that_hangs_is_not_waited_for_where_the_input_is_bad(
    make_checkout: Make, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        started = time.monotonic()
        checkout = make_checkout("FROM scratch\n", "platfrms = []\n")
        done = checkout.invoke("docker-build", DOCKER_HOST=f"unix://{path}")
        assert done.returncode == 2, done.stderr
        assert time.monotonic() - started < 30
    assert _processes_that_know(str(path)) == []


def _processes_that_know(text: str) -> list[str]:
    """Return the processes that have a text in their environment."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if text.encode() in environment.read_bytes():
                found.append(environment.parent.name)
    return found


def test_a_process_is_found_by_its_environment() -> None:
    with subprocess.Popen(["sleep", "60"], env={"MARK": "a-mark-of-ours"}) as process:
        try:
            # The environment can be read a moment after the program was started, not at once.
            deadline = time.monotonic() + 60
            while str(process.pid) not in (found := _processes_that_know("a-mark-of-ours")):
                assert time.monotonic() < deadline, found
        finally:
            process.kill()


@pytest.mark.parametrize("kind", ["a file", "a directory", "a dangling link", "a dead socket"])
def test_a_socket_path_that_is_none_exits_4(make_checkout: Make, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s"
    match kind:
        case "a file":
            path.touch()
        case "a directory":
            path.mkdir()
        case "a dangling link":
            path.symlink_to(tmp_path / "gone")
        case _:
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(path))
    done = make_checkout().invoke("docker-build", DOCKER_HOST=f"unix://{path}")
    assert done.returncode == 4
    assert str(path) in done.stderr


def test_no_permission_on_the_socket_is_told_with_group_or_context(tmp_path: Path) -> None:
    path = tmp_path / "s"
    tmp_path.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        path.chmod(0)
        # Root is refused nothing: docker itself has to be somebody else here.
        somebody = {"user": 65534, "group": 65534} if os.geteuid() == 0 else {}
        done = subprocess.run(
            ["docker", "info", "--format", "{{json .}}"],
            env={
                "PATH": os.environ["PATH"],
                "HOME": "/nonexistent",
                "DOCKER_HOST": f"unix://{path}",
            },
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            **somebody,  # type: ignore[call-overload]
        )
    facts = parse_info(Completed(code=done.returncode, stdout=done.stdout, stderr=done.stderr))
    (problem,) = check_engine(facts, endpoint=f"unix://{path}")
    assert problem.exit_code == 4
    assert "no permission" in problem.what
    assert "group" in problem.hint
    assert "docker context ls" in problem.hint
    assert "chmod" not in str(problem)


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


@contextlib.contextmanager
def _daemon(log: Path, *argv: str) -> Iterator[None]:
    """Run a daemon for the time of the block."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd="/"
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=120)


@pytest.fixture(scope="module")
def classic() -> Iterator[str]:
    """Start an engine with the classic image store on a small disk of its own; return its address.

    It shares nothing with the engine in use: own socket, state, and containerd.
    """
    if os.geteuid() != 0:
        pytest.fail("a second engine needs root")
    # Short: a path of a socket has at most 107 characters.
    home = Path("/tmp") / f"buildlib-classic-{os.getpid()}"
    home.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(home)], check=True)
    try:
        with _daemon(home / "containerd.log", *_containerd(home)):
            _wait((home / "containerd.sock").exists, 120)
            with _daemon(home / "dockerd.log", *_dockerd(home)):
                host = f"unix://{home}/docker.sock"
                answers = ["docker", "--host", host, "version", "--format", "{{.Server.Version}}"]
                if not _wait(lambda: subprocess.call(answers, stderr=subprocess.DEVNULL) == 0, 120):
                    pytest.fail((home / "dockerd.log").read_text(encoding="utf-8")[-2000:])
                yield host
    finally:
        subprocess.run(["umount", "--recursive", str(home)], check=False)
        home.rmdir()


def _containerd(home: Path) -> list[str]:
    (home / "containerd.toml").write_text(
        f'version = 2\nroot = "{home}/cd-root"\nstate = "{home}/cd-state"\n'
        f'[grpc]\naddress = "{home}/containerd.sock"\n',
        encoding="utf-8",
    )
    return ["containerd", "--config", str(home / "containerd.toml")]


def _dockerd(home: Path) -> list[str]:
    (home / "daemon.json").write_text(
        '{"features": {"containerd-snapshotter": false}}', encoding="utf-8"
    )
    # In a network of its own: without a bridge to use, dockerd would remove the other's.
    return [
        *("unshare", "--net", "dockerd", "--config-file", str(home / "daemon.json")),
        *("--host", f"unix://{home}/docker.sock", "--containerd", f"{home}/containerd.sock"),
        *("--data-root", str(home / "data"), "--exec-root", str(home / "exec")),
        *("--pidfile", str(home / "pid"), "--storage-driver=vfs"),
        *("--bridge=none", "--iptables=false", "--ip6tables=false"),
    ]


def test_the_classic_store_is_recognised(make_checkout: Make, classic: str) -> None:
    done = make_checkout().invoke("doctor", "--json", DOCKER_HOST=classic)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["engine"]["state"] == "ok"
    assert checks["containerd image store"]["state"] == "note"
    assert done.returncode == 0


def test_the_classic_store_builds_one_platform(make_checkout: Make, classic: str) -> None:
    checkout = make_checkout("FROM scratch\nCOPY tasks.py /\n")
    done = checkout.invoke("docker-build", "--json", DOCKER_HOST=classic)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["references"][1] == f"{checkout.image}:latest"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(
            ["--platform", "amd64,arm64"], "can't hold linux/amd64, linux/arm64", id="two platforms"
        ),
        pytest.param(["--output", "oci"], "can't do an OCI archive", id="an OCI archive"),
        pytest.param(
            ["--cache-to", "type=local,dest=c"], "can't do cache export", id="a cache export"
        ),
    ],
)
def test_what_the_classic_store_can_not_do_is_told_before_work(
    make_checkout: Make, classic: str, words: list[str], message: str
) -> None:
    done = make_checkout("FROM scratch\nCOPY tasks.py /\n").invoke(
        "docker-build", *words, DOCKER_HOST=classic
    )
    assert done.returncode == 4, done.stderr
    assert message in done.stderr
    assert "turn on the containerd image store" in done.stderr
    assert "docker-container" in done.stderr
    assert "$ docker buildx build" not in done.stderr


def test_smoke_reads_and_runs_an_image_of_the_classic_store(
    make_checkout: Make, classic: str, tmp_path: Path, own_image: str
) -> None:
    # A program that runs alone: this store takes no base image from a layout.
    docker("create", "--name", own_image.replace(":", "-"), own_image)
    docker("cp", f"{own_image.replace(':', '-')}:/bin/busybox", str(tmp_path / "busybox"))
    docker("rm", own_image.replace(":", "-"))
    checkout = make_checkout(
        "FROM scratch\nCOPY --chmod=0755 busybox /bin/\nUSER 1001:1001\n"
        'ENTRYPOINT ["/bin/busybox"]\n',
        "[smoke]\ncommands = [\n"
        '{ run = ["echo", "x"], stdout = "^x$" },\n{ run = ["false"], code = 1 },\n]\n',
    )
    (tmp_path / "busybox").rename(checkout.root / "busybox")
    done = checkout.invoke("docker-smoke", "--json", DOCKER_HOST=classic, VERSION="1.2.3")
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = json.loads(done.stdout)["smoke"]
    assert {f["check"]: f["state"] for f in result["findings"]} == {
        "echo x": "ok",
        "false": "ok",
        "version in the label": "ok",
        "policy": "ok",
    }
    left = docker("--host", classic, "image", "ls", "--quiet", checkout.image)
    assert left == ""


def test_two_builds_to_compare_need_a_store_that_exports_archives(
    make_checkout: Make, classic: str
) -> None:
    done = make_checkout("FROM scratch\nCOPY tasks.py /\n").invoke(
        "docker-reproduce", DOCKER_HOST=classic
    )
    assert done.returncode == 4, done.stderr
    assert "can't do an OCI archive" in done.stderr
    assert "turn on the containerd image store" in done.stderr


def test_publishing_needs_a_store_that_exports_archives(classic: str, tmp_path: Path) -> None:
    with registry(tmp_path / "registry") as server:
        release = make_release(tmp_path / "work/repo", {"one": server.host}, [server])
        done = release.invoke("docker-publish", DOCKER_HOST=classic)
        assert done.returncode == 4, done.stderr
        assert "can't do an OCI archive" in done.stderr
        # Both ways out.
        assert "containerd image store" in done.stderr
        assert "docker buildx create --driver docker-container" in done.stderr
        assert release.tags == [{}]


def test_a_base_image_as_a_layout_is_refused_before_work_too(
    make_checkout: Make, classic: str, tmp_path: Path
) -> None:
    bases = f'[base-images]\n"x:1" = "oci-layout://{tmp_path}"\n'
    done = make_checkout("FROM x:1\n", bases).invoke("docker-build", DOCKER_HOST=classic)
    assert done.returncode == 4, done.stderr
    assert "can't do base images as OCI layouts" in done.stderr
    assert "$ docker buildx build" not in done.stderr


def test_a_full_disk_exits_4_and_prunes_nothing(make_checkout: Make, classic: str) -> None:
    checkout = make_checkout("FROM scratch\nCOPY big /\n")
    with (checkout.root / "big").open("wb") as file:
        file.truncate(200_000_000)
    done = checkout.invoke("docker-build", DOCKER_HOST=classic)
    assert done.returncode == 4, done.stderr
    assert "disk is full" in done.stderr
    assert "docker system df" in done.stderr
    assert "Traceback" not in done.stderr
