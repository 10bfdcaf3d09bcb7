"""Our description against git's own, on repositories that grow at random."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import git
from gitscript import new_repository, run_word

from buildlib.git.facts import GitFacts, read_git_facts

pytestmark = pytest.mark.unmeasured

TAGS = (
    "v1.0.0", "v1.10.0", "v2.0.0-rc.1", "v2.0.0", "1.5.0", "cli/v3.0.0", "nightly", "v1-dirty",
    "x-1-gabcdef0", "v1.0.0-4-gdeadbee", "v1.0.0+build.5", "20200110-RC2", "ünï", "a-dirty-dirty",
)  # fmt: skip


def _forge(root: Path, chance: random.Random) -> None:
    """Give an annotated tag another name than its own, as a mirror that renames refs does."""
    git(root, "tag", "--force", "--message", "x", "inner")
    outer = chance.choice(("outer", "v3.0.")) + str(chance.randrange(3))
    git(root, "update-ref", f"refs/tags/{outer}", "refs/tags/inner")
    git(root, "tag", "--delete", "inner")


def _seeds(first: int, count: int) -> pytest.MarkDecorator:
    """Have each run try the first of them, and `nox -s faults` the others every week."""
    others = [pytest.param(seed, marks=pytest.mark.faults) for seed in range(first, count)]
    return pytest.mark.parametrize("seed", [*range(first), *others])


class _State(NamedTuple):
    """What git says of a repository."""

    branches: list[str]
    tags: list[str]
    dirty: bool


def _state(root: Path) -> _State:
    refs = git(root, "for-each-ref", "--format=%(refname)", "refs/heads", "refs/tags").split()
    branches, tags = (
        [ref.removeprefix(folder) for ref in refs if ref.startswith(folder)]
        for folder in ("refs/heads/", "refs/tags/")
    )
    return _State(branches, tags, bool(git(root, "status", "--porcelain", "--untracked-files=no")))


def _step(root: Path, chance: random.Random, state: _State) -> None:
    branches, tags, dirty = state
    words = ["c", "c3", f"new:{chance.randrange(3)}", "pack", "edit", "stage", "forge"]
    words += 3 * [f"{chance.choice('ta')}:{chance.choice(TAGS)}"]
    if tags:
        words += [f"untag:{chance.choice(tags)}", f"co:{chance.choice(tags)}"]
    words += [f"b:b{chance.randrange(10**6)}", f"co:{chance.choice(branches)}"]
    words += [f"merge:{chance.choice(branches)}"]
    word = chance.choice(words)
    if dirty and word.startswith(("co", "merge", "b:")):
        git(root, "checkout", "--quiet", "--force", "HEAD")
    if word == "forge":
        _forge(root, chance)
    elif word.partition(":")[2] not in tags or word.startswith(("co", "untag")):
        run_word(root, word)


def _own(root: Path, prefix: str) -> GitFacts:
    facts = read_git_facts(root, tag_prefix=prefix)
    assert isinstance(facts, GitFacts)
    return facts


@_seeds(2, 12)
def test_the_description_is_gits_always(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    root = new_repository(tmp_path)
    seen, state = set(), _state(root)
    for _ in range(25):
        _step(root, chance, state)
        state = _state(root)
        facts = _own(root, chance.choice(["v", "", "cli/v"]))
        expected = git(root, "describe", "--tags", "--always", "--dirty")
        assert facts.description == expected
        assert facts.dirty == state.dirty
        assert set(facts.tags) == set(state.tags)
        assert set(facts.head_tags) == set(git(root, "tag", "--points-at=HEAD").splitlines())
        seen.add(expected)
    # Not the same description again and again: the repository did grow.
    assert len(seen) >= 5


@_seeds(1, 6)
def test_the_nearest_version_is_the_one_that_git_finds(seed: int, tmp_path: Path) -> None:
    chance = random.Random(1000 + seed)
    root = new_repository(tmp_path)
    number, found = 0, 0
    for _ in range(12):
        for _ in range(chance.randrange(1, 4)):
            run_word(root, "c")
        if chance.random() < 0.5:
            number += 1
            run_word(root, f"t:v0.{number}.0")
            run_word(root, f"t:other-{number}")
            run_word(root, "c")
        facts = _own(root, "v")
        if not number:
            assert (facts.nearest_tag, facts.distance) == ("", 0)
            continue
        git_says = git(root, "describe", "--tags", "--long", "--match=v*")
        tag, distance, _ = git_says.rsplit("-", 2)
        assert (facts.nearest_tag, facts.distance) == (tag, int(distance))
        found += 1
    assert found
