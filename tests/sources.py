"""The modules of buildlib, parsed once for all tests that read them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Final

import buildlib

PACKAGE: Final = Path(buildlib.__file__).parent
MODULES: Final = tuple(sorted(PACKAGE.rglob("*.py")))
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Return all that a module consists of."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@cache
def texts(path: Path) -> tuple[tuple[int, str], ...]:
    """Return every text of a module that is not a docstring, with its line."""
    docstrings = {id(one) for one, _ in documented(path)}
    return tuple(
        (node.lineno, node.value)
        for node in nodes(path)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
    )


@cache
def documented(path: Path) -> tuple[tuple[ast.Constant, ast.AST], ...]:
    """Return every docstring of a module, and what it is of."""
    return tuple(
        (node.body[0].value, node)
        for node in nodes(path)
        if isinstance(node, _DOCUMENTED)
        and node.body
        and isinstance(node.body[0], ast.Expr)
        and isinstance(node.body[0].value, ast.Constant)
        and isinstance(node.body[0].value.value, str)
    )
