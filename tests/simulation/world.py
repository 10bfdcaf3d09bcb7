"""Registries and publishers in one process, under a scheduler that decides who goes next.

Publishers are coroutines (greenlets) that run the real code: each request hands over to the
scheduler, which lets it happen, or something else in its place. Time is virtual. What a run does
depends on the scheduler's choices alone, so that a list of them repeats it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Unpack
from urllib.parse import urlsplit

from greenlet import GreenletExit, getcurrent, greenlet

from buildlib.errors import BuildlibError, EngineError, exit_code_of
from buildlib.registry.answer import Answer
from buildlib.registry.client import INDEX, Repository
from buildlib.registry.exchange import Options
from buildlib.registry.transport import LaterError, Patience, Transport

# Longer than any claim lasts, and than anybody waits between two attempts; seconds.
LONG: Final = 500.0
PATIENCE: Final = Patience(attempts=3, base=1.0, ceiling=60.0)
_OK: Final = 200
_CREATED: Final = 201
_ACCEPTED: Final = 202
_NOT_FOUND: Final = 404


class Kind(StrEnum):
    """What may become of a request beside an answer at once."""

    REFUSED = "503"
    REFUSED_LONG = "503 with a long Retry-After"
    LOST = "reset after the effect"
    SLOW_ANSWER = "effect at once, answer late"
    SLOW_EFFECT = "effect and answer late"
    KILLED = "killed before the effect"
    KILLED_AFTER = "killed after the effect"


# What changes nothing may fail without an answer, or be slow: anything more comes to the same as
# one of these, or as being killed before the next write.
_OF_READS: Final = (Kind.REFUSED, Kind.SLOW_ANSWER, Kind.SLOW_EFFECT)
_OF_WRITES: Final = tuple(Kind)
_AT_ONCE: Final = frozenset({Kind.LOST, Kind.KILLED_AFTER, Kind.SLOW_ANSWER})


# Whose turn it is, by number, and what becomes of the request; None: it is answered at once.
Choice = tuple[int, Kind | None]


@dataclass
class Registry:
    """A registry: tags, manifests, and every change of a tag.

    Args:
        host: its name.
        deletes: it deletes manifests, with the tags that point to them.
    """

    host: str
    deletes: bool = True
    tags: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    history: list[tuple[str, str, str]] = field(default_factory=list)

    def holds(self, data: bytes, *tags: str) -> str:
        """Let it hold a manifest under these tags; return its digest."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.manifests[digest] = data
        for tag in tags:
            self.tags[tag] = digest
        return digest

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """Do what a registry does; OCI distribution-spec 1.1."""
        parts = urlsplit(path)
        _, _, _, kind, what = parts.path.split("/", 4)
        if kind == "blobs":
            return _say(_OK if method == "HEAD" else _CREATED)
        if kind == "tags":
            return _say(_OK, json.dumps({"tags": sorted(self.tags)}).encode())
        digest = what if what.startswith("sha256:") else self.tags.get(what, "")
        if method == "PUT":
            return self._put(what, body)
        if digest not in self.manifests:
            return _say(_NOT_FOUND, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}')
        if method == "DELETE":
            return self._delete(digest)
        return _say(_OK, self.manifests[digest])

    def _put(self, reference: str, body: bytes) -> Answer:
        digest = self.holds(body)
        if not reference.startswith("sha256:"):
            self.history.append((reference, self.tags.get(reference, ""), digest))
            self.tags[reference] = digest
        return _say(_CREATED)

    def _delete(self, digest: str) -> Answer:
        if not self.deletes:
            return _say(405)
        del self.manifests[digest]
        self.tags = {tag: held for tag, held in self.tags.items() if held != digest}
        return _say(_ACCEPTED)


def _say(status: int, body: bytes = b"") -> Answer:
    return Answer(status, {"content-type": INDEX}, body)


