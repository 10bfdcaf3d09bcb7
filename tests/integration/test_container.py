"""The container as a user starts it: the engine behind its socket, reports, the end."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
from conftest import docker

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]
SOCKET = Path("/var/run/docker.sock")


class Server:
    """A container of the image, started with options."""

    def __init__(self, image: str, *options: str) -> None:
        publish = ("--detach", "--publish", "127.0.0.1::8080")
        self.name = docker("run", *publish, *options, image)
        port = docker("port", self.name, "8080/tcp").splitlines()[0]
        self.address = f"http://{port}"
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline, docker("logs", self.name)
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return bool(self.ask("GET", "/api/health")["status"] == "healthy")
        except (URLError, OSError):
            return False

    def ask(self, method: str, path: str, body: object = None) -> dict[str, object]:
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"}
        request = Request(self.address + path, data=data, method=method, headers=headers)
        with urlopen(request, timeout=60) as answer:
            text = answer.read()
        return dict(json.loads(text)) if text else {}

    def close(self) -> None:
        docker("rm", "--force", "--volumes", self.name, check=False)


@pytest.fixture(scope="module")
def with_socket(own_image: str) -> Iterator[Server]:
    group = str(SOCKET.stat().st_gid)
    options = ("--user", "1001:1001", "--group-add", group)
    server = Server(own_image, "--volume", f"{SOCKET}:{SOCKET}", *options)
    yield server
    server.close()


@pytest.fixture(scope="module")
def hardened(own_image: str) -> Iterator[Server]:
    server = Server(
        own_image,
        *(
            "--user",
            "1001:1001",
            "--read-only",
            "--cap-drop",
            "ALL",
            "--security-opt",
            "no-new-privileges",
            "--init",
        ),
    )
    yield server
    server.close()


def test_the_engines_images_are_listed_as_user_1001(with_socket: Server, own_image: str) -> None:
    images = with_socket.ask("GET", "/api/images")["images"]
    assert isinstance(images, list)
    assert own_image in [tag for image in images for tag in image["tags"]]
    assert docker("exec", with_socket.name, "id", "-u") == "1001"


def test_a_report_is_made_listed_and_deleted(with_socket: Server, own_image: str) -> None:
    made = with_socket.ask("POST", "/api/reports", {"image": own_image})
    details = made["details"]
    assert isinstance(details, dict)
    assert details["user"] == "0:0"
    assert any("ENTRYPOINT" in step["created_by"] for step in details["history"])
    reports = with_socket.ask("GET", "/api/reports")["reports"]
    assert isinstance(reports, list)
    assert [report["id"] for report in reports] == [made["id"]]
    assert with_socket.ask("DELETE", f"/api/reports/{made['id']}") == {}
    assert with_socket.ask("GET", "/api/reports") == {"reports": []}
    with pytest.raises(HTTPError, match="404"):
        with_socket.ask("POST", "/api/reports", {"image": "no-such-image:1"})


def test_a_report_counts_the_bytes_that_the_list_counts(
    with_socket: Server, own_image: str
) -> None:
    """By the manifests of engines since API 1.47, and by two answers of older ones."""
    images = with_socket.ask("GET", "/api/images")["images"]
    assert isinstance(images, list)
    (listed,) = [image for image in images if own_image in image["tags"]]
    made = with_socket.ask("POST", "/api/reports", {"image": own_image})
    details = made["details"]
    assert isinstance(details, dict)
    assert details["content_size"] + details["unpacked_size"] == listed["size"]
    assert details["content_size"] < details["unpacked_size"]
    with_socket.ask("DELETE", f"/api/reports/{made['id']}")


def test_without_a_socket_the_reason_is_told_and_the_rest_works(hardened: Server) -> None:
    with pytest.raises(HTTPError) as caught:
        hardened.ask("GET", "/api/images")
    assert caught.value.code == 503
    assert "mount the socket" in json.loads(caught.value.read())["error"]
    assert hardened.ask("GET", "/api/reports") == {"reports": []}
    with urlopen(hardened.address + "/", timeout=60) as page:
        assert b"dockerutilities" in page.read()


def test_the_image_finds_itself_healthy(hardened: Server) -> None:
    assert docker("exec", hardened.name, "/usr/local/bin/dockerutilities", "healthcheck") == ""


def test_a_socket_of_another_group_is_told_with_the_way_out(own_image: str) -> None:
    server = Server(own_image, "--user", "1001:1001", "--volume", f"{SOCKET}:{SOCKET}")
    try:
        log = subprocess.run(
            ["docker", "logs", server.name], capture_output=True, text=True, check=True
        )
        assert f"--group-add {SOCKET.stat().st_gid}" in log.stderr
    finally:
        server.close()


def test_arguments_keep_their_quoting_and_unknown_commands_fail(own_image: str) -> None:
    run = ("run", "--rm", own_image)
    assert docker(*run, "sh", "-c", 'printf "[%s]" "$@"', "sh", "a b", "", "*") == "[a b][][*]"
    assert "Usage:" in docker(*run, "--help")
    done = subprocess.run(
        ["docker", *run, "version", "surplus"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
