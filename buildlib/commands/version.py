"""What `version` and `tag` do beyond the plain version; apart, so that the plain one is quick."""

from __future__ import annotations

from typing import Any, Final

from buildlib.build.checkout import changes_of
from buildlib.commands.session import Edge
from buildlib.config.publish import POLICY
from buildlib.config.tables import Registry
from buildlib.errors import BuildlibError, GateError, InputError, raise_problems
from buildlib.git.facts import GitFacts, NoGit
from buildlib.git.history import (
    Lineage,
    check_remote,
    fetch_history,
    read_lineage,
    remote_has_tag,
    run_commands,
    tag_commands,
)
from buildlib.policy.check import check_labels
from buildlib.project import Project
from buildlib.publish.plan import release_build, unpinned_bases
from buildlib.publish.signing import tracked_key
from buildlib.registry.open import are_local
from buildlib.shell import shell_line
from buildlib.terminal.text import to_json
from buildlib.versioning.explain import explain
from buildlib.versioning.local_tags import local_tags
from buildlib.versioning.next_tag import (
    Increment,
    next_tag,
    release_branches,
    tag_name,
    tag_problems,
)
from buildlib.versioning.preconditions import Mode, no_git_problem, shallow_problem
from buildlib.versioning.tag_plan import TagPlan, plan_tags

_REMOTE: Final = "origin"


def mode(*, snapshot: bool, edge: bool) -> Mode:
    """Return what was asked for."""
    if snapshot:
        return Mode.SNAPSHOT
    return Mode.EDGE if edge else Mode.RELEASE


def begin(run: Edge, *, unshallow: bool) -> Project:
    """Load the project, if asked with the history that a shallow clone lacks."""
    if unshallow:
        fetch_history(run.start, remote=_REMOTE)
    return run.project()


class VersionReport:
    """A project's version and what publishing it would come to."""

    def __init__(self, project: Project, mode: Mode) -> None:
        """Read what has changed, which the version alone does not need."""
        self._project, self._mode = project, mode
        self._changes = changes_of(project)

    def plan(self, registry: Registry | None = None) -> TagPlan:
        """Return the tags of a publication, to one registry or by the project's own rules."""
        project = self._project
        return plan_tags(
            project.version,
            project.git,
            self._changes,
            rules=project.config.tag_rules(registry),
            naming=project.config.naming,
            mode=self._mode,
        )

    def as_json(self) -> str:
        """Return everything that is known."""
        version = self._project.version
        fields = version._asdict() | {"created": version.created_text}
        local = local_tags(version, self._project.config)
        registries = {
            registry.name: {"repository": registry.repository, **_as_dict(self.plan(registry))}
            for registry in self._project.config.registries
        }
        return to_json(
            {
                "version": fields.pop("value"),
                **fields,
                "tags": local,
                "local_tags": local,
                **_as_dict(self.plan()),
                "registries": registries,
            }
        )

    def as_sentences(self) -> str:
        """Return how it came about."""
        config = self._project.config
        own = [(reg.repository, self.plan(reg)) for reg in config.registries if reg.tags]
        return explain(
            self._project.version,
            self._project.git,
            self.plan(),
            local=local_tags(self._project.version, config),
            naming=config.naming,
            registries=own,
        )

    def published(self) -> tuple[str, ...]:
        """Return the tags of a publication.

        Raises:
            InputError, ToolError, ProblemsError: it may not be published (exit 2 or 3).
        """
        plan = self.plan()
        raise_problems(plan.refusals)
        return plan.tags


def _as_dict(plan: TagPlan) -> dict[str, Any]:
    return {
        "kind": plan.kind,
        "published_tags": plan.tags,
        "held_back": dict(plan.held_back),
        "mapped": dict(plan.mapped),
        "refused": [str(refusal) for refusal in plan.refusals],
    }


def _lineage(project: Project, remote: str = "") -> Lineage:
    """Return where HEAD stands; an empty one where there is no repository."""
    git = project.git
    return (
        read_lineage(git.root, remote=remote or _REMOTE) if isinstance(git, GitFacts) else Lineage()
    )


def next_tag_name(project: Project, step: Increment, lineage: Lineage | None = None) -> str:
    """Return the tag to make next.

    Raises:
        InputError: the tags before HEAD leave it open, or there is no repository (exit 2).
        ToolError: git is not installed (exit 3).
    """
    git = project.git
    if isinstance(git, NoGit):
        raise no_git_problem(git)
    if git.shallow:
        raise shallow_problem()
    before = (lineage or _lineage(project)).before
    return next_tag(step, before, git.tags, project.config.naming)


def wanted_tag(project: Project, what: str, lineage: Lineage | None = None) -> str:
    """Return the name of the tag that is asked for by name, or by which number goes up.

    Raises:
        InputError, ToolError: as `next_tag_name`; it is not a version (exit 2).
    """
    if what in set(Increment):
        return next_tag_name(project, Increment(what), lineage)
    return tag_name(what, project.config.naming)


def release_problems(
    project: Project, name: str, lineage: Lineage | None = None, *, remote: str = ""
) -> list[BuildlibError]:
    """Return what forbids to make a release tag, with what publishing it would refuse."""
    lineage = lineage or _lineage(project, remote)
    config = project.config
    problems = tag_problems(
        name,
        project.git,
        changes_of(project),
        lineage,
        naming=config.naming,
        branches=release_branches(config.release_branches, lineage),
        remote=remote,
    )
    return [*problems, *_base_problems(project)]


def make_tag(run: Edge, project: Project, what: str, *, message: str, remote: str) -> str:
    """Make the tag, or where the run is dry only print the commands; return its name.

    Args:
        what: its name, or which number goes up.
        message: of the tag; empty: its name.
        remote: where to push it, or empty.

    Raises:
        InputError, ToolError, ProblemsError: it must not be made, or git refused it.
    """
    config = project.config
    if remote and isinstance(project.git, GitFacts):
        check_remote(config.root, remote)
    lineage = _lineage(project, remote)
    name = wanted_tag(project, what, lineage)
    problems = release_problems(project, name, lineage, remote=remote)
    if remote and not problems and remote_has_tag(config.root, name, remote=remote):
        problems.append(
            InputError(f"{remote} has a tag {name} already", hint=f"git fetch --tags {remote}")
        )
    raise_problems(problems)
    _warn_of_labels(run, project)
    version = project.version
    if what in set(Increment) and version.tag and not (version.distance or version.prerelease):
        run.console.warn(f"HEAD is {version.tag} already: two releases of one commit")
    _run(run, project, tag_commands(name, message or name, remote=remote))
    if not run.dry:
        run.console.answer(name)
    return name


def _base_problems(project: Project) -> list[BuildlibError]:
    """Return what publishing would refuse about bases and key, while no tag has them yet."""
    config = project.config
    if not config.registries:
        return []
    loose = unpinned_bases(release_build(project, project.dockerfile()), config.registries)
    return [*loose, *filter(None, [tracked_key(config)])]


def _warn_of_labels(run: Edge, project: Project) -> None:
    """Warn of labels that the policy will miss in a release of the tag."""
    config = project.config
    public = config.registries and not are_local(config.registries)
    if not public or POLICY not in config.publishing().gates:
        return
    try:
        check_labels(project, run.today())
    except GateError as error:
        run.console.warn(str(error))


def _run(run: Edge, project: Project, commands: list[tuple[str, ...]]) -> None:
    for command in commands:
        if run.dry:
            run.console.answer(shell_line(command))
        else:
            run.console.command(command)
    if not run.dry:
        run_commands(project.config.root, commands)
