"""The last step of a release: tags, registry after registry, for what is there and verified.

Versions come before the tags that move, and these only where every required registry has the
version. What a tag that moves points to is decided in each registry at the moment when it is
written, from what that registry holds then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from buildlib.config.tables import Registry
from buildlib.console import Console
from buildlib.errors import BuildlibError, GateError, raise_problems
from buildlib.image.archive import Image
from buildlib.image.labels import VERSION_LABEL, stand_ins_of
from buildlib.publish.plan import PublishPlan, Target, required_first, stand_in_problem
from buildlib.publish.progress import Course
from buildlib.registry.claim import Claim, Intent
from buildlib.registry.repository import Document, Repository
from buildlib.registry.tags import Decide, Tagged, find_document, fixed, write_tag
from buildlib.registry.transfer import manifests_of


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How tags are decided.

    Args:
        target: returns a registry's part of the plan, by the tags that it holds.
        rightful: returns the version tag in a registry that a tag that moves is for instead of
            ours, by the tags that it holds; empty: it is for none.
        claim: returns the claim on a registry, not acquired yet.
    """

    target: Callable[[Registry, Sequence[str]], Target]
    rightful: Callable[[Registry, str, Sequence[str]], str]
    claim: Callable[[Target, Intent, tuple[str, ...]], Claim]


class Tagging:
    """Gives the tags of a publication.

    Args:
        course: of the publication.
        repositories: by the registry's name.
        console: is told each tag.
        rules: how tags are decided.
        discarded: identifiers of claims that are not to be waited for.
    """

    def __init__(
        self,
        course: Course,
        repositories: Mapping[str, Repository],
        console: Console,
        rules: Rules,
        discarded: Sequence[str] = (),
    ) -> None:
        """Ask nothing yet."""
        self._course, self._repositories, self._console = course, repositories, console
        self._rules, self._discarded = rules, tuple(discarded)
        self._claims: dict[str, Claim] = {}
        self._documents: dict[str, Document] = {}

    @property
    def _digest(self) -> str:
        return self._course.receipt.digest

    def give(self, targets: Sequence[Target]) -> None:
        """Give the versions everywhere, and only then move what moves.

        Args:
            targets: the registries that hold the digest.

        Raises:
            GateError: a version has another digest, or got one meanwhile (exit 7).
            BuildlibError: a required registry does not do it.
        """
        unless = self._course.unless
        with ExitStack() as claims:
            # In an order that is the same for every publisher, so that no two of them wait for
            # each other; and all of them before anything is written.
            in_order = sorted(targets, key=lambda target: self._repositories[target.name].name)
            held = unless(in_order, lambda target: self._acquire(target, claims), one_by_one=True)
            targets = unless([t for t in targets if t in held], self.conflicts)
            targets = unless(required_first(targets), self._pin, one_by_one=True)
            # Where a version is somebody else's by now, nothing that moves may go on to ours.
            targets = unless(targets, self._moved)
            unless(targets, self._float)
            unless(self._course.left(targets), self._moved)
        for target in targets:
            record = self._course.receipt.targets[target.name]
            record.claim, record.earlier_claims = "", []

    def conflicts(self, target: Target, *, final: bool = True) -> None:
        """Raise GateError (exit 7) where a version has another digest already.

        Args:
            target: the registry.
            final: the digest is known; else the same images are no conflict yet.
        """
        receipt = self._course.receipt
        attested = not final or receipt.digest != receipt.built
        images = tuple(receipt.platforms.values()) if attested else ()
        raise_problems(conflicts([target], self._repositories, receipt.digest, images, final=final))

    def _moved(self, target: Target) -> None:
        raise_problems(moved_meanwhile([target], self._repositories, self._digest))

    def _acquire(self, target: Target, claims: ExitStack) -> None:
        receipt = self._course.receipt
        record = receipt.targets[target.name]
        owner = f"{receipt.version} ({receipt.revision[:7]}), begun {receipt.started}"
        intent = Intent(owner, self._digest, target.pinned)
        # Those of runs of this publication that were killed: its receipt is taken up only after
        # them. One that was killed before it released its claim may have left another's as well.
        ended = tuple(filter(None, (*record.earlier_claims, record.claim)))
        claim = self._rules.claim(target, intent, (*ended, *self._discarded))
        if record.under_way.keys() & set(target.pinned):
            claim.late = ended
        record.claim, record.earlier_claims = claim.identifier, list(ended)
        self._course.save(f"claim {target.name}")
        self._claims[target.name] = claims.enter_context(claim)

    def _pin(self, target: Target) -> None:
        repository = self._repositories[target.name]
        document = find_document(repository, self._digest)
        self._documents[target.name] = document
        for tag in target.pinned:
            self._note(target, self._write(target, tag, fixed(repository, document, tag)))

    def _float(self, target: Target) -> None:
        record = self._course.receipt.targets[target.name]
        kept: dict[str, str] = {}
        # And those that a run which was killed may have moved after a higher release came.
        for tag in dict.fromkeys((*target.floating, *record.under_way)):
            moving = _Moving(
                target=target,
                repository=self._repositories[target.name],
                tag=tag,
                document=self._documents[target.name],
                given=record.tags.get(tag, {}).get("digest", ""),
                under_way=record.under_way,
                rules=self._rules,
            )
            done = self._write(target, tag, moving.decide)
            record.wanted = list(moving.target.tags)
            kept |= {tag: moving.kept} if moving.kept else {}
            record.held_back = dict(moving.target.held_back) | kept
            if moving.kept:
                self._console.warn(f"{target.repository}:{tag} stays where it is: {moving.kept}")
            elif moving.repaired:
                self._console.warn(f"{target.repository}:{tag} is {moving.repaired} again")
            elif tag in moving.target.floating:
                self._note(target, done)

    def _write(self, target: Target, tag: str, decide: Decide) -> Tagged:
        """Write a tag; the receipt says which, as a run that is killed may write it later still."""
        under_way = self._course.receipt.targets[target.name].under_way

        def begin(now: str, written: bool) -> Document | None:  # noqa: FBT001 - see Decide
            wanted = decide(now, written)
            if wanted and wanted.digest not in {now, under_way.get(tag)}:
                under_way[tag] = wanted.digest
                self._course.save(f"write {target.name} {tag}")
            return wanted

        done = write_tag(self._repositories[target.name], tag, begin, self._claims[target.name])
        under_way.pop(tag, None)
        return done

    def _note(self, target: Target, done: Tagged) -> None:
        record = self._course.receipt.targets[target.name]
        known = record.tags.get(done.tag, {})
        # Given by the run that was interrupted: what it was before that is what one goes back to.
        again = not done.moved and known.get("digest") == done.digest
        before = known["before"] if again else done.before
        record.tags[done.tag] = {"digest": done.digest, "before": before}
        became = "is tagged" if done.moved else "was tagged already"
        self._console.note(f"{target.repository}:{done.tag} {became}")
        self._course.save(f"tag {target.name} {done.tag}")


