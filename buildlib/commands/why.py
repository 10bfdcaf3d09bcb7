"""The work of `docker-why`."""

from __future__ import annotations

from buildlib.commands.session import Edge
from buildlib.errors import InputError
from buildlib.program import PROGRAM
from buildlib.records.record import Record, RecordError
from buildlib.records.report import WhyReport, choose_steps
from buildlib.records.store import RecordStore, open_store


def why(run: Edge, step: str, *, as_json: bool) -> None:
    """Report why the steps of the last build ran.

    Args:
        run: of the task.
        step: the one that is asked for; empty: all that ran.
        as_json: the answer is JSON.

    Raises:
        InputError: there is no record, or no such step (exit 2).
    """
    config = run.config()
    store = open_store(config, run.env)
    if store is None:
        settings = config.record_settings()
        off = not settings.enabled or not settings.keep
        raise InputError(
            "no records of builds are kept",
            why=f"records from {config.source_of('records')} turns them off"
            if off
            else "there is no home directory for them",
            hint="" if off else f"give a directory in {config.table('records')}",
        )
    record = _last(run, store, config.image)
    report = WhyReport(record=record, before=store.last(record), steps=choose_steps(record, step))
    run.console.show(report, as_json=as_json)


def _last(run: Edge, store: RecordStore, image: str) -> Record:
    """Return the last record of the image; one that can't be read is passed over."""
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
