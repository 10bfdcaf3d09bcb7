"""Who takes part in a simulation: publishers, a rollback, a promotion, and what has to hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, cast

from simulation.lives import Run
from simulation.registries import digest_of
from simulation.world import LONG, Part

from buildlib.config.tables import Registry as Configured
from buildlib.config.tag_rules import TagRule, parse_rules
from buildlib.git.facts import Changes
from buildlib.publish.outcomes import Outcomes
from buildlib.publish.plan import Target, target_of
from buildlib.publish.receipt import Receipt, TargetRecord
from buildlib.publish.rollback import plan_rollback, roll_back
from buildlib.publish.tagger import Tagging, TagPolicy
from buildlib.registry.claim import PREFIX, Claim, ClaimTerms, Intent, all_claimed
from buildlib.registry.tags import check_lapse, put_tag
from buildlib.terminal.console import Console
from buildlib.versioning.tag_plan import TagPlan, plan_tags, rightful_tag
from buildlib.versioning.version import resolve_version

from fakes import REVISION, git_facts

TERMS = ClaimTerms(duration=90.0, poll=50.0, patience=3 * LONG)
# A version, and one tag that moves: what holds for one of them holds for each.
RULES = parse_rules({"rules": ["{version}", "latest"]})
ALL_RULES = parse_rules({})


class _Silent:
    """Prints nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def warn(self, text: str) -> None:
        """Say nothing."""


class _Course(Outcomes):
    """Keeps the receipt as a file would: a publisher that is killed leaves what was saved last."""

    def __init__(self, receipt: Receipt, run: Run) -> None:
        super().__init__(receipt, Path(), cast("Console", _Silent()), lambda _: None)
        self._run = run

    def save(self, step: str) -> None:
        assert step
        self._run.save(lambda: json.dumps(self.receipt, default=vars))


def _read(disk: str) -> Receipt:
    receipt = Receipt(**json.loads(disk))
    receipt.targets = {
        # As a run that begins does.
        name: TargetRecord(**cast("dict[str, Any]", found) | {"error": ""})
        for name, found in receipt.targets.items()
    }
    receipt.finished = False
    return receipt


def image(name: str) -> bytes:
    """Return an image that is not any other."""
    content = {"schemaVersion": 2, "manifests": [], "annotations": {"name": name}}
    return json.dumps(content).encode()


@cache
def _tag_plan(version: str, rules: tuple[TagRule, ...], held: tuple[str, ...]) -> TagPlan:
    name = f"v{version}"
    facts = git_facts(tags={name: REVISION}, head_tags=(name,), nearest_tag=name, description=name)
    return plan_tags(resolve_version(facts, now=0), facts, Changes(), rules=rules, in_registry=held)


@dataclass(frozen=True, kw_only=True)
class Party:
    """One publication of a version, or another task.

    Args:
        name: of the publisher.
        version: what it publishes.
        content: of its image, which is there, and verified.
        hosts: of the registries.
        rules: of the tags.
        claims: they are made at all.
        task: what it does.
    """

    name: str
    version: str
    content: str
    hosts: tuple[str, ...]
    rules: tuple[TagRule, ...] = RULES
    claims: bool = True
    task: Callable[[_Work], None]

    @property
    def resumable(self) -> bool:
        """Return whether somebody goes on with it where it ends early."""
        return self.task is _Work.publish

    @cached_property
    def digest(self) -> str:
        return digest_of(image(self.content))

    @cached_property
    def configured(self) -> list[Configured]:
        return [
            Configured(name=host, repository=f"{host}/thing", claim=self.claims)
            for host in self.hosts
        ]

    def part(self, again: int | None = None, *, run: int = 1, early: bool = False) -> Part:
        name = " ".join([self.name, *(run - 1) * ["again"]])
        return Part(name=name, begin=self._begin, again=again, run=run, early=early)

    def _begin(self, run: Run, number: int) -> Callable[[], object]:
        return partial(self.task, _Work(self, run, number))

    def target(self, registry: Configured, held: Sequence[str]) -> Target:
        ours = tuple(tag for tag in held if not tag.startswith(PREFIX))
        return target_of(registry, _tag_plan(self.version, self.rules, ours))


class _Work:
    """What a party does in one run, the first of which has the number 1."""

    def __init__(self, party: Party, run: Run, number: int) -> None:
        self._party, self._run, self._number = party, run, number
        self._repositories = {host: run.repository(host) for host in party.hosts}
        self._claims = 0

    def _claim(self, target: Target, intent: Intent, known: tuple[str, ...]) -> Claim:
        self._claims += 1
        return Claim(
            self._repositories[target.name],
            intent,
            terms=TERMS,
            known=known,
            identifier=f"{self._party.name}{self._number}{self._claims}",
            clock=lambda: self._run.now,
            enabled=target.registry.claim,
        )

    def _receipt(self) -> Receipt:
        if self._run.disk:
            return _read(self._run.disk)
        party = self._party
        receipt = Receipt(
            image="thing", version=party.version, revision="a" * 40, mode="release", archive=""
        )
        receipt.digest = party.digest
        receipt.targets = {
            one.name: TargetRecord(repository=one.repository) for one in party.configured
        }
        return receipt

    def publish(self) -> None:
        party, repositories = self._party, self._repositories
        receipt = self._receipt()
        course = _Course(receipt, self._run)
        course.save("begun")
        try:
            rules = TagPolicy(
                target=party.target,
                rightful=lambda _, tag, held: rightful_tag(tag, party.version, party.rules, held),
                claim=self._claim,
            )
            tagging = Tagging(course, repositories, cast("Console", _Silent()), rules)
            tagging.give(
                [party.target(one, repositories[one.name].tags()) for one in party.configured]
            )
            receipt.finished = True
        finally:
            course.save("ended")

    def roll_back(self) -> None:
        party, repositories = self._party, self._repositories

        def replan() -> list[Any]:
            return [
                plan_rollback(repository, party.version, party.rules)
                for repository in repositories.values()
            ]

        plans = replan()
        claims = {
            repository.name: self._claim(party.target(one, ()), Intent("a rollback"), ())
            for one, repository in zip(party.configured, repositories.values(), strict=True)
        }
        for plan in plans:
            object.__setattr__(plan, "repository", claims[plan.repository.name].repository)
        for _ in roll_back(plans, lambda: _plans_again(plans, replan()), claims):
            pass

    def promote(self) -> None:
        party = self._party
        claims = [
            self._claim(
                party.target(one, ()), Intent("a promotion", party.digest, (party.version,)), ()
            )
            for one in party.configured
        ]
        with all_claimed(claims):
            for claim in claims:
                put_tag(claim.repository, party.digest, party.version, immutable=True, claim=claim)
                check_lapse(claim, claim.repository, party.version)


def _plans_again(before: Sequence[Any], now: Sequence[Any]) -> list[Any]:
    """Return plans with the repositories of those before: which object it is says nothing."""
    for one, other in zip(before, now, strict=True):
        object.__setattr__(other, "repository", one.repository)
    return list(now)


publish, roll_latest_back, promote = _Work.publish, _Work.roll_back, _Work.promote
