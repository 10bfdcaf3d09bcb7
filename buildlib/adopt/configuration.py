"""The configuration of the images of a repository, by all that was found about each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

from buildlib.adopt.dockerfile_facts import DockerfileFacts, read_facts
from buildlib.adopt.image_name import name_of_directory, name_of_remote
from buildlib.adopt.places import (
    DOCKERFILE,
    Repository,
    choose_context,
    context_of,
    place_of,
)
from buildlib.adopt.settings import Setting, flattened, found_settings, nested, writable
from buildlib.adopt.toml_text import toml_text
from buildlib.adopt.translation import How, Translation
from buildlib.config.toml_text import toml_value
from buildlib.errors import InputError
from buildlib.files import counted
from buildlib.findings.secrets import looks_secret
from buildlib.image.labels import OCI
from buildlib.image.reference import canonical, parse_reference
from buildlib.terminal.streams import printable

_NAMES: Final = {"ghcr.io": "ghcr", "registry.gitlab.com": "gitlab", "docker.io": "dockerhub"}
# A host that there is not, until the user says which.
_REGISTRY: Final = "registry.example"
# What the images of a repository have in common.
_SHARED: Final = ("builder", "builders", "platforms")
# Labels that only the user knows.
_LABELS: Final = ("description", "licenses")
_SIGNING: Final = """\
# What docker-publish signs with, and what counts as signed:
# [sign]
# key = "cosign.key"
# [verify]
# key = "cosign.pub\""""


class Package(NamedTuple):
    """What others read about what runs this.

    Args:
        documentation, schema: addresses; empty: not known.
    """

    documentation: str = ""
    schema: str = ""


@dataclass(frozen=True, kw_only=True)
class AdoptedImage:
    """An image of the repository.

    Args:
        name: of its table `[images.NAME]`; empty: it is the only one.
        dockerfile, context: relative to the repository.
        settings: of the configuration, without the name of the image unless that was said.
    """

    name: str
    dockerfile: str
    context: str
    facts: DockerfileFacts
    settings: tuple[Setting, ...] = ()

    @property
    def sources(self) -> list[str]:
        """Return what it takes from its context."""
        return [path for stage in self.facts.dockerfile.stages for path in stage.sources]


def image_names(dockerfiles: Iterable[str]) -> dict[str, str]:
    """Return the names of the images of Dockerfiles; of a single one it is empty."""
    paths = list(dockerfiles)
    if len(paths) == 1:
        return {paths[0]: ""}
    found: dict[str, str] = {}
    for path in paths:
        folder = PurePosixPath(path).parent.name or "root"
        name, number = name_of_directory(folder), 2
        while name in found.values():
            name, number = f"{name_of_directory(folder)}-{number}", number + 1
        found[path] = name
    return found


def built_places(translation: Translation | None) -> tuple[str, ...]:
    """Return the Dockerfiles that something of the repository builds, the main one first."""
    if translation is None:
        return ()
    return tuple(place_of(one) for one in (translation.settings, *translation.others.values()))


def not_carried_over(translation: Translation | None, dockerfiles: Iterable[str]) -> list[str]:
    """Return sentences about what of the command lines is not in the configuration."""
    if translation is None:
        return []
    left = sum(len(row.left) for row in translation.rows)
    places = [*dockerfiles]
    others = [
        name
        for name, one in translation.others.items()
        if place_of(one) not in places or place_of(one) == place_of(translation.settings)
    ]
    found = [f"images that are not configured: {', '.join(others)}"] if others else []
    if left:
        parts = counted(left, "part")
        found.append(f"{parts} of docker commands not carried over: --from-makefile lists them")
    return found


def adopted_image(
    repository: Repository, name: str, dockerfile: str, text: str, translation: Translation | None
) -> AdoptedImage:
    """Return an image, by what its Dockerfile and the rest of the repository say.

    Args:
        repository: that has it.
        name: of its table; empty: it is the only one.
        dockerfile: relative to the repository.
        text: of that.
        translation: of the command lines of the repository; None: it is configured already.

    Raises:
        InputError: the configuration can't name the Dockerfile (exit 2).
    """
    if not writable(dockerfile):
        raise InputError(
            f"the path of a Dockerfile is not UTF-8: {printable(dockerfile)}",
            why="the configuration can't name it",
            hint="rename it, or choose another: --dockerfile PATH",
        )
    known = repository.table
    if translation is None:
        facts = read_facts(text, str(known.get("target") or ""))
        own = (one for one in repository.image_tables() if place_of(one) == dockerfile)
        context = context_of(next(own, known))
        return AdoptedImage(name=name, dockerfile=dockerfile, context=context, facts=facts)
    said = tuple(_said(translation, dockerfile))
    values = {one.path: one.value for one in said}
    facts = read_facts(text, str(values.get(("target",), "")))
    sources = [path for stage in facts.dockerfile.stages for path in stage.sources]
    guessed = choose_context(repository.root, dockerfile, sources)
    context = str(values.get(("context",), values.get(("context", "path"), guessed)))
    where: list[Setting] = []
    if dockerfile != DOCKERFILE:
        where.append(Setting(("dockerfile",), dockerfile, "the file"))
    if context != "." and ("context", "path") not in values:
        where.append(Setting(("context",), context, f"what {dockerfile} copies"))
    settings = found_settings(facts, dockerfile, [*where, *said])
    return AdoptedImage(
        name=name, dockerfile=dockerfile, context=context, facts=facts, settings=settings
    )


