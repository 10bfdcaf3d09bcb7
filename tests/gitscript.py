"""A few letters that grow a real repository, so that a row of a table can say which one it means.

c, c3           one commit, three commits
t:NAME, a:NAME  a lightweight tag, an annotated one
b:NAME          a new branch, checked out
co:REF          check out a branch, or detach HEAD at anything else
merge:REF       merge it, with a merge commit
edit            change a tracked file
stage           change it and stage that
rm              remove it
new:NAME        write a file that git does not track
ignored:NAME    write one that git ignores
pack            pack all refs
untag:NAME      delete a tag
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from itertools import count
from pathlib import Path
from typing import Final

from conftest import git

_NUMBER: Final = count()


def _commit(root: Path, times: str) -> None:
    for _ in range(int(times or 1)):
        # Commits of one time and one message, made on two branches, would be the same commit.
        git(root, "commit", "--quiet", "--allow-empty", "--message", f"more {next(_NUMBER)}")


def _tag(root: Path, name: str) -> None:
    """Write a lightweight tag as git does: most words are one, and this takes no process."""
    folder = root / ".git"
    head = (folder / "HEAD").read_text(encoding="utf-8")
    branch = folder / head.removeprefix("ref: ").strip()
    if head.startswith("ref: ") and not branch.is_file():
        # It is packed.
        git(root, "tag", name)
        return
    file = folder / "refs" / "tags" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    commit = branch.read_text(encoding="utf-8") if head.startswith("ref: ") else head
    file.write_text(commit, encoding="utf-8")


def _write(root: Path, name: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("x", encoding="utf-8")


def _edit(root: Path, _rest: str) -> None:
    with (root / "file").open("a", encoding="utf-8") as file:
        file.write("changed\n")


def _stage(root: Path, rest: str) -> None:
    _edit(root, rest)
    git(root, "add", "file")


def exclude(root: Path, name: str) -> None:
    """Let git ignore a file, or a directory, without a file in the work tree."""
    (root / ".git" / "info").mkdir(exist_ok=True)
    (root / ".git" / "info" / "exclude").write_text(f"{name}\n", encoding="utf-8")


def _ignored(root: Path, name: str) -> None:
    exclude(root, name)
    _write(root, name)


WORDS: Mapping[str, Callable[[Path, str], object]] = {
    "c": _commit,
    "t": _tag,
    "a": lambda root, name: git(root, "tag", "--message", "notes", name),
    "b": lambda root, name: git(root, "checkout", "--quiet", "-b", name),
    "co": lambda root, name: git(root, "checkout", "--quiet", name),
    "merge": lambda root, name: git(root, "merge", "--quiet", "--no-ff", "--message", "m", name),
    "edit": _edit,
    "stage": _stage,
    "rm": lambda root, _: (root / "file").unlink(),
    "new": _write,
    "ignored": _ignored,
    "pack": lambda root, _: git(root, "pack-refs", "--all"),
    "untag": lambda root, name: git(root, "tag", "--delete", name),
}


def _folder() -> Path:
    root = Path(tempfile.mkdtemp(prefix="buildlib-test-"))
    atexit.register(shutil.rmtree, root)
    return root


@cache
def _empty() -> Path:
    """Return a repository without a commit, which others are copies of: a copy takes no process."""
    root = _folder()
    git(root, "init", "--quiet", "--initial-branch=main")
    return root


def begin(root: Path) -> None:
    """Make a repository of a directory, on `main`, without a commit."""
    shutil.copytree(_empty() / ".git", root / ".git")


def commit_all(root: Path, *tags: str) -> None:
    """Make a repository of a directory: one commit of all its files on `main`, with these tags."""
    begin(root)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "all")
    for name in tags:
        _tag(root, name)


@cache
def _first() -> Path:
    """Return the repository that a script begins with."""
    root = _folder()
    _write(root, "file")
    commit_all(root)
    return root


def new_repository(root: Path) -> Path:
    """Return a repository with one commit of one file, on `main`."""
    shutil.copytree(_first(), root, dirs_exist_ok=True)
    return root


def run_word(root: Path, word: str) -> None:
    """Do what one word says."""
    name, _, rest = word.partition(":")
    if name[0] == "c" and name[1:].isdigit():
        name, rest = "c", name[1:]
    WORDS[name](root, rest)


def grow(root: Path, script: str) -> Path:
    """Return a new repository, grown by the words of the script."""
    new_repository(root)
    for word in script.split():
        run_word(root, word)
    return root


@cache
def grown(script: str) -> Path:
    """Return a repository grown by the words of the script, which is only read."""
    return grow(_folder(), script)
