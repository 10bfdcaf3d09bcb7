"""Facts about the repository, read once through GitPython; nothing else here talks to git."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from buildlib.errors import InputError, ToolError

if TYPE_CHECKING:
    from git.cmd import Git

_DIRTY: Final = "-dirty"
_NOT_INSTALLED: Final = 127


@dataclass(frozen=True, kw_only=True, slots=True)
class GitFacts:
    """What git says about HEAD.

    Args:
        root: the top of the work tree.
        description: what `git describe --tags --always --dirty` prints.
        revision: the commit, 40 hex digits; `short` is git's own abbreviation.
        committed: the commit's time, seconds since the epoch.
        head_tags: the tags on HEAD, annotated or not.
        nearest_tag: the nearest reachable tag with the prefix, `distance` commits away; empty
            where there is none, or where HEAD itself has one.
        dirty: a tracked file differs from HEAD.
        branch: empty where HEAD is detached.
        remote: address of `origin` without credentials, or empty.
        shallow: the history is cut.
    """

    root: Path
    description: str
    revision: str
    short: str
    committed: int
    head_tags: tuple[str, ...] = ()
    nearest_tag: str = ""
    distance: int = 0
    dirty: bool = False
    branch: str = ""
    remote: str = ""
    shallow: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class NoGit:
    """There is nothing to read, and why: no git, no repository, no commit."""

    reason: str


def without_credentials(address: str) -> str:
    """Cut user and password out of a git address; what has none stays as it is."""
    if "://" not in address:
        return address
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _git(root: Path) -> Git:
    # GitPython looks for git when it is imported, and raises where there is none, unless told
    # to be quiet; the answer we give instead is a NoGit.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    from git.cmd import Git  # noqa: PLC0415 - slow to import, and not always needed

    return Git(root)


def _run(git: Git, *arguments: str) -> tuple[int, str, str]:
    from git.exc import GitCommandNotFound  # noqa: PLC0415 - as above

    # A translated message could not be told apart below.
    env = {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        status, out, err = git.execute(
            ["git", *arguments], with_extended_output=True, with_exceptions=False, env=env
        )
    except GitCommandNotFound:
        return _NOT_INSTALLED, "", ""
    return status, str(out), str(err)


def _ask(git: Git, *arguments: str) -> str:
    """Return what git prints, or nothing where it fails."""
    status, out, _ = _run(git, *arguments)
    return out if status == 0 else ""


def _check_ownership(stderr: str) -> None:
    if "dubious ownership" not in stderr:
        return
    command = stderr[stderr.find("git config --global") :].partition("\n")[0].strip()
    raise ToolError(
        "git does not trust this repository (dubious ownership)",
        why="its files belong to another user",
        hint=f"if you do trust it: {command}",
    )


def _nearest(git: Git, prefix: str) -> tuple[str, int]:
    # --long ends in -<distance>-g<revision> whatever the tag looks like.
    long = _ask(git, "describe", "--tags", "--long", "--abbrev=40", "--match", f"{prefix}[0-9]*")
    if not long:
        return "", 0
    tag, distance, _ = long.rsplit("-", 2)
    return tag, int(distance)


def _head(git: Git) -> Sequence[str]:
    return _ask(git, "log", "-1", "--no-show-signature", "--format=%H %h %ct").split()


def _top(git: Git) -> tuple[Path, bool] | NoGit:
    """Return the top of the work tree, and whether the history is cut.

    Raises:
        ToolError, InputError: as `read_git_facts`.
    """
    questions = ("--is-bare-repository", "--is-shallow-repository", "--show-toplevel")
    status, out, err = _run(git, "rev-parse", *questions)
    _check_ownership(err)
    if status == _NOT_INSTALLED:
        return NoGit(reason="git is not installed")
    if status != 0 and not out:
        return NoGit(reason="not a git repository")
    # A path may hold anything, a line break as well: it comes last.
    bare, shallow, *top = out.split("\n", 2)
    if bare == "true" or status != 0:
        raise InputError(
            "a bare repository has no files to build", hint="run this in a clone or a worktree"
        )
    return Path(top[0]), shallow == "true"


def read_git_facts(root: Path, *, tag_prefix: str = "v") -> GitFacts | NoGit:
    """Read the facts about the repository that `root` lies in.

    Raises:
        ToolError: git refuses the repository because another user owns it (exit 3).
        InputError: the repository is bare (exit 2).
    """
    git = _git(root)
    top = _top(git)
    if isinstance(top, NoGit):
        return top
    head = _head(git)
    if not head:
        return NoGit(reason="the repository has no commit yet")
    description = _ask(git, "describe", "--tags", "--always", "--dirty")
    head_tags = tuple(_ask(git, "tag", "--points-at", "HEAD").splitlines())
    on_tag = any(tag.startswith(tag_prefix) for tag in head_tags)
    nearest, distance = ("", 0) if on_tag else _nearest(git, tag_prefix)
    return GitFacts(
        root=top[0],
        description=description,
        revision=head[0],
        short=head[1],
        committed=int(head[2]),
        head_tags=head_tags,
        nearest_tag=nearest,
        distance=distance,
        # A tag may itself be called something-dirty.
        dirty=description.endswith(_DIRTY) and description not in head_tags,
        branch=_ask(git, "symbolic-ref", "--quiet", "--short", "HEAD"),
        remote=without_credentials(_ask(git, "config", "--get", "remote.origin.url")),
        shallow=top[1],
    )
