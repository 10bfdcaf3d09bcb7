"""Writes tags: each is read before every attempt to write it, and after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from buildlib.errors import CancelledError, EngineError, GateError, InputError, TransientError
from buildlib.registry.claim import Claim, Intent
from buildlib.registry.repository import Document, Repository
from buildlib.retry import LaterError

# Returns what a tag is to point to, or None if it must not be written, given the digest that it has
# now and the one that this run wrote before; an empty digest: none.
Decide = Callable[[str, str], Document | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tagged:
    """A tag with its digest now, and the one `before`, empty if it is new."""

    tag: str
    digest: str
    before: str

    @property
    def moved(self) -> bool:
        """Return whether anything changed."""
        return self.before != self.digest


def write_tag(repository: Repository, tag: str, decide: Decide, claim: Claim) -> Tagged:
    """Point a tag at what `decide` returns, which is called before and after each attempt.

    Registries have no conditional requests, and a request without an answer may have been carried
    out. So the tag is read before each attempt.

    Args:
        repository: holds what the tag is to point to.
        decide: see `Decide`; raises GateError if the tag must not move.
        claim: on the repository; renewed when it is due.

    Raises:
        GateError: the tag must not move, or points to something else afterwards (exit 7).
        TransientError: the attempts are used up (exit 6).
        BuildlibError: as `Transport.ask`.
    """
    transport, before, written = repository.transport, None, ""
    failures = looks = 0
    # Each failure and each new decision takes one look; it also ends if others keep changing the
    # tag.
    while looks <= 2 * transport.patience.attempts:
        looks += 1
        claim.keep()
        now = repository.digest(tag)
        before = now if before is None else before
        wanted = decide(now, written)
        if wanted is None or wanted.digest == now:
            return Tagged(tag=tag, digest=now, before=before)
        if wanted.digest == written and not claim.lapsed:
            raise repository.other_digest(tag, now, written)
        if claim.expired():
            # What was just read may be out of date.
            continue
        try:
            repository.put_manifest_once(tag, wanted)
            written = wanted.digest
        except LaterError as problem:
            failures += 1
            if failures >= transport.patience.attempts:
                # One of the requests may still be carried out.
                claim.leave()
                raise
            transport.pause(failures - 1, problem)
        except (CancelledError, KeyboardInterrupt):
            claim.leave()
            raise
        except EngineError:
            # The registry may forbid to move a tag, and another publisher was first.
            decide(repository.digest(tag), written)
            raise
    raise TransientError(
        f"{repository.name}:{tag} does not stay as it is written",
        why="other publishers change it at the same time",
        hint="see who else publishes there, and try again",
    )


def find_document(repository: Repository, digest: str) -> Document:
    """Return the document with a digest; raises InputError (exit 2) if it is missing."""
    document = repository.manifest(digest)
    if document is None:
        raise InputError(
            f"{repository.name} has no {digest}",
            why=f"{repository.request_for(digest)}: 404",
            hint="push it first",
        )
    return document


def fixed(repository: Repository, document: Document, tag: str) -> Decide:
    """Return the decision for a tag that never moves."""

    def decide(now: str, _written: str) -> Document:
        if now not in {"", document.digest}:
            raise GateError(
                f"{repository.name}:{tag} already exists with a different digest "
                "and will not be overwritten",
                why=f"{now}, and this is {document.digest}",
                hint="a version is published once: publish this as another version",
            )
        return document

    return decide


def put_tag(
    repository: Repository, digest: str, tag: str, *, immutable: bool, claim: Claim | None = None
) -> Tagged:
    """Point a tag at a digest that is there.

    Args:
        digest: of an index or a manifest.
        tag: to be given, or moved.
        immutable: it must not move: if it exists, it has to point to this digest.
        claim: on the repository; None: there is no other publisher.

    Raises:
        InputError: the digest is missing (exit 2).
        GateError: the tag points to another digest and must not move, or was changed (exit 7).
        BuildlibError: as `write_tag`.
    """
    document = find_document(repository, digest)
    decide = fixed(repository, document, tag) if immutable else lambda _now, _written: document
    alone = Claim(repository, Intent(owner=""), enabled=False)
    return write_tag(repository, tag, decide, claim or alone)


def check_lapse(claim: Claim, repository: Repository, tag: str) -> None:
    """Raise TransientError (exit 6) if writing a tag took longer than the claim lasts."""
    if claim.lapsed:
        raise TransientError(
            f"{repository.name} took so long that another publisher may have moved {tag}",
            hint="see what the tag points to, and run the same command again",
        )
