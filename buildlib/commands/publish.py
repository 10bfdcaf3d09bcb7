"""What `docker-publish` does; apart from its options, so that only the task itself loads it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final, NamedTuple

from buildlib.build.checkout import changes_of, from_commit, is_of_commit
from buildlib.build.context import DIST
from buildlib.build.included_files import INCLUDE
from buildlib.build.preflight import check_engine
from buildlib.commands.connect import connect
from buildlib.commands.registries import Opened, make_claim, open_registries
from buildlib.commands.session import Edge
from buildlib.commands.version import mode
from buildlib.config.publish import SIGN
from buildlib.console import to_json
from buildlib.containers.runner import Engine, describe_engine
from buildlib.docker.engine import buildkit_versions
from buildlib.errors import (
    AuthorisationError,
    BuildlibError,
    CancelledError,
    EngineError,
    InputError,
    raise_problems,
)
from buildlib.executor import PlumbumExecutor
from buildlib.git.facts import Changes, GitFacts, hash_changes, read_revision
from buildlib.project import Project
from buildlib.publish.dry_run import as_dict, as_script
from buildlib.publish.gates import Subject, missing_tools
from buildlib.publish.plan import (
    PublishPlan,
    Target,
    chosen_registries,
    left_out,
    make_publish_plan,
    parse_skips,
    plan_target,
)
from buildlib.publish.publisher import PublishFlow, Surroundings
from buildlib.publish.receipt import NAME, Receipt, find_receipt, read_receipt
from buildlib.publish.report import as_text
from buildlib.publish.signing import CosignSigner, check_signer, signing_problems
from buildlib.publish.tagger import Rules
from buildlib.registry.claim import Claim, ClaimTerms, Intent
from buildlib.registry.transport import Patience
from buildlib.versioning.preconditions import Mode
from buildlib.versioning.tag_plan import rightful_tag

# For what a dry run asks only to tell more.
_ONCE = Patience(attempts=1, timeout=10.0)


class Wanted(NamedTuple):
    """The task's options."""

    registries: tuple[str, ...] = ()
    skips: tuple[str, ...] = ()
    reason: str = ""
    resume: bool = False
    pick_up: bool = False
    snapshot: bool = False
    edge: bool = False
    discard_claims: tuple[str, ...] = ()
    as_json: bool = False


NOTHING: Final = Wanted()


