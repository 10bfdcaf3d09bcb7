"""What holds for every work tree: what is released is the commit, and what is not is told."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from conftest import git
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from buildlib.build import preflight
from buildlib.build.checkout import from_commit
from buildlib.build.context import uncommitted
from buildlib.build.planner import BuildRequest, make_build_plan
from buildlib.project import load_project

FOLDERS = st.sampled_from(["a", "b c", ".venv", "dist", "data", "bin", "[x]", "node_modules"])
NAMES = st.sampled_from([".env", "f", "é.txt", "-x", "receipt.json", "*", "c.db", "!g"])
PATHS = st.builds(
    lambda folders, name: "/".join((*folders, name)), st.lists(FOLDERS, max_size=2), NAMES
)
IGNORED = st.lists(st.sampled_from([".env", "a", "**/c.db", "node_modules", "dist", "!a/f"]))
TAKEN = st.sampled_from([".", "./", "a", "a/", "*", "a/*", "dist/f", "b?c"])
CONFIG = 'image = "t"\nbinary-target = "b"\n[run]\ndata-path = "/d"\n'
FILES = st.dictionaries(PATHS, st.sampled_from(["1", "22"]), max_size=6)


def _write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def _commit(root: Path, files: dict[str, str]) -> None:
    git(root, "init", "--quiet", "--initial-branch=main", ".")
    _write(root, files)
    git(root, "add", "--force", "--all")
    git(root, "commit", "--quiet", "--message=c")


def _files(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): path.read_text("utf-8")
        for path in root.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(root).parts
    }


# To shrink one would take minutes, as git is started for each.
@settings(max_examples=12, phases=[Phase.generate])
@given(FILES, FILES, IGNORED, IGNORED, TAKEN, st.booleans())
def test_a_release_is_its_commit_and_a_build_tells_what_no_commit_has(
    committed: dict[str, str],
    beside: dict[str, str],
    gitignore: list[str],
    dockerignore: list[str],
    taken: str,
    hidden: bool,
) -> None:
    own = {
        "buildlib.toml": CONFIG,
        "Dockerfile": f"FROM scratch\nCOPY {taken} /x/\n",
        ".gitignore": "\n".join(gitignore),
        ".dockerignore": "\n".join(dockerignore),
    }
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "repo").resolve()
        root.mkdir()
        _commit(root, committed | own)
        if hidden and committed:
            git(root, "update-index", "--assume-unchanged", "--", min(committed))
        _write(root, beside)
        project = load_project(root, {"HOME": folder, "PATH": os.environ["PATH"]}, now=0)
        with from_commit(project) as released:
            assert _files(released.context) == committed | own
        handover = Path(folder, "handover")
        plan = make_build_plan(project, BuildRequest(), project.dockerfile(), handover=handover)
        ignore = preflight.read_ignore(plan)
        told = uncommitted(project, plan, ignore)
    others = set(beside) - set(committed)
    # Folders of which git has nothing are told as one.
    assert all(any(path.startswith(name) for path in others) for name in told)
    if taken in {".", "./"}:
        read = {path for path in others if not ignore.excludes(path, directory=False)}
        assert all(path.startswith(told) for path in read)
        mixed = {path.partition("/")[0] for path in committed}
        assert not {path.partition("/")[0] for path in read} & ({"dist", "bin", "data"} - mixed)
