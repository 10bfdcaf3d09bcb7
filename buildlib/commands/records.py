"""How tasks find the record of a build: the last one, or the one that is named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from buildlib.commands.session import Edge
from buildlib.config.config import Config
from buildlib.errors import InputError, did_you_mean
from buildlib.program import PROGRAM
from buildlib.records.record import Record, RecordError
from buildlib.records.store import RecordStore, open_store
from buildlib.terminal.text import table


def kept_records(run: Edge, config: Config) -> RecordStore:
    """Return the records of a project.

    Raises:
        InputError: none are kept (exit 2).
    """
    if store := open_store(config, run.env):
        return store
    settings = config.record_settings()
    off = not settings.enabled or not settings.keep
    raise InputError(
        "no records of builds are kept",
        why=f"records from {config.source_of('records')} turns them off"
        if off
        else "there is no home directory for them",
        hint="" if off else f"give a directory in {config.table('records')}",
    )


def last_record(run: Edge, store: RecordStore, image: str) -> Record:
    """Return the last record of the image; one that can't be read is passed over.

    Raises:
        InputError: there is no record (exit 2).
    """
    for path in store.paths():
        try:
            record = store.read(path)
        except RecordError as error:
            run.console.warn(f"{error.what}: passed over")
            continue
        if record.image == image:
            return record
    raise InputError(
        f"there is no record of a build of {image}",
        why=f"none is in {store.folder}",
        hint=f"{PROGRAM} docker-build writes one",
    )


def named_record(store: RecordStore, name: str) -> Record:
    """Return the record of an identifier or its beginning, or the only one of a version.

    Raises:
        InputError: there is no such record, there are several, or it can't be read (exit 2).
    """
    known = {path.stem.rpartition("-")[0]: path for path in store.paths()}
    found = [path for one, path in known.items() if one.startswith(name) or path.stem == name]
    if name in known:
        found = [known[name]]
    several = f"several records begin with {name!r}"
    if not found:
        several = f"several records are of {name}"
        # A beginning of an identifier is a number: a version comes after that.
        found = [path for path in known.values() if _version_of(store, path) == name]
    if len(found) == 1:
        return store.read(found[0])
    if found:
        names = ", ".join(path.stem.rpartition("-")[0] for path in found)
        raise InputError(several, why=f"known: {names}")
    raise InputError(
        f"there is no record {name!r}",
        why="" if known else f"none is in {store.folder}",
        hint=did_you_mean(name, known) if known else f"{PROGRAM} docker-build writes one",
    )


def _version_of(store: RecordStore, path: Path) -> str:
    with suppress(RecordError):
        return store.read(path).version
    return ""


def listed(records: Iterable[Record]) -> list[dict[str, object]]:
    """Return what a list shows of records."""
    return [
        {
            "id": one.id,
            "started": one.started,
            "task": one.task,
            "image": one.image,
            "version": one.version,
            "seconds": one.seconds,
            "result": one.result,
        }
        for one in records
    ]


def list_text(rows: Iterable[Mapping[str, object]]) -> str:
    """Return the list for people, a line for each record."""
    lines = [
        [
            *(str(row["id"]), f"{str(row['started'])[:19]}Z", str(row["task"])),
            *(f"{row['image']} {row['version']}", f"{row['seconds']:.1f} s", str(row["result"])),
        ]
        for row in rows
    ]
    return table(lines) if lines else "there are no records"