class Planner:
    """Makes the plan, as often as the registries are looked at."""

    def __init__(self, run: Edge, wanted: Wanted, *, by_version: bool = False) -> None:
        """Read everything but the registries.

        Args:
            run: where it is.
            wanted: the options.
            by_version: what is no release by its version is a snapshot, without being asked for.

        Raises:
            InputError: the request is not usable (exit 2).
        """
        if wanted.snapshot and wanted.edge:
            raise InputError("--snapshot and --edge exclude each other", hint="give one of them")
        self._mode = mode(snapshot=wanted.snapshot, edge=wanted.edge)
        self._skips = parse_skips(wanted.skips, wanted.reason)
        self.project: Project = run.project()
        if by_version and self.project.version.snapshot:
            self._mode = Mode.SNAPSHOT
        # With the files of the commit, once they have been looked at.
        self._planned = self.project
        # The registries that do not list their tags.
        self._unlisted: set[str] = set()
        config = self.project.config
        self.registries = chosen_registries(config, wanted.registries)
        self._changes = changes_of(self.project)
        # Once: what is built is what was there in the beginning.
        self._uncommitted = self._hashed(self._changes)
        self._dockerfile = self.project.dockerfile()

    def take_commit(self) -> None:
        """Plan by the files of the commit from now on, unless others are published.

        Raises:
            InputError, ToolError: as `from_commit`.
        """
        release = self._mode is not Mode.SNAPSHOT
        if not is_of_commit(self.project, self._changes, release=release):
            return
        with from_commit(self.project) as project:
            self._planned, self._dockerfile = project, project.dockerfile()

    @contextmanager
    def files(self) -> Iterator[Project]:
        """Give the project with the files that are published, as they were planned.

        Raises:
            InputError, ToolError: as `from_commit`; a file that is included has changed (exit 2).
        """
        planned = self._planned.checkout
        if planned is None:
            yield self.project
            return
        with from_commit(self.project) as project:
            if project.checkout and project.checkout.included != planned.included:
                raise InputError(
                    f"files that {INCLUDE} names have changed meanwhile",
                    hint="leave them alone while docker-publish runs, and publish again",
                )
            yield project

    def _hashed(self, changes: Changes) -> str:
        git = self.project.git
        if not isinstance(git, GitFacts):
            return ""
        return hash_changes(git.root, changes, self.project.config.root / DIST)

    def check_unchanged(self) -> None:
        """Raise InputError (exit 2) where the files are not those that the plan was made of.

        A build takes what is there while it runs, and that may be minutes after it was looked at.
        """
        git = self.project.git
        if not isinstance(git, GitFacts):
            return
        same = self._hashed(changes_of(self.project)) == self._uncommitted
        if not (same and read_revision(git.root) == git.revision):
            raise InputError(
                "the files changed while the image was built",
                why=f"it would be called {self.project.version.value}, and be something else",
                hint="leave them alone while docker-publish builds, and publish again",
            )

    def plan(self, in_registry: Mapping[str, Sequence[str] | None]) -> PublishPlan:
        """Return the plan, by the tags that each registry holds; None: it does not list them."""
        self._unlisted = {name for name, held in in_registry.items() if held is None}
        return make_publish_plan(
            self._planned,
            self._dockerfile,
            self._changes,
            self.registries,
            mode=self._mode,
            in_registry=in_registry,
            skips=self._skips,
            uncommitted=self._uncommitted,
        )

    def missing(self, run: Edge) -> list[BuildlibError]:
        """Return what is wrong with the tools and keys that a publication needs."""
        config = self.project.config
        skipped = {skip.gate for skip in left_out(config, self._skips)}
        gates = [gate for gate in config.publishing().gates if gate not in skipped]
        if run.dry:
            return signing_problems(config, gates) if SIGN not in skipped else []
        found = missing_tools(gates, subject_of(run, self.project, Path(), release=True))
        asked: list[Callable[[], object]] = [lambda: _engine(run)]
        if SIGN not in skipped:
            asked.append(lambda: check_signer(config, gates, run.executor))
        for ask in asked:
            try:
                ask()
            except CancelledError:
                raise
            except BuildlibError as error:
                found.append(error)
        return found

    def rules(self, run: Edge, opened: Sequence[Opened], terms: ClaimTerms | None) -> Rules:
        """Return how tags are decided when they are given."""
        repositories = {one.registry.name: one.repository for one in opened}
        project, mode, changes = self.project, self._mode, self._changes
        version, config = project.version.value, project.config

        def claim(target: Target, intent: Intent, known: tuple[str, ...]) -> Claim:
            registry, repository = target.registry, repositories[target.name]
            if target.name in self._unlisted:
                # Others' claims are seen in the list alone.
                registry = replace(registry, claim=False)
            return make_claim(run, registry, repository, intent, known=known, terms=terms)

        return Rules(
            target=lambda registry, held: plan_target(project, changes, registry, mode, held),
            rightful=lambda registry, tag, held: rightful_tag(
                tag, version, config.tag_rules(registry), held, config.naming
            ),
            claim=claim,
        )


def _held(run: Edge, opened: Sequence[Opened]) -> dict[str, tuple[str, ...] | None]:
    """Return the tags of each registry, None where it does not list them; that is said.

    Many an account may push and pull, and list nothing: only tags that move need the list.

    Raises:
        BuildlibError: a required registry does not answer, or can't be written to either.
    """
    found: dict[str, tuple[str, ...] | None] = {}
    problems: list[BuildlibError] = []
    for one in opened:
        try:
            found[one.registry.name] = _tags(run, one)
        except CancelledError:
            raise
        except BuildlibError as error:
            if run.dry or not one.registry.required:
                run.console.warn(f"{one.registry.name} does not tell its tags: {error.what}")
            else:
                problems.append(error)
    raise_problems(problems)
    return found


def _tags(run: Edge, one: Opened) -> tuple[str, ...] | None:
    try:
        return one.repository.tags()
    except (AuthorisationError, EngineError) as error:
        if not run.dry:
            # Who may not write is told that, and not what is in the way of less.
            one.repository.check_writable()
        why = f": {error.why.splitlines()[0]}" if error.why else ""
        run.console.warn(
            f"{one.registry.name} does not list its tags ({error.what}{why}): tags that move are "
            "held back there, and publishers are not kept apart, as with claim = false: let one "
            "publish at a time"
        )
        return None


