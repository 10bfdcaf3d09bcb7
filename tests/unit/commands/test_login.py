"""What docker's words mean where it does not sign in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from buildlib.commands.login import login
from buildlib.commands.session import Edge
from buildlib.errors import (
    AuthorisationError,
    BuildlibError,
    EngineError,
    InputError,
    TimedOutError,
    ToolError,
    TransientError,
)
from buildlib.executor import Completed

from fakes import FakeExecutor, write_project

CONFIG = """\
image = "thing"
[registries.one]
repository = "one.example/thing"
username-env = "WHO"
password-env = "WITH"
"""
SECRET = "p"
GET = 'Error response from daemon: Get "https://one.example/v2/": '
SAID: dict[str, tuple[type[BuildlibError], str]] = {
    "a wrong password": (AuthorisationError, f"{GET}unauthorized: incorrect username or password"),
    "another registry's words for it": (
        AuthorisationError,
        "login attempt to https://one.example/v2/ failed with status: 401 Unauthorized",
    ),
    "an account without rights": (AuthorisationError, f"{GET}denied: denied"),
    "a refusal that is no JSON": (
        AuthorisationError,
        "error parsing HTTP 403 response body: invalid character '<' looking for a value",
    ),
    "a name that is not found": (
        TransientError,
        f"{GET}dial tcp: lookup one.example: no such host",
    ),
    "a registry that is down": (TransientError, f"{GET}dial tcp: connect: connection refused"),
    "one that is silent": (
        TransientError,
        f"{GET}net/http: request canceled (Client.Timeout exceeded while awaiting headers)",
    ),
    "one that breaks off": (TransientError, f"{GET}EOF"),
    "one that is overloaded": (
        TransientError,
        f"{GET}received unexpected HTTP status: 503 Service Unavailable",
    ),
    "a proxy before one that is down": (
        TransientError,
        "error parsing HTTP 502 response body: invalid character '<' looking for a value",
    ),
    "one that wants a pause": (TransientError, f"{GET}toomanyrequests: too many failed logins"),
    "a registry that may not answer": (
        EngineError,
        f"{GET}received unexpected HTTP status: 451 Unavailable For Legal Reasons",
    ),
    "a certificate that is not trusted": (
        InputError,
        f"{GET}tls: failed to verify certificate: x509: certificate signed by unknown authority",
    ),
    "no engine": (
        EngineError,
        "Cannot connect to the Docker daemon at unix:///x.sock. Is the docker daemon running?",
    ),
    "no engine that one may use": (
        EngineError,
        "permission denied while trying to connect to the Docker daemon socket at unix:///x.sock",
    ),
    "a newer docker's words for no engine": (
        EngineError,
        "failed to connect to the docker API at unix:///x.sock: connect: no such file or directory",
    ),
    "a helper that is not installed": (
        ToolError,
        'error storing credentials - err: exec: "docker-credential-x": executable file not found',
    ),
    "a file that can't be written": (
        ToolError,
        "Error saving credentials: open /home/ann/.docker/config.json1: permission denied",
    ),
    "something else": (EngineError, "http: server gave HTTP response to HTTPS client"),
}


class _Edge(Edge):
    """An edge whose docker is a table of answers."""

    def __init__(self, root: Path, docker: FakeExecutor) -> None:
        super().__init__(root, {"WHO": "ann", "WITH": SECRET}, dry=False, quiet=True)
        self.docker = docker

    @property
    def executor(self) -> FakeExecutor:
        return self.docker


def _login(root: Path, docker: FakeExecutor, config: str = CONFIG) -> None:
    login(_Edge(write_project(root, config), docker), ())


@pytest.mark.parametrize(("kind", "said"), SAID.values(), ids=SAID)
def test_what_docker_says_has_its_exit_code(
    tmp_path: Path, kind: type[BuildlibError], said: str
) -> None:
    docker = FakeExecutor({("docker", "login"): Completed(code=1, stderr=f"{said}\n")})
    with pytest.raises(kind) as caught:
        _login(tmp_path, docker)
    assert type(caught.value) is kind
    # The password is in no message, but is no reason not to understand what docker said.
    assert caught.value.why == said.replace(SECRET, "***")
    assert docker.texts == [SECRET]


def test_what_docker_tried_on_the_way_is_not_the_reason(tmp_path: Path) -> None:
    tried = 'time="2026-01-31T12:00:00Z" level=info msg="Error logging in: connection refused"'
    said = f"{tried}\n{GET}unauthorized\n"
    docker = FakeExecutor({("docker", "login"): Completed(code=1, stderr=said)})
    with pytest.raises(AuthorisationError) as caught:
        _login(tmp_path, docker)
    assert "time=" not in caught.value.why


def test_docker_that_waits_for_a_registry_for_too_long(tmp_path: Path) -> None:
    class Silent(FakeExecutor):
        def _answer(self, argv: Sequence[str]) -> Completed:
            raise TimedOutError(f"{argv[0]} did not answer within 60 s")

    with pytest.raises(TransientError, match=r"one\.example does not answer docker"):
        _login(tmp_path, Silent())


def test_a_registry_on_this_machine_may_be_without_credentials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = 'image = "thing"\n[registries.local]\nrepository = "127.0.0.1:5000/thing"\n'
    docker = FakeExecutor({})
    _login(tmp_path, docker, config)
    assert capsys.readouterr().out == "local: on this machine, without credentials\n"
    assert docker.asked == []
