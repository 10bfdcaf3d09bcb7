"""What `docker-bases` does; apart from its options, so that only the task itself loads it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from buildlib.bases.check import (
    BaseReport,
    as_json,
    as_text,
    look_up,
    missing_platforms,
    new_pins,
    not_asked,
)
from buildlib.bases.end_of_life import Lifetimes, read_lifetimes
from buildlib.build.planner import MIRROR, configured_base, known_args
from buildlib.commands.registries import open_registries
from buildlib.commands.session import Edge
from buildlib.config.config import Config
from buildlib.config.tables import Registry
from buildlib.dockerfile.parser import parse_dockerfile
from buildlib.dockerfile.pins import BUILDER, Base, read_bases, repin
from buildlib.errors import BuildlibError, GateError, InputError, raise_problems
from buildlib.files import write_file
from buildlib.image.platform import engine_platform, is_platform, parse_platform
from buildlib.image.reference import Reference, parse_reference
from buildlib.project import Project


def _asked(config: Config, base: Base) -> Reference:
    """Return what is asked for: the base itself, or what a mirror has in its place.

    A mirror may call it otherwise, and that is what a build takes.
    """
    pinned = f"{base.reference}@{base.pinned}" if base.pinned else base.reference
    image = configured_base(config, pinned)
    if image and image.source.startswith(MIRROR) and not image.stand_in:
        return parse_reference(image.source.removeprefix(MIRROR))
    return parse_reference(base.reference)


class _Found(NamedTuple):
    """What the registries said, and which of them said nothing."""

    reports: tuple[BaseReport, ...]
    problems: tuple[BuildlibError, ...]


def _look_up_all(
    run: Edge, config: Config, bases: Sequence[Base], lifetimes: Lifetimes | None
) -> _Found:
    reports: list[BaseReport] = []
    # Two bases of one registry that does not answer are one problem.
    problems: dict[str, BuildlibError] = {}
    asked = [_asked(config, base) for base in bases]
    places = [
        Registry(name=base.reference, repository=one.name)
        for base, one in zip(bases, asked, strict=True)
    ]
    for base, wanted, one in zip(bases, asked, open_registries(run, places), strict=True):
        try:
            report = look_up(
                base,
                one.repository,
                wanted,
                platforms=_platforms(config, base),
                lifetimes=lifetimes,
                today=run.today(),
            )
        except BuildlibError as error:
            problems[error.what] = error
            report = not_asked(base, lifetimes, run.today())
        reports.append(report)
    return _Found(tuple(reports), tuple(problems.values()))


def _platforms(config: Config, base: Base) -> tuple[str, ...]:
    """Return what a base has to be there for: a stage may be fixed to one platform."""
    builder = str(engine_platform())
    fixed = [builder if one == BUILDER else one for one in base.platforms if one]
    # What can't be told is the builder's to say.
    known = [str(parse_platform(one)) for one in fixed if is_platform(one)]
    own = map(str, config.platforms) if "" in base.platforms else ()
    return tuple(dict.fromkeys([*own, *known]))


def _table(run: Edge, config: Config) -> Lifetimes | None:
    settings = config.base_settings()
    if not settings.end_of_life:
        return None
    lifetimes = read_lifetimes(config.root / settings.end_of_life)
    if lifetimes.age(run.today()) > settings.table_max_age:
        run.console.warn(
            f"{settings.end_of_life} was compared with its sources on {lifetimes.checked}, "
            f"{lifetimes.age(run.today())} days ago: {' '.join(lifetimes.sources)}"
        )
    return lifetimes


class _File(NamedTuple):
    """The Dockerfile."""

    path: Path
    text: str
    build_args: Mapping[str, str]


def _read(project: Project) -> _File:
    config = project.config
    path = config.root / config.dockerfile
    if not path.is_file():
        raise InputError(f"Dockerfile not found: {path}")
    # As it is on the disk: not even the ends of its lines may change.
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    # With the values that a build has.
    return _File(path, text, known_args(project, parse_dockerfile(text)))


def refresh(run: Edge, *, check: bool, update: bool, json: bool) -> None:
    """Tell about the base images; pin them anew, or fail where one is out of date.

    Raises:
        GateError: with `check`, something is to be done (exit 7), after all of it was told.
        InputError: there is no base, no such tag, or one lacks a platform (exit 2).
        AuthorisationError, TransientError, EngineError: a registry does not answer; what is known
            without it was told, and with `update` the bases of the others are pinned.
    """
    if check and update:
        raise InputError("--check contradicts --update", hint="give one of the two")
    project = run.project()
    config = project.config
    file = _read(project)
    bases = read_bases(file.text, file.build_args)
    if not bases:
        raise InputError(f"{config.dockerfile} stands on no external image")
    lifetimes = _table(run, config)
    found = _look_up_all(run, config, bases, lifetimes)
    reports, changed = found.reports, False
    if update and any(report.current for report in reports):
        renewed = _update(run, config, file, reports)
        changed = renewed != file.text
        now = read_bases(renewed, file.build_args)
        reports = tuple(replace(one, base=base) for one, base in zip(reports, now, strict=True))
    if json:
        run.console.answer(as_json(reports, lifetimes, run.today(), changed=changed))
    elif not (update and run.dry):
        run.console.answer(as_text(reports, run.today()))
    raise_problems([*found.problems, *(missing_platforms(reports) if update else ())])
    wrong = [report.base.reference for report in reports if report.problems]
    if check and wrong:
        raise GateError(
            f"to be looked after: {', '.join(wrong)}",
            hint="invoke docker-bases --update updates the digests",
        )


def _update(run: Edge, config: Config, file: _File, reports: Sequence[BaseReport]) -> str:
    """Pin anew, or say what would change; return what is in the Dockerfile now."""
    pins = new_pins(reports)
    renewed = repin(file.text, pins, file.build_args)
    now = read_bases(renewed, file.build_args)
    if missed := [base for base in now if base.pinned != pins.get(base.reference, base.pinned)]:
        raise InputError(
            f"{config.dockerfile} names {missed[0].reference} in a form that can't be pinned here",
            why=f"line {missed[0].lines[0]}",
            hint=f"write {missed[0].reference}@{pins[missed[0].reference]} there yourself",
        )
    if run.dry:
        run.console.answer(_difference(config.dockerfile, file.text, renewed))
        return file.text
    if renewed != file.text:
        write_file(file.path, renewed)
    run.console.note(
        f"{config.dockerfile} {'is pinned again' if renewed != file.text else 'stays'}"
    )
    return renewed


def _difference(name: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"a/{name}", f"b/{name}", lineterm=""
    )
    return "\n".join(lines) or f"{name} stays as it is"
