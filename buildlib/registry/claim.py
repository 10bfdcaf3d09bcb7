"""A short-lived claim on a repository: one publisher at a time writes tags there.

Registries have no compare-and-swap, so two publishers that both read a tag before either writes it
would overwrite one another. Each of them therefore puts a tag of its own, `buildlib-claim-ID`, and
then reads the list of tags: of two publishers, at least the second sees the other's. This is the
one-bit algorithm of J. Burns and L. Lamport for mutual exclusion with single-writer registers
(L. Lamport, "The Mutual Exclusion Problem, Part II", 1986). Its safety does not depend on waiting;
only the expiry of a killed publisher's claim depends on time.

A claim is an empty image with annotations in its manifest that say what is being published.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, NamedTuple, Self

from buildlib.errors import (
    AuthorisationError,
    CancelledError,
    EngineError,
    FailureError,
    GateError,
    TransientError,
)
from buildlib.image.labels import NAMESPACE, names_of
from buildlib.program import PROGRAM
from buildlib.registry.repository import MANIFEST, Document, Repository
from buildlib.registry.response import read_object

PREFIX: Final = "buildlib-claim-"
# Under both names, as publishers of an earlier version know only the former one.
_PREFIXES: Final = names_of(f"{NAMESPACE}.claim.")
# An image whose only layer is an archive without entries, as some registries, such as GitLab's,
# reject artifacts of unknown types.
_LAYER: Final = bytes(1024)
_CONFIG: Final = json.dumps(
    {
        "architecture": "unknown",
        "os": "unknown",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(_LAYER).hexdigest()}"]},
    }
).encode()
BLOBS: Final = {f"sha256:{hashlib.sha256(blob).hexdigest()}": blob for blob in (_CONFIG, _LAYER)}
# A claim is `waiting` until its owner may write tags, then `held`, then gone or `released`.
_WAITING: Final = "waiting"
_HELD: Final = "held"
_RELEASED: Final = "released"
# The seconds by which the clocks of two machines may differ. An older claim has expired at once.
_STALE: Final = 3600.0


class Intent(NamedTuple):
    """What a publisher is about to do, for other publishers.

    Args:
        owner: for messages, without names of machines or people, as a repository may be public.
        digest: that its tags will point to; empty: several.
        versions: its tags that never move.
        began: seconds since 1970; 0: not said.
    """

    owner: str
    digest: str = ""
    versions: tuple[str, ...] = ()
    began: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimTerms:
    """How long a claim lasts, and how long others wait for it, in seconds.

    Args:
        duration: from its last renewal until it expires; it is renewed after a third of that.
        poll: between two requests for the claims of others.
        patience: until a publisher stops waiting for another.
    """

    duration: float = 240.0
    poll: float = 2.0
    patience: float = 600.0


class Purpose(NamedTuple):
    """What a kind of claim is for, in tags and messages.

    Args:
        prefix: that the tags of claims that exclude one another begin with.
        whom: the claims keep apart.
        remedy: where a registry can't keep claims.
    """

    prefix: str = PREFIX
    whom: str = "publishers"
    remedy: str = "set claim = false in its table, and let one publisher run at a time"


PUBLICATION: Final = Purpose()


class ClaimedError(TransientError):
    """Another claim was not released in time."""


@dataclass(frozen=True, slots=True)
class _Other:
    """The claim of another publisher."""

    id: str
    digest: str
    state: str
    intent: Intent
    expired: bool


@dataclass
class Claim:
    """The exclusive right to write tags in one repository; a context manager that acquires it.

    Args:
        intent: what for.
        known: identifiers of claims whose publishers have certainly ended; they are ignored.
        clock: monotonic, seconds.
        note: prints a line while another publisher is waited for.
        purpose: of claims that are not a publisher's.
        enabled: False: nothing is claimed, and every other method does nothing.
    """

    repository: Repository
    intent: Intent
    terms: ClaimTerms = field(default_factory=ClaimTerms)
    known: tuple[str, ...] = ()
    identifier: str = field(default_factory=lambda: secrets.token_hex(8))
    clock: Callable[[], float] = time.monotonic
    note: Callable[[str], None] = lambda _: None
    enabled: bool = True
    purpose: Purpose = PUBLICATION

    def __post_init__(self) -> None:
        """Claim nothing yet."""
        self.lapsed = False
        self._document: Document | None = None
        self._state = ""
        self._announced = False
        self._raised = 0.0
        self._count = 0
        # By tag of another claim, its digest and the time when that was first seen.
        self._seen: dict[str, tuple[str, float]] = {}
        # Manifests to delete: earlier states of this claim, and claims of publishers that ended.
        self._leftovers: list[str] = []
        self._tried: set[str] = set()
        # Claims of ended runs whose versions may still arrive: they are not waited for, and deleted
        # only after the versions have arrived.
        self.late: tuple[str, ...] = ()
        self._ended: dict[str, _Other] = {}
        self._deletes = True
        # Whether the tag certainly points to the document.
        self._sure = False
        # Tags of claims that were released since this one was put; if they are claimed again, their
        # publishers see this one.
        self._down: set[str] = set()
        self._deadline = math.inf

    @property
    def tag(self) -> str:
        """Return the tag that this claim is kept under."""
        return f"{self.purpose.prefix}{self.identifier}"

    def __enter__(self) -> Self:
        """Acquire the claim.

        Raises:
            GateError: another publication may still give a version another digest (exit 7).
            ClaimedError: another publisher did not end in time (exit 6).
            BuildlibError: the registry does not accept the claim.
        """
        if self.enabled:
            try:
                self._acquire()
            except BaseException as error:
                self._release(type(error))
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release the claim; one that can't be released expires by itself."""
        self._release(kind)

    def keep(self) -> None:
        """Renew the claim when it is due; called before each request that writes a tag.

        If it has expired, it is acquired again, and `lapsed` is set: another publisher may have
        written tags meanwhile.

        Raises:
            BuildlibError: as when it is acquired.
        """
        if not self.enabled or self._age() < self.terms.duration / 3:
            return
        if not (self._age() < self.terms.duration and self._renewed(_HELD)):
            self.lapsed = True
            self._acquire()

    def renew(self) -> None:
        """Put the claim again, even if it has expired; and delete what earlier renewals left.

        Raises:
            BuildlibError: the registry does not take it.
        """
        self._raise(_HELD)
        self.delete_leftovers()

    def others(self) -> list[Intent]:
        """Return what other claims are for that would be waited for now; nothing is written.

        Raises:
            BuildlibError: as when it is acquired.
        """
        # Identifiers may be used again, and so tags that were released.
        self._down.clear()
        return [one.intent for one in self._rivals()]

    def is_unused(self) -> bool:
        """Return whether no process seems to hold a claim with this identifier.

        Raises:
            BuildlibError: the registry does not answer.
        """
        document = self.repository.manifest(self.tag)
        return document is None or _read(_annotations(document))[0] == _RELEASED

    @property
    def leaves_tag(self) -> bool:
        """Return whether its tag is still there once it is released, as nothing was deleted."""
        return not self._deletes

    def leave(self) -> None:
        """Do not release the claim, but let it expire: a request may still be carried out."""
        self._document = None

    def expired(self) -> bool:
        """Return whether another publisher may consider this claim expired."""
        return self.enabled and self._age() >= self.terms.duration

    def _age(self) -> float:
        return self.clock() - self._raised

    def _acquire(self) -> None:
        self._deadline = self.clock() + self.terms.patience
        while not self._acquired():
            pass

    def _acquired(self) -> bool:
        # Held at once: most publishers are alone, and then it is put only once.
        self._raise(_HELD)
        while rivals := self._rivals():
            self._wait(rivals)
        return self._state != _WAITING or self._renewed(_HELD)

    def _wait(self, rivals: list[_Other]) -> None:
        if not self._announced:
            self.note(f"{self.repository.name}: waiting for {rivals[0].intent.owner}")
            self._announced = True
        if self.clock() >= self._deadline:
            raise self._kept_waiting(rivals[0])
        first = [one for one in rivals if one.id < self.identifier]
        if first:
            # Of two that see each other, the one that sorts first keeps its claim.
            self._lower()
            while any(one.id < self.identifier for one in self._rivals()):
                if self.clock() >= self._deadline:
                    raise self._kept_waiting(first[0])
                self._pause()
            self._raise(_WAITING)
            return
        if self._state != _WAITING or self._age() >= self.terms.duration / 3:
            self._raise(_WAITING)
        self._pause()

    def _renewed(self, state: str) -> bool:
        """Put the claim again; return whether it had not expired before."""
        before = self._raised
        self._raise(state)
        return self.clock() - before < self.terms.duration

    def _pause(self) -> None:
        self.repository.transport.sleep(self.terms.poll)

    def _kept_waiting(self, other: _Other) -> ClaimedError:
        return ClaimedError(
            f"another publication gives tags in {self.repository.name}: {other.intent.owner}",
            why=f"it did not end within {self.terms.patience:.0f} s",
            hint="wait for it, and check its result",
        )

    def _rivals(self) -> list[_Other]:
        """Return the claims of other publishers that have to be waited for.

        Raises:
            GateError: one that has expired may still give a version another digest (exit 7).
        """
        alive = []
        for one in self._others():
            ended = one.id in self.known
            if not (ended or one.expired):
                alive.append(one)
            elif one.id in self.late:
                self._ended[one.id] = one
            elif ended or one.state == _WAITING or self._is_settled(one):
                self._leftovers.append(one.digest)
        return alive

    def _is_settled(self, silent: _Other) -> bool:
        """Return whether no late request of an expired publisher can do harm.

        Raises:
            GateError: it may still give one of our versions another digest (exit 7).
        """
        theirs = silent.intent
        absent = [tag for tag in theirs.versions if not self.repository.digest(tag)]
        if theirs.digest != self.intent.digest and set(absent) & set(self.intent.versions):
            raise GateError(
                f"{self.repository.name}:{absent[0]} may still become another image",
                why=f"{theirs.owner} began to publish {theirs.digest}, and has not ended",
                hint="finish that publication with --resume; or, if it certainly has ended, run "
                f"{PROGRAM} docker-publish --discard-claim {silent.id}",
            )
        return not absent

    def _listed(self) -> tuple[str, ...]:
        """Return every tag, from a list that is new enough to include this claim.

        Raises:
            TransientError: the list is old, and may lack other claims as well (exit 6).
        """
        began = self.clock()
        while True:
            with self._explained(
                f"does not list the tags by which {self.purpose.whom} are kept apart"
            ):
                tags = self.repository.tags()
            # Without a valid claim no tag is written, and the list need not include it.
            put = self._document is not None and self._age() < self.terms.duration
            if self.tag in tags or not put:
                return tags
            if self.clock() - began >= self.terms.duration / 3:
                raise TransientError(
                    f"{self.repository.name} does not list the tag that was put there",
                    why=f"its list of tags lacks {self.tag}, and may lack another publisher's",
                    hint=f"try again later; if the registry never lists it: {self.purpose.remedy}",
                )
            self._pause()

    def _others(self) -> Iterator[_Other]:
        began, longest = self.clock(), max(self.terms.patience, self.terms.duration)
        for tag in self._listed():
            if not tag.startswith(self.purpose.prefix) or tag == self.tag or tag in self._down:
                continue
            if self.clock() - began >= longest:
                raise TransientError(
                    f"the claims in {self.repository.name} can't all be read",
                    why=f"more than {longest:.0f} s",
                    hint=f"remove tags that begin with {self.purpose.prefix}, except those of "
                    f"running {self.purpose.whom}",
                )
            document = self.repository.manifest(tag)
            found = _annotations(document) if document else {}
            if document is None or not found:
                continue
            state, intent, renewed = _read(found)
            if state == _RELEASED:
                self._down.add(tag)
                self._leftovers.append(document.digest)
                continue
            digest, since = self._seen.get(tag, ("", 0.0))
            if digest != document.digest:
                since = self.clock()
                self._seen[tag] = document.digest, since
            unchanged = self.clock() - since >= self.terms.duration
            stale = self.repository.transport.clock() - renewed > self.terms.duration + _STALE
            name = tag.removeprefix(self.purpose.prefix)
            yield _Other(name, document.digest, state, intent, unchanged or stale)

    def _raise(self, state: str) -> None:
        began = self.clock()
        self._down.clear()
        with self._explained(f"does not take the claim that keeps {self.purpose.whom} apart"):
            for digest, blob in BLOBS.items() if not self._count else ():
                if not self.repository.has_blob(digest):
                    self.repository.put_bytes(digest, blob)
            self._put(state)
        # The time before the request: others see the claim later, and wait as long from then.
        self._raised = began

    def _put(self, state: str) -> None:
        if self._document:
            self._leftovers.append(self._document.digest)
        self._count += 1
        renewed = f"{self.repository.transport.clock():.0f} {self._count}"
        document = _make(self.intent, state, f"{renewed} {self.identifier}")
        # A request that is interrupted or gets no answer may have been carried out.
        self._document, self._sure = document, False
        self.repository.put_manifest(self.tag, document)
        self._sure, self._state = True, state

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except (EngineError, AuthorisationError) as error:
            raise type(error)(
                f"{self.repository.name} {what}",
                why=str(error),
                hint=f"if the registry can't do that: {self.purpose.remedy}",
            ) from error

    def _lower(self) -> None:
        """Take the claim back: delete it, or mark it as released if the registry can't delete."""
        if self._document:
            digest = self._document.digest if self._sure else self.repository.digest(self.tag)
            if digest:
                self._deletes = self.repository.delete_manifest(digest)
                if not self._deletes:
                    self._put(_RELEASED)
        self._document = None

    def _release(self, kind: type[BaseException] | None) -> None:
        if self._document is None:
            return
        if kind and (kind is CancelledError or not issubclass(kind, Exception)):
            self.repository.transport.hurry()
        try:
            self._lower_or_note()
        except (KeyboardInterrupt, CancelledError):
            # It may have been deleted already.
            self._sure = False
            self.repository.transport.hurry()
            self._lower_or_note()
            raise
        self._leftovers += [one.digest for one in self._ended.values() if self._has_arrived(one)]
        self.delete_leftovers()

    def delete_leftovers(self) -> None:
        """Delete earlier states of this claim, and claims that others left behind, as far as known.

        Raises:
            CancelledError: interrupted (exit 130).
        """
        # By digest: a claim that was renewed meanwhile is another manifest, and stays.
        for digest in dict.fromkeys(self._leftovers):
            # Whether one of another is still there says nothing of this registry.
            if self._deletes and digest not in self._tried:
                self.repository.delete_manifest(digest)
                self._tried.add(digest)
        self._leftovers.clear()

    def _has_arrived(self, ended: _Other) -> bool:
        try:
            return all(map(self.repository.digest, ended.intent.versions))
        except FailureError:
            return False

    def _lower_or_note(self) -> None:
        try:
            self._lower()
        except FailureError:
            self.note_left()

    def note_left(self) -> None:
        """Say that the claim is left to expire."""
        self.note(
            f"{self.repository.name}: the claim could not be released; "
            f"it expires within {self.terms.duration:.0f} s"
        )


