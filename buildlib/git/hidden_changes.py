"""What `git status` does not show: files that git is configured to skip, and replaced objects."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from buildlib.background import Background
from buildlib.git.command import GitCommand

_REPLACED: Final = "refs/replace/"
_SKIPPED: Final = "S"


class Hidden(NamedTuple):
    """What git hides.

    Args:
        assumed: files marked by `git update-index --assume-unchanged`.
        skipped: files marked by `--skip-worktree`, those outside of a sparse checkout among them.
        replaced: objects of HEAD, or of its history, for which `git replace` shows others.
    """

    assumed: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()


def read_hidden(root: Path) -> Hidden:
    """Return what git hides in a repository and in its submodules.

    Raises:
        ToolError: git fails, so that nothing is known (exit 3).
    """
    git = GitCommand(root)
    replaced = Background(lambda: _replaced(git))
    listing = git.must("ls-files", "-v", "-z", "--recurse-submodules")
    entries = [(entry[0], entry[2:]) for entry in listing.split("\0") if entry]
    return Hidden(
        # Lower case is the mark of one; a file may have both.
        assumed=tuple(path for mark, path in entries if mark.islower()),
        skipped=tuple(path for mark, path in entries if mark.upper() == _SKIPPED),
        replaced=replaced.get(),
    )


def _replaced(git: GitCommand) -> tuple[str, ...]:
    listing = git.must("for-each-ref", "--format=%(refname)", _REPLACED)
    names = {line.removeprefix(_REPLACED) for line in listing.split("\n") if line}
    if not names:
        return ()
    # Every object; only a repository that replaces any pays for that.
    reached = git.must("rev-list", "--objects", "--no-object-names", "HEAD").split("\n")
    return tuple(sorted(names & {*reached}))
