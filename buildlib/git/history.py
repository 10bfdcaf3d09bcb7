"""Where HEAD stands among tags and branches: what a new release tag has to be measured by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from buildlib.errors import InputError, ToolError, did_you_mean
from buildlib.git.command import GitCommand, GitResult
from buildlib.git.tag_names import TAGS

_BRANCHES: Final = "refs/remotes"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineage:
    """The tags before and after HEAD, and what the remote is known to have.

    Args:
        before: tags on HEAD and on all that it descends from.
        after: tags on HEAD and on all that descends from it.
        default_branch: of the remote, or empty where it was never asked.
        published: the remote's branches, as last fetched, that hold HEAD.
    """

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    default_branch: str = ""
    published: tuple[str, ...] = ()


def read_lineage(root: Path, *, remote: str = "origin") -> Lineage:
    """Read it; nothing is fetched.

    Raises:
        ToolError: git refuses the repository, or fails (exit 3).
    """
    git = GitCommand(root)
    folder = f"{_BRANCHES}/{remote}/"
    default = git.ask("symbolic-ref", "--quiet", f"{folder}HEAD")
    published = git.must("for-each-ref", "--contains=HEAD", "--format=%(refname)", folder)
    return Lineage(
        before=_tags(git, "--merged=HEAD"),
        after=_tags(git, "--contains=HEAD"),
        default_branch=default.removeprefix(folder),
        published=tuple(name.removeprefix(folder) for name in _lines(published)),
    )


def _tags(git: GitCommand, which: str) -> tuple[str, ...]:
    # Not `git tag --list`, which column.ui puts into columns.
    names = git.must("for-each-ref", which, "--format=%(refname)", TAGS)
    return tuple(name.removeprefix(TAGS) for name in _lines(names))


def _lines(printed: str) -> list[str]:
    # Not by splitlines, which also cuts at characters that a name may hold, such as U+2028.
    return [line for line in printed.split("\n") if line]


def _done(answer: GitResult, what: str, hint: str = "") -> None:
    if answer.code != 0:
        raise ToolError(what, why=answer.err.strip().removeprefix("stderr: "), hint=hint)


def fetch_history(root: Path, *, remote: str = "origin") -> None:
    """Fetch the history and the tags that a shallow clone lacks; a whole one stays as it is.

    Raises:
        ToolError: git can't fetch (exit 3).
    """
    git = GitCommand(root)
    if git.ask("rev-parse", "--is-shallow-repository") == "true":
        answer = git.run("fetch", "--quiet", "--unshallow", "--tags", remote, questions=True)
        _done(answer, f"the history can't be fetched from {remote}")


def check_remote(root: Path, remote: str) -> None:
    """Do nothing, unless there is no such remote.

    Raises:
        InputError: there is none (exit 2).
    """
    known = _lines(GitCommand(root).ask("remote"))
    if remote not in known:
        raise InputError(f"no remote is called {remote!r}", hint=did_you_mean(remote, known))


def remote_has_tag(root: Path, name: str, *, remote: str = "origin") -> bool:
    """Ask the remote itself.

    Raises:
        ToolError: it can't be asked (exit 3).
    """
    answer = GitCommand(root).run(
        "ls-remote", "--tags", remote, f"refs/tags/{name}", questions=True
    )
    _done(answer, f"{remote} can't be asked for its tags")
    return bool(answer.out)


def tag_commands(name: str, message: str, *, remote: str = "") -> list[tuple[str, ...]]:
    """Return what makes the tag, and where a remote is given, what pushes it."""
    # Nothing is stripped but blanks: a line of notes may begin with #. Whether the tag is signed
    # is for git's own tag.gpgSign to say.
    make = ("git", "tag", "--annotate", "--cleanup=whitespace", f"--message={message}", "--", name)
    push = ("git", "push", remote, f"refs/tags/{name}")
    return [make, push] if remote else [make]


def run_commands(root: Path, commands: list[tuple[str, ...]]) -> None:
    """Run them one after the other.

    Raises:
        ToolError: git refused one; the ones before it stay done (exit 3).
    """
    git = GitCommand(root)
    for command in commands:
        kind = command[1]
        hint = f"the tag exists; once that is fixed: {' '.join(command)}"
        answer = git.run(*command[1:], questions=True)
        _done(answer, f"git {kind} failed", hint=hint if kind == "push" else "")
