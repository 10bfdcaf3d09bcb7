"""Scans an image for known vulnerabilities."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Final

from buildlib.config.scan import ScanSettings
from buildlib.errors import InputError, ToolError
from buildlib.executor import Runner
from buildlib.image.archive import Archive, Image
from buildlib.image.unknown_packages import check_known
from buildlib.scan.grype import GRYPE
from buildlib.scan.report import ScanReport, make_report
from buildlib.scan.scanner import Scanned, Scanner
from buildlib.scan.trivy import TRIVY
from buildlib.tempfiles import passing_folder

_SCANNERS: Final = (GRYPE, TRIVY)


def check_scan(
    archive: Archive,
    settings: ScanSettings,
    executor: Runner,
    *,
    root: Path,
    image: str,
    today: date,
) -> ScanReport:
    """Scan every platform of an image.

    Args:
        settings: which scanner, what fails, and what is ignored.
        root: of the project; VEX files are relative to it.
        image: its name, for the report.
        today: in UTC, for ignores.

    Raises:
        InputError: the image or a VEX file can't be read (exit 2).
        ToolError: there is no scanner, or its database is missing, too old or broken: the gate
            has not passed (exit 3).
        GateError: the scanner could not read the image, its answer can't be understood, or it
            sees no package in one that holds a program (exit 7).
    """
    vex = _vex(settings, root)
    scanner, version = _choose(settings.scanner, executor)
    unknown = settings.allow_unknown
    scans = [
        (one.platform, _scan(archive, one, scanner, vex, executor, allow_unknown=unknown))
        for one in archive.images()
    ]
    return make_report(image, (scanner.name, version), scans, settings, today)


def find_scanner(
    settings: ScanSettings, executor: Runner, root: Path, *, database: bool = True
) -> str:
    """Return the scanner that `check_scan` would use, with its version; asked before a build.

    Args:
        settings: which scanner.
        executor: starts it.
        root: of the project; VEX files are relative to it.
        database: it gets its database as well, if it has none.

    Raises:
        InputError: a VEX file is missing (exit 2).
        ToolError: there is no scanner, or it has no database (exit 3).
    """
    _vex(settings, root)
    scanner, version = _choose(settings.scanner, executor)
    if database:
        scanner.get_ready(executor)
    return f"{scanner.name} {version}".strip()


def _vex(settings: ScanSettings, root: Path) -> tuple[Path, ...]:
    paths = tuple((root / path).resolve() for path in settings.vex)
    for named, path in zip(settings.vex, paths, strict=True):
        if not path.is_file():
            raise InputError(
                f"scan.vex: there is no file {named}", hint="it is relative to the project's root"
            )
    return paths


def _choose(name: str, executor: Runner) -> tuple[Scanner, str]:
    """Return the scanner that is wanted, or the first that is here, and its version."""
    wanted = [scanner for scanner in _SCANNERS if name in {"", scanner.name}]
    for scanner in wanted:
        version = scanner.version(executor)
        if version is not None:
            return scanner, version
    raise ToolError(
        f"{' and '.join(scanner.name for scanner in wanted)} not found: nothing was scanned",
        hint="install one of them: " * (len(wanted) > 1)
        + "; ".join(f"{one.name}: {one.install}" for one in wanted),
    )


def _scan(
    archive: Archive,
    image: Image,
    scanner: Scanner,
    vex: Sequence[Path],
    executor: Runner,
    *,
    allow_unknown: bool,
) -> Scanned:
    with passing_folder("scan") as folder:
        single = folder / "image.tar"
        archive.write_image(image, single)
        scanned = scanner.scan(executor, single, image.platform, vex)
    # No finding where no package is seen means nothing: a program that is there was not recognised.
    if not scanned.packages:
        check_known(archive, image, scanner.name, allowed=allow_unknown)
    return scanned
