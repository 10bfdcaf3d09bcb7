"""Where a repository begins to use buildlib: its directory, and the Dockerfiles that there are."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from buildlib.config.file import find_table
from buildlib.errors import InputError
from buildlib.git.command import GitCommand

DOCKERFILE: Final = "Dockerfile"
_NAMES: Final = ("dockerfile", "containerfile")
# Of files that are made into a Dockerfile, or are about one.
_OTHERS: Final = (
    *(".dockerignore", ".md", ".txt", ".in", ".j2", ".jinja", ".jinja2", ".tmpl", ".tpl"),
    *(".template", ".erb", ".orig", ".bak", ".rej", ".swp", ".rego"),
)
# What others wrote, or what is only looked at.
_FOREIGN: Final = frozenset(
    {"node_modules", "vendor", "third_party", "testdata", "fixtures", "examples", "example"}
)
# Directories that hold Dockerfiles of what is elsewhere.
_ASIDE: Final = frozenset(
    {"build", "ci", "container", "containers", "contrib", "deploy", "docker", "packaging"}
)
_DEEPEST: Final = 4
# A tag of a version, with what is before that.
_VERSION: Final = re.compile(r"(|.*[^\d.])\d+\.\d+\.\d+(?:-[\w.-]+)?", re.ASCII)


class Repository(NamedTuple):
    """A directory, and what git says of it.

    Args:
        root: where the configuration is, or will be.
        config: the file that has it already; None: there is none.
        table: what that holds.
        git: asks git there; None: it is not in a work tree.
    """

    root: Path
    config: Path | None
    table: dict[str, object]
    git: GitCommand | None

    @property
    def remote(self) -> str:
        """Return the address of `origin`, or of the only remote; empty: there is none."""
        if self.git is None:
            return ""
        names = self.git.ask("remote").split()
        name = names[0] if len(names) == 1 else "origin"
        return self.git.ask("config", "--get", f"remote.{name}.url")

    @property
    def has_versions(self) -> bool:
        """Return whether it has a tag of a version."""
        names = self.git.ask("tag", "--list").split() if self.git else []
        return any(map(_VERSION.fullmatch, names))

    @property
    def tag_prefix(self) -> tuple[str, str]:
        """Return what all tags of versions begin with, and the newest of them; empty: nothing."""
        names = self.git.ask("tag", "--list", "--sort=-version:refname").split() if self.git else []
        tags = {
            found[1]: found[0] for name in reversed(names) if (found := _VERSION.fullmatch(name))
        }
        return next(iter(tags.items())) if len(tags) == 1 else ("", "")

    def image_tables(self) -> list[dict[str, object]]:
        """Return the tables of several images, where it has them already."""
        images = self.table.get("images")
        tables = images.values() if isinstance(images, dict) else ()
        return [one for one in tables if isinstance(one, dict)]

    def tracks(self, path: str) -> bool:
        """Return whether git tracks a path, or something below it."""
        found = self.git.ask("ls-files", "-z", "--", f":(literal){path}") if self.git else ""
        return bool(found)

    def files(self) -> Iterator[str]:
        """Yield the files of the repository, relative to its root; nothing that git ignores."""
        if self.git is None:
            yield from _walk(self.root, "", _DEEPEST)
            return
        options = ("--cached", "--others", "--exclude-standard")
        yield from filter(None, self.git.ask("ls-files", "-z", *options).split("\0"))


def find_repository(start: Path) -> Repository:
    """Return the repository that a directory is in.

    Its root is what is configured already; otherwise the nearest directory up to the top of the
    work tree that has a Dockerfile, or else `start` itself.

    Raises:
        InputError: it is bare, or a configuration can't be read (exit 2).
        ToolError: git refuses it because another user owns it (exit 3).
    """
    start = start.resolve()
    git = GitCommand(start)
    answer = git.run("rev-parse", "--is-bare-repository", "--show-toplevel")
    bare, _, top_text = answer.out.partition("\n")
    if bare == "true":
        raise InputError(
            "a bare repository has no files to build", hint="run this in a clone or a worktree"
        )
    top = Path(top_text).resolve() if answer.code == 0 and top_text else start
    root, file, table = find_table(start)
    if file is None or not root.is_relative_to(top):
        # One above the work tree is another project's.
        above = (one for one in (start, *start.parents) if one.is_relative_to(top))
        root = next((one for one in above if os.path.lexists(one / DOCKERFILE)), start)
        file, table = None, {}
    return Repository(root, file, table, GitCommand(root) if answer.code == 0 else None)


def _walk(root: Path, below: str, depth: int) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(root / below), key=lambda one: one.name)
    except OSError:
        return
    for entry in entries:
        path = f"{below}/{entry.name}" if below else entry.name
        # Where a link leads may be forbidden; what can't be looked at is no file of this user's.
        if os.path.isfile(entry.path):  # noqa: PTH113
            yield path
        elif entry.is_dir(follow_symlinks=False) and depth and not _is_foreign(entry.name):
            yield from _walk(root, path, depth - 1)


def _is_foreign(folder: str) -> bool:
    return folder.lower() in _FOREIGN or folder.startswith(".")


def is_dockerfile(path: str) -> bool:
    """Return whether a file is a Dockerfile, by its name."""
    *folders, name = path.lower().split("/")
    foreign = any(map(_is_foreign, folders))
    named = name in _NAMES or name.startswith(tuple(f"{one}." for one in _NAMES))
    ends = name.endswith(tuple(f".{one}" for one in _NAMES))
    return (named or ends) and not foreign and not name.endswith(_OTHERS)


def choose_dockerfiles(
    repository: Repository, asked: str, here: Path, built: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the Dockerfiles of the images, relative to the root, and those that are left out.

    Args:
        repository: where they are looked for.
        asked: by the user; empty: they are searched.
        here: what `asked` is relative to.
        built: those that something of the repository builds.

    Raises:
        InputError: there is none of that name, or several of a directory could be meant (exit 2).
    """
    found = sorted(path for path in repository.files() if is_dockerfile(path))
    found = [path for path in found if (repository.root / path).is_file()]
    configured = repository.table.get("dockerfile")
    places = {place_of(one) for one in repository.image_tables()}
    several = [path for path in found if path in places]
    own = repository.root / DOCKERFILE
    if asked:
        chosen = [_asked(repository.root, asked, here)]
    elif several:
        chosen = several
    elif isinstance(configured, str) and (repository.root / configured).is_file():
        chosen = [configured]
    elif os.path.lexists(own):
        if not own.is_file():
            raise InputError(f"{own} is not a file", hint="remove it, or name another")
        chosen = [DOCKERFILE]
    elif repository.config:
        chosen = []
    else:
        chosen = _one_of_each(found, built)
    return chosen, [path for path in found if path not in chosen]


