"""No version is overwritten and no tag steps back, in whatever order requests come, or fail.

The nox session `simulation` runs these; `--simulate 200` goes on 200 times as long with each that
takes longer than there is time for. How much that is does not depend on the machine, nor on what
else it does.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

import pytest
from simulation.cases import Case
from simulation.explore import Found, explore, replay, trace, wander
from simulation.parties import ALL_RULES
from simulation.registries import Registry, Request
from simulation.world import Choice, Kind, Part, World

from buildlib.config.tables import Registry as Configured
from buildlib.publish.plan import Target
from buildlib.publish.tagger import Tagging, TagPolicy, _Moving
from buildlib.registry.claim import Claim
from buildlib.registry.repository import Document, Repository
from buildlib.registry.tags import Decide, Tagged, write_tag

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
    "one that is run again meanwhile": Case(versions=("1.3.0", "1.3.0"), resumed=1),
    "one that is run again at once": Case(versions=("1.3.0", "1.3.0"), resumed=1, early=True),
    "a lower one that is run again at once": Case(
        versions=("1.2.9", "1.3.0"), resumed=1, early=True
    ),
    "one that is run again twice at once": Case(versions=("1.3.0", "1.3.0"), resumed=2, early=True),
    "a lower one that is run again": Case(versions=("1.2.9", "1.3.0"), resumed=1),
    "three versions": Case(versions=("1.2.9", "1.3.0", "1.3.1")),
}
# How much of what takes longer than there is time for: interleavings by chance, and states.
RUNS, STATES = 1_000, 40_000
Report = Callable[[str, object], None]


@pytest.fixture(scope="session")
def times(pytestconfig: pytest.Config) -> int:
    return int(pytestconfig.getoption("--simulate"))


def _hold(case: Case, found: Found) -> None:
    for choices, violated in found.wrong:
        pytest.fail("\n".join([repr(choices), *trace(case, choices), violated]))


@pytest.mark.parametrize(
    ("name", "faults"),
    [
        *((name, faults) for faults in (0, 1) for name in CASES),
        *(
            (name, 0)
            for name, case in LARGE.items()
            # Of three runs of one publication beside another there are ten times as many.
            if len(case.parties()) == len("ab") and case.resumed <= 1
        ),
    ],
)
def test_every_interleaving_of_two_keeps_versions_and_latest(
    name: str, faults: int, record_property: Report
) -> None:
    case = {**CASES, **LARGE}[name]
    found = explore(case, faults, seconds=900)
    record_property("simulation", f"{name}, {faults} faults: {found}")
    _hold(case, found)
    assert found.complete


@pytest.mark.parametrize("name", CASES)
def test_interleavings_with_two_faults_keep_versions_and_latest(
    name: str, times: int, record_property: Report
) -> None:
    case = CASES[name]
    # Millions of states: minutes for each case, where `--simulate` allows that.
    found = explore(case, 2, seconds=3600, most=STATES * times)
    record_property("simulation", f"{name}, 2 faults: {found}")
    _hold(case, found)
    assert found.complete or found.states == STATES * times


@pytest.mark.parametrize("name", [*CASES, *LARGE])
def test_interleavings_by_chance_keep_versions_and_latest(
    name: str, times: int, record_property: Report
) -> None:
    seed = secrets.randbits(32)
    case = {**CASES, **LARGE}[name]
    found = wander(case, 2, seconds=3600, seed=seed, most=RUNS * times)
    record_property("simulation", f"{name}, by chance from seed {seed}: {found}")
    _hold(case, found)
    assert found.runs == RUNS * times


# -- what it finds where something that keeps publishers apart is taken out

_TRIES = 20_000


def _finds(case: Case, faults: int, words: str, *, seed: int) -> None:
    """Hold that a violation is found, and found again by the choices that led to it."""
    found = wander(case, faults, seconds=300, seed=seed, most=_TRIES)
    assert found.wrong, f"nothing found in {found}"
    choices, text = found.wrong[0]
    assert words in text
    assert replay(case, choices) == text


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

    made = TagPolicy.__init__

    def early(self: TagPolicy, **given: object) -> None:
        made(self, **{**given, "target": Early(given["target"])})  # type: ignore[arg-type]

    monkeypatch.setattr(TagPolicy, "__init__", early)
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


def _decide_once(moving: _Moving, now: str, written: bool) -> Document | None:
    if written:
        return None
    moving.target = moving.policy.target(moving.target.registry, moving.repository.tags())
    return moving.document if now != moving.document.digest and moving.target.floating else None


def _way(words: str) -> tuple[Choice, ...]:
    """Return choices, such as `aab SLOW_EFFECT:a`: whose turn it is, and what fails."""
    found: list[Choice] = []
    for word in words.split():
        kind, _, who = word.rpartition(":")
        found += [("abcd".index(one), Kind[kind] if kind else None) for one in who]
    return tuple(found)


def _leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Claim, "leave", lambda _: None)


def _forget_what_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(self: Tagging, target: Target, tag: str, decide: Decide) -> Tagged:
        return write_tag(self._repositories[target.name], tag, decide, self._claims[target.name])

    monkeypatch.setattr(Tagging, "_write", write)


def _delete_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Claim, "_has_arrived", lambda *_: True)


def _think_of_the_last_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    enter = Claim.__enter__

    def entered(claim: Claim) -> Claim:
        claim.late = claim.late[-1:]
        return enter(claim)

    monkeypatch.setattr(Claim, "__enter__", entered)


@pytest.mark.parametrize(
    ("case", "way", "without", "violated"),
    [
        # The lower version's request for `latest` is late, and it is killed before it repairs that.
        (
            TWO_VERSIONS,
            f"ababbabababaabbbbbaabaaaaaaaaa SLOW_EFFECT:a {30 * 'b'} a KILLED:a",
            _forget_what_moves,
            "latest is 1.2.9, not 1.3.0",
        ),
        # Ctrl-C while the request for a version is under way.
        (SAME_VERSION, "aaaaaaaa INTERRUPTED:a", _leave_nothing, "1.3.0 was overwritten"),
        # It is killed at that moment, run again, and interrupted before it has the version.
        (
            LARGE["one that is run again at once"],
            "aaaaaaaa KILLED_MEANWHILE:a ccccccccc INTERRUPTED:c",
            _delete_at_once,
            "1.3.0 was overwritten",
        ),
        # The same, but for another run between them that is killed before it is known to hold its
        # claim: what the first one sent may come still.
        (
            LARGE["one that is run again twice at once"],
            "aaaaaaaa KILLED_MEANWHILE:a ccc KILLED:c dddddddd INTERRUPTED:d",
            _think_of_the_last_alone,
            "1.3.0 was overwritten",
        ),
    ],
)
def test_what_was_violated_once(
    case: Case,
    way: str,
    without: Callable[[pytest.MonkeyPatch], None],
    violated: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not replay(case, _way(way))
    without(monkeypatch)
    assert replay(case, _way(way)) == violated


def test_the_same_seed_takes_the_same_way() -> None:
    first = wander(TWO_VERSIONS, 2, seconds=300, seed=7, most=20)
    assert first.runs == wander(TWO_VERSIONS, 2, seconds=300, seed=7, most=20).runs == 20


@pytest.mark.parametrize("kind", [Kind.SLOW_ANSWER, Kind.SLOW_EFFECT])
def test_a_late_answer_about_what_has_changed_is_another_state(kind: Kind) -> None:
    def put(tag: str) -> Part:
        request = Request(0, "PUT", f"/v2/thing/manifests/{tag}", b"{}")
        return Part(name=tag, begin=lambda run, _: lambda: run.request(request))

    asks = Part(name="a", begin=lambda run, _: lambda: run.repository("r.example").tags())
    world = World([Registry("r.example")], [asks, put("1.3.0")])

    def state(*ways: Choice) -> bytes:
        found = world.first([1, 0])
        for way in ways:
            found = world.step(found, *way)
        return world.key(found)

    same = state((0, kind), (1, None)) == state((1, None), (0, kind))
    assert same is (kind is Kind.SLOW_EFFECT)
    world.close()


def test_every_kind_of_fault_is_tried() -> None:
    world = TWO_VERSIONS().world
    state, kinds = world.first([1, 1]), set()
    while options := world.choices(state):
        kinds |= {kind for _, kind in options}
        state = world.step(state, *options[0])
    assert kinds == {None, *Kind}
    world.close()


# -- orders that are left out

_SMALL = {
    **{name: (case, 0) for name, case in CASES.items()},
    "run again": (LARGE["one that is run again meanwhile"], 0),
    "a promotion, one fault": (CASES["a promotion to the same version"], 1),
    "no claims": (Case(versions=SAME_VERSION.versions, claims=False), 0),
    "no claims, one fault": (Case(versions=SAME_VERSION.versions, claims=False), 1),
}


@pytest.mark.parametrize("name", _SMALL)
def test_to_leave_out_orders_that_do_not_matter_loses_no_end_and_no_violation(name: str) -> None:
    case, faults = _SMALL[name]
    ways = [
        explore(case, faults, seconds=900, reduced=reduced, most_wrong=10**9)
        for reduced in (True, False)
    ]
    few, many = ways
    assert few.complete
    assert many.complete
    assert few.ends == many.ends
    assert {text for _, text in few.wrong} == {text for _, text in many.wrong}
    assert bool(few.wrong) is (not case.claims)
    assert few.states < many.states
