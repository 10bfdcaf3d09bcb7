"""What the builder reads of a work tree, held against what git has, and what tasks write there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from posixpath import normpath
from typing import Final

from buildlib.build.plan import BuildPlan
from buildlib.dockerfile.ignore import DockerIgnore, IgnoreFile
from buildlib.dockerfile.parser import context_path
from buildlib.git.command import GitCommand
from buildlib.git.facts import GitFacts
from buildlib.image.platform import SLUGS
from buildlib.project import Project

# Where archives go, and the reports about them.
DIST: Final = "dist"
# Where programs go.
BIN: Final = "bin"
# What is in the directory of records: they, and what is kept beside them, also while it is written.
_RECORDS: Final = (
    *("/[0-9]*-*.json", "/key", "/hashes", "/builders"),
    *("/.[0-9]*", "/.key.*", "/.hashes.*", "/.builders.*"),
)
_MAGIC: Final = re.compile(r"[*?\[]")


def written_folders(project: Project) -> tuple[str, ...]:
    """Return the folders below the project that its tasks write."""
    config, records = project.config, _records(project)
    folders = (
        DIST,
        *([BIN] if config.binary_target else []),
        *([normpath(config.run.data_dir)] if config.run.data_path else []),
        *([records] if records else []),
    )
    return tuple(dict.fromkeys(folders))


def _records(project: Project) -> str:
    """Return the configured directory of records; empty: none, or none are kept there."""
    root = project.config.root.resolve()
    kept = project.config.record_settings().place(project.env.get("HOME", ""))
    # Records are not kept in a directory that contains the project.
    if not kept or root.is_relative_to(normpath(root / kept)):
        return ""
    return normpath(kept)


def kept_out(project: Project, sources: Iterable[str], ignore: IgnoreFile) -> tuple[str, ...]:
    """Return lines for an ignore file, by which nothing that tasks wrote gets into an image.

    A folder that the Dockerfile names is meant. Of one in which git tracks files, only what tasks
    write there stays out.

    Args:
        project: whose work tree is built.
        sources: what the Dockerfile takes from the context.
        ignore: what is kept out already.
    """
    names = [context_path(source) for source in sources]
    context, root = project.context, project.config.root.resolve()
    lines: list[str] = []
    for folder in written_folders(project):
        path = root / folder
        if not path.is_relative_to(context):
            continue
        below = path.relative_to(context).as_posix()
        taken = (name for name in names if name.count("/") <= below.count("/"))
        if not any(overlap(name, below) for name in taken) or _is_meant(names, below):
            continue
        patterns = _own_files(project, folder) if _tracked(project, path) else ("",)
        lines += [_literal(below) + pattern for pattern in patterns]
    if not lines:
        return ()
    known = DockerIgnore(ignore.lines, name=ignore.name)
    return tuple(line for line in lines if not known.excludes(line))


def overlap(source: str, path: str) -> bool:
    """Return whether a source is a path, or above it; or in it, which is then a submodule."""
    if source == ".":
        return True
    wanted, given = source.split("/"), path.split("/")
    return all(fnmatchcase(own, part) for own, part in zip(given, wanted, strict=False))


def _is_meant(sources: Sequence[str], path: str) -> bool:
    return any(source == path or source.startswith((f"{path}/", "$")) for source in sources)


def _own_files(project: Project, folder: str) -> tuple[str, ...]:
    """Return patterns of what tasks write in a folder that has files of the project as well."""
    name = _literal(project.config.short_name)
    records = _RECORDS if folder == _records(project) else ()
    if project.config.images and folder in {DIST, BIN}:
        return (*(f"/{_literal(one)}" for one in project.config.images), *records)
    if folder == DIST:
        return (f"/{name}-*", "/receipt*.json", *records)
    return (*(f"/{slug}" for slug in SLUGS), *records) if folder == BIN else records


def _literal(path: str) -> str:
    """Return a path as a pattern that means just that."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", path)


def _tracked(project: Project, path: Path) -> bool:
    if not (isinstance(project.git, GitFacts) and path.is_dir()):
        return False
    return bool(GitCommand(path).ask("ls-files", "-z", "--", "."))


def uncommitted(project: Project, plan: BuildPlan, ignore: DockerIgnore) -> tuple[str, ...]:
    """Return what the builder reads and git has not: ignored and untracked files and folders.

    Args:
        project: on its work tree.
        ignore: what is kept out of the context.
    """
    if plan.checkout or not isinstance(project.git, GitFacts):
        return ()
    paths = list(_pathspecs(plan.sources))
    if not (paths and plan.context.is_relative_to(project.git.root.resolve())):
        return ()
    git = GitCommand(plan.context)
    allowed = (*project.config.context_allow, *project.config.context_include)
    fine = DockerIgnore(allowed, name="[context] allow")
    found: list[str] = []
    for path in _others(git, paths, "--directory", "--no-empty-directory"):
        if any(one.startswith(path) for one in allowed) and path.endswith("/"):
            found += _others(git, [f":(literal){path}"])
        else:
            found.append(path)
    return tuple(
        path
        for path in found
        if not ignore.excludes(path, directory=path.endswith("/"))
        and not fine.excludes(path, directory=False)
    )


def _pathspecs(sources: Iterable[str]) -> Iterator[str]:
    for source in sources:
        name = context_path(source)
        if "$" in source:
            continue
        if name == ".":
            yield name
        else:
            yield f":(glob){name}" if _MAGIC.search(name) else f":(literal){name}"


def _others(git: GitCommand, paths: Sequence[str], *options: str) -> list[str]:
    listed = git.ask("ls-files", "--others", "-z", *options, "--", *paths)
    return [path for path in listed.split("\0") if path and not path.startswith("../")]
