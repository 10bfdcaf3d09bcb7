"""Versions among tags, and their order, by semver.org."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildlib.version_schemes import Naming, Scheme, parse_semver, parse_version

SEMVER = Naming()

# The examples of semver.org §11, lowest first.
CHAIN = [
    "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2",
    "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "2.0.0", "2.1.0", "2.1.1",
]  # fmt: skip


@pytest.mark.parametrize(("lower", "higher"), list(combinations(CHAIN, 2)))
def test_the_examples_of_semver_org(lower: str, higher: str) -> None:
    assert SEMVER.highest([f"v{lower}", f"v{higher}"]) == f"v{higher}"
    assert SEMVER.highest([f"v{higher}", f"v{lower}"]) == f"v{higher}"


def test_the_chain_is_in_order_as_a_whole() -> None:
    parsed = [parse_semver(text) for text in CHAIN]
    assert all(a and b and a < b for a, b in pairwise(parsed))


@pytest.mark.parametrize("order", [1, -1])
def test_build_metadata_is_no_step_up(order: int) -> None:
    assert SEMVER.highest(["v1.0.0", "v1.0.0+9"][::order]) == "v1.0.0"
    assert SEMVER.highest(["v1.0.0+9", "v1.0.1"][::order]) == "v1.0.1"


@pytest.mark.parametrize(
    ("tag", "prefix", "version"),
    [
        ("v1.2.3", "v", "1.2.3"),
        ("1.2.3", "v", "1.2.3"),
        ("x1.2.3", "v", ""),
        ("v", "v", ""),
        ("vv1.2.3", "v", ""),
        ("v1.2.3", "", ""),
        ("1.2.3", "", "1.2.3"),
        ("verified", "v", ""),
        ("v1", "v", ""),
        ("v1.2", "v", ""),
        ("v1.2.3.4", "v", ""),
        ("v1.2.3 ", "v", ""),
        ("v1.2.3\n", "v", ""),
        ("nightly", "", ""),
        ("cli/v1.2.3", "cli/v", "1.2.3"),
        ("v1.2.3", "cli/v", ""),
        ("1.2.3", "cli/v", ""),
        ("cli/v1.2.3", "v", ""),
    ],
)
def test_the_version_that_a_tag_names(tag: str, prefix: str, version: str) -> None:
    assert Naming(prefix=prefix).version_of(tag) == version


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
    found = SEMVER.highest(shuffled)
    assert found == SEMVER.highest(tags)
    own = parse_semver(found[1:])
    assert own
    assert all(own >= version for text in versions if (version := parse_semver(text)))


# By each scheme lowest first; what is not ordered is not a version.
ORDERS = {
    Scheme.PEP440: [
        "1.dev0", "1.0.dev456", "1.0a1", "1.0a2.dev456", "1.0a12", "1.0b1.dev456", "1.0b2",
        "1.0b2.post345.dev456", "1.0b2.post345", "1.0rc1.dev456", "1.0rc1", "1.0",
        "1.0.post456.dev34", "1.0.post456", "1.0.15", "1.1.dev1", "1.10", "1!0.1",
    ],
    Scheme.CALVER: [
        "06.12", "2024.01", "2024.2-dev", "2024.2-alpha1", "2024.2b3", "2024.2-rc2", "2024.2rc10",
        "2024.2", "2024-02-28", "20240229", "2024.02.29.1", "24.10", "2024.10.1", "202412",
        "2025.1",
    ],
}  # fmt: skip
NOT_ONE = {
    Scheme.SEMVER: ["1", "1.2", "1.2.3.4", "1.2.3_4", "v1.2.3", "1.2.3 x", "1.2.3\n", "1.02.3"],
    Scheme.PEP440: ["1.2.x", "1.0-main", "v1.0", " 1.0", "1.0 ", "1.0\n", "1..0", "1.0rc1x", "१.0"],
    Scheme.CALVER: ["2024", "24", "1.2.3", "2024.x", "2024.1-main", "2024..1", "20240131x", "1"],
    Scheme.ANY: ["", "nightly", "v1", "-1", "verified", "१"],
}


@pytest.mark.parametrize("scheme", ORDERS)
def test_each_scheme_has_its_order(scheme: Scheme) -> None:
    parsed = [parse_version(text, scheme) for text in ORDERS[scheme]]
    assert all(a and b and a.key < b.key for a, b in pairwise(parsed))


@pytest.mark.parametrize(
    ("text", "scheme"), [(text, scheme) for scheme in NOT_ONE for text in NOT_ONE[scheme]]
)
def test_the_whole_of_a_text_is_a_version_or_none_of_it(text: str, scheme: Scheme) -> None:
    assert not Naming(prefix="", scheme=scheme).names(text)
    assert Naming(prefix="x", scheme=scheme).version_of(f"x{text}") == ""


@pytest.mark.parametrize(
    ("text", "scheme", "prerelease"),
    [
        ("1.2.post1", Scheme.PEP440, ""),
        ("1.1beta2", Scheme.PEP440, "b2"),
        ("1.0.dev4", Scheme.PEP440, "dev4"),
        ("1.0rc1.dev4", Scheme.PEP440, "rc1.dev4"),
        ("2024.2-rc1", Scheme.CALVER, "rc1"),
        ("2024.02", Scheme.CALVER, ""),
        ("1.0.0-rc.1", Scheme.ANY, "rc.1"),
    ],
)
def test_a_prerelease_is_told_from_a_release(text: str, scheme: Scheme, prerelease: str) -> None:
    parsed = parse_version(text, scheme)
    assert parsed
    assert parsed.prerelease == prerelease


def test_any_has_the_order_of_semver_and_none_for_the_rest() -> None:
    naming = Naming(scheme=Scheme.ANY)
    assert naming.version_of("v20200110-RC2") == "20200110-RC2"
    assert naming.parse("20200110-RC2") is None
    assert naming.highest(["v20200110-RC2", "v0.1.0", "v9"]) == "v0.1.0"