@dataclass(kw_only=True)
class _Moving:
    """A tag that moves, in one registry.

    Args:
        target: as the registry is now.
        repository: that it is in.
        tag: that moves.
        document: that is published.
        given: what an earlier run of this publication pointed the tag to; empty: nothing yet.
        under_way: what this run, or an earlier one that did not end, may still point tags to.
        rules: how it is decided.
    """

    target: Target
    repository: Repository
    tag: str
    document: Document
    given: str
    under_way: Mapping[str, str]
    rules: Rules

    def __post_init__(self) -> None:
        """Decide nothing yet."""
        # Why the tag stays where somebody moved it.
        self.kept = ""
        # The version that the tag was given back to.
        self.repaired = ""

    def decide(self, now: str, written: bool) -> Document | None:  # noqa: FBT001 - see Decide
        """Return what the tag is to point to; see `registry.tags.Decide`."""
        held, ours = self.repository.tags(), self.document.digest
        self.target = self.rules.target(self.target.registry, held)
        if self.tag in self.target.floating:
            if now not in {"", ours} and self.given == ours and not written:
                self.kept = f"it was moved to {now} after this was published"
                return None
            return self.document
        sent = self.under_way.get(self.tag)
        if sent is None or now not in {ours, sent}:
            return None
        # The request took so long that a higher release came meanwhile.
        self.repaired = self.rules.rightful(self.target.registry, self.tag, held)
        return self.repository.manifest(self.repaired) if self.repaired else None


# What must not be published, told before and after: the wrong archive, and versions that moved.


Repositories = Mapping[str, Repository]


def archive_problems(images: Sequence[Image], plan: PublishPlan) -> list[BuildlibError]:
    """Return why an archive is not what was planned, or is nothing that may be published."""
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
                    f"the image for {image.platform} says that it is {label or 'no version'}",
                    why=f"and {plan.version} is to be published",
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
    """Return the versions that are another image already: no gate need be asked.

    Args:
        targets: the registries, with their tags.
        repositories: by the registry's name.
        digest: of what is published.
        images: digests of the platforms' images, where its index has attestations or gets them.
        final: the digest is the one that is published; else its index is still to get
            attestations, and another one of the same images is no conflict yet.
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
    """Return the digests of the images that an index or a manifest is of."""
    document = repository.manifest(digest)
    return set(manifests_of(document)) or {digest} if document else set()


def moved_meanwhile(
    targets: Iterable[Target], repositories: Repositories, digest: str
) -> list[BuildlibError]:
    """Return the versions that became another image while this one was published."""
    return [
        GateError(
            f"{reference} was moved by somebody else",
            why=f"it is {held or 'gone'}, and {digest} was published",
            hint="find out who else publishes; then publish again with --resume",
        )
        for reference, held, _ in _pinned(targets, repositories)
        if held != digest
    ]
