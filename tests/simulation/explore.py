"""Goes through the interleavings of a scenario: all of them, or as many as there is time for."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from simulation.world import Choice, World

Make = Callable[[int], "Scenario"]


class Scenario:
    """A world whose publishers have not begun, and what has to hold in it.

    Args:
        world: as it is in the beginning.
        check: raises AssertionError where something is wrong, when all have ended.
    """

    def __init__(self, world: World, check: Callable[[World], None]) -> None:
        self.world, self._check = world, check

    def check(self) -> None:
        self._check(self.world)


@dataclass
class Found:
    """What came of an exploration.

    Args:
        runs: executions from the beginning to an end, or to a state that was known.
        states: different ones that were seen.
        complete: nothing was left out.
        wrong: the choices that lead to a violation, how it happened and what is violated.
    """

    runs: int = 0
    states: int = 0
    complete: bool = False
    wrong: list[tuple[tuple[Choice, ...], str]] = field(default_factory=list)

    def __str__(self) -> str:
        """Return how much was tried, on one line."""
        share = "all" if self.complete else "as far as time allowed"
        return f"{self.runs} interleavings, {self.states} states, {share}"


def replay(make: Make, faults: int, choices: tuple[Choice, ...]) -> Scenario:
    """Return a scenario after these choices, which have to be all until its end."""
    scenario = make(faults)
    scenario.world.start()
    for choice in choices:
        scenario.world.step(*choice)
    assert not scenario.world.choices()
    return scenario


def explore(
    make: Make, faults: int, *, seconds: float, start: tuple[Choice, ...] = (), most_wrong: int = 1
) -> Found:
    """Follow every choice once from every state.

    Which one is next is chosen by chance, the same each time: where there is no time for all of
    them, those that differ only in the end are not the only ones.

    Args:
        make: returns a new scenario with so many faults.
        faults: how many requests may fail.
        seconds: to go on for, at the most.
        start: choices that every run begins with.
        most_wrong: so many violations end it.
    """
    found, known = Found(), set[bytes]()
    deadline, chance = time.monotonic() + seconds, random.Random(0)
    ahead = [start]
    while ahead:
        if time.monotonic() > deadline or len(found.wrong) >= most_wrong:
            return found
        number = chance.randrange(len(ahead))
        ahead[number], ahead[-1] = ahead[-1], ahead[number]
        _follow(make, faults, ahead.pop(), known, ahead, found)
    found.complete = True
    return found


def _follow(
    make: Make,
    faults: int,
    choices: tuple[Choice, ...],
    known: set[bytes],
    ahead: list[tuple[Choice, ...]],
    found: Found,
) -> None:
    scenario = make(faults)
    world = scenario.world
    world.start()
    for choice in choices:
        world.step(*choice)
    taken = list(choices)
    found.runs += 1
    while options := world.choices():
        key = world.key()
        if key in known:
            world.end()
            return
        known.add(key)
        found.states += 1
        ahead.extend((*taken, other) for other in options[1:])
        taken.append(options[0])
        world.step(*options[0])
    _check(scenario, tuple(taken), found)


def _check(scenario: Scenario, taken: tuple[Choice, ...], found: Found) -> None:
    try:
        scenario.check()
    except AssertionError as error:
        found.wrong.append((taken, "\n".join([*scenario.world.trace, str(error)])))
    finally:
        scenario.world.end()


def wander(
    make: Make, faults: int, *, seconds: float, seed: int, most: int = 10**9, most_wrong: int = 1
) -> Found:
    """Choose by chance, run after run; the seed repeats it."""
    found = Found()
    chance = random.Random(seed)
    deadline = time.monotonic() + seconds
    while found.runs < most and time.monotonic() < deadline and len(found.wrong) < most_wrong:
        scenario = make(faults)
        world = scenario.world
        world.start()
        taken: list[Choice] = []
        found.runs += 1
        while options := world.choices():
            taken.append(_by_chance(chance, options))
            world.step(*taken[-1])
        _check(scenario, tuple(taken), found)
    return found


def _by_chance(chance: random.Random, options: list[Choice]) -> Choice:
    # A fault at one request in twenty: else all of them would come at the very beginning.
    plain = [option for option in options if option[1] is None]
    faults = options[len(plain) :]
    return chance.choice(faults if faults and chance.random() < 0.05 else plain)