def _one_of_each(found: Sequence[str], built: Sequence[str]) -> list[str]:
    """Return the Dockerfile of each directory that has any.

    A directory with several, of which none is more likely, is left out if something builds others.
    """
    folders: dict[str, list[str]] = {}
    for path in found:
        folders.setdefault(path.rpartition("/")[0], []).append(path)
    chosen, unclear = [], []
    for paths in folders.values():
        plain = [path for path in paths if path.rpartition("/")[2].lower() in _NAMES]
        likely = [path for path in paths if path in built] or plain
        if len(paths) > 1 and len(likely) != 1:
            unclear.append(paths)
        else:
            chosen.append((likely or paths)[0])
    for paths in [] if {*chosen} & {*built} else unclear:
        raise InputError(
            f"there are {len(paths)} Dockerfiles: {', '.join(paths[:10])}",
            hint=f"name one of them: --dockerfile {paths[0]}",
        )
    return chosen


def _asked(root: Path, asked: str, here: Path) -> str:
    # As it is called: a link stays one.
    path = Path(os.path.normpath(here / asked))
    if not path.is_file():
        raise InputError(f"there is no Dockerfile {path}", hint="--dockerfile names a file")
    folder = path.parent.resolve()
    if not folder.is_relative_to(root):
        raise InputError(f"{path} is not in {root}", hint="run this in its repository")
    return (folder / path.name).relative_to(root).as_posix()


def place_of(settings: Mapping[str, object]) -> str:
    """Return the Dockerfile of an image, by its configuration."""
    if dockerfile := settings.get("dockerfile"):
        return PurePosixPath(str(dockerfile)).as_posix()
    return (PurePosixPath(context_of(settings)) / DOCKERFILE).as_posix()


def context_of(settings: Mapping[str, object]) -> str:
    """Return the build context of an image, by its configuration."""
    context = settings.get("context", ".")
    return str(context.get("path", ".") if isinstance(context, Mapping) else context)


def choose_context(root: Path, dockerfile: str, sources: Iterable[str]) -> str:
    """Return the build context of a Dockerfile, relative to the root, by what it copies.

    Args:
        root: of the repository.
        dockerfile: relative to it.
        sources: what it takes from the context.
    """
    folder = Path(dockerfile).parent
    if folder == Path():
        return "."
    named = [source.lstrip("/") for source in sources if not {"$", "*", "?", "["} & {*source}]
    named = [source for source in named if source not in {"", ".", "./"}]
    in_folder = sum((root / folder / source).exists() for source in named)
    in_root = sum((root / source).exists() for source in named)
    if in_folder != in_root:
        return folder.as_posix() if in_folder > in_root else "."
    return "." if _ASIDE & {part.lower() for part in folder.parts} else folder.as_posix()
