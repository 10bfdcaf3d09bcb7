"""Reads the files of a repository that is looked at: small ones, below it, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_LARGEST: Final = 1 << 20


def read_text(path: Path, root: Path) -> str | None:
    """Return the text of a file; None where it is none, lies elsewhere, or is too large."""
    try:
        real = path.resolve()
        if not real.is_relative_to(root.resolve()) or not real.is_file():
            return None
        if real.stat().st_size > _LARGEST:
            return None
        return real.read_text(encoding="utf-8-sig", errors="replace")
    except (OSError, RuntimeError, ValueError):
        return None
