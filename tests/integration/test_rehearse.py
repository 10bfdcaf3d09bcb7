"""A test release by `docker-rehearse`: it is whole, and nothing of it stays."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import MEASURED, Checkout, docker
from gitscript import commit_all
from releases import DOCKERFILE, IGNORE

pytestmark = [pytest.mark.release, pytest.mark.usefixtures("engine")]
Make = Callable[..., Checkout]
CONFIG = """\
platforms = ["linux/amd64", "linux/arm64"]
[publish]
gates = ["size", "policy"]
[registries.ghcr]
repository = "ghcr.io/you/thing"
username-env = "NOBODY_HAS_THIS"
password-env = "NOR_THIS"
[sign]
key = "cosign.key"
[verify]
key = "cosign.pub"
attestations = ["slsaprovenance1"]
"""


@pytest.fixture
def checkout(make_checkout: Make, tmp_path: Path) -> Checkout:
    """Return a repository, whose tasks have a directory of their own for what passes."""
    made = make_checkout(DOCKERFILE, CONFIG)
    (made.root / ".dockerignore").write_text(IGNORE, encoding="utf-8")
    (made.root / ".gitignore").write_text("dist/\n__pycache__/\n", encoding="utf-8")
    (made.root / "program").write_text("one", encoding="utf-8")
    commit_all(made.root)
    (tmp_path / "passing").mkdir()
    return replace(made, env={"TMPDIR": str(tmp_path / "passing")})


def _running(folder: Path) -> list[str]:
    """Return the processes that have a path below a directory in their command line."""
    listed = subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if str(folder) in line]


def _state(checkout: Checkout) -> tuple[Sequence[str], ...]:
    """Return what a test release must leave as it was: the repository, and this machine."""
    files = sorted(str(path) for path in checkout.root.rglob("*") if "__pycache__" not in str(path))
    passing = Path(checkout.env["TMPDIR"])
    return (
        files,
        checkout.git("for-each-ref").splitlines(),
        [str(path) for path in passing.iterdir()],
        _running(passing),
        docker("image", "ls", "--quiet", checkout.image).splitlines(),
    )


def test_a_test_release_is_whole_and_leaves_nothing(checkout: Checkout) -> None:
    before = _state(checkout)
    done = checkout.invoke_process("docker-rehearse", "--json", **MEASURED)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    receipt = told["receipt"]
    assert (receipt["version"], receipt["finished"], receipt["rehearsal"]) == ("0.1.0", True, True)
    assert sorted(receipt["targets"]) == ["ghcr", "second"]
    for target in receipt["targets"].values():
        assert sorted(target["tags"]) == ["0.1", "0.1.0", "latest"]
        assert target["signed_by"].startswith("key sha256:")
    assert told["today"]["tags"] == {"ghcr": ["0.1.0", "0.1", "latest"]}
    assert _state(checkout) == before


def test_a_gate_that_fails_ends_it_and_nothing_stays(checkout: Checkout) -> None:
    config = checkout.root / "buildlib.toml"
    config.write_text(
        config.read_text("utf-8") + '[smoke]\nsize-budget = "1 B"\n', encoding="utf-8"
    )
    checkout.git("commit", "--quiet", "--all", "--message", "too small")
    before = _state(checkout)
    done = checkout.invoke_process("docker-rehearse")
    assert done.returncode == 7, done.stderr
    assert "size    failed" in done.stdout
    assert "the copy and its images are removed; invoke docker-smoke" in done.stderr
    assert _state(checkout) == before


def test_uncommitted_configuration_is_not_in_the_copy(checkout: Checkout) -> None:
    checkout.git("rm", "--quiet", "--cached", "buildlib.toml")
    checkout.git("commit", "--quiet", "--message", "without")
    before = _state(checkout)
    done = checkout.invoke_process("docker-rehearse")
    assert done.returncode == 2
    assert "the commit has no buildlib.toml" in done.stderr
    assert _state(checkout) == before


def test_killed_it_leaves_no_registry(
    checkout: Checkout, end_group: Callable[[subprocess.Popen[str]], None]
) -> None:
    passing = Path(checkout.env["TMPDIR"])
    process = checkout.start("docker-rehearse")
    end_group(process)
    assert process.stdout
    assert any(line.startswith("pushing ") for line in process.stdout)
    assert len([line for line in _running(passing) if " serve " in line]) >= len(
        ("first", "second")
    )
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while _running(passing):
        assert time.monotonic() < deadline, _running(passing)
        time.sleep(0.1)


def test_interrupted_it_leaves_nothing(
    checkout: Checkout, end_group: Callable[[subprocess.Popen[str]], None]
) -> None:
    before = _state(checkout)
    process = checkout.start("docker-rehearse")
    end_group(process)
    assert process.stdout
    seen = []
    for line in process.stdout:
        seen.append(line)
        if line.startswith("signing "):
            process.send_signal(signal.SIGINT)
            break
    rest = process.stdout.read()
    assert process.wait(timeout=60) == 130, "".join(seen) + rest
    assert "interrupted" in rest
    assert _state(checkout) == before
