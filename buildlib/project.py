"""A repository as one build sees it: configuration, git facts, version. Read once, then frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from buildlib.config import Config, load_config
from buildlib.errors import InputError
from buildlib.record import record
from buildlib.vcs import GitFacts, NoGit, read_git_facts
from buildlib.version import Version, resolve_version

if TYPE_CHECKING:
    from buildlib.dockerfile import Dockerfile
    from buildlib.gitcommand import Ahead


@record(frozen=True, kw_only=True)
class Project:
    """What a plan is made from; `env` is the environment that everything read."""

    config: Config
    git: GitFacts | NoGit
    version: Version
    env: Mapping[str, str]

    @property
    def context(self) -> Path:
        """Return the build context, absolute."""
        return self._place("context", self.config.context)

    @property
    def dockerfile_path(self) -> Path:
        """Return the Dockerfile's path, absolute."""
        return self._place("dockerfile", self.config.dockerfile)

    def _place(self, key: str, text: str) -> Path:
        """Return a path of the configuration, absolute; it need not be there.

        Raises:
            InputError: nothing can be at such a path (exit 2).
        """
        try:
            return (self.config.root / text).resolve()
        except (RuntimeError, ValueError) as error:
            # A loop of links, for a Python before 3.13; a NUL.
            source = self.config.source_of(key)
            raise InputError(f"{key} from {source} can't be a path", why=str(error)) from error

    @property
    def remote(self) -> str:
        """Return the address of `origin`, without credentials, or nothing."""
        return self.git.remote if isinstance(self.git, GitFacts) else ""

    def dockerfile(self) -> Dockerfile:
        """Return the Dockerfile as read; an empty one where there is none to read.

        Raises:
            InputError: it is there, and not for us to read (exit 2).
        """
        from buildlib.dockerfile import Dockerfile, parse_dockerfile  # noqa: PLC0415 - to build

        path = self.dockerfile_path
        try:
            # No line end is converted: a carriage return alone ends no line.
            text = path.read_bytes().decode("utf-8", "replace")
        except PermissionError as error:
            raise InputError(f"{path} can't be read", why=str(error.strerror)) from error
        except OSError:
            return Dockerfile()
        return parse_dockerfile(text)


def load_project(
    start: Path,
    env: Mapping[str, str],
    *,
    now: float,
    overrides: Mapping[str, object] | None = None,
    version: str = "",
    ahead: Ahead | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> Project:
    """Load the project that `start` lies in.

    Args:
        start: a directory of it.
        env: the environment; VERSION and SOURCE_DATE_EPOCH count beside what the configuration
            takes from it.
        now: the clock, seconds since the epoch.
        overrides: of the configuration, by key.
        version: from the command line; wins over VERSION.
        ahead: what git was asked before, in `start`.
        meanwhile: called once while git works.

    Raises:
        InputError: the configuration, the version or the epoch is not usable (exit 2).
        ToolError: git refuses the repository (exit 3).
    """
    config = load_config(start, env, overrides)
    git = read_git_facts(
        config.root, tag_prefix=config.tag_prefix, ahead=ahead, meanwhile=meanwhile
    )
    resolved = resolve_version(
        git,
        now=int(now),
        prefix=config.tag_prefix,
        override=version or env.get("VERSION", ""),
        epoch=env.get("SOURCE_DATE_EPOCH", ""),
    )
    return Project(config=config, git=git, version=resolved, env=env)
