"""The work of `docker-bases`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from buildlib.bases.check import BasesReport, BaseStatus, look_up, new_pins, not_asked
from buildlib.bases.end_of_life import Lifetimes, read_lifetimes
from buildlib.build.options import settings_of
from buildlib.build.planner import MIRROR, configured_base, known_args, normal_name
from buildlib.commands.session import Edge
from buildlib.config.config import Config
from buildlib.config.images import FROM_HERE
from buildlib.config.tables import Registry
from buildlib.dockerfile.parser import parse_dockerfile
from buildlib.dockerfile.pins import BUILDER, Base, read_bases, repin
from buildlib.errors import BuildlibError, InputError, raise_problems
from buildlib.files import difference, write_file
from buildlib.findings.report import show, warn
from buildlib.image.platform import engine_platform, is_platform, parse_platform
from buildlib.image.reference import Reference, parse_reference
from buildlib.project import Project
from buildlib.registry.open import open_registries
from buildlib.retry import Patience

# Where a placeholder is used, its registry is probably out of reach.
_ONCE: Final = Patience(attempts=1, timeout=10.0)


def _is_own(config: Config, base: Base) -> bool:
    """Return whether it is another image of the repository, which no registry has to have."""
    image = configured_base(config, base.reference)
    return bool(image and image.source.startswith(FROM_HERE))


def _is_placeholder(config: Config, base: Base) -> bool:
    """Return whether builds on this machine use a placeholder for a base image."""
    image = configured_base(config, base.reference)
    return bool(image and image.stand_in)


def _asked(config: Config, base: Base) -> Reference:
    """Return what is looked up: the base itself, or what a mirror has in its place.

    A mirror may have another name for it, and that is what a build pulls.
    """
    pinned = f"{base.reference}@{base.pinned}" if base.pinned else base.reference
    image = configured_base(config, pinned)
    if image and image.source.startswith(MIRROR) and not image.stand_in:
        return parse_reference(image.source.removeprefix(MIRROR))
    return parse_reference(base.reference)


def _look_up_all(
    run: Edge, config: Config, bases: Sequence[Base], lifetimes: Lifetimes | None
) -> tuple[tuple[BaseStatus, ...], tuple[BuildlibError, ...]]:
    """Return what is known of each base, and why registries did not answer."""
    found: list[BaseStatus] = []
    # Two bases of one registry that does not answer are one problem.
    problems: dict[str, BuildlibError] = {}
    asked = [_asked(config, base) for base in bases]
    places = [
        Registry(name=base.reference, repository=one.name)
        for base, one in zip(bases, asked, strict=True)
    ]
    placeholders = [_is_placeholder(config, base) for base in bases]
    opened = [
        found
        for place, placeholder in zip(places, placeholders, strict=True)
        for found in open_registries(
            *([place], run.env, run.executor, _ONCE if placeholder else None), dry=run.dry
        )
    ]
    for base, wanted, one, placeholder in zip(bases, asked, opened, placeholders, strict=True):
        try:
            with run.console.running(f"looking up {base.reference}"):
                status = look_up(
                    base,
                    one.repository,
                    wanted,
                    platforms=_platforms(config, base),
                    lifetimes=lifetimes,
                    today=run.today(),
                )
        except BuildlibError as error:
            if placeholder:
                error.hint = (
                    f"{base.reference} is a placeholder on this machine, and a test release does "
                    f"not need it pinned: pin it where {one.registry.host} answers"
                )
            problems[error.what] = error
            status = not_asked(base, lifetimes, run.today())
        found.append(status)
    return tuple(found), tuple(problems.values())


def _platforms(config: Config, base: Base) -> tuple[str, ...]:
    """Return what a base has to be there for: a stage may be fixed to one platform."""
    builder = str(engine_platform())
    fixed = [builder if one == BUILDER else one for one in base.platforms if one]
    # A variable is left to the builder.
    known = [str(parse_platform(one)) for one in fixed if is_platform(one)]
    own = map(str, config.platforms) if "" in base.platforms else ()
    return tuple(dict.fromkeys([*own, *known]))


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


def _listed(config: Config, text: str, build_args: Mapping[str, str]) -> list[Base]:
    """Return the base images of a Dockerfile; what a build context stands for is not one."""
    contexts = {normal_name(name) for name, _ in settings_of(config).contexts}
    found = read_bases(text, build_args)
    return [
        base
        for base in found
        if normal_name(base.reference) not in contexts and not _is_own(config, base)
    ]


def bases(run: Edge, *, check: bool, update: bool, as_json: bool) -> None:
    """Report on the base images; update their digests, or fail where one is out of date.

    Raises:
        GateError: with `check`, something is to be done (exit 7), after all of it was reported.
        InputError: there is no such tag, or a base lacks a platform (exit 2).
        AuthorisationError, TransientError, EngineError: a registry does not answer; what is known
            without it was reported, and with `update` the bases of the others are pinned.
    """
    if check and update:
        raise InputError("--check contradicts --update", hint="give one of the two")
    project = run.project()
    config = project.config
    file = _read(project)
    listed = _listed(config, file.text, file.build_args)
    settings = config.base_settings()
    table = settings.end_of_life
    lifetimes = read_lifetimes(config.root / table) if table else None
    found, errors = _look_up_all(run, config, listed, lifetimes) if listed else ((), ())
    renewed, shown = file.text, ""
    if update and any(one.current for one in found):
        renewed = _renewed(config, file, found)
        if run.dry:
            shown = difference(config.dockerfile, file.text, renewed)
            shown = shown or f"{config.dockerfile} stays as it is"
            renewed = file.text
        else:
            _write(run, config, file, renewed)
        now = _listed(config, renewed, file.build_args)
        found = tuple(replace(one, base=base) for one, base in zip(found, now, strict=True))
    report = BasesReport(
        bases=found,
        today=run.today(),
        lifetimes=lifetimes,
        table_path=table,
        table_max_age=settings.table_max_age,
        errors=errors,
        updated=update,
        changed=renewed != file.text,
        strict=check,
        difference=shown,
    )
    if update and run.dry and not as_json:
        # The difference is printed in its place.
        warn(report, run.console)
        if shown:
            run.console.answer(shown)
    else:
        show(report, run.console, as_json=as_json)
    raise_problems(report.problems())


def _renewed(config: Config, file: _File, found: Sequence[BaseStatus]) -> str:
    """Return the Dockerfile with the digests that the registries have now.

    Raises:
        InputError: one of them can't be written there (exit 2).
    """
    pins = new_pins(found)
    renewed = repin(file.text, pins, file.build_args)
    now = _listed(config, renewed, file.build_args)
    if missed := [base for base in now if base.pinned != pins.get(base.reference, base.pinned)]:
        raise InputError(
            f"{config.dockerfile} names {missed[0].reference} in a form that can't be pinned here",
            why=f"line {missed[0].lines[0]}",
            hint=f"write {missed[0].reference}@{pins[missed[0].reference]} there yourself",
        )
    return renewed


def _write(run: Edge, config: Config, file: _File, renewed: str) -> None:
    if renewed != file.text:
        write_file(file.path, renewed)
    run.console.note(
        f"{config.dockerfile} {'is pinned again' if renewed != file.text else 'stays'}"
    )
