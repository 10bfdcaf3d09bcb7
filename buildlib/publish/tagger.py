"""The last step of a release: tags, registry by registry, onto what is there and verified.

Version tags come before the tags that move, and these only if every required registry has the
version. What a moving tag points to is decided for each registry at the moment when it is
written, from the tags that the registry holds then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from buildlib.config.tables import Registry
from buildlib.errors import BuildlibError, GateError, raise_problems
from buildlib.image.archive import Image
from buildlib.image.labels import VERSION_LABEL, stand_ins_of
from buildlib.publish.outcomes import Outcomes
from buildlib.publish.plan import PublishPlan, Target, required_first, stand_in_problem
from buildlib.registry.claim import Claim, Intent
from buildlib.registry.repository import Document, Repository
from buildlib.registry.tags import Decide, Tagged, find_document, fixed, write_tag
from buildlib.registry.transfer import manifests_of
from buildlib.terminal.console import Console


@dataclass(frozen=True, kw_only=True)
class TagPolicy:
    """How tags are decided.

    Args:
        target: returns a registry's part of the plan, by the tags that it holds.
        rightful: returns the version that a moving tag of a registry belongs to instead of ours,
            by the tags that it holds; empty: to none.
        claim: returns the claim on a registry, not acquired yet.
    """

    target: Callable[[Registry, Sequence[str]], Target]
    rightful: Callable[[Registry, str, Sequence[str]], str]
    claim: Callable[[Target, Intent, tuple[str, ...]], Claim]


class Tagging:
    """Gives the tags of a publication.

    Args:
        repositories: by the registry's name.
        discarded: identifiers of claims that are not waited for.
    """

    def __init__(
        self,
        progress: Outcomes,
        repositories: Mapping[str, Repository],
        console: Console,
        policy: TagPolicy,
        discarded: Sequence[str] = (),
    ) -> None:
        self._progress, self._repositories, self._console = progress, repositories, console
        self._policy, self._discarded = policy, tuple(discarded)
        self._claims: dict[str, Claim] = {}
        self._documents: dict[str, Document] = {}

    @property
    def _digest(self) -> str:
        return self._progress.receipt.digest

    def give(self, targets: Sequence[Target]) -> None:
        """Give the versions everywhere, and only then move what moves.

        Args:
            targets: the registries that hold the digest.

        Raises:
            GateError: a version has another digest, or got one meanwhile (exit 7).
            BuildlibError: a required registry does not do it.
        """
        unless = self._progress.unless
        with ExitStack() as claims:
            # All claims before anything is written, in an order that is the same for every
            # publisher: no two of them wait for each other.
            in_order = sorted(targets, key=lambda target: self._repositories[target.name].name)
            held = unless(in_order, lambda target: self._acquire(target, claims), one_by_one=True)
            targets = unless([t for t in targets if t in held], self.conflicts)
            targets = unless(required_first(targets), self._pin, one_by_one=True)
            # If another publisher has moved a version, no moving tag may point to ours.
            targets = unless(targets, self._check_still_ours)
            unless(targets, self._float)
            unless(self._progress.left(targets), self._check_still_ours)
        for target in targets:
            record = self._progress.receipt.targets[target.name]
            record.claim, record.earlier_claims = "", []

    def conflicts(self, target: Target, *, final: bool = True) -> None:
        """Raise GateError (exit 7) if a version already has another digest.

        Args:
            final: the digest is known; otherwise the same images are not a conflict yet.
        """
        receipt = self._progress.receipt
        attested = not final or receipt.digest != receipt.built
        images = tuple(receipt.platforms.values()) if attested else ()
        raise_problems(conflicts([target], self._repositories, receipt.digest, images, final=final))

    def _check_still_ours(self, target: Target) -> None:
        """Raise GateError (exit 7) if a version got another digest since it was given."""
        digest = self._digest
        problems = [
            GateError(
                f"{reference} was moved by another publisher",
                why=f"it is {held or 'missing'} now, and {digest} was published",
                hint="find out who else publishes; then publish again with --resume",
            )
            for reference, held, _ in _pinned([target], self._repositories)
            if held != digest
        ]
        raise_problems(problems)

    def _acquire(self, target: Target, claims: ExitStack) -> None:
        receipt = self._progress.receipt
        record = receipt.targets[target.name]
        owner = f"{receipt.version} ({receipt.revision[:7]}), begun {receipt.started}"
        intent = Intent(owner, self._digest, target.pinned)
        # The claims of earlier runs of this publication, which were killed.
        ended = tuple(filter(None, (*record.earlier_claims, record.claim)))
        claim = self._policy.claim(target, intent, (*ended, *self._discarded))
        if record.under_way.keys() & set(target.pinned):
            claim.late = ended
        record.claim, record.earlier_claims = claim.identifier, list(ended)
        self._progress.save(f"claim {target.name}")
        self._claims[target.name] = claims.enter_context(claim)

    def _pin(self, target: Target) -> None:
        repository = self._repositories[target.name]
        document = find_document(repository, self._digest)
        self._documents[target.name] = document
        for tag in target.pinned:
            self._note(target, self._write(target, tag, fixed(repository, document, tag)))

    def _float(self, target: Target) -> None:
        record = self._progress.receipt.targets[target.name]
        kept: dict[str, str] = {}
        # Also the tags that a killed run may have moved after a higher release came.
        for tag in dict.fromkeys((*target.floating, *record.under_way)):
            moving = _Moving(
                target=target,
                repository=self._repositories[target.name],
                tag=tag,
                document=self._documents[target.name],
                given=record.tags.get(tag, {}).get("digest", ""),
                under_way=record.under_way,
                policy=self._policy,
            )
            done = self._write(target, tag, moving.decide)
            record.wanted = list(moving.target.tags)
            kept |= {tag: moving.kept} if moving.kept else {}
            record.held_back = dict(moving.target.held_back) | kept
            if moving.kept:
                self._console.warn(f"{target.repository}:{tag} is not moved: {moving.kept}")
            elif moving.repaired:
                self._console.warn(f"{target.repository}:{tag} is {moving.repaired} again")
            elif tag in moving.target.floating:
                self._note(target, done)

    def _write(self, target: Target, tag: str, decide: Decide) -> Tagged:
        """Write a tag that the receipt lists first: a killed run's request may still be done."""
        under_way = self._progress.receipt.targets[target.name].under_way

        def begin(now: str, written: str) -> Document | None:
            wanted = decide(now, written)
            if wanted and wanted.digest not in {now, under_way.get(tag)}:
                under_way[tag] = wanted.digest
                self._progress.save(f"write {target.name} {tag}")
            return wanted

        done = write_tag(self._repositories[target.name], tag, begin, self._claims[target.name])
        under_way.pop(tag, None)
        return done

    def _note(self, target: Target, done: Tagged) -> None:
        record = self._progress.receipt.targets[target.name]
        known = record.tags.get(done.tag, {})
        # If the interrupted run gave it, a rollback goes to what the tag was before that run.
        again = not done.moved and known.get("digest") == done.digest
        before = known["before"] if again else done.before
        record.tags[done.tag] = {"digest": done.digest, "before": before}
        became = "is tagged" if done.moved else "was tagged already"
        self._console.note(f"{target.repository}:{done.tag} {became}")
        self._progress.save(f"tag {target.name} {done.tag}")


