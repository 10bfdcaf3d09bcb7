"""What `docker-scan` does; apart from its options, so that only the task itself loads it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from buildlib.commands.registries import Opened, open_registries
from buildlib.commands.session import Edge
from buildlib.config.config import Config
from buildlib.config.scan import ScanSettings, parse_threshold
from buildlib.config.tag_rules import latest_tag
from buildlib.console import to_json
from buildlib.errors import InputError, raise_problems
from buildlib.files import write_text
from buildlib.findings.sarif import dockerfile_uri
from buildlib.image.archive import Archive
from buildlib.image.size import saved
from buildlib.publish.plan import chosen_registries
from buildlib.registry.transfer import pulled
from buildlib.scan.check import check_scan
from buildlib.scan.report import ScanReport, as_sarif, join_reports, raise_failures


class Wanted(NamedTuple):
    """What to look at: an image by its name, or what every configured registry has as latest."""

    image: str
    published: bool


def scan(run: Edge, wanted: Wanted, *, severity: str, sarif: str, as_json: bool) -> None:
    """Scan, and report.

    Raises:
        GateError: there is a vulnerability that fails the gate (exit 7), after everything was
            reported.
        BuildlibError: it could not be scanned.
    """
    config = run.config()
    settings = config.scan_settings()
    if severity:
        settings = replace(settings, severity=parse_threshold(severity))
    look = _published if wanted.published else _named
    report = look(run, config, settings, wanted.image)
    for warning in report.warnings():
        run.console.warn(warning)
    if sarif:
        file = dockerfile_uri(config.root, config.root / config.dockerfile)
        document = as_sarif(report, dockerfile=file)
        write_text(Path(sarif), to_json(document) + "\n")
    run.console.answer(to_json(report.as_dict()) if as_json else report.as_text())
    raise_failures(report)


def _named(run: Edge, config: Config, settings: ScanSettings, image: str) -> ScanReport:
    named = image or config.local_image
    with saved(run.executor, named) as archive:
        return _check(run, config, settings, archive, named)


def _check(
    run: Edge, config: Config, settings: ScanSettings, archive: Archive, named: str
) -> ScanReport:
    root, today = config.root, run.today()
    return check_scan(archive, settings, run.executor, root=root, image=named, today=today)


def _published(run: Edge, config: Config, settings: ScanSettings, image: str) -> ScanReport:
    """Scan what the registries have; what is the same in several of them is looked at once."""
    if image:
        raise InputError("--published and --image are two things", hint="give one of them")
    reports = []
    for opened in _by_digest(run, config):
        digest, first = opened[0]
        named = ", ".join(_latest(config, one) for _, one in opened)
        run.console.note(f"{named} is {digest}")
        with pulled(first.repository, digest) as archive:
            reports.append(_check(run, config, settings, archive, named))
    return join_reports(reports)


def _latest(config: Config, opened: Opened) -> str:
    """Return what people get from a registry who name no version."""
    return f"{opened.registry.repository}:{latest_tag(config.tag_rules(opened.registry))}"


def _by_digest(run: Edge, config: Config) -> list[list[tuple[str, Opened]]]:
    """Return the registries, those together that have the same image.

    Raises:
        InputError: one of them has none (exit 2).
    """
    found: dict[str, list[tuple[str, Opened]]] = {}
    problems = []
    for opened in open_registries(run, chosen_registries(config, ())):
        named = _latest(config, opened)
        digest = opened.repository.digest(named.rpartition(":")[2])
        if not digest:
            problems.append(InputError(f"there is no {named}", hint="a release publishes it"))
        found.setdefault(digest, []).append((digest, opened))
    raise_problems(problems)
    return list(found.values())
