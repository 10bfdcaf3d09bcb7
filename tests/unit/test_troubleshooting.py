"""What the documentation says of errors is what is printed: the messages that it quotes exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {"docs/troubleshooting.md": "", "docs/running.md": "## Troubleshooting"}


def _literals() -> Iterator[str]:
    """Yield every text of the sources, with a break where a value is put in."""
    for folder in ("buildlib", "scripts"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value
                elif isinstance(node, ast.JoinedStr):
                    parts = [
                        one.value if isinstance(one, ast.Constant) else 0 for one in node.values
                    ]
                    yield "".join(one if isinstance(one, str) else "\n" for one in parts)
    for pattern in ("scripts/**/*.sh", "app/**/*.go"):
        yield from (path.read_text("utf-8") for path in sorted(ROOT.glob(pattern)))


LITERALS = "\n".join(_literals())


def _quotes() -> Iterator[tuple[str, str]]:
    """Yield what the first column of each table quotes, with its page."""
    for page, begin in PAGES.items():
        _, _, text = (ROOT / page).read_text("utf-8").partition(begin or "\n")
        for row in re.findall(r"^\| (.*?) \|", text, re.MULTILINE):
            for quote in re.findall(r"`([^`]+)`", row):
                yield page, quote


@pytest.mark.parametrize(("page", "quote"), [*_quotes()])
def test_a_quoted_message_is_printed(page: str, quote: str) -> None:
    parts = [part.strip(" :;,.") for part in quote.split("…")]
    missing = [part for part in parts if part and part not in LITERALS]
    assert not missing, f"{page} quotes what is not printed (write … for a value): {missing}"