@dataclass(kw_only=True)
class _Moving:
    """A tag that moves, in one registry.

    Args:
        target: as the registry is now.
        given: the digest that an earlier run of this publication gave it; empty: none.
        under_way: the digests that requests of this run, or of a killed one, may still give tags.
    """

    target: Target
    repository: Repository
    tag: str
    document: Document
    given: str
    under_way: Mapping[str, str]
    policy: TagPolicy

    def __post_init__(self) -> None:
        """Decide nothing yet."""
        # Why the tag is not moved.
        self.kept = ""
        # The version that the tag was moved back to.
        self.repaired = ""

    def decide(self, now: str, written: str) -> Document | None:
        """Return what the tag is to point to; see `registry.tags.Decide`."""
        held, ours = self.repository.tags(), self.document.digest
        self.target = self.policy.target(self.target.registry, held)
        if self.tag in self.target.floating:
            if now not in {"", ours} and self.given == ours and not written:
                self.kept = f"it was moved to {now} after this was published"
                return None
            return self.document
        sent = self.under_way.get(self.tag)
        if sent is None or now not in {ours, sent}:
            return None
        # A higher release came while the request was on its way.
        self.repaired = self.policy.rightful(self.target.registry, self.tag, held)
        return self.repository.manifest(self.repaired) if self.repaired else None


Repositories = Mapping[str, Repository]


def archive_problems(images: Sequence[Image], plan: PublishPlan) -> list[BuildlibError]:
    """Return why an archive is not what was planned, or may not be published."""
    found = {image.platform for image in images}
    missing = sorted(set(plan.platforms) - found)
    problems: list[BuildlibError] = []
    if missing:
        problems.append(GateError(f"the archive is not for {', '.join(missing)}"))
    for image in images:
        label = image.labels.get(VERSION_LABEL, "")
        if label != plan.version:
            problems.append(
                GateError(
                    f"the image for {image.platform} has version {label or 'none'} in its label",
                    why=f"{plan.version} is to be published",
                )
            )
    stand_ins = stand_ins_of(image.labels for image in images)
    if stand_ins and not plan.rehearsal:
        problems.append(stand_in_problem(stand_ins))
    return problems


def _pinned(
    targets: Iterable[Target], repositories: Repositories
) -> Iterator[tuple[str, str, Repository]]:
    """Yield each tag that must not move, the digest that it has, and its repository."""
    for target in targets:
        repository = repositories[target.name]
        for tag in target.pinned:
            yield f"{target.repository}:{tag}", repository.digest(tag), repository


def conflicts(
    targets: Iterable[Target],
    repositories: Repositories,
    digest: str,
    images: Collection[str] = (),
    *,
    final: bool = True,
) -> list[BuildlibError]:
    """Return the errors for versions that already have another digest.

    Args:
        targets: the registries, with their tags.
        repositories: by the registry's name.
        images: digests of the platforms' images, if the index has attestations or gets them.
        final: the digest is the one that is published; otherwise the index still gets
            attestations, and another index of the same images is not a conflict yet.
    """
    found: list[BuildlibError] = []
    for reference, held, repository in _pinned(targets, repositories):
        if held in {"", digest}:
            continue
        same = bool(images) and _images_of(repository, held) == set(images)
        if same and not final:
            continue
        found.append(
            GateError(
                f"{reference} already exists with a different digest and will not be overwritten",
                why=f"{held}, and this is {digest}"
                + (": the same images, with other attestations" if same else ""),
                hint="a version is published once: publish this as another version",
            )
        )
    return found


def _images_of(repository: Repository, digest: str) -> set[str]:
    document = repository.manifest(digest)
    return set(manifests_of(document)) or {digest} if document else set()
