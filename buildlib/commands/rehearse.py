"""What `docker-rehearse` does: a whole release of a copy of HEAD, of which nothing stays."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

from buildlib.build.checkout import changes_of
from buildlib.build.included_files import included_files
from buildlib.commands.publish import PublishOptions, gate_subject, publish
from buildlib.commands.session import Chosen, Edge
from buildlib.commands.version import release_problems, wanted_tag
from buildlib.config.config import Config
from buildlib.config.publish import POLICY, SIGN
from buildlib.config.records import Records
from buildlib.config.signing import Sign, Verify
from buildlib.config.tables import Registry
from buildlib.containers.health import smoke_surroundings
from buildlib.errors import (
    BuildlibError,
    GateError,
    InputError,
    ToolError,
    collected,
    exit_code_of,
    raise_problems,
)
from buildlib.executor import PlumbumExecutor
from buildlib.git.clone import add_untracked, clone_commands, clone_commit
from buildlib.git.command import Ahead
from buildlib.git.facts import Changes, GitFacts, NoGit
from buildlib.image.labels import OCI
from buildlib.policy.check import check_labels
from buildlib.program import PROGRAM
from buildlib.project import Project
from buildlib.publish.gates import late_findings, missing_tools
from buildlib.publish.plan import (
    Skip,
    left_out,
    make_publish_plan,
    parse_skips,
    plan_target,
)
from buildlib.publish.receipt import Receipt
from buildlib.publish.report import as_text
from buildlib.publish.signing import signing_problems
from buildlib.registry.local import NAMES, Program, find_program, local_registry
from buildlib.registry.open import are_local, chosen_registries
from buildlib.shell import shell_line
from buildlib.sign.cosign import reason
from buildlib.sign.signer import find_cosign
from buildlib.tempfiles import passing_folder
from buildlib.terminal.console import Console
from buildlib.terminal.text import table, to_json
from buildlib.versioning.next_tag import Increment
from buildlib.versioning.preconditions import Mode, change_problems, no_git_problem
from buildlib.versioning.version import resolve_version

_KIND: Final = "release"
_REASON: Final = "skipped in this test release"
_KEY: Final = "cosign.key"
_PUBLIC: Final = "cosign.pub"
_PAIR: Final = ("cosign", "generate-key-pair")
_TIMEOUT: Final = 60.0
_REGISTRIES: Final = ("first", "second")


class TestReleaseOptions(NamedTuple):
    """The task's options; `tag` is as for `invoke tag`, and only for a commit without one."""

    tag: str = ""
    skips: tuple[str, ...] = ()
    build_args: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    as_json: bool = False


class Today(NamedTuple):
    """What a release of HEAD would be now, with the real configuration.

    Args:
        tag: git tag that has to be made for it; empty: HEAD has one.
        tags: of the image, by the registry's name.
    """

    version: str
    tag: str
    tags: Mapping[str, Sequence[str]]
    refused: tuple[str, ...]

    def with_late(self, receipt: Receipt) -> Today:
        """Return it with what the policy found that only a real release refuses."""
        late = [one for record in receipt.gates for one in late_findings(record)]
        known = "\n".join(self.refused)
        found = [
            f"{one['rule']}: {one['message']}"
            for one in late
            if not one["path"] or one["path"].removeprefix(f"{OCI}.") not in known
        ]
        return self._replace(refused=(*self.refused, *found))

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return self._asdict() | {"tags": {name: list(tags) for name, tags in self.tags.items()}}

    def as_text(self) -> str:
        """Return it for a terminal."""
        rows = [("version", self.version)]
        if self.tag:
            rows.append(("git tag", f"{self.tag} has to be made: {PROGRAM} tag {self.tag}"))
        rows += [(name, " ".join(tags)) for name, tags in self.tags.items()]
        for text in self.refused:
            first, *others = text.splitlines()
            rows += [("refused", first), *[("", line) for line in others]]
        asks = f"{PROGRAM} doctor --for publish asks the registries, and opens the key"
        return f"A real release of this commit, now:\n{table(rows)}\n{asks}"


class Copy(Edge):
    """The copy that is released.

    Args:
        change: returns the configuration that counts instead of the committed one.
    """

    def __init__(
        self, run: Edge, start: Path, env: Mapping[str, str], change: Callable[[Config], Config]
    ) -> None:
        super().__init__(start, env, dry=False, quiet=False, chosen=Chosen(image=run.image))
        self._run, self._change = run, change

    @cached_property
    def console(self) -> Console:
        """Return the printer of the task."""
        return self._run.console

    def config(self) -> Config:
        """Load the configuration."""
        return self._change(super().config())

    def project(
        self,
        overrides: Mapping[str, object] | None = None,
        *,
        version: str = "",
        ahead: Ahead | None = None,
    ) -> Project:
        """Load the project."""
        project = super().project(overrides, version=version, ahead=ahead)
        return replace(project, config=self._change(project.config))


