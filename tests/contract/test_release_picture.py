"""The picture in docs/release.md has the steps that a release has, in their order."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

from conftest import ROOT

from buildlib.git.facts import Changes
from buildlib.publish.dry_run import steps
from buildlib.publish.plan import PublishPlan, make_publish_plan
from buildlib.versioning.preconditions import Mode

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
# What is not pinned is not published.
PINNED = f"FROM alpine:3.22@sha256:{'0' * 64}\n"

# What a box says is short for its step; the others are the last word of theirs.
SHORT = {"build every platform, once": "build once"}
# Below the picture, from where on what is public.
PUBLIC = {
    "nothing is public": "build every platform, once",
    "still nothing that a tag would find": "push to first by digest, without a tag",
    "the version": "tag first:1.2.3",
    "then what moves, latest last": "tag first:1.2",
}


class Box(NamedTuple):
    """A step as it is drawn, from `x` to `end`."""

    x: float
    end: float
    y: float
    kind: str
    text: str


def _tree() -> ET.ElementTree[ET.Element]:
    # Ours, and not from anywhere else.
    return ET.parse(ROOT / "docs" / "release.svg")


def _drawn() -> dict[str, Box]:
    """Return each step that is drawn."""
    found = {}
    for group in _tree().iter(f"{SVG}g"):
        rect, text = group.find(f"{SVG}rect"), group.find(f"{SVG}text")
        assert rect is not None
        assert text is not None
        x, y = float(rect.get("x", "")), float(rect.get("y", ""))
        step = group.get("data-step", "")
        assert step not in found
        end = x + float(rect.get("width", ""))
        found[step] = Box(x, end, y, rect.get("class", ""), text.text or "")
    return found


def _barrier() -> float:
    """Return where every required registry has to have come."""
    (path,) = [one for one in _tree().iter(f"{SVG}path") if one.get("class") == "barrier"]
    return float(path.get("d", "").removeprefix("M").split()[0])


def _plan(root: Path) -> tuple[PublishPlan, list[str]]:
    """Return a release to two registries, and the titles of its steps as the picture has them."""
    project = a_project(write_project(root, CONFIG, PINNED))
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
    return plan, titles


def test_the_picture_has_the_steps_of_a_release(tmp_path: Path) -> None:
    _, titles = _plan(tmp_path)
    drawn = _drawn()
    assert sorted(drawn) == sorted(titles)
    # From left to right in the order of time, in each registry's lane; the gates side by side.
    gates = [title for title in titles if title.startswith("gate: ")]
    assert len({drawn[gate].x for gate in gates}) == 1
    assert sorted(gates, key=lambda gate: drawn[gate].y) == gates
    assert drawn[titles[0]].x < drawn[gates[0]].x
    for name in ("first", "second"):
        lane = [title for title in titles if f" {name}" in title]
        assert len({drawn[title].y for title in lane}) == 1
        assert [drawn[title].x for title in lane] == sorted(drawn[title].x for title in lane)
        assert drawn[gates[0]].x < drawn[lane[0]].x


def test_a_box_says_what_its_step_is() -> None:
    for step, box in _drawn().items():
        verb, _, rest = step.partition(" ")
        said = {
            "gate:": rest,
            "push": "push a digest",
            "sign": "sign",
            "verify": "verify",
            "tag": rest.rpartition(":")[2],
        }
        assert box.text == SHORT.get(step, said.get(verb, ""))


def test_tags_are_drawn_after_every_registry_and_those_that_move_after_all_versions(
    tmp_path: Path,
) -> None:
    plan, titles = _plan(tmp_path)
    drawn = _drawn()
    floating = {f"tag {t.name}:{tag}" for t in plan.targets for tag in t.floating}
    pinned = {f"tag {t.name}:{tag}" for t in plan.targets for tag in t.pinned}
    before = [drawn[title].end for title in titles if title not in floating | pinned]
    assert max(before) < _barrier() < min(drawn[title].x for title in pinned)
    assert max(drawn[title].x for title in pinned) < min(drawn[title].x for title in floating)
    assert {drawn[title].kind for title in pinned} == {"tag"}
    assert {drawn[title].kind for title in floating} == {"moves"}


def test_what_is_public_stands_below_the_step_from_which_on_it_is() -> None:
    drawn = _drawn()
    notes = {
        text.text: float(text.get("x", ""))
        for text in _tree().iter(f"{SVG}text")
        if text.get("class") == "note"
    }
    assert notes == {note: drawn[step].x for note, step in PUBLIC.items()}
