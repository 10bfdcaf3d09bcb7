from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from buildlib.commands.init import short_diagnosis
from buildlib.config.config import Config
from buildlib.doctor import registries
from buildlib.doctor.base_images import for_release
from buildlib.doctor.check import MISSING, NOTE, OK, UNASKED, Check
from buildlib.doctor.report import (
    GROUPS,
    Diagnosis,
    check_group,
    check_skips,
    diagnose,
    diagnose_machine,
    parts_of,
)
from buildlib.errors import InputError
from buildlib.executor import Completed
from buildlib.git.facts import NoGit
from buildlib.project import Project, load_project
from buildlib.registry.repository import Repository
from buildlib.registry.transport import LATER
from buildlib.retry import LaterError
from buildlib.terminal.console import Console

from fakes import DOCKER_INFO, FakeExecutor, a_project, git_facts, write_project

INSPECTED = Completed(code=0, stdout="Name: x\nPlatforms: linux/amd64*\n")


def _docker(info: object = DOCKER_INFO, **more: Completed) -> dict[tuple[str, ...], Completed]:
    return {
        ("docker", "info"): Completed(code=0, stdout=json.dumps(info)),
        ("docker", "buildx"): INSPECTED,
        ("docker", "image", "inspect"): Completed(code=0, stdout="sha256:1\n"),
        **{(name,): answer for name, answer in more.items()},
    }


def _diagnose(
    project: Project, answers: dict[tuple[str, ...], Completed], group: str = ""
) -> Diagnosis:
    executor = FakeExecutor(answers)
    return diagnose(project, executor, Console({}, quiet=True), date(2026, 1, 1), group)


def _by_name(found: Diagnosis) -> dict[str, Check]:
    return {one.name: one for checks in found.checks.values() for one in checks}


def test_doctor_tells_what_is_missing_for_the_platforms(tmp_path: Path) -> None:
    config = 'image = "t"\nplatforms = ["linux/amd64", "linux/s390x"]\n[base-images]\n'
    config += f'"alpine:3.22" = {{ source = "oci-layout://{tmp_path}", stand-in = true }}\n'
    config += '"golang:1.24-alpine" = "oci-layout:///nowhere"\n'
    project = a_project(write_project(tmp_path, config), git=NoGit(reason="no git"))
    info = {
        "ServerVersion": "26",
        "OSType": "linux",
        "Architecture": "x86_64",
        "ClientInfo": {"Version": "26", "Plugins": [{"Name": "buildx", "Version": "v0.13.1"}]},
    }
    diagnosis = _diagnose(project, _docker(info))
    assert diagnosis.problems() == []
    told = _by_name(diagnosis)
    assert told["platforms that run here"].fix.startswith("linux/s390x: register emulation")
    placeholder = told["base image alpine:3.22"]
    assert (placeholder.state, placeholder.found) == (NOTE, f"placeholder, oci-layout://{tmp_path}")
    assert told["base image golang:1.24-alpine"].state == MISSING
    assert told["base images of a release"].state == MISSING
    labels = told["labels of a release"]
    assert (labels.state, labels.found) == (
        MISSING,
        "the image has no label for: description, licenses, source",
    )
    assert told["git"].found == "no git"
    assert told["containerd image store"].state == NOTE
    assert told["engine"].found == "26 linux/x86_64"
    assert (told["engine"].minimum, told["docker"].minimum) == ("23", "23")
    assert {told[name].state for name in ("docker", "engine")} == {OK}


@pytest.mark.parametrize(("host", "state"), [("127.0.0.1:5000", OK), ("ghcr.io", MISSING)])
def test_a_registry_of_this_machine_may_get_placeholders(
    tmp_path: Path, host: str, state: str
) -> None:
    config = f'image = "t"\n[registries.main]\nrepository = "{host}/you/t"\n[base-images]\n'
    for base in ("alpine:3.22", "golang:1.24-alpine"):
        config += f'"{base}" = {{ source = "oci-layout://{tmp_path}", stand-in = true }}\n'
    (found,) = for_release(a_project(write_project(tmp_path, config)))
    assert found.state == state


def test_names_are_in_one_column_and_a_group_without_checks_says_what_it_needs() -> None:
    long, short = Check(name="x" * 40, state=OK, found="here"), Check(name="y", state=OK, found="z")
    found = Diagnosis(
        group="",
        parts={"build": ("build",), "smoke": ("run", "policy", "smoke")},
        checks={"build": (long, short), "run": (), "policy": (), "smoke": ()},
        build_problems=(),
    )
    lines = found.as_text().splitlines()
    assert lines[1].index("here") == lines[2].index("z")
    assert lines[3:6] == ["", "smoke", "  needs run and policy"]


