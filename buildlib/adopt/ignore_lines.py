"""The lines that keep what tasks write out of commits and images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from buildlib.dockerfile.ignore import DockerIgnore
from buildlib.dockerfile.parser import context_path

# Directories that tasks write, and that are somebody's own in many a repository.
_WRITTEN: Final = ("dist", "data", "bin")
_KEY: Final = "cosign.key"
_GIT: Final = (".venv/", "__pycache__/", *(f"/{one}/" for one in _WRITTEN), _KEY)
_DOCKER: Final = (".git", ".venv", "**/__pycache__", *_WRITTEN, _KEY)


def git_lines(lines: Iterable[str], taken: Iterable[str]) -> tuple[str, ...]:
    """Return what a `.gitignore` lacks.

    Args:
        lines: of the file.
        taken: names of what the repository has of its own.
    """
    known = [line.strip().strip("/") for line in lines]
    known = [line for line in known if line and not line.startswith(("#", "!"))]
    wanted = [line for line in _GIT if line.strip("/") not in {*taken}]
    return tuple(
        line for line in wanted if not any(fnmatchcase(line.strip("/"), one) for one in known)
    )


def docker_lines(
    lines: Sequence[str], taken: Iterable[str], sources: Iterable[str], more: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return what the ignore file of a Dockerfile lacks.

    Args:
        lines: of the file.
        taken: names of what the repository has of its own.
        sources: what the Dockerfile takes from the context.
        more: lines that are wanted besides.

    Raises:
        InputError: the builder would refuse a line (exit 2).
    """
    ignore = DockerIgnore(lines)
    # What is let in again is wanted.
    excepted = [context_path(line.strip()[1:]) for line in lines if line.strip().startswith("!")]
    meant = [*map(context_path, sources), *excepted, *taken]
    return tuple(
        line
        for line in dict.fromkeys((*_DOCKER, *more))
        if not ignore.excludes(line.replace("**", "x"))
        and not any(_means(path, line) for path in meant)
    )


def own_names() -> tuple[str, ...]:
    """Return the names of directories that tasks write."""
    return _WRITTEN


def _means(path: str, name: str) -> bool:
    """Return whether a path is one of this name, or below it; all of the context is not."""
    first = path.partition("/")[0]
    return first == name or (first.strip("*.") != "" and fnmatchcase(name, first))
