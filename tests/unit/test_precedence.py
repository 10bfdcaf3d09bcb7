"""Versions among tags, and their order, by semver.org."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildlib.precedence import highest, parse_semver, version_of

# The examples of semver.org §11, lowest first.
CHAIN = [
    "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2",
    "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "2.0.0", "2.1.0", "2.1.1",
]  # fmt: skip


@pytest.mark.parametrize(("lower", "higher"), list(combinations(CHAIN, 2)))
def test_the_examples_of_semver_org(lower: str, higher: str) -> None:
    assert highest([f"v{lower}", f"v{higher}"], "v") == f"v{higher}"
    assert highest([f"v{higher}", f"v{lower}"], "v") == f"v{higher}"


def test_the_chain_is_in_order_as_a_whole() -> None:
    parsed = [parse_semver(text) for text in CHAIN]
    assert all(a and b and a < b for a, b in pairwise(parsed))


@pytest.mark.parametrize("order", [1, -1])
def test_build_metadata_is_no_step_up(order: int) -> None:
    assert highest(["v1.0.0", "v1.0.0+9"][::order], "v") == "v1.0.0"
    assert highest(["v1.0.0+9", "v1.0.1"][::order], "v") == "v1.0.1"


@pytest.mark.parametrize(
    ("tag", "prefix", "version"),
    [
        ("v1.2.3", "v", "1.2.3"),
        ("1.2.3", "v", "1.2.3"),
        ("x1.2.3", "v", ""),
        ("v", "v", ""),
        ("vv1", "v", "v1"),
        ("v1.2.3", "", "v1.2.3"),
        ("cli/v1.2.3", "cli/v", "1.2.3"),
        ("v1.2.3", "cli/v", ""),
        ("1.2.3", "cli/v", ""),
        ("cli/v1.2.3", "v", ""),
    ],
)
def test_the_version_that_a_tag_names(tag: str, prefix: str, version: str) -> None:
    assert version_of(tag, prefix) == version


@pytest.mark.parametrize("text", ["1.2", "01.2.3", "1.2.3-", "1.2.3-01", "v1.2.3", "", "1.2.3 "])
def test_what_is_no_semver(text: str) -> None:
    assert parse_semver(text) is None


VERSIONS = st.builds(
    lambda numbers, pre: ".".join(map(str, numbers)) + (f"-{pre}" if pre else ""),
    st.tuples(*[st.integers(0, 20)] * 3),
    st.sampled_from(["", "alpha", "alpha.1", "rc.2", "rc.11", "0", "1", "x-y"]),
)


@given(st.lists(VERSIONS, min_size=1), st.randoms())
def test_the_highest_does_not_depend_on_the_order(versions: list[str], chance: object) -> None:
    tags = [f"v{version}" for version in versions]
    shuffled = sorted(tags, key=lambda _: chance.random())  # type: ignore[attr-defined]
    found = highest(shuffled, "v")
    assert found == highest(tags, "v")
    own = parse_semver(found[1:])
    assert own
    assert all(own >= version for text in versions if (version := parse_semver(text)))
