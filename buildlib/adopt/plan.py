"""What a repository needs to begin: found, decided and shown, before anything is written."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from buildlib.adopt import places, template
from buildlib.adopt.asks import ByHand, asked
from buildlib.adopt.configuration import (
    AdoptedImage,
    Package,
    adopted_image,
    all_settings,
    built_places,
    configuration_text,
    default_image,
    image_names,
    not_carried_over,
)
from buildlib.adopt.dockerfile_facts import DockerfileFacts
from buildlib.adopt.files import Change, NotAppendedError, appended, read_file
from buildlib.adopt.ignore_lines import docker_lines, git_lines, written
from buildlib.adopt.places import DOCKERFILE, Repository
from buildlib.adopt.settings import Setting, nested
from buildlib.adopt.sources import docker_lines as command_lines
from buildlib.adopt.stated_version import stated_version
from buildlib.adopt.text_files import read_text
from buildlib.adopt.translate import translate
from buildlib.adopt.translation import Translation
from buildlib.config.file import OWN_FILE
from buildlib.config.key_types import KeyProblemError
from buildlib.config.load import check_table
from buildlib.config.toml_text import toml_value
from buildlib.errors import InputError
from buildlib.executor import Runner
from buildlib.terminal.text import table

_TASKS: Final = """\
from pathlib import Path

from buildlib.tasks import collection