def publish(
    run: Edge,
    wanted: Wanted,
    *,
    patience: Patience | None = None,
    terms: ClaimTerms | None = None,
    reached: Callable[[str], None] = lambda _: None,
    show: Callable[[Receipt], None] | None = None,
) -> None:
    """Publish, and report how far it came.

    Args:
        run: where it is printed.
        wanted: the options.
        patience: with the registries; None: as usual.
        terms: how long claims last; None: as usual.
        reached: is called after each step that is kept in the receipt, with its name.
        show: reports how far it came; None: it is printed.

    Raises:
        BuildlibError: as its exit code says.
    """
    planner = Planner(run, wanted)
    patience = _ONCE if run.dry else patience
    opened = _preconditions(run, planner, patience)
    plan = planner.plan(_held(run, opened))
    if run.dry:
        root = planner.project.config.root
        if plan.signs:
            raise_problems(signing_problems(planner.project.config, plan.gates))
        told = to_json(as_dict(plan, root)) if wanted.as_json else as_script(plan, root)
        run.console.answer(told)
        return
    kept = kept_receipt(plan, wanted)
    before = begun_from(plan, wanted, kept)
    around = replace(
        _surroundings(run, planner, plan, opened, planner.rules(run, opened, terms)),
        discarded=wanted.discard_claims,
        reached=reached,
    )
    flow = PublishFlow(plan, around, before, kept)
    try:
        flow.run()
    finally:
        if show:
            show(flow.receipt)
        else:
            _report(run, flow.receipt, as_json=wanted.as_json)


def _preconditions(run: Edge, planner: Planner, patience: Patience | None) -> tuple[Opened, ...]:
    """Return the registries, of which nothing is asked yet.

    Raises:
        BuildlibError: what forbids it is said before anybody is asked, all of it.
    """
    problems: list[BuildlibError] = []
    opened: tuple[Opened, ...] = ()
    try:
        planner.plan({})
        planner.take_commit()
    except CancelledError:
        raise
    except BuildlibError as error:
        problems.append(error)
    try:
        opened = open_registries(run, planner.registries, patience, spare_optional=True)
    except CancelledError:
        raise
    except BuildlibError as error:
        problems.append(error)
    if problems:
        # Else they are looked at together with the registries.
        problems += planner.missing(run)
    raise_problems(problems)
    return opened


def begun_from(plan: PublishPlan, wanted: Wanted, kept: Receipt | None) -> Receipt | None:
    """Return the receipt to go on from: with `--pick-up` one of this very publication alone."""
    if wanted.pick_up and not wanted.resume:
        same = kept and (kept.version, kept.revision) == (plan.version, plan.revision)
        return kept if same else None
    if not wanted.resume:
        return None
    path = plan.archive.parent / NAME
    # One of another version says so.
    found = kept or read_receipt(path)
    if found is None:
        raise InputError(
            f"there is nothing to resume: {path} is missing", hint="publish without --resume"
        )
    return found


def kept_receipt(plan: PublishPlan, wanted: Wanted) -> Receipt | None:
    """Return the receipt of an earlier attempt at this version."""
    try:
        return find_receipt(plan.archive.parent, plan.version)
    except InputError:
        if wanted.resume or wanted.pick_up:
            raise
        return None


def _report(run: Edge, receipt: Receipt, *, as_json: bool) -> None:
    run.console.answer(to_json(receipt.as_dict()) if as_json else as_text(receipt))


def subject_of(run: Edge, project: Project, archive: Path, *, release: bool) -> Subject:
    """Return what the gates look at, and what they do it with."""
    return Subject(
        project=project,
        archive=archive,
        release=release,
        today=run.today(),
        engine=lambda: _engine(run),
        executor=run.executor,
        executor_in=lambda changes: PlumbumExecutor({**run.env, **changes}, run.start),
        console=run.console,
    )


def _surroundings(
    run: Edge, planner: Planner, plan: PublishPlan, opened: Sequence[Opened], rules: Rules
) -> Surroundings:
    project = planner.project
    subject = subject_of(run, project, plan.archive, release=not plan.rehearsal)
    repositories = {one.registry.name: one.repository for one in opened}
    return Surroundings(
        subject=subject,
        repositories=repositories,
        signer=CosignSigner(project, plan, run.executor, run.console, repositories),
        rules=rules,
        check_unchanged=planner.check_unchanged,
        files=planner.files,
        now=lambda: datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds"),
        versions=lambda: _versions(_engine(run)),
        buildkit=lambda: buildkit_versions(run.executor, project.config.buildx_builder()),
        cancel=run.close,
    )


def _versions(engine: Engine) -> dict[str, str]:
    facts = engine.facts
    return {
        "docker": facts.client,
        "buildx": facts.buildx,
        "engine": facts.server,
        "buildlib": _own_version(),
    }


@cache
def _own_version() -> str:
    """Return the version of the package that this is of; run from a checkout it is of none."""
    package = __name__.partition(".")[0]
    names = metadata.packages_distributions().get(package, ())
    return metadata.version(names[0]) if names else "a checkout"


def _engine(run: Edge) -> Engine:
    answer = connect(run)
    asked = run.ask_engine()
    if asked is None:
        raise InputError("a dry run asks no engine")
    facts = asked.get()
    raise_problems(check_engine(facts, endpoint=run.env.get("DOCKER_HOST", "")))
    return describe_engine(answer, facts)
