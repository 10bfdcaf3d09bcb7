"""What is in the image of a record: its layers, its largest files, its packages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from buildlib.build.layers import engine_layers
from buildlib.commands.session import Edge
from buildlib.config.config import Config
from buildlib.errors import BuildlibError, CancelledError
from buildlib.image.archive import Archive
from buildlib.image.platform import parse_platform
from buildlib.image.sbom import FORMATS, packages_in, subject_of
from buildlib.image.size import check_size, saved
from buildlib.records.record import LargeFile, Layer, Record
from buildlib.records.redaction import Redaction
from buildlib.records.store import RecordStore

# How many of the largest files of each platform's image.
_LARGEST = 10


def with_contents(run: Edge, config: Config, store: RecordStore, record: Record) -> Record:
    """Return a record with what is in its image, and keep it, where the image is still there.

    Args:
        run: of the task.
        config: of the project.
        store: that the record is in.
        record: of a build.
    """
    image = "" if record.largest or not record.digest else _place(run, record)
    if not image:
        return record
    try:
        with run.console.opening(f"reading {image}", saved(run.executor, image)) as archive:
            if record.archive and archive.top() != record.digest:
                return record
            found = contents_of(record, config, archive, store.key())
        if not record.archive:
            # The engine counts a layer in its own way.
            own = record.native if record.native in record.platforms else record.platforms[0]
            found = replace(found, layers=record.layers or engine_layers(run.executor, image, own))
        store.write(found)
    except CancelledError:
        raise
    except (BuildlibError, OSError) as error:
        why = error.what if isinstance(error, BuildlibError) else str(error)
        run.console.note(f"the image was not measured: {why}")
        return record
    return found


def contents_of(record: Record, config: Config, archive: Archive, key: bytes) -> Record:
    """Return a record with what is in an archive of its image.

    Args:
        record: of the build.
        config: of the project.
        archive: with the image.
        key: of the fingerprints of secrets.
    """
    allowed = config.allowed_names()
    hidden = Redaction(key=key, allowed=allowed).text
    report = check_size(archive, top=_LARGEST, allowed=allowed)
    ending = next(iter(FORMATS.values()))
    packages = {}
    for image in report.images:
        slug = parse_platform(image.platform).slug
        path = config.root / config.folder("dist") / f"{config.short_name}-{slug}.{ending}"
        if subject_of(path) == image.digest:
            packages[image.platform] = packages_in(path)
    return replace(
        record,
        layers=tuple(
            Layer(platform=image.platform, size=layer.stored, made_by=hidden(layer.created_by))
            for image in report.images
            for layer in image.layers
        ),
        largest=tuple(
            LargeFile(platform=image.platform, path=hidden(file.path), size=file.size)
            for image in report.images
            for file in image.largest
        ),
        packages=packages,
    )


def _place(run: Edge, record: Record) -> str:
    """Return where the image of a record is: an archive, or a name that the engine has for it."""
    if record.archive:
        return record.archive if Path(record.archive).is_file() else ""
    if not record.references or not record.platforms:
        return ""
    form = "{{.Id}} {{json .RepoDigests}}"
    argv = ("docker", "image", "inspect", "--format", form, record.references[0])
    return record.references[0] if record.digest in run.executor.run(argv).stdout else ""
