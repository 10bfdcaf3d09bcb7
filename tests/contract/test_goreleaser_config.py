"""`goreleaser-config` at the command line, and this repository's own file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Checkout
from gitscript import commit_all

CONFIG = """
platforms = ["linux/amd64", "linux/arm64"]
[registries.one]
repository = "one.example/thing"
"""
Make = Callable[..., Checkout]


@pytest.fixture
def checkout(make_checkout: Make) -> Checkout:
    made = make_checkout("FROM alpine:3.22\n", CONFIG)
    commit_all(made.root)
    return made


def _file(checkout: Checkout) -> Path:
    return checkout.root / ".goreleaser.yaml"


def test_it_is_written_checked_and_found_out_of_step(checkout: Checkout) -> None:
    missing = checkout.invoke("goreleaser-config", "--check")
    assert missing.returncode == 7
    assert "+dockers_v2:" in missing.stdout
    assert not _file(checkout).exists()
    assert checkout.invoke("goreleaser-config").returncode == 0
    assert checkout.invoke("goreleaser-config", "--check").returncode == 0
    text = _file(checkout).read_text(encoding="utf-8")
    _file(checkout).write_text(f"# mine\n{text}# mine too\n", encoding="utf-8")
    assert checkout.invoke("goreleaser-config", "--check").returncode == 0
    config = checkout.root / "buildlib.toml"
    config.write_text(config.read_text(encoding="utf-8").replace("one.example", "two.example"))
    done = checkout.invoke("goreleaser-config", "--check")
    assert done.returncode == 7
    assert "+      - 'two.example/thing'" in done.stdout
    dry = checkout.invoke("goreleaser-config", "--dry-run")
    assert (dry.returncode, "two.example" in dry.stdout) == (0, True)
    assert "two.example" not in _file(checkout).read_text(encoding="utf-8")
    assert checkout.invoke("goreleaser-config").returncode == 0
    assert _file(checkout).read_text(encoding="utf-8") == (
        f"# mine\n{text}# mine too\n".replace("one.example", "two.example")
    )


def test_a_pin_makes_it_another_until_it_is_written_again(checkout: Checkout) -> None:
    assert checkout.invoke("goreleaser-config").returncode == 0
    digest = "sha256:" + "1" * 64
    checkout.dockerfile(f"FROM alpine:3.22@{digest}\n")
    done = checkout.invoke("goreleaser-config", "--check")
    assert done.returncode == 7
    assert f"+      'org.opencontainers.image.base.digest': '{digest}'" in done.stdout
    assert checkout.invoke("goreleaser-config").returncode == 0
    assert checkout.invoke("goreleaser-config", "--check").returncode == 0


def test_what_this_machine_adds_is_not_in_the_file(checkout: Checkout, tmp_path: Path) -> None:
    assert checkout.invoke("goreleaser-config").returncode == 0
    replaced = tmp_path / "map.toml"
    replaced.write_text(
        '[base-images]\n"alpine:3.22" = { source = "oci-layout:///x@sha256:'
        + "1" * 64
        + '", stand-in = true }\n',
        encoding="utf-8",
    )
    env = {
        "BUILDLIB_BASE_IMAGES": str(replaced),
        "BUILDLIB_TITLE": "of this machine",
        "VERSION": "9.9.9",
        "SOURCE_DATE_EPOCH": "1",
    }
    assert checkout.invoke("goreleaser-config", "--check", **env).returncode == 0
    other = checkout.root / "dist" / "machine.yaml"
    assert checkout.invoke("goreleaser-config", "--output", str(other), **env).returncode == 0
    text = other.read_text(encoding="utf-8")
    assert "--build-context=alpine:3.22=oci-layout:///x" in text
    assert "buildlib.stand-ins': 'alpine:3.22'" in text
    assert "'of this machine'" in text
    assert "stand-in" not in _file(checkout).read_text(encoding="utf-8")


def test_what_is_held_back_is_what_a_backport_leaves_alone(checkout: Checkout) -> None:
    held = ("goreleaser-config", "--held-back")
    checkout.git("tag", "v2.0.0")
    assert checkout.invoke(*held).stdout == "none\n"
    checkout.git("commit", "--quiet", "--allow-empty", "--message", "two")
    checkout.git("tag", "v1.9.0")
    assert checkout.invoke(*held).stdout == "latest\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param(("--check", "--output", "x"), 2, "contradicts", id="check and output"),
        pytest.param(("--output", "."), 2, "can't be", id="a directory as the output"),
    ],
)
def test_bad_input_is_told(
    checkout: Checkout, words: tuple[str, ...], code: int, said: str
) -> None:
    done = checkout.invoke("goreleaser-config", *words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_our_own_file_is_what_follows_from_our_configuration() -> None:
    done = Checkout(ROOT, "").invoke("goreleaser-config", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_run_that_could_change_what_was_committed() -> None:
    told = yaml.safe_load((ROOT / ".goreleaser.yaml").read_text(encoding="utf-8"))
    assert "before" not in told
    assert not [name for build in told["builds"] for name in build if name == "hooks"]
    assert not [name for archive in told["archives"] for name in archive if name == "hooks"]


def test_both_ways_compile_with_the_same_flags() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    goreleaser = (ROOT / ".goreleaser.yaml").read_text(encoding="utf-8")
    (ours,) = re.findall(r'-ldflags "(.*)"', dockerfile)
    (theirs,) = re.findall(r"^      - (-s -w .*)$", goreleaser, re.MULTILINE)
    templates = {"{{ .Version }}": "${VERSION}", "{{ .FullCommit }}": "${REVISION}"}
    templates["{{ .CommitDate }}"] = "${CREATED}"
    for template, variable in templates.items():
        theirs = theirs.replace(template, variable)
    assert theirs == ours
    assert "go build -trimpath" in dockerfile
    assert "flags: [-trimpath]" in goreleaser
    assert "CGO_ENABLED=0 GOFLAGS=-buildvcs=false" in dockerfile
    assert "env: [CGO_ENABLED=0, GOFLAGS=-buildvcs=false]" in goreleaser
