"""The picture of a terminal in the README is drawn from the text beside it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import terminalpicture

ROOT = Path(__file__).parents[2]


def _shown(picture: str) -> list[str]:
    """Return the lines that a picture shows."""
    rows = ET.fromstring(picture).iterfind(".//{*}text")
    return ["".join(row.itertext()).replace("\N{NO-BREAK SPACE}", " ") for row in rows]


def test_the_picture_is_drawn_from_the_recorded_text() -> None:
    text = terminalpicture.SCRIPT.TEXT.read_text("utf-8")
    drawn = terminalpicture.SCRIPT.PICTURE.read_text("utf-8")
    assert drawn == terminalpicture.SCRIPT.render(text), "run scripts/terminal_svg.py"
    assert _shown(drawn) == [line for line in text.splitlines() if line]


def test_the_readme_shows_it() -> None:
    assert "](docs/images/terminal.svg)" in (ROOT / "README.md").read_text("utf-8")


def test_text_is_escaped_and_a_long_line_does_not_leave_the_picture() -> None:
    assert _shown(terminalpicture.SCRIPT.render("a <b> & c\n")) == ["a <b> & c"]
    lines = terminalpicture.SCRIPT.TEXT.read_text("utf-8").splitlines()
    assert max(map(len, lines)) <= terminalpicture.SCRIPT.COLUMNS
