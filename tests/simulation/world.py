"""What may happen next, and what comes of it: publishers and registries under one scheduler.

Time is virtual, and nothing is left to chance: a list of choices repeats a run. A state never
changes, so that each of them can be followed in every direction.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import Final, NamedTuple

from simulation.lives import Life, Moment, Run, Told
from simulation.registries import (
    NOTHING,
    Effect,
    Held,
    Registries,
    Registry,
    Reply,
    Request,
    Touched,
)

# Longer than any claim lasts, and than anybody waits between two attempts; seconds.
LONG: Final = 500.0


class Kind(StrEnum):
    """What may become of a request beside an answer at once."""

    REFUSED = "503"
    REFUSED_LONG = "503 with a long Retry-After"
    LOST = "reset after the effect"
    SLOW_ANSWER = "effect at once, answer late"
    SLOW_EFFECT = "effect and answer late"
    KILLED = "killed before the effect"
    KILLED_AFTER = "killed after the effect"
    KILLED_MEANWHILE = "killed, effect late all the same"
    INTERRUPTED = "interrupted, effect late all the same"


# What changes nothing may fail without an answer, or be slow; anything more comes to the same.
_OF_READS: Final = (
    *(Kind.REFUSED, Kind.SLOW_ANSWER, Kind.SLOW_EFFECT),
    *(Kind.KILLED, Kind.INTERRUPTED),
)
_OF_WRITES: Final = tuple(Kind)
_AT_ONCE: Final = frozenset({Kind.LOST, Kind.KILLED_AFTER, Kind.SLOW_ANSWER})
_ORPHANS: Final = frozenset({Kind.KILLED_MEANWHILE, Kind.INTERRUPTED})
_KILLS: Final = frozenset({Kind.KILLED, Kind.KILLED_AFTER, Kind.KILLED_MEANWHILE})

# Whose turn it is, by number, and what becomes of the request; None: it is answered at once. The
# numbers after those of publishers are of requests whose publishers were killed meanwhile.
Choice = tuple[int, Kind | None]


class Late(NamedTuple):
    """A request that is under way: its answer, or None where it has still to happen."""

    reply: Reply | None


class Place(NamedTuple):
    """Where a publisher is.

    Args:
        at: None: it has not begun.
        due: when something may happen to it.
        late: its request is under way; None: it is not sent.
        faults: how many of its requests may still fail.
    """

    at: Moment | None
    due: float
    late: Late | None
    faults: int


class Orphan(NamedTuple):
    """A request whose publisher was killed or interrupted; `due`: when it is carried out."""

    due: float
    owner: int
    request: Request


class State(NamedTuple):
    """A state of everything.

    Args:
        now: seconds.
        held: what each registry holds.
        places: where each publisher is.
        orphans: what is under way although nobody waits for the answer.
    """

    now: float
    held: tuple[Held, ...]
    places: tuple[Place, ...]
    orphans: tuple[Orphan, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A publisher that takes part.

    Args:
        name: in traces.
        begin: returns what it does, given what it does it with.
        again: number of the publisher that has to end first, whose receipt it goes on from.
        run: how manieth run of its publication it is.
        early: although a request of that one may still be carried out.
    """

    name: str
    begin: Callable[[Run, int], Callable[[], object]]
    again: int | None = None
    run: int = 1
    early: bool = False


