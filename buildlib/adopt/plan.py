"""What a repository needs to begin: found, decided and shown, before anything is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NamedTuple

from buildlib.adopt import places, template
from buildlib.adopt.dockerfile_facts import DockerfileFacts, read_facts
from buildlib.adopt.files import Change, NotAppendedError, appended, read_file
from buildlib.adopt.ignore_lines import docker_lines, git_lines, own_names
from buildlib.adopt.image_name import name_of_directory, name_of_remote
from buildlib.adopt.places import DOCKERFILE, Repository
from buildlib.adopt.settings import Setting, found_settings, nested
from buildlib.adopt.toml_text import toml_text, toml_value
from buildlib.config.config import OWN_FILE, check_table
from buildlib.console import table
from buildlib.errors import InputError
from buildlib.findings.secrets import looks_secret
from buildlib.image.reference import is_registry, parse_reference

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
# What takes the version of a package from git, so that a build needs its history.
_SCM: Final = ("setuptools_scm", "setuptools-scm", "hatch-vcs", "versioneer", "poetry-dynamic")
_NAMES: Final = {"ghcr.io": "ghcr", "registry.gitlab.com": "gitlab", "docker.io": "dockerhub"}


class Package(NamedTuple):
    """How others get what runs this.

    Args:
        requirement: as pip takes it.
        documentation, schema: addresses; empty: not known.
    """

    requirement: str
    documentation: str = ""
    schema: str = ""


class AdoptionRequest(NamedTuple):
    """What was asked for.

    Args:
        here: what a relative path is relative to.
        dockerfile: path of the one that is meant; empty: it is searched.
        template: language of a new Dockerfile; empty: it is found.
        image: name of the image; empty: it is found.
        noxfile, workflow: write these too.
    """

    here: Path
    package: Package
    dockerfile: str = ""
    template: str = ""
    image: str = ""
    noxfile: bool = False
    workflow: bool = False


class ByHand(NamedTuple):
    """Lines that a file needs and that the user adds, and why."""

    name: str
    why: str
    lines: tuple[str, ...]


@dataclass(kw_only=True, slots=True)
class Adoption:
    """What will be written, and what is there.

    Args:
        root: of the repository.
        settings: of the configuration that is written, each with its source.
        present: files that have all that they need.
        notes: what else the user should know.
    """

    root: Path
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
        """Return the diffs, where each value comes from, and what is left to the user."""
        parts = [one.diff for one in self.changes]
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


def plan_adoption(start: Path, request: AdoptionRequest) -> Adoption:
    """Return what a repository needs.

    Args:
        start: a directory of it.
        request: what was asked for.

    Raises:
        InputError: it has nothing to build, or not what was asked for (exit 2).
        ToolError: git refuses it (exit 3).
    """
    repository = places.find_repository(start)
    found = Adoption(root=repository.root)
    dockerfile, others = places.choose_dockerfile(repository, request.dockerfile, request.here)
    text, more = _dockerfile(found, repository, dockerfile, request)
    dockerfile = dockerfile or DOCKERFILE
    if others:
        found.notes.append(
            f"{', '.join(others[:5])}{' …' if others[5:] else ''} is left out: "
            "--dockerfile chooses another Dockerfile"
        )
    facts = read_facts(text, str(repository.table.get("target") or ""))
    sources = [path for stage in facts.dockerfile.stages for path in stage.sources]
    context = _context(repository, dockerfile, sources)
    _configuration(found, repository, facts, (dockerfile, context), request)
    _tasks(found)
    _ignored(found, repository, facts, (dockerfile, context), more)
    if request.noxfile:
        text = _template("noxfile.txt").replace("@REQUIREMENT@", request.package.requirement)
        found.create("noxfile.py", text, ("import buildlib",))
    if request.workflow:
        branch = repository.git.ask("symbolic-ref", "--short", "HEAD") if repository.git else ""
        text = _template("workflow.yml").replace("@BRANCH@", toml_value(branch or "main"))
        text = text.replace("@REQUIREMENT@", request.package.requirement)
        found.create(_WORKFLOW, text)
    return found


def _template(name: str) -> str:
    return files("buildlib.adopt").joinpath("templates", name).read_text(encoding="utf-8")


def _dockerfile(
    found: Adoption, repository: Repository, dockerfile: str, request: AdoptionRequest
) -> tuple[str, tuple[str, ...]]:
    """Return the text of the Dockerfile, and what must stay out of its context.

    A new one is planned where there is none.
    """
    if dockerfile:
        if request.template:
            raise InputError(
                "--template is for a repository without a Dockerfile",
                why=f"{repository.root / dockerfile} will not be overwritten",
            )
        try:
            data = (repository.root / dockerfile).read_bytes()
        except OSError as error:
            path = repository.root / dockerfile
            raise InputError(f"{path} can't be read", why=str(error.strerror)) from error
        return data.decode("utf-8", "replace"), ()
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
    found.notes.append(f"the Dockerfile is a beginning, for {language}: read it before you build")
    return text, template.ignored(language)


def _context(repository: Repository, dockerfile: str, sources: Iterable[str]) -> str:
    if repository.config is None:
        return places.choose_context(repository.root, dockerfile, sources)
    known = repository.table.get("context", ".")
    return str(known.get("path", ".") if isinstance(known, dict) else known)


def _configuration(
    found: Adoption,
    repository: Repository,
    facts: DockerfileFacts,
    where: tuple[str, str],
    request: AdoptionRequest,
) -> None:
    if repository.config:
        found.present.append(repository.config.name)
        return
    dockerfile, context = where
    given: list[Setting] = []
    if dockerfile != DOCKERFILE:
        given.append(Setting(("dockerfile",), dockerfile, "the file"))
    if context != ".":
        given.append(Setting(("context",), context, f"what {dockerfile} copies"))
    settings = found_settings(facts, _image(repository, request), dockerfile, given)
    problems = check_table(nested(settings))
    found.notes += [f"{key} is left out: {problem.what}" for key, problem in problems.items()]
    found.settings = tuple(one for one in settings if one.path[0] not in problems)
    found.create(OWN_FILE, configuration_text(found.settings, facts, request.package))


def configuration_text(
    settings: Sequence[Setting], facts: DockerfileFacts, package: Package
) -> str:
    """Return the text of `buildlib.toml`: the settings, and comments on what was not decided."""
    head = [f":schema {package.schema}"] if package.schema else []
    if package.documentation:
        head.append(f" All keys: {package.documentation}/reference/configuration.md")
    return toml_text(nested(settings), head, list(_hints(settings, facts)))


def _image(repository: Repository, request: AdoptionRequest) -> tuple[str, str]:
    if request.image:
        reference = parse_reference(request.image)
        if reference.tag or reference.digest:
            raise InputError(
                f"--image {request.image}: the version is the tag", hint=f"give {reference.name}"
            )
        return reference.name, "--image"
    if name := name_of_remote(repository.remote):
        return name, "git remote"
    return name_of_directory(repository.root.name), "name of the directory"


def _hints(settings: Sequence[Setting], facts: DockerfileFacts) -> Iterable[str]:
    """Return comments about what was not decided, each ready to be used."""
    tables = {one.path[0] for one in settings}
    values = {one.path: one.value for one in settings}
    image = str(values.get(("image",), ""))
    registry = image.partition("/")[0]
    parts: list[list[str]] = []
    if "/" in image and is_registry(registry) and "registries" not in tables:
        name = _NAMES.get(registry, "main")
        parts.append(
            [
                "# For docker-publish:",
                f"# [registries.{name}]",
                f"# repository = {toml_value(image)}",
            ]
        )
    if not facts.uid and "run" not in tables:
        parts.append(
            [
                "# The image runs as root. docker-run gives it a read-only root file system and no",
                "# capabilities; if it needs them:",
                "# [run]",
                "# read-only = false",
                "# drop-capabilities = false",
            ]
        )
    filled = {str(one.value) for one in settings if one.path[0] == "inject"}
    filled |= {"VERSION", "REVISION", "CREATED"}
    # A secret is not a build arg.
    wanting = [name for name in facts.wanting if name not in filled and not looks_secret(name)]
    if wanting and "build-args" not in tables:
        lines = [f'# {name} = "…"' for name in wanting]
        parts.append(["# The Dockerfile has no default for:", "# [build-args]", *lines])
    return "\n\n".join("\n".join(part) for part in parts).splitlines()


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
    facts: DockerfileFacts,
    where: tuple[str, str],
    more: Iterable[str],
) -> None:
    """Plan the lines of `.gitignore` and of the ignore file of the build."""
    root = repository.root
    taken = [
        name
        for name in own_names()
        if (root / name).exists() and (repository.git is None or repository.tracks(name))
    ]
    if taken:
        found.notes.append(f"not ignored, as the repository has files there: {', '.join(taken)}")
    path = root / ".gitignore"
    found.append(path, git_lines(_lines(path), taken))
    dockerfile, context = where
    if (root / context).resolve() != root:
        # What tasks write is outside of it.
        return
    own = root / f"{dockerfile}.dockerignore"
    path = own if own.is_file() else root / ".dockerignore"
    sources = [one for stage in facts.dockerfile.stages for one in stage.sources]
    needed = [".git"] if _needs_history(root, facts) else []
    found.append(path, docker_lines(_lines(path), [*taken, *needed], sources, more))


def _lines(path: Path) -> list[str]:
    try:
        text = read_file(path)
    except NotAppendedError:
        return []
    return (text or "").removeprefix("\ufeff").splitlines()


def _needs_history(root: Path, facts: DockerfileFacts) -> bool:
    """Return whether a build asks git, or something that does."""
    names = ("pyproject.toml", "setup.py", "setup.cfg")
    texts = [
        (root / name).read_text("utf-8", "replace") for name in names if (root / name).is_file()
    ]
    asks = any("git" in run.replace("/", " ").split() for run in facts.runs)
    return asks or any(word in text for text in texts for word in _SCM)
