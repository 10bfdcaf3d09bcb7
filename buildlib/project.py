"""A repository as one build sees it: configuration, git facts, version. Read once, then frozen."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from buildlib.config.config import Config
from buildlib.config.load import ConfigFile
from buildlib.errors import InputError
from buildlib.git.command import Ahead, ask_ahead
from buildlib.git.facts import GitFacts, NoGit, read_git_facts, with_naming
from buildlib.version_schemes import Naming
from buildlib.versioning.version import Version, resolve_version

if TYPE_CHECKING:
    from buildlib.dockerfile.ignore import IgnoreFile
    from buildlib.dockerfile.parser import Dockerfile

IGNORE_FILE: Final = ".dockerignore"


class Checkout(NamedTuple):
    """The files of a commit, apart from the work tree.

    Args:
        folder: what holds them, and goes away with this process.
        top: of the work tree that they stand for.
        included: files of the work tree that the commit does not have, by their path in the build
            context, each with its digest.
        lines: for a shell, which make the same in a directory that they call $CONTEXT.
    """

    folder: Path
    top: Path
    included: tuple[tuple[str, str], ...] = ()
    lines: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        """Return what stands for the top of the work tree."""
        return self.folder / "files"

    def place(self, path: Path) -> Path:
        """Return what stands for a path of the work tree, its parent without links.

        Raises:
            InputError: it is in no commit (exit 2).
        """
        inner = os.path.relpath(os.path.normpath(path), self.top)
        found = self.root / inner
        if not (found.resolve().is_relative_to(self.root.resolve()) and ".." not in found.parts):
            raise InputError(
                f"{path} is in no commit",
                why=f"it leads out of {self.top}",
                hint="what is released is made from files of the repository",
            )
        return found


@dataclass(frozen=True, kw_only=True)
class Project:
    """What a plan is made from.

    Args:
        env: the environment that everything read.
        checkout: where the files are that are built; None: in the work tree.
        build_args, secrets: of every build, as the command line has them.
        below: the images of the same repository that this one may be based on, by their names.
        archive: of the image, which the build of another one takes; None: that builds it.
    """

    config: Config
    git: GitFacts | NoGit
    version: Version
    env: Mapping[str, str]
    checkout: Checkout | None = None
    build_args: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    below: tuple[tuple[str, Project], ...] = ()
    archive: Path | None = None

    def given(self, build_args: tuple[str, ...], secrets: tuple[str, ...]) -> Project:
        """Return the project with what the command line has for every build."""
        below = tuple((name, one.given(build_args, secrets)) for name, one in self.below)
        return replace(self, build_args=build_args, secrets=secrets, below=below)

    @property
    def facts(self) -> dict[str, str]:
        """Return what stands for `{version}` and the like in the configuration."""
        version = self.version
        return {
            "version": version.value,
            "revision": version.revision,
            "created": version.created_text,
            "branch": self.git.branch if isinstance(self.git, GitFacts) else "",
        }

    @property
    def context(self) -> Path:
        """Return the build context, absolute."""
        return self._place("context", self.config.context).resolve()

    @property
    def dockerfile_path(self) -> Path:
        """Return the Dockerfile's path, absolute.

        A link to what lies below its own directory stays one: beside it may be an ignore file that
        is called after it. Anywhere else buildx would not follow it.
        """
        path = self._place("dockerfile", self.config.dockerfile)
        folder, file = path.parent.resolve(), path.resolve()
        return folder / path.name if file.is_relative_to(folder) else file

    @property
    def ignore_file(self) -> IgnoreFile:
        """Return the file that says what stays out of the context, as it is configured.

        It may lie beside a link to the Dockerfile, where the builder does not always look.

        Raises:
            InputError: it can't be read (exit 2).
        """
        from buildlib.dockerfile.ignore import read_ignore_file  # noqa: PLC0415 - not for a version

        named = self._place("dockerfile", self.config.dockerfile)
        beside = (
            path.with_name(f"{path.name}{IGNORE_FILE}") for path in (named, self.dockerfile_path)
        )
        return read_ignore_file(*beside, self.context / IGNORE_FILE)

    @property
    def finds_ignore_file(self) -> bool:
        """Return whether the builder finds that file by itself."""
        path = self.ignore_file.path
        own = self.dockerfile_path.with_name(f"{self.dockerfile_path.name}{IGNORE_FILE}")
        if path is None or path == self.context / IGNORE_FILE:
            return True
        return own.is_file() and own.samefile(path)

    def _place(self, key: str, text: str) -> Path:
        """Return a path of the configuration, absolute, links and all; it need not be there.

        Raises:
            InputError: nothing can be at such a path (exit 2).
        """
        try:
            path = self.config.root / text
            path.resolve()
            return self.checkout.place(path) if self.checkout else path
        except (RuntimeError, ValueError) as error:
            # A loop of links, for a Python before 3.13; a NUL.
            source = self.config.source_of(key)
            raise InputError(f"{key} from {source} can't be a path", why=str(error)) from error

    @property
    def files(self) -> Path:
        """Return what holds the project's files: its root, or what stands for it."""
        return self.checkout.place(self.config.root) if self.checkout else self.config.root

    @property
    def not_source(self) -> tuple[str, ...]:
        """Return what no image should have, relative to the context."""
        if not isinstance(self.git, GitFacts):
            return ()
        path, context = self.git.root / ".git", self.context
        return (str(path.relative_to(context)),) if path.is_relative_to(context) else ()

    @property
    def remote(self) -> str:
        """Return the address of `origin`, without credentials, or nothing."""
        return self.git.remote if isinstance(self.git, GitFacts) else ""

    def dockerfile(self) -> Dockerfile:
        """Return the Dockerfile as read; an empty one where there is none to read.

        Raises:
            InputError: it is there, and not for us to read (exit 2).
        """
        from buildlib.dockerfile.parser import Dockerfile, parse_dockerfile  # noqa: PLC0415 - as above

        path = self.dockerfile_path
        try:
            # No line end is converted: a carriage return alone ends no line.
            text = path.read_bytes().decode("utf-8", "replace")
        except PermissionError as error:
            raise InputError(f"{path} can't be read", why=str(error.strerror)) from error
        except OSError:
            return Dockerfile()
        return parse_dockerfile(text)


