"""The lines that keep what tasks write out of commits and images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from buildlib.dockerfile.ignore import DockerIgnore
from buildlib.dockerfile.parser import context_path

_KEY: Final = "cosign.key"
# Where docker-run --persistent keeps data unless data-dir says otherwise.
_DATA: Final = "data"
_BESIDE: Final = (".git", ".venv", "**/__pycache__")


def written(data: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the directories that tasks write, which are somebody's own in many a repository.

    Args:
        data: where the images keep data, relative to the repository.
    """
    return tuple(dict.fromkeys(("dist", *(data or (_DATA,)), "bin")))


def git_lines(
    lines: Iterable[str], taken: Iterable[str], names: Iterable[str] = written()
) -> tuple[str, ...]:
    """Return what a `.gitignore` lacks.

    Args:
        lines: of the file.
        taken: names of what the repository has of its own.
        names: of the directories that tasks write.
    """
    known = [line.strip().strip("/") for line in lines]
    known = [line for line in known if line and not line.startswith(("#", "!"))]
    wanted = (".venv/", "__pycache__/", *(f"/{one}/" for one in names), _KEY)
    return tuple(
        line
        for line in wanted
        if line.strip("/") not in {*taken}
        and not any(fnmatchcase(line.strip("/"), one) for one in known)
    )


def docker_lines(
    lines: Sequence[str],
    taken: Iterable[str],
    sources: Iterable[str],
    more: Iterable[str] = (),
    names: Iterable[str] = written(),
) -> tuple[str, ...]:
    """Return what the ignore file of a Dockerfile lacks.

    Args:
        lines: of the file.
        taken: names of what the repository has of its own.
        sources: what the Dockerfile takes from the context.
        more: lines that are wanted besides.
        names: of the directories that tasks write.

    Raises:
        InputError: the builder would refuse a line (exit 2).
    """
    ignore = DockerIgnore(lines)
    # What is let in again is wanted.
    excepted = [context_path(line.strip()[1:]) for line in lines if line.strip().startswith("!")]
    meant = [*map(context_path, sources), *excepted, *taken]
    return tuple(
        line
        for line in dict.fromkeys((*_BESIDE, *names, _KEY, *more))
        if not ignore.excludes(line.replace("**", "x"))
        and not any(_means(path, line) for path in meant)
    )


def _means(path: str, name: str) -> bool:
    """Return whether a path is one of this name, or below it; all of the context is not."""
    first = "/".join(path.split("/")[: name.count("/") + 1])
    return first == name or (first.strip("*.") != "" and fnmatchcase(name, first))