class SimTransport(Transport):
    """The way to a simulated registry; everything above a request is the real one."""

    def __init__(self, world: World, registry: Registry) -> None:
        super().__init__(
            registry.host,
            patience=PATIENCE,
            # Whoever is the current one by then.
            sleep=lambda seconds: world.current.sleep(seconds),  # noqa: PLW0108
            clock=lambda: world.now,
            chance=lambda: 1.0,
        )
        self._world, self._registry = world, registry

    def ask(self, method: str, path: str, **options: Unpack[Options]) -> Answer:
        make = options.get("body")
        body = make() if make else b""
        assert isinstance(body, bytes)
        request = Request(self._registry, method, path, body)
        answer = self._world.current.request(request)
        if answer is None:
            raise self.problem
        if answer.status not in options["expect"]:
            raise EngineError(f"{self.host} refuses {method}", why=str(answer.status))
        return answer

    @property
    def problem(self) -> LaterError:
        error = LaterError(f"{self.host} did not answer")
        error.wait = self._world.current.asked_wait
        return error


@dataclass(frozen=True)
class Request:
    """What a publisher asks of a registry."""

    registry: Registry
    method: str
    path: str
    body: bytes

    def happens(self) -> Answer:
        return self.registry.answer(self.method, self.path, self.body)

    @property
    def writes(self) -> bool:
        return self.method in {"PUT", "DELETE"}

    def __str__(self) -> str:
        """Return the request as a trace has it."""
        return f"{self.method} {self.registry.host}{self.path}"


@dataclass(frozen=True)
class Delivery:
    """An answer that is under way; None: the request has still to happen."""

    request: Request
    answer: Answer | None


class Publisher:
    """A coroutine that speaks to registries; `exit_code` is -9 where it was killed.

    Args:
        world: that it is in.
        name: in traces.
        body: what it does.
    """

    def __init__(self, world: World, name: str, body: Callable[[], object]) -> None:
        self._world, self.name, self._body = world, name, body
        self._let = greenlet(self._run)
        self.exit_code: int | None = None
        self.error: BaseException | None = None
        self.pending: Request | Delivery | None = None
        self.due = 0.0
        self.asked_wait = 0.0
        self.past = b""

    def _run(self) -> None:
        try:
            self._body()
            self.exit_code = 0
        except BuildlibError as error:
            self.error, self.exit_code = error, exit_code_of(error)
        except GreenletExit:
            self.exit_code = -9

    # -- what the publisher's own code calls

    def request(self, request: Request) -> Answer | None:
        """Let the scheduler decide when it happens; None: it failed, and may be tried again."""
        self.pending, self.due = request, self._world.now
        answer = self._hand_over()
        assert answer is None or isinstance(answer, Answer)
        return answer

    def sleep(self, seconds: float) -> None:
        self.pending, self.due = None, self._world.now + seconds
        self._hand_over()

    def _hand_over(self) -> object:
        if self.exit_code is not None:
            # Killed: nothing that it does while its frames are left reaches anybody.
            raise GreenletExit
        return self._world.scheduler.switch()

    # -- what the scheduler calls

    def go_on(self, answer: Answer | None = None, note: str = "", wait: float = 0.0) -> None:
        self.asked_wait = wait
        seen = answer.body if answer else b""
        status = answer.status if answer else 0
        entry = f"{self._world.now} {note} {status}".encode() + seen
        # What was asked follows from what was answered.
        self.past = hashlib.blake2b(self.past + entry, digest_size=16).digest()
        self._let.switch(answer)

    def kill(self) -> None:
        self.exit_code = -9
        if self._let:
            self._let.throw(GreenletExit)
        self.exit_code = -9

    def start(self) -> None:
        self._let.parent = getcurrent()
        self._let.switch()

    @property
    def over(self) -> bool:
        return self.exit_code is not None


