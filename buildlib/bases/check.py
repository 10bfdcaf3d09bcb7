"""Compares base images with what the registries have, and with their ends of life."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from buildlib.bases.end_of_life import End, Lifetimes
from buildlib.bases.newer_tags import NOTHING_NEWER, Newer, find_newer
from buildlib.dockerfile.pins import Base
from buildlib.errors import BuildlibError, EngineError, FailureError, GateError, InputError
from buildlib.files import counted
from buildlib.findings.report import Report
from buildlib.image.platform import platform_name
from buildlib.image.reference import (
    LATEST,
    Reference,
    canonical,
    parse_reference,
    short_digest,
)
from buildlib.program import PROGRAM
from buildlib.registry.repository import INDEX_TYPES, Document, Repository
from buildlib.registry.transfer import manifests_of
from buildlib.terminal.text import table


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseStatus:
    """One base image, as far as it is known.

    Args:
        base: as the Dockerfile has it.
        current: the digest that its tag has now; empty where the registry was not asked.
        created: when the image behind it was made; None where it does not say.
        platforms: that it is for.
        missing: platforms that it has to be for, and is not.
        newer: tags that are.
        end_of_life: of its line, as the table has it; None where that does not know.
        others: what is wrong beside its pin, in sentences.
        unknown: what the registry does not say, in sentences; no problem by itself.
    """

    base: Base
    current: str = ""
    created: datetime | None = None
    platforms: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    newer: Newer = NOTHING_NEWER
    end_of_life: End | None = None
    others: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """Return what is to be done about it, in sentences."""
        return (*self._pin_problem(), *self.others)

    def _pin_problem(self) -> Iterator[str]:
        if not self.current or self.base.pinned == self.current:
            return
        if not any(self.base.digests):
            yield "not pinned"
        elif not self.base.pinned:
            yield "not pinned to the same digest everywhere"
        else:
            yield f"out of date: the tag is {self.current} now"

    def age(self, today: date) -> int | None:
        """Return the days since it was made."""
        return (today - self.created.date()).days if self.created else None

    def as_dict(self, today: date) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "reference": self.base.reference,
            "lines": list(self.base.lines),
            "pinned": self.base.pinned,
            "current": self.current,
            "created": self.created.isoformat() if self.created else "",
            "age_days": self.age(today),
            "platforms": list(self.platforms),
            "newer": {key: value for key, value in self.newer._asdict().items() if value},
            "end_of_life": str(self.end_of_life or ""),
            "problems": list(self.problems),
            "unknown": list(self.unknown),
        }


def look_up(
    base: Base,
    repository: Repository,
    asked: Reference,
    *,
    platforms: Iterable[str],
    lifetimes: Lifetimes | None,
    today: date,
) -> BaseStatus:
    """Ask a registry about a base image, and compare it.

    Args:
        base: as the Dockerfile has it.
        repository: where it is, or what a mirror has in its place.
        asked: tag or digest of it there.
        platforms: that it has to be for.
        lifetimes: the table of last days.
        today: in UTC.

    Raises:
        InputError: the registry has no such tag (exit 2).
        AuthorisationError, TransientError, EngineError: the registry does not answer.
    """
    tag = asked.tag or ("" if asked.digest else LATEST)
    found = repository.manifest(asked.digest or tag)
    if found is None:
        same = canonical(asked.name) == canonical(parse_reference(base.reference).name)
        raise InputError(
            f"{repository.name} has no {asked.digest or f'tag {tag}'}",
            why="" if same else f"base-images names it in place of {base.reference}",
        )
    images = _images(found, repository)
    newer, unknown = _newer(tag, repository) if tag else (NOTHING_NEWER, ())
    known = not_asked(base, lifetimes, today)
    # The base's own line is in the table, and a later one is not: the table is old.
    if newer.minor and known.end_of_life and lifetimes:
        name = parse_reference(base.reference).repository
        if lifetimes.end(name, newer.minor) is None:
            unknown = (*unknown, f"the table of ends of life has no line for {newer.minor}")
    report = replace(
        known,
        current=found.digest,
        created=max((made for _, made in images if made), default=None),
        platforms=tuple(sorted(platform for platform, _ in images)),
        newer=newer,
        unknown=unknown,
    )
    report = replace(report, missing=tuple(sorted(set(platforms) - set(report.platforms))))
    return replace(report, others=(*_others(report), *report.others))


def _newer(tag: str, repository: Repository) -> tuple[Newer, tuple[str, ...]]:
    """Return the newer tags; where the registry does not list any, why not.

    Many let everybody pull, and list nothing. A base is pinned without that.
    """
    try:
        return find_newer(tag, repository.tags()), ()
    except FailureError as error:
        why = f" ({error.why.splitlines()[0]})" if error.why else ""
        return NOTHING_NEWER, (f"newer tags are not known: {error.what}{why}",)


def not_asked(base: Base, lifetimes: Lifetimes | None, today: date) -> BaseStatus:
    """Return what is known of a base image without its registry."""
    name = parse_reference(base.reference)
    end = lifetimes.end(name.repository, name.tag or LATEST) if lifetimes else None
    over = (f"past its end of life since {end}",) if isinstance(end, date) and end < today else ()
    return BaseStatus(base=base, end_of_life=end, others=over)


def _images(top: Document, repository: Repository) -> list[tuple[str, datetime | None]]:
    """Return platform and time of each image behind a tag."""
    if top.media_type in INDEX_TYPES:
        listed = manifests_of(top)
        # One of them shows when: they are made together, and each costs two requests.
        first = repository.manifest(next(iter(listed))) if listed else None
        made = _config_of(first, repository).get("created") if first else None
        return [(platform, _time(made)) for platform in listed.values()]
    config = _config_of(top, repository)
    return [(platform_name(config), _time(config.get("created")))]


def _config_of(manifest: Document, repository: Repository) -> Mapping[str, Any]:
    try:
        found = json.loads(repository.blob(json.loads(manifest.data)["config"]["digest"]))
    except (ValueError, KeyError, TypeError) as error:
        raise EngineError(f"{repository.name} holds an image without a configuration") from error
    return found if isinstance(found, dict) else {}


def _time(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except ValueError:
        return None


def _others(report: BaseStatus) -> Iterator[str]:
    if report.missing:
        yield f"not there for {', '.join(report.missing)}"
    if report.newer.patch:
        yield f"{report.newer.patch} is newer"


def new_pins(reports: Sequence[BaseStatus]) -> dict[str, str]:
    """Return the digest that each base is to be pinned to, but for one that lacks a platform."""
    return {
        report.base.reference: report.current
        for report in reports
        if report.current and not report.missing
    }


def missing_platforms(reports: Sequence[BaseStatus]) -> list[BuildlibError]:
    """Return a problem for each base that is not pinned as it lacks a platform."""
    return [
        InputError(
            f"{report.base.reference} is not there for {', '.join(report.missing)}",
            why=f"{report.current} is for {', '.join(report.platforms)}",
            hint="it was not pinned; choose another tag, or fix its stage with FROM --platform=…",
        )
        for report in reports
        if report.missing
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class BasesReport(Report):
    """Every base image, as far as it is known.

    Args:
        bases: one for each.
        today: in UTC.
        lifetimes: the table of last days.
        table_path, table_max_age: its file, and the days after which that has to be compared with
            its sources again.
        errors: why registries were not asked.
        updated: the digests were to be written, which they are not for a base that lacks a
            platform.
        changed: they were written, and are others than before.
        strict: a base about which something is to be done fails the check.
        difference: what would change in the Dockerfile, where nothing was to be written.
    """

    bases: tuple[BaseStatus, ...]
    today: date
    lifetimes: Lifetimes | None = None
    table_path: str = ""
    table_max_age: int = 0
    errors: tuple[BuildlibError, ...] = ()
    updated: bool = False
    changed: bool = False
    strict: bool = False
    difference: str = ""

    def warnings(self) -> list[str]:
        """Return a warning where the table of last days is old."""
        known = self.lifetimes
        if not known or known.age(self.today) <= self.table_max_age:
            return []
        since = f"{known.checked}, {counted(known.age(self.today), 'day')} ago"
        sources = " ".join(known.sources)
        return [f"{self.table_path} was compared with its sources on {since}: {sources}"]

    def problems(self) -> list[BuildlibError]:
        """Return what was not done, else what is to be done."""
        found = [*self.errors, *(missing_platforms(self.bases) if self.updated else ())]
        wrong = [one.base.reference for one in self.bases if one.problems]
        if found or not (self.strict and wrong):
            return found
        return [
            GateError(
                f"these base images need attention: {', '.join(wrong)}",
                hint=f"{PROGRAM} docker-bases --update updates the digests",
            )
        ]

    def as_text(self) -> str:
        """Return a table, and under it what is to be done."""
        if not self.bases:
            return "there is no external base image to look after"
        head = ("base", "pinned", "now", "age", "newer", "end of life")
        rows = [
            (
                one.base.reference,
                short_digest(one.base.pinned) or "not pinned",
                short_digest(one.current) or "no answer",
                "" if (age := one.age(self.today)) is None else counted(age, "day"),
                " ".join(filter(None, one.newer)),
                str(one.end_of_life or "not known"),
            )
            for one in self.bases
        ]
        notes = [
            f"{one.base.reference}: {text}"
            for one in self.bases
            for text in (*one.problems, *one.unknown)
        ]
        return "\n".join([table([head, *rows], head=True), *notes])

    def as_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        known = self.lifetimes and {
            "checked": self.lifetimes.checked.isoformat(),
            "sources": list(self.lifetimes.sources),
            "age_days": self.lifetimes.age(self.today),
        }
        rows = [one.as_dict(self.today) for one in self.bases]
        found = {"bases": rows, "end_of_life": known, "changed": self.changed}
        return found | ({"difference": self.difference} if self.difference else {})
