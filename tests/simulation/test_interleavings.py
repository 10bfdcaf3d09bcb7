"""No version is overwritten and no tag steps back, in whatever order requests come, or fail.

The nox session `simulation` runs these; `--simulate SECONDS` says how long each may go on.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

import pytest
from simulation.explore import Found, explore, replay, wander
from simulation.parties import ALL_RULES, Case
from simulation.world import Kind, Registry, World

from buildlib.publish.plan import Target
from buildlib.publish.tagging import Rules, _Moving
from buildlib.registry.claim import Claim
from buildlib.registry.client import Document, Repository
from buildlib.settings import Registry as Configured

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(4000)]
SAME_VERSION = Case(versions=("1.3.0", "1.3.0"))
TWO_VERSIONS = Case(versions=("1.2.9", "1.3.0"))
CASES = {
    "two images for one version": SAME_VERSION,
    "a lower and a higher version": TWO_VERSIONS,
    "one image twice": Case(versions=("1.3.0", "1.3.0"), contents=("a", "a")),
    "a registry that deletes nothing": Case(versions=("1.3.0", "1.3.0"), deletes=False),
    "a rollback": Case(versions=("1.3.0",), rollback=True),
    "a promotion to the same version": Case(versions=("1.3.0",), promoted="1.3.0"),
}
LARGE = {
    "two registries, two images": Case(versions=("1.3.0", "1.3.0"), registries=2),
    "two registries, two versions": Case(versions=("1.2.9", "1.3.0"), registries=2),
    "every tag that moves": Case(versions=("1.2.9", "1.3.0"), rules=ALL_RULES),
    "three publishers": Case(versions=("1.3.0", "1.2.9", "1.3.0")),
    "two publishers and a rollback": Case(versions=("1.2.9", "1.3.0"), rollback=True),
    # Of two, the claim of the one that is named first is kept.
    "a higher and a lower version": Case(versions=("1.3.0", "1.2.9")),
    "one that is run again meanwhile": Case(versions=("1.3.0", "1.3.0"), resumed=True),
    "a lower one that is run again": Case(versions=("1.2.9", "1.3.0"), resumed=True),
}
Report = Callable[[str, object], None]


@pytest.fixture(scope="session")
def seconds(pytestconfig: pytest.Config) -> float:
    return float(pytestconfig.getoption("--simulate"))


def _hold(found: Found) -> None:
    assert not found.wrong, f"{found.wrong[0][0]}\n{found.wrong[0][1]}"


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("faults", [0, 1, 2])
def test_every_interleaving_of_two_keeps_versions_and_latest(
    name: str, faults: int, seconds: float, record_property: Report
) -> None:
    found = explore(CASES[name], faults, seconds=seconds)
    record_property("simulation", f"{name}, {faults} faults: {found}")
    assert found.states > 10
    _hold(found)


@pytest.mark.parametrize("name", [*CASES, *LARGE])
def test_interleavings_by_chance_keep_versions_and_latest(
    name: str, seconds: float, record_property: Report
) -> None:
    seed = secrets.randbits(32)
    found = wander({**CASES, **LARGE}[name], 2, seconds=seconds, seed=seed)
    record_property("simulation", f"{name}, by chance from seed {seed}: {found}")
    assert found.runs > 1
    _hold(found)


# -- what it finds where something that keeps publishers apart is taken out

_TRIES = 20_000


def _finds(case: Case, faults: int, words: str, *, seed: int) -> None:
    """Hold that a violation is found, and found again by the choices that led to it."""
    found = wander(case, faults, seconds=300, seed=seed, most=_TRIES)
    assert found.wrong, f"nothing found in {found}"
    choices, text = found.wrong[0]
    assert words in text
    scenario = replay(case, faults, choices)
    with pytest.raises(AssertionError, match=words):
        scenario.check()


def test_it_finds_a_version_overwritten_where_nothing_is_claimed() -> None:
    case = Case(versions=SAME_VERSION.versions, claims=False)
    found = explore(case, 0, seconds=300)
    assert "1.3.0 was overwritten" in found.wrong[0][1]


def test_it_finds_a_version_overwritten_by_a_request_that_is_repeated_blindly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    once = Repository.put_manifest_once

    def blindly(self: Repository, reference: str, document: Document) -> None:
        self.transport.persist(lambda: once(self, reference, document))

    monkeypatch.setattr(Repository, "put_manifest_once", blindly)
    case = Case(versions=SAME_VERSION.versions, claims=False)
    _finds(case, 1, "1.3.0 was overwritten", seed=1)


def test_it_finds_latest_moved_back_where_it_is_decided_before_the_claim(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Early:
        """Decides by the tags that were there in the beginning."""

        def __init__(self, of: Callable[[Configured, Sequence[str]], Target]) -> None:
            self._of = of

        def __call__(self, registry: Configured, _held: Sequence[str]) -> Target:
            return self._of(registry, ())

    made = Rules.__init__

    def early(self: Rules, **given: object) -> None:
        made(self, **{**given, "target": Early(given["target"])})  # type: ignore[arg-type]

    monkeypatch.setattr(Rules, "__init__", early)
    _finds(TWO_VERSIONS, 0, "latest is 1.2.9, not 1.3.0", seed=2)


def test_it_finds_a_version_that_comes_late_where_nobody_asks_what_an_expired_claim_was_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Claim, "_is_settled", lambda *_: True)
    _finds(SAME_VERSION, 1, "1.3.0 was overwritten", seed=3)


def test_it_finds_latest_moved_back_late_where_nobody_looks_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_Moving, "decide", _decide_once)
    _finds(TWO_VERSIONS, 1, "latest is 1.2.9, not 1.3.0", seed=4)


def _decide_once(moving: _Moving, now: str, written: bool) -> Document | None:  # noqa: FBT001
    if written:
        return None
    moving.target = moving.rules.target(moving.target.registry, moving.repository.tags())
    return moving.document if now != moving.document.digest and moving.target.floating else None


def test_the_same_seed_takes_the_same_way() -> None:
    first = wander(TWO_VERSIONS, 2, seconds=300, seed=7, most=20)
    assert first.runs == wander(TWO_VERSIONS, 2, seconds=300, seed=7, most=20).runs == 20


@pytest.mark.parametrize("kind", [Kind.SLOW_ANSWER, Kind.SLOW_EFFECT])
def test_a_late_answer_about_what_has_changed_is_another_state(kind: Kind) -> None:
    def state(*, first: bool) -> bytes:
        registry = Registry("r.example")
        world = World([registry], 1)
        world.add("a", lambda: world.repository("r.example").tags())
        world.start()
        if not first:
            registry.holds(b"{}", "1.3.0")
        world.step(0, kind)
        registry.holds(b"{}", "1.3.0")
        found = world.key()
        world.end()
        return found

    assert (state(first=True) == state(first=False)) is (kind is Kind.SLOW_EFFECT)


def test_every_kind_of_fault_is_tried() -> None:
    scenario = TWO_VERSIONS(1)
    scenario.world.start()
    kinds = set()
    while options := scenario.world.choices():
        kinds |= {kind for _, kind in options}
        scenario.world.step(*options[0])
    assert kinds == {None, *Kind}
