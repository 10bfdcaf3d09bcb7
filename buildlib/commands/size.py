"""The work of `docker-size`."""

from __future__ import annotations

from buildlib.commands.session import Edge
from buildlib.errors import InputError, raise_problems
from buildlib.findings.report import show
from buildlib.image.labels import VERSION_LABEL
from buildlib.image.size import check_size, make_record, read_record, saved, write_record


def size(run: Edge, image: str, *, top: int, record: bool, as_json: bool) -> None:
    """Measure the image; compare it with its budget and a release, or record its sizes.

    Raises:
        GateError: it is too large, or grew too much (exit 7), after everything was reported.
        BuildlibError: it could not be measured.
    """
    if top < 0:
        raise InputError("--top must not be negative")
    config = run.config()
    wanted = config.smoke
    path = config.root / wanted.size_record if wanted.size_record else None
    if record and path is None:
        raise InputError(
            "--record, but no file for it is configured",
            hint='add size-record = "sizes.json" to the table smoke',
        )
    known = read_record(path) if path and not record else None
    named = image or run.local_image(config)
    with run.console.opening(f"reading {named}", saved(run.executor, named)) as archive:
        report = check_size(
            archive,
            budget=wanted.size_budget,
            top=top,
            record=known,
            growth=wanted.size_growth,
            allowed=config.allowed_names(),
        )
        version = archive.images()[0].labels.get(VERSION_LABEL) or "unknown"
    if path and record:
        write_record(path, make_record(version, report.images))
        run.console.note(f"recorded in {path}")
    elif path and known is None:
        run.console.note(f"there is no record yet: --record writes {path}")
    show(report, run.console, as_json=as_json)
    raise_problems(report.problems())
