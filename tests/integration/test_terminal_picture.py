"""The picture of a terminal in the README shows what the commands print today."""

from __future__ import annotations

import os

import pytest
from conftest import ROOT
from terminalpicture import SCRIPT, comparable

pytestmark = pytest.mark.engine


def test_a_run_prints_what_the_picture_shows() -> None:
    recorded = SCRIPT.TEXT.read_text("utf-8")
    again = "scripts/terminal_svg.py --record"
    assert comparable(SCRIPT.record(ROOT, os.environ)) == comparable(recorded), again
