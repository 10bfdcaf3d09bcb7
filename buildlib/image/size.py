"""How large an image is, what put it there, and whether that is within the budget."""

from __future__ import annotations

import heapq
import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from buildlib.errors import EngineError, GateError, InputError
from buildlib.executor import Executor
from buildlib.files import human_size, write_file
from buildlib.findings.secrets import hide_assigned
from buildlib.image.archive import Archive, Image, archive_file, open_archive
from buildlib.image.reference import parse_reference
from buildlib.program import PROGRAM
from buildlib.tempfiles import no_room, passing_folder, says_no_room
from buildlib.terminal.streams import printable
from buildlib.terminal.text import table, to_json

# An ID, or the beginning of one.
_ID: Final = re.compile("[0-9a-f]+")
# How many files are kept before all but the largest are dropped.
_MANY: Final = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSize:
    """A layer: bytes as stored and unpacked, and the instruction that made it."""

    digest: str
    stored: int
    unpacked: int
    files: int
    created_by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSize:
    """A file and its bytes; `layer` counts from the base, 1."""

    path: str
    size: int
    layer: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSize:
    """One platform's image; 0: any size."""

    platform: str
    digest: str
    stored: int
    unpacked: int
    budget: int
    layers: tuple[LayerSize, ...]
    largest: tuple[FileSize, ...]

    @property
    def within(self) -> bool:
        """Return whether it is within the budget."""
        return not over_budget(self.stored, self.budget)

    def as_dict(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return asdict(self) | {"within": self.within}

    def as_text(self) -> str:
        """Return what is pulled, layer by layer, and the largest files."""
        share = f", of {human_size(self.budget)} allowed" if self.budget else ""
        sizes = f"{human_size(self.stored)} to pull{share}; {human_size(self.unpacked)} unpacked"
        head = f"{self.platform}: {sizes}"
        layers = [
            (str(number), human_size(layer.stored), human_size(layer.unpacked), _short(layer))
            for number, layer in enumerate(self.layers, 1)
        ]
        files = [(human_size(file.size), f"layer {file.layer}", file.path) for file in self.largest]
        parts = [head, table([("layer", "stored", "unpacked", "made by"), *layers], head=True)]
        return "\n\n".join([*parts, *([table(files)] if files else [])])


def over_budget(size: int, budget: int) -> str:
    """Return that a size is over its budget, or nothing; 0: any size."""
    if not budget or size <= budget:
        return ""
    return f"{human_size(size)}, and {human_size(budget)} are allowed"


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeReport:
    """The size of each platform's image, and what it was in a release.

    Args:
        images: one for each platform.
        record: the sizes of the release; None: there is nothing to compare with.
        growth: percent that an image may have grown since.
    """

    images: tuple[ImageSize, ...]
    record: SizeRecord | None = None
    growth: int = 0

    @property
    def changes(self) -> tuple[SizeChange, ...]:
        """Return the change of each platform that the record has."""
        if not self.record:
            return ()
        known = self.record.platforms
        return tuple(
            _change(self.record.version, known[image.platform], image)
            for image in self.images
            if image.platform in known
        )

    def warnings(self) -> tuple[str, ...]:
        """Return a warning for each platform that the record does not have."""
        return tuple(
            f"{image.platform} is not in the record of {self.record.version}"
            for image in self.images
            if self.record and image.platform not in self.record.platforms
        )

    def problems(self) -> list[GateError]:
        """Return a problem for each image over its budget, and for each that grew too much."""
        over = [
            GateError(
                f"{image.platform} is {human_size(image.stored - image.budget)} over its budget",
                why=over_budget(image.stored, image.budget),
                hint=f"{PROGRAM} docker-size names the layers and the largest files",
            )
            for image in self.images
            if not image.within
        ]
        grown = [
            GateError(
                f"{change.platform} has grown by {_percent(change.before, change.now):.1f} % "
                f"since {change.since}, and {self.growth} % are allowed",
                why="; ".join(
                    f"{' '.join(made_by.split()) or 'the base'}: +{human_size(size)}"
                    for made_by, size in change.layers
                ),
                hint=f"{PROGRAM} docker-size --record accepts it",
            )
            for change in self.changes
            if change.now * 100 > change.before * (100 + self.growth)
        ]
        return [*over, *grown]

    def as_dict(self) -> dict[str, Any]:
        """Return every size and change, ready for JSON."""
        return {
            "images": [image.as_dict() for image in self.images],
            "changes": [change.as_dict() for change in self.changes],
        }

    def as_text(self) -> str:
        """Return the sizes of each image, and a line for each change."""
        changes = "\n".join(change.as_text() for change in self.changes)
        return "\n\n".join(filter(None, [*(one.as_text() for one in self.images), changes]))


def check_size(
    archive: Archive,
    *,
    budget: int = 0,
    top: int = 5,
    record: SizeRecord | None = None,
    growth: int = 0,
    allowed: Iterable[str] = (),
) -> SizeReport:
    """Measure every platform's image.

    Args:
        budget: bytes that one may have as it is pulled; 0: any.
        top: how many of the largest files to name.
        growth: percent that an image may have grown since.
        allowed: patterns of names that do not name a secret.
    """
    images = tuple(
        measure(archive, one, budget=budget, top=top, allowed=allowed) for one in archive.images()
    )
    return SizeReport(images=images, record=record, growth=growth)


def _short(layer: LayerSize) -> str:
    words = " ".join(layer.created_by.removeprefix("/bin/sh -c #(nop) ").split())
    return (
        textwrap.shorten(printable(words), width=80, placeholder=" …")
        or "(base, without a history)"
    )


def measure(
    archive: Archive, image: Image, *, budget: int = 0, top: int = 5, allowed: Iterable[str] = ()
) -> ImageSize:
    """Return the size of one platform's image.

    Args:
        budget: bytes that it may have as it is pulled; 0: any.
        top: how many of the largest files to name.
        allowed: patterns of names that do not name a secret.
    """
    patterns = tuple(allowed)
    layers: list[LayerSize] = []
    largest: list[FileSize] = []
    for number, layer in enumerate(image.layers, 1):
        unpacked = count = 0
        for entry in archive.files(layer):
            if entry.kind == "file":
                unpacked, count = unpacked + entry.size, count + 1
                largest.append(FileSize(path=printable(entry.path), size=entry.size, layer=number))
            if len(largest) > _MANY:
                largest = _largest(largest, top)
        layers.append(
            LayerSize(
                digest=layer.digest,
                stored=layer.size,
                unpacked=unpacked,
                files=count,
                created_by=hide_assigned(layer.created_by, patterns),
            )
        )
    return ImageSize(
        platform=image.platform,
        digest=image.digest,
        stored=image.size,
        unpacked=sum(layer.unpacked for layer in layers),
        budget=budget,
        layers=tuple(layers),
        largest=tuple(_largest(largest, top)),
    )


def _largest(files: Iterable[FileSize], top: int) -> list[FileSize]:
    return heapq.nlargest(top, files, key=lambda file: (file.size, file.path))


def _tagged(executor: Executor, image: str) -> str:
    """Return a name with the tag that it means: `docker save` takes a bare one for all its tags."""
    try:
        named = parse_reference(image)
    except InputError:
        return image
    if named.tag or named.digest:
        return image
    latest = f"{image}:latest"
    # The beginning of an ID could be a name as well, which docker looks for first.
    is_id = _ID.fullmatch(image) and executor.run(("docker", "image", "inspect", latest)).code
    return image if is_id else latest


@contextmanager
def saved(executor: Executor, image: str) -> Iterator[Archive]:
    """Open an image: an archive where there is a file of that name, else one of the engine's.

    Raises:
        InputError: the file is not an image, or there is no such archive (exit 2).
        EngineError: the engine has no such image, or can't save it (exit 4).
    """
    if file := archive_file(image):
        with open_archive(file) as archive:
            yield archive
        return
    with passing_folder("image") as folder:
        path = folder / "image.tar"
        done = executor.run(("docker", "save", "--output", str(path), _tagged(executor, image)))
        if says_no_room(done.stderr):
            raise no_room(f"{image} does not fit")
        if done.code != 0 and Path(image).is_file():
            raise InputError(
                f"{image} can't be read as an image",
                why="the file is not an archive, and the engine has no image of that name",
                hint=f"{PROGRAM} docker-build --output oci writes an archive",
            )
        if done.code != 0:
            raise EngineError(
                f"the image {image} can't be read",
                why=done.stderr.strip(),
                hint=f"{PROGRAM} docker-build makes it; or give an archive",
            )
        with open_archive(path) as archive:
            yield archive


# The sizes of a release, kept in a file, and how they have changed since.


# How many of the layers that grew most are named.
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
class SizeChange:
    """How the size of one platform's image has changed.

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


def make_record(version: str, images: Iterable[ImageSize]) -> SizeRecord:
    """Return the record of what was measured."""
    return SizeRecord(
        version=version,
        platforms={
            image.platform: RecordedSize(
                stored=image.stored,
                unpacked=image.unpacked,
                layers=tuple((layer.created_by, layer.stored) for layer in image.layers),
            )
            for image in images
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
        InputError: it can't be read, or is not a record (exit 2).
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
            hint=f"restore it, or write it again: {PROGRAM} docker-size --record",
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


def _change(since: str, size: RecordedSize, image: ImageSize) -> SizeChange:
    return SizeChange(
        platform=image.platform,
        since=since,
        before=size.stored,
        now=image.stored,
        unpacked_before=size.unpacked,
        unpacked_now=image.unpacked,
        layers=_grown(size, image),
    )


def _grown(size: RecordedSize, image: ImageSize) -> tuple[tuple[str, int], ...]:
    # Two layers may have been made by the same words: they count together.
    grown: Counter[str] = Counter()
    for layer in image.layers:
        grown[layer.created_by] += layer.stored
    for made_by, stored in size.layers:
        grown[made_by] -= stored
    # A record without layers can't tell which of them grew.
    known = [item for item in grown.items() if item[1] > 0] if size.layers else []
    return tuple(sorted(known, key=lambda item: (-item[1], item[0]))[:_MOST])
