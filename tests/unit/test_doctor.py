from __future__ import annotations

import json
from pathlib import Path

from buildlib.doctor import diagnose
from buildlib.executor import Completed
from buildlib.git.facts import NoGit

from fakes import FakeExecutor, a_project, write_project


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
    assert (told["engine"].minimum, told["docker"].minimum) == ("23", "23")
    assert {told[name].state for name in ("docker", "engine")} == {"ok"}


def test_doctor_tells_versions_and_what_is_too_old(tmp_path: Path) -> None:
    info = {
        "ServerVersion": "20.10.24+dfsg1",
        "ClientInfo": {"Version": "20.10.24", "Plugins": [{"Name": "buildx", "Version": "v0.13"}]},
    }
    answers: dict[tuple[str, ...], Completed] = {
        ("docker", "info"): Completed(code=0, stdout=json.dumps(info)),
        ("docker", "buildx"): Completed(code=0, stdout="Name: x\n"),
        ("git", "version"): Completed(code=0, stdout="git version 2.14.1 (Apple Git-1)\n"),
    }
    checks, _ = diagnose(a_project(write_project(tmp_path)), FakeExecutor(answers))
    told = {check.name: check for check in checks}
    assert told["git"].found == "2.14.1 (Apple Git-1), HEAD is v1.2.3"
    for name, minimum in (("git", "2.15"), ("docker", "23"), ("engine", "23")):
        assert (told[name].state, told[name].minimum) == ("note", minimum)
        assert f"{minimum} is the oldest" in told[name].fix


def test_doctor_notes_a_buildx_that_does_not_say_its_version(tmp_path: Path) -> None:
    plugin = {"Name": "buildx", "Version": "v0.0.0+unknown"}
    info = {"ServerVersion": "26", "ClientInfo": {"Version": "26", "Plugins": [plugin]}}
    project = a_project(write_project(tmp_path))
    for help_text, state in (("--buildkitd-config string", "note"), ("--config string", "missing")):
        answers: dict[tuple[str, ...], Completed] = {
            ("docker", "info"): Completed(code=0, stdout=json.dumps(info)),
            ("docker", "buildx", "create"): Completed(code=0, stdout=help_text),
            ("docker", "buildx"): Completed(code=0, stdout="Name: x\n"),
        }
        checks, problems = diagnose(project, FakeExecutor(answers))
        (buildx,) = [check for check in checks if check.name == "buildx"]
        assert (buildx.state, buildx.found) == (state, "v0.0.0+unknown")
        assert buildx.fix
        assert bool(problems) is (state == "missing")
