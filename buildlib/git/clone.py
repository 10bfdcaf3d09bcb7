"""A copy of a repository at its commit, apart from the work tree of the user."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from buildlib.git.command import GitCommand
from buildlib.git.facts import GitFacts

# What a hook does is for the user's own checkout.
_NO_HOOKS: Final = ("-c", "core.hooksPath=/dev/null")
_ORIGIN: Final = "origin"
# What commits only refer to: submodules, and the files of Git LFS.
_BESIDE: Final = ("modules", "lfs")


def clone_commands(facts: GitFacts, target: str, tag: str) -> list[tuple[str, ...]]:
    """Return the commands that copy the commit and give the copy a tag, without `git`.

    Args:
        tag: to make there; empty: none.
    """
    # A shallow clone can't share its objects.
    shared = () if facts.shallow else ("--shared",)
    branch = ("-B", facts.branch) if facts.branch else ("--detach",)
    clone = ("clone", "--quiet", "--no-checkout", "--template=", *shared, "--", str(facts.root))
    there = ("-C", target)
    origin = ("set-url", _ORIGIN, facts.remote) if facts.remote else ("remove", _ORIGIN)
    made = ("update-ref", f"refs/tags/{tag}", facts.revision)
    return [
        (*_NO_HOOKS, *clone, target),
        (*there, *_NO_HOOKS, "checkout", "--quiet", *branch, facts.revision),
        (*there, "remote", *origin),
        *([(*there, *made)] if tag else []),
    ]


def clone_commit(facts: GitFacts, target: Path, tag: str = "") -> None:
    """Copy the commit of HEAD, its history and all tags, with one tag more.

    Args:
        target: directory of the copy; it is made.
        tag: to make there; empty: none.

    Raises:
        ToolError: git fails (exit 3).
    """
    git = GitCommand(facts.root)
    for words in clone_commands(facts, str(target), tag):
        git.must(*words, env={"GIT_LFS_SKIP_SMUDGE": "1"})
    for name in _BESIDE:
        source = _inside(git, facts, name)
        if source.is_dir():
            (target / ".git" / name).symlink_to(source.resolve())
    excluded = _inside(git, facts, "info/exclude")
    (target / ".git/info").mkdir(exist_ok=True)
    if excluded.is_file():
        shutil.copyfile(excluded, target / ".git/info/exclude")


def _inside(git: GitCommand, facts: GitFacts, name: str) -> Path:
    return facts.root / git.must("rev-parse", "--git-path", name)


def add_untracked(source: Path, target: Path, paths: Iterable[str]) -> None:
    """Let a copy have what is in a work tree and in no commit, ignored there.

    A directory is linked: it may be large.

    Args:
        paths: relative to either; what the copy has stays as it is.
    """
    lines = []
    for path in paths:
        place = target / path
        if (source / path).exists() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            if (source / path).is_dir():
                place.symlink_to((source / path).resolve())
            else:
                shutil.copy2(source / path, place)
            lines.append("/" + "".join(f"\\{c}" if c in "\\*?[ " else c for c in path))
    with (target / ".git/info/exclude").open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in ["", *lines])
