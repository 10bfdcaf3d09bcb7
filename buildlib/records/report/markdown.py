"""A report in a few lines of Markdown, for the summary of a workflow's job."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from buildlib.files import counted, human_size, write_text
from buildlib.records.record import Record
from buildlib.records.report.compare import Comparison
from buildlib.records.report.texts import cached_of, duration, share, shown
from buildlib.records.report.timeline import timeline

# What Markdown, or the HTML in it, takes for anything but itself.
_SPECIAL: Final = re.compile(r"[&<>|`*_\[\]~\\\"'$#!(){}+@:]")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_FILE: Final = "GITHUB_STEP_SUMMARY"
_ROWS: Final = 10
_LONGEST: Final = 100


def write_summary(env: Mapping[str, str], text: Callable[[], str]) -> None:
    """Add a text to the summary of a job on GitHub Actions, where there is one.

    Args:
        env: for GITHUB_STEP_SUMMARY.
        text: returns Markdown.

    Raises:
        InputError: the file can't be written (exit 2).
    """
    if path := env.get(_FILE):
        write_text(Path(path), text(), append=True)


def cell(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line."""
    text = " ".join(shown(text).split())
    if _DIGEST.fullmatch(text):
        # It stays readable where Markdown is not rendered.
        return f"`{text}`"
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - 1]}…"
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", text)


def as_markdown(record: Record, comparison: Comparison | None = None) -> str:
    """Return what a build did: its result, where the time went, and why steps ran.

    Args:
        record: of the build.
        comparison: with another one; None: there is none.
    """
    cached, steps = cached_of(record)
    facts = [
        record.result,
        duration(record.seconds),
        f"{cached} of {counted(steps, 'step')} cached" if steps else "",
        human_size(record.size) if record.size is not None else "",
        record.digest,
    ]
    lines = [
        f"### {cell(f'{record.image} {record.version}')}",
        "",
        cell(record.task) + ": " + ", ".join(cell(one) for one in facts if one),
        "",
    ]
    if record.error:
        lines += [cell(record.error), ""]
    found = timeline(record)
    path = sorted(found.critical, key=lambda one: one.begin - one.end)[:_ROWS]
    lines += _table(
        ("Critical path", "Time", "Share", "Why it ran"),
        (
            (
                one.step.name,
                duration(one.end - one.begin),
                share(one.end - one.begin, found.seconds),
                one.step.cause,
            )
            for one in sorted(path, key=lambda one: one.begin)
        ),
    )
    lines += _publication(record.gates, record.registries)
    return "\n".join([*lines, *(_comparison(comparison, record) if comparison else ()), ""])


def _comparison(found: Comparison, record: Record) -> list[str]:
    """Return what differs from another build."""
    before = found.before
    more = f"{duration(before.seconds)} → {duration(record.seconds)}"
    pairs = [(pair.now.name, duration(pair.more), "slower") for pair in found.slower]
    pairs += [(pair.now.name, duration(-pair.more), "faster") for pair in found.faster]
    pairs += [(pair.now.name, "not cached any more", cause) for pair, cause in found.lost]
    values = [(one.name, one.before or "none", one.now or "none") for one in found.values]
    values += [(one.name, one.before or "none", one.now or "none") for one in found.packages]
    return [
        f"#### Compared with {cell(f'{before.version} ({before.id})')}: {cell(more)}",
        "",
        *_table(("Step", "Change", "Why"), pairs),
        *_table(("File", "Change"), found.files),
        *_table(("Value", "Before", "Now"), values),
    ]


def publication(record: Record) -> str:
    """Return the gates and registries of a publication."""
    lines = _publication(record.gates, record.registries)
    title = f"### {cell(f'{record.image} {record.version}')}: publication"
    return "\n".join([title, "", *lines, ""])


def _publication(
    gates: Sequence[Mapping[str, Any]], registries: Sequence[Mapping[str, Any]]
) -> list[str]:
    results = ((str(one.get("gate", "")), str(one.get("state", ""))) for one in gates)
    targets = (
        (
            str(one.get("repository") or ""),
            ", ".join(one.get("tags") or ()),
            str(one.get("error") or one.get("digest") or ""),
        )
        for one in registries
    )
    return [
        *_table(("Gate", "Result"), results),
        *_table(("Repository", "Tags", "Digest"), targets),
    ]


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table, and an empty one; of a table without rows, nothing."""
    lines = [f"| {' | '.join(map(cell, row))} |" for row in rows]
    head = [f"| {' | '.join(heading)} |", f"|{' --- |' * len(heading)}"]
    return [*head, *lines, ""] if lines else []
