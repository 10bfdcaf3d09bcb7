"""The work of `docker-scan`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from buildlib.commands.session import Edge
from buildlib.config.config import Config
from buildlib.config.scan import ScanSettings, parse_threshold
from buildlib.config.tag_rules import latest_tag
from buildlib.errors import InputError, raise_problems
from buildlib.findings.report import show
from buildlib.findings.sarif import write_sarif
from buildlib.image.archive import Archive
from buildlib.image.size import saved
from buildlib.registry.open import Opened, asking, chosen_registries, open_registries
from buildlib.registry.transfer import pulled
from buildlib.scan.check import check_scan
from buildlib.scan.report import ScanReport, join_reports


def scan(
    run: Edge, image: str, *, published: bool, severity: str, sarif: str, as_json: bool
) -> None:
    """Scan an image, or what every configured registry has as latest, and report.

    Raises:
        GateError: there is a vulnerability that fails the gate (exit 7), after everything was
            reported.
        BuildlibError: it could not be scanned.
    """
    config = run.config()
    settings = config.scan_settings()
    if severity:
        settings = replace(settings, severity=parse_threshold(severity))
    if published and image:
        raise InputError("--published and --image are two things", hint="give one of them")
    if published:
        report = _published(run, config, settings)
    else:
        named = image or run.local_image(config)
        with run.console.opening(f"reading {named}", saved(run.executor, named)) as archive:
            report = _check(run, config, settings, archive, named)
    if sarif:
        file = config.root / config.dockerfile
        write_sarif(Path(sarif), report, root=config.root, dockerfile=file)
    show(report, run.console, as_json=as_json)
    raise_problems(report.problems())


def _check(
    run: Edge, config: Config, settings: ScanSettings, archive: Archive, named: str
) -> ScanReport:
    root, today = config.root, run.today()
    with run.console.running(f"scanning {named}"):
        return check_scan(archive, settings, run.executor, root=root, image=named, today=today)


def _published(run: Edge, config: Config, settings: ScanSettings) -> ScanReport:
    """Scan what the registries have; what is the same in several of them is scanned once."""
    reports = []
    for digest, opened in _by_digest(run, config).items():
        named = ", ".join(_latest(config, one) for one in opened)
        run.console.note(f"{named} is {digest}")
        image = pulled(opened[0].repository, digest)
        with run.console.opening(f"pulling {named}", image) as archive:
            reports.append(_check(run, config, settings, archive, named))
    return join_reports(reports)


def _latest(config: Config, opened: Opened) -> str:
    """Return the reference that people pull who name no version."""
    return f"{opened.registry.repository}:{latest_tag(config.tag_rules(opened.registry))}"


def _by_digest(run: Edge, config: Config) -> dict[str, list[Opened]]:
    """Return the registries by the digest of their image.

    Raises:
        InputError: one of them has none (exit 2).
    """
    found: dict[str, list[Opened]] = {}
    problems = []
    for opened in open_registries(chosen_registries(config, ()), run.env, run.executor):
        named = _latest(config, opened)
        with run.console.running(asking([opened])):
            digest = opened.repository.digest(named.rpartition(":")[2])
        if not digest:
            problems.append(InputError(f"there is no {named}", hint="a release publishes it"))
        found.setdefault(digest, []).append(opened)
    raise_problems(problems)
    return found
