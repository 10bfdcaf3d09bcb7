"""Who takes part in a simulation: publishers, a rollback, a promotion, and what has to hold."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from simulation.explore import Scenario
from simulation.world import LONG, Publisher, Registry, World

from buildlib.console import Console
from buildlib.publish.course import Course
from buildlib.publish.plan import Target, target_of
from buildlib.publish.receipt import Receipt, TargetRecord
from buildlib.publish.rollback import plan_rollback, roll_back
from buildlib.publish.tagging import Rules, Tagging
from buildlib.registry.claim import PREFIX, Claim, ClaimTerms, Intent, all_claimed
from buildlib.registry.tags import check_lapse, put_tag
from buildlib.settings import Registry as Configured
from buildlib.tagplan import TagPlan, plan_tags, rightful_tag
from buildlib.tagrules import TagRule, parse_rules
from buildlib.vcs import Changes
from buildlib.version import resolve_version

from fakes import REVISION, git_facts

TERMS = ClaimTerms(duration=90.0, poll=50.0, patience=3 * LONG)
# A version, and one tag that moves: what holds for one of them holds for each.
RULES = parse_rules({"rules": ["{version}", "latest"]})
ALL_RULES = parse_rules({})


class _Silent:
    """Prints nothing, and remembers what it was warned of."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def note(self, text: str) -> None:
        """Say nothing."""

    def warn(self, text: str) -> None:
        self.warnings.append(text)


class _Course(Course):
    """Keeps its receipt in memory, which survives a publisher that is killed."""

    def save(self, step: str) -> None:
        assert step


def image(name: str) -> bytes:
    """Return an image that is not any other."""
    content = {"schemaVersion": 2, "manifests": [], "annotations": {"name": name}}
    return json.dumps(content).encode()


@cache
def _tag_plan(version: str, rules: tuple[TagRule, ...], held: tuple[str, ...]) -> TagPlan:
    name = f"v{version}"
    facts = git_facts(tags={name: REVISION}, head_tags=(name,), nearest_tag=name, description=name)
    return plan_tags(resolve_version(facts, now=0), facts, Changes(), rules=rules, in_registry=held)


class Party:
    """One publication of a version, with the receipt that it leaves.

    Args:
        world: that it is in.
        name: of the publisher; also that of its image.
        version: what it publishes.
        rules: of the tags.
        claims: they are made at all.
    """

    def __init__(
        self,
        world: World,
        name: str,
        version: str,
        *,
        rules: tuple[TagRule, ...] = RULES,
        claims: bool = True,
        content: str = "",
    ) -> None:
        self.world, self.name, self.version, self.rules = world, name, version, rules
        self.configured = [
            Configured(name=host, repository=f"{host}/thing", claim=claims)
            for host in world.registries
        ]
        self.data = image(content or name)
        # The image is there, and verified.
        (self.digest,) = {one.holds(self.data) for one in world.registries.values()}
        self.console = _Silent()
        self.receipt = Receipt(
            image="thing", version=version, revision="a" * 40, mode="release", archive=""
        )
        self.receipt.digest = self.digest
        self.receipt.targets = {
            one.name: TargetRecord(repository=one.repository) for one in self.configured
        }
        self._claims = 0

    def target(self, registry: Configured, held: Sequence[str]) -> Target:
        ours = tuple(tag for tag in held if not tag.startswith(PREFIX))
        return target_of(registry, _tag_plan(self.version, self.rules, ours))

    def claim(self, target: Target, intent: Intent, known: tuple[str, ...]) -> Claim:
        self._claims += 1
        return Claim(
            self.world.repository(target.name),
            intent,
            terms=TERMS,
            known=known,
            identifier=f"{self.name}{self._claims}",
            clock=lambda: self.world.now,
            enabled=target.registry.claim,
        )

    def publish(self) -> None:
        for record in self.receipt.targets.values():
            record.error = ""
        repositories = {one.name: self.world.repository(one.name) for one in self.configured}
        console = cast("Console", self.console)
        course = _Course(self.receipt, Path(), console, lambda _: None)
        rules = Rules(
            target=self.target,
            rightful=lambda _, tag, held: rightful_tag(tag, self.version, self.rules, held),
            claim=self.claim,
        )
        tagging = Tagging(course, repositories, console, rules)
        targets = [self.target(one, repositories[one.name].tags()) for one in self.configured]
        tagging.give(targets)
        self.receipt.finished = True

    def resume(self) -> Callable[[], None]:
        """Return what goes on from the receipt as it is now."""
        self.receipt = copy.deepcopy(self.receipt)
        return self.publish

    # -- the other tasks

    def roll_back(self) -> None:
        def replan() -> list[Any]:
            return [
                plan_rollback(repository, self.version, self.rules)
                for repository in repositories.values()
            ]

        repositories = {one.name: self.world.repository(one.name) for one in self.configured}
        plans = replan()
        claims = {
            repository.name: self.claim(self.target(one, ()), Intent("a rollback"), ())
            for one, repository in zip(self.configured, repositories.values(), strict=True)
        }
        for plan in plans:
            object.__setattr__(plan, "repository", claims[plan.repository.name].repository)
        for _ in roll_back(plans, lambda: plans_again(plans, replan()), claims):
            pass

    def promote(self, tag: str, *, immutable: bool) -> None:
        versions = (tag,) if immutable else ()
        claims = [
            self.claim(self.target(one, ()), Intent("a promotion", self.digest, versions), ())
            for one in self.configured
        ]
        with all_claimed(claims):
            for claim in claims:
                put_tag(claim.repository, self.digest, tag, immutable=immutable, claim=claim)
                check_lapse(claim, claim.repository, tag)


