"""A command with the newest Docker tools, where those are already built."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import GOTOOLS, ROOT

SCRIPT = ROOT / "scripts" / "toolchain.py"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Return an environment whose cache holds every tool; each only says its name."""
    for name, tool in GOTOOLS.CURRENT.items():
        program = tmp_path / "cache" / "buildlib" / "go" / f"{name}@{tool.version}" / name
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho {name}\n", encoding="utf-8")
        program.chmod(0o755)
    (tmp_path / "temporary").mkdir()
    return {
        **os.environ,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PYTHONPATH": str(tmp_path),
    }


def _run(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(SCRIPT), *words]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


def test_docker_finds_the_newest_buildx_and_nothing_is_left(env: dict[str, str]) -> None:
    script = 'echo "$DOCKER_CONFIG"; "$DOCKER_CONFIG/cli-plugins/docker-buildx"; exit 9'
    done = _run(env, "sh", "-c", script)
    folder, said = done.stdout.splitlines()
    assert (done.returncode, said) == (9, "buildx"), done.stderr
    assert not Path(folder).parent.exists()


def test_a_command_that_a_signal_ended_has_the_code_that_a_shell_gives(
    env: dict[str, str],
) -> None:
    assert _run(env, "sh", "-c", "kill -TERM $$").returncode == 143


@pytest.mark.parametrize("words", [(), ("--engine",), ("--engines", "true")])
def test_wrong_use_exits_2(env: dict[str, str], words: tuple[str, ...]) -> None:
    done = _run(env, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: toolchain.py [--engine] COMMAND..." in done.stderr


def test_an_engine_of_ones_own_needs_root(tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nos.geteuid = lambda: 1000\n", encoding="utf-8"
    )
    done = _run(env, "--engine", "true")
    assert (done.returncode, done.stdout) == (3, "")
    assert "scripts/bootstrap.sh --as-root" in done.stderr
