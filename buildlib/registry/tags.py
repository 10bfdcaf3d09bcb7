"""Tags onto what is there: read before each attempt to write one, and after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from buildlib.errors import CancelledError, EngineError, GateError, InputError, TransientError
from buildlib.registry.claim import Claim, Intent
from buildlib.registry.repository import Document, Repository
from buildlib.registry.transport import LaterError

# Returns what a tag is to point to, or None for it to stay, given the digest that it has now,
# empty where it is not there, and whether this run has written it already.
Decide = Callable[[str, bool], Document | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tagged:
    """What became of a tag: its digest now, and `before`, empty where it was not there."""

    tag: str
    digest: str
    before: str

    @property
    def moved(self) -> bool:
        """Return whether anything changed."""
        return self.before != self.digest


def write_tag(repository: Repository, tag: str, decide: Decide, claim: Claim) -> Tagged:
    """Point a tag at what `decide` says, which is asked again before and after each attempt.

    Registries know no "only if it is still so", and a request that got no answer may have been
    carried out. So no attempt follows another without a look at what the registry holds by then.

    Args:
        repository: holds what the tag is to point to.
        tag: to be written.
        decide: says what to; may raise GateError where the tag must stay as it is.
        claim: on the repository; renewed where it is due.

    Raises:
        GateError: the tag must not move, or points to something else afterwards (exit 7).
        TransientError: the attempts are used up (exit 6).
        BuildlibError: as `Transport.ask`.
    """
    transport, before, written = repository.transport, None, ""
    failures = looks = 0
    # Each failure, and each change of mind, is one more look; a registry that others keep changing
    # ends it as well.
    while looks <= 2 * transport.patience.attempts:
        looks += 1
        claim.keep()
        now = repository.digest(tag)
        before = now if before is None else before
        wanted = decide(now, bool(written))
        if wanted is None or wanted.digest == now:
            return Tagged(tag=tag, digest=now, before=before)
        if wanted.digest == written and not claim.lapsed:
            raise repository.other_digest(tag, now, written)
        if claim.expired():
            # What was just read is from too long ago.
            continue
        try:
            repository.put_manifest_once(tag, wanted)
            written = wanted.digest
        except LaterError as problem:
            failures += 1
            if failures >= transport.patience.attempts:
                # One of them may still be carried out.
                claim.leave()
                raise
            transport.pause(failures - 1, problem)
        except (CancelledError, KeyboardInterrupt):
            claim.leave()
            raise
        except EngineError:
            # Where the registry itself forbids to move a tag, somebody was first.
            decide(repository.digest(tag), bool(written))
            raise
    raise TransientError(
        f"{repository.name}:{tag} does not stay as it is written",
        why="other publishers change it at the same time",
        hint="see who else publishes there, and try again",
    )


def find_document(repository: Repository, digest: str) -> Document:
    """Return what a digest names; raises InputError (exit 2) where it is not there."""
    document = repository.manifest(digest)
    if document is None:
        raise InputError(
            f"{repository.name} has no {digest}",
            why=f"{repository.asked(digest)}: 404",
            hint="push it first",
        )
    return document


def fixed(repository: Repository, document: Document, tag: str) -> Decide:
    """Return the decision for a tag that never moves."""

    def decide(now: str, _written: bool) -> Document:  # noqa: FBT001 - see Decide
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
        repository: holds the digest.
        digest: of an index or a manifest.
        tag: to be given, or moved.
        immutable: it must not move: what it points to already may only be this.
        claim: on the repository; None: nobody else gives tags there.

    Raises:
        InputError: the digest is not there (exit 2).
        GateError: the tag points to something else and must not move, or did not keep (exit 7).
        BuildlibError: as `write_tag`.
    """
    document = find_document(repository, digest)
    decide = fixed(repository, document, tag) if immutable else lambda _now, _written: document
    alone = Claim(repository, Intent(owner=""), enabled=False)
    return write_tag(repository, tag, decide, claim or alone)


def check_lapse(claim: Claim, repository: Repository, tag: str) -> None:
    """Raise TransientError (exit 6) where a tag was written for longer than the claim lasted."""
    if claim.lapsed:
        raise TransientError(
            f"{repository.name} took so long that another publisher may have moved {tag} meanwhile",
            hint="see what the tag points to, and run the same command again",
        )
