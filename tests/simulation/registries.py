"""Registries that hold tags and manifests, and every state that they come to."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from buildlib.registry.repository import INDEX
from buildlib.registry.response import Response

_OK: Final = 200
_CREATED: Final = 201
_ACCEPTED: Final = 202
_NOT_FOUND: Final = 404
_LIST: Final = "the list of tags"


def is_version(tag: str) -> bool:
    return tag.count(".") == 2


@dataclass
class Registry:
    """A registry: tags and manifests.

    Args:
        host: its name.
        deletes: it deletes manifests, with the tags that point to them.
        overwritten: versions that pointed to another digest once.
    """

    host: str
    deletes: bool = True
    tags: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    overwritten: set[str] = field(default_factory=set)

    def holds(self, data: bytes, *tags: str) -> str:
        """Let it hold a manifest under these tags; return its digest."""
        digest = digest_of(data)
        self.manifests[digest] = data
        for tag in tags:
            self.tags[tag] = digest
        return digest

    def answer(self, method: str, path: str, body: bytes) -> Response:
        """Do what a registry does; OCI distribution-spec 1.1."""
        kind, what = _parts(path)
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

    def _put(self, reference: str, body: bytes) -> Response:
        digest = self.holds(body)
        if not reference.startswith("sha256:"):
            if is_version(reference) and self.tags.get(reference, digest) != digest:
                self.overwritten.add(reference)
            self.tags[reference] = digest
        return _say(_CREATED)

    def _delete(self, digest: str) -> Response:
        if not self.deletes:
            return _say(405)
        del self.manifests[digest]
        self.tags = {tag: held for tag, held in self.tags.items() if held != digest}
        return _say(_ACCEPTED)


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _parts(path: str) -> tuple[str, str]:
    """Return what a request is about: `manifests` and a reference, for example."""
    _, _, _, kind, what = urlsplit(path).path.split("/", 4)
    return kind, what


def _say(status: int, body: bytes = b"") -> Response:
    return Response(status, {"content-type": INDEX}, body)


class Reply(NamedTuple):
    """An answer, as far as it differs from others."""

    status: int
    body: bytes

    def answer(self) -> Response:
        return _say(self.status, self.body)


class Request(NamedTuple):
    """What a publisher asks of a registry, by the registry's number."""

    registry: int
    method: str
    path: str
    body: bytes

    @property
    def writes(self) -> bool:
        return self.method in {"PUT", "DELETE"}


class Touched(NamedTuple):
    """What a request depends on and what it changes, a bit for each thing."""

    reads: int
    writes: int

    def conflicts(self, other: Touched) -> bool:
        """Return whether the order of the two can matter."""
        return bool((self.reads | self.writes) & other.writes or self.writes & other.reads)

    def __or__(self, other: Touched) -> Touched:
        """Return what either touches."""
        return Touched(self.reads | other.reads, self.writes | other.writes)


NOTHING: Final = Touched(0, 0)


class Effect(NamedTuple):
    """What a request does to a registry in one state."""

    reply: Reply
    after: Held
    touched: Touched


class Held:
    """A state of a registry that never changes; there are no two equal ones in a `Registries`."""

    __slots__ = ("_effects", "_known", "manifests", "number", "overwritten", "tags")

    def __init__(self, known: Registries, number: int, registry: Registry) -> None:
        self._known, self.number = known, number
        self.tags = dict(registry.tags)
        self.manifests = frozenset(registry.manifests)
        self.overwritten = frozenset(registry.overwritten)
        self._effects: dict[Request, Effect] = {}

    def effect(self, request: Request) -> Effect:
        found = self._effects.get(request)
        if found is None:
            found = self._effects[request] = self._known.effect(self, request)
        return found


class Registries:
    """All states of some registries, as they come up.

    Args:
        registries: as they are in the beginning.
    """

    def __init__(self, registries: list[Registry]) -> None:
        self._all = registries
        self._contents: dict[str, bytes] = {}
        self._known: dict[object, Held] = {}
        self._replies: dict[Reply, Reply] = {}
        self._bits: dict[tuple[int, str], int] = {}
        self.first = tuple(self._held(number, one) for number, one in enumerate(registries))

    @property
    def hosts(self) -> list[str]:
        return [one.host for one in self._all]

    def _held(self, number: int, registry: Registry) -> Held:
        self._contents |= registry.manifests
        tags, manifests = sorted(registry.tags.items()), frozenset(registry.manifests)
        key = number, tuple(tags), manifests, frozenset(registry.overwritten)
        if key not in self._known:
            self._known[key] = Held(self, number, registry)
        return self._known[key]

    def effect(self, held: Held, request: Request) -> Effect:
        registry = Registry(
            self._all[held.number].host,
            self._all[held.number].deletes,
            dict(held.tags),
            {digest: self._contents[digest] for digest in held.manifests},
            set(held.overwritten),
        )
        answer = registry.answer(request.method, request.path, request.body)
        reply = Reply(answer.status, answer.body)
        reply = self._replies.setdefault(reply, reply)
        touched = self._touched(held, request, deletes=registry.deletes)
        return Effect(reply, self._held(held.number, registry), touched)

    # -- what depends on what

    def _touched(self, held: Held, request: Request, *, deletes: bool) -> Touched:
        """Return what a request reads and writes in this state; a manifest counts by its digest."""
        kind, what = _parts(request.path)
        if kind == "blobs":
            return NOTHING
        if kind == "tags":
            return Touched(self._mask(held, _LIST), 0)
        tag = "" if what.startswith("sha256:") else what
        if request.method == "PUT":
            return self._put(held, tag, digest_of(request.body))
        digest = held.tags.get(tag, "") if tag else what
        if request.method == "DELETE" and digest in held.manifests:
            if not deletes:
                return Touched(self._mask(held, digest), 0)
            tags = [one for one, where in held.tags.items() if where == digest]
            return Touched(0, self._mask(held, digest, *tags, *([_LIST] if tags else [])))
        return Touched(self._mask(held, tag, digest), 0)

    def _put(self, held: Held, tag: str, digest: str) -> Touched:
        there = digest in held.manifests
        reads, writes = ([digest], []) if there else ([], [digest])
        if tag and held.tags.get(tag) != digest:
            writes += [tag] if tag in held.tags else [tag, _LIST]
        elif tag:
            reads.append(tag)
        return Touched(self._mask(held, *reads), self._mask(held, *writes))

    def _mask(self, held: Held, *names: str) -> int:
        mask = 0
        for name in filter(None, names):
            mask |= self._bits.setdefault((held.number, name), 1 << len(self._bits))
        return mask
