"""The checks of one platform, over a docker with given answers and a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread

import pytest

from buildlib.errors import CancelledError, EngineError, InputError, TimedOutError
from buildlib.executor import NOTHING, Completed
from buildlib.image.platform import parse_platform
from buildlib.smoke.check_names import check_names, check_only
from buildlib.smoke.checks import PlatformImage, PlatformSmoke
from buildlib.smoke.report import DROPS_ROOT, POLICY, CheckResult, CheckState
from buildlib.smoke.sandbox import LABEL, Lab
from buildlib.smoke.socket_relay import Socket

from fakes import FakeExecutor, a_project, write_project

CONFIG = """\
image = "thing"
[smoke]
commands = [["--help"]]
version-command = ["version"]
port = 80
health-path = "/health"
health-version = true
start-timeout = 1
engine-path = "/engine"
[smoke.data]
write = "POST /data"
body = '{"image": "{image}"}'
read = "/data"
[run]
user = 1001
data-path = "/data"
socket-path = "/run/engine.sock"
root-group-env = "ALLOW=1"
"""
COMMAND = 'image = "thing"\n[smoke]\ncommands = [["--help"]]\n'
ELF_ARM64 = b"\x7fELF\x02\x01\x01" + bytes(11) + b"\xb7\x00" + bytes(44)
OWN = Socket(group=105, name="the engine's own socket", source="/var/run/docker.sock")
ROOT = Socket(group=0, name="socket of group 0", source="/relay/engine.sock")
SUBJECT = PlatformImage(
    image="thing:1",
    source="thing:1",
    platform=parse_platform("arm64"),
    digest="sha256:1",
    version="1.2.3",
    label="1.2.3",
    foreign=True,
)


class Docker(FakeExecutor):
    """Runs containers with given outcomes; `port` is where they are published."""

    def __init__(self, port: int = 0) -> None:
        super().__init__()
        self.port = port
        self.version, self.code, self.error = "1.2.3", 0, "no good"
        self.state: dict[str, object] = {"Running": True, "ExitCode": 0}
        self.health: dict[str, object] | None = {"Status": "healthy"}
        self.machine, self.diff, self.log, self.head = "aarch64", "", "out", ELF_ARM64
        self.groups: dict[str, str] = {}
        self.differs = 0
        self.runtime: dict[str, object] = {}
        self.mounts: list[dict[str, str]] = []
        self.files: dict[str, bytes] = {}

    def _answer(self, argv: Sequence[str]) -> Completed:  # noqa: PLR0911 - one for each command
        self.asked.append(tuple(argv))
        match argv[1]:
            case "run":
                return Completed(code=self.code, stdout=self.version, stderr=self.error)
            case "port":
                return Completed(code=0, stdout=f"127.0.0.1:{self.port}\n" if self.port else "")
            case "container":
                described = {"State": self._state(), "Config": self.runtime, "Mounts": self.mounts}
                return Completed(code=0, stdout=json.dumps([described]))
            case "exec":
                return Completed(code=0, stdout=self._proc())
            case "cp":
                path = argv[3].partition(":")[2]
                Path(argv[-1]).write_bytes(self.files.get(path, self.head))
                return Completed(code=0)
            case "diff":
                return Completed(code=self.differs, stdout=self.diff, stderr="not implemented")
            case "logs":
                return Completed(code=0, stdout=self.log, stderr="")
            case _:
                return Completed(code=0)

    def _state(self) -> dict[str, object]:
        return self.state | ({"Health": self.health} if self.health else {})

    def _proc(self) -> str:
        started = next(argv for argv in reversed(self.asked) if argv[1] == "run")
        group = started[started.index("--group-add") + 1] if "--group-add" in started else ""
        user = "Uid:\t1001\t1001\t1001\t1001\nGid:\t1001\t1001\t1001\t1001\n"
        return (
            f"machine {self.machine}\n"
            f"pid 1\nexe /sbin/docker-init\nPPid:\t0\n{user}Groups:\t1001\nwords init\0\n"
            f"pid 7\nexe /app\nPPid:\t1\n{user}Groups:\t{self.groups.get(group, group)} 1001\n"
            "words /app\0server\0\n"
        )


class Service:
    """What the container's server does."""

    def __init__(self) -> None:
        self.code, self.body = 200, json.dumps({"version": "1.2.3"})
        self.engine, self.post = 200, 201
        self.data: list[str] = []
        self.engine_codes: list[int] = []
        self.keeps = True
        self.port = 0


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def _send(self, code: int, body: str) -> None:
            self.send_response(code)
            self.end_headers()
            self.wfile.write(body.encode())

        def do_GET(self) -> None:
            if self.path == "/data":
                self._send(200, json.dumps(service.data))
                service.data = service.data if service.keeps else []
            else:
                codes = service.engine_codes if self.path == "/engine" else []
                code = service.engine if self.path == "/engine" else service.code
                code = codes.pop() if codes else code
                self._send(code, service.body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if service.post == 201:
                service.data = [*service.data, body]
            self._send(service.post, "posted")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    http = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    service.port = http.server_address[1]
    yield service
    http.shutdown()
    thread.join()
    http.server_close()


def _findings(
    root: Path,
    docker: Docker,
    config: str = CONFIG,
    subject: PlatformImage = SUBJECT,
    sockets: Sequence[Socket] = (OWN, ROOT),
    only: Sequence[str] = (),
) -> dict[str, CheckResult]:
    project = a_project(write_project(root, config))
    lab = Lab(docker, "smoke-run")
    smoke = PlatformSmoke(subject, project.config, lab, sockets=sockets, only=only)
    return {finding.check: finding for finding in smoke.run().checks}


def _failed(found: dict[str, CheckResult]) -> dict[str, str]:
    return {name: f.detail for name, f in found.items() if f.state is CheckState.FAILED}


def test_an_image_that_does_all_passes_every_check(tmp_path: Path, service: Service) -> None:
    docker = Docker(service.port)
    found = _findings(tmp_path, docker)
    assert [f"{f.check}: {f.state}" for f in found.values()] == [
        "--help: ok",
        "version of the program: ok",
        "version in the label: ok",
        "healthy: ok",
        "healthy by HEALTHCHECK: ok",
        "version in health: ok",
        "platform of the process: ok",
        "user and groups, the engine's own socket: ok",
        "reaches the engine, the engine's own socket: ok",
        "stops on SIGTERM: ok",
        "user and groups, socket of group 0: ok",
        "reaches the engine, socket of group 0: ok",
        "data outlives the container: ok",
        "writes nowhere else: ok",
        "no error in the log: ok",
    ]
    assert service.data == ['{"image": "thing:1"}']


def test_every_container_is_ours_confined_and_removed(tmp_path: Path, service: Service) -> None:
    docker = Docker(service.port)
    _findings(tmp_path, docker)
    runs = [argv for argv in docker.asked if argv[1] == "run"]
    assert len(runs) == 5
    for argv in runs:
        assert f"{LABEL}=smoke-run" in argv
        assert "linux/arm64" in argv
        assert {"--cap-drop=ALL", "--security-opt=no-new-privileges"} <= set(argv)
    # The one that shows where it would write is the only one that may.
    assert ["--read-only" in argv for argv in runs] == [True, True, True, True, False]
    names = [argv[argv.index("--name") + 1] for argv in runs]
    assert [argv[-1] for argv in docker.asked if argv[1] == "rm"] == names
    made = [argv[-1] for argv in docker.asked if argv[1:3] == ("volume", "create")]
    assert [argv[-1] for argv in docker.asked if argv[1:3] == ("volume", "rm")] == made


def test_the_socket_of_group_root_is_allowed_by_name(tmp_path: Path, service: Service) -> None:
    docker = Docker(service.port)
    _findings(tmp_path, docker)
    grouped = [argv for argv in docker.asked if "--group-add" in argv]
    assert ["ALLOW=1" in argv for argv in grouped] == [False, True]


def _set(name: str, value: object) -> object:
    return lambda docker, service: setattr(
        docker if hasattr(docker, name) else service, name, value
    )


FAULTS = {
    "a command that fails": (
        _set("code", 3),
        {"--help": "exit code 3: no good", "version of the program": "exit code 3: no good"},
    ),
    "another version in output": (
        _set("version", "9"),
        {"version of the program": "it says '9', and '1.2.3' was built"},
    ),
    "another version in health": (
        _set("body", '{"version": "9"}'),
        {"version in health": "it says '9', and '1.2.3' was built"},
    ),
    "health in plain text without the version": (
        _set("body", "fine"),
        {"version in health": "absent: /health has no version"},
    ),
    "health that is a list": (
        _set("body", "[]"),
        {"version in health": "absent: /health has no version"},
    ),
    "an unhealthy HEALTHCHECK": (
        _set("health", {"Status": "unhealthy", "Log": [{"Output": "refused"}]}),
        {"healthy by HEALTHCHECK": "not healthy within 1 s: health check: refused\nout"},
    ),
    "another machine by uname": (
        _set("machine", "x86_64"),
        {"platform of the process": "uname says x86_64, and the image is for arm64"},
    ),
    "another machine by its program": (
        _set("head", ELF_ARM64.replace(b"\xb7", b"\x3e")),
        {"platform of the process": "/app is for amd64, and the image for arm64"},
    ),
    "groups that are not asked for": (
        _set("groups", {"105": "105 10"}),
        {
            "user and groups, the engine's own socket": "/app server is in the groups "
            "10, 105, 1001, and not in 105, 1001 (by [run])"
        },
    ),
    "an engine that is not reached": (
        _set("engine", 503),
        {
            "reaches the engine, the engine's own socket": 'HTTP 503: {"version": "1.2.3"}',
            "reaches the engine, socket of group 0": 'HTTP 503: {"version": "1.2.3"}',
        },
    ),
    "data that can't be given": (
        _set("post", 500),
        {"data outlives the container": "POST /data answers HTTP 500: posted"},
    ),
    "data that does not show": (
        _set("post", 204),
        {"data outlives the container": "POST /data changed nothing that /data shows"},
    ),
    "data that is lost": (
        _set("keeps", False),  # noqa: FBT003 - a table
        {"data outlives the container": "a second container with the same data answers otherwise"},
    ),
    "a file where none belongs": (
        _set("diff", "C /etc\nA /etc/x\nC /data\nA /data/y\nC /sbin\nA /sbin/docker-init\n"),
        {"writes nowhere else": "A /etc/x"},
    ),
    "a file system that docker can't compare": (
        _set("differs", 1),
        {"writes nowhere else": "docker diff: not implemented"},
    ),
    "an error in the log": (
        _set("log", "all is well\nERROR: it is not"),
        {"no error in the log": "\n".join(["ERROR: it is not"] * 3)},
    ),
    "killed": (
        _set("state", {"Running": True, "ExitCode": 137}),
        {"stops on SIGTERM": "it did not end within 2 s, and was killed"},
    ),
}


def test_a_volume_of_the_image_is_nothing_that_it_wrote(tmp_path: Path, service: Service) -> None:
    docker = Docker(service.port)
    docker.diff = "A /var\nA /var/data\nC /opt\nA /opt/x\n"
    docker.mounts = [{"Type": "volume", "Destination": "/var/data"}]
    assert _failed(_findings(tmp_path, docker)) == {"writes nowhere else": "A /opt/x"}


@pytest.mark.parametrize(("fault", "expected"), FAULTS.values(), ids=FAULTS)
def test_each_fault_is_found_by_its_check(
    tmp_path: Path, service: Service, fault: object, expected: dict[str, str]
) -> None:
    docker = Docker(service.port)
    fault(docker, service)  # type: ignore[operator]
    if docker.code:
        found = _findings(tmp_path, docker, CONFIG.replace("port = 80", "port = 0"))
    else:
        found = _findings(tmp_path, docker)
    assert _failed(found) == expected


def test_health_may_be_plain_text(tmp_path: Path, service: Service) -> None:
    service.body = "thing 1.2.3 is fine"
    assert _failed(_findings(tmp_path, Docker(service.port))) == {}


def test_an_image_without_a_healthcheck_has_it_left_out(tmp_path: Path, service: Service) -> None:
    docker = Docker(service.port)
    docker.health = None
    found = _findings(tmp_path, docker)["healthy by HEALTHCHECK"]
    assert (found.state, found.detail) == (CheckState.LEFT_OUT, "the image has none")


@pytest.mark.parametrize("foreign", [True, False])
def test_only_under_emulation_the_healthcheck_may_take_longer_than_the_image_says(
    tmp_path: Path, service: Service, *, foreign: bool
) -> None:
    docker = Docker(service.port)
    _findings(tmp_path, docker, subject=replace(SUBJECT, foreign=foreign), only=("healthy",))
    (started,) = (argv for argv in docker.asked if "--detach" in argv)
    assert ("--health-timeout=1s" in started) is foreign


def test_a_socket_that_can_not_be_had_is_left_out_with_the_reason(
    tmp_path: Path, service: Service
) -> None:
    lacking = Socket(group=999, name="socket of group 999", left_out="not on this engine")
    found = _findings(tmp_path, Docker(service.port), sockets=(OWN, lacking, ROOT))
    for check in ("user and groups", "reaches the engine"):
        finding = found[f"{check}, socket of group 999"]
        assert (finding.state, finding.detail) == (CheckState.LEFT_OUT, "not on this engine")
    assert found["data outlives the container"].state is CheckState.PASSED


def test_data_is_looked_for_with_the_only_socket_as_well(tmp_path: Path, service: Service) -> None:
    docker = Docker(service.port)
    found = _findings(tmp_path, docker, sockets=(OWN,))
    assert found["data outlives the container"].state is CheckState.PASSED
    mounts = {word for argv in docker.asked for word in argv if word.startswith("type=volume")}
    assert len(mounts) == 1


def test_without_an_image_command_that_serves_only_commands_run(tmp_path: Path) -> None:
    found = _findings(tmp_path, Docker(), COMMAND, replace(SUBJECT, label=None))
    assert set(found) == {"--help"}


def test_only_what_is_named_is_checked(tmp_path: Path, service: Service) -> None:
    docker = Docker(service.port)
    found = _findings(tmp_path, docker, only=("reaches*",))
    assert list(found) == [
        "reaches the engine, the engine's own socket",
        "reaches the engine, socket of group 0",
    ]
    assert set(_findings(tmp_path / ".", docker, only=("--help",))) == {"--help"}


def test_the_names_are_those_of_the_checks_that_are_made(tmp_path: Path, service: Service) -> None:
    config = CONFIG.replace("[smoke]", "[smoke]\nsocket-groups = [0]")
    made = set(_findings(tmp_path, Docker(service.port), config))
    assert set(check_names(a_project(tmp_path).config)) == made | {POLICY}


def test_without_a_server_there_are_commands_and_versions(tmp_path: Path) -> None:
    project = a_project(write_project(tmp_path, COMMAND))
    assert check_names(project.config) == ("--help", "version in the label", POLICY)


def test_a_server_that_answers_with_an_error_is_not_healthy(
    tmp_path: Path, service: Service
) -> None:
    service.code = 503
    found = _findings(tmp_path, Docker(service.port))
    assert found["healthy"].detail == (
        "not healthy within 1 s: GET /health on port 80: HTTP 503\nout"
    )
    # The rest would only say so again.
    assert list(found)[-1] == "healthy"


def test_a_server_that_ends_at_once_is_not_waited_for(tmp_path: Path) -> None:
    docker = Docker()
    docker.state = {"Running": False}
    found = _findings(tmp_path, docker, CONFIG.replace("timeout = 1", "timeout = 600"))
    assert found["healthy"].detail == "it exited at once\nout"


def test_a_failure_says_how_to_repeat_it(tmp_path: Path, service: Service) -> None:
    docker = Docker(service.port)
    docker.version, docker.log = "9", "error"
    found = _findings(tmp_path, docker)
    assert found["version of the program"].repeat.startswith(
        "docker run --rm --platform linux/arm64 --read-only"
    )
    assert found["version of the program"].repeat.endswith(" thing:1 version")
    assert found["no error in the log"].repeat == (
        "invoke docker-smoke --platform linux/arm64 --image thing:1 --check 'no error in the log'"
    )
    assert found["--help"].repeat == ""
    # The reference of an archive is gone when someone reads this.
    subject = replace(SUBJECT, source="dist/image.tar")
    found = _findings(tmp_path, docker, subject=subject, only=("version of*",))
    assert found["version of the program"].repeat == (
        "invoke docker-smoke --platform linux/arm64 --image dist/image.tar "
        "--check 'version of the program'"
    )


def test_a_container_that_can_not_be_made_is_the_engines_error_and_removed(tmp_path: Path) -> None:
    docker = Docker()
    docker.code, docker.error = 125, "no such device"
    with pytest.raises(EngineError, match="did not start"):
        _findings(tmp_path, docker, only=("healthy",))
    assert [argv[1] for argv in docker.asked][-2:] == ["rm", "volume"]


def test_emulation_that_is_missing_is_the_engines_error_with_the_way_out(tmp_path: Path) -> None:
    docker = Docker()
    docker.code, docker.error = 255, "exec /bin/app: exec format error"
    with pytest.raises(EngineError, match="emulation is not registered") as caught:
        _findings(tmp_path, docker, COMMAND)
    assert "binfmt --install all" in caught.value.hint
    # On the engine's own platform the same words mean that the image holds another program.
    own = replace(SUBJECT, foreign=False)
    assert "exec format error" in _failed(_findings(tmp_path, docker, COMMAND, own))["--help"]


def test_a_run_that_is_cancelled_starts_nothing_more() -> None:
    docker = Docker()
    lab = Lab(docker, "smoke-run")
    lab.cancel()
    with pytest.raises(CancelledError):
        lab.docker("run", "thing")
    assert not any(argv[1] == "run" for argv in docker.asked)
    assert (
        "docker",
        "ps",
        "--all",
        "--quiet",
        "--filter",
        f"label={LABEL}=smoke-run",
    ) in docker.asked


def test_expected_codes_and_outputs(tmp_path: Path) -> None:
    docker = Docker()
    docker.code = 2
    row = 'image = "thing"\n[smoke]\ncommands = [{ run = ["x"], %s }]\n'

    def problem(text: str) -> dict[str, str]:
        return _failed(_findings(tmp_path, docker, row % text))

    assert problem('code = 2, stdout = "^{version}$", stderr = "good"') == {}
    assert problem("code = 1") == {"x": "exit code 2, and not 1: no good"}
    assert problem('code = 2, stdout = "^x{version}"') == {
        "x": "stdout does not match '^x{version}': 1.2.3"
    }
    assert problem('code = 2, stderr = "bad"') == {"x": "stderr does not match 'bad': no good"}
    docker.version = "1x2y3"
    # The version is text in the pattern, its dots are no wildcards.
    assert set(problem('code = 2, stdout = "^{version}$"')) == {"x"}


def test_a_program_that_can_not_be_read_leaves_its_check_out(
    tmp_path: Path, service: Service
) -> None:
    docker = Docker(service.port)
    docker.head = b"#!"
    found = _findings(tmp_path, docker)["platform of the process"]
    assert found.state is CheckState.LEFT_OUT
    assert found.detail.startswith("its program could not be read: /app, ")


@pytest.mark.parametrize(
    ("runtime", "path"),
    [
        ({"Entrypoint": ["python3", "/app.py"]}, "/usr/bin/python3"),
        ({"Cmd": ["serve"], "Env": ["PATH=/opt/x:/opt/y"]}, "/opt/y/serve"),
        ({"Entrypoint": ["./run"], "WorkingDir": "/srv"}, "/srv/./run"),
    ],
)
def test_a_program_is_found_by_the_images_path(
    tmp_path: Path, service: Service, runtime: dict[str, object], path: str
) -> None:
    docker = Docker(service.port)
    docker.head, docker.runtime, docker.files = b"#!", runtime, {path: ELF_ARM64}
    assert _findings(tmp_path, docker)["platform of the process"].state is CheckState.PASSED
    docker.files = {path: ELF_ARM64.replace(b"\xb7", b"\x3e")}
    found = _findings(tmp_path, docker)["platform of the process"]
    assert found.detail == f"{path} is for amd64, and the image for arm64"


GROUPS = {
    "of a user by number": ("1001", "", "0", ""),
    "of a user and a group by number": ("1001:0", "", "0", ""),
    "of the image's files": ("app", "", "1001 2000", ""),
    "of the image's files, by number": ("1001", "", "1001 2000", ""),
    "that is configured": ("1001:0", "group = 5\n", "5", ""),
    "and further ones": ("app", "groups = [7, 8]\n", "1001 7 8", ""),
    "of another user that changes": ("0", "", "1001", ""),
    "that is another": ("1001:0", "", "4", "0 (by the image's USER)"),
    "that is not the configured one": ("app", "groups = []\n", "1001 2000", "1001 (by [run])"),
}


@pytest.mark.parametrize(("user", "keys", "seen", "wanted"), GROUPS.values(), ids=GROUPS)
def test_the_group_is_that_of_the_image_or_the_configuration(
    tmp_path: Path,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    user: str,
    keys: str,
    seen: str,
    wanted: str,
) -> None:
    docker = Docker(service.port)
    docker.runtime = {"User": user}
    docker.files = {"/etc/passwd": b"", "/etc/group": b""}
    if user == "app" or seen == "1001 2000":
        docker.files = {
            "/etc/passwd": b"app:x:1001:1001::/:\n",
            "/etc/group": b"more:x:2000:app\n",
        }
    first, *others = seen.split()
    uid = "Uid:\t1001\t1001\t1001\t1001\n"
    proc = (
        f"machine aarch64\npid 1\nexe /app\nPPid:\t0\n{uid}"
        f"Gid:\t{first}\t{first}\t{first}\t{first}\nGroups:\t{' '.join(others)}\nwords /app\0\n"
    )
    monkeypatch.setattr(docker, "_proc", lambda: proc)
    config = f"{CONFIG}{keys}init = false\n"
    found = _findings(tmp_path, docker, config, sockets=(), only=("user*",))["user and groups"]
    assert found.detail.endswith(wanted)
    assert (found.state is CheckState.FAILED) == bool(wanted)


STOPS = {
    "SIGTERM": ("", 143, ""),
    "in order": ("SIGQUIT", 0, ""),
    "its own signal": ("SIGQUIT", 131, ""),
    "its own signal by number": ("2", 130, ""),
    "a real-time signal": ("SIGRTMIN+3", 165, ""),
    "SIGKILL, which it asked for": ("SIGKILL", 137, ""),
    "killed": ("SIGQUIT", 137, "it did not end within 2 s, and was killed"),
    "a code of its own": ("", 7, ""),
    "another signal": ("SIGQUIT", 143, "it ended with code 143"),
}


@pytest.mark.parametrize(("stop", "code", "problem"), STOPS.values(), ids=STOPS)
def test_it_ends_as_its_own_signal_ends_it(
    tmp_path: Path, service: Service, stop: str, code: int, problem: str
) -> None:
    docker = Docker(service.port)
    docker.state["ExitCode"], docker.runtime = code, {"StopSignal": stop}
    config = CONFIG.replace("port = 80", "port = 80\nstop-codes = [7]")
    found = _findings(tmp_path, docker, config, only=("stops*",))["stops on SIGTERM"]
    assert found.detail.startswith(problem)
    assert (found.state is CheckState.FAILED) == bool(problem)


VERSIONS = {
    "in its JSON": ("true", '{"version": "1.2.3"}', ""),
    "in a field": ('"info.version"', '{"info": {"version": "1.2.3"}}', ""),
    "in a list": ('"all.1.name"', '{"all": [{}, {"name": "1.2.3"}]}', ""),
    "in another field": ('"info.version"', '{"version": "1.2.3"}', "absent: /health has no info."),
    "in a field of no JSON": ('"version"', "1.2.3", "absent: /health has no version"),
    "in its text": ('{ field = "" }', "thing v1.2.3 is fine", ""),
    "as a part of another": ("true", "thing 11.2.3 and 1.2.3-rc1 and 1.2.3.4", "absent"),
    "elsewhere": ('{ path = "/data" }', '"1.2.3"', ""),
    "a number": ('"version"', '{"version": 123}', "it says '123'"),
}


@pytest.mark.parametrize(("key", "body", "problem"), VERSIONS.values(), ids=VERSIONS)
def test_where_a_server_says_its_version(
    tmp_path: Path, service: Service, key: str, body: str, problem: str
) -> None:
    service.body = body
    if "/data" in key:
        service.body, service.data = "{}", ["1.2.3"]
    config = CONFIG.replace("health-version = true", f"health-version = {key}")
    found = _findings(tmp_path, Docker(service.port), config, only=("version in health",))
    detail = found["version in health"].detail
    assert detail.startswith(problem)
    assert bool(detail) == bool(problem)


def test_without_its_key_no_version_is_looked_for(tmp_path: Path, service: Service) -> None:
    service.body = "no version at all"
    for line in ("", "health-version = false\n"):
        config = CONFIG.replace("health-version = true\n", line)
        found = _findings(tmp_path, Docker(service.port), config)
        assert "version in health" not in found
        assert _failed(found) == {}


def test_a_check_can_be_left_out_by_name(tmp_path: Path, service: Service) -> None:
    docker = Docker(service.port)
    docker.log, docker.diff = "ERROR", "A /elsewhere\n"
    config = CONFIG.replace("port = 80", 'port = 80\nskip = ["no error*", "writes*", "policy"]')
    found = _findings(tmp_path, docker, config)
    assert _failed(found) == {}
    assert not {"no error in the log", "writes nowhere else"} & set(found)
    project = a_project(write_project(tmp_path, config))
    check_only(project.config, ["healthy"])
    with pytest.raises(InputError, match="no check is called policy"):
        check_only(project.config, ["policy"])
    wrong = a_project(write_project(tmp_path, CONFIG.replace("port = 80", 'port=80\nskip=["x"]')))
    with pytest.raises(InputError, match=r"smoke\.skip names no check: x"):
        check_only(wrong.config, [])


class Slow(Docker):
    """Does not answer in time, so often."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float | None = None,
        env: Mapping[str, str] = NOTHING,
    ) -> Completed:
        if argv[1] == "run":
            self.times -= 1
            if self.times >= 0:
                self.asked.append(tuple(argv))
                raise TimedOutError(f"docker did not answer within {timeout} s")
        return super().run(argv, timeout=timeout, env=env)


@pytest.mark.parametrize(
    ("times", "detail"), [(1, ""), (2, "timed out twice: it did not end within 60 s")]
)
def test_what_does_not_end_in_time_is_tried_once_more(
    tmp_path: Path, times: int, detail: str
) -> None:
    docker = Slow(times)
    found = _findings(tmp_path, docker, COMMAND)["--help"]
    assert found.detail == detail
    assert sum(argv[1] == "run" for argv in docker.asked) == 2
    # Nothing of either is left.
    assert sum(argv[1] == "rm" for argv in docker.asked) == 2


def test_limits_are_as_long_as_the_engine_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = Slow(0)
    lab = Lab(docker, "smoke-run")
    for seconds, slowness in ((0.1, 1.0), (1.5, 1.0), (6.0, 4.0), (900.0, 10.0)):
        times = iter([0.0, seconds])
        monkeypatch.setattr(
            "buildlib.smoke.sandbox.time.monotonic", lambda times=times: next(times)
        )
        lab.measure("thing:1")
        monkeypatch.undo()
        assert lab.slowness == slowness
        assert lab.limit(30) == 30 * slowness
        assert ("the engine is slow" in lab.remark) == (slowness > 1)
    project = a_project(write_project(tmp_path, COMMAND))
    smoke = PlatformSmoke(SUBJECT, project.config, lab)
    docker.times = 2
    (found, *_) = smoke.run().checks
    assert "60 s (limits are 10.0 times as long here: the engine is slow)" in found.detail
    assert "timed out twice" in found.detail


def test_a_server_that_is_overloaded_is_asked_once_more(
    tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildlib.smoke.checks._SECOND_TRY", 0.0)
    service.engine_codes = [503]
    found = _findings(tmp_path, Docker(service.port), sockets=(OWN,), only=("reaches*",))
    assert found["reaches the engine, the engine's own socket"].state is CheckState.PASSED
    service.engine_codes = [503, 503]
    found = _findings(tmp_path, Docker(service.port), sockets=(OWN,), only=("reaches*",))
    assert found["reaches the engine, the engine's own socket"].detail.startswith("HTTP 503")


def test_a_program_that_a_tmpfs_keeps_from_starting_gets_a_hint(tmp_path: Path) -> None:
    docker = Docker()
    docker.code, docker.error = 126, "sh: /tmp/x: Permission denied"
    hint = 'tmpfs = ["/tmp:exec"] in [run] allows it'
    assert hint in _findings(tmp_path, docker, COMMAND)["--help"].detail
    for run in ('tmpfs = ["/tmp:exec,size=1m"]', "read-only = false"):
        found = _findings(tmp_path, docker, f"{COMMAND}[run]\n{run}\n")
        assert hint not in found["--help"].detail


def test_a_command_may_have_another_program(tmp_path: Path) -> None:
    docker = Docker()
    text = (
        'image = "thing"\n[smoke]\ncommands = [{ entrypoint = ["sh", "-e"], run = ["-c", "x"] }]\n'
    )
    found = _findings(tmp_path, docker, f"{text}env = {{ A = 1 }}\n")
    assert "sh -e -c x" in found
    (argv,) = [argv for argv in docker.asked if argv[1] == "run"]
    assert argv[-4:] == ("thing:1", "-e", "-c", "x")
    assert ("--entrypoint", "sh") in pairwise(argv)
    assert ("--env", "A=1") in pairwise(argv)


SERVICES = """\
image = "thing"
[smoke]
commands = [["--help"]]
[smoke.services.db]
image = "db:1"
env = { X = "y" }
command = ["serve"]
ready-command = ["ready"]
start-timeout = 1
"""


def test_services_run_beside_it_and_go_with_it(tmp_path: Path) -> None:
    docker = Docker()
    assert _findings(tmp_path, docker, SERVICES)["--help"].state is CheckState.PASSED
    network = next(argv[-1] for argv in docker.asked if argv[1:3] == ("network", "create"))
    service, command = [argv for argv in docker.asked if argv[1] == "run"]
    assert {"--network", network, "--network-alias", "db", "X=y"} <= set(service)
    assert service[-2:] == ("db:1", "serve")
    assert ("--network", network) in pairwise(command)
    assert any(argv[1] == "exec" and argv[-1] == "ready" for argv in docker.asked)
    assert docker.asked[-1] == ("docker", "network", "rm", "--force", network)
    assert sum(argv[1] == "rm" for argv in docker.asked) == 2


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"Running": False, "ExitCode": 3}, "it has ended"),
        ({"Running": True, "Health": {"Status": "starting"}}, "not ready within 1 s"),
    ],
)
def test_a_service_that_is_not_ready_ends_smoke(
    tmp_path: Path, state: dict[str, object], message: str
) -> None:
    docker = Docker()
    docker.state, docker.health = state, None
    config = SERVICES.replace('ready-command = ["ready"]\n', "")
    with pytest.raises(EngineError, match=f"the service db can't be used: {message}") as caught:
        _findings(tmp_path, docker, config)
    assert "out" in caught.value.why
    assert docker.asked[-1][1:3] == ("network", "rm")


def test_smoke_without_a_port_looks_at_a_worker(tmp_path: Path) -> None:
    docker = Docker()
    config = 'image = "thing"\n[smoke]\nhealth-command = ["ready"]\n'
    found = _findings(tmp_path, docker, config)
    assert found["healthy"].state is CheckState.PASSED
    assert not any("--publish" in argv for argv in docker.asked)


DROPPING = CONFIG.replace("user = 1001\n", "user = 1001\ndrops-root = true\n")


def _starts(docker: Docker) -> list[tuple[str, ...]]:
    return [argv for argv in docker.asked if argv[1] == "run"]


@pytest.mark.parametrize(
    ("joined", "detail"), [("105", ""), ("", "is in the groups 1001, and not in 105, 1001")]
)
def test_a_start_as_root_has_to_end_as_the_user_in_the_socket_s_group(
    tmp_path: Path, service: Service, joined: str, detail: str
) -> None:
    docker = Docker(service.port)
    # Without --group-add, the entrypoint joins it.
    docker.groups = {"": joined}
    found = _findings(tmp_path, docker, DROPPING)
    assert found[DROPS_ROOT].state is (CheckState.FAILED if detail else CheckState.PASSED)
    assert detail in found[DROPS_ROOT].detail
    assert check_names(a_project(tmp_path).config).count(DROPS_ROOT) == 1


def test_only_the_start_as_root_is_one(tmp_path: Path, service: Service) -> None:
    docker = Docker(service.port)
    _findings(tmp_path, docker, DROPPING)
    plain = [argv for argv in _starts(docker) if "--user=1001:1001" not in argv]
    (as_root,) = plain
    assert len(_starts(docker)) > 3
    assert {"--cap-drop=ALL", "--cap-add=SETUID", "--cap-add=SETGID"} <= {*as_root}
    assert "type=bind,source=/var/run/docker.sock,target=/run/engine.sock" in as_root
    assert not [word for word in as_root if "--group-add" in word or "--user" in word]


def test_an_image_that_starts_as_its_user_is_started_as_it_is(
    tmp_path: Path, service: Service
) -> None:
    docker = Docker(service.port)
    assert DROPS_ROOT not in _findings(tmp_path, docker)
    assert not [word for argv in _starts(docker) for word in argv if "--user" in word]
