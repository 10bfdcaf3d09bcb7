"""The arithmetic of benchmarks/scale.py, and the page that shows what it prints."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from dataclasses import replace
from types import ModuleType

import pytest
from conftest import ROOT


@pytest.fixture(name="scale", scope="module")
def _scale() -> ModuleType:
    spec = importlib.util.spec_from_file_location("_scale", ROOT / "benchmarks/scale.py")
    assert spec
    assert spec.loader
    # Dataclasses look their module up.
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_a_farm_needs_is_computed_from_what_a_build_costs(scale: ModuleType) -> None:
    given = scale.Assumptions(
        repositories=100,
        builds=6,
        platforms=2,
        warm=0.75,
        hours=10,
        peak=2,
        cores=4,
        used=0.5,
        spares=1,
        cold_core_seconds=600,
        warm_core_seconds=40,
        cold_requests=100,
        warm_requests=20,
        cache_megabytes=200,
        generations=3,
        node_price=0.36,
        storage_price=0.1,
    )
    found = scale.plan(given)
    # 600 builds a day, 120 in the busiest hour, of 600/4 + 40*3/4 = 180 s each: 3 h of one core.
    assert (found.builds_a_day, found.builds_in_the_busiest_hour) == (600, 120)
    # 21,600 core seconds in an hour, half of them for each platform; a node does 7,200: 2
    # and a spare.
    assert found.nodes == 6
    assert found.cache_gigabytes == 60
    assert (found.requests_a_build, found.requests_a_day) == (40, 24_000)
    assert found.requests_a_second == pytest.approx(4 / 3)
    # 0.36 buys 7,200 core seconds.
    assert found.cold_price == pytest.approx(0.03)
    assert found.warm_price == pytest.approx(0.002)
    assert found.nodes_price == pytest.approx(6 * 0.36 * 720)
    assert found.storage_price == pytest.approx(6)
    # A third more fits exactly, and a little beyond it not.
    assert scale.plan(replace(given, builds=8)).nodes == 6
    assert scale.plan(replace(given, builds=8.01)).nodes == 8
    assert scale.plan(replace(given, warm=1, warm_core_seconds=0)).nodes == 2


def test_every_assumption_is_an_option(
    scale: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    scale.main(["--repositories", "5", "--builds=3", "--warm-requests", "7", "--warm", "1"])
    text = capsys.readouterr().out
    assert re.search(r"builds a day +15\n", text)
    assert re.search(r"registry requests of a build +7\n", text)


def test_the_page_shows_what_the_commands_print(
    scale: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs/scale.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\$ python benchmarks/scale.py(.*)\n((?:.+\n)+?)```", page, re.MULTILINE)
    assert len(shown) == 2
    for words, text in shown:
        scale.main(shlex.split(words))
        printed = capsys.readouterr().out
        # The second one is cut to what is needed.
        cut = text.startswith("…\n")
        assert text.removeprefix("…\n") == (printed[printed.index("needed") :] if cut else printed)
