"""Tags, and two publishers who give them at the same time, over registries in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from buildlib.config.tables import Registry
from buildlib.config.tag_rules import DEFAULT_RULES
from buildlib.errors import BuildlibError, GateError, TransientError
from buildlib.git.facts import Changes
from buildlib.publish.outcomes import Outcomes
from buildlib.publish.plan import PublishPlan, Target, make_publish_plan, plan_target, target_of
from buildlib.publish.receipt import Receipt, TargetRecord, new_receipt, read_receipt
from buildlib.publish.tagger import Tagging, TagPolicy
from buildlib.registry.claim import Claim, Intent
from buildlib.registry.repository import INDEX, Document, Repository
from buildlib.registry.transport import Transport
from buildlib.versioning.preconditions import Mode
from buildlib.versioning.tag_plan import plan_tags

from fakes import PINNED, a_console, a_project, git_facts, write_project

OURS = Document(json.dumps({"of": "ours"}).encode(), INDEX)
THEIRS = Document(json.dumps({"of": "theirs"}).encode(), INDEX)
TAGS = ("1.2.3", "1.2", "1", "latest")
CONFIG = 'image = "thing"\nplatforms = ["linux/amd64"]\n'


class Memory(Repository):
    """A repository in memory that holds both images; `before` is called before each request."""

    def __init__(self, host: str) -> None:
        super().__init__(Transport(host), "thing")
        self.given: dict[str, Document] = {}
        self.before: Callable[[str, str], object] = lambda _method, _reference: None

    def manifest(self, reference: str) -> Document | None:
        self.before("GET", reference)
        known = {one.digest: one for one in (OURS, THEIRS)}
        return (known | self.given).get(reference)

    def put_manifest_once(self, reference: str, document: Document) -> None:
        self.before("PUT", reference)
        self.given[reference] = document

    def tags(self, *, page: int = 100) -> tuple[str, ...]:
        assert page
        return tuple(self.given)

    @property
    def versions(self) -> dict[str, str]:
        """Return which of the two images each tag is."""
        names = {OURS.digest: "ours", THEIRS.digest: "theirs"}
        return {tag: names[document.digest] for tag, document in self.given.items()}


class World:
    """Two registries, and as many publishers as a test wants."""

    def __init__(self, root: Path, *, optional: Sequence[str] = ()) -> None:
        self.root = write_project(root, CONFIG)
        self.repositories = {name: Memory(f"{name}.example") for name in ("one", "two")}
        self.registries = [
            Registry(name=name, repository=f"{name}.example/thing", required=name not in optional)
            for name in self.repositories
        ]
        self.project = a_project(self.root)
        self.claims: list[Claim] = []

    @property
    def given(self) -> list[dict[str, str]]:
        return [memory.versions for memory in self.repositories.values()]

    def plan(self, held: Mapping[str, Sequence[str]]) -> PublishPlan:
        return make_publish_plan(
            self.project,
            PINNED,
            Changes(),
            self.registries,
            mode=Mode.RELEASE,
            in_registry=held,
        )

    def target(self, registry: Registry, held: Sequence[str]) -> Target:
        return plan_target(self.project, Changes(), registry, Mode.RELEASE, held)

    def claim(self, target: Target, intent: Intent, known: tuple[str, ...]) -> Claim:
        made = Claim(self.repositories[target.name], intent, known=known, enabled=False)
        self.claims.append(made)
        return made

    def publish(self, document: Document = OURS, before: Receipt | None = None) -> Receipt:
        """Give the tags to an image that is pushed; simulations show what claims are for."""
        plan = self.plan({})
        receipt = before or new_receipt(self.project.config, plan, started="")
        receipt.digest = document.digest
        receipt.targets = receipt.targets or {
            target.name: TargetRecord(repository=target.repository) for target in plan.targets
        }
        console, _, self.printed = a_console()
        course = Outcomes(receipt, self.root, console, lambda _: None)
        rules = TagPolicy(
            target=self.target,
            rightful=lambda _registry, _tag, held: "1.3.0" if "1.3.0" in held else "",
            claim=self.claim,
        )
        Tagging(course, self.repositories, console, rules).give(plan.targets)
        return receipt


def test_versions_come_first_everywhere_and_then_what_moves(tmp_path: Path) -> None:
    world = World(tmp_path)
    asked: list[str] = []
    for name, memory in world.repositories.items():
        memory.before = lambda method, tag, name=name: (  # type: ignore[misc]
            asked.append(f"{name} {tag}") if method == "PUT" else None
        )
    world.publish()
    assert asked == [
        *("one 1.2.3", "two 1.2.3"),
        *("one 1.2", "one 1", "one latest", "two 1.2", "two 1", "two latest"),
    ]
    assert world.given == [dict.fromkeys(TAGS, "ours")] * 2
    world.publish()
    assert len(asked) == 8


def test_what_was_moved_after_a_publication_stays_where_it_is(tmp_path: Path) -> None:
    world = World(tmp_path)
    receipt = world.publish()
    for memory in world.repositories.values():
        memory.given |= {"latest": THEIRS, "1": THEIRS}
    again = world.publish(before=receipt)
    moved = {"1.2.3": "ours", "1.2": "ours", "1": "theirs", "latest": "theirs"}
    assert world.given == [moved] * 2
    held = again.targets["one"].held_back
    assert sorted(held) == ["1", "latest"]
    assert all(reason.startswith("it was moved to sha256:") for reason in held.values())
    assert "one.example/thing:latest is not moved: it was moved" in world.printed.getvalue()
    # One that is gone is given again.
    for memory in world.repositories.values():
        del memory.given["latest"]
    world.publish(before=receipt)
    assert world.given == [{**moved, "latest": "ours"}] * 2


class Killed(BaseException):
    """No code runs after it."""


def _killed_at(tag: str) -> Callable[[str, str], None]:
    def before(method: str, reference: str) -> None:
        if (method, reference) == ("PUT", tag):
            raise Killed

    return before


# It was killed before it repaired the tag, or while it did.
@pytest.mark.parametrize("sent", [OURS, THEIRS])
def test_what_a_killed_run_moved_late_is_repaired_when_it_is_resumed(
    tmp_path: Path, sent: Document
) -> None:
    world = World(tmp_path)
    one = world.repositories["one"]
    one.before = _killed_at("latest")
    with pytest.raises(Killed):
        world.publish()
    receipt = read_receipt(tmp_path / "receipt.json")
    assert receipt
    assert receipt.targets["one"].under_way == {"latest": OURS.digest}
    receipt.targets["one"].under_way["latest"] = sent.digest
    # A higher release was given it meanwhile, and then the request was carried out.
    one.before = lambda _method, _reference: None
    one.given |= {"1.3.0": THEIRS, "latest": OURS}
    again = world.publish(before=receipt)
    assert world.given[0]["latest"] == "theirs"
    assert "one.example/thing:latest is 1.3.0 again" in world.printed.getvalue()
    assert again.targets["one"].under_way == {}
    # Once it is finished, whatever the tag points to is on purpose.
    one.given["latest"] = OURS
    world.publish(before=read_receipt(tmp_path / "receipt.json"))
    assert world.given[0]["latest"] == "ours"


def test_the_claim_of_a_killed_run_stays_only_where_a_version_was_under_way(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.repositories["two"].before = _killed_at("1.2.3")
    with pytest.raises(Killed):
        world.publish()
    before = [claim.identifier for claim in world.claims]
    world.repositories["two"].before = lambda _method, _reference: None
    world.publish(before=read_receipt(tmp_path / "receipt.json"))
    assert [claim.late for claim in world.claims] == [(), (), (), (before[1],)]


def test_the_claims_of_all_runs_that_were_killed_are_known_until_one_is_finished(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    # Before it has released anything; the second before it has got as far as the first.
    for tag in ("1.2.3", "1.2.3", "latest"):
        world.repositories["one"].before = _killed_at(tag)
        with pytest.raises(Killed):
            world.publish(before=read_receipt(tmp_path / "receipt.json"))
    world.repositories["one"].before = lambda _method, _reference: None
    done = world.publish(before=read_receipt(tmp_path / "receipt.json"))
    one, two = world.claims[::2], world.claims[1::2]
    for claims in (one, two):
        names = tuple(claim.identifier for claim in claims)
        assert [claim.known for claim in claims] == [names[:number] for number in range(4)]
    # Each of those that were killed while the version was under way may have sent it.
    assert [claim.late for claim in one] == [(), one[1].known, one[2].known, ()]
    assert {claim.late for claim in two} == {()}
    assert {(each.claim, *each.earlier_claims) for each in done.targets.values()} == {("",)}


def test_who_comes_second_gives_the_version_nowhere_else(tmp_path: Path) -> None:
    world = World(tmp_path)

    def other_is_first(method: str, reference: str) -> None:
        # Between the look at all of the registries and the first tag.
        if (method, reference) == ("GET", "1.2.3"):
            world.repositories["one"].given["1.2.3"] = THEIRS
            world.repositories["two"].before = lambda _method, _reference: None

    world.repositories["two"].before = other_is_first
    with pytest.raises(GateError, match=r"one\.example/thing:1\.2\.3 already exists"):
        world.publish()
    assert world.given == [{"1.2.3": "theirs"}, {}]
    # The other one can finish.
    world.publish(THEIRS)
    assert world.given == [dict.fromkeys(TAGS, "theirs")] * 2


def test_a_registry_that_fails_first_gives_nobody_the_others(tmp_path: Path) -> None:
    world = World(tmp_path)

    def down(method: str, _reference: str) -> None:
        if method == "PUT":
            raise TransientError("down")

    world.repositories["one"].before = down
    with pytest.raises(TransientError):
        world.publish()
    assert world.given == [{}, {}]


def test_an_optional_registry_decides_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, optional=["one"])
    world.repositories["one"].given["1.2.3"] = THEIRS
    world.publish()
    assert world.given == [{"1.2.3": "theirs"}, dict.fromkeys(TAGS, "ours")]
    # And is asked last, so that one that can't be had holds nobody up.
    other = World(tmp_path, optional=["one"])
    asked: list[str] = []
    for name, memory in other.repositories.items():
        memory.before = lambda method, tag, name=name: (  # type: ignore[misc]
            asked.append(f"{name} {tag}") if method == "PUT" else None
        )
    other.publish()
    assert asked[:2] == ["two 1.2.3", "one 1.2.3"]


def test_registries_are_claimed_in_the_order_of_their_real_names(tmp_path: Path) -> None:
    # As a rollback does: Docker Hub's own repositories are called otherwise than configured.
    world = World(tmp_path)
    world.repositories = {"one": Memory("z.example"), "two": Memory("y.example")}
    world.publish()
    assert [claim.repository.name[0] for claim in world.claims] == ["y", "z"]


def test_nothing_moves_on_where_a_version_became_another_image(tmp_path: Path) -> None:
    world = World(tmp_path)
    one, two = world.repositories.values()

    def somebody(method: str, _reference: str) -> None:
        if method == "PUT":
            one.given["1.2.3"] = THEIRS

    two.before = somebody
    with pytest.raises(GateError, match="was moved by another publisher"):
        world.publish()
    assert world.given == [{"1.2.3": "theirs"}, {"1.2.3": "ours"}]


def test_it_is_looked_at_once_more_at_the_very_end(tmp_path: Path) -> None:
    world = World(tmp_path)
    one, two = world.repositories.values()

    def somebody(method: str, reference: str) -> None:
        if (method, reference) == ("PUT", "latest"):
            one.given["1.2.3"] = THEIRS

    two.before = somebody
    with pytest.raises(GateError, match="was moved by another publisher"):
        world.publish()


def test_every_registry_was_optional_and_none_is_left(tmp_path: Path) -> None:
    world = World(tmp_path, optional=["one", "two"])
    for memory in world.repositories.values():
        memory.given["1.2.3"] = THEIRS
    with pytest.raises(BuildlibError) as caught:
        world.publish()
    # It is told what each of them said, and not that none is left.
    assert str(caught.value).count("already exists with a different digest") == 2


def test_a_tag_that_moves_must_not_be_forbidden_to(tmp_path: Path) -> None:
    facts = git_facts()
    project = a_project(write_project(tmp_path, CONFIG), git=facts)
    tags = plan_tags(project.version, facts, Changes(), rules=DEFAULT_RULES)
    registry = Registry(name="x", repository="x.example/thing", immutable=("1.?.*", "[0-9]"))
    with pytest.raises(BuildlibError, match=r"registries\.x: 1 moves, and '\[0-9\]' forbids"):
        target_of(registry, tags)
    fine = target_of(Registry(name="x", repository="x.example/thing", immutable=("1.?.*",)), tags)
    assert isinstance(fine, Target)
    assert fine.pinned == ("1.2.3",)
