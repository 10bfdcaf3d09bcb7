"""The order of a release: build once, judge, push by digest, sign, verify, and only then tag.

Broken off anywhere, no tag stands for what was not judged and verified: tags come last, those
that stand for one version before those that move, and these only where every required registry
holds the digest.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from buildlib.background import Background
from buildlib.build.build_image import build_image
from buildlib.config.publish import SBOM, SIGN, SMOKE
from buildlib.console import Console
from buildlib.errors import (
    BuildlibError,
    CancelledError,
    InputError,
    TransientError,
    raise_problems,
)
from buildlib.image.archive import open_archive
from buildlib.image.reference import canonical
from buildlib.project import Project
from buildlib.publish.attestations import predicates_of, write_attested
from buildlib.publish.gates import (
    LEFT_OUT,
    PASSED,
    Outcome,
    Subject,
    dropped,
    judge,
    missing_tools,
)
from buildlib.publish.plan import PublishPlan, Target, release_request
from buildlib.publish.progress import Course
from buildlib.publish.provenance import write_provenance
from buildlib.publish.receipt import (
    GateRecord,
    Receipt,
    TargetRecord,
    bills_are_there,
    built_by,
    differences,
    fingerprint,
    inside,
    is_same,
    new_receipt,
)
from buildlib.publish.tagger import Rules, Tagging, archive_problems
from buildlib.registry.repository import Repository
from buildlib.registry.transfer import push_archive


class Signer(Protocol):
    """Signs and verifies; `publish.signing` has the real one."""

    def check(self) -> Mapping[str, str]:
        """Return the versions of its tools; raises where one is missing or nothing configured."""

    def sign(self, target: Target, receipt: Receipt) -> str:
        """Sign and attest what a registry holds, verify it, and return by whom it is signed."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a publication is given.

    Args:
        subject: what the gates need.
        repositories: by the registry's name.
        signer: signs, where the plan wants it.
        rules: how tags are decided, and claimed.
        discarded: identifiers of claims that are not to be waited for.
        now: returns the time, RFC 3339.
        versions: returns those of the tools that build.
        buildkit: returns that of BuildKit; asked after a build, when the builder surely runs.
        check_unchanged: raises where the files are not those any more that the plan was made of.
        cancel: ends every process that was started.
        reached: is called after each step, with its name.
        files: gives the project with the files that are published; None: the subject's own.
    """

    subject: Subject
    repositories: Mapping[str, Repository]
    signer: Signer
    rules: Rules
    now: Callable[[], str]
    versions: Callable[[], Mapping[str, str]]
    buildkit: Callable[[], str]
    check_unchanged: Callable[[], None]
    cancel: Callable[[], None]
    discarded: tuple[str, ...] = ()
    reached: Callable[[str], None] = field(default=lambda _: None)
    files: Callable[[], AbstractContextManager[Project]] | None = None

    def sources(self) -> AbstractContextManager[Project]:
        """Give the project with its files, no longer than they are needed."""
        return self.files() if self.files else contextlib.nullcontext(self.subject.project)

    @property
    def console(self) -> Console:
        """Return the printer."""
        return self.subject.console


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one publication at a time work in a project."""
    # On the directory itself: no lock file is left behind, and it ends with the process.
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TransientError(
                "another publication is running here", hint="wait for it, and look at its receipt"
            ) from None
        yield
    finally:
        os.close(handle)


def _still_there(before: Receipt, plan: PublishPlan) -> dict[str, TargetRecord]:
    """Return what a receipt knows of registries, without those that are other ones by now."""
    places = {target.name: target.registry.full_name for target in plan.targets}
    return {
        name: record
        for name, record in before.targets.items()
        if name not in places or places[name] == canonical(record.repository)
    }


