"""Files that Git LFS keeps, of which a commit has only pointers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from buildlib.build.included_files import digest_of
from buildlib.errors import InputError

# Source: github.com/git-lfs/git-lfs, docs/spec.md, "The Pointer".
_POINTER: Final = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize [0-9]+\n?"
)
_POINTER_BEGINS: Final = b"version https://git-lfs.github.com/spec/v1\n"
_LONGEST_POINTER: Final = 1024


def read_pointer(file: Path) -> str | None:
    """Return what a pointer of Git LFS names, or nothing; None: the file is not a pointer."""
    if file.is_symlink() or file.stat().st_size > _LONGEST_POINTER:
        return None
    content = file.read_bytes()
    if not content.startswith(_POINTER_BEGINS):
        return None
    match = _POINTER.fullmatch(content)
    return match[1].decode() if match else ""


def find_object(digest: str, places: Iterable[Path]) -> Path | None:
    """Return the first of some files that is what a pointer names, by its content."""
    return next((place for place in places if digest and _has(place, digest)), None)


def _has(file: Path, digest: str) -> bool:
    try:
        return not file.is_symlink() and digest_of(file) == f"sha256:{digest}"
    except InputError:
        return False
