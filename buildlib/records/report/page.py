"""A report as one HTML file that loads nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

from jinja2 import DictLoader, Environment, StrictUndefined, Template
from markupsafe import Markup

from buildlib.files import counted, human_size
from buildlib.records.record import Layer, Record, Step
from buildlib.records.report.chart import lane_chart, share_chart, trend_chart
from buildlib.records.report.compare import Comparison
from buildlib.records.report.texts import argument, cached_of, duration, share, shown
from buildlib.records.report.timeline import Lane, Span, state, timeline

# What the page has room for. What is longer is cut, and says so; the record has the whole.
BARS: Final = 400
_LOGS: Final = 40_000
_LOG_LINES: Final = 20
_INSTRUCTION: Final = 160
_WHOLE: Final = 2_000
_ROWS: Final = 100
# With so many steps, the lanes are folded at first.
_OPEN: Final = 60
_PIECES: Final = ("report.html", "report.css", "report.js")


class Row(NamedTuple):
    """A step as the page has it."""

    number: int
    step: Step
    state: str
    critical: bool
    instruction: str
    whole: str
    log: str
    cut: bool

    @property
    def folds(self) -> bool:
        """Return whether there is more to see."""
        step = self.step
        return bool(self.whole or self.log or step.error or step.warnings)


class LaneRows(NamedTuple):
    """A lane as the page has it."""

    lane: Lane
    chart: Markup
    rows: tuple[Row, ...]
    opened: bool


def render(
    record: Record,
    *,
    history: Sequence[Record] = (),
    comparison: Comparison | None = None,
    images: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = (),
) -> str:
    """Return the page.

    Args:
        record: of the build.
        history: this and earlier builds, the earliest first.
        comparison: with another build.
        images: heading, columns and rows of tables about both images.
    """
    pieces = _pieces()
    # Ours, and the same whatever the record has.
    style, script = (Markup(pieces[name]) for name in _PIECES[1:])  # noqa: S704
    return _template().render(
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        **_facts(record),
        **_steps(record),
        trend=_trend(history),
        comparison=comparison,
        changes=_changes(record, comparison),
        images=images,
        duration=duration,
        size=human_size,
        limit=_ROWS,
    )


@cache
def _pieces() -> dict[str, str]:
    folder = files("buildlib.records.report").joinpath("templates")
    return {name: folder.joinpath(name).read_text(encoding="utf-8") for name in _PIECES}


@cache
def _template() -> Template:
    environment = Environment(
        loader=DictLoader(_pieces()),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(_PIECES[0])


def _shown(value: object) -> object:
    return value if isinstance(value, Markup) else shown("" if value is None else str(value))


def _hash(text: str) -> str:
    """Return what the policy of the page allows the script and the style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _chart(text: str) -> Markup:
    # Numbers, and titles that the chart escaped.
    return Markup(text)  # noqa: S704


def _facts(record: Record) -> dict[str, Any]:
    cached, steps = cached_of(record)
    facts = {
        "Started": record.started[:19].replace("T", " ") + " UTC" if record.started else "",
        "Duration": duration(record.seconds),
        "Steps": f"{cached} of {counted(steps, 'step')} cached" if steps else "",
        "Size": human_size(record.size) if record.size is not None else "",
        "Platforms": ", ".join(record.platforms or filter(None, (record.native,))),
        "Target": record.target,
        "Commit": str(record.git.get("revision") or record.git.get("reason") or "")[:80]
        + (", with changes" if record.git.get("dirty") else ""),
        "Builder": ", ".join(filter(None, (record.builder, record.driver, record.node))),
    }
    largest = sorted(record.files.items(), key=lambda one: (-one[1].size, one[0]))
    contents = [
        ("Layers", ("Made by", "Platform", "Size"), [_made(one) for one in record.layers]),
        (
            "Largest files of the image",
            ("Path", "Platform", "Size"),
            [(one.path, one.platform, one.size) for one in record.largest],
        ),
        *(
            (
                f"{counted(len(found), 'package')} of {platform}",
                ("Name", "Version"),
                [*found.items()],
            )
            for platform, found in record.packages.items()
        ),
    ]
    return {
        "contents": contents,
        "record": record,
        "facts": {name: value for name, value in facts.items() if value},
        "args": {name: argument(name, value) for name, value in record.args.items()},
        "largest": [(path, one.size) for path, one in largest[:10] if one.size],
        "gates": [(str(one.get("gate", "")), str(one.get("state", ""))) for one in record.gates],
        "registries": [_registry(one) for one in record.registries],
        "command": " ".join(record.argv),
    }


