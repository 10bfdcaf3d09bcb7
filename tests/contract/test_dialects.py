"""Whatever docker gets through, we get through; the integration test of this name asks docker."""

from __future__ import annotations

from pathlib import Path

import pytest
from dialects import DIALECTS, Dialect, get_through, speaking
from hostile import PATH, hostile_registry


@pytest.mark.parametrize("dialect", [pytest.param(one, id=one.name) for one in DIALECTS])
def test_what_docker_gets_through_is_got_through(dialect: Dialect, tmp_path: Path) -> None:
    with hostile_registry() as state, speaking(int(state.host.rpartition(":")[2])) as speaker:
        state.tags["there"] = state.new
        get_through(speaker, dialect, PATH, tmp_path)
        assert speaker.met()
        assert ("given" in state.tags) is (dialect.what == "push")


def test_no_two_of_them_are_one() -> None:
    assert len({one.name for one in DIALECTS}) == len(DIALECTS)