def rehearse(run: Edge, options: TestReleaseOptions) -> None:
    """Release a copy of HEAD to two registries of this machine, and print what came of it.

    Raises:
        BuildlibError: as `publish`; a program is missing (exit 3).
    """
    project = run.project()
    git = project.git
    if isinstance(git, NoGit):
        raise no_git_problem(git)
    skips = parse_skips(options.skips, _REASON if options.skips else "")
    tag = _tag(project, git, options.tag)
    today = release_today(project, git, tag, run.today())
    if run.dry:
        _show_plan(run, git, today, as_json=options.as_json)
        return
    program = _programs(run, project, skips)
    with passing_folder(_KIND) as folder:
        receipt = _release(run, options, _Test(project, git, tag, program, folder))
    if not are_local(project.config.registries):
        today = today.with_late(receipt)
    if options.as_json:
        run.console.answer(to_json({"receipt": receipt.as_dict(), "today": today.as_dict()}))
    else:
        run.console.report(f"\n{today.as_text()}")


class _Test(NamedTuple):
    """A test release: of what, under which tag, to what, and where all of it is for its time."""

    project: Project
    git: GitFacts
    tag: str
    program: Program
    folder: Path


def _release(run: Edge, options: TestReleaseOptions, test: _Test) -> Receipt:
    git, config = test.git, test.project.config
    run.console.note(f"copying {git.short}, and starting two registries on this machine")
    repository = test.folder / "copy"
    start = repository / config.root.resolve().relative_to(git.root.resolve())
    clone_commit(git, repository, test.tag)
    if config.file and not (start / config.file).is_file():
        raise InputError(f"the commit has no {config.file}", hint="commit it")
    add_untracked(git.root, repository, untracked(test.project, git))
    receipts: list[Receipt] = []

    def show(receipt: Receipt) -> None:
        receipts.append(receipt)
        if not options.as_json:
            run.console.report(as_text(receipt))

    env = {name: value for name, value in run.env.items() if name != "VERSION"}
    env["COSIGN_PASSWORD"] = secrets.token_hex()
    chosen = PublishOptions(skips=options.skips, reason=_REASON if options.skips else "")
    with ExitStack() as stack:
        executor = PlumbumExecutor(env, test.folder)
        stack.callback(executor.close)
        if config.publishing().sign and SIGN not in options.skips:
            _make_keys(executor)
        hosts = [
            stack.enter_context(local_registry(executor, test.program, env, test.folder / name))
            for name in _REGISTRIES
        ]
        copy = Copy(run, start, env, lambda found: elsewhere(found, hosts, test.folder))
        copy.take(options.build_args, options.secrets)
        stack.callback(copy.close)
        try:
            publish(copy, chosen, show=show)
        except BuildlibError as error:
            if exit_code_of(error) == GateError.exit_code:
                again = f"{PROGRAM} docker-smoke and {PROGRAM} docker-policy check your files"
                run.console.note(f"the copy and its images are removed; {again}")
            raise
    return receipts[-1]


def _make_keys(executor: PlumbumExecutor) -> None:
    done = executor.run(_PAIR, timeout=_TIMEOUT)
    if done.code != 0:
        raise ToolError("cosign makes no key pair", why=reason(done.stderr))


def elsewhere(config: Config, hosts: Sequence[str], keys: Path) -> Config:
    """Return a configuration with these registries, and that key pair."""
    return replace(
        config,
        registries=tuple(_registries(config, hosts)),
        # A record would outlive the copy that it is about.
        records=Records(enabled=False),
        sign=Sign(key=str(keys / _KEY)),
        verify=Verify(
            key=str(keys / _PUBLIC),
            attestations=config.verification().attestations,
            manifests=config.verification().manifests,
        ),
    )


def _registries(config: Config, hosts: Sequence[str]) -> Iterator[Registry]:
    """Yield the configured registries, at least two, each with its rules and another host."""
    configured = list(config.registries) or [
        Registry(name=_REGISTRIES[0], repository=config.short_name)
    ]
    if len(configured) < len(hosts):
        name = next(name for name in reversed(_REGISTRIES) if name != configured[0].name)
        configured.append(replace(configured[0], name=name))
    for number, registry in enumerate(configured):
        path = registry.full_name.partition("/")[2]
        # There are two hosts: from the third on, two registries share one, under different paths.
        below = path if number < len(hosts) else f"{number + 1}/{path}"
        host = hosts[number % len(hosts)]
        yield replace(registry, repository=f"{host}/{below}", username_env="", password_env="")


