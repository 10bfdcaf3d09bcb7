"""The order of a release: build once, run the gates, push by digest, sign, verify, then tag.

Wherever it is interrupted, no tag points to an image that has not passed its gates and been
verified: tags come last, version tags before those that move, and these only if every required
registry holds the digest.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from buildlib.background import Background
from buildlib.build.build_image import build_image
from buildlib.config.publish import SBOM, SIGN, SMOKE
from buildlib.errors import (
    BuildlibError,
    InputError,
    TransientError,
    collected,
    raise_problems,
)
from buildlib.files import locked
from buildlib.image.archive import open_archive
from buildlib.image.reference import canonical
from buildlib.project import Project
from buildlib.publish.attestations import predicates_of, write_attested
from buildlib.publish.gates import (
    GateOutcome,
    GateSubject,
    dropped,
    missing_tools,
    run_gates,
)
from buildlib.publish.outcomes import Outcomes
from buildlib.publish.plan import PublishPlan, Target, release_request
from buildlib.publish.provenance import write_provenance
from buildlib.publish.receipt import (
    LEFT_OUT,
    PASSED,
    GateRecord,
    Receipt,
    TargetRecord,
    built_by,
    differences,
    fingerprint,
    inside,
    is_same,
    new_receipt,
    sboms_are_there,
)
from buildlib.publish.signing import ReleaseSigner
from buildlib.publish.tagger import Tagging, TagPolicy, archive_problems
from buildlib.registry.repository import Repository
from buildlib.registry.transfer import push_archive

TASK: Final = "docker-publish"


@dataclass(frozen=True, kw_only=True)
class PublishContext:
    """What a publication works with.

    Args:
        repositories: by the registry's name.
        now: returns the time, RFC 3339.
        versions: returns the versions of the tools that build.
        buildkit: returns the version of BuildKit, after a build, as the builder runs then.
        check_unchanged: raises if the files are not those that the plan was made of.
        cancel: ends every process that was started.
        files: gives the project with the files that are published, for the time of a block.
        discarded: identifiers of claims that are not waited for.
        reached: called after each step, with its name.
    """

    subject: GateSubject
    repositories: Mapping[str, Repository]
    signer: ReleaseSigner
    tag_policy: TagPolicy
    now: Callable[[], str]
    versions: Callable[[], Mapping[str, str]]
    buildkit: Callable[[], str]
    check_unchanged: Callable[[], None]
    cancel: Callable[[], None]
    files: Callable[[], AbstractContextManager[Project]]
    discarded: tuple[str, ...] = ()
    reached: Callable[[str], None] = field(default=lambda _: None)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Allow one publication at a time in a project."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder, waits=False))
        except BlockingIOError:
            raise TransientError(
                "another publication is running here", hint="wait for it, and look at its receipt"
            ) from None
        yield


def _still_there(before: Receipt, plan: PublishPlan) -> dict[str, TargetRecord]:
    """Return the registries of a receipt, without those whose repository has changed since."""
    places = {target.name: target.registry.full_name for target in plan.targets}
    return {
        name: record
        for name, record in before.targets.items()
        if name not in places or places[name] == canonical(record.repository)
    }


def _digest_in(archive: Path) -> str:
    """Return the digest of an archive; empty if there is none that can be read."""
    try:
        with open_archive(archive) as opened:
            return opened.top() if opened.images() else ""
    except BuildlibError:
        return ""


class PublishFlow:
    """One publication.

    Args:
        before: the receipt to resume, or None.
        kept: the receipt of an earlier attempt at this version; None: the one to resume.
    """

    def __init__(
        self,
        plan: PublishPlan,
        context: PublishContext,
        before: Receipt | None = None,
        kept: Receipt | None = None,
    ) -> None:
        """Begin a receipt, or resume one."""
        self._plan, self._context = plan, context
        self._project, self._console = context.subject.project, context.subject.console
        self.receipt = self._resumed(before)
        if kept := kept or before:
            kept = replace(kept, targets=_still_there(kept, plan))
            if before is None and is_same(kept, self.receipt):
                # What an earlier attempt made public stays recorded, whatever this one does.
                self.receipt.targets = copy.deepcopy(kept.targets)
        self._builds_with: dict[str, str] = {}
        self._begun = False
        self._published = bool(before and before.finished)
        folder = plan.archive.parent
        self._progress = Outcomes(self.receipt, folder, self._console, context.reached, kept)
        self._tagging = Tagging(
            *(self._progress, context.repositories, self._console),
            *(context.tag_policy, context.discarded),
        )

    @property
    def begun(self) -> bool:
        """Return whether it came past its preconditions."""
        return self._begun

    def _resumed(self, before: Receipt | None) -> Receipt:
        fresh = new_receipt(self._project.config, self._plan, started=self._context.now())
        if before is None:
            return fresh
        if other := differences(before, fresh):
            raise InputError(
                f"the receipt is about another {other[0]}: {getattr(before, other[0])}",
                why=f"and this is {getattr(fresh, other[0])}",
                hint="publish without --resume",
            )
        if before.uncommitted != fresh.uncommitted:
            raise InputError(
                "the files have changed since that receipt was written",
                why="files that are not committed are in the image as well",
                hint="publish without --resume",
            )
        return replace(
            copy.deepcopy(before),
            archive=fresh.archive,
            included=fresh.included,
            rehearsal=fresh.rehearsal,
            targets=copy.deepcopy(_still_there(before, self._plan)),
            ended="",
            finished=False,
        )

    def run(self) -> Receipt:
        """Publish.

        Raises:
            BuildlibError: as its exit code says; the receipt shows how far it came.
        """
        with _alone(self._project.config.root):
            self._context.reached("begun")
            try:
                self._publish()
            finally:
                self.receipt.ended = self._context.now()
                for name, repository in self._context.repositories.items():
                    if name in self.receipt.targets:
                        self.receipt.targets[name].retries = repository.transport.tally.retries
                # An attempt that ends before it changes anything leaves all receipts as they are.
                if self._begun:
                    self._progress.save("ended")
                else:
                    self._context.reached("ended")
        return self.receipt

    def _publish(self) -> None:
        with self._console.running("checking what the release needs"):
            targets = self._preflight()
        self._build()
        # The index is known after the gates, if it gets attestations; the images are known now.
        final = not self._plan.in_index
        targets = self._progress.unless(
            targets, lambda one: self._tagging.conflicts(one, final=final)
        )
        self._run_gates()
        self._ask_buildkit()
        targets = self._attest(targets)
        # A registry that fails does not stop the others.
        targets = self._progress.unless(targets, self._push_and_sign)
        self._tagging.give(targets)
        self.receipt.finished = True

    def _preflight(self) -> tuple[Target, ...]:
        """Return the registries that can be written to; every required one has to be."""
        problems: list[BuildlibError] = []
        passed = {record.gate for record in self.receipt.gates if record.state == PASSED}
        ahead = [gate for gate in self._plan.gates if gate not in passed]
        tools = Background(lambda: missing_tools(ahead, self._context.subject))
        with collected(problems):
            self._builds_with = dict(self._context.versions())
        # An archive that exists was built by the tools that are recorded.
        self.receipt.tools = self._builds_with | self.receipt.tools
        if self._plan.signs:
            with collected(problems):
                self.receipt.tools |= dict(self._context.signer.check())
        for target in self._plan.targets:
            known = self.receipt.targets.get(target.name, TargetRecord(repository=""))
            self.receipt.targets[target.name] = replace(
                known,
                repository=target.repository,
                required=target.registry.required,
                wanted=list(target.tags),
                held_back=dict(target.held_back),
                error="",
            )
        asked = {
            target: Background(self._context.repositories[target.name].check_writable)
            for target in self._plan.targets
        }
        for target, answer in asked.items():
            try:
                answer.get()
            except BuildlibError as error:
                problems += self._progress.failed(target, error)
        problems += tools.get()
        if problems and self._published:
            left = f"; left to run: {', '.join(ahead)}" if ahead else ""
            self._console.note(f"{self.receipt.version} is published already{left}")
        raise_problems(problems)
        self._begun = True
        done = [record for record in self.receipt.gates if record.state != LEFT_OUT]
        self.receipt.gates = done + self._left_out()
        self._progress.save("preflight")
        return self._progress.left(self._plan.targets)

    def _build(self) -> None:
        archive, before = self._plan.archive, self.receipt.built or self.receipt.digest
        line = built_by(self._plan.build, self._project.config.root)
        if before and self.receipt.built_by == line and _digest_in(archive) == before:
            self._console.note(f"{archive.name} already exists: {before}")
        else:
            request = release_request(self._project.config)
            with self._context.files() as project:
                executor = self._context.subject.executor
                build_image(project, request, executor, self._console, task=TASK)
            try:
                self._context.check_unchanged()
            except BaseException:
                # The archive is not of the version in its name.
                archive.unlink(missing_ok=True)
                raise
            self.receipt.built_by = line
            self.receipt.tools |= self._builds_with | {"buildkit": self._context.buildkit()}
        with open_archive(archive) as opened:
            self.receipt.built = opened.top()
            images = opened.images()
        self.receipt.platforms = {image.platform: image.digest for image in images}
        raise_problems(archive_problems(images, self._plan))
        if before != self.receipt.built or not self._plan.in_index:
            # Otherwise an earlier run's digest counts until the attestations are written again.
            self.receipt.digest = self.receipt.built
        if before and before != self.receipt.built:
            self._console.warn(f"built again, and it differs from {before}")
            self.receipt.judged, self.receipt.gates = "", []
        self._progress.save("build")

    def _run_gates(self) -> None:
        subject, digest = self._context.subject, self.receipt.built
        judged = fingerprint(
            self._project.config, digest, today=subject.today, release=subject.release
        )
        known = {record.gate for record in self.receipt.gates if record.state == PASSED}
        if self.receipt.judged != judged:
            known = set()
        if not sboms_are_there(self.receipt, self._project.config.root):
            known.discard(SBOM)
        wanted = tuple(gate for gate in self._plan.gates if gate not in known)
        for gate in known & set(self._plan.gates):
            self._console.note(f"gate {gate} has passed for this image")
        outcomes: tuple[GateOutcome, ...] = ()
        if wanted:
            with self._context.files() as project:
                smoked = [one for one in self.receipt.gates if one.gate in known & {SMOKE}]
                seen = tuple(platform for one in smoked for platform in dropped(one))
                asked = replace(subject, project=project, dropped=seen)
                outcomes = run_gates(wanted, asked, cancel=self._context.cancel)
        records = {record.gate: record for record in self.receipt.gates if record.gate in known}
        records |= {outcome.record.gate: outcome.record for outcome in outcomes}
        self.receipt.gates = [records[gate] for gate in self._plan.gates] + self._left_out()
        self.receipt.judged = judged
        self._progress.save("gates")
        for skip in self._plan.skipped:
            then = "; it can't be verified who published it" if skip.gate == SIGN else ""
            self._console.warn(f"{skip.gate} is left out: {skip.reason}{then}")
        raise_problems([outcome.error for outcome in outcomes if outcome.error])

    def _left_out(self) -> list[GateRecord]:
        return [
            GateRecord(gate=skip.gate, state=LEFT_OUT, detail=skip.reason)
            for skip in self._plan.skipped
        ]

    def _ask_buildkit(self) -> None:
        """Get BuildKit's provenance, if it is signed or goes into the index."""
        config, plan = self._project.config, self._plan
        wanted = plan.in_index or plan.signs
        if not (wanted and config.publishing().provenance):
            return
        known = self.receipt.provenance
        same = {one["digest"] for one in known} == set(self.receipt.platforms.values())
        if same and all((config.root / one["file"]).is_file() for one in known):
            return
        archive = plan.archive
        asking = self._console.running("asking BuildKit for its provenance")
        with asking, self._context.files() as project:
            self.receipt.provenance = write_provenance(
                project,
                self._context.subject.executor,
                self._console,
                stem=archive.with_name(archive.name.removesuffix(".oci.tar")),
                platforms=self.receipt.platforms,
            )
        for one in self.receipt.provenance:
            one["file"] = inside(Path(one["file"]), config.root)
        self._progress.save("provenance")

    def _attest(self, targets: Sequence[Target]) -> tuple[Target, ...]:
        """Write SBOM and provenance into the index, which is published instead of the built one."""
        if not self._plan.in_index:
            return tuple(targets)
        with open_archive(self._plan.archive) as archive:
            said = predicates_of(self.receipt, self._project.config.root)
            self.receipt.digest = write_attested(archive, self._plan.pushed, said)
        self._console.note(f"with its attestations it is {self.receipt.digest}")
        self._progress.save("attestations")
        return self._progress.unless(targets, self._tagging.conflicts)

    def _push_and_sign(self, target: Target) -> None:
        record = self.receipt.targets[target.name]
        self._console.note(f"pushing {self.receipt.digest} to {target.repository}")
        pushing = self._console.running(f"pushing to {target.repository}")
        with pushing as activity, open_archive(self._plan.pushed) as archive:
            done = push_archive(
                archive,
                self._context.repositories[target.name],
                progress=lambda text: self._console.note(f"          | {text}"),
                activity=activity,
            )
        record.digest, record.size = done.digest, done.size
        record.sent, record.there = done.sent, done.there
        self._progress.save(f"push {target.name}")
        if self._plan.signs:
            record.signed_by = self._context.signer.sign(target, self.receipt)
            self._progress.save(f"{SIGN} {target.name}")
