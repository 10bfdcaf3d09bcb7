"""The part of GoReleaser's configuration that we write, and its place in the file.

What is between our two marks is ours; everything else is a person's, and stays to the byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from glob import has_magic
from typing import Final

from buildlib.build.plan import BuildPlan
from buildlib.config.build_options import is_directory
from buildlib.config.tables import Registry
from buildlib.dockerfile.parser import context_path
from buildlib.errors import InputError
from buildlib.goreleaser.templates import SNAPSHOT, VERSION, escape, tag_template
from buildlib.image.labels import CREATED_LABEL, REVISION_LABEL, VERSION_LABEL
from buildlib.program import PROGRAM
from buildlib.project import Project
from buildlib.version_schemes import Scheme
from buildlib.versioning.placeholders import fill

BEGIN: Final = "# >>> written by `invoke goreleaser-config`, out of [tool.buildlib]; not by hand"
END: Final = "# <<<"
_OURS: Final = re.compile(rf"^{re.escape(BEGIN)}\n.*?^{re.escape(END)}\n", re.MULTILINE | re.DOTALL)
_NEW_FILE: Final = "version: 2\n\n"
# What is another value for every commit is a template, by its name in our own configuration;
# GoReleaser's dates are in our form.
_FILLED: Final = {
    "version": VERSION,
    "revision": "{{ .FullCommit }}",
    "created": "{{ .CommitDate }}",
    "branch": "{{ .Branch }}",
}
_FACTS: Final = {
    VERSION_LABEL: VERSION,
    REVISION_LABEL: _FILLED["revision"],
    CREATED_LABEL: _FILLED["created"],
}
_EPOCH: Final = {"SOURCE_DATE_EPOCH": "{{ .CommitTimestamp }}"}

_Pairs = Iterable[tuple[str, str]]
_Value = str | list[str] | dict[str, str]


def make_block(project: Project, plan: BuildPlan) -> str:
    """Return our part, as YAML.

    Args:
        project: gives registries and rules.
        plan: of a build of all platforms as GoReleaser does it.

    Raises:
        InputError: no registry is configured, or a rule or the versions are not GoReleaser's to
            know (exit 2).
    """
    config = project.config
    if not config.registries:
        raise InputError(
            "there is nowhere to publish to",
            hint=f'add {config.table("registries.NAME")} with repository = "…"',
        )
    if config.version_scheme is not Scheme.SEMVER:
        raise InputError(
            f'GoReleaser accepts SemVer only, and version-scheme is "{config.version_scheme}"',
            hint=f"publish with {PROGRAM} docker-publish, or tag by SemVer",
        )
    lines = [BEGIN, "snapshot:", f"  version_template: {_quoted(SNAPSHOT)}", "dockers_v2:"]
    for registries in _alike(project):
        entry = dict(_entry(project, plan, registries))
        body = [line for key, value in entry.items() for line in _field(key, value)]
        lines += [f"  - {body[0]}", *(f"    {line}" for line in body[1:])]
    return "\n".join([*lines, END]) + "\n"


def _alike(project: Project) -> Iterator[list[Registry]]:
    """Yield the registries that get the same tags: one image is built for all of them."""
    groups: dict[object, list[Registry]] = {}
    for registry in project.config.registries:
        groups.setdefault(project.config.tag_rules(registry), []).append(registry)
    yield from groups.values()


def _entry(
    project: Project, plan: BuildPlan, registries: list[Registry]
) -> Iterator[tuple[str, _Value]]:
    config = project.config
    own = registries[0]
    where = f"registries.{own.name}.tags" if own.tags else "tags"
    templates = (tag_template(rule, where) for rule in config.tag_rules(own))
    yield "id", own.name
    yield "dockerfile", escape(config.dockerfile)
    yield "images", [registry.repository for registry in registries]
    yield "platforms", [str(platform) for platform in plan.platforms]
    yield "tags", [template for template in templates if template]
    yield "extra_files", list(_files(plan))
    yield "labels", _told(plan.labels, config.labels, _FACTS)
    yield "annotations", _told(plan.annotations, config.labels, _FACTS)
    given = [(name, value) for name, value in plan.build_args if value is not None]
    facts = {arg: _FILLED[name.lower()] for name, arg in config.injected().items() if arg}
    yield "build_args", _told(given, config.build_args, {**facts, **_EPOCH})
    yield "flags", list(_flags(plan))
    # BuildKit's scanner is an image that would have to come from a registry.
    yield "sbom", "false"


def _told(pairs: _Pairs, configured: _Pairs, facts: Mapping[str, str]) -> dict[str, str]:
    """Return names and values; a fact of the commit is a template, unless somebody set it."""
    fixed = {name: fill(text, _FILLED, escape) for name, text in configured}
    known = {**facts, **fixed}
    return {name: known[name] if name in known else escape(value) for name, value in pairs}


def _files(plan: BuildPlan) -> Iterator[str]:
    """Yield what the Dockerfile copies, but for the programs, which GoReleaser puts there.

    It takes plain paths below the project alone: no pattern, no `.`, nothing absolute.

    Raises:
        InputError: the whole context is copied (exit 2).
    """
    for source in plan.sources:
        name = context_path(source)
        if "$" in source:
            continue
        if name == ".":
            raise InputError(
                f"the Dockerfile copies the whole build context ({source})",
                why="GoReleaser's context holds the programs and the files that are named, alone",
                hint="name what the image needs, as in COPY src/ ./",
            )
        there = sorted(plan.context.glob(name)) if has_magic(name) else [plan.context / name]
        yield from (escape(path.relative_to(plan.context).as_posix()) for path in there)


def _flags(plan: BuildPlan) -> Iterator[str]:
    if plan.below:
        raise InputError(
            f"GoReleaser can't build {plan.image}",
            why="it is based on another image of this repository",
            hint=f"publish it with {PROGRAM} docker-publish",
        )
    if plan.target:
        yield f"--target={escape(plan.target)}"
    for name, source in plan.build_contexts:
        if is_directory(source):
            raise _of_this_machine(f"the build context {name}")
        yield f"--build-context={escape(name)}={escape(source)}"
    for option, text in plan.options:
        if option == "policy" or (option == "ssh" and "=" in text):
            raise _of_this_machine(f"--{option}")
        yield f"--{option}={escape(text)}"


def _of_this_machine(what: str) -> InputError:
    return InputError(
        f"{what} names files of this machine",
        why="GoReleaser builds in a directory of its own, maybe on another machine",
        hint=f"publish with {PROGRAM} docker-publish",
    )


def _quoted(text: str) -> str:
    """Return text as a YAML scalar that stays text whatever it looks like."""
    if text.isprintable() and "'" not in text:
        return f"'{text}'"
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(char: str) -> str:
    """Return a character as it stands between double quotes; a raw line break would be a blank."""
    if char in '"\\':
        return f"\\{char}"
    return char if char.isprintable() else f"\\U{ord(char):08x}"


def _field(key: str, value: _Value) -> list[str]:
    if isinstance(value, str):
        return [f"{key}: {_quoted(value)}"]
    if not value:
        return []
    if isinstance(value, list):
        return [f"{key}:", *(f"  - {_quoted(item)}" for item in value)]
    # Names are templates to GoReleaser as well.
    pairs = ((_quoted(escape(name)), _quoted(item)) for name, item in value.items())
    return [f"{key}:", *(f"  {name}: {item}" for name, item in pairs)]


def with_block(text: str, block: str) -> str:
    """Return a configuration with our part in its place; at the end where it has none yet.

    Raises:
        InputError: one of our marks is missing, or there are several parts (exit 2).
    """
    found = _OURS.findall(text)
    if (text.count(BEGIN), len(found)) not in {(0, 0), (1, 1)}:
        raise InputError(
            "the marks of the written part are not in order",
            why=f"it begins with {BEGIN!r} and ends with {END!r}, once",
            hint=f"remove what is left of it, and run {PROGRAM} goreleaser-config",
        )
    if found:
        return text.replace(found[0], block)
    before = text or _NEW_FILE
    gap = "" if before.endswith("\n\n") else "\n" if before.endswith("\n") else "\n\n"
    return f"{before}{gap}{block}"
