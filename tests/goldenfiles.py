"""Golden files: what a user or a program reads, as it was when somebody last looked at it.

`pytest --update-golden` writes them again; what changed is then seen in the commit.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "golden"
# What differs from run to run, and what stands for it.
_MASKS: Final = {
    r"sha256:[0-9a-f]{64}": "sha256:DIGEST",
    r"\b[0-9a-f]{40}\b": "REVISION",
    r"\bbuildlib-reproduce-[0-9a-f]{12}\b": "buildlib-reproduce-NAME",
    r"\bbuildlib-([a-z]+)-[0-9a-f]{8}-\d+-[a-z0-9_]+": r"buildlib-\1-NAME",
    r"\brun-[0-9a-f]{8}-\d+-[0-9a-f]{8}\b": "run-ID",
    r"/git-[0-9a-f]{12}\b": "/git-NAME",
    r"\b127\.0\.0\.1:\d{4,5}\b": "127.0.0.1:PORT",
}


def masked(text: str, names: Mapping[str, str]) -> str:
    """Return a text without what differs from run to run.

    Args:
        text: of a program.
        names: what stands for what, such as for a temporary directory; the longest come first.
    """
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, names[name])
    for pattern, mask in _MASKS.items():
        text = re.sub(pattern, mask, text)
    return text


class Golden:
    """Compares with golden files, or writes them.

    Args:
        update: write them.
    """

    def __init__(self, *, update: bool) -> None:
        self.update = update

    def check(self, name: str, text: str) -> None:
        """Fail unless a file has this text.

        Args:
            name: of the file, below tests/golden.
            text: what it should have.
        """
        path = FOLDER / name
        if self.update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        known = path.read_text(encoding="utf-8") if path.exists() else ""
        lines = difflib.unified_diff(
            known.splitlines(), text.splitlines(), f"golden/{name}", "now", lineterm=""
        )
        difference = "\n".join(lines)
        assert known == text, f"{difference}\nif this is meant: pytest --update-golden"
