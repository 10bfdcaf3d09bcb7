"""Where a repository and its submodules keep what they have, and what is configured there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from buildlib.git.command import GitCommand

LFS: Final = "lfs"
# A filter that changes nothing on the way out.
_IDLE: Final = {"", "cat"}


class GitRepository(NamedTuple):
    """The top one, or a submodule.

    Args:
        below: where its files are, relative to those of the top; empty for the top itself.
        place: its work tree, whether anything is in it or not.
    """

    below: str
    place: Path
    folder: Path
    objects: Path


def objects_of(git: GitCommand, place: Path) -> Path:
    """Return where the objects of a repository are, all its work trees' alike."""
    return (place / git.must("rev-parse", "--git-path", "objects")).resolve()


def submodule(outer: GitRepository, below: str, path: str, name: str) -> GitRepository:
    """Return where a submodule keeps its objects, whether it is checked out or not."""
    place = outer.place / path
    if (place / ".git").exists():
        git = GitCommand(place)
        folder = Path(git.must("rev-parse", "--absolute-git-dir"))
        return GitRepository(below, place, folder, objects_of(git, place))
    folder = outer.folder / "modules" / name
    return GitRepository(below, place, folder, folder / "objects")


def lfs_store(repository: GitRepository) -> Path:
    """Return where Git LFS keeps files of a repository on this machine."""
    # The directory that all work trees share is above the objects.
    storage = ""
    if (repository.place / ".git").exists():
        storage = GitCommand(repository.place).ask("config", "--get", "lfs.storage")
    return repository.objects.parent / (storage or LFS) / "objects"


def module_names(git: GitCommand, env: Mapping[str, str], commit: str) -> dict[str, str]:
    """Return the names that the commit gives its submodules, by their paths."""
    listed = git.run(
        *("config", "--null", "--blob", f"{commit}:.gitmodules"),
        *("--get-regexp", r"^submodule\..*\.path$"),
        env=env,
    )
    entries = (
        entry.partition("\n") for entry in listed.out.split("\0") if listed.code == 0 and entry
    )
    return {path: key.removeprefix("submodule.").removesuffix(".path") for key, _, path in entries}


def attributed(git: GitCommand, env: Mapping[str, str], name: str) -> Sequence[str]:
    """Return the files to which a filter belongs, by the attributes of the commit."""
    found = git.must("ls-files", "-z", "--", f":(top,attr:filter={name})", env=env)
    return [path for path in found.split("\0") if path]


def filters(place: Path) -> tuple[str, ...]:
    """Return the filters, but for Git LFS, that would change files on their way out."""
    git = GitCommand(place)
    listed = git.ask("config", "--null", "--get-regexp", r"^filter\..*\.(smudge|process)$")
    names = set()
    for entry in listed.split("\0"):
        key, _, value = entry.partition("\n")
        name = key.removeprefix("filter.").rpartition(".")[0]
        # What is not a value of an attribute can't be looked for, nor be given.
        if value not in _IDLE and name != LFS and re.fullmatch(r"[\w.-]+", name, re.ASCII):
            names.add(name)
    return tuple(sorted(names))
