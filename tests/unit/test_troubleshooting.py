"""What the documentation says of errors is what is printed: the messages that it quotes exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {"docs/troubleshooting.md": "", "docs/running.md": "## Troubleshooting"}


def _texts(constant: object) -> Iterator[str]:
    """Yield the texts in a constant of a program, which may be a function or a tuple."""
    if isinstance(constant, str):
        yield constant
    inner = constant.co_consts if isinstance(constant, CodeType) else constant
    for one in inner if isinstance(inner, tuple | frozenset) else ():
        yield from _texts(one)


@cache
def _literals() -> str:
    """Return every text of the sources, with a break where a value is put in."""
    paths = [path for folder in ("buildlib", "scripts") for path in (ROOT / folder).rglob("*.py")]
    codes = (compile(path.read_text("utf-8"), path.name, "exec") for path in paths)
    shown = [path for pattern in ("scripts/**/*.sh", "app/**/*.go") for path in ROOT.glob(pattern)]
    texts = [text for code in codes for text in _texts(code)]
    return "\n".join([*texts, *(path.read_text("utf-8") for path in shown)])


def _quotes(page: str) -> Iterator[str]:
    """Yield what the first column of each table of a page quotes."""
    _, _, text = (ROOT / page).read_text("utf-8").partition(PAGES[page] or "\n")
    for row in re.findall(r"^\| (.*?) \|", text, re.MULTILINE):
        yield from re.findall(r"`([^`]+)`", row)


@pytest.mark.unmeasured
@pytest.mark.parametrize("page", PAGES)
def test_the_quoted_messages_are_printed(page: str) -> None:
    quotes = [*_quotes(page)]
    assert quotes
    parts = [part.strip(" :;,.") for quote in quotes for part in quote.split("…")]
    missing = [part for part in parts if part and part not in _literals()]
    assert not missing, f"{page} quotes what is not printed (write … for a value): {missing}"