class World:
    """Registries, publishers and the time that is theirs.

    Args:
        registries: what they hold in the beginning.
        parts: the publishers.
    """

    def __init__(self, registries: list[Registry], parts: Sequence[Part]) -> None:
        self.registries, self.parts = Registries(registries), parts
        self._ends: dict[tuple[str, int, str], Moment] = {}
        self._lives: dict[tuple[str, int, float, str], Life] = {}
        self._numbers = defaultdict[object, int](count().__next__)

    def first(self, faults: Sequence[int]) -> State:
        """Return the beginning, where so many requests of each publisher may fail."""
        places = tuple(
            Place(
                self.life(part, part.run, 0.0, "").first if part.again is None else None,
                0.0,
                None,
                left,
            )
            for part, left in zip(self.parts, faults, strict=True)
        )
        return State(0.0, self.registries.first, places)

    def life(self, part: Part, run: int, began: float, disk: str) -> Life:
        """Return a publisher in its first run, or in a later one, which goes on from a receipt."""
        key = part.name, run, began, disk
        if key not in self._lives:
            self._lives[key] = Life(
                part.name,
                lambda surroundings: part.begin(surroundings, run),
                self.registries.hosts,
                began=began,
                disk=disk,
                ends=self._ends,
            )
        return self._lives[key]

    def key(self, state: State) -> bytes:
        """Return what is equal for equal states alone, and takes less memory than a state."""
        parts = (*state.held, *state.places, state.orphans)
        return array("d", (state.now, *[self._numbers[part] for part in parts])).tobytes()

    # -- whose turn it may be

    def ready(self, state: State) -> Iterator[int]:
        """Yield who has something to do now: its number as that of a choice.

        Time passes only where nobody has: a publisher that is slower than others sleep is one
        whose request is slow, which is a fault.
        """
        for number, due in self._dues(state):
            if due <= state.now:
                yield number

    def _dues(self, state: State) -> Iterator[tuple[int, float]]:
        for number, place in enumerate(state.places):
            if place.at is None:
                if self._may_begin(state, self.parts[number]):
                    yield number, 0.0
            elif place.at.code is None:
                yield number, place.due
        for number, orphan in enumerate(state.orphans, len(state.places)):
            yield number, orphan.due

    @staticmethod
    def _may_begin(state: State, part: Part) -> bool:
        first = part.again
        if first is None:
            return True
        left = any(orphan.owner == first for orphan in state.orphans)
        return _over(state.places[first]) and (part.early or not left)

    @staticmethod
    def kinds(state: State, number: int) -> tuple[Kind | None, ...]:
        """Return what may become of whose turn it is."""
        if number < len(state.places):
            place = state.places[number]
            if place.at and place.at.wants and not place.late and place.faults:
                return (None, *(_OF_WRITES if place.at.wants.writes else _OF_READS))
        return (None,)

    def choices(self, state: State) -> list[Choice]:
        """Return what may happen next; nothing where everybody has ended."""
        return [(one, kind) for one in self.ready(state) for kind in self.kinds(state, one)]

    @staticmethod
    def request(state: State, number: int) -> Request | None:
        """Return the request that happens, if it is this one's turn."""
        if number >= len(state.places):
            return state.orphans[number - len(state.places)].request
        place = state.places[number]
        if place.at is None or (place.late and place.late.reply):
            return None
        return place.at.wants

    def touched(self, state: State, number: int) -> Touched:
        """Return what any choice of this one reads and writes."""
        request = self.request(state, number)
        return self._effect(state, request).touched if request else NOTHING

    @staticmethod
    def _effect(state: State, request: Request) -> Effect:
        return state.held[request.registry].effect(request)

    # -- what comes of it

    def step(self, state: State, number: int, kind: Kind | None = None) -> State:
        """Return the state after something has happened."""
        held, places, orphans = state.held, list(state.places), list(state.orphans)
        request = self.request(state, number)
        reply = None
        if request and (kind is None or kind in _AT_ONCE):
            effect = self._effect(state, request)
            reply = effect.reply
            held = (*held[: request.registry], effect.after, *held[request.registry + 1 :])
        if number >= len(places):
            del orphans[number - len(places)]
        else:
            if kind in _ORPHANS and request and request.writes:
                orphans = sorted([*orphans, Orphan(state.now + LONG, number, request)])
            places[number] = self._moved(state, number, kind, reply)
        return self._in_time(State(state.now, held, tuple(places), tuple(orphans)))

    def _moved(self, state: State, number: int, kind: Kind | None, reply: Reply | None) -> Place:
        place = state.places[number]
        left = place.faults - bool(kind)
        if place.at is None:
            part = self.parts[number]
            disk = "" if part.again is None else _disk(state.places[part.again])
            return _place(self.life(part, part.run, state.now, disk).first, left)
        if kind is None:
            reply = place.late.reply or reply if place.late else reply
            return _place(place.at.told(Told(state.now, reply)), left)
        if kind in _KILLS:
            return _place(place.at.killed(), left)
        if kind in {Kind.SLOW_ANSWER, Kind.SLOW_EFFECT}:
            return Place(place.at, state.now + LONG, Late(reply), left)
        wait, interrupted = LONG * (kind is Kind.REFUSED_LONG), kind is Kind.INTERRUPTED
        return _place(place.at.told(Told(state.now, None, wait, interrupted)), left)

    def _in_time(self, state: State) -> State:
        due = min((due for _, due in self._dues(state)), default=0.0)
        return state._replace(now=due) if due > state.now else state

    def alone(self, state: State, part: Part, run: int, disk: str) -> tuple[Moment, State]:
        """Let a publisher run again, while nobody else does; return how it ended, and what is."""
        place = _place(self.life(part, run, state.now, disk).first, 0)
        alone = State(state.now, state.held, (place,))
        while not _over(alone.places[0]):
            alone = self.step(alone, 0)
        end = alone.places[0].at
        assert end
        return end, state._replace(now=alone.now, held=alone.held)

    def line(self, state: State, number: int, kind: Kind | None) -> str:
        """Return a choice as a trace has it."""
        request = self.request(state, number)
        what = (
            f"{request.method} {self.registries.hosts[request.registry]}{request.path}"
            if request
            else "wakes"
        )
        late = number >= len(state.places)
        owner = state.orphans[number - len(state.places)].owner if late else number
        who = f"{self.parts[owner].name}{', late' if late else ''}"
        return f"{state.now:7.1f} {who}: {what} {kind or ''}".rstrip()

    def close(self) -> None:
        """Let nothing be left that runs."""
        for life in self._lives.values():
            life.close()


def _place(moment: Moment, faults: int) -> Place:
    # Whoever has ended is the same as others that have ended so.
    return Place(moment, moment.due, None, 0 if moment.code is not None else faults)


def _over(place: Place) -> bool:
    return place.at is not None and place.at.code is not None


def _disk(place: Place) -> str:
    assert place.at
    return place.at.disk
