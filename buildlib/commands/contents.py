"""What is in the image of a record, and what changed between those of two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from buildlib.build.layers import engine_layers
from buildlib.commands.diff import from_registry, in_registry
from buildlib.commands.session import Edge
from buildlib.config.config import Config
from buildlib.diff.check import DiffRequest, Subject, diff_images
from buildlib.diff.report import DiffReport
from buildlib.errors import BuildlibError, FailureError
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
    if record.largest:
        return record
    try:
        with _image_of(run, record) as archive:
            if archive is None:
                if record.archive:
                    why = f"{record.archive} is gone, or holds another one"
                    run.console.note(f"the image was not measured: {why}")
                return record
            found = contents_of(record, config, archive, store.key())
        if not record.archive:
            # The engine counts a layer in its own way.
            found = replace(found, layers=record.layers or _layers(run, config, store, record))
    except (FailureError, OSError) as error:
        why = error.what if isinstance(error, BuildlibError) else str(error)
        run.console.note(f"the image was not measured: {why}")
        return record
    try:
        store.write(found)
    except (BuildlibError, OSError) as error:
        run.console.note(f"what is in the image is not kept: {error}")
    return found


def _layers(run: Edge, config: Config, store: RecordStore, record: Record) -> tuple[Layer, ...]:
    own = record.native if record.native in record.platforms else record.platforms[0]
    hidden = Redaction(key=store.key(), allowed=config.allowed_names()).command
    found = engine_layers(run.executor, record.digest, own)
    return tuple(one._replace(made_by=hidden(one.made_by)) for one in found)


def image_diff(run: Edge, config: Config, old: Record, new: Record) -> DiffReport | None:
    """Return what changed between the images of two records; None with a note: one is gone.

    An image is looked for where it was built, and that of a publication in its registries.
    """
    try:
        with ExitStack() as stack:
            first, second = (
                stack.enter_context(_subject(run, config, record)) for record in (old, new)
            )
            if first and second:
                with run.console.running("comparing the images"):
                    request = DiffRequest(allowed=config.allowed_names())
                    return diff_images(first, second, request)
            why = f"that of {new.id if first else old.id} is neither here nor in a registry"
            run.console.note(f"the images were not compared: {why}")
            return None
    except FailureError as error:
        run.console.note(f"the images were not compared: {error.what}")
        return None


@contextmanager
def _subject(run: Edge, config: Config, record: Record) -> Iterator[Subject | None]:
    with _image_of(run, record) as archive:
        if archive is not None:
            yield Subject(name=record.id, archive=archive)
            return
    found = in_registry(run, config, record.digest) if record.registries else None
    if found is None:
        yield None
        return
    with from_registry(run, found._replace(name=record.id)) as subject:
        yield subject


@contextmanager
def _image_of(run: Edge, record: Record) -> Iterator[Archive | None]:
    """Open the image of a record, where its archive or the engine still has it."""
    if not _is_here(run, record):
        yield None
        return
    name = record.archive or record.digest
    with run.console.opening(f"reading {name}", saved(run.executor, name)) as archive:
        yield archive if not record.archive or archive.top() == record.digest else None


def _is_here(run: Edge, record: Record) -> bool:
    if record.archive or not record.digest:
        return bool(record.archive) and Path(record.archive).is_file()
    argv = ("docker", "image", "inspect", "--format", "{{.Id}}", record.digest)
    return bool(record.platforms) and run.executor.run(argv).code == 0


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
