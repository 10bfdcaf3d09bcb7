"""GitPython as buildlib loads it: what starts git, and the whole for everybody else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

ASK = """\
import sys
from pathlib import Path
from buildlib.gitcommand import GitCommand
assert GitCommand(Path()).ask("--version").startswith("git version")
"""
# A GitPython of another make, whose `git.cmd` does not load without the package.
NEEDY = {
    "__init__.py": "class Whole: pass\n",
    "exc.py": "class GitCommandNotFound(Exception): pass\n",
    "cmd.py": """\
from git import Whole
class Git:
    def __init__(self, root): pass
    def execute(self, argv, **options): return 0, f"git version of {Whole.__name__}", ""
""",
}


def _python(code: str, *path: Path, options: tuple[str, ...] = ()) -> str:
    done = subprocess.run(
        [sys.executable, *options, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT]))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_only_what_starts_git_is_loaded() -> None:
    said = _python(ASK, options=("-X", "importtime"))
    loaded = {line.rpartition("|")[2].strip() for line in said.splitlines()}
    assert "git.cmd" in loaded
    assert not loaded & {"git", "git.repo", "git.index", "git.remote"}


@pytest.mark.parametrize("before", ["", "import git\n"], ids=["afterwards", "before"])
def test_who_imports_git_gets_the_whole_of_it(before: str) -> None:
    whole = "import git\nassert git.Repo(Path()).git_dir\nassert git.cmd.Git is git.Git\n"
    assert _python(f"{before}{ASK}{whole}") == ""


def test_a_gitpython_whose_parts_need_the_whole_is_loaded_whole(tmp_path: Path) -> None:
    package = tmp_path / "git"
    package.mkdir()
    for name, text in NEEDY.items():
        (package / name).write_text(text, encoding="utf-8")
    assert _python(f"{ASK}assert 'git.cmd' in sys.modules\n", tmp_path) == ""
