"""The differences between the two builds, which must not be seen in the image.

Source: reproducible-builds.org, "Variations in the build environment".
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from buildlib.build.options import placed_config
from buildlib.dockerfile.ignore import DockerIgnore, context_paths
from buildlib.errors import InputError
from buildlib.project import IGNORE_FILE, Project

_YEAR: Final = 365 * 24 * 3600
_DAY: Final = 24 * 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class Variation:
    """The surroundings of one build.

    Args:
        name: a word for reports and file names.
        folder: of the copy of the build context, below a temporary directory.
        umask: that a checkout would have been made under.
        modified: seconds since the epoch; the first file's time, and each next one is a second
            later.
        backwards: the files are written in reversed order.
        hostname: of the containers in which the build's commands run.
    """

    name: str
    folder: str
    umask: int
    modified: int
    backwards: bool
    timezone: str
    hostname: str

    @property
    def environment(self) -> Mapping[str, str]:
        """Return what the client's environment has instead of its own."""
        # One object a line, from which the steps and their times are read.
        return {"TZ": self.timezone, "BUILDKIT_PROGRESS": "rawjson"}


def variations(*, epoch: int, now: int) -> tuple[Variation, Variation]:
    """Return the two: one with files from long before the commit, one with files to come.

    Args:
        epoch: of the commit, seconds.
        now: the clock, seconds.
    """
    return (
        Variation(
            name="first",
            folder="first",
            umask=0o022,
            modified=max(0, epoch - _YEAR),
            backwards=False,
            timezone="Etc/GMT+12",
            hostname="first",
        ),
        Variation(
            name="second",
            folder="another place/further down/second",
            umask=0o077,
            modified=max(epoch, now) + _DAY,
            backwards=True,
            timezone="Pacific/Kiritimati",
            hostname="second-builder",
        ),
    )


# Copies of the build context, as checkouts under another umask, at another time would be.


_CONTEXT: Final = "context"
_DOCKERFILE: Final = "dockerfile"


def copy_context(context: Path, target: Path, ignore: DockerIgnore, variation: Variation) -> None:
    """Copy what the builder gets of a context.

    Only one bit of a file's mode is copied, which git keeps: whether it can be executed; the
    rest is what the umask of the variation makes of it.

    Raises:
        InputError: something can't be read, or there is no room for the copy (exit 2).
    """
    paths = context_paths(context, ignore)
    try:
        target.mkdir(parents=True)
        for path in paths if not variation.backwards else reversed(paths):
            _copy(context / path, target / path)
        _set(target, variation, paths)
    except OSError as error:
        raise InputError("the build context can't be copied", why=str(error)) from error


def _copy(source: Path, target: Path) -> None:
    if source.is_dir() and not source.is_symlink():
        target.mkdir(parents=True, exist_ok=True)
        return
    # Backwards, a file comes before its directory.
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        target.symlink_to(source.readlink())
    else:
        shutil.copyfile(source, target)
        target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)


def _set(target: Path, variation: Variation, paths: tuple[str, ...]) -> None:
    """Set modes and times, from the inside out: a directory's time changes with what is in it."""
    for number, path in reversed([*enumerate(paths)]):
        place = target / path
        if not place.is_symlink():
            executable = place.is_dir() or place.stat().st_mode & 0o100
            place.chmod((0o777 if executable else 0o666) & ~variation.umask)
        modified = variation.modified + number
        os.utime(place, (modified, modified), follow_symlinks=False)


def copy_project(
    project: Project, ignore: DockerIgnore, base: Path, variation: Variation
) -> Project:
    """Return the project on a copy of its context and Dockerfile; its version stays.

    Args:
        project: whose files are copied.
        ignore: what its `.dockerignore` keeps out.
        base: a directory of our own.

    Raises:
        InputError: as `copy_context`.
    """
    root = base / variation.folder
    copy_context(project.context, root / _CONTEXT, ignore, variation)
    dockerfile = project.dockerfile_path
    (root / _DOCKERFILE).mkdir()
    if dockerfile.is_file():
        # It may be a link, and what it leads to is not copied.
        _copy(dockerfile.resolve(), root / _DOCKERFILE / dockerfile.name)
    own = project.ignore_file.path
    if own and own != project.context / IGNORE_FILE:
        _copy(own.resolve(), root / _DOCKERFILE / f"{dockerfile.name}{IGNORE_FILE}")
    config = replace(
        placed_config(project),
        root=root,
        context=_CONTEXT,
        dockerfile=f"{_DOCKERFILE}/{dockerfile.name}",
        # The steps of the build are read from it.
        progress="auto",
        # The files that other builds left must not be taken for the result of this one.
        cache_from=(),
        cache_to=(),
    )
    return replace(project, config=config, checkout=None)
