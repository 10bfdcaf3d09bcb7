"""Files of the work tree that are built although no commit has them: `[context] include`."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from buildlib.dockerfile.ignore import DockerIgnore, context_paths
from buildlib.errors import InputError
from buildlib.project import Project
from buildlib.versioning.preconditions import listing

INCLUDE: Final = "[context] include"


def included_files(project: Project) -> tuple[str, ...]:
    """Return the files of the work tree that `[context] include` names, relative to the context.

    Raises:
        InputError: there is no file for a pattern, or the pattern is invalid (exit 2).
    """
    found: set[str] = set()
    missing = []
    context = project.context
    for pattern in project.config.context_include:
        only = DockerIgnore(("*", f"!{pattern}"), name=INCLUDE)
        files = {
            path
            for path in context_paths(context, only)
            if is_file(context / path)
            # An ignore file is listed whatever the patterns say.
            and not only.excludes(path, directory=False)
            and ".git" not in path.split("/")
        }
        missing += [] if files else [pattern]
        found |= files
    if missing:
        raise InputError(
            f"{INCLUDE} names files that are not there: {listing(missing)}",
            why=f"{context} has none",
            hint="make them before the build, or take them out of the configuration",
        )
    return tuple(sorted(found))


def digest_of(path: Path) -> str:
    """Return `sha256:…` of a file, or of where a link leads.

    Raises:
        InputError: it can't be read (exit 2).
    """
    try:
        if path.is_symlink():
            return f"sha256:{hashlib.sha256(os.fsencode(path.readlink())).hexdigest()}"
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise InputError(f"{path} can't be read", why=str(error.strerror)) from error


def is_file(path: Path) -> bool:
    """Return whether a path is what a commit can hold: a file or a link, of any kind."""
    return path.is_symlink() or path.is_file()
