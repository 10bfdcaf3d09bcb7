"""The sizes of a release, kept in a file, and what has become of them since."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from buildlib.console import to_json
from buildlib.errors import GateError, InputError
from buildlib.files import human_size, write_file
from buildlib.image.size import SizeReport

_MOST: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedSize:
    """One platform's image: bytes as stored and unpacked; `layers` by what made them, stored."""

    stored: int
    unpacked: int
    layers: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeRecord:
    """The sizes of one version, by platform."""

    version: str
    platforms: Mapping[str, RecordedSize]

    def as_json(self) -> str:
        """Return the same text for the same sizes: keys are sorted, and there is no time in it."""
        sizes = {
            platform: {
                "stored": size.stored,
                "unpacked": size.unpacked,
                "layers": [{"created_by": made, "stored": stored} for made, stored in size.layers],
            }
            for platform, size in self.platforms.items()
        }
        return to_json({"version": self.version, "platforms": sizes})


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What has become of one platform's image.

    Args:
        platform: `os/arch[/variant]`.
        since: the version of the record.
        before, now: bytes as they are pulled.
        unpacked_before, unpacked_now: bytes of the files.
        layers: those that grew, the most first: what made it, and by how many bytes.
    """

    platform: str
    since: str
    before: int
    now: int
    unpacked_before: int
    unpacked_now: int
    layers: tuple[tuple[str, int], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return asdict(self) | {"percent": round(_percent(self.before, self.now), 2)}

    def as_text(self) -> str:
        """Return the change as a line."""
        unpacked = _percent(self.unpacked_before, self.unpacked_now)
        return (
            f"{self.platform}: {_percent(self.before, self.now):+.1f} % since {self.since}"
            f" ({human_size(self.before)} then), {unpacked:+.1f} % unpacked"
        )


def _percent(before: int, now: int) -> float:
    return (now - before) * 100 / before if before else 0.0


def make_record(version: str, reports: Iterable[SizeReport]) -> SizeRecord:
    """Return the record of what was measured."""
    return SizeRecord(
        version=version,
        platforms={
            report.platform: RecordedSize(
                stored=report.stored,
                unpacked=report.unpacked,
                layers=tuple((layer.created_by, layer.stored) for layer in report.layers),
            )
            for report in reports
        },
    )


def write_record(path: Path, record: SizeRecord) -> None:
    """Write it whole, or not at all.

    Raises:
        InputError: it can't be written there (exit 2).
    """
    try:
        write_file(path, record.as_json() + "\n")
    except OSError as error:
        raise InputError(f"the record of sizes can't be written: {path}", why=str(error)) from error


def read_record(path: Path) -> SizeRecord | None:
    """Return the record in a file; None where there is no file yet.

    Raises:
        InputError: it can't be read, or is no record (exit 2).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read", why=str(error)) from error
    try:
        return _parsed(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path} is not a record of sizes",
            why=f"{type(error).__name__}: {error}",
            hint="restore it, or write it again: invoke docker-size --record",
        ) from error


def _parsed(document: Mapping[str, Any]) -> SizeRecord:
    platforms = {
        str(platform): RecordedSize(
            stored=_bytes(size["stored"]),
            unpacked=_bytes(size["unpacked"]),
            layers=tuple(
                (str(layer["created_by"]), _bytes(layer["stored"]))
                for layer in size.get("layers") or ()
            ),
        )
        for platform, size in document["platforms"].items()
    }
    return SizeRecord(version=str(document["version"]), platforms=platforms)


def _bytes(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"not a number of bytes: {value!r}")
    return value


def changes(record: SizeRecord, reports: Iterable[SizeReport]) -> tuple[Change, ...]:
    """Return what has become of each platform that the record has."""
    return tuple(
        Change(
            platform=report.platform,
            since=record.version,
            before=size.stored,
            now=report.stored,
            unpacked_before=size.unpacked,
            unpacked_now=report.unpacked,
            layers=_grown(size, report),
        )
        for report in reports
        if (size := record.platforms.get(report.platform))
    )


def _grown(size: RecordedSize, report: SizeReport) -> tuple[tuple[str, int], ...]:
    # Two layers may have been made by the same words: they count together.
    grown: Counter[str] = Counter()
    for layer in report.layers:
        grown[layer.created_by] += layer.stored
    for made_by, stored in size.layers:
        grown[made_by] -= stored
    # A record without layers can't tell which of them grew.
    known = [item for item in grown.items() if item[1] > 0] if size.layers else []
    return tuple(sorted(known, key=lambda item: (-item[1], item[0]))[:_MOST])


def new_platforms(record: SizeRecord, reports: Iterable[SizeReport]) -> tuple[str, ...]:
    """Return the platforms that the record does not have."""
    return tuple(r.platform for r in reports if r.platform not in record.platforms)


def check_growth(found: Sequence[Change], allowed: int) -> list[GateError]:
    """Return a problem for each image that has grown by more than `allowed` percent."""
    return [
        GateError(
            f"{change.platform} has grown by {_percent(change.before, change.now):.1f} % "
            f"since {change.since}, and {allowed} % are allowed",
            why="; ".join(
                f"{' '.join(made_by.split()) or 'the base'}: +{human_size(size)}"
                for made_by, size in change.layers
            ),
            hint="invoke docker-size --record accepts it",
        )
        for change in found
        if change.now * 100 > change.before * (100 + allowed)
    ]
