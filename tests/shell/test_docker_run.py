"""The old script's interface: each line comes to the task that does it now."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

BOOTSTRAP = '#!/bin/sh\nprintf "<%s>" "$@"\n'


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Give a copy of the script beside a bootstrap that only shows what it is told."""
    folder = tmp_path / "repo" / "scripts"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "docker-run.sh", folder)
    (folder / "bootstrap.sh").write_text(BOOTSTRAP, encoding="utf-8")
    (folder / "bootstrap.sh").chmod(0o755)
    return folder / "docker-run.sh"


def _run(script: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(script), *words],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


LINES = {
    "": "docker-run",
    "run": "docker-run",
    "build": "docker-build",
    "run-persistent": "docker-run --persistent",
    "--persistent": "docker-run --persistent",
    "-p": "docker-run --persistent",
    "run -p": "docker-run --persistent",
    "run-persistent --port 9000": "docker-run --persistent --port 9000",
    "--socket /x.sock": "docker-run --socket /x.sock",
    "-s /x.sock run": "docker-run --socket /x.sock",
    "--socket=/x.sock": "docker-run --socket /x.sock",
    "--port=9000": "docker-run --port 9000",
    "-p --data-dir /d": "docker-run --persistent --data-dir /d",
    "run-persistent --data-dir=/d": "docker-run --persistent --data-dir /d",
    "--data-dir /d": "docker-run",
    "stop": "docker-stop",
    "clean": "docker-clean --images",
    "logs": "docker-logs --follow",
    "shell": "docker-shell",
}


@pytest.mark.parametrize("line", LINES, ids=[line or "nothing" for line in LINES])
def test_each_line_comes_to_its_task(script: Path, line: str) -> None:
    done = _run(script, *line.split())
    root = script.parent.parent
    words = ["invoke", "--search-root", str(root), *LINES[line].split()]
    assert (done.returncode, done.stdout) == (0, "".join(f"<{word}>" for word in words))


def test_blanks_stay_where_they_are(script: Path) -> None:
    done = _run(script, "-p", "--data-dir", "/a b", "--socket", "/c  d")
    assert done.stdout.endswith("<--persistent><--socket></c  d><--data-dir></a b>")


@pytest.mark.parametrize("word", ["help", "--help", "-h"])
def test_help(script: Path, word: str) -> None:
    done = _run(script, word)
    assert done.returncode == 0
    for name in ("build", "run-persistent", "--persistent", "--data-dir", "DOCKER_SOCKET"):
        assert name in done.stdout


BAD = ["--prot 1", "frob", "--port", "run stop", "-s"]


@pytest.mark.parametrize("line", BAD)
def test_what_it_does_not_know_exits_2(script: Path, line: str) -> None:
    done = _run(script, *line.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert "see --help" in done.stderr


def test_the_real_one_reaches_the_real_task() -> None:
    done = subprocess.run(
        [str(ROOT / "scripts" / "docker-run.sh"), "--port", "x"],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "not a port" in done.stderr
