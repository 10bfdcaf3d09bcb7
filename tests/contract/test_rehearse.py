"""What `docker-rehearse` prepares: a copy of the commit, and what a real release would be."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from conftest import Checkout, git
from gitscript import begin

from buildlib.commands import rehearse
from buildlib.commands.session import Edge
from buildlib.config.load import load_config
from buildlib.git.clone import add_untracked, clone_commit
from buildlib.git.facts import GitFacts, read_changes
from buildlib.project import Project, load_project
from buildlib.publish.receipt import PASSED, GateRecord, Receipt

Make = Callable[..., Checkout]
REGISTRIES = """\
description = "d"
licenses = "MIT"
source = "https://example.org/thing"
[registries.ghcr]
repository = "ghcr.io/you/thing"
username-env = "U"
password-env = "P"
tags = { rules = ["{version}", "latest"] }
[registries.hub]
repository = "docker.io/you/thing"
required = false
[registries.third]
repository = "ghcr.io/others/thing"
[sign]
keyless = true
[verify]
identity = "me"
issuer = "https://issuer.example"
attestations = ["slsaprovenance1"]
"""


def _commit(checkout: Checkout) -> None:
    (checkout.root / ".gitignore").write_text("dist/\n__pycache__/\n*.env\n", encoding="utf-8")
    if not (checkout.root / ".git").exists():
        begin(checkout.root)
    checkout.git("add", "--all")
    checkout.git("commit", "--quiet", "--message", "x", "--allow-empty")


@pytest.fixture
def checkout(make_checkout: Make) -> Checkout:
    made = make_checkout("FROM scratch\nCOPY tasks.py /\n", REGISTRIES)
    _commit(made)
    return made


def _project(checkout: Checkout) -> tuple[Project, GitFacts]:
    project = load_project(checkout.root, {}, now=time.time())
    assert isinstance(project.git, GitFacts)
    return project, project.git


def test_the_dry_run_tells_the_steps_and_what_a_release_would_be(checkout: Checkout) -> None:
    with (checkout.root / "tasks.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    before = sorted(checkout.root.rglob("*"))
    done = checkout.invoke("docker-rehearse", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "update-ref refs/tags/v0.1.0" in done.stdout
    assert "cosign generate-key-pair" in done.stdout
    assert "A real release of this commit, now:" in done.stdout
    assert "git tag  v0.1.0 has to be made: invoke tag v0.1.0" in done.stdout
    assert "the tree has changes that are not committed" in done.stdout
    told = json.loads(checkout.invoke("docker-rehearse", "--dry-run", "--json").stdout)
    assert told["today"]["version"] == "0.1.0"
    assert told["today"]["tags"]["ghcr"] == ["0.1.0", "latest"]
    assert told["today"]["tags"]["hub"] == ["0.1.0", "0.1", "latest"]
    assert len(told["steps"]) == 5
    assert sorted(checkout.root.rglob("*")) == before
    assert git(checkout.root, "tag") == ""


def test_a_commit_with_a_release_tag_is_released_under_it(checkout: Checkout) -> None:
    checkout.git("tag", "v2.0.0")
    told = json.loads(checkout.invoke("docker-rehearse", "--dry-run", "--json").stdout)["today"]
    assert (told["version"], told["tag"], told["refused"]) == ("2.0.0", "", [])
    words = ("docker-rehearse", "--dry-run", "--json", "--tag", "3.0.0-rc.1")
    told = json.loads(checkout.invoke(*words).stdout)["today"]
    assert (told["version"], told["tag"]) == ("3.0.0-rc.1", "v3.0.0-rc.1")


def test_what_forbids_a_real_release_is_told_once(make_checkout: Make) -> None:
    tables = REGISTRIES.partition("[registries")
    checkout = make_checkout("FROM alpine:3.22\n", "".join(tables[1:]))
    _commit(checkout)
    told = json.loads(checkout.invoke("docker-rehearse", "--dry-run", "--json").stdout)["today"]
    loose = [line for line in told["refused"] if "base images are not pinned" in line]
    assert len(loose) == 1
    labels = [line for line in told["refused"] if "no label for" in line]
    assert [line.splitlines()[0] for line in labels] == [
        "the image has no label for: description, licenses, source"
    ]
    bare = make_checkout("FROM scratch\n", folder="bare")
    _commit(bare)
    told = json.loads(bare.invoke("docker-rehearse", "--dry-run", "--json").stdout)["today"]
    assert any("no registry is configured" in line for line in told["refused"])
    assert any("signing is not configured" in line for line in told["refused"])


def test_what_is_missing_is_told_before_anything_is_started(
    checkout: Checkout, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    git_program = next(
        Path(part, "git") for part in os.environ["PATH"].split(":") if Path(part, "git").is_file()
    )
    (tmp_path / "bin/git").symlink_to(git_program)
    done = checkout.invoke("docker-rehearse", PATH=str(tmp_path / "bin"))
    assert done.returncode == 3
    for missing in ("no registry program found", "cosign not found", "hadolint not found"):
        assert missing in done.stderr


def test_no_repository_can_not_be_released(make_checkout: Make) -> None:
    done = make_checkout().invoke("docker-rehearse")
    assert done.returncode == 2
    assert "nothing to release from" in done.stderr


def test_the_copy_is_the_commit_with_its_tags_and_origin(
    checkout: Checkout, tmp_path: Path
) -> None:
    checkout.git("tag", "v0.9.0")
    checkout.git("remote", "add", "origin", "https://example.org/you/thing.git")
    hook = checkout.root / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch ran\n", encoding="utf-8")
    hook.chmod(0o755)
    (checkout.root / "Dockerfile").write_text("FROM changed\n", encoding="utf-8")
    _, facts = _project(checkout)
    copy = tmp_path / "copy"
    clone_commit(facts, copy, "v1.0.0")
    assert (copy / "Dockerfile").read_text("utf-8") == "FROM scratch\nCOPY tasks.py /\n"
    copied, there = _project(Checkout(copy, ""))
    assert set(there.tags) == {"v0.9.0", "v1.0.0"}
    assert (there.revision, there.branch) == (facts.revision, "main")
    assert there.remote == "https://example.org/you/thing.git"
    assert copied.version.value == "1.0.0"
    assert set(git(checkout.root, "tag").split()) == {"v0.9.0"}
    assert not (copy / "ran").exists()


def test_the_copy_has_what_a_release_reads_beside_the_commit(
    make_checkout: Make, tmp_path: Path
) -> None:
    checkout = make_checkout(
        config='[context]\ninclude = ["made.env"]\n'
        '[smoke]\nenv-file = ["test.env"]\nmounts = ["./fixtures:/fixtures"]\n'
    )
    for name in ("made.env", "test.env"):
        (checkout.root / name).write_text("A=b\n", encoding="utf-8")
    (checkout.root / "fixtures").mkdir()
    (checkout.root / "fixtures/a.env").write_text("x", encoding="utf-8")
    _commit(checkout)
    project, facts = _project(checkout)
    copy = tmp_path / "copy"
    clone_commit(facts, copy)
    add_untracked(facts.root, copy, rehearse.untracked(project, facts))
    assert (copy / "made.env").read_text("utf-8") == "A=b\n"
    assert (copy / "test.env").is_file()
    assert (copy / "fixtures/a.env").read_text("utf-8") == "x"
    assert read_changes(copy).paths == ()


def test_registries_and_key_are_replaced_and_their_rules_stay(
    checkout: Checkout, tmp_path: Path
) -> None:
    config = load_config(checkout.root, {})
    found = rehearse.elsewhere(config, ("127.0.0.1:1", "127.0.0.1:2"), tmp_path)
    assert [one.repository for one in found.registries] == [
        "127.0.0.1:1/you/thing",
        "127.0.0.1:2/you/thing",
        "127.0.0.1:1/3/others/thing",
    ]
    assert [one.tags for one in found.registries] == [one.tags for one in config.registries]
    assert [one.required for one in found.registries] == [True, False, True]
    assert {one.username_env for one in found.registries} == {""}
    assert found.signing().key == str(tmp_path / "cosign.key")
    assert not found.signing().keyless
    # Nothing is left, not even a record.
    assert not found.record_settings().enabled
    policy = found.verification()
    assert (policy.key, policy.identity) == (str(tmp_path / "cosign.pub"), "")
    assert policy.attestations == ("slsaprovenance1",)


@pytest.mark.parametrize("more", ["", '[registries.second]\nrepository = "ghcr.io/you/t"\n'])
def test_there_are_two_registries_whatever_is_configured(make_checkout: Make, more: str) -> None:
    config = load_config(make_checkout(config=more).root, {})
    found = rehearse.elsewhere(config, ("127.0.0.1:1", "127.0.0.1:2"), Path("/keys"))
    assert sorted(one.name for one in found.registries) == ["first", "second"]
    assert {one.host for one in found.registries} == {"127.0.0.1:1", "127.0.0.1:2"}


def test_the_copy_is_its_own_project_for_every_command(checkout: Checkout) -> None:
    run = Edge(checkout.root, {}, dry=False, quiet=True)
    copy = rehearse.Copy(
        run, checkout.root, {}, lambda one: rehearse.elsewhere(one, ("h:1", "h:2"), Path("/k"))
    )
    assert copy.console is run.console
    for config in (copy.config(), copy.project().config):
        assert {one.host for one in config.registries} == {"h:1", "h:2"}


def test_what_only_a_real_release_refuses_is_listed_once() -> None:
    named = "the image has no label for: licenses\n  why"
    today = rehearse.Today(version="1", tag="", tags={}, refused=(named,))
    label = "org.opencontainers.image.licenses"
    late = [
        {"rule": "complete-labels", "path": label, "message": f"the label {label} is missing"},
        {"rule": "exec-healthcheck", "path": "", "message": "HEALTHCHECK runs in a shell"},
    ]
    gate = GateRecord(gate="policy", state=PASSED, figures={"refused in a release": late})
    receipt = SimpleNamespace(gates=[gate, GateRecord(gate="size", state=PASSED)])
    found = today.with_late(cast("Receipt", receipt))
    assert found.refused == (named, "exec-healthcheck: HEALTHCHECK runs in a shell")
