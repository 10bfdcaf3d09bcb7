"""What `docker-size` does; apart from its options, so that only the task itself loads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from buildlib.commands.session import Edge
from buildlib.config.tables import Smoke
from buildlib.console import to_json
from buildlib.errors import GateError, InputError, raise_problems
from buildlib.image.archive import Image
from buildlib.image.labels import VERSION_LABEL
from buildlib.image.size import (
    Change,
    SizeReport,
    changes,
    check_growth,
    check_sizes,
    make_record,
    measure,
    new_platforms,
    read_record,
    saved,
    write_record,
)


def _version(image: Image) -> str:
    return image.labels.get(VERSION_LABEL) or "unknown"


def _held_against(
    run: Edge, path: Path | None, wanted: Smoke, reports: Sequence[SizeReport]
) -> tuple[tuple[Change, ...], list[GateError]]:
    """Return the changes since the record, if there is one, and those that are too large."""
    record = read_record(path) if path else None
    if path and record is None:
        run.console.note(f"there is no record yet: --record writes {path}")
    if record is None:
        return (), []
    for platform in new_platforms(record, reports):
        run.console.warn(f"{platform} is not in the record of {record.version}")
    found = changes(record, reports)
    return found, check_growth(found, wanted.size_growth)


def size(run: Edge, image: str, *, top: int, record: bool, as_json: bool) -> None:
    """Measure, tell, hold against budget and record, or make the record."""
    config = run.config()
    wanted = config.smoke
    path = config.root / wanted.size_record if wanted.size_record else None
    if record and path is None:
        raise InputError(
            "--record, but no file for it is configured",
            hint='add size-record = "sizes.json" to the table smoke',
        )
    with saved(run.executor, image or config.local_image) as archive:
        images = archive.images()
        reports = [measure(archive, one, budget=wanted.size_budget, top=top) for one in images]
    found: tuple[Change, ...] = ()
    problems: list[GateError] = []
    if record and path:
        write_record(path, make_record(_version(images[0]), reports))
        run.console.note(f"recorded in {path}")
    else:
        found, problems = _held_against(run, path, wanted, reports)
    if as_json:
        data = [report.as_dict() for report in reports]
        run.console.answer(to_json({"images": data, "changes": [c.as_dict() for c in found]}))
    else:
        texts = [report.as_text() for report in reports]
        lines = "\n".join(change.as_text() for change in found)
        run.console.answer("\n\n".join([*texts, *([lines] if lines else [])]))
    raise_problems([*check_sizes(reports), *problems])
