"""The picture of a terminal in the README shows what the commands print today."""

from __future__ import annotations

import pytest
from conftest import ROOT, unmeasured
from terminalpicture import SCRIPT, comparable

pytestmark = pytest.mark.engine


def test_a_run_prints_what_the_picture_shows() -> None:
    recorded = SCRIPT.TEXT.read_text("utf-8")
    again = "scripts/terminal_svg.py --record"
    assert comparable(SCRIPT.record(ROOT, unmeasured())) == comparable(recorded), again
