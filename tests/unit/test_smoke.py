from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from buildlib.doctor import diagnose
from buildlib.errors import EngineError, GateError, InputError
from buildlib.executor import Completed
from buildlib.platforms import parse_platform
from buildlib.smoke import Smoke, raise_failures, smoke_image
from buildlib.vcs import NoGit

from fakes import FakeExecutor, a_project, write_project

CONFIG = """\
image = "thing"
[smoke]
commands = [["--help"]]
version-command = ["version"]
port = 80
health-path = "/health"
start-timeout = 1
"""


class Docker(FakeExecutor):
    """Runs containers as told: `version` is what they print, `port` where they are published."""

    def __init__(
        self, version: str = "1.2.3", port: int = 0, code: int = 0, stopped: str = "0"
    ) -> None:
        super().__init__()
        self.version, self.port, self.code, self.stopped = version, port, code, stopped

    def _answer(self, argv: Sequence[str]) -> Completed:
        self.asked.append(tuple(argv))
        match argv[1]:
            case "run":
                return Completed(code=self.code, stdout=self.version, stderr="no good")
            case "port":
                return Completed(code=0, stdout=f"127.0.0.1:{self.port}\n" if self.port else "")
            case "inspect":
                return Completed(code=0, stdout=f"{self.stopped}\n")
            case "image":
                return Completed(code=int(self.version == "gone"), stdout=f"{self.version}\n")
            case "logs":
                return Completed(code=0, stdout="out", stderr="err")
            case _:
                return Completed(code=0)


@pytest.fixture
def server() -> Iterator[tuple[int, dict[str, object]]]:
    answer: dict[str, object] = {"code": 200, "body": json.dumps({"version": "1.2.3"})}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(str(answer["code"])))
            self.end_headers()
            self.wfile.write(str(answer["body"]).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    http = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=http.serve_forever)
    thread.start()
    yield http.server_address[1], answer
    http.shutdown()
    thread.join()
    http.server_close()


def _run(root: Path, docker: Docker, config: str = CONFIG) -> dict[str, str]:
    project = a_project(write_project(root, config))
    result = Smoke(project, docker, "thing:1", parse_platform("arm64")).run()
    return {f.check: "" if f.passed else f.detail for f in result.findings}


def test_an_image_that_does_all_passes(
    tmp_path: Path, server: tuple[int, dict[str, object]]
) -> None:
    docker = Docker(port=server[0])
    assert set(_run(tmp_path, docker).values()) == {""}
    runs = [argv for argv in docker.asked if argv[1] == "run"]
    assert all("linux/arm64" in argv for argv in runs)
    assert all("io.github.smiller333.buildlib.smoke" in argv for argv in runs)
    assert docker.asked[-1][:4] == ("docker", "rm", "--force", "--volumes")


def test_a_failed_command_shows_its_code_and_words(
    tmp_path: Path, server: tuple[int, dict[str, object]]
) -> None:
    config = CONFIG.replace("port = 80", "port = 0")
    found = _run(tmp_path, Docker(code=3, port=server[0]), config)
    assert found["--help"] == "exit code 3: no good"


def test_a_wrong_version_is_seen_in_the_output_and_in_health(
    tmp_path: Path, server: tuple[int, dict[str, object]]
) -> None:
    server[1]["body"] = json.dumps({"version": "9"})
    found = _run(tmp_path, Docker(version="9", port=server[0]))
    assert found["version of the program"] == "it says '9', and '1.2.3' was built"
    assert found["version in health"] == "it says '9', and '1.2.3' was built"


@pytest.mark.parametrize(
    ("body", "detail"),
    [("thing 1.2.3 is fine", ""), ("fine", "absent"), ("[]", "absent")],
)
def test_health_may_be_plain_text(
    tmp_path: Path, server: tuple[int, dict[str, object]], body: str, detail: str
) -> None:
    server[1]["body"] = body
    assert _run(tmp_path, Docker(port=server[0]))["version in health"] == detail


