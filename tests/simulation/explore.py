"""Goes through the interleavings of a case: all of them, or as many as are asked for.

Where the order of two requests can't matter, one order is enough: a publisher whose next request
has to do with nothing that others may do before time passes goes first (a persistent set:
P. Godefroid, "Partial-Order Methods for the Verification of Concurrent Systems", 1996). For that,
each publisher has a number of faults of its own. Every end is reached all the same, and what has to
hold is looked at there; nothing comes twice, as time and what a publisher was told only grow.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

from simulation.cases import Scenario
from simulation.registries import NOTHING, Touched
from simulation.world import Choice, Kind, State, World

Make = Callable[[], Scenario]
Path = tuple["Path", Choice] | None
# As many runs as one world remembers: it answers from memory what an earlier one asked.
_RUNS = 1000


@dataclass
class Found:
    """What came of an exploration.

    Args:
        runs: executions from the beginning to an end.
        states: different ones that were seen.
        ends: states, as far as they differ, in which everybody has ended.
        complete: nothing was left out.
        wrong: the choices that lead to a violation, how it happened and what is violated.
    """

    runs: int = 0
    states: int = 0
    ends: set[object] = field(default_factory=set)
    complete: bool = False
    wrong: list[tuple[tuple[Choice, ...], str]] = field(default_factory=list)

    def __str__(self) -> str:
        """Return how much was tried, on one line."""
        if not self.states:
            return f"{self.runs} interleavings"
        share = "all" if self.complete else "as far as was asked for"
        return f"{self.states} states, {len(self.ends)} ends, {share}"


def replay(make: Make, choices: tuple[Choice, ...]) -> str:
    """Return what is violated after these choices, and then no more faults."""
    scenario = make()
    world = scenario.world
    state = world.first([len(Kind)] * len(world.parts))
    for choice in choices:
        state = world.step(state, *choice)
    while options := world.choices(state):
        state = world.step(state, *options[0])
    violated = _violated(scenario, state)
    world.close()
    return violated


def trace(make: Make, choices: tuple[Choice, ...]) -> list[str]:
    """Return these choices in words."""
    world, lines = make().world, []
    state = world.first([len(Kind)] * len(world.parts))
    for choice in choices:
        lines.append(world.line(state, *choice))
        state = world.step(state, *choice)
    world.close()
    return lines


def explore(
    make: Make,
    faults: int,
    *,
    seconds: float,
    most: int = 10**9,
    reduced: bool = True,
    most_wrong: int = 1,
) -> Found:
    """Follow every choice once from every state.

    Args:
        make: returns the scenario.
        faults: how many requests may fail.
        seconds: to go on for, at the most.
        most: so many states end it.
        reduced: leave out orders that can't matter.
        most_wrong: so many violations end it.
    """
    found, scenario = Found(), make()
    world, order = scenario.world, Order(scenario.world)
    known, deadline = set[bytes](), time.monotonic() + seconds
    todo: list[tuple[State, Choice | None, Path]] = [
        (world.first(split), None, None) for split in _splits(faults, len(world.parts))
    ]
    while todo:
        state, choice, path = todo.pop()
        if choice:
            state, path = world.step(state, *choice), (path, choice)
        key = world.key(state)
        if key in known:
            continue
        known.add(key)
        found.states += 1
        if time.monotonic() > deadline or len(found.wrong) >= most_wrong:
            break
        if found.states == most:
            break
        choices = order.choices(state) if reduced else world.choices(state)
        # What runs already goes on first.
        todo += [(state, one, path) for one in reversed(choices)]
        if not choices:
            found.ends.add(summary(state))
            _check(scenario, state, path, found)
    else:
        found.complete = len(found.wrong) < most_wrong
    world.close()
    return found


def _splits(faults: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Yield how so many faults may be distributed."""
    if parts == 1:
        yield (faults,)
        return
    for first in range(faults + 1):
        for others in _splits(faults - first, parts - 1):
            yield first, *others


class Order:
    """Which order matters, in a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._known: dict[tuple[int, bytes], Touched] = {}

    def choices(self, state: State) -> list[Choice]:
        """Return the choices that have to be followed from a state."""
        world = self._world
        ready = list(world.ready(state))
        if len(ready) > 1:
            touched = {one: world.touched(state, one) for one in ready}
            # What does not touch anything at all is found at once.
            for one in sorted(ready, key=lambda one: touched[one] != NOTHING):
                if touched[one] == NOTHING or not touched[one].conflicts(
                    self._touched_by_others(state, one)
                ):
                    ready = [one]
                    break
        return [(one, kind) for one in ready for kind in world.kinds(state, one)]

    def _touched_by_others(self, state: State, one: int) -> Touched:
        """Return all that may be read and written before time passes, or it is this one's turn."""
        key = one, self._world.key(_without(state, one))
        if key not in self._known:
            found = NOTHING
            for other, kind in self._world.choices(state):
                if other != one:
                    after = self._world.step(state, other, kind)
                    # An orphan that has come is not there any more.
                    place = one - (len(state.places) <= other < one)
                    found |= self._world.touched(state, other) | self._touched_by_others(
                        after, place
                    )
            self._known[key] = found
        return self._known[key]


def _without(state: State, one: int) -> State:
    if one < len(state.places):
        place = state.places[one]._replace(at=None, late=None, faults=0)
        return state._replace(places=(*state.places[:one], place, *state.places[one + 1 :]))
    return state


def _violated(scenario: Scenario, state: State) -> str:
    try:
        scenario.check(state)
    except AssertionError as error:
        return str(error)
    return ""


def _check(scenario: Scenario, state: State, path: Path, found: Found) -> None:
    found.runs += 1
    if violated := _violated(scenario, state):
        choices = []
        while path:
            path, choice = path
            choices.append(choice)
        found.wrong.append((tuple(choices[::-1]), violated))


def summary(state: State) -> object:
    """Return what matters of an end."""
    held = tuple(
        (tuple(sorted(one.tags.items())), one.manifests, one.overwritten) for one in state.held
    )
    return held, tuple((place.at.code, place.at.disk) for place in state.places if place.at)


def wander(
    make: Make, faults: int, *, seconds: float, seed: int, most: int = 10**9, most_wrong: int = 1
) -> Found:
    """Choose by chance, run after run; the seed repeats it."""
    found, chance = Found(), random.Random(seed)
    deadline = time.monotonic() + seconds
    scenario = make()
    while found.runs < most and time.monotonic() < deadline and len(found.wrong) < most_wrong:
        if found.runs % _RUNS == 0:
            scenario.world.close()
            scenario = make()
        world = scenario.world
        left = [0] * len(world.parts)
        for _ in range(faults):
            left[chance.randrange(len(left))] += 1
        state, path = world.first(left), cast("Path", None)
        while options := world.choices(state):
            choice = _by_chance(chance, options)
            state, path = world.step(state, *choice), (path, choice)
        _check(scenario, state, path, found)
    scenario.world.close()
    return found


def _by_chance(chance: random.Random, options: list[Choice]) -> Choice:
    # A fault at one request in twenty: else all of them would come at the very beginning.
    plain = [option for option in options if option[1] is None]
    faults = [option for option in options if option[1] is not None]
    return chance.choice(faults if faults and chance.random() < 0.05 else plain)