@contextmanager
def all_claimed(claims: Iterable[Claim]) -> Iterator[None]:
    """Acquire several claims, in the same order for every publisher; release them afterwards.

    Two publishers that claim repositories in different orders would wait for each other.

    Raises:
        BuildlibError: as `Claim`; none of them is left then.
    """
    with ExitStack() as stack:
        for claim in sorted(claims, key=lambda claim: claim.repository.name):
            stack.enter_context(claim)
        yield


def _make(intent: Intent, state: str, renewed: str) -> Document:
    annotations = {
        f"{prefix}{name}": value
        for prefix in _PREFIXES
        for name, value in {
            "state": state,
            "owner": intent.owner,
            "digest": intent.digest,
            "versions": " ".join(intent.versions),
            # Seconds since 1970, and a count that makes each renewal another manifest.
            "renewed": renewed,
            **({"began": f"{intent.began:.0f}"} if intent.began else {}),
        }.items()
    }
    config, layer = (
        {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest, "size": len(blob)}
        for kind, (digest, blob) in zip(
            ("config.v1+json", "layer.v1.tar"), BLOBS.items(), strict=True
        )
    )
    content = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": [layer],
        "annotations": annotations,
    }
    return Document(json.dumps(content, sort_keys=True).encode(), MANIFEST)


def _annotations(document: Document) -> Mapping[str, object]:
    """Return the annotations of a claim; none if it is another image, which is left alone."""
    try:
        found = read_object(document.data).get("annotations")
    except ValueError:
        found = None
    known: Mapping[object, object] = found if isinstance(found, Mapping) else {}
    return {
        name.removeprefix(prefix): value
        for prefix in reversed(_PREFIXES)
        for name, value in known.items()
        if isinstance(name, str) and name.startswith(prefix)
    }


def _read(found: Mapping[str, object]) -> tuple[str, Intent, float]:
    """Return a claim's state, intent and time; an unknown form counts until it expires."""

    def text(name: str) -> str:
        return str(found.get(name, ""))

    intent = Intent(
        owner=text("owner") or "an unknown publisher",
        digest=text("digest"),
        versions=tuple(text("versions").split()),
        began=_seconds(text("began")) or 0.0,
    )
    renewed = _seconds(text("renewed").partition(" ")[0])
    return text("state") or _HELD, intent, math.inf if renewed is None else renewed


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() else None
