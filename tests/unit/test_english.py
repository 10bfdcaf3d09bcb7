"""What people read is plain English: without the turns that house rules and readers dislike."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "buildlib").rglob("*.py"))
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "benchmarks" / "README.md",
]
# "There is no X" is plain; "X is no Y" is not.
AVOIDED = re.compile(
    r"(?<!here )\b(?:is|are) (?:none\b|no (?!longer|more|need|other|one\b))"
    r"|\b[Nn]obody\b|\bstrangers?\b|\banew\b|\bmend(?:s|ed|ing)?\b|\bwho we are\b|\bbroken off\b"
    r"|^(?:Who|Of) [^?]*$"
)


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield what a module may print: its texts, and of its docstrings those that are a task's."""
    tree = ast.parse(path.read_text("utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    private = set()
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            decorators = getattr(node, "decorator_list", [])
            if not any(ast.unparse(one).startswith("task(") for one in decorators):
                private.add(id(node.body[0].value))  # type: ignore[attr-defined]
    for node in ast.walk(tree):
        text = isinstance(node, ast.Constant) and id(node) not in private and node.value
        if isinstance(text, str):
            yield node.lineno, text  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", MODULES, ids=[str(one.relative_to(ROOT)) for one in MODULES])
def test_messages_are_plain_english(path: Path) -> None:
    found = [f"{line}: {text!r}" for line, text in _texts(path) if AVOIDED.search(text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("page", PAGES, ids=[str(one.relative_to(ROOT)) for one in PAGES])
def test_the_documentation_is_plain_english(page: Path) -> None:
    text = re.sub(r"(?s)```.*?```|`[^`]*`", "", page.read_text("utf-8"))
    lines = text.splitlines()
    found = [f"{n}: {line}" for n, line in enumerate(lines, 1) if AVOIDED.search(line)]
    assert not found, "\n".join(found)
