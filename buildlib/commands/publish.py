"""`docker-publish`: what a publication needs, from the options to the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final, NamedTuple

from buildlib.build.checkout import changes_of, from_commit, is_of_commit
from buildlib.build.context import DIST
from buildlib.build.included_files import INCLUDE
from buildlib.build.preflight import check_engine
from buildlib.commands.connect import connect
from buildlib.commands.contents import contents_of
from buildlib.commands.outputs import write_outputs
from buildlib.commands.session import Edge
from buildlib.commands.version import mode
from buildlib.config.publish import SIGN
from buildlib.containers.runner import Engine, describe_engine
from buildlib.docker.engine import EngineFacts, buildkit_versions
from buildlib.errors import (
    AuthorisationError,
    BuildlibError,
    CancelledError,
    EngineError,
    FailureError,
    GateError,
    InputError,
    collected,
    raise_problems,
)
from buildlib.executor import PlumbumExecutor
from buildlib.git.facts import Changes, GitFacts, hash_changes, read_revision
from buildlib.image.archive import open_archive
from buildlib.program import PROGRAM
from buildlib.project import Project
from buildlib.publish.below import with_archives
from buildlib.publish.dry_run import as_dict, as_script
from buildlib.publish.gates import GateSubject, missing_tools
from buildlib.publish.last_release import pulled_release
from buildlib.publish.plan import (
    UNSIGNED,
    PublishPlan,
    Skip,
    Target,
    left_out,
    make_publish_plan,
    parse_skips,
    plan_target,
)
from buildlib.publish.publisher import TASK, PublishContext, PublishFlow
from buildlib.publish.receipt import FAILED, NAME, Receipt, find_receipt, read_receipt, skipped_in
from buildlib.publish.report import as_text
from buildlib.publish.signing import ReleaseSigner, check_signer, signing_problems
from buildlib.publish.tagger import TagPolicy
from buildlib.records.report.markdown import publication, write_summary
from buildlib.records.store import open_store
from buildlib.registry.claim import Claim, ClaimTerms, Intent
from buildlib.registry.open import Opened, are_local, asking, chosen_registries, open_registries
from buildlib.retry import Patience
from buildlib.shell import repeated, shell_line
from buildlib.sign.signer import find_cosign
from buildlib.terminal.text import to_json
from buildlib.versioning.preconditions import Mode
from buildlib.versioning.tag_plan import rightful_tag

# A dry run asks registries for details that it can do without.
_ONCE = Patience(attempts=1, timeout=10.0)


class PublishOptions(NamedTuple):
    """The options of `docker-publish`."""

    registries: tuple[str, ...] = ()
    skips: tuple[str, ...] = ()
    reason: str = ""
    resume: bool = False
    pick_up: bool = False
    snapshot: bool = False
    edge: bool = False
    discard_claims: tuple[str, ...] = ()
    as_json: bool = False


NO_OPTIONS: Final = PublishOptions()


class PublishPlanner:
    """Makes the plan, before and after the registries are asked for their tags."""

    def __init__(self, run: Edge, options: PublishOptions, *, by_version: bool = False) -> None:
        """Read everything but the registries.

        Args:
            by_version: a version that is not a release is a snapshot, without the option for it.

        Raises:
            InputError: the request is not usable (exit 2).
        """
        if options.snapshot and options.edge:
            raise InputError("--snapshot and --edge exclude each other", hint="give one of them")
        self._mode = mode(snapshot=options.snapshot, edge=options.edge)
        self._skips = parse_skips(options.skips, options.reason)
        self.project: Project = run.project()
        if by_version and self.project.version.snapshot:
            self._mode = Mode.SNAPSHOT
        # With the files of the commit, after `take_commit`.
        self._planned = self.project
        # The registries that do not list their tags.
        self._unlisted: set[str] = set()
        self.registries = chosen_registries(self.project.config, options.registries)
        if options.resume or options.pick_up:
            self._skips += self._skipped_before()
        self._changes = changes_of(self.project)
        # Once: the image is built from the files that are there now.
        self._uncommitted = self._hashed(self._changes)
        self._dockerfile = self.project.dockerfile()

    def _skipped_before(self) -> tuple[Skip, ...]:
        """Return what the attempt that is resumed has skipped, and why, but for what is given.

        What a test release has skipped does not count where an image becomes public.
        """
        version, config = self.project.version, self.project.config
        kept = find_receipt(config.root / config.folder(DIST), version.value)
        if kept is None or kept.revision != version.revision:
            return ()
        if kept.rehearsal and not are_local(self.registries):
            return ()
        given = {skip.gate for skip in self._skips}
        return tuple(skip for skip in skipped_in(kept) if skip.gate not in given)

    def take_commit(self) -> None:
        """Plan with the files of the commit from now on, unless others are published.

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
        with from_commit(self.project) as committed:
            project = with_archives(committed)
            if project.checkout and project.checkout.included != planned.included:
                raise InputError(
                    f"files that {INCLUDE} names have changed meanwhile",
                    hint="do not change them while docker-publish runs, and publish again",
                )
            yield project

    def _hashed(self, changes: Changes) -> str:
        git = self.project.git
        if not isinstance(git, GitFacts):
            return ""
        config = self.project.config
        # What a publication writes itself does not count.
        written = (DIST, config.record_settings().directory)
        folders = [(config.root / name).resolve() for name in written if name]
        return hash_changes(git.root, changes, folders)

    def check_unchanged(self) -> None:
        """Raise InputError (exit 2) if the files differ from those that the plan was made of.

        A build reads the files while it runs, which may be minutes later.
        """
        git = self.project.git
        if not isinstance(git, GitFacts):
            return
        same = self._hashed(changes_of(self.project)) == self._uncommitted
        if not (same and read_revision(git.root) == git.revision):
            raise InputError(
                "the files changed while the image was built",
                why=f"the image is not {self.project.version.value}, as its label says",
                hint="do not change them while docker-publish builds, and publish again",
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
        release = not are_local(self.registries)
        found = missing_tools(gates, gate_subject(run, self.project, Path(), release=release))
        with collected(found):
            _engine(run)
        if SIGN not in skipped:
            with collected(found):
                check_signer(config, gates, run.executor)
        return found

    def tag_policy(
        self, run: Edge, opened: Sequence[Opened], terms: ClaimTerms | None
    ) -> TagPolicy:
        """Return how tags are decided at the moment when they are written."""
        repositories = {one.registry.name: one.repository for one in opened}
        project, mode, changes = self.project, self._mode, self._changes
        version, config = project.version.value, project.config

        def claim(target: Target, intent: Intent, known: tuple[str, ...]) -> Claim:
            return Claim(
                repositories[target.name],
                intent,
                terms=terms or ClaimTerms(),
                known=known,
                note=run.console.note,
                # The claims of others are found in the list of tags.
                enabled=target.registry.claim and target.name not in self._unlisted,
            )

        return TagPolicy(
            target=lambda registry, held: plan_target(project, changes, registry, mode, held),
            rightful=lambda registry, tag, held: rightful_tag(
                tag, version, config.tag_rules(registry), held, config.naming
            ),
            claim=claim,
        )


def _tags_held(run: Edge, opened: Sequence[Opened]) -> dict[str, tuple[str, ...] | None]:
    """Return the tags of each registry, None with a warning if it does not list them.

    Some accounts may push and pull, and not list tags: only tags that move need the list.

    Raises:
        BuildlibError: a required registry does not answer, or can't be written to either.
    """
    found: dict[str, tuple[str, ...] | None] = {}
    problems: list[BuildlibError] = []
    for one in opened:
        failed: list[BuildlibError] = []
        with collected(failed), run.console.running(asking([one])):
            found[one.registry.name] = _tags(run, one)
        if one.registry.required and not run.dry:
            problems += failed
        elif failed:
            run.console.warn(f"{one.registry.name} does not list its tags: {failed[0].what}")
    raise_problems(problems)
    return found


def _tags(run: Edge, one: Opened) -> tuple[str, ...] | None:
    try:
        return one.repository.tags()
    except (AuthorisationError, EngineError) as error:
        if not run.dry:
            # That an account may not push is more important.
            one.repository.check_writable()
        why = f": {error.why.splitlines()[0]}" if error.why else ""
        run.console.warn(
            f"{one.registry.name} does not list its tags ({error.what}{why}): tags that move are "
            "not moved there, and publishers are not kept apart, as with claim = false: let one "
            "publish at a time"
        )
        return None


def publish(
    run: Edge,
    options: PublishOptions,
    *,
    patience: Patience | None = None,
    terms: ClaimTerms | None = None,
    reached: Callable[[str], None] = lambda _: None,
    show: Callable[[Receipt], None] | None = None,
) -> None:
    """Publish, and report how far it came.

    Args:
        patience: with the registries; None: the default.
        terms: how long claims last; None: the default.
        reached: is called after each step that is kept in the receipt, with its name.
        show: reports how far it came; None: it is printed.

    Raises:
        BuildlibError: as its exit code says.
    """
    planner = PublishPlanner(run, options)
    patience = _ONCE if run.dry else patience
    opened = _preconditions(run, planner, patience)
    plan = planner.plan(_tags_held(run, opened))
    if run.dry:
        _print_plan(run, planner.project, plan, as_json=options.as_json)
        return
    kept = kept_receipt(plan, options)
    project = planner.project
    repositories = {one.registry.name: one.repository for one in opened}
    context = PublishContext(
        subject=gate_subject(
            *(run, project, plan.archive), release=not plan.rehearsal, opened=opened
        ),
        repositories=repositories,
        signer=ReleaseSigner(project, plan, run.executor, run.console, repositories),
        tag_policy=planner.tag_policy(run, opened, terms),
        check_unchanged=planner.check_unchanged,
        files=planner.files,
        now=lambda: datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds"),
        versions=lambda: _versions(_engine(run).facts),
        buildkit=lambda: buildkit_versions(run.executor, project.config.buildx_builder()),
        cancel=run.close,
        discarded=options.discard_claims,
        reached=reached,
    )
    flow = PublishFlow(plan, context, begun_from(plan, options, kept), kept)
    try:
        flow.run()
    except BuildlibError as error:
        if show is None:
            add_next_steps(error, plan, flow.receipt if flow.begun else None)
        raise
    finally:
        receipt = flow.receipt
        if flow.begun and not receipt.finished:
            hint = f"{PROGRAM} {TASK} --resume finishes it"
            run.farewell = run.console.describe(CancelledError("interrupted", hint=hint))
        if show and flow.begun:
            show(receipt)
        elif options.as_json:
            run.console.answer(to_json(receipt.as_dict()))
        elif flow.begun:
            run.console.report(as_text(receipt))
        if flow.begun:
            _keep(run, project, receipt, plan.archive)
    if show is None:
        _hand_on(run, project.config.name, receipt)


def _hand_on(run: Edge, image: str, receipt: Receipt) -> None:
    """Write what later steps of a workflow get."""
    tags = [f"{one.repository}:{tag}" for one in receipt.targets.values() for tag in one.given]
    version, digest = receipt.version, receipt.digest
    write_outputs(run.env, image=image, version=version, digest=digest, tags=tags)


def add_next_steps(error: BuildlibError, plan: PublishPlan, receipt: Receipt | None) -> None:
    """Let the last error of a release that its gates refused say how to go on.

    Args:
        error: why it failed.
        plan: of the publication.
        receipt: how far it came; None: it was refused before the build.
    """
    problems = error.problems
    refused = receipt is None or any(record.state == FAILED for record in receipt.gates)
    if not (plan.mode is Mode.RELEASE and refused and isinstance(problems[-1], GateError)):
        return
    # A gate that the configuration leaves out needs no option.
    skipped = [skip for skip in plan.skipped if skip.reason != UNSIGNED]
    skips = repeated("--skip-gate", (skip.gate for skip in skipped))
    reason = ["--reason", skipped[0].reason] if skipped else []
    follows = (
        f"nothing was published: commit what fixes it, then {PROGRAM} tag patch --push, and "
        f"{shell_line([PROGRAM, TASK, *skips, *reason])}"
    )
    problems[-1].hint = "\n".join(filter(None, (problems[-1].hint, follows)))


def _keep(run: Edge, project: Project, receipt: Receipt, archive: Path) -> None:
    """Add a publication to the record of its build; nothing that fails here fails it."""
    try:
        _add_to_record(run, project, receipt, archive)
    except Exception as error:  # noqa: BLE001 - the publication is what counts
        why = error.what if isinstance(error, BuildlibError) else str(error)
        run.console.note(f"no record or summary has the outcome of this publication: {why}")


def _add_to_record(run: Edge, project: Project, receipt: Receipt, archive: Path) -> None:
    store = open_store(project.config, run.env)
    records = store.usable() if store else ()
    same = (one for one in records if (one.task, one.version) == (TASK, receipt.version))
    record = next((one for one in same if one.image == project.config.image), None)
    if store and record:
        found = receipt.as_dict()
        gates, targets = found["gates"], found["targets"]
        changed = replace(
            record,
            gates=tuple({"gate": one["gate"], "state": one["state"]} for one in gates),
            registries=tuple({"registry": name, **one} for name, one in targets.items()),
        )
        with suppress(FailureError), open_archive(archive) as image:
            if image.top() == record.digest:
                changed = contents_of(changed, project.config, image, store.key())
        store.write(changed)
        write_summary(run.env, lambda: publication(changed))


def _print_plan(run: Edge, project: Project, plan: PublishPlan, *, as_json: bool) -> None:
    """Print the steps, and warn of programs and files that they need and that are not here."""
    root = project.config.root
    if plan.signs:
        raise_problems(signing_problems(project.config, plan.gates))
    run.console.answer(to_json(as_dict(plan, root)) if as_json else as_script(plan, root))
    subject = gate_subject(run, project, plan.archive, release=not plan.rehearsal)
    missing = missing_tools(plan.gates, subject)
    if plan.signs:
        with collected(missing):
            find_cosign(run.executor)
    for problem in missing:
        run.console.warn(f"{problem.what}\n  {problem.hint}".strip())


def _preconditions(
    run: Edge, planner: PublishPlanner, patience: Patience | None
) -> tuple[Opened, ...]:
    """Return the registries, before the first request to one.

    Raises:
        BuildlibError: the preconditions that are not met, all at once.
    """
    problems: list[BuildlibError] = []
    opened: tuple[Opened, ...] = ()
    with collected(problems):
        planner.plan({})
        planner.take_commit()
    with collected(problems):
        opened = open_registries(
            *(planner.registries, run.env, run.executor, patience),
            spare_optional=True,
            dry=run.dry,
        )
    if problems:
        # Otherwise the tools are checked together with the registries.
        problems += planner.missing(run)
    raise_problems(problems)
    return opened


def begun_from(plan: PublishPlan, options: PublishOptions, kept: Receipt | None) -> Receipt | None:
    """Return the receipt to resume; with `--pick-up` only one of the same version and commit."""
    if options.pick_up and not options.resume:
        same = kept and (kept.version, kept.revision) == (plan.version, plan.revision)
        return kept if same else None
    if not options.resume:
        return None
    path = plan.archive.parent / NAME
    # A receipt of another version is rejected later, by its version.
    found = kept or read_receipt(path)
    if found is None:
        raise InputError(
            f"there is nothing to resume: {path} is missing", hint="publish without --resume"
        )
    return found


def kept_receipt(plan: PublishPlan, options: PublishOptions) -> Receipt | None:
    """Return the receipt of an earlier attempt at this version."""
    try:
        return find_receipt(plan.archive.parent, plan.version)
    except InputError:
        if options.resume or options.pick_up:
            raise
        return None


def gate_subject(
    run: Edge,
    project: Project,
    archive: Path,
    *,
    release: bool,
    opened: Sequence[Opened] = (),
) -> GateSubject:
    """Return what the gates check, and the tools for it; `opened` have the last release."""
    return GateSubject(
        project=project,
        archive=archive,
        release=release,
        today=run.today(),
        engine=lambda: _engine(run),
        executor=run.executor,
        executor_in=lambda changes: PlumbumExecutor({**run.env, **changes}, run.start),
        console=run.console,
        last_release=lambda: pulled_release(opened, project.config, project.version.value),
    )


def _versions(facts: EngineFacts) -> dict[str, str]:
    package = __name__.partition(".")[0]
    names = metadata.packages_distributions().get(package, ())
    return {
        "docker": facts.client,
        "buildx": facts.buildx,
        "engine": facts.server,
        # A checkout that is not installed has no version.
        "buildlib": metadata.version(names[0]) if names else "a checkout",
    }


def _engine(run: Edge) -> Engine:
    answer = connect(run)
    asked = run.ask_engine()
    if asked is None:
        raise InputError("a dry run does not ask the engine")
    facts = asked.get()
    raise_problems(check_engine(facts, endpoint=run.env.get("DOCKER_HOST", "")))
    return describe_engine(answer, facts)
