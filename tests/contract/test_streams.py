"""Standard output that is no UTF-8, or that nobody reads to its end."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import MEASURED, ROOT, TASKS, Checkout

NO_SPACE = os.strerror(errno.ENOSPC)
WIDE = "Größe … 版"


@pytest.fixture(name="project")
def _project(tmp_path: Path) -> Checkout:
    (tmp_path / "tasks.py").write_text(TASKS, encoding="utf-8")
    config = f'image = "thing"\ntitle = "{WIDE}"\n'
    (tmp_path / "buildlib.toml").write_text(config, encoding="utf-8")
    return Checkout(tmp_path, "thing")


def _shell(project: Checkout, line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", line],
        cwd=project.root,
        env=project.environment({}),
        capture_output=True,
        text=True,
        check=False,
    )


ASCII = {"PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0", "LC_ALL": "C"}


@pytest.mark.parametrize(
    "words", [("config",), ("--list",), ("--help", "docker-sbom"), ("docker-bases",)], ids=" ".join
)
def test_output_in_ascii_is_no_error(project: Checkout, words: tuple[str, ...]) -> None:
    done = project.invoke_process(*words, **ASCII, **MEASURED)
    assert "Traceback" not in done.stderr
    assert done.stdout.isascii()
    assert done.returncode == (2 if words == ("docker-bases",) else 0)
    if words == ("config",):
        assert WIDE.encode("ascii", "backslashreplace").decode() in done.stdout


# All that is printed fits into the pipe: only who reads nothing is sure to break it, and one task
# is enough for who reads a line.
@pytest.mark.parametrize(
    ("words", "reader"),
    [
        ("--list", "head -n 1"),
        *((one, "true") for one in ("--list", "--help docker-build", "config", "version --json")),
    ],
)
def test_a_reader_that_has_enough_ends_it_quietly(
    project: Checkout, words: str, reader: str
) -> None:
    done = _shell(project, f"{sys.executable} -m invoke {words} | {reader}")
    assert done.returncode == 0
    assert done.stderr.replace("warning:", "").strip().count("\n") <= 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        *("invoke --list", "invoke version", "invoke config"),
        # What Invoke prints itself is written at the very end.
        "buildlib --print-completion-script bash",
    ],
)
def test_output_that_can_not_be_written_is_an_error_of_its_own(
    project: Checkout, words: str
) -> None:
    done = _shell(project, f"{sys.executable} -m {words} > /dev/full")
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1] == "error: the output can't be written: " + NO_SPACE


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_streams_that_are_closed_go_nowhere(project: Checkout, closed: str) -> None:
    done = _shell(project, f"{sys.executable} -m invoke version {closed}")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert bool(done.stdout) == (">&-" not in closed.split())


def test_a_program_that_only_imports_the_tasks_keeps_its_streams() -> None:
    code = "import sys; before = sys.stdout; import buildlib.tasks; print(sys.stdout is before)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=Checkout(ROOT, "x").environment({}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True\n"