class PublishFlow:
    """One publication.

    Args:
        plan: what it comes to.
        around: what it is given.
        before: the receipt to go on from, or None.
        kept: the receipt of an earlier attempt at this version; None: the one to go on from.
    """

    def __init__(
        self,
        plan: PublishPlan,
        around: Surroundings,
        before: Receipt | None = None,
        kept: Receipt | None = None,
    ) -> None:
        """Begin a receipt, or take one up."""
        self._plan, self._around = plan, around
        self._project = around.subject.project
        self._console = around.console
        self.receipt = self._taken_up(before)
        if kept := kept or before:
            kept = replace(kept, targets=_still_there(kept, plan))
            if before is None and is_same(kept, self.receipt):
                # What became public before this run is so still, whatever comes of this one.
                self.receipt.targets = copy.deepcopy(kept.targets)
        self._builds_with: dict[str, str] = {}
        self._begun = False
        folder = plan.archive.parent
        self._course = Course(self.receipt, folder, self._console, around.reached, kept)
        self._tagging = Tagging(
            self._course, around.repositories, self._console, around.rules, around.discarded
        )

    def _taken_up(self, before: Receipt | None) -> Receipt:
        fresh = new_receipt(self._project.config, self._plan, started=self._around.now())
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
                why="what is not committed is in the image as well",
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
            BuildlibError: as its exit code says; the receipt tells how far it came.
        """
        with _alone(self._project.config.root):
            self._around.reached("begun")
            try:
                self._publish()
            finally:
                self.receipt.ended = self._around.now()
                for name, repository in self._around.repositories.items():
                    if name in self.receipt.targets:
                        self.receipt.targets[name].retries = repository.transport.tally.retries
                # An attempt that ends before it does anything leaves no receipt, and every other's.
                if self._begun:
                    self._course.save("ended")
                else:
                    self._around.reached("ended")
        return self.receipt

    def _publish(self) -> None:
        targets = self._preflight()
        self._build()
        # What the index says of its images is known after the gates, and these are known now.
        final = not self._plan.in_index
        targets = self._course.unless(
            targets, lambda one: self._tagging.conflicts(one, final=final)
        )
        self._judge()
        self._ask_buildkit()
        targets = self._attest(targets)
        targets = self._arrive(targets)
        self._tagging.give(targets)
        self.receipt.finished = True

    # -- before anything is done

    def _preflight(self) -> tuple[Target, ...]:
        """Return the registries that can be written to; every required one has to be."""
        problems: list[BuildlibError] = []
        passed = {record.gate for record in self.receipt.gates if record.state == PASSED}
        ahead = [gate for gate in self._plan.gates if gate not in passed]
        tools = Background(lambda: missing_tools(ahead, self._around.subject))
        try:
            self._builds_with = dict(self._around.versions())
        except CancelledError:
            raise
        except BuildlibError as error:
            problems.append(error)
        # What already exists was built by what built it.
        self.receipt.tools = self._builds_with | self.receipt.tools
        if self._plan.signs:
            try:
                self.receipt.tools |= dict(self._around.signer.check())
            except CancelledError:
                raise
            except BuildlibError as error:
                problems.append(error)
        for target in self._plan.targets:
            # What became public before this run is so still, whatever comes of this one.
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
            target: Background(self._around.repositories[target.name].check_writable)
            for target in self._plan.targets
        }
        for target, answer in asked.items():
            try:
                answer.get()
            except BuildlibError as error:
                problems += self._course.failed(target, error)
        raise_problems([*problems, *tools.get()])
        self._begun = True
        self._course.save("preflight")
        return self._course.left(self._plan.targets)

    # -- one archive

    def _build(self) -> None:
        archive, before = self._plan.archive, self.receipt.built or self.receipt.digest
        line = built_by(self._plan.build, self._project.config.root)
        if before and self.receipt.built_by == line and self._top(archive) == before:
            self._console.note(f"{archive.name} already exists: {before}")
        else:
            request = release_request(self._project.config)
            with self._around.sources() as project:
                build_image(project, request, self._around.subject.executor, self._console)
            self._check_unchanged()
            self.receipt.built_by = line
            self.receipt.tools |= self._builds_with | {"buildkit": self._around.buildkit()}
        with open_archive(archive) as opened:
            self.receipt.built = opened.top()
            images = opened.images()
        self.receipt.platforms = {image.platform: image.digest for image in images}
        raise_problems(archive_problems(images, self._plan))
        if before != self.receipt.built or not self._plan.in_index:
            # Else it is that of an earlier run until the attestations are there again.
            self.receipt.digest = self.receipt.built
        if before and before != self.receipt.built:
            self._console.warn(f"built again, and it differs from {before}")
            self.receipt.judged, self.receipt.gates = "", []
        self._course.save("build")

    def _check_unchanged(self) -> None:
        try:
            self._around.check_unchanged()
        except BaseException:
            # It bears the name of what it is not.
            self._plan.archive.unlink(missing_ok=True)
            raise

    @staticmethod
    def _top(archive: Path) -> str:
        try:
            with open_archive(archive) as opened:
                return opened.top() if opened.images() else ""
        except BuildlibError:
            return ""

    # -- gates

    def _judge(self) -> None:
        subject, digest = self._around.subject, self.receipt.built
        judged = fingerprint(
            self._project.config, digest, today=subject.today, release=subject.release
        )
        known = {record.gate for record in self.receipt.gates if record.state == PASSED}
        if self.receipt.judged != judged:
            known = set()
        if not bills_are_there(self.receipt, self._project.config.root):
            known.discard(SBOM)
        wanted = tuple(gate for gate in self._plan.gates if gate not in known)
        for gate in known & set(self._plan.gates):
            self._console.note(f"gate {gate} was passed by this very image")
        outcomes: tuple[Outcome, ...] = ()
        if wanted:
            with self._around.sources() as project:
                smoked = [one for one in self.receipt.gates if one.gate in known & {SMOKE}]
                seen = tuple(platform for one in smoked for platform in dropped(one))
                asked = replace(subject, project=project, dropped=seen)
                outcomes = judge(wanted, asked, cancel=self._around.cancel)
        records = {record.gate: record for record in self.receipt.gates if record.gate in known}
        records |= {outcome.record.gate: outcome.record for outcome in outcomes}
        self.receipt.gates = [records[gate] for gate in self._plan.gates] + [
            GateRecord(gate=skip.gate, state=LEFT_OUT, detail=skip.reason)
            for skip in self._plan.skipped
        ]
        self.receipt.judged = judged
        self._course.save("gates")
        for skip in self._plan.skipped:
            then = "; it can't be verified who published it" if skip.gate == SIGN else ""
            self._console.warn(f"{skip.gate} is left out: {skip.reason}{then}")
        raise_problems([outcome.error for outcome in outcomes if outcome.error])

    def _ask_buildkit(self) -> None:
        """Let BuildKit say what it built, where that is signed or goes into the index."""
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
        with asking, self._around.sources() as project:
            self.receipt.provenance = write_provenance(
                project,
                self._around.subject.executor,
                self._console,
                stem=archive.with_name(archive.name.removesuffix(".oci.tar")),
                platforms=self.receipt.platforms,
            )
        for one in self.receipt.provenance:
            one["file"] = inside(Path(one["file"]), config.root)
        self._course.save("provenance")

    def _attest(self, targets: Sequence[Target]) -> tuple[Target, ...]:
        """Put what is known of the image into its index, which is what is published then."""
        if not self._plan.in_index:
            return tuple(targets)
        with open_archive(self._plan.archive) as archive:
            said = predicates_of(self.receipt, self._project.config.root)
            self.receipt.digest = write_attested(archive, self._plan.pushed, said)
        self._console.note(f"with its attestations it is {self.receipt.digest}")
        self._course.save("attestations")
        return self._course.unless(targets, self._tagging.conflicts)

    # -- registries

    def _arrive(self, targets: Sequence[Target]) -> tuple[Target, ...]:
        """Push, sign and verify everywhere; one that fails does not hold up the others."""
        return self._course.unless(targets, self._arrive_at)

    def _arrive_at(self, target: Target) -> None:
        record = self.receipt.targets[target.name]
        self._console.note(f"pushing {self.receipt.digest} to {target.repository}")
        pushing = self._console.running(f"pushing to {target.repository}")
        with pushing as activity, open_archive(self._plan.pushed) as archive:
            done = push_archive(
                archive,
                self._around.repositories[target.name],
                progress=lambda text: self._console.note(f"          | {text}"),
                activity=activity,
            )
        record.digest, record.sent, record.there, record.size = (
            *(done.digest, done.sent, done.there),
            done.size,
        )
        self._course.save(f"push {target.name}")
        if self._plan.signs:
            record.signed_by = self._around.signer.sign(target, self.receipt)
            self._course.save(f"{SIGN} {target.name}")
