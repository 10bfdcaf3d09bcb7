"""The names of a repository's tags, read from its files: faster than starting git.

They are for suggestions only: what can't be found this way, as in a repository that keeps its
references in another format, is left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

TAGS: Final = "refs/tags/"


def tag_names(root: Path) -> tuple[str, ...]:
    """Return the names of the tags, sorted, as far as files show them."""
    git = next((one / ".git" for one in (root, *root.parents) if (one / ".git").exists()), None)
    if git is None:
        return ()
    folder = _common(git)
    below = folder / TAGS
    found = {path.relative_to(below).as_posix() for path in below.rglob("*") if path.is_file()}
    packed = folder / "packed-refs"
    for line in packed.read_text("utf-8", "replace").splitlines() if packed.is_file() else ():
        name = line.partition(" ")[2]
        if name.startswith(TAGS):
            found.add(name.removeprefix(TAGS))
    return tuple(sorted(found))


def _common(git: Path) -> Path:
    """Return the directory of the references: of a work tree, `.git` is a file that names it."""
    if git.is_file():
        git = git.parent / git.read_text("utf-8").partition("gitdir:")[2].strip()
    shared = git / "commondir"
    return git / shared.read_text("utf-8").strip() if shared.is_file() else git
