"""When the steps of a build ran, beside each other and one after the other; nothing is read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from buildlib.records.record import Record, Step

# Bars above each other in a lane; a step that fits none of them is drawn in the last one.
_ROWS: Final = 3
# A step that begins this much before another ended may have waited for it, in seconds.
_CLOSE: Final = 0.002
OTHER: Final = "work of the builder"


class Span(NamedTuple):
    """A step, with its number on the page, and its times in seconds after the first one began."""

    number: int
    step: Step
    begin: float
    end: float
    row: int = 0


class Lane(NamedTuple):
    """The steps of a stage on a platform."""

    name: str
    spans: tuple[Span, ...]

    @property
    def seconds(self) -> float:
        """Return how long its steps took, one after the other."""
        return sum(one.step.seconds or 0 for one in self.spans)


class Timeline(NamedTuple):
    """The steps of a build: lanes in the order in which they began, and the critical path."""

    lanes: tuple[Lane, ...]
    seconds: float
    critical: tuple[Span, ...]


def moment(text: str) -> float | None:
    """Return a time of a record in seconds; None: there is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def state(step: Step) -> str:
    """Return what became of a step, in one word."""
    if step.error:
        return "failed"
    if step.cached:
        return "cached"
    return "ran" if step.ended else "unfinished"


def timeline(record: Record) -> Timeline:
    """Return when the steps of a build ran."""
    times = [(moment(one.started), moment(one.ended)) for one in record.steps]
    known = [one for pair in times for one in pair if one is not None]
    first, last = min(known, default=0.0), max(known, default=0.0)
    spans = []
    for number, (step, (began, ended)) in enumerate(zip(record.steps, times, strict=True)):
        # What a failed build left unfinished ran until its end.
        end = ended if ended is not None else last if began is not None else first
        begin = began if began is not None else end
        spans.append(Span(number, step, begin - first, max(begin, end) - first))
    lanes: dict[str, list[Span]] = {}
    for span in spans:
        parts = span.step.parts
        name = " ".join(filter(None, (parts.stage or ("build" if parts.total else OTHER),)))
        if parts.platform:
            name = f"{name} {parts.platform}"
        lanes.setdefault(name, []).append(span)
    drawn = tuple(Lane(name, _rows(found)) for name, found in lanes.items())
    return Timeline(drawn, last - first, critical_path(spans))


def _rows(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Return the steps of a lane, those that ran at the same time above each other."""
    ends = [0.0] * _ROWS
    found = []
    for span in spans:
        row = next((n for n, end in enumerate(ends) if end <= span.begin), _ROWS - 1)
        ends[row] = max(ends[row], span.end)
        found.append(span._replace(row=row))
    return tuple(found)


def critical_path(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Return the steps that the build waited for, the first one first.

    It goes back from the step that ended last: to its input that ended last, and from a step
    without inputs to the step that ended last before it began. Shorter steps beside it would not
    have made the build shorter.
    """
    ran = [one for one in spans if one.step.started and not one.step.cached]
    if not ran:
        return ()
    by_digest: Mapping[str, Span] = {one.step.digest: one for one in spans}
    ordered = sorted(ran, key=lambda one: one.end)
    ends = [one.end for one in ordered]
    path = [ordered[-1]]
    seen = {ordered[-1].number}
    while True:
        span = path[-1]
        inputs = [
            one
            for name in span.step.inputs
            if (one := by_digest.get(name)) and one.number not in seen and not one.step.cached
        ]
        before = max(inputs, key=lambda one: one.end, default=None)
        if before is None:
            here = bisect_right(ends, span.begin + _CLOSE) - 1
            while here >= 0 and ordered[here].number in seen:
                here -= 1
            before = ordered[here] if here >= 0 else None
        if before is None:
            break
        seen.add(before.number)
        path.append(before)
    # What took no time is not worth a line.
    return tuple(one for one in reversed(path) if one.end - one.begin >= _CLOSE)
