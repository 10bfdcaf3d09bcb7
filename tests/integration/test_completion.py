"""Completion in real shells: what is typed, one press of the key, and what runs then."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from conftest import ROOT, TASKS
from terminal import on_a_terminal

# No engine is asked; this session has the shells.
pytestmark = pytest.mark.engine
SHELLS = {
    "bash": (
        ("/usr/bin/env", "bash", "--norc", "--noprofile", "-i"),
        'eval "$(buildlib completion bash)"',
    ),
    "zsh": (("/usr/bin/env", "zsh", "-f", "-i"), 'eval "$(buildlib completion zsh)"'),
    "fish": (
        ("/usr/bin/env", "fish", "--no-config", "--private"),
        "buildlib completion fish | source",
    ),
}
# What is typed before the key is pressed, and the rest of the line then.
TYPED = {
    "buildlib docker-bui": "ld",
    "buildlib docker-builder cr": "eate",
    "buildlib docker-build --platform=linux/p": "pc64le",
    "buildlib docker-verify ghcr.io/me/thing:lat": "est",
    # Files are left to the shell.
    "buildlib docker-smoke --junit buildlib.to": "ml",
    "invoke docker-publish --skip-gate repro": "ducible",
}
CONFIG = """\
image = "thing"
platforms = ["linux/riscv64", "linux/ppc64le"]
[registries.ghcr]
repository = "ghcr.io/me/thing"
"""
# It completes, and otherwise only keeps what it was called with.
PROGRAM = """\
#!/bin/sh
case $1 in --complete | completion) exec {python} -m {module} "$@" ;; esac
echo "{name} $*" >>"$CALLED"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "buildlib.toml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "tasks.py").write_text(TASKS, encoding="utf-8")
    (tmp_path / "bin").mkdir()
    for name in ("buildlib", "invoke"):
        path = tmp_path / "bin" / name
        text = PROGRAM.format(python=sys.executable, module=name, name=name)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_tasks_options_and_values(place: Path, shell: str) -> None:
    argv, load = SHELLS[shell]
    called = place / "called"
    called.touch()
    env = {
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(place),
        "TERM": "linux",
        "LANG": "C.UTF-8",
        "CALLED": str(called),
    }
    with on_a_terminal(argv, place, env, columns=120) as terminal:
        terminal.type(f"{load}; echo rea'dy'\n")
        terminal.until(lambda text: "\nready" in text)
        for number, (typed, rest) in enumerate(TYPED.items(), 1):
            terminal.type(f"{typed}\t")
            terminal.until(lambda text, whole=typed + rest: whole in text)  # type: ignore[misc]
            terminal.type("\n")
            terminal.until(lambda _, n=number: called.read_text().count("\n") == n)  # type: ignore[misc]
    lines = [line.rstrip() for line in called.read_text(encoding="utf-8").splitlines()]
    assert lines == [typed + rest for typed, rest in TYPED.items()]
