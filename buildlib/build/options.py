"""The options of buildx that a build gets beside those with a field of their own in the plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from os.path import normpath
from pathlib import Path
from typing import Final

from buildlib.config.build_options import (
    CHECKS,
    INDEX_LEVELS,
    LAYOUT,
    NO_BUILD_OPTIONS,
    BuildSettings,
    is_directory,
    pair,
    short_attestation,
    split_levels,
)
from buildlib.config.buildx_options import OPTIONS
from buildlib.config.config import Config
from buildlib.config.key_types import MismatchError
from buildlib.errors import InputError
from buildlib.project import Project
from buildlib.shell import csv_field, csv_fields, csv_pairs
from buildlib.versioning.placeholders import fill

Pairs = tuple[tuple[str, str], ...]

CONTEXT: Final = "build-context"
# They are of one image, and not of what is read for it.
_OF_OUTPUT: Final = frozenset({"annotation", "attest", "iidfile"})
# By what a second one of the same name replaces the first; any other is given as well.
_NAMES: Final[Mapping[str, Callable[[str], str]]] = {
    "add-host": lambda text: text.partition("=")[0],
    "annotation": lambda text: text.partition("=")[0],
    "attest": lambda text: csv_pairs(text)["type"],
    CONTEXT: lambda text: text.partition("=")[0],
    "resource": lambda text: text.partition("=")[0],
    "ssh": lambda text: text.partition("=")[0],
    "ulimit": lambda text: text.partition("=")[0],
    **dict.fromkeys(("cgroup-parent", "iidfile", "network", "shm-size"), lambda _: ""),
}


def settings_of(config: Config) -> BuildSettings:
    """Return the options that every build of a project gets."""
    return config.build or NO_BUILD_OPTIONS


def checked(name: str, text: str) -> tuple[str, ...]:
    """Return what an option of the command line comes to, as buildx takes it.

    Raises:
        InputError: buildx would not take it (exit 2).
    """
    if name in {"provenance", "sbom"}:
        return checked("attest", short_attestation(name, text))
    try:
        return CHECKS[name](text) if name in CHECKS else (text,)
    except MismatchError as error:
        raise InputError(f"--{name} can't be {text!r}", hint=f"give {error}") from None


def given_options(given: Iterable[tuple[str, str]], folder: Path) -> Pairs:
    """Return the options of a command line, with what is short for another one replaced.

    Args:
        given: name and text of each.
        folder: that relative paths are meant from.

    Raises:
        InputError: buildx would not take one of them (exit 2).
    """
    return tuple(
        ("attest" if name in {"provenance", "sbom"} else name, anchored(name, one, folder))
        for name, text in given
        for one in checked(name, text)
    )


def anchored(name: str, text: str, folder: Path) -> str:
    """Return an option with its relative paths taken from a directory.

    A path that begins with `~` is in the user's home.
    """
    match name:
        case "file" | "iidfile" | "metadata-file":
            return _place(text, folder)
        case "ssh":
            ssh, equals, paths = text.partition("=")
            places = [_place(one, folder) for one in paths.split(",") if one]
            if any("," in place for place in places):
                raise InputError(
                    f"the path of a key or socket of ssh {ssh} has a comma",
                    why="buildx takes it for two paths",
                )
            return f"{ssh}{equals}{','.join(places)}"
        case "build-context":
            context, source = pair(text)
            if source.startswith(LAYOUT):
                return f"{context}={LAYOUT}{_place(source.removeprefix(LAYOUT), folder)}"
            return f"{context}={_place(source, folder)}" if is_directory(source) else text
        case "policy":
            found = (pair(one) for one in csv_fields(text))
            return ",".join(csv_field(_policy_field(*one, folder)) for one in found)
    return text


def _place(text: str, folder: Path) -> str:
    # `~0` is a file here, and for nobody else a home.
    home = text == "~" or text.startswith("~/")
    return str(folder / (Path(text).expanduser() if home else Path(text)))


def _policy_field(key: str, value: str, folder: Path) -> str:
    file = key.strip().lower() == "filename" and not value.startswith("cwd://")
    # buildx compares it with the build context, letter by letter.
    return f"{key}={normpath(_place(value, folder)) if file else value}"


def configured_options(config: Config, facts: Mapping[str, str], *, attests: bool) -> Pairs:
    """Return the options that the table `build` gives a build.

    Args:
        facts: that stand in the values of annotations.
        attests: the image may have attestations, which make its digest another one every time.
    """
    settings, root = settings_of(config), config.root
    found: list[tuple[str, str]] = []
    for option in OPTIONS:
        table, _, key = option.key.partition(".")
        if table != "build" or option.name in {"provenance", "sbom"}:
            continue
        if option.name == "attest" and not attests:
            continue
        texts = _texts(getattr(settings, key.replace("-", "_")), facts)
        found += [(option.name, anchored(option.name, text, root)) for text in texts]
    return tuple(found)


def _texts(value: str | tuple[str, ...] | Pairs, facts: Mapping[str, str]) -> Iterator[str]:
    if isinstance(value, str):
        yield from [value] if value else []
        return
    for one in value:
        yield one if isinstance(one, str) else f"{one[0]}={fill(one[1], facts)}"


def merged(first: Pairs, second: Pairs) -> Pairs:
    """Return options of which the second ones replace those of the same name."""
    known = {_name_of(*one) for one in second if one[0] in _NAMES}
    kept = [one for one in first if one[0] not in _NAMES or _name_of(*one) not in known]
    names = [option.name for option in OPTIONS]
    both = dict.fromkeys((*kept, *_last(second)))
    return tuple(sorted(both, key=lambda one: names.index(one[0])))


def _last(given: Pairs) -> Iterator[tuple[str, str]]:
    """Yield options without those that a later one of the same name replaces.

    A host may have several addresses.
    """
    last = {_name_of(*one): one for one in given}
    for one in given:
        if one[0] not in _NAMES or one[0] == "add-host" or last[_name_of(*one)] == one:
            yield one


def _name_of(name: str, text: str) -> tuple[str, str]:
    return name, _NAMES[name](text) if name in _NAMES else text


def build_options(
    project: Project, given: Pairs, *, attests: bool, several: bool, cached: bool
) -> Pairs:
    """Return the options of a build, in the order of buildx's help.

    Args:
        given: of the command line, with absolute paths.
        attests: the image may have attestations.
        several: it is built for several platforms: there is an index to annotate.
        cached: steps may come from the cache.

    Raises:
        InputError: a directory is in no commit, and the commit is built (exit 2).
    """
    configured = configured_options(project.config, project.facts, attests=attests)
    if not several:
        configured = tuple(filter(None, map(without_index, configured)))
    found = merged(configured, given)
    return tuple(
        (name, _of_commit(project, name, text))
        for name, text in found
        if cached or name != "no-cache-filter"
    )


def without_index(option: tuple[str, str]) -> tuple[str, str] | None:
    """Return an option without what is about an index; None: nothing of it is left."""
    name, text = option
    if name != "annotation":
        return option
    key, _, value = text.partition("=")
    levels, key = split_levels(key)
    kept = ",".join(level for level in levels if level not in INDEX_LEVELS)
    if levels and not kept:
        return None
    return name, f"{kept}:{key}={value}" if kept else f"{key}={value}"


def _of_commit(project: Project, name: str, text: str) -> str:
    """Return an option with the commit's files for those of the work tree that get into an image.

    Keys, sockets and layouts are not of the repository.
    """
    if project.checkout is None:
        return text
    if name == CONTEXT and is_directory(pair(text)[1]):
        context, source = pair(text)
        return f"{context}={project.checkout.place(Path(source))}"
    if name != "policy":
        return text
    # buildx finds a policy below the build context alone.
    before = str(project.config.root / project.config.context)
    found = (one.replace(f"={before}/", f"={project.context}/", 1) for one in csv_fields(text))
    return ",".join(map(csv_field, found))


def of_image(options: Pairs) -> Pairs:
    """Return the options of what is read, without those of what comes out."""
    return tuple(one for one in options if one[0] not in _OF_OUTPUT)


def placed_config(project: Project) -> Config:
    """Return the configuration for a copy of the project's files, which lies somewhere else.

    Its policies are left out: they change no byte of an image, and are found below the build
    context alone.
    """
    config, settings = project.config, settings_of(project.config)

    def placed(key: str, option: str) -> tuple[str, ...]:
        found = (text for text in getattr(settings, key))
        return tuple(anchored(option, one, config.root) for one in found)

    contexts = (
        _of_commit(project, CONTEXT, anchored(CONTEXT, f"{name}={source}", config.root))
        for name, source in settings.contexts
    )
    build = replace(
        settings, ssh=placed("ssh", "ssh"), contexts=tuple(map(pair, contexts)), policy=()
    )
    secrets = tuple(
        (name, kind, _place(text, config.root) if kind == "file" else text)
        for name, kind, text in config.secrets
    )
    return replace(config, build=build if config.build else None, secrets=secrets)
