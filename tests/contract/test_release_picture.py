"""The picture in docs/release.md has the steps that a release has, in their order."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from conftest import ROOT

from buildlib.publish.plan import make_publish_plan, steps
from buildlib.refusals import Mode
from buildlib.vcs import Changes

from fakes import a_project, write_project

SVG = "{http://www.w3.org/2000/svg}"
CONFIG = """\
image = "thing"
platforms = ["linux/amd64", "linux/arm64"]
[registries.first]
repository = "first.example/thing"
[registries.second]
repository = "second.example/thing"
"""


def _drawn() -> dict[str, tuple[float, float]]:
    """Return for each step that is drawn where it stands: x, and y."""
    # Ours, and not from anywhere else.
    tree = ET.parse(ROOT / "docs" / "release.svg")  # noqa: S314
    found = {}
    for group in tree.iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        assert rect is not None
        found[group.get("data-step", "")] = (float(rect.get("x", "")), float(rect.get("y", "")))
    return found


def test_the_picture_has_the_steps_of_a_release(tmp_path: Path) -> None:
    project = a_project(write_project(tmp_path, CONFIG))
    plan = make_publish_plan(
        project,
        project.dockerfile(),
        Changes(),
        project.config.registries,
        mode=Mode.RELEASE,
        in_registry={},
    )
    titles = [
        step.title.replace("first.example/thing", "first").replace("second.example/thing", "second")
        for step in steps(plan, project.config.root)
    ]
    drawn = _drawn()
    assert sorted(drawn) == sorted(titles)
    # From left to right in the order of time, in each registry's lane; the gates side by side.
    gates = [title for title in titles if title.startswith("gate: ")]
    assert len({drawn[gate][0] for gate in gates}) == 1
    assert [gate for gate in drawn if gate in gates] == gates
    for name in ("first", "second"):
        lane = [title for title in titles if f" {name}" in title]
        assert len({drawn[title][1] for title in lane}) == 1
        assert [drawn[title][0] for title in lane] == sorted(drawn[title][0] for title in lane)