def plans_again(before: Sequence[Any], now: Sequence[Any]) -> list[Any]:
    """Return plans with the repositories of those before: which object it is says nothing."""
    for one, other in zip(before, now, strict=True):
        object.__setattr__(other, "repository", one.repository)
    return list(now)


def publisher_of(world: World, party: Party) -> Publisher:
    return next(one for one in world.publishers if one.name == party.name)


def finish(world: World, parties: Sequence[Party]) -> None:
    """Run what was killed or has failed again, one after another, and without faults.

    Twice: what one that was killed has claimed may be in another's way until it is run again.
    """
    world.faults = 0
    for party in [*parties, *parties]:
        before = publisher_of(world, party)
        if before.exit_code != 0:
            again = world.add(f"{party.name} resumed", party.resume())
            world.start_one(again)
            while not again.over:
                world.step(world.publishers.index(again))
            world.publishers[world.publishers.index(before)] = again
            again.name = party.name


def check_versions(world: World, parties: Sequence[Party]) -> None:
    """Hold that no version ever changed, and that who ended with 0 has its digest there."""
    for registry in world.registries.values():
        for tag, before, after in registry.history:
            if is_version(tag):
                assert before in {"", after}, f"{tag} was overwritten in {registry.host}"
    for party in parties:
        if publisher_of(world, party).exit_code == 0:
            for registry in world.registries.values():
                held = registry.tags.get(party.version)
                assert held == party.digest, f"{party.name} ended with 0 without {party.version}"


def is_version(tag: str) -> bool:
    return tag.count(".") == 2


def check_moving(world: World, allowed: str) -> None:
    """Hold that each tag that moves is the highest version of its line in each registry.

    Args:
        world: at rest.
        allowed: what it may be instead.
    """
    for registry in world.registries.values():
        named = {digest: tag for tag, digest in registry.tags.items() if is_version(tag)}
        for tag, digest in registry.tags.items():
            if is_version(tag) or tag.startswith(PREFIX):
                continue
            line = [one for one in named.values() if tag == "latest" or one.startswith(f"{tag}.")]
            highest = max(line, key=lambda one: tuple(map(int, one.split("."))))
            held = named.get(digest)
            assert held in {highest, allowed}, f"{tag} is {held}, not {highest}"


@dataclass(frozen=True, kw_only=True)
class Case:
    """Publications at the same time, into registries that have 1.2.0.

    Args:
        versions: one of each publisher.
        contents: of the images, by publisher; none: each has its own.
        registries: how many, each of which is required.
        deletes: they delete manifests.
        claims: publishers claim the repository.
        rules: of the tags.
        rollback: somebody moves `latest` back to 1.2.0 meanwhile; it is 1.2.5 in the beginning.
        promoted: somebody points this tag to another image meanwhile.
        resumed: the first publisher is run again as soon as it has ended, while others go on.
    """

    versions: tuple[str, ...]
    contents: tuple[str, ...] = ()
    registries: int = 1
    deletes: bool = True
    claims: bool = True
    rules: tuple[TagRule, ...] = RULES
    rollback: bool = False
    promoted: str = ""
    resumed: bool = False

    def __call__(self, faults: int) -> Scenario:
        """Return it with so many requests that may fail."""
        world = World(
            [Registry(f"r{n}.example", deletes=self.deletes) for n in range(self.registries)],
            faults,
        )
        for registry in world.registries.values():
            registry.holds(image("old"), "1.2.0")
            registry.holds(image("newer"), "1.2.5", "latest")
        parties = [self._party(world, number, one) for number, one in enumerate(self.versions)]
        for party in parties:
            world.add(party.name, party.publish)
        others = self._others(world)
        again = self._again(world, parties[0]) if self.resumed else None

        def check(world: World) -> None:
            check_versions(world, parties)
            if again and again.exit_code == 0:
                held = {one.tags.get(parties[0].version) for one in world.registries.values()}
                assert held == {parties[0].digest}, (
                    "the second run ended with 0 without its version"
                )
            finish(world, parties)
            check_versions(world, parties)
            check_ends(world, [*parties, *others])
            # A promotion to a version moves nothing else.
            check_moving(world, "1.2.0" if self.rollback else "1.2.5" if self.promoted else "")

        return Scenario(world, check)

    def _party(self, world: World, number: int, version: str) -> Party:
        name = "abc"[number]
        content = self.contents[number] if self.contents else name
        return Party(world, name, version, rules=self.rules, claims=self.claims, content=content)

    def _again(self, world: World, party: Party) -> Publisher:
        first = publisher_of(world, party)

        def publish() -> None:
            while not first.over:
                world.current.sleep(TERMS.poll)
            party.resume()()

        return world.add(f"{party.name} again", publish)

    def _others(self, world: World) -> list[Party]:
        others = []
        if self.rollback:
            others.append(Party(world, "rollback", "1.2.0", content="old"))
            world.add("rollback", others[-1].roll_back)
        if self.promoted:
            others.append(Party(world, "promotion", "0.0.0", content="another"))
            world.add("promotion", lambda: others[-1].promote(self.promoted, immutable=True))
        return others


def check_ends(world: World, parties: Sequence[Party]) -> None:
    """Hold that what did not end with 0 says why with the code for that."""
    for party in parties:
        publisher = publisher_of(world, party)
        # Nobody goes on with a rollback or a promotion that was killed.
        ended = {0, 6, 7, *([-9] if party.name in {"rollback", "promotion"} else [])}
        assert publisher.exit_code in ended, f"{party.name}: {publisher.error!r}"