def test_a_server_that_answers_with_an_error_is_not_healthy(
    tmp_path: Path, server: tuple[int, dict[str, object]]
) -> None:
    server[1]["code"] = 503
    found = _run(tmp_path, Docker(port=server[0]))
    assert "not healthy within 1 s: HTTP Error 503" in found["healthy"]
    assert "out" in found["healthy"]


def test_a_container_without_a_port_did_not_start(tmp_path: Path) -> None:
    assert _run(tmp_path, Docker())["healthy"].startswith("it did not start")


def test_a_container_that_can_not_be_made_is_the_engines_error_and_removed(tmp_path: Path) -> None:
    docker = Docker(code=125)
    with pytest.raises(EngineError, match="did not start"):
        _run(tmp_path, docker)
    assert docker.asked[-1][1] == "rm"


@pytest.mark.parametrize(
    ("code", "detail"),
    [("137", "it did not end within 2 s, and was killed"), ("3", "it ended with code 3 after")],
)
def test_a_server_that_does_not_stop_as_it_should(
    tmp_path: Path, server: tuple[int, dict[str, object]], code: str, detail: str
) -> None:
    found = _run(tmp_path, Docker(port=server[0], stopped=code))
    assert found["stops on SIGTERM"].startswith(detail)


def test_it_is_started_as_confined_as_docker_run_starts_it(
    tmp_path: Path, server: tuple[int, dict[str, object]]
) -> None:
    docker = Docker(port=server[0])
    _run(tmp_path, docker)
    for argv in (argv for argv in docker.asked if argv[1] == "run"):
        assert {"--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"} <= set(argv)


def test_an_image_that_is_given_has_to_be_what_its_label_says(
    tmp_path: Path, server: tuple[int, dict[str, object]]
) -> None:
    project = a_project(write_project(tmp_path, CONFIG))
    platform = parse_platform("amd64")
    server[1]["body"] = json.dumps({"version": "7"})
    docker = Docker(version="7", port=server[0])
    assert smoke_image(project, "thing:7", platform, docker).failed == ()
    assert not any(argv[1] == "buildx" for argv in docker.asked)
    with pytest.raises(EngineError, match="is not here"):
        smoke_image(project, "thing:8", platform, Docker(version="gone"))


def test_nothing_to_check_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to check"):
        _run(tmp_path, Docker(), 'image = "thing"\n')


def test_failures_are_raised_with_all_names(tmp_path: Path) -> None:
    project = a_project(write_project(tmp_path, CONFIG.replace("port = 80", "port = 0")))
    result = Smoke(project, Docker(version="9"), "thing:1", parse_platform("amd64")).run()
    with pytest.raises(GateError, match="smoke failed on linux/amd64"):
        raise_failures(result)
    assert result.as_dict()["passed"] is False
    assert "failed" in result.as_text()


def test_doctor_tells_what_is_missing_for_the_platforms(tmp_path: Path) -> None:
    config = 'image = "t"\nplatforms = ["linux/amd64", "linux/s390x"]\n[base-images]\n'
    config += '"alpine:3.22" = { source = "oci-layout:///a", stand-in = true }\n'
    project = a_project(write_project(tmp_path, config), git=NoGit(reason="no git"))
    info = {
        "ServerVersion": "26",
        "OSType": "linux",
        "Architecture": "x86_64",
        "ClientInfo": {"Version": "26", "Plugins": [{"Name": "buildx", "Version": "v0.13.1"}]},
    }
    docker = FakeExecutor(
        {
            ("docker", "info"): Completed(code=0, stdout=json.dumps(info)),
            ("docker", "buildx"): Completed(code=0, stdout="Name: x\nPlatforms: linux/amd64*\n"),
        }
    )
    checks, problems = diagnose(project, docker)
    assert problems == []
    told = {check.name: check for check in checks}
    assert told["platforms that run here"].fix.startswith("linux/s390x: register emulation")
    assert told["base images"].found == "stand-ins for alpine:3.22"
    assert told["git"].found == "no git"
    assert told["containerd image store"].state == "note"
    assert told["engine"].found == "26 linux/x86_64"
