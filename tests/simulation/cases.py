"""Publications that happen at the same time, and what has to hold when all have ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulation.lives import INTERRUPTED, KILLED, Moment
from simulation.parties import RULES, Party, image, promote, publish, roll_latest_back
from simulation.registries import Registry, is_version
from simulation.world import State, World

from buildlib.config.tag_rules import TagRule
from buildlib.registry.claim import PREFIX


@dataclass(frozen=True, kw_only=True)
class Case:
    """Publications at the same time, into registries that have 1.2.0 and 1.2.5.

    Args:
        versions: one of each publisher.
        contents: of the images, by publisher; none: each has its own.
        registries: how many, each of which is required.
        deletes: they delete manifests.
        claims: publishers claim the repository.
        rules: of the tags.
        rollback: somebody moves `latest` back to 1.2.0 meanwhile; it is 1.2.5 in the beginning.
        promoted: somebody points this tag to another image meanwhile.
        resumed: how often the first publisher is run again when it has ended, while others go on.
        early: it is although the last request of one that was killed may still be carried out. What
            that does to a tag that moves, nobody can know; versions stay all the same.
    """

    versions: tuple[str, ...]
    contents: tuple[str, ...] = ()
    registries: int = 1
    deletes: bool = True
    claims: bool = True
    rules: tuple[TagRule, ...] = RULES
    rollback: bool = False
    promoted: str = ""
    resumed: int = 0
    early: bool = False

    def __call__(self) -> Scenario:
        """Return it, of which nothing has happened yet."""
        return Scenario(self)

    def parties(self) -> list[Party]:
        """Return who takes part."""
        hosts = tuple(f"r{number}.example" for number in range(self.registries))
        found = [
            Party(
                name="abc"[number],
                version=version,
                content=self.contents[number] if self.contents else "abc"[number],
                hosts=hosts,
                rules=self.rules,
                claims=self.claims,
                task=publish,
            )
            for number, version in enumerate(self.versions)
        ]
        if self.rollback:
            found.append(
                Party(
                    name="rollback",
                    version="1.2.0",
                    content="old",
                    hosts=hosts,
                    task=roll_latest_back,
                )
            )
        if self.promoted:
            found.append(
                Party(
                    name="promotion",
                    version=self.promoted,
                    content="another",
                    hosts=hosts,
                    task=promote,
                )
            )
        return found


class Scenario:
    """The world of a case, and what has to hold in it when all have ended."""

    def __init__(self, case: Case) -> None:
        self._case, self._parties = case, case.parties()
        parts = [party.part() for party in self._parties]
        for run in range(case.resumed):
            before = len(parts) - 1 if run else 0
            parts.append(self._parties[0].part(again=before, run=run + 2, early=case.early))
        # Who each of the parts is.
        self._owners = [*self._parties, *case.resumed * self._parties[:1]]
        registries = [Registry(host, deletes=case.deletes) for host in self._parties[0].hosts]
        for registry in registries:
            registry.holds(image("old"), "1.2.0")
            registry.holds(image("newer"), "1.2.5", "latest")
            for party in self._parties:
                registry.holds(image(party.content))
        self.world = World(registries, parts)

    def check(self, state: State) -> None:
        """Raise AssertionError where something is wrong, now or when all have been resumed."""
        ends = [place.at for place in state.places if place.at]
        self._check_versions(state, ends)
        if self._case.resumed:
            ends[0] = ends[-1]
        state, ends = self._resumed(state, ends[: len(self._parties)])
        self._check_versions(state, ends)
        self._check_ends(ends)
        if not self._case.early:
            self._check_moving(state)

    def _resumed(self, state: State, ends: list[Moment]) -> tuple[State, list[Moment]]:
        """Run what was killed or has failed again, one after another, and without faults.

        Twice: what one that was killed has claimed may be in another's way until it is run again.
        """
        ends = list(ends)
        for run in (4, 5):
            for number, party in enumerate(self._parties):
                last = ends[number]
                if last.code != 0 and party.resumable:
                    disk = last.disk
                    ends[number], state = self.world.alone(state, party.part(), run, disk)
        return state, ends

    def _check_versions(self, state: State, ends: Sequence[Moment]) -> None:
        """Hold that no version ever changed, and that who ended with 0 has its digest there."""
        for held in state.held:
            assert not held.overwritten, f"{min(held.overwritten)} was overwritten"
        for end, party in zip(ends, self._owners, strict=False):
            if end.code == 0 and party.resumable:
                for held in state.held:
                    there = held.tags.get(party.version)
                    assert there == party.digest, (
                        f"{party.name} ended with 0 without {party.version}"
                    )

    def _check_ends(self, ends: Sequence[Moment]) -> None:
        """Hold that what did not end with 0 says why with the code for that."""
        for end, party in zip(ends, self._parties, strict=True):
            # Nobody goes on with a rollback or a promotion that was killed.
            ended = {0, 6, 7, *([] if party.resumable else [KILLED, INTERRUPTED])}
            assert end.code in ended, f"{party.name}: {end.error}"

    def _check_moving(self, state: State) -> None:
        """Hold that each tag that moves is the highest version of its line in each registry."""
        # A rollback moves it to a lower one; a promotion to a version moves nothing else.
        allowed = "1.2.0" if self._case.rollback else "1.2.5" if self._case.promoted else ""
        for held in state.held:
            named = {digest: tag for tag, digest in held.tags.items() if is_version(tag)}
            for tag, digest in held.tags.items():
                if is_version(tag) or tag.startswith(PREFIX):
                    continue
                line = [
                    one for one in named.values() if tag == "latest" or one.startswith(f"{tag}.")
                ]
                highest = max(line, key=lambda one: tuple(map(int, one.split("."))))
                there = named.get(digest)
                assert there in {highest, allowed}, f"{tag} is {there}, not {highest}"