namespace = collection(Path(__file__).parent, complete=True)
"""
# For a file that has tasks of its own, and one that has a collection of them already.
_OWN_TASKS: Final = (
    "import sys",
    "from invoke import Collection",
    "namespace = Collection.from_module(sys.modules[__name__])",
)
_BESIDE: Final = ("from pathlib import Path", "from buildlib.tasks import collection")
_NAMESPACE: Final = re.compile(r"^(ns|namespace)\b[^=\n]*=", re.MULTILINE)
_WORKFLOW: Final = ".github/workflows/image.yml"
# What `tag-prefix` is by default.
_TAG_PREFIX: Final = "v"
# What takes the version of a package from git, so that a build needs its history.
_SCM: Final = ("setuptools_scm", "setuptools-scm", "hatch-vcs", "versioneer", "poetry-dynamic")


class AdoptionRequest(NamedTuple):
    """What was asked for.

    Args:
        here: what a relative path is relative to.
        dockerfile: path of the one that is meant; empty: it is searched.
        template: language of a new Dockerfile; empty: it is found.
        image: name of the image; empty: it is found.
        noxfile: text of this file; empty: it is not wanted.
        installed: whether there is a program of this name.
        workflow: returns the text of this file, for prefixes of tags with the images that have
            them, and the directory of the configuration in the work tree; None: it is not wanted.
    """

    here: Path
    package: Package
    dockerfile: str = ""
    template: str = ""
    image: str = ""
    noxfile: str = ""
    installed: Callable[[str], bool] = lambda _: True
    workflow: Callable[[Mapping[str, Sequence[str]], str], str] | None = None


@dataclass(kw_only=True, slots=True)
class Adoption:
    """What will be written, and what is there.

    Args:
        root: of the repository.
        images: the names of several images.
        serving: the first of them that serves; empty: none, or there is one image.
        of_files: no image starts anything.
        settings: of the configuration that is written, each with its source.
        present: files that have all that they need.
        notes: what else the user should know.
    """

    root: Path
    images: tuple[str, ...] = ()
    serving: str = ""
    of_files: bool = False
    settings: tuple[Setting, ...] = ()
    changes: list[Change] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    by_hand: list[ByHand] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "root": str(self.root),
            "files": [
                {"path": one.name, "new": one.before is None, "diff": one.diff}
                for one in self.changes
            ],
            "present": self.present,
            "settings": [
                {"key": ".".join(one.path), "value": one.value, "source": one.source}
                for one in self.settings
            ],
            "by_hand": [one._asdict() for one in self.by_hand],
            "notes": self.notes,
        }

    def as_text(self) -> str:
        """Return where each value comes from, and what is left to the user."""
        parts = []
        if self.settings:
            rows = [(".".join(s.path), toml_value(s.value), s.source) for s in self.settings]
            parts.append(table(rows))
        if self.present:
            parts.append(f"already there: {', '.join(self.present)}")
        parts += [
            "\n".join([f"add to {one.name}, as {one.why}:", *(f"  {line}" for line in one.lines)])
            for one in self.by_hand
        ]
        parts += [f"note: {one}" for one in self.notes]
        return "\n\n".join(parts)

    def create(self, name: str, text: str, lines: Sequence[str] = ()) -> None:
        """Plan a new file; where there is one, the user gets the lines to add to it."""
        path = self.root / name
        try:
            before = read_file(path)
        except NotAppendedError as error:
            raise InputError(f"{path} is in the way", why=str(error), hint="move it away") from None
        if before is None:
            self.changes.append(Change(path, name, None, text))
        elif before == text or "buildlib" in before:
            self.present.append(name)
        else:
            self.by_hand.append(ByHand(name, "it is not overwritten", tuple(lines)))

    def append(self, path: Path, lines: Sequence[str]) -> None:
        """Plan lines at the end of a file, which may not be there yet."""
        name = path.relative_to(self.root).as_posix()
        if not lines:
            self.present.append(name)
            return
        try:
            self.changes.append(appended(path, name, lines, self.root))
        except NotAppendedError as error:
            self.by_hand.append(ByHand(name, str(error), tuple(lines)))


def plan_adoption(start: Path, request: AdoptionRequest, runner: Runner | None = None) -> Adoption:
    """Return what a repository needs.

    Args:
        start: a directory of it.
        request: what was asked for.
        runner: reads bake files in HCL, by `docker buildx bake --print`; None: they are not read.

    Raises:
        InputError: it has nothing to build, or not what was asked for (exit 2).
        ToolError: git refuses it (exit 3).
    """
    repository = places.find_repository(start)
    root = repository.root
    found = Adoption(root=root)
    translation = None
    if repository.config is None:
        translation = translate(command_lines(root, runner), root)
    built = built_places(translation)
    chosen, others = places.choose_dockerfiles(repository, request.dockerfile, request.here, built)
    if others:
        shown = ", ".join(others[:5]) + (" …" if others[5:] else "")
        found.notes.append(f"left out: {shown}; --dockerfile chooses another Dockerfile")
    found.notes += not_carried_over(translation, chosen)
    if translation and repository.git and not repository.has_versions:
        found.notes += _untagged(*stated_version(root, translation.rows))
    images, more = _images(found, repository, chosen, request, translation)
    found.images = tuple(filter(None, (one.name for one in images)))
    found.of_files = all(one.facts.is_of_files for one in images)
    if repository.config:
        configured = repository.table.get("images")
        found.images = tuple(configured) if isinstance(configured, dict) else ()
        found.present.append(repository.config.name)
    else:
        _configure(found, images, request, repository)
    tables = (nested(found.settings) or repository.table).get("images")
    if isinstance(tables, dict):
        found.serving = next((name for name, one in tables.items() if _serves(one)), "")
    _tasks(found)
    _ignored(found, repository, images, more)
    if request.noxfile:
        found.create("noxfile.py", request.noxfile, request.noxfile.splitlines())
    if request.workflow:
        directory = repository.git.ask("rev-parse", "--show-prefix") if repository.git else ""
        prefixes = _prefixes(nested(found.settings) or repository.table)
        text = request.workflow(prefixes, directory.rstrip("/"))
        if directory:
            name = f"{'../' * directory.count('/')}{_WORKFLOW}"
            why = "GitHub reads workflows only at the top of a repository"
            found.by_hand.append(ByHand(name, why, tuple(text.splitlines())))
        else:
            found.create(_WORKFLOW, text, text.splitlines())
    return found


def _untagged(version: str, place: str) -> list[str]:
    """Return what has to be done for the version that a file states."""
    if not version:
        return []
    tag = f"{_TAG_PREFIX}{version}"
    said = f"the version is {version} in {place}, but no git tag says so, which a build goes by"
    return [f"{said}: tag the commit that has it first: git tag {tag}"]


def _prefixes(table: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the prefixes of tags that are configured, each with the images that have it."""
    images = table.get("images")
    shared = str(table.get("tag-prefix", _TAG_PREFIX))
    found: dict[str, list[str]] = {}
    for name, one in images.items() if isinstance(images, dict) else ():
        own = one.get("tag-prefix", shared) if isinstance(one, dict) else shared
        found.setdefault(str(own), []).append(name)
    return found or {shared: []}


def _serves(table: dict[str, Any]) -> bool:
    """Return whether the table of an image has a port."""
    smoke = table.get("smoke")
    return isinstance(smoke, dict) and bool(smoke.get("port"))


def _images(
    found: Adoption,
    repository: Repository,
    chosen: list[str],
    request: AdoptionRequest,
    translation: Translation | None,
) -> tuple[list[AdoptedImage], tuple[str, ...]]:
    """Return the images, and what must not be in the context of a Dockerfile that is planned."""
    if chosen and request.template:
        raise InputError(
            "--template is for a repository without a Dockerfile",
            why=f"{repository.root / chosen[0]} will not be overwritten",
        )
    texts = {path: _read(repository.root / path) for path in chosen}
    more: tuple[str, ...] = ()
    if not chosen and repository.config is None:
        texts[DOCKERFILE], more = _new_dockerfile(found, repository, request)
    names = image_names(texts)
    return [
        adopted_image(repository, name, path, texts[path], translation)
        for path, name in names.items()
    ], more


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise InputError(f"{path} can't be read", why=str(error.strerror)) from error


