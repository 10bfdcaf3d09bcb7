"""`invoke docker-run` and its sisters, on the real engine with this repository's own image."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from conftest import TASKS, Checkout, docker, git
from killing import read_until

from buildlib.containers import data_directory as data
from buildlib.containers.inspect import helper_argv
from buildlib.containers.plan import Mount

pytestmark = pytest.mark.engine
OWNER = "buildlib.run"
EndGroup = Callable[[subprocess.Popen[str]], None]
CONFIG = """
image = "{image}"
[smoke]
port = 8080
health-path = "/api/health"
start-timeout = 60
[run]
data-path = "/app/data"
user = 1001
drops-root = true
socket-path = "/var/run/docker.sock"
"""


@pytest.fixture
def project(own_image: str, tmp_path: Path) -> Iterator[Checkout]:
    """Give a repository whose image already exists; its containers are removed at the end."""
    image = own_image.partition(":")[0]
    root = tmp_path / "repo"
    root.mkdir()
    (root / "buildlib.toml").write_text(CONFIG.format(image=image), encoding="utf-8")
    (root / "tasks.py").write_text(TASKS, encoding="utf-8")
    yield Checkout(root, image)
    for left in docker("ps", "-aq", "--filter", f"label={OWNER}={image}").split():
        docker("rm", "--force", "--volumes", left, check=False)
    for left in docker("volume", "ls", "-q", "--filter", f"label={OWNER}={image}").split():
        docker("volume", "rm", left, check=False)


def _ours(project: Checkout) -> list[str]:
    listing = docker(
        "ps", "-a", "--filter", f"label={OWNER}={project.image}", "--format", "{{.Names}}"
    )
    return listing.split()


def _run(project: Checkout, *options: str) -> dict[str, str]:
    port = () if "--port" in options else ("--port", "0")
    done = project.invoke("docker-run", "--no-build", "--detach", "--json", *port, *options)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def _ask(address: str, method: str = "GET", body: object = None) -> dict[str, object]:
    data = json.dumps(body).encode() if body is not None else None
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(address, data=data, method=method, headers=headers), timeout=60) as answer:
        return dict(json.loads(answer.read()))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.toolchain
def test_a_healthy_container_and_its_address(project: Checkout, own_image: str) -> None:
    found = _run(project)
    health = _ask(f"{found['address']}/api/health")
    assert health["status"] == "healthy"
    assert health["version"] == found["version"]
    assert found["data"] == "is removed with the container"
    images = _ask(f"{found['address']}/api/images")["images"]
    assert isinstance(images, list)
    assert own_image in [tag for image in images for tag in image["tags"]]
    name = found["name"]
    assert docker("exec", name, "id", "-u") == "1001"
    host = json.loads(docker("inspect", "--format", "{{json .HostConfig}}", name))
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Init"] is True
    assert (host["Memory"], host["PidsLimit"]) == (512 * 1024**2, 256)
    assert host["PortBindings"]["8080/tcp"][0]["HostIp"] == "127.0.0.1"
    socket_path = os.environ.get("DOCKER_HOST", "").removeprefix("unix://")
    group = str(Path(socket_path or "/var/run/docker.sock").stat().st_gid)
    assert host["GroupAdd"] == [group]


@pytest.mark.toolchain
def test_it_builds_first(make_checkout: Callable[..., Checkout], alpine: str) -> None:
    config = (
        '[smoke]\nport = 8080\nhealth-path = "/index.html"\nstart-timeout = 60\n[run]\nuser = 0\n'
    )
    serve = 'CMD ["sh", "-c", "echo hello > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"]'
    checkout = make_checkout(f"FROM {alpine}\nLABEL x={alpine}\n{serve}\n", config)
    done = checkout.invoke("docker-run", "--detach", "--port", "0", "--json")
    try:
        assert done.returncode == 0, done.stderr
        with urlopen(json.loads(done.stdout)["address"] + "/index.html", timeout=60) as answer:
            assert answer.read() == b"hello\n"
    finally:
        stopped = checkout.invoke("docker-stop")
    assert stopped.stdout.strip() == checkout.image


@pytest.mark.toolchain
def test_a_report_outlives_the_container_with_persistent_and_only_then(
    project: Checkout, own_image: str
) -> None:
    kept = {}
    for options, expected in (((), 0), (("--persistent",), 1)):
        first = _run(project, *options)
        made = _ask(f"{first['address']}/api/reports", "POST", {"image": own_image})
        assert project.invoke("docker-stop").stdout == f"{first['name']}\n"
        kept = _run(project, *options)
        reports = _ask(f"{kept['address']}/api/reports")["reports"]
        assert isinstance(reports, list)
        assert [report["id"] for report in reports] == [made["id"]] * expected
    data = project.root / "data"
    assert kept["data"] == str(data)
    assert data.stat().st_uid == 1001


@pytest.mark.parametrize("name", ["-quo'te\" ünï", "com,ma a:b"])
def test_a_data_directory_at_an_odd_path(project: Checkout, name: str) -> None:
    found = _run(project, "--data-dir", f"./{name}" if name[0] == "-" else name)
    assert Path(found["data"]) == project.root / name
    assert (project.root / name / "reports").is_dir()


def test_a_named_volume_keeps_the_data_and_our_older_container_is_replaced(
    project: Checkout, own_image: str
) -> None:
    volume = f"volume:{project.image}-kept"
    first = _run(project, "--data-dir", volume)
    made = _ask(f"{first['address']}/api/reports", "POST", {"image": own_image})
    second = _run(project, "--data-dir", volume)
    assert first["name"] == second["name"]
    assert first["container"] != second["container"]
    assert len(_ours(project)) == 1
    reports = _ask(f"{second['address']}/api/reports")["reports"]
    assert isinstance(reports, list)
    assert [report["id"] for report in reports] == [made["id"]]


def test_a_directory_that_can_not_be_written_is_told_with_the_command(project: Checkout) -> None:
    theirs = project.root / "their data"
    theirs.mkdir()
    (theirs / "kept").write_text("x", encoding="utf-8")
    theirs.chmod(0o755)
    done = project.invoke("docker-run", "--no-build", "--detach", "--data-dir", "their data")
    assert done.returncode == 2
    command = f"sudo chown 1001:1001 '{theirs}'"
    assert command in done.stderr
    assert (theirs.stat().st_uid, (theirs / "kept").stat().st_uid) == (0, 0)
    assert _ours(project) == []
    subprocess.run(["sh", "-c", command.removeprefix("sudo ")], check=True)
    assert _run(project, "--data-dir", "their data")["data"] == str(theirs)
    assert (theirs / "kept").stat().st_uid == 0


def test_a_data_directory_that_is_a_file(project: Checkout) -> None:
    (project.root / "file").touch()
    done = project.invoke("docker-run", "--no-build", "--detach", "--data-dir", "file")
    assert done.returncode == 2
    assert "is a file" in done.stderr


def test_two_side_by_side_and_each_stopped_alone(project: Checkout) -> None:
    first, second = (f"{project.image}-{number}" for number in (1, 2))
    one, other = _run(project, "--name", first), _run(project, "--name", second)
    assert one["address"] != other["address"]
    assert one["stop"] == f"invoke docker-stop --name {first}"
    status = json.loads(project.invoke("docker-status", "--json").stdout)["containers"]
    assert [(row["name"], row["state"]) for row in status] == [
        (first, "running"),
        (second, "running"),
    ]
    assert status[0]["address"] == one["address"]
    refused = project.invoke("docker-logs")
    assert refused.returncode == 2
    assert f"{first}, {second}" in refused.stderr
    assert "listening" in project.invoke("docker-logs", "--name", first).stderr
    assert project.invoke("docker-stop", "--name", first).stdout == f"{first}\n"
    assert _ours(project) == [second]


def test_a_stranger_of_that_name_is_named_and_stays(project: Checkout, own_image: str) -> None:
    name = f"{project.image}-stranger"
    stranger = docker("run", "--detach", "--name", name, own_image)
    try:
        done = project.invoke("docker-run", "--no-build", "--detach", "--name", name)
        assert done.returncode == 4
        assert f"{name} is not ours" in done.stderr
        assert project.invoke("docker-stop", "--name", name).stdout == ""
        assert docker("inspect", "--format", "{{.State.Running}}", stranger) == "true"
    finally:
        docker("rm", "--force", "--volumes", stranger)


def test_a_port_that_one_of_ours_has(project: Checkout) -> None:
    holder, port = f"{project.image}-holder", str(_free_port())
    _run(project, "--port", port, "--name", holder)
    done = project.invoke("docker-run", "--no-build", "--detach", "--port", port)
    assert done.returncode == 4
    assert f"port {port} is taken by {holder}, a container of this project" in done.stderr
    assert _ours(project) == [holder]


def test_a_port_that_a_process_has(project: Checkout) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        done = project.invoke("docker-run", "--no-build", "--detach", "--port", port)
    assert done.returncode == 4
    assert f"port {port} is taken" in done.stderr
    assert _ours(project) == []


UNWELL = {
    "never healthy": ("exec sleep 60", 7, "was not healthy within 2 s"),
    "ends at once": ("echo why >&2; exit 3", 7, "ended at once, with code 3"),
    "not there": ("", 4, "the command is not in the container"),
}


@pytest.mark.parametrize(("command", "code", "message"), UNWELL.values(), ids=UNWELL)
def test_an_image_that_is_not_well(
    make_checkout: Callable[..., Checkout], alpine: str, command: str, code: int, message: str
) -> None:
    words = json.dumps(["sh", "-c", f"echo the last line; {command}"] if command else ["/nowhere"])
    # A busy machine takes its time to notice that a container has ended.
    seconds = 2 if "2 s" in message else 60
    config = f'[smoke]\nport = 8080\nhealth-path = "/"\nstart-timeout = {seconds}\n'
    checkout = make_checkout(f"FROM {alpine}\nCMD {words}\n", config)
    done = checkout.invoke("docker-run", "--detach", "--port", "0")
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert ("the last line" in done.stderr) == (code == 7)
    assert "Traceback" not in done.stderr
    assert _ours(checkout) == []


def _until(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _healthy(port: int) -> bool:
    try:
        return _ask(f"http://127.0.0.1:{port}/api/health")["status"] == "healthy"
    except (URLError, OSError):
        return False


def _foreground(
    project: Checkout, end_group: EndGroup, *words: str, **env: str
) -> tuple[subprocess.Popen[str], int]:
    """Start the image in the foreground, and return once it is healthy, with its port."""
    port = _free_port()
    process = project.start("docker-run", "--no-build", "--port", str(port), *words, **env)
    end_group(process)
    _until(lambda: _healthy(port))
    return process, port


@pytest.mark.toolchain
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_in_the_foreground_the_log_is_shown_and_the_end_leaves_nothing(
    project: Checkout, end_group: EndGroup, number: signal.Signals
) -> None:
    process, port = _foreground(project, end_group)
    text = read_until(process, "msg=listening")
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130, out
    assert f"http://127.0.0.1:{port}" in text + out
    # It is the way to stop it.
    assert out.endswith(f"stopped and removed {project.image}\n")
    assert "error" not in out
    assert _ours(project) == []


def test_a_second_ctrl_c_leaves_nothing_either(project: Checkout, end_group: EndGroup) -> None:
    # At other moments, and with other gaps: test_interrupts.py.
    process, _ = _foreground(project, end_group)
    for _ in range(2):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.05)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130, out
    # The former where it was not healthy yet.
    assert out.count("interrupted") + out.count("stopped and removed") == 1
    assert _ours(project) == []


def test_one_that_was_left_by_a_killed_run_is_replaced(
    project: Checkout, end_group: EndGroup
) -> None:
    process, _ = _foreground(project, end_group)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=120)
    assert len(_ours(project)) == 1
    _run(project)
    assert len(_ours(project)) == 1


def test_a_container_that_is_killed_in_the_foreground_is_told(
    project: Checkout, end_group: EndGroup
) -> None:
    process, _ = _foreground(project, end_group)
    docker("kill", project.image)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 4, out
    assert "ended with code 137" in out
    assert _ours(project) == []


class Proxy:
    """Stands between docker and the real engine, so that the engine can go away."""

    def __init__(self, path: Path) -> None:
        self.address = f"unix://{path}"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            there = socket.socket(socket.AF_UNIX)
            there.connect("/var/run/docker.sock")
            self._open += [here, there]
            for source, target in ((here, there), (there, here)):
                threading.Thread(target=_copy, args=(source, target), daemon=True).start()

    def close(self) -> None:
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def test_an_engine_that_goes_away_in_the_middle_is_told(
    project: Checkout, end_group: EndGroup, tmp_path: Path
) -> None:
    proxy = Proxy(tmp_path / "s")
    process, _ = _foreground(project, end_group, "--no-socket", DOCKER_HOST=proxy.address)
    read_until(process, "msg=listening")
    proxy.close()
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 4, out
    assert "the engine does not answer any more" in out
    assert "Traceback" not in out


def test_doctor_tells_where_containers_would_run(project: Checkout) -> None:
    found = json.loads(project.invoke("doctor", "--json").stdout)["checks"]
    told = {check["name"]: check["found"] for check in found}
    assert told["engine to run on"] == "unix:///var/run/docker.sock (the usual place, Linux)"
    assert told["socket for containers"] == "/var/run/docker.sock, its group there"
    remote = project.invoke("doctor", "--json", DOCKER_HOST="tcp://127.0.0.1:1")
    told = {check["name"]: check["fix"] for check in json.loads(remote.stdout)["checks"]}
    assert "the container runs without it" in told["socket for containers"]


def test_arguments_run_beside_the_server_and_a_shell_in_it(project: Checkout) -> None:
    running = _run(project)
    done = project.invoke("docker-run", "--no-build", "--args", "version")
    assert (done.returncode, done.stdout.strip()) == (0, running["version"])
    quoted = project.invoke(
        "docker-run", "--no-build", "--", "sh", "-c", 'printf "[%s]" "$@"; exit 9', "x", "a  b", "*"
    )
    assert (quoted.returncode, quoted.stdout) == (9, "[a  b][*]")
    assert _ours(project) == [running["name"]]
    shell = subprocess.run(
        project.command("docker-shell"),
        cwd=project.root,
        env=project.environment({}),
        input="id -u; exit 5\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (shell.returncode, shell.stdout) == (5, "1001\n")
    listed = project.invoke("docker-shell", "--command", "ls -d /app")
    assert (listed.returncode, listed.stdout) == (0, "/app\n")
    missing = project.invoke("docker-shell", "--command", "nosuch -x")
    assert missing.returncode == 4
    assert "error: the container can't run 'nosuch'" in missing.stderr


def test_a_code_of_the_command_is_passed_on(project: Checkout) -> None:
    # Others, of an image without an entrypoint: test_smoke_kinds.py.
    done = project.invoke("docker-run", "--no-build", "--args", "no-such-command")
    assert done.returncode == 127
    assert "not found" in done.stderr


def test_without_a_socket_the_environment_arrives_and_secrets_do_not_show(
    project: Checkout,
) -> None:
    words = ("docker-run", "--no-build", "--detach", "--port", "0", "--json", "--no-socket")
    given = ("--env", "MY_TOKEN", "--env", "A=b c")
    done = project.invoke(*words, *given, MY_TOKEN="hunter2")
    assert done.returncode == 0, done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert json.loads(done.stdout)["socket"] == "none"
    assert docker("exec", project.image, "id", "-G") == "1001"
    shown = docker("exec", project.image, "sh", "-c", 'echo "$A $MY_TOKEN"')
    assert shown == "b c hunter2"


def test_a_dry_run_prints_the_line_and_starts_nothing(project: Checkout) -> None:
    done = project.invoke("docker-run", "--dry-run", "--persistent", "--port", "0")
    assert done.returncode == 0
    assert done.stdout.startswith("docker run --detach --name")
    assert "type=bind,source=/var/run/docker.sock" in done.stdout
    assert _ours(project) == []
    assert not (project.root / "data").exists()


def test_a_dry_run_without_an_engine_supposes_the_usual_one(project: Checkout) -> None:
    done = project.invoke("docker-run", "--dry-run", DOCKER_HOST="unix:///no.sock")
    assert done.returncode == 0
    assert done.stdout.startswith("docker run")
    assert "supposes the usual one" in done.stderr
    assert "Traceback" not in done.stderr


def test_clean_removes_tags_of_ours_and_no_other(
    make_checkout: Callable[..., Checkout], tmp_path: Path
) -> None:
    checkout = make_checkout("FROM scratch\nCOPY tasks.py /\n")
    assert checkout.invoke("docker-build").returncode == 0
    # Under our name, and not of our making.
    with tarfile.open(tmp_path / "theirs.tar", "w") as tar:
        tar.add(checkout.root / "tasks.py", "file")
    docker("import", str(tmp_path / "theirs.tar"), f"{checkout.image}:theirs")
    done = checkout.invoke("docker-clean", "--images")
    assert done.returncode == 0
    tags = sorted(line.removeprefix(f"image {checkout.image}:") for line in done.stdout.split("\n"))
    assert tags == ["", "0.0.1-SNAPSHOT-none", "latest"]
    left = docker("image", "ls", "--format", "{{.Tag}}", checkout.image)
    assert left == "theirs"


BAD = {
    "a socket that is not there": (["--socket", "/no/docker.sock"], {}, 4, "/no/docker.sock"),
    "a socket that is a directory": (["--socket", "/tmp"], {}, 4, "a directory"),
    "a socket that is a file": ([], {"DOCKER_SOCKET": "/etc/passwd"}, 4, "a file, not a socket"),
    "an engine that is not there": ([], {"DOCKER_HOST": "unix:///no.sock"}, 4, "///no.sock"),
    "an engine elsewhere that is down": ([], {"DOCKER_HOST": "tcp://127.0.0.1:1"}, 4, "127.0.0.1"),
    "a context that does not exist": ([], {"DOCKER_CONTEXT": "nowhere"}, 4, "nowhere"),
    "a port that is none": (["--port", "x"], {}, 2, "not a port"),
    "JSON in the foreground": (["--json"], {}, 2, "--detach"),
    "an unknown platform": (["--platform", "linux/amd46"], {}, 2, "did you mean linux/amd64"),
    "arguments that are no words": (["--args", "a 'b"], {}, 2, "No closing quotation"),
    "a pull policy that is none": (["--pull-policy", "often"], {}, 2, "unknown pull policy"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "env", "code", "message"), BAD.values(), ids=BAD)
def test_bad_input(
    project: Checkout, words: list[str], env: dict[str, str | None], code: int, message: str
) -> None:
    started = time.monotonic()
    done = project.invoke("docker-run", "--no-build", *words, **env)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert bool(done.stdout) == ("--json" in words)
    assert _ours(project) == []
    assert time.monotonic() - started < 30


def test_without_docker_the_hint_says_how_to_install_it(project: Checkout, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = project.invoke("docker-run", "--no-build", PATH=str(tmp_path / "empty"))
    assert done.returncode == 3
    assert "install Docker" in done.stderr


def test_an_image_that_is_not_here(project: Checkout) -> None:
    done = project.invoke("docker-run", "--no-build", BUILDLIB_IMAGE="buildlib-test-nowhere")
    assert done.returncode == 4
    assert "invoke docker-build" in done.stderr


def test_a_socket_by_another_path_is_connected_to_and_mounted(
    project: Checkout, tmp_path: Path
) -> None:
    link = tmp_path / "my engine.sock"
    link.symlink_to("/var/run/docker.sock")
    found = _run(project, "--socket", str(link))
    assert found["socket"].startswith("/")
    assert _ask(f"{found['address']}/api/images")["images"]


def test_clean_removes_what_is_ours_and_nothing_else(project: Checkout, own_image: str) -> None:
    stranger = docker("run", "--detach", own_image)
    try:
        _run(project, "--persistent")
        data = project.root / "data"
        refused = project.invoke("docker-clean", "--data")
        assert refused.returncode == 2
        assert "--yes" in refused.stderr
        assert data.is_dir()
        assert len(_ours(project)) == 1
        tried = project.invoke("docker-clean", "--data", "--dry-run")
        assert f"data {data}" in tried.stdout
        assert data.is_dir()
        plain = project.invoke("docker-clean")
        assert plain.stdout == f"container {project.image}\n"
        assert data.is_dir()
        done = project.invoke("docker-clean", "--data", "--yes")
        assert done.returncode == 0, done.stderr
        assert not data.exists()
        assert docker("inspect", "--format", "{{.State.Running}}", stranger) == "true"
    finally:
        docker("rm", "--force", "--volumes", stranger)


@pytest.mark.parametrize("through", ["the directory", "a directory above it"])
def test_clean_leaves_alone_what_a_link_leads_to(
    project: Checkout, tmp_path: Path, through: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "data").mkdir(parents=True)
    (elsewhere / "data" / "precious").touch()
    if through == "the directory":
        (project.root / "data").symlink_to(elsewhere / "data")
        options = ["--data", "--yes"]
    else:
        (project.root / "way").symlink_to(elsewhere)
        options = ["--data", "--yes", "--data-dir", "way/data"]
    done = project.invoke("docker-clean", *options)
    assert done.returncode == 2, done.stderr
    assert f"it leads to {elsewhere}/data, where nothing is removed" in done.stderr
    assert (elsewhere / "data" / "precious").exists()


def test_a_directory_elsewhere_is_data_once_it_was_used(project: Checkout, tmp_path: Path) -> None:
    place, env = tmp_path / "elsewhere", {"XDG_STATE_HOME": str(tmp_path / "state")}
    words = ("docker-run", "--no-build", "--detach", "--port", "0", "--data-dir", str(place))
    cleaning = ("docker-clean", "--data", "--yes", "--data-dir", str(place))
    for _ in range(2):
        done = project.invoke(*words, **env)
        assert done.returncode == 0, done.stderr
        (place / "one more").touch()
    # The user of another machine, or another user.
    assert project.invoke(*cleaning, XDG_STATE_HOME=str(tmp_path / "other")).returncode == 2
    assert place.is_dir()
    done = project.invoke(*cleaning, **env)
    assert done.returncode == 0, done.stderr
    assert not place.exists()
    assert not list((tmp_path / "state" / "buildlib" / "data").iterdir())


def test_a_container_gives_away_and_removes_only_what_was_checked(
    project: Checkout, own_image: str, tmp_path: Path
) -> None:
    checked, other = tmp_path / "checked", tmp_path / "other"
    for folder in (checked, other):
        folder.mkdir()
        (folder / "file").touch()
    about = checked.stat()
    right, wrong = f"{about.st_dev}:{about.st_ino}", f"{about.st_dev}:{other.stat().st_ino}"
    mount = Mount(kind="bind", source=str(checked), target="/data")
    options = ("--user", "0")

    def ends(script: str, *words: str) -> int:
        argv = helper_argv(own_image, mount, "sh", "-c", script, *words, options=options)
        return subprocess.run(argv, check=False, capture_output=True).returncode

    assert ends(data.CHOWN, wrong, "1001:1001") != 0
    assert ends(data.EMPTY, wrong) != 0
    assert (checked.stat().st_uid, (checked / "file").exists()) == (about.st_uid, True)
    assert ends(data.CHOWN, right, "1001:1001") == 0
    assert checked.stat().st_uid == 1001
    assert ends(data.EMPTY, right) == 0
    assert not (checked / "file").exists()
    assert project.root.exists()


@pytest.mark.parametrize("path", ["/etc", "/usr/bin", ".git", "src"])
def test_what_was_not_made_for_data_is_refused(project: Checkout, path: str) -> None:
    (project.root / "src").mkdir()
    (project.root / "src" / "file").touch()
    git(project.root, "init", "--quiet")
    git(project.root, "add", "src")
    for words in (("docker-run", "--no-build"), ("docker-clean", "--data", "--yes")):
        done = project.invoke(*words, "--data-dir", path)
        assert done.returncode == 2, done.stderr
        assert f"not a data directory: {'' if path[0] == '/' else project.root / ''}" in done.stderr
        assert "Traceback" not in done.stderr
    assert (project.root / "src" / "file").exists()
    assert _ours(project) == []


@pytest.mark.parametrize("path", [".", "/", "~"])
def test_clean_refuses_what_is_no_data_directory(project: Checkout, path: str) -> None:
    done = project.invoke("docker-clean", "--data", "--yes", "--data-dir", path)
    assert done.returncode == 2
    assert "not a data directory" in done.stderr
    assert (project.root / "tasks.py").exists()