def _made(layer: Layer) -> tuple[str, str, int]:
    made_by = " ".join(layer.made_by.split()) or "the base, without a history"
    return made_by[:_INSTRUCTION], layer.platform, layer.size


def _registry(one: Mapping[str, Any]) -> tuple[str, str, str, str]:
    tags = one.get("tags") or {}
    found = (one.get("repository"), ", ".join(map(str, tags)), one.get("digest"), one.get("error"))
    repository, names, digest, error = (str(text or "") for text in found)
    return repository, names, digest, error


def _steps(record: Record) -> dict[str, Any]:
    found = timeline(record)
    critical = {one.number for one in found.critical}
    logs = _logs(record.steps)
    few = len(record.steps) <= _OPEN
    left, lanes = BARS, []
    for lane in found.lanes:
        chart = lane_chart(lane, found.seconds, max(left, 1))
        left -= len(lane.spans)
        rows = tuple(_row(one, logs, critical) for one in lane.spans)
        # The builder's own steps are seldom what somebody looks for.
        opened = any(row.state == "failed" for row in rows) or (few and rows[0].step.parts.total)
        lanes.append(LaneRows(lane, _chart(chart), rows, bool(opened)))
    total = found.seconds
    path = [
        (one, share(one.end - one.begin, total), _chart(share_chart((one.end - one.begin) / total)))
        for one in sorted(found.critical, key=lambda one: one.begin - one.end)[:_ROWS]
    ]
    shown_path = sorted(path, key=lambda one: one[0].begin)
    return {
        "lanes": lanes,
        "critical": shown_path,
        "critical_left": len(found.critical) - len(path),
        "total": total,
    }


def _row(span: Span, logs: dict[int, tuple[str, bool]], critical: set[int]) -> Row:
    step = span.step
    text = " ".join((step.parts.instruction or step.name).split())
    long = len(text) > _INSTRUCTION
    log, cut = logs.get(span.number, ("", False))
    return Row(
        number=span.number,
        step=step,
        state=state(step),
        critical=span.number in critical,
        instruction=f"{text[:_INSTRUCTION]}…" if long else text,
        whole=(step.parts.instruction or step.name)[:_WHOLE] if long else "",
        log=log,
        cut=cut,
    )


def _logs(steps: Sequence[Step]) -> dict[int, tuple[str, bool]]:
    """Return the output of steps, and whether it is cut: first of those that failed or took long.

    The end of an output is kept, as a step that fails says there why.
    """
    left, found = _LOGS, {}
    order = sorted(enumerate(steps), key=lambda one: (not one[1].error, -(one[1].seconds or 0)))
    for number, step in order:
        lines = step.log if step.error else step.log[-_LOG_LINES:]
        text = "\n".join(lines)
        if text and left > 0:
            found[number] = (text[-left:], len(lines) < len(step.log) or len(text) > left)
            left -= len(text)
    return found


def _trend(history: Sequence[Record]) -> list[tuple[str, Markup, list[tuple[str, str]]]]:
    """Return a chart with its values for duration, cache share and size; of one build, none."""
    if len(history) <= 1:
        return []
    shares = [100 * cached / steps if steps else None for cached, steps in map(cached_of, history)]
    series = (
        ("Duration", [one.seconds for one in history], duration),
        ("Steps from the cache", shares, lambda one: f"{one:.0f} %"),
        ("Size of the image", [one.size for one in history], lambda one: human_size(round(one))),
    )
    found = []
    for name, values, text in series:
        known = ["" if one is None else text(one) for one in values]
        if any(known):
            titles = [f"{one.id}: {value}" for one, value in zip(history, known, strict=True)]
            chart = _chart(trend_chart(values, [shown(one) for one in titles]))
            rows = [(one.id, value) for one, value in zip(history, known, strict=True)]
            found.append((name, chart, rows))
    return found


def _changes(record: Record, comparison: Comparison | None) -> list[tuple[str, ...]]:
    """Return the numbers of both builds, and the values that differ."""
    if comparison is None:
        return []
    both = (comparison.before, record)
    caches = [cached_of(one) for one in both]
    sizes = [human_size(one.size) if one.size is not None else "unknown" for one in both]
    before, now = comparison.before, record
    return [
        ("duration", duration(before.seconds), duration(now.seconds)),
        ("steps cached", *(f"{cached} of {steps}" for cached, steps in caches)),
        ("size", *sizes),
        *(
            (one.name, _value(one.name, one.before), _value(one.name, one.now))
            for one in comparison.values
        ),
    ]


def _value(name: str, text: str | None) -> str:
    return "missing" if text is None else argument(name.rpartition(" ")[2], text) or "empty"
