"""The work of `docker-why`."""

from __future__ import annotations

from buildlib.commands.records import kept_records, last_record
from buildlib.commands.session import Edge
from buildlib.records.why import WhyReport, choose_steps


def why(run: Edge, step: str, *, as_json: bool) -> None:
    """Report why the steps of the last build ran.

    Args:
        step: the one that is asked for; empty: all that ran.
        as_json: the answer is JSON.

    Raises:
        InputError: there is no record, or no such step (exit 2).
    """
    config = run.config()
    store = kept_records(run, config)
    record = last_record(run, store, config.image)
    report = WhyReport(record=record, before=store.last(record), steps=choose_steps(record, step))
    run.console.show(report, as_json=as_json)