def _said(translation: Translation, dockerfile: str) -> Iterator[Setting]:
    """Yield what the repository's command lines say of the image of a Dockerfile."""
    every = {"": translation.settings, **translation.others}
    name = next((name for name, one in every.items() if place_of(one) == dockerfile), None)
    # Without a line that builds, there may be one that runs.
    if name is None and not translation.settings.keys() - {"run", "registries"}:
        name = ""
    if name is None:
        return
    rows = [row for row in translation.rows if row.image == name]
    parts = [
        (f"{part.what} {part.text}", row.line.place)
        for row in rows
        for part in row.parts
        if part.how is How.KEY
    ]
    files = ", ".join(dict.fromkeys(row.line.file for row in rows if row.line.argv))
    for one in flattened(every[name], files):
        word = re.compile(rf"(?<![\w-]){re.escape(one.path[-1])}(?![\w-])")
        said = next((place for what, place in parts if word.search(what)), files)
        yield one._replace(source=said)


def default_image(repository: Repository, asked: str) -> tuple[str, str]:
    """Return the name of the image where no command line says it, and where that is from.

    Raises:
        InputError: the name that was asked for is not one (exit 2).
    """
    if asked:
        reference = parse_reference(asked)
        if reference.tag or reference.digest:
            raise InputError(
                f"--image {asked}: the version is the tag", hint=f"give {reference.name}"
            )
        return reference.name, "--image"
    if name := name_of_remote(repository.remote):
        return name, "git remote"
    return name_of_directory(repository.root.name), "name of the directory"


def all_settings(images: Sequence[AdoptedImage], image: tuple[str, str]) -> tuple[Setting, ...]:
    """Return the configuration of all images: what they share, and a table for each of several.

    Args:
        images: of the repository.
        image: as `default_image` returns it; one that was asked for is the name in any case.
    """
    name, source = image
    default = Setting(("image",), name, source)
    asked = source == "--image"
    if len(images) == 1:
        known = {one.path: one for one in (default, *images[0].settings)}
        if asked:
            known[default.path] = default
        return tuple(known.values())
    names = [setting for one in images for setting in one.settings if setting.path == default.path]
    counts = Counter(str(one.value) for one in names)
    # A name that several have is what the name of each begins with.
    several = [one for one in names if counts[str(one.value)] > 1]
    shared: dict[tuple[str, ...], Setting] = {}
    if asked or several or len(names) < len(images):
        shared[default.path] = several[0] if several and not asked else default
    own: list[Setting] = []
    for one in images:
        before = len(own)
        # What the table of the image need not name.
        inherited = (PurePosixPath(one.context) / DOCKERFILE).as_posix()
        for setting in one.settings:
            if setting.path == default.path and (asked or counts[str(setting.value)] > 1):
                continue
            common = setting.path[0] in _SHARED
            if common and shared.setdefault(setting.path, setting).value == setting.value:
                continue
            if setting.path == ("dockerfile",) and setting.value == inherited:
                continue
            own.append(setting._replace(path=("images", one.name, *setting.path)))
        if len(own) == before:
            path = ("images", one.name, "dockerfile")
            own.append(Setting(path, one.dockerfile, "the file"))
    return (*shared.values(), *own)


def configuration_text(
    settings: Sequence[Setting], images: Sequence[AdoptedImage], package: Package
) -> str:
    """Return the text of `buildlib.toml`: the settings, and comments on what was not decided."""
    head = [f":schema {package.schema}"] if package.schema else []
    if package.documentation:
        head.append(f" All keys: {package.documentation}/reference/configuration.md")
    labels = [
        {name for stage in one.facts.dockerfile.stages for name in stage.labels} for one in images
    ]
    wanted = [key for key in _LABELS if any(f"{OCI}.{key}" not in names for names in labels)]
    if wanted:
        head.append(" A release needs these, as labels of the image:")
        head += [f' {key} = "…"' for key in wanted]
    tail: list[str] = []
    if len(images) == 1:
        tail = "\n\n".join((*_hints(settings, images[0].facts), _SIGNING)).splitlines()
    return toml_text(nested(settings), head, tail)


def _hints(settings: Sequence[Setting], facts: DockerfileFacts) -> Iterator[str]:
    """Yield comments about what was not decided, each ready to be used."""
    table: Mapping[str, Any] = nested(settings)
    if "smoke" not in table:
        yield (
            "# What docker-smoke checks, and docker-run waits for:\n"
            '# [smoke]\n# port = 8080\n# health-path = "/"\n# commands = [["--help"]]\n'
            '# version-command = ["--version"]'
        )
    if not facts.uid and "run" not in table:
        yield (
            "# The image runs as root. docker-run gives it a read-only root file system and no\n"
            "# capabilities; if it needs them:\n"
            "# [run]\n# read-only = false\n# drop-capabilities = false"
        )
    filled = {"VERSION", "REVISION", "CREATED", *map(str, table.get("inject", {}).values())}
    # A secret is not a build arg.
    wanting = [name for name in facts.wanting if name not in filled and not looks_secret(name)]
    if wanting and "build-args" not in table:
        lines = tuple(f'# {name} = "…"' for name in wanting)
        yield "\n".join(("# The Dockerfile has no default for:", "# [build-args]", *lines))
    if lines := registry_lines(table):
        yield "\n".join(("# For docker-publish:", *(f"# {line}" for line in lines)))


def registry_lines(table: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the lines with the repository to publish to; nothing where one is configured."""
    image = str(table.get("image", ""))
    if "registries" in table:
        return ()
    place = canonical(image) if "/" in image else f"{_REGISTRY}/{image}"
    registry = place.partition("/")[0]
    return (f"[registries.{_NAMES.get(registry, 'main')}]", f"repository = {toml_value(place)}")
