"""The files of a commit, as a fresh clone has them, for builds that no work tree can change.

git writes them from the repository's objects, with an index and a configuration of their own: what
the repository or the user has configured (filters, line ends, sparse checkouts, attributes beside
the commit's, replaced objects) counts for nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from buildlib.build.context import written_folders
from buildlib.build.included_files import INCLUDE, digest_of, included_files, is_file
from buildlib.build.lfs import find_object, read_pointer
from buildlib.config.file import find_table
from buildlib.dockerfile.ignore import DockerIgnore
from buildlib.errors import BuildlibError, InputError, raise_problems
from buildlib.git.command import GitCommand
from buildlib.git.facts import Changes, GitFacts, NoGit, read_changes
from buildlib.git.repository import (
    LFS,
    GitRepository,
    attributed,
    filters,
    lfs_store,
    module_names,
    objects_of,
    submodule,
)
from buildlib.project import Checkout, Project
from buildlib.shell import shell_line
from buildlib.tempfiles import is_full, is_no_room, no_room, passing_folder, says_no_room
from buildlib.versioning.preconditions import listing, no_git_problem

_KIND: Final = "commit"
# The configuration of a plain clone, whatever this machine and this repository have.
_FRESH: Final = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "1",
    # A file of the user's, which there is by default.
    "GIT_CONFIG_KEY_0": "core.attributesFile",
    "GIT_CONFIG_VALUE_0": os.devnull,
    "GIT_CONFIG_PARAMETERS": "",
}
_SUBMODULE: Final = "160000"


@contextmanager
def from_commit(project: Project) -> Iterator[Project]:
    """Give the project with the files of its commit, for the time of the block.

    Raises:
        InputError: something that is built is not in the commit, or not on this machine; all that
            is wrong is reported at once (exit 2).
        ToolError: git fails (exit 3).
    """
    if isinstance(project.git, NoGit):
        raise no_git_problem(project.git)
    with ExitStack() as stack:
        below = tuple((name, stack.enter_context(from_commit(one))) for name, one in project.below)
        folder = stack.enter_context(passing_folder(_KIND))
        making = _CheckingOut(project, project.git.root, folder.resolve())
        yield replace(making.make(project.git.revision), below=below)


def changes_of(project: Project) -> Changes:
    """Return how the work tree differs from the commit; what tasks write does not count.

    Raises:
        ToolError: git fails (exit 3).
    """
    git = project.git
    if isinstance(git, NoGit):
        return Changes()
    changes = read_changes(git.root)
    folders = [project.config.root.resolve() / name for name in written_folders(project)]
    untracked = (
        name
        for name in changes.untracked
        if not any(Path(git.root, name).is_relative_to(folder) for folder in folders)
    )
    return changes._replace(untracked=tuple(untracked))


def is_of_commit(project: Project, changes: Changes, *, release: bool) -> bool:
    """Return whether the commit alone says what is built.

    A release is its commit, whatever the work tree has meanwhile; anything else is what somebody
    sees, and so its commit only where nothing differs.
    """
    return isinstance(project.git, GitFacts) and (release or changes == Changes())


class _CheckingOut:
    """Writes the files of one commit.

    Args:
        project: on its work tree.
        top: of the work tree.
        folder: for what is written, empty.
    """

    def __init__(self, project: Project, top: Path, folder: Path) -> None:
        self._project, self._top = project, top
        self._made = Checkout(folder=folder, top=top)
        self._lines: list[str] = []
        self._problems: list[BuildlibError] = []
        self._filtered: list[str] = []

    def make(self, commit: str) -> Project:
        """Return the project with the commit's files."""
        git = GitCommand(self._top)
        folder = Path(git.must("rev-parse", "--absolute-git-dir"))
        top = GitRepository("", self._top, folder, objects_of(git, self._top))
        self._write(top, commit)
        project = self._there()
        ignore = project.ignore_file
        patterns = DockerIgnore(ignore.lines, name=ignore.name)
        self._fill(top, commit, _Reads(project, patterns))
        included = self._include()
        self._check_configuration(commit)
        raise_problems(self._problems)
        self._settle()
        made = self._made._replace(included=included, lines=tuple(self._lines))
        project = replace(self._project, checkout=made)
        if not project.context.is_dir():
            raise _absent(self._project.config.context, commit)
        if not project.dockerfile_path.is_file():
            raise _absent(self._project.config.dockerfile, commit)
        return project

    # -- what git has

    def _environment(self, repository: GitRepository) -> dict[str, str]:
        # A name that can't be that of another: a path may hold any character but a slash.
        number = hashlib.sha256(os.fsencode(repository.below)).hexdigest()[:8]
        admin = self._made.folder / f"git-{number}"
        return _FRESH | {
            "GIT_DIR": str(admin),
            "GIT_INDEX_FILE": str(admin / "index"),
            "GIT_WORK_TREE": str(self._made.root / repository.below),
            "GIT_OBJECT_DIRECTORY": str(repository.objects),
        }

    def _write(self, repository: GitRepository, commit: str) -> None:
        env = self._environment(repository)
        target = self._made.root / repository.below
        target.mkdir(parents=True, exist_ok=True)
        self._lines.append(self._shell("mkdir", "-p", "--", str(target)))
        kind = GitCommand(self._top).must("rev-parse", "--show-object-format")
        fresh = {name: value for name, value in env.items() if name != "GIT_OBJECT_DIRECTORY"}
        self._git(fresh, "init", "--quiet", "--template=", f"--object-format={kind}")
        self._git(env, "read-tree", "--reset", "-u", commit)

    def _git(self, env: Mapping[str, str], *words: str) -> None:
        answer = GitCommand(self._made.folder).run(*words, env=env)
        # git names the files that it could not write, and not always why.
        if answer.code and (says_no_room(answer.err) or is_full(self._made.folder)):
            raise no_room(f"git {words[0]}: {answer.complaint}")
        answer.checked()
        pairs = (f"{name}={value}" for name, value in env.items())
        self._lines.append(self._shell("env", *pairs, "git", *words))

    def _shell(self, *words: str) -> str:
        return shell_line(words, self._made.folder)

    def _fill(self, repository: GitRepository, commit: str, reads: _Reads) -> None:
        """Put in what git keeps elsewhere, as far as the builder reads it."""
        env = self._environment(repository)
        git = GitCommand(self._made.root / repository.below)
        below = f"{repository.below}/" if repository.below else ""
        self._replace_pointers(repository, attributed(git, env, LFS), reads)
        for name in filters(self._top):
            self._filtered += [
                below + path for path in attributed(git, env, name) if reads.reads(below + path)
            ]
        listed = git.must("ls-files", "--stage", "-z", env=env).split("\0")
        modules = [entry.partition("\t") for entry in listed if entry.startswith(_SUBMODULE)]
        revisions = {path: about.split(" ")[1] for about, _, path in modules}
        names = module_names(git, env, commit) if revisions else {}
        for path, revision in revisions.items():
            if reads.reads(below + path, directory=True):
                inner = submodule(repository, below + path, path, names.get(path, path))
                self._fill_submodule(inner, revision, reads)

    def _fill_submodule(self, inner: GitRepository, revision: str, reads: _Reads) -> None:
        env = self._environment(inner)
        there = inner.objects.is_dir() and (
            GitCommand(self._made.folder)
            .run("cat-file", "-e", f"{revision}^{{tree}}", env=self._looking(env))
            .code
            == 0
        )
        if not there:
            self._problems.append(
                InputError(
                    f"the submodule {inner.below} is not on this machine at {revision[:7]}",
                    why="the image is built from what the commit records",
                    hint="git submodule update --init --recursive",
                )
            )
            return
        self._write(inner, revision)
        self._fill(inner, revision, reads)

    def _looking(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return what looks into the objects of a repository before it has a directory here."""
        top = self._environment(GitRepository("", self._top, self._top, self._top))
        return dict(env) | {"GIT_DIR": top["GIT_DIR"]}

    # -- what git has not

    def _replace_pointers(
        self, repository: GitRepository, paths: Iterable[str], reads: _Reads
    ) -> None:
        """Put what Git LFS keeps in the place of its pointers."""
        below = f"{repository.below}/" if repository.below else ""
        store = lfs_store(repository)
        missing = []
        for path in paths:
            file = self._made.root / (below + path)
            pointer = read_pointer(file)
            if pointer is None or not reads.reads(below + path):
                continue
            kept = (store / pointer[:2] / pointer[2:4] / pointer, repository.place / path)
            source = find_object(pointer, kept)
            if source is None:
                missing.append(below + path)
                continue
            shutil.copyfile(source, file)
            self._lines.append(self._shell("cp", "--", str(source), str(file)))
        if missing:
            self._problems.append(
                InputError(
                    "the commit has only pointers to files that Git LFS keeps",
                    why=f"they are not on this machine: {listing(missing)}",
                    hint="git lfs pull fetches them",
                )
            )

    def _include(self) -> tuple[tuple[str, str], ...]:
        """Copy what the configuration includes of the work tree; what the commit has, counts."""
        context = self._project.context
        target = self._there().context
        filtered = {str(Path(self._made.root, path).resolve()) for path in self._filtered}
        included = []
        for path in included_files(self._project):
            source, copy = context / path, target / path
            if is_file(copy) and str(copy.resolve()) not in filtered:
                continue
            filtered.discard(str(copy.resolve()))
            self._copy(source, copy)
            included.append((path, digest_of(copy)))
        if filtered:
            names = sorted(os.path.relpath(path, self._made.root) for path in filtered)
            self._problems.append(
                InputError(
                    "a filter of this machine's changes files when they are checked out",
                    why=f"the commit has them as they are before that: {listing(names)}",
                    hint=f"name them in {INCLUDE} to build what the work tree has",
                )
            )
        return tuple(included)

    def _copy(self, source: Path, copy: Path) -> None:
        if not copy.parent.resolve().is_relative_to(self._made.root):
            raise InputError(f"{source} can't be included", why="the commit has a link on its way")
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.unlink(missing_ok=True)
            shutil.copy(source, copy, follow_symlinks=False)
        except OSError as error:
            if is_no_room(error):
                raise
            raise InputError(f"{source} can't be included", why=str(error)) from error
        self._lines.append(self._shell("mkdir", "-p", "--", str(copy.parent)))
        self._lines.append(self._shell("cp", "-P", "--", str(source), str(copy)))

    # -- the whole

    def _there(self) -> Project:
        return replace(self._project, checkout=self._made)

    def _check_configuration(self, commit: str) -> None:
        """See to it that what was configured is what the commit has."""
        config = self._project.config
        if not config.file:
            return
        here = self._made.place(config.root)
        if not (here / config.file).is_file():
            self._problems.append(_absent(config.file, commit))
        elif find_table(here)[2] != find_table(config.root)[2]:
            self._problems.append(
                InputError(
                    f"{config.file} is not what the commit has",
                    why=f"it says something else than in {commit[:7]}",
                    hint="commit it, or restore it",
                )
            )

    def _settle(self) -> None:
        """Give every file the commit's time, and the mode that it has whatever the umask."""
        time = self._project.version.created
        root = self._made.root
        for folder, folders, files in os.walk(root):
            for path in (Path(folder), *(Path(folder, name) for name in (*folders, *files))):
                if not path.is_symlink():
                    runs = path.is_dir() or path.stat().st_mode & 0o100
                    path.chmod(0o755 if runs else 0o644)
                os.utime(path, (time, time), follow_symlinks=False)
        text = self._project.version.created_text
        self._lines += [
            self._shell("chmod", "-R", "u=rwX,go=rX", str(root)),
            f"find {self._shell(str(root))} -exec touch -h -d {text} {{}} +",
        ]


class _Reads:
    """What the builder reads: what lies in the context, and is not kept out of it."""

    def __init__(self, project: Project, ignore: DockerIgnore) -> None:
        self._ignore = ignore
        top = project.checkout.root if project.checkout else Path()
        self._below = project.context.relative_to(top).as_posix()
        self._dockerfile = project.dockerfile_path.relative_to(top).as_posix()

    def reads(self, path: str, *, directory: bool = False) -> bool:
        """Return whether it reads a path, relative to the top; of a directory, anything in it."""
        # A submodule may hold the context, or the Dockerfile.
        needed = (f"{self._below}/", self._dockerfile)
        if directory and any(one.startswith(f"{path}/") for one in needed):
            return True
        inside = self._below == "." or path.startswith(f"{self._below}/")
        inner = path if self._below == "." else path.removeprefix(f"{self._below}/")
        return inside and not self._ignore.excludes(inner, directory=directory)


def _absent(name: str, commit: str) -> InputError:
    return InputError(
        f"the commit has no {name}", why=f"{commit[:7]} is built as it is", hint="commit it"
    )
