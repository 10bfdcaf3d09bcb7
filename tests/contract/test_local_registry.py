"""A registry program of this machine, started and ended as `docker-rehearse` does it."""

from __future__ import annotations

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from buildlib.errors import EngineError
from buildlib.executor import PlumbumExecutor
from buildlib.registry.local import Program, find_program, local_registry

# As much of a registry as answers once: it reads its port from the configuration.
SERVER = """\
#!/usr/bin/env python3
import http.server, json, os, sys
settings = json.load(open(sys.argv[2]))
host, port = settings["http"]["addr"].split(":")
print(sorted(name for name in os.environ if name.startswith(("REGISTRY_", "OTEL_"))), flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        for name, (value,) in settings["http"]["headers"].items():
            self.send_header(name, value)
        self.end_headers()
http.server.HTTPServer((host, int(port)), Handler).serve_forever()
"""


def _program(folder: Path, text: str) -> Program:
    folder.mkdir(exist_ok=True)
    path = folder / "registry"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return Program(str(path), "3.0.0")


def test_another_program_of_that_name_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildlib.registry.local._TIMEOUT", 0.5)
    env = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    executor = PlumbumExecutor(env, tmp_path)
    said = "#!/bin/sh\necho docker-registry github.com/docker/distribution 2.8.3\n"
    own = Path(_program(tmp_path, said).path).rename(tmp_path / "docker-registry")
    for other in ("#!/bin/sh\necho 1.0\n", "#!/bin/sh\nexec sleep 60\n", "#!/no/such\n"):
        _program(tmp_path, other)
        assert find_program(executor, env) == Program(str(own), "2.8.3")


def test_a_registry_runs_for_the_time_of_the_block_and_obeys_no_variable(tmp_path: Path) -> None:
    program = _program(tmp_path / "bin", SERVER)
    env = {**os.environ, "REGISTRY_AUTH_FILE": "/x", "REGISTRY_HTTP_ADDR": ":1"}
    executor = PlumbumExecutor(env, tmp_path)
    with local_registry(executor, program, env, tmp_path / "first") as host:
        assert host.startswith("127.0.0.1:")
        assert (tmp_path / "first/log").read_text("utf-8").startswith("['OTEL_TRACES_EXPORTER']")
    with (
        pytest.raises(EngineError, match="does not start"),
        local_registry(
            executor,
            _program(tmp_path / "bin", "#!/bin/sh\necho no; exit 1\n"),
            env,
            tmp_path / "x",
        ),
    ):
        pytest.fail("it started")


class _Other(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_another_program_on_the_port_is_not_taken_for_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = _program(tmp_path / "bin", "#!/bin/sh\nsleep 0.3; echo address in use; exit 1\n")
    executor = PlumbumExecutor(os.environ, tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Other) as other:
        Thread(target=other.serve_forever, daemon=True).start()
        monkeypatch.setattr("buildlib.registry.local._free_port", lambda: other.server_port)
        with (
            pytest.raises(EngineError, match="address in use"),
            local_registry(executor, program, os.environ, tmp_path / "first"),
        ):
            pytest.fail("it was taken for one")
        other.shutdown()