# What CI services say of the branch and the commit, whose clones have no branch. Sources: the
# references of variables of GitHub Actions, GitLab CI, Azure Pipelines, Bitbucket and CircleCI.
_CI: Final = (
    ("GITHUB_REF", "GITHUB_SHA"),
    ("CI_COMMIT_BRANCH", "CI_COMMIT_SHA"),
    ("BUILD_SOURCEBRANCH", "BUILD_SOURCEVERSION"),
    ("BITBUCKET_BRANCH", "BITBUCKET_COMMIT"),
    ("CIRCLE_BRANCH", "CIRCLE_SHA1"),
)


def _on_branch(git: GitFacts | NoGit, env: Mapping[str, str]) -> GitFacts | NoGit:
    """Return the facts with the branch that CI names, where git has none for this commit."""
    if isinstance(git, NoGit) or git.branch:
        return git
    named = (env.get(branch, "") for branch, commit in _CI if env.get(commit) == git.revision)
    branches = (one.removeprefix("refs/heads/") for one in named)
    # A tag's pipeline, or a pull request's merge.
    return git._replace(branch=next((b for b in branches if b and not b.startswith("refs/")), ""))


def load_project(
    start: Path,
    env: Mapping[str, str],
    *,
    now: float,
    overrides: Mapping[str, object] | None = None,
    version: str = "",
    image: str = "",
    ahead: Ahead | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> Project:
    """Load the project that `start` lies in.

    Args:
        env: the environment; VERSION and SOURCE_DATE_EPOCH count beside what the configuration
            takes from it.
        now: the clock, seconds since the epoch.
        overrides: of the configuration, by key.
        version: from the command line; wins over VERSION.
        image: of several, the name of its table `[images.NAME]`.
        ahead: what git was asked before, in `start`.
        meanwhile: called once while git works.

    Raises:
        InputError: the configuration, the version or the epoch is not usable (exit 2).
        ToolError: git refuses the repository (exit 3).
    """
    file = ConfigFile(start, env, overrides)
    loader = _Loader(file, env, int(now), version, ahead, meanwhile)
    return loader.project(file.chosen(image))


def load_projects(
    start: Path,
    env: Mapping[str, str],
    *,
    now: float,
    overrides: Mapping[str, object] | None = None,
    version: str = "",
    only: Iterable[str] = (),
    ahead: Ahead | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> tuple[Project, ...]:
    """Load each image of a project, in the order in which they are built; git is asked once.

    Args:
        start: as for `load_project`, and so is the rest.
        only: names of `[images.NAME]`; none: all. A project without these tables has one image.

    Raises:
        InputError, ToolError: as `load_project`.
    """
    file = ConfigFile(start, env, overrides)
    loader = _Loader(file, env, int(now), version, ahead, meanwhile)
    return tuple(loader.project(name) for name in file.some(only) or ("",))


class _Loader:
    """Loads images of one file, each once; they share what git says.

    Args:
        env, now, version, ahead, meanwhile: as `load_project` has them.
    """

    def __init__(
        self,
        file: ConfigFile,
        env: Mapping[str, str],
        now: int,
        version: str,
        ahead: Ahead | None,
        meanwhile: Callable[[], object],
    ) -> None:
        self._file, self._env, self._now = file, env, now
        self._version = version or env.get("VERSION", "")
        self._ahead, self._meanwhile = ahead, meanwhile
        self._git: dict[Naming, GitFacts | NoGit] = {}
        self._known: dict[tuple[str, bool], Project] = {}

    def project(self, name: str, *, chosen: bool = True) -> Project:
        """Return an image, with those that it may be based on."""
        if (name, chosen) not in self._known:
            config = self._file.config(name, chosen=chosen)
            git = self._facts(config)
            resolved = resolve_version(
                git,
                now=self._now,
                prefix=config.tag_prefix,
                scheme=config.version_scheme,
                override=self._version,
                epoch=self._env.get("SOURCE_DATE_EPOCH", ""),
            )
            self._known[name, chosen] = Project(
                config=config,
                git=git,
                version=resolved,
                env=self._env,
                below=tuple(
                    (one, self.project(one, chosen=False)) for one in config.images_below()
                ),
            )
        return self._known[name, chosen]

    def _facts(self, config: Config) -> GitFacts | NoGit:
        known = self._git.get(config.naming) or next(iter(self._git.values()), None)
        if known is None:
            if not self._ahead or self._ahead.root.resolve() != config.root.resolve():
                self._ahead = ask_ahead(config.root)
            known = read_git_facts(
                config.root,
                tag_prefix=config.tag_prefix,
                scheme=config.version_scheme,
                ahead=self._ahead,
                meanwhile=self._meanwhile,
            )
            known = _on_branch(known, self._env)
        elif isinstance(known, GitFacts) and self._ahead and config.naming not in self._git:
            known = with_naming(known, config.naming, self._ahead)
        self._git[config.naming] = known
        return known
