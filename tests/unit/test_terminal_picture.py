"""The picture of a terminal in the README is drawn from the text beside it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import terminalpicture

ROOT = Path(__file__).parents[2]


def test_the_picture_is_drawn_from_the_recorded_text() -> None:
    text = terminalpicture.SCRIPT.TEXT.read_text("utf-8")
    drawn = terminalpicture.SCRIPT.PICTURE.read_text("utf-8")
    assert drawn == terminalpicture.SCRIPT.render(text), "run scripts/terminal_svg.py"
    shown = ["".join(row.itertext()) for row in ET.fromstring(drawn).iterfind("{*}text")]  # noqa: S314
    assert shown == [line for line in text.splitlines() if line]


def test_the_readme_shows_it() -> None:
    assert "](docs/images/terminal.svg)" in (ROOT / "README.md").read_text("utf-8")


def test_text_is_escaped_and_a_long_line_does_not_leave_the_picture() -> None:
    drawn = ET.fromstring(terminalpicture.SCRIPT.render("a <b> & c\n"))  # noqa: S314
    assert ["".join(row.itertext()) for row in drawn.iterfind("{*}text")] == ["a <b> & c"]
    lines = terminalpicture.SCRIPT.TEXT.read_text("utf-8").splitlines()
    assert max(map(len, lines)) <= terminalpicture.SCRIPT.COLUMNS
