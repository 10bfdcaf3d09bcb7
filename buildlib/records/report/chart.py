"""Charts as inline SVG, without text and without styles of their own: the page says both."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from buildlib.records.report.timeline import Lane, state

# Units across; the page stretches a chart to its own width.
WIDTH: Final = 1000
_ROW: Final = 8
_HEIGHT: Final = 60
# The least that can be seen.
_LEAST: Final = 2.0


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _svg(height: int, shapes: Sequence[str], name: str) -> str:
    return (
        f'<svg class="{name}" viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="none"'
        f' aria-hidden="true">{"".join(shapes)}</svg>'
    )


def lane_chart(lane: Lane, seconds: float, limit: int) -> str:
    """Return a bar for each step of a lane.

    Args:
        lane: its steps.
        seconds: that the width is.
        limit: how many bars there are at most; the longest steps have one.
    """
    longest = sorted(lane.spans, key=lambda one: one.begin - one.end)[:limit]
    rows = 1 + max((one.row for one in longest), default=0)
    scale = WIDTH / seconds if seconds > 0 else 0
    shapes = []
    for one in sorted(longest):
        width = max((one.end - one.begin) * scale, _LEAST)
        left = min(one.begin * scale, WIDTH - width)
        place = f'x="{_number(left)}" y="{one.row * _ROW}" width="{_number(width)}"'
        shapes.append(f'<rect class="{state(one.step)}" {place} height="{_ROW - 1}"/>')
    return _svg(rows * _ROW, shapes, "lane")


def share_chart(share: float) -> str:
    """Return a bar for a share of the whole, from 0 to 1."""
    width = _number(min(max(share, 0), 1) * WIDTH)
    return _svg(_ROW, [f'<rect class="ran" width="{width}" height="{_ROW}"/>'], "share")


def trend_chart(values: Sequence[float | None], titles: Sequence[str]) -> str:
    """Return a column for each value, the last one marked; a value that is None has none.

    Args:
        values: the earliest first.
        titles: what a pointer sees on each column.
    """
    most = max((one for one in values if one is not None), default=0) or 1
    step = WIDTH / max(len(values), 1)
    shapes = []
    for number, (value, title) in enumerate(zip(values, titles, strict=True)):
        if value is None:
            continue
        height = max(value / most * _HEIGHT, 1)
        name = "now" if number == len(values) - 1 else "then"
        place = f'x="{_number(number * step)}" y="{_number(_HEIGHT - height)}"'
        size = f'width="{_number(step * 0.8)}" height="{_number(height)}"'
        shapes.append(f'<rect class="{name}" {place} {size}><title>{escape(title)}</title></rect>')
    return _svg(_HEIGHT, shapes, "trend")
