"""With `--json` stdout is one JSON object: an answer, a plan, or an error."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Checkout
from gitscript import commit_all, exclude
from invoke.tasks import Task

from buildlib.publish.receipt import GateRecord, Receipt, write_receipt
from buildlib.tasks.collection import TASKS
from buildlib.tasks.options import fresh

CONFIG = """\
platforms = ["linux/amd64"]
binary-target = "program"

[builders.farm]
driver = "docker-container"

[registries.main]
repository = "127.0.0.1:9/team/shop"

[publish]
gates = ["smoke"]
sign = false

[smoke]
commands = [["--help"]]

[verify]
key = "cosign.pub"
"""
DIGEST = f"sha256:{'1' * 64}"
DOCKERFILE = f"FROM alpine:3.24@{DIGEST} AS program\nCOPY program /\n"


@pytest.fixture
def shop(make_checkout: Callable[..., Checkout], tmp_path: Path) -> Checkout:
    """Return a project at its version 1.2.3, on a machine without docker."""
    made = make_checkout(DOCKERFILE, CONFIG)
    for name in ("program", "cosign.pub"):
        (made.root / name).write_text("x\n", encoding="utf-8")
    (made.root / ".gitignore").write_text("__pycache__/\n", encoding="utf-8")
    commit_all(made.root, "v1.2.3")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("git", "sh"):
        program = shutil.which(name)
        assert program
        (programs / name).symlink_to(program)
    env = {"PATH": str(programs), "HOME": str(tmp_path), "BUILDLIB_BASE_IMAGES": ""}
    return Checkout(made.root, made.image, {**env, "GIT_CONFIG_GLOBAL": os.devnull})


def _names(*options: str) -> set[str]:
    def has(task: Task[Any]) -> bool:
        return set(options) <= {argument.name for argument in fresh(task).get_arguments()}

    return {task.name.replace("_", "-") for task in TASKS.values() if has(task)}


def _answer(shop: Checkout, words: str) -> tuple[int, dict[str, Any]]:
    done = shop.invoke(*words.split(), "--json")
    assert "Traceback" not in done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict), words
    return done.returncode, found


# One that fails of each task; what has a report as well prints that.
FAILING = {
    "docker-build": "--platform x",
    "docker-why": "",
    "docker-report": "--id missing",
    "binary": "--platform plan9",
    "docker-builder": "nothing",
    "docker-run": "",
    "docker-status": "",
    "docker-smoke": "--image missing.tar",
    "docker-size": "--top -1",
    "docker-policy": "--image missing.tar",
    "docker-scan": "--severity bad",
    "docker-sbom": "--image missing.tar",
    "docker-diff": "--old missing.tar",
    "docker-reproduce": "--platform x",
    "docker-bases": "--update --check",
    "docker-publish": "--skip-gate smoke",
    "docker-rehearse": "--skip-gate nothing",
    "docker-push": "--image missing.tar",
    "docker-promote": "x 1.2.4",
    "docker-rollback": "--registry none",
    "docker-verify": "x",
    "version": "--explain",
    "config": "",
    "init": "--dockerfile missing",
    "doctor": "",
}
PLANNED = {
    "docker-build": "",
    "binary": "",
    "docker-builder": "create",
    "docker-run": "",
    "docker-smoke": "",
    "docker-policy": "",
    "docker-reproduce": "",
    "docker-push": "--image image.tar",
    "docker-promote": f"{DIGEST} 1.2.4",
    "docker-verify": f"127.0.0.1:9/team/shop@{DIGEST}",
}
# These ask a registry for what they would do, or have a plan of their own.
ELSEWHERE = {"init", "docker-bases", "docker-rollback", "docker-publish", "docker-rehearse"}


def test_every_task_with_json_is_tried_here() -> None:
    assert FAILING.keys() == _names("json")
    assert PLANNED.keys() == _names("json", "dry_run") - ELSEWHERE


@pytest.mark.unmeasured
@pytest.mark.parametrize(("task", "words"), FAILING.items(), ids=FAILING)
def test_an_error_is_an_object_with_the_same_exit_code(
    shop: Checkout, task: str, words: str
) -> None:
    if task == "config":
        (shop.root / "buildlib.toml").write_text("image = 1\nplatfroms = 2\n", encoding="utf-8")
    code, found = _answer(shop, f"{task} {words}")
    assert code in {2, 3}
    if task == "doctor":
        assert {check["name"] for check in found["checks"]} >= {"docker", "git"}
        return
    (error,) = found.values()
    several = {"problems"} & error.keys()
    assert error.keys() == {"kind", "exit_code", "what", "why", "hint"} | several
    assert error["exit_code"] == code
    assert error["kind"] == {2: "input", 3: "tool"}[code]
    assert error["what"]
    assert bool(several) == (task == "config")


@pytest.mark.parametrize(("task", "words"), PLANNED.items(), ids=PLANNED)
def test_a_dry_run_is_the_list_of_its_commands(shop: Checkout, task: str, words: str) -> None:
    docker = Path(shop.env["PATH"]) / "docker"
    docker.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    docker.chmod(0o755)
    plain = shop.invoke(*f"{task} {words}".split(), "--dry-run")
    code, found = _answer(shop, f"{task} {words} --dry-run")
    assert code == 0
    assert list(found) == ["commands"]
    assert len(found["commands"]) == len(plain.stdout.splitlines()) > 0
    assert all(line.startswith(("docker ", "invoke ", "cosign ", "hadolint ")) or "docker" in line
               for line in found["commands"]), found  # fmt: skip


def test_the_plan_of_a_release_and_a_registry_that_does_not_answer(shop: Checkout) -> None:
    code, found = _answer(shop, "docker-publish --dry-run")
    assert (code, found["version"]) == (0, "1.2.3")
    code, found = _answer(shop, "docker-bases --update --dry-run")
    assert (code, len(found["bases"])) == (6, 1)


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("how", "folder"),
    [
        pytest.param("--resume", "dist", id="resume"),
        pytest.param("--pick-up", "dist", id="pick-up"),
        pytest.param("--resume --only api", "dist/api", id="one of several"),
    ],
)
def test_a_resumed_release_skips_what_it_has_skipped(shop: Checkout, how: str, folder: str) -> None:
    exclude(shop.root, "dist/")
    if "api" in how:
        with (shop.root / "buildlib.toml").open("a", encoding="utf-8") as file:
            file.write('[images.api]\ndockerfile = "Dockerfile"\n')
        shop.git("commit", "--quiet", "--all", "--message", "several")
        shop.git("tag", "--force", "v1.2.3")
    receipt = Receipt(
        image=shop.image,
        version="1.2.3",
        revision=shop.git("rev-parse", "HEAD"),
        mode="release",
        archive="dist/x.oci.tar",
        gates=[
            GateRecord(gate="size", state="passed"),
            GateRecord(gate="smoke", state="left out", detail="no engine"),
            GateRecord(gate="sign", state="left out", detail="publish.sign = false"),
        ],
    )
    write_receipt(shop.root / folder / "receipt.json", receipt)

    def skipped(words: str) -> dict[str, str]:
        code, answer = _answer(shop, f"docker-publish --dry-run {words}")
        assert code == 0
        found = answer.get("images", {}).get("api", answer)
        assert set(found["gates"]) == {"smoke"} - {one["gate"] for one in found["skipped"]}
        return {one["gate"]: one["reason"] for one in found["skipped"]}

    unsigned = {"sign": "publish.sign = false"}
    assert skipped("") == unsigned
    assert skipped(how) == {"smoke": "no engine", **unsigned}
    assert skipped(f"{how} --skip-gate smoke --reason again") == {"smoke": "again", **unsigned}
    # A finished release, and another commit, are not what was begun.
    for changes in ({"finished": True}, {"revision": "f" * 40}):
        write_receipt(shop.root / folder / "receipt.json", replace(receipt, **changes))
        assert skipped(how) == unsigned


def test_the_plan_of_a_release_names_programs_that_are_missing(shop: Checkout) -> None:
    file = shop.root / "buildlib.toml"
    gates = 'gates = ["policy", "scan", "sbom"]\n'
    text = file.read_text(encoding="utf-8").replace('gates = ["smoke"]\nsign = false\n', gates)
    file.write_text(f'{text}[sign]\nkey = "cosign.key"\n', encoding="utf-8")
    shop.git("commit", "--quiet", "--all", "--message", "gates")
    shop.git("tag", "v1.2.4")
    (Path(shop.env["PATH"]) / "env").symlink_to(shutil.which("env") or "")
    done = shop.invoke("docker-publish", "--dry-run")
    assert done.returncode == 0, done.stderr
    for name in ("hadolint", "grype and trivy", "syft", "cosign"):
        assert f"warning: {name} not found" in done.stderr, done.stderr
        assert f"brew install {name.partition(' ')[0]}, or a package or program of " in done.stderr
    skips = "--skip-gate scan --skip-gate sbom --skip-gate sign --skip-gate policy --reason x"
    assert "not found" not in shop.invoke("docker-publish", "--dry-run", *skips.split()).stderr


def test_an_error_has_no_secret_and_no_control_characters(shop: Checkout) -> None:
    code, found = _answer(shop, "docker-verify https://me:hunter2@host/x\x1b[2J")
    assert code == 2
    assert "hunter2" not in json.dumps(found)
    assert "\\u001b" not in json.dumps(found)


def test_an_option_without_its_value_is_an_object_too(shop: Checkout) -> None:
    done = shop.invoke("docker-build", "--json", "--platform")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["what"] == "--platform needs a value"
