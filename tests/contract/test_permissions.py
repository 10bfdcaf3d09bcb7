"""What is not for us to read is told as that, by a plan's checks that somebody else makes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

from fakes import write_project

# Root may do everything, so somebody else has to look, who can't look into pytest's folders.
CODE = """\
import os, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from buildlib.build import preflight
from buildlib.errors import InputError
from buildlib.build.planner import BuildRequest, make_build_plan
from fakes import a_project
project = a_project(Path(sys.argv[1]))
dockerfile = project.dockerfile()
os.geteuid() or os.setuid(65534)
try:
    plan = make_build_plan(project, BuildRequest(), dockerfile)
    found = preflight.check_files(plan) or preflight.check_dockerfile(
        plan, project.dockerfile(), preflight.read_ignore(plan)
    )
except InputError as error:
    found = [error]
print(*found, sep="\\n")
"""
SOURCES = "FROM scratch\nCOPY closed/file gone /\n"


@pytest.fixture
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder).resolve()
        path.chmod(0o755)
        write_project(path, 'image = "t"\ncontext = "context"\n', SOURCES)
        (path / "context" / "closed").mkdir(parents=True)
        yield path


def _found(root: Path, closed: str) -> str:
    place = root / closed
    mode = place.stat().st_mode
    place.chmod(0)
    words = [sys.executable, "-c", CODE, str(root), str(ROOT), str(ROOT / "tests")]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    finally:
        place.chmod(mode)
    return done.stdout


def test_what_lies_in_a_closed_directory_is_the_builder_s_to_find(root: Path) -> None:
    found = _found(root, "context/closed")
    assert found == "the Dockerfile copies gone, which the build context does not have\n"


@pytest.mark.parametrize(
    ("closed", "said"),
    [
        pytest.param(
            "context/.dockerignore", "{}/context/.dockerignore can't be read", id="ignores"
        ),
        pytest.param("Dockerfile", "{}/Dockerfile can't be read", id="the Dockerfile"),
    ],
)
def test_a_file_that_is_not_for_us_is_told(root: Path, closed: str, said: str) -> None:
    (root / "context" / ".dockerignore").write_text("*\n", encoding="utf-8")
    assert _found(root, closed) == f"{said.format(root)}\n  Permission denied\n"


def test_a_context_in_a_closed_directory_is_not_called_missing(root: Path) -> None:
    (root / "buildlib.toml").write_text(
        'image = "t"\ncontext = "context/closed/x"\n', encoding="utf-8"
    )
    found = _found(root, "context/closed")
    assert found.startswith(f"build context can't be looked at: {root}/context/closed/x\n")