def _configure(
    found: Adoption,
    images: Sequence[AdoptedImage],
    request: AdoptionRequest,
    repository: Repository,
) -> None:
    settings = all_settings(images, default_image(repository, request.image))
    prefix, tag = repository.tag_prefix
    if tag and prefix != _TAG_PREFIX:
        settings = (*settings, Setting(("tag-prefix",), prefix, f"git tag {tag}"))
    while problem := next(_problems(settings), None):
        path, what = problem
        found.notes.append(f"{'.'.join(path)} is left out: {what}")
        settings = tuple(one for one in settings if one.path[: len(path)] != path)
    found.settings = settings
    found.images = tuple(nested(found.settings).get("images", ()))
    found.create(OWN_FILE, configuration_text(found.settings, images, request.package))
    found.by_hand += asked(images, found.settings, request.installed)


def _problems(settings: Sequence[Setting]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the smallest part of the configuration that can't be read, and why."""
    written = nested(settings)
    tables = {(): written} | {
        ("images", name): one for name, one in written.get("images", {}).items()
    }
    for where, one in tables.items():
        for key, problem in check_table(one).items():
            first = problem.problems[0]
            named = first.path if isinstance(first, KeyProblemError) else ()
            path = (*where, *(named if named[:1] == (key,) else (key,)))
            while not any(setting.path[: len(path)] == path for setting in settings):
                path = path[:-1]
            yield path, first.what


def _new_dockerfile(
    found: Adoption, repository: Repository, request: AdoptionRequest
) -> tuple[str, tuple[str, ...]]:
    """Plan a Dockerfile; return its text, and what must not be in its context."""
    language = template.find_language(repository.root, request.template)
    if not language:
        raise InputError(
            f"there is no Dockerfile in {repository.root}",
            why="nor a go.mod, pyproject.toml, requirements.txt, setup.py or package.json, "
            "for which there are templates",
            hint="write a Dockerfile, or name one: --dockerfile PATH",
        )
    text = template.dockerfile_text(repository.root, language, repository.files())
    found.changes.append(Change(repository.root / DOCKERFILE, DOCKERFILE, None, text))
    found.notes.append(
        f"the Dockerfile is a starting point for {language}: read it before you build"
    )
    return text, template.ignored(language)


def _tasks(found: Adoption) -> None:
    """Plan a `tasks.py`, or the lines for one that is there, which may be a package."""
    package = "tasks/__init__.py"
    name = package if (found.root / package).is_file() else "tasks.py"
    text = "\n".join(_lines(found.root / name))
    own = _NAMESPACE.search(text)
    namespace = own[1] if own else "namespace"
    last = f'{namespace}.add_collection(collection(Path(__file__).parent), "image")'
    found.create(name, _TASKS, (*(() if own else _OWN_TASKS), *_BESIDE, last))


def _ignored(
    found: Adoption,
    repository: Repository,
    images: Sequence[AdoptedImage],
    more: Iterable[str],
) -> None:
    """Plan the lines of `.gitignore` and of the ignore files of the builds."""
    root = repository.root
    names = written(_data_directories(nested(found.settings) or repository.table))
    taken = [
        name
        for name in names
        if (root / name).exists() and (repository.git is None or repository.tracks(name))
    ]
    if taken:
        found.notes.append(f"not ignored, as the repository has files there: {', '.join(taken)}")
    path = root / ".gitignore"
    found.append(path, git_lines(_lines(path), taken, names))
    # What tasks write is outside of any other context.
    by_file: dict[Path, list[AdoptedImage]] = {}
    for one in images:
        if (root / one.context).resolve() == root:
            beside = root / f"{one.dockerfile}.dockerignore"
            path = beside if beside.is_file() else root / ".dockerignore"
            by_file.setdefault(path, []).append(one)
    for path, those in by_file.items():
        sources = [source for one in those for source in one.sources]
        needed = [".git"] if any(_needs_history(root, one.facts) for one in those) else []
        lines = docker_lines(_lines(path), [*taken, *needed], sources, more, names)
        found.append(path, lines)


def _data_directories(table: Mapping[str, Any]) -> list[str]:
    """Return the directories of the repository that `docker-run --persistent` keeps data in."""
    images = table.get("images")
    tables = [table, *(images.values() if isinstance(images, dict) else ())]
    runs = [one["run"] for one in tables if isinstance(one, dict) and "run" in one]
    said = [one.get("data-dir") for one in runs if isinstance(one, dict)]
    folders = [posixpath.normpath(one) for one in said if isinstance(one, str)]
    return [one for one in folders if one != "." and not one.startswith(("/", "~", ".."))]


def _lines(path: Path) -> list[str]:
    try:
        text = read_file(path)
    except NotAppendedError:
        return []
    return (text or "").removeprefix("\ufeff").splitlines()


def _needs_history(root: Path, facts: DockerfileFacts) -> bool:
    """Return whether a build asks git, or something that does."""
    names = ("pyproject.toml", "setup.py", "setup.cfg")
    texts = [read_text(root / name, root) or "" for name in names]
    asks = any("git" in run.replace("/", " ").split() for run in facts.runs)
    return asks or any(word in text for text in texts for word in _SCM)
