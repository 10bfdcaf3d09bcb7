"""The work of `docker-report`."""

from __future__ import annotations

import re
import webbrowser
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from buildlib.commands.contents import image_diff, with_contents
from buildlib.commands.records import (
    kept_records,
    last_record,
    list_text,
    listed,
    named_record,
)
from buildlib.commands.session import Edge
from buildlib.errors import InputError
from buildlib.files import write_text
from buildlib.records.report.compare import compare
from buildlib.records.report.markdown import as_markdown
from buildlib.records.report.page import render
from buildlib.records.report.trace import as_otlp
from buildlib.terminal.text import to_json

# Builds of the trend.
_BUILDS: Final = 30
_UNUSUAL: Final = re.compile(r"[^\w.-]")


class ReportOptions(NamedTuple):
    """The task's options.

    Args:
        record: identifier or version; empty: the last one.
        compare: the same of another record.
        listed: only list the records.
        output: of the page; None: a file of its own in dist.
    """

    record: str = ""
    compare: str = ""
    listed: bool = False
    output: Path | None = None
    otlp: Path | None = None
    opened: bool = False
    markdown: bool = False
    as_json: bool = False


def report(run: Edge, options: ReportOptions) -> None:
    """Write the report of a build, and print where it is; or print it in another form.

    Raises:
        InputError: there is no such record, or it can't be written (exit 2).
    """
    page = bool((options.compare and not options.markdown) or options.output or options.opened)
    if options.as_json + options.markdown + page > 1:
        raise InputError(
            "--json and --markdown print the report, and write no page",
            hint="give one of them, without --output and --open; --json without --compare",
        )
    config = run.config()
    store = kept_records(run, config)
    if options.listed:
        rows = listed(store.usable())
        run.console.answer(to_json({"records": rows}) if options.as_json else list_text(rows))
        return
    name = options.record
    record = named_record(store, name) if name else last_record(run, store, config.image)
    if options.otlp:
        write_text(options.otlp, as_otlp(record))
        run.console.note(f"trace: {options.otlp}")
    if options.as_json:
        run.console.answer(to_json(record.as_dict()))
        return
    before = named_record(store, options.compare) if options.compare else None
    if options.markdown:
        text = as_markdown(record, compare(record, before) if before else None)
        run.console.answer(text.rstrip())
        return
    record = with_contents(run, config, store, record)
    images = image_diff(run, config, before, record) if before else None
    earlier = islice(store.usable(record.key, record.id), _BUILDS - 1)
    history = [*reversed([*earlier]), record]
    # As what docker-build writes there: clean removes it.
    own = f"{config.short_name}-report-{_UNUSUAL.sub('_', record.id)}.html"
    path = options.output or config.root / config.folder("dist") / own
    text = render(
        record,
        history=history,
        comparison=compare(record, before) if before else None,
        images=images.tables() if images else (),
    )
    write_text(path, text)
    run.console.answer(str(path))
    if options.opened and not webbrowser.open(path.resolve().as_uri()):
        run.console.note("there is no browser here to open it with")
