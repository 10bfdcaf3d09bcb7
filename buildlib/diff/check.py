"""Compares two images, platform by platform."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final

from buildlib.config.config import Config
from buildlib.diff.compare import compare
from buildlib.diff.describe import Description, describe
from buildlib.diff.report import DiffReport, PlatformDiff, Side
from buildlib.errors import FailureError, ToolError
from buildlib.executor import Runner
from buildlib.findings.vulnerability import Vulnerability
from buildlib.image.archive import Archive, Image
from buildlib.image.sbom import packages_of
from buildlib.scan.check import check_scan

Scan = Callable[[Archive, str], tuple[Vulnerability, ...]]
NOT_SCANNED: Final = "vulnerabilities: not compared; --scan compares them"


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """One of the two images: its name, and its archive."""

    name: str
    archive: Archive


def scanning(config: Config, executor: Runner, today: date) -> Scan:
    """Return what scans an image by the project's settings; what is ignored there does not count.

    Args:
        config: of the project.
        executor: starts the scanner.
        today: in UTC, for ignores.
    """
    settings = replace(config.scan_settings(), allow_unknown=True)

    def scan(archive: Archive, name: str) -> tuple[Vulnerability, ...]:
        return check_scan(
            *(archive, settings, executor), root=config.root, image=name, today=today
        ).findings

    return scan


@dataclass(slots=True)
class DiffRequest:
    """What is compared beside files and configuration.

    Args:
        rules: the changes are checked: a platform that was added is compared with another one.
        allowed: patterns of names that do not name a secret.
        syft: starts syft, for the packages; None: they are not compared.
        scan: returns the vulnerabilities of an image; None: they are not compared.
        notes: gets what was not compared, and why.
    """

    rules: bool = False
    allowed: tuple[str, ...] = ()
    syft: Runner | None = None
    scan: Scan | None = None
    notes: list[str] = field(default_factory=list)

    def packages(self, archive: Archive, image: Image) -> Mapping[str, str] | None:
        """Return the packages of an image, or None with a note."""
        if self.syft is None:
            return None
        try:
            return packages_of(archive, image, self.syft)
        except ToolError as error:
            self.notes.append(f"packages: not compared: syft is missing; to get it: {error.hint}")
        except FailureError as error:
            self.notes.append(f"packages: not compared: {error.what}")
        # Without the packages of one image, those of the others are not asked for.
        self.syft = None
        return None

    def findings(self, one: Subject) -> dict[str, list[Vulnerability]] | None:
        """Return the vulnerabilities of an image by platform; None: they are not compared."""
        if self.scan is None:
            return None
        found: dict[str, list[Vulnerability]] = {}
        for finding in self.scan(one.archive, one.name):
            found.setdefault(finding.platform, []).append(finding)
        return found


def diff_images(old: Subject, new: Subject, request: DiffRequest) -> DiffReport:
    """Return what changed from one image to the other.

    Raises:
        InputError: one is not an image, or not whole (exit 2).
        ToolError: there is no scanner, and findings are to be compared (exit 3).
        GateError: the scanner failed (exit 7).
    """
    first, second = (Side(name=one.name, digest=one.archive.top()) for one in (old, new))
    ones = {image.platform: image for image in old.archive.images()}
    others = {image.platform: image for image in new.archive.images()}
    if first.digest == second.digest:
        return DiffReport(old=first, new=second)
    both = sorted(ones.keys() & others.keys())
    only_old, only_new = (sorted(one.keys() - both) for one in (ones, others))
    pairs = [(ones[name], others[name]) for name in both]
    added = [(_nearest(ones, name), others[name]) for name in only_new] if request.rules else []
    # The configuration has the digest of every layer: those of the same only are stored otherwise.
    changed = [pair for pair in (*pairs, *added) if pair[0].config_digest != pair[1].config_digest]
    found = (request.findings(old), request.findings(new)) if changed else (None, None)

    def compared(pair: tuple[Image, Image]) -> PlatformDiff:
        if pair not in changed:
            digests = (pair[0].digest, pair[1].digest)
            return PlatformDiff(platform=pair[1].platform, digests=digests)
        described = [
            describe(
                one.archive,
                image,
                allowed=request.allowed,
                findings=None if known is None else tuple(known.get(image.platform, ())),
            )
            for one, image, known in zip((old, new), pair, found, strict=True)
        ]
        # The same files have the same packages: syft takes longer than all the rest.
        if described[0].files != described[1].files:
            described = [
                replace(one, packages=request.packages(subject.archive, image))
                for one, subject, image in zip(described, (old, new), pair, strict=True)
            ]
        return _platform_diff(*described)

    return DiffReport(
        old=first,
        new=second,
        platforms=tuple(map(compared, pairs)),
        only_old=tuple(only_old),
        only_new=tuple(only_new),
        # How large a platform was that there was not is unknown.
        added=tuple(
            replace(compared(pair), instead=pair[0].platform, sizes=(0, 0)) for pair in added
        ),
        notes=tuple(dict.fromkeys(request.notes)),
    )


def _nearest(images: Mapping[str, Image], platform: str) -> Image:
    """Return the image that has most of a platform in common: its system, then its processor."""
    wanted = platform.split("/")

    def alike(name: str) -> int:
        return sum(one == other for one, other in zip(name.split("/"), wanted, strict=False))

    return images[max(sorted(images), key=alike)]


def _platform_diff(old: Description, new: Description) -> PlatformDiff:
    # An engine may keep layers that it was given compressed unpacked.
    alike = old.packed == new.packed
    return PlatformDiff(
        platform=new.platform,
        digests=(old.digest, new.digest),
        sizes=(old.stored, new.stored) if alike else (old.unpacked, new.unpacked),
        changes=compare(old, new),
    )
