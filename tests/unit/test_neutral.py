"""What buildlib says in somebody else's repository names nothing of this one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, git

from buildlib.image.labels import NAMESPACE, names_of

MODULES = sorted((ROOT / "buildlib").rglob("*.py"))
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _own() -> re.Pattern[str]:
    """Return what names a file of this repository, or what it makes."""
    files = git(ROOT, "ls-files").splitlines()
    folders = {name.partition("/")[0] for name in files if "/" in name} - {"buildlib", ".github"}
    # Others have files of these names as well.
    usual = {"README.md", "LICENSE", "Dockerfile", "pyproject.toml", "tasks.py", "CHANGELOG.md"}
    usual.add("noxfile.py")
    alone = {name for name in files if "/" not in name and name[0] != "."} - usual
    places = [rf"{re.escape(name)}/" for name in folders] + [re.escape(name) for name in alone]
    names = r"\bdockerutilities\b|\bauditdu\b|\bbootstrap\.sh\b|(?<!buildlib\.)\bnox\b|smiller"
    return re.compile(rf"(?<![\w/.])(?:{'|'.join(sorted(places))})|{names}")


OWN = _own()


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield every text of a module but docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, _DOCUMENTED)
        and node.body
        and isinstance(node.body[0], ast.Expr)
        and ast.get_docstring(node) is not None
    }
    for node in ast.walk(tree):
        text = isinstance(node, ast.Constant) and id(node) not in docstrings and node.value
        if isinstance(text, str):
            yield node.lineno, text  # type: ignore[attr-defined]


def test_what_is_looked_for_is_found() -> None:
    for text in (
        "run scripts/bootstrap.sh",
        "see docs/builders.md",
        "CONTRIBUTING.md",
        "dockerutilities",
        "io.github.smiller333.buildlib.run",
        "nox -t fast",
    ):
        assert OWN.search(text)
    for text in (
        "docs.docker.com/engine",
        "https://x.example/docs/",
        "pyproject.toml",
        "/app/data",
        "import buildlib.nox",
    ):
        assert not OWN.search(text)


@pytest.mark.parametrize("path", MODULES, ids=[str(one.relative_to(ROOT)) for one in MODULES])
def test_no_text_of_a_module_names_this_repository(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [
        f"{line}: {text!r}"
        for line, text in _texts(tree)
        if OWN.search(text) and text != names_of(NAMESPACE)[1]
    ]
    assert not found, "\n".join(found)