def untracked(project: Project, git: GitFacts) -> Iterator[str]:
    """Yield what a release reads beside the commit, relative to the top of the work tree."""
    given = smoke_surroundings(project.config)
    paths = [project.context / path for path in included_files(project)]
    paths += [*given.env_files, *(Path(mount.source) for mount in given.mounts if mount.source)]
    top = git.root.resolve()
    for path in paths:
        # The directory without links, and what lies in it as it is.
        place = path.parent.resolve() / path.name
        if place.is_relative_to(top):
            yield place.relative_to(top).as_posix()


def _programs(run: Edge, project: Project, skips: Sequence[Skip]) -> Program:
    """Return the registry program; raises all that is missing, for the gates as well."""
    config = project.config
    left = {skip.gate for skip in left_out(config, skips)}
    gates = [gate for gate in config.publishing().gates if gate not in left]
    problems = missing_tools(gates, gate_subject(run, project, Path(), release=False))
    if SIGN not in left:
        with collected(problems):
            find_cosign(run.executor)
    found: list[Program] = []
    with collected(problems):
        found.append(find_program(run.executor, run.env))
    raise_problems(problems)
    return found[0]


# -- what a real release would be


def _tag(project: Project, git: GitFacts, text: str) -> str:
    """Return the tag that the copy needs to be a release; empty: it has one."""
    if not text and project.version.tag in git.head_tags:
        return ""
    return wanted_tag(project, text or Increment.MINOR)


def release_today(project: Project, git: GitFacts, tag: str, today: date) -> Today:
    """Return what a release of HEAD would be with the real configuration; no registry is asked.

    Args:
        project: on its work tree.
        tag: that would be made for it; empty: HEAD has one.
        today: in UTC, for what the policy ignores until a day.
    """
    tagged, config = _tagged(project, git, tag), project.config
    problems = release_problems(project, tag) if tag else [*change_problems(changes_of(project))]
    tags: dict[str, tuple[str, ...]] = {}
    publishing = config.publishing()
    try:
        registries, dockerfile = chosen_registries(config, ()), tagged.dockerfile()
        for one in registries:
            tags[one.name] = plan_target(tagged, Changes(), one, Mode.RELEASE, ()).tags
        make_publish_plan(
            *(tagged, dockerfile, Changes(), registries), mode=Mode.RELEASE, in_registry={}
        )
    except BuildlibError as error:
        problems += error.problems
    if POLICY in publishing.gates and not are_local(config.registries):
        with collected(problems):
            check_labels(tagged, today)
    if publishing.sign:
        problems += signing_problems(config, publishing.gates)
    return Today(
        version=tagged.version.value,
        tag=tag,
        tags=tags,
        # plan_target and make_publish_plan find the same problems.
        refused=tuple(dict.fromkeys(str(problem) for problem in problems)),
    )


def _tagged(project: Project, git: GitFacts, tag: str) -> Project:
    """Return the project as it would be with a tag on HEAD, and nothing changed."""
    tags = {**git.tags, tag: git.revision} if tag else git.tags
    there = (*git.head_tags, tag) if tag else git.head_tags
    facts = git._replace(tags=tags, head_tags=there, description=tag, distance=0, dirty=False)
    config = project.config
    version = resolve_version(facts, now=0, prefix=config.tag_prefix, scheme=config.version_scheme)
    return replace(project, git=facts, version=version)


# -- the dry run


def _show_plan(run: Edge, git: GitFacts, today: Today, *, as_json: bool) -> None:
    steps = list(_steps(git, today))
    if as_json:
        made = [{"step": what, "commands": lines} for what, lines in steps]
        run.console.answer(to_json({"steps": made, "today": today.as_dict()}))
        return
    for number, (what, lines) in enumerate(steps, 1):
        run.console.answer("\n".join([f"# {number}. {what}", *lines]))
    run.console.report(f"\n{today.as_text()}")


def _steps(git: GitFacts, today: Today) -> Iterator[tuple[str, list[str]]]:
    copying = clone_commands(git, "COPY", today.tag)
    yield "copy HEAD into a temporary directory", [shell_line(("git", *one)) for one in copying]
    yield "make a key pair for this release alone", [shell_line(_PAIR)]
    serve = shell_line((NAMES[0], "serve", "config.yml"))
    yield "start two registries on 127.0.0.1", [serve, serve]
    yield "release the copy there, signed by that key", [f"{PROGRAM} docker-publish"]
    yield "end the registries, and remove the copy, the key and what was published", []
