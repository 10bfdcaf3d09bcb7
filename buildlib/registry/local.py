"""A registry on this machine that exists for the time of a test release."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from buildlib.errors import EngineError, TimedOutError, ToolError
from buildlib.executor import PlumbumExecutor, Runner
from buildlib.shell import repeated

# The one program under the name of its authors, and under that of Debian.
NAMES: Final = ("registry", "docker-registry")
_ORIGIN: Final = "distribution"
HOW_TO_INSTALL: Final = (
    "install the package docker-registry of Debian and Ubuntu, the program registry of the "
    "releases of github.com/distribution/distribution, or with Go: "
    "go install github.com/distribution/distribution/v3/cmd/registry@latest"
)
_TIMEOUT: Final = 30.0
_POLL: Final = 0.02
# In each answer, as another program may have taken the port before the registry did.
_MARK: Final = "X-Buildlib-Registry"
# Each would change the configuration file, and podman has a REGISTRY_AUTH_FILE of its own.
_OVERRIDES: Final = "REGISTRY_"
# Version 3 else sends traces to a collector.
_NO_TRACES: Final = "OTEL_TRACES_EXPORTER=none"


class Program(NamedTuple):
    """The registry that is installed; `version` is as it prints it."""

    path: str
    version: str


def find_program(executor: Runner, env: Mapping[str, str]) -> Program:
    """Return the registry program of this machine.

    Raises:
        ToolError: there is none (exit 3).
    """
    for name in NAMES:
        path = shutil.which(name, path=env.get("PATH", os.defpath))
        if path and _ORIGIN in (said := _version(executor, path)):
            return Program(path, said.split()[-1])
    raise ToolError("no registry program found", hint=HOW_TO_INSTALL)


def _version(executor: Runner, path: str) -> str:
    """Return what a program prints about itself; other programs have so short a name, too."""
    try:
        return executor.run((path, "--version"), timeout=_TIMEOUT).stdout
    except (ToolError, TimedOutError):
        return ""


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _answers(port: int, mark: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v2/")
        response = connection.getresponse()
        return response.status == http.HTTPStatus.OK and response.getheader(_MARK) == mark
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def local_registry(
    executor: PlumbumExecutor, program: Program, env: Mapping[str, str], folder: Path
) -> Iterator[str]:
    """Run a registry without passwords for the time of the block; yield its host with the port.

    Args:
        env: the environment, for what would change its configuration.
        folder: for its configuration, its log and what it holds; it is made.

    Raises:
        EngineError: it does not start (exit 4).
    """
    folder.mkdir()
    port, config, log = _free_port(), folder / "config.yml", folder / "log"
    mark = secrets.token_hex()
    settings = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "data")},
            "delete": {"enabled": True},
        },
        # The secret is only for several registries behind one address.
        "http": {
            "addr": f"127.0.0.1:{port}",
            "secret": "only one",
            "headers": {_MARK: [mark]},
        },
    }
    # All JSON is YAML.
    config.write_text(json.dumps(settings), encoding="utf-8")
    unset = repeated("-u", (name for name in env if name.startswith(_OVERRIDES)))
    argv = ("env", *unset, _NO_TRACES, program.path, "serve", str(config))
    with executor.serve(argv, log) as runs:
        _wait(lambda: _answers(port, mark), runs, log)
        yield f"127.0.0.1:{port}"


def _wait(answers: Callable[[], bool], runs: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + _TIMEOUT
    while not answers():
        if not runs() or time.monotonic() > deadline:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise EngineError(
                "the registry for the test release does not start", why="\n".join(lines[-3:])
            )
        time.sleep(_POLL)