def test_without_a_configuration_the_machine_is_checked() -> None:
    found = diagnose_machine({}, FakeExecutor(_docker()))
    assert {"docker", "buildx", "engine"} <= _by_name(found).keys()
    assert found.as_dict()["groups"] == {}
    # Nothing is said to be ready.
    assert "ready" not in found.as_text()


def test_doctor_tells_versions_and_what_is_too_old(tmp_path: Path) -> None:
    info = {
        "ServerVersion": "20.10.24+dfsg1",
        "ClientInfo": {"Version": "20.10.24", "Plugins": [{"Name": "buildx", "Version": "v0.13"}]},
    }
    answers = _docker(info)
    answers["git", "version"] = Completed(code=0, stdout="git version 2.14.1 (Apple Git-1)\n")
    told = _by_name(_diagnose(a_project(write_project(tmp_path)), answers))
    assert told["git"].found == "2.14.1 (Apple Git-1), HEAD is v1.2.3"
    for name, minimum in (("git", "2.15"), ("docker", "23"), ("engine", "23")):
        assert (told[name].state, told[name].minimum) == (NOTE, minimum)
        assert f"{minimum} is the oldest" in told[name].fix


def test_doctor_notes_a_buildx_that_does_not_say_its_version(tmp_path: Path) -> None:
    plugin = {"Name": "buildx", "Version": "v0.0.0+unknown"}
    info = {"ServerVersion": "26", "ClientInfo": {"Version": "26", "Plugins": [plugin]}}
    project = a_project(write_project(tmp_path))
    for help_text, state in (("--buildkitd-config string", NOTE), ("--config string", MISSING)):
        answers: dict[tuple[str, ...], Completed] = {
            ("docker", "buildx", "create"): Completed(code=0, stdout=help_text)
        }
        diagnosis = _diagnose(project, answers | _docker(info))
        buildx = _by_name(diagnosis)["buildx"]
        assert (buildx.state, buildx.found) == (state, "0.0.0+unknown")
        assert buildx.fix
        assert bool(diagnosis.problems()) is (state == MISSING)


def test_what_was_not_asked_is_not_good(tmp_path: Path) -> None:
    config = 'image = "t"\n[registries.ghcr]\nrepository = "ghcr.io/you/t"\n'
    config += '[sign]\nkey = "env://KEY"\n[verify]\nkey = "cosign.pub"\n'
    told = _by_name(_diagnose(a_project(write_project(tmp_path, config)), _docker()))
    for name in ("registry ghcr", "signing key", "base image alpine:3.22"):
        assert told[name].state == UNASKED
        assert "invoke doctor --for" in told[name].fix


