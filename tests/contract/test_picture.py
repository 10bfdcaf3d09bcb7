"""The picture in docs/versions.md tells the truth: it is replayed on a real repository."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from conftest import ROOT
from gitscript import new_repository, run_word

from buildlib.config.tag_rules import DEFAULT_RULES
from buildlib.git.facts import Changes, read_git_facts
from buildlib.versioning.tag_plan import plan_tags
from buildlib.versioning.version import resolve_version

SVG = "{http://www.w3.org/2000/svg}"
# How the history of the picture grows; each tag is followed by its publication.
GROWTH = (
    "c t:v1.2.8 c c t:v1.3.0 co:v1.2.8 b:release/1.2 c c t:v1.2.9 "
    "co:main c c t:v2.0.0-rc.1 c c t:v2.0.0 c c"
)


def _drawn() -> dict[str, dict[str, str]]:
    """Return for each git tag, in the order of time, its image tags and how they are drawn."""
    # Ours, and not from anywhere else.
    tree = ET.parse(ROOT / "docs" / "history.svg")
    commits = []
    for group in tree.iter(f"{SVG}g"):
        texts = [(text.get("class", ""), text.text or "") for text in group.iter(f"{SVG}text")]
        (name,) = [text for kind, text in texts if kind == "git"]
        tags = {text: kind for kind, text in texts if kind in {"stays", "moved"}}
        circle = group.find(f"{SVG}circle")
        assert circle is not None
        commits.append((int(circle.get("cx", "")), name, tags))
    return {name: tags for _, name, tags in sorted(commits)}


def _published(root: Path) -> tuple[str, ...]:
    facts = read_git_facts(root)
    version = resolve_version(facts, now=0)
    return plan_tags(version, facts, Changes(), rules=DEFAULT_RULES).tags


def test_the_picture_shows_what_happens(tmp_path: Path) -> None:
    root = new_repository(tmp_path)
    given: dict[str, tuple[str, ...]] = {}
    for word in GROWTH.split():
        run_word(root, word)
        if word.startswith("t:"):
            given[word[2:]] = _published(root)
    drawn = _drawn()
    assert list(drawn) == list(given)
    assert {name: tuple(tags) for name, tags in drawn.items()} == given
    now = {tag: name for name, tags in given.items() for tag in tags}
    for name, tags in drawn.items():
        stays = {tag for tag, kind in tags.items() if kind == "stays"}
        assert stays == {tag for tag in tags if now[tag] == name}
    assert _published(root) == ()
