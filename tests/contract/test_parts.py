"""GitPython and plumbum as buildlib loads them: in parts, and the whole for everybody else."""

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
START = """\
import os, sys
from pathlib import Path
from buildlib.executor import PlumbumExecutor
assert PlumbumExecutor(os.environ, Path()).run(["echo", "hello"]).stdout == "hello\\n"
"""
# A GitPython of another make, whose `git.cmd` does not load without the package.
NEEDY = {
    "__init__.py": "class Whole: pass\n",
    "exc.py": "class GitCommandNotFound(Exception): pass\n",
    "cmd.py": """\
from subprocess import PIPE, Popen
from git import Whole
class Started:
    def __init__(self, argv): self.proc = Popen(argv, stdout=PIPE, stderr=PIPE)
class Git:
    def __init__(self, root): pass
    def execute(self, argv, **options): return Started(["echo", f"git version of {Whole.__name__}"])
""",
}


# A plumbum of another make, whose machines do not load without the package.
NEEDY_PLUMBUM = {
    "__init__.py": "class Whole: pass\n",
    "path.py": "",
    "machines/__init__.py": "",
    "machines/local.py": "from plumbum import Whole\nlocal = Whole\n",
    "commands/__init__.py": "",
    "commands/processes.py": "class CommandNotFound(Exception): pass\n",
}
LOADED = """\
from buildlib.executor import _plumbum
assert _plumbum().local.__name__ == "Whole"
"""


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


@pytest.mark.parametrize(
    ("code", "wanted", "spared"),
    [
        pytest.param(
            ASK, "git.cmd", {"git", "git.repo", "git.index", "git.remote"}, id="GitPython"
        ),
        pytest.param(
            START,
            "plumbum.machines.local",
            {"plumbum", "plumbum.machines", "plumbum.machines.ssh_machine", "plumbum.colorlib"},
            id="plumbum",
        ),
    ],
)
def test_only_what_starts_processes_is_loaded(code: str, wanted: str, spared: set[str]) -> None:
    said = _python(code, options=("-X", "importtime"))
    loaded = {line.rpartition("|")[2].strip() for line in said.splitlines()}
    assert wanted in loaded
    assert not loaded & spared


@pytest.mark.parametrize("before", ["", "import git\n"], ids=["afterwards", "before"])
def test_who_imports_git_gets_the_whole_of_it(before: str) -> None:
    whole = "import git\nassert git.Repo(Path()).git_dir\nassert git.cmd.Git is git.Git\n"
    assert _python(f"{before}{ASK}{whole}") == ""


@pytest.mark.parametrize("before", ["", "import plumbum\n"], ids=["afterwards", "before"])
def test_who_imports_plumbum_gets_the_whole_of_it(before: str) -> None:
    whole = "import plumbum\nassert plumbum.local['echo']('hello') == 'hello\\n'\n"
    whole += "from plumbum.cmd import echo\nassert echo['a'] & plumbum.TF\n"
    assert _python(f"{before}{START}{whole}") == ""


@pytest.mark.parametrize(
    ("package", "files", "code", "part"),
    [
        pytest.param("git", NEEDY, ASK, "git.cmd", id="GitPython"),
        pytest.param("plumbum", NEEDY_PLUMBUM, LOADED, "plumbum.machines.local", id="plumbum"),
    ],
)
def test_a_package_whose_parts_need_the_whole_is_loaded_whole(
    tmp_path: Path, package: str, files: dict[str, str], code: str, part: str
) -> None:
    for name, text in files.items():
        path = tmp_path / package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert _python(f"{code}import sys\nassert {part!r} in sys.modules\n", tmp_path) == ""


def test_a_package_that_is_not_there_is_an_import_error(tmp_path: Path) -> None:
    code = "from buildlib.parts import import_parts\n"
    code += "try: import_parts(('nowhere',), lambda: __import__('nowhere'))\n"
    code += "except ImportError as error: print(error)\n"
    assert _python(code, tmp_path) == "No module named 'nowhere'\n"