def test_the_base_images_of_the_images_below_are_needed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildlib.project.read_git_facts", lambda *_, **__: git_facts())
    files = {
        "buildlib.toml": '[images.web]\ndockerfile = "web"\n'
        'base-images = { "b:l" = "image:base" }\n'
        '[images.base]\ndockerfile = "base"\n'
        'base-images = { "alpine:3" = "oci-layout:///nowhere" }\n',
        "web": "FROM golang:1 AS build\nFROM b:l\nCOPY --from=build /a /\n",
        "base": "FROM alpine:3\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    project = load_project(tmp_path, {}, now=0, image="web")
    found = _by_name(_diagnose(project, _docker()))
    assert {name for name in found if name.startswith("base image ")} == {
        "base image golang:1",
        "base image alpine:3",
    }
    # By the configuration of the image that names it.
    assert "/nowhere" in "".join(found["base image alpine:3"].as_lines())


def test_without_a_dockerfile_nothing_can_be_built(tmp_path: Path) -> None:
    project = a_project(write_project(tmp_path))
    (tmp_path / "Dockerfile").unlink(missing_ok=True)
    diagnosis = _diagnose(project, _docker(), "build")
    assert _by_name(diagnosis)["Dockerfile"].state == MISSING
    assert [(p.exit_code, p.what) for p in diagnosis.problems()] == [
        (3, "missing for build: Dockerfile")
    ]


def test_an_engine_that_does_not_answer_is_not_one_to_run_on(tmp_path: Path) -> None:
    project = a_project(write_project(tmp_path), env={"DOCKER_HOST": "tcp://127.0.0.1:1"})
    refused = {"ServerErrors": ["Cannot connect"], "ClientInfo": DOCKER_INFO["ClientInfo"]}
    told = _by_name(_diagnose(project, _docker(refused), "run"))
    assert told["engine to run on"].state == MISSING


@pytest.mark.parametrize("group", GROUPS)
def test_what_is_asked_for_is_missing_by_name_with_code_3(tmp_path: Path, group: str) -> None:
    config = 'image = "t"\n[scan]\nscanner = "grype"\n[builders.far]\ndriver = "remote"\n'
    config += '[[builders.far.nodes]]\nendpoint = "tcp://127.0.0.1:1"\n'
    project = a_project(write_project(tmp_path, config))
    diagnosis = _diagnose(project, {}, group)
    assert set(diagnosis.checks) == set(parts_of(group, project.config))
    assert {problem.exit_code for problem in diagnosis.problems()} == {3}
    assert f"missing for {group}: " in str(diagnosis.problems()[0])
    assert diagnosis.as_dict()["groups"] == {group: MISSING}
    assert f"missing:   {group}" in diagnosis.as_text()


def test_a_group_needs_what_its_gates_need(tmp_path: Path) -> None:
    config = _config(tmp_path, 'image = "t"\n[publish]\ngates = ["scan"]\nsign = false\n')
    assert parts_of("publish", config) == ("build", "scan", "publish")
    assert parts_of("rehearse", config) == ("build", "scan", "rehearse")
    assert parts_of("run", config) == ("build", "run")
    assert parts_of("smoke", config) == ("build", "run", "policy", "smoke")
    with pytest.raises(InputError, match="unknown 'publihs'") as caught:
        check_group("publihs")
    assert caught.value.hint == "did you mean publish?"


@pytest.mark.parametrize("skips", [[], ["sbom"], ["sbom", "sign"]])
def test_attestations_that_nothing_makes_are_missing(tmp_path: Path, skips: list[str]) -> None:
    config = 'image = "t"\n[publish]\ngates = ["sbom"]\n[sign]\nkey = "env://K"\n'
    config += '[verify]\nkey = "k"\nattestations = ["spdxjson"]\n'
    project = a_project(write_project(tmp_path, config))
    console, today = Console({}, quiet=True), date(2026, 1, 1)
    skipped = check_skips("publish", skips)
    executor = FakeExecutor(_docker())
    found = diagnose(project, executor, console, today, "publish", skipped=skipped)
    assert ("attestations" in _by_name(found)) == (skips == ["sbom"])


def test_what_a_skipped_gate_needs_is_not_asked(tmp_path: Path) -> None:
    config = _config(tmp_path, 'image = "t"\n[publish]\ngates = ["scan", "sbom"]\n')
    assert parts_of("publish", config) == ("build", "scan", "sbom", "sign", "publish")
    skipped = check_skips("publish", ["scan", "sign"])
    assert parts_of("publish", config, skipped) == ("build", "sbom", "publish")
    assert parts_of("rehearse", config, skipped) == ("build", "sbom", "rehearse")
    with pytest.raises(InputError, match="there is no gate 'scna'"):
        check_skips("publish", ["scna"])
    with pytest.raises(InputError, match="--skip-gate needs --for publish"):
        check_skips("scan", ["scan"])
    assert check_skips("", []) == frozenset()


def test_a_registry_tells_who_may_push_and_who_may_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(
        tmp_path,
        'image = "t"\n[registries.near]\nrepository = "127.0.0.1:1/t"\n'
        'username-env = "U"\npassword-env = "P"\n'
        '[registries.spare]\nrepository = "127.0.0.1:2/t"\nrequired = false\n',
    )
    env = {"U": "me", "P": "x", "HOME": str(tmp_path)}
    near, spare = registries.for_registries(config, env, FakeExecutor(), network=True)
    assert (near.state, spare.state) == (MISSING, NOTE)
    monkeypatch.setattr(Repository, "check_writable", lambda _: None)
    near, spare = registries.for_registries(config, env, FakeExecutor(), network=True)
    assert (near.state, near.found) == (
        OK,
        "127.0.0.1:1/t may be pushed to, credentials from environment (U)",
    )
    assert spare.found == "127.0.0.1:2/t may be pushed to, without credentials"


def _config(folder: Path, text: str) -> Config:
    return a_project(write_project(folder, text)).config


def test_init_says_how_to_check_what_it_did_not() -> None:
    def shown(state: str) -> str:
        checks = {"build": (Check(name="x", state=state, found="y"),), "run": ()}
        parts = {name: (name,) for name in checks}
        found = Diagnosis(group="", parts=parts, checks=checks, build_problems=())
        return short_diagnosis(found, "buildlib")

    assert "buildlib doctor --for build asks the registry" in shown(UNASKED)
    assert "--for build" not in shown(OK)


def test_a_registry_that_is_down_is_not_told_as_a_push(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(_: Repository) -> None:
        raise LaterError("it did not answer", hint=f"{LATER}; what exists is not sent again")

    monkeypatch.setattr(Repository, "check_writable", down)
    config = 'image = "t"\n[registries.local]\nrepository = "127.0.0.1:1/t"\n'
    told = _by_name(_diagnose(a_project(write_project(tmp_path, config)), _docker(), "publish"))
    assert told["registry local"].fix == "start it, or check the address 127.0.0.1:1"
