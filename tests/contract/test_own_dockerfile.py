"""This repository's Dockerfile: what its steps may reach."""

from __future__ import annotations

import re

from conftest import ROOT

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def _instructions() -> list[str]:
    """Return each instruction on one line, without comments, which may stand inside of one."""
    lines = [line for line in TEXT.splitlines() if not line.lstrip().startswith("#")]
    return re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()


def test_no_step_reaches_the_network() -> None:
    steps = [line for line in _instructions() if re.match(r"\s*RUN\b", line, re.IGNORECASE)]
    assert len(steps) > 1
    assert [step for step in steps if not re.match(r"RUN (--\S+ )*--network=none ", step)] == []


def test_nothing_is_added_from_elsewhere() -> None:
    assert [line for line in _instructions() if re.match(r"\s*ADD\b", line, re.IGNORECASE)] == []


def test_the_builders_own_frontend_reads_it() -> None:
    # A frontend that is named is an image, which would have to be fetched for each build, and
    # which no stand-in replaces.
    assert not re.search(r"^\s*(#|//)\s*syntax\s*=", TEXT, re.IGNORECASE | re.MULTILINE)
    assert "BUILDKIT_SYNTAX" not in TEXT