class World:
    """Registries, publishers and the time that is theirs.

    Args:
        registries: what they hold in the beginning.
        faults: how many requests may fail.
    """

    def __init__(self, registries: Sequence[Registry], faults: int = 0) -> None:
        self.registries = {one.host: one for one in registries}
        self.publishers: list[Publisher] = []
        self.now = 0.0
        self.faults = faults
        self._steps: list[tuple[float, str, Request | Delivery | None, Kind | None]] = []
        self.scheduler = getcurrent()
        self.current: Publisher

    def repository(self, host: str) -> Repository:
        return Repository(SimTransport(self, self.registries[host]), "thing")

    def add(self, name: str, body: Callable[[], object]) -> Publisher:
        publisher = Publisher(self, name, body)
        self.publishers.append(publisher)
        return publisher

    @property
    def trace(self) -> list[str]:
        """Return what happened, in words."""
        return [
            f"{now:7.1f} {name}: {pending or 'wakes'} {kind or ''}".rstrip()
            for now, name, pending, kind in self._steps
        ]

    def start(self) -> None:
        """Let each publisher come to its first request."""
        for publisher in self.publishers:
            self._let(publisher, publisher.start)

    def start_one(self, publisher: Publisher) -> None:
        """Let one that came later come to its first request."""
        self._let(publisher, publisher.start)

    def _let(self, publisher: Publisher, do: Callable[[], object]) -> None:
        self.current = publisher
        do()

    def choices(self) -> list[Choice]:
        """Return what may happen next; nothing where everybody has ended.

        Time passes only where nobody has anything to do now: a publisher that is slower than others
        sleep is one whose request is slow, which is a fault.
        """
        running = [one for one in self.publishers if not one.over]
        if not running:
            return []
        now = max(self.now, min(one.due for one in running))
        ready = [one for one in running if one.due <= now]
        found: list[Choice] = [(self.publishers.index(one), None) for one in ready]
        if self.faults:
            for one in ready:
                if isinstance(one.pending, Request):
                    kinds = _OF_WRITES if one.pending.writes else _OF_READS
                    found += [(self.publishers.index(one), kind) for kind in kinds]
        return found

    def step(self, number: int, kind: Kind | None = None) -> None:
        """Let one thing happen to one publisher, by its number."""
        publisher = self.publishers[number]
        pending = publisher.pending
        self.now = max(self.now, publisher.due)
        self._steps.append((self.now, publisher.name, pending, kind))
        if kind:
            self.faults -= 1
            assert isinstance(pending, Request)
            self._fail(publisher, pending, kind)
        elif isinstance(pending, Delivery):
            answer = pending.answer or pending.request.happens()
            self._let(publisher, lambda: publisher.go_on(answer))
        elif pending:
            answer = pending.happens()
            self._let(publisher, lambda: publisher.go_on(answer))
        else:
            self._let(publisher, publisher.go_on)

    def _fail(self, publisher: Publisher, request: Request, kind: Kind) -> None:
        answer = request.happens() if kind in _AT_ONCE else None
        if kind in {Kind.KILLED, Kind.KILLED_AFTER}:
            self._let(publisher, publisher.kill)
        elif kind in {Kind.SLOW_ANSWER, Kind.SLOW_EFFECT}:
            publisher.pending, publisher.due = Delivery(request, answer), self.now + LONG
        else:
            wait = LONG if kind is Kind.REFUSED_LONG else 0.0
            self._let(publisher, lambda: publisher.go_on(None, str(kind), wait))

    def key(self) -> bytes:
        """Return what the future depends on: two ways to the same need not both be followed."""
        parts = [f"{self.now} {self.faults}"]
        for one in self.publishers:
            # What was read before it changed is not what is read now.
            late = one.pending.answer if isinstance(one.pending, Delivery) else None
            state = f"{late.status} {late.body.hex()}" if late else ""
            kind = type(one.pending).__name__
            parts.append(f"{one.past.hex()} {one.exit_code} {kind} {state} {one.due}")
        for registry in self.registries.values():
            tags = sorted(registry.tags.items())
            parts.append(f"{tags} {sorted(registry.manifests)} {sorted(set(registry.history))}")
        return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).digest()

    def end(self) -> None:
        """Let nothing of a run that is not followed any further be left."""
        for publisher in self.publishers:
            if not publisher.over:
                self._let(publisher, publisher.kill)
