"""Which images differ from an earlier commit: what each is built from, held against git."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from buildlib.build import preflight
from buildlib.build.context import overlap
from buildlib.build.plan import BuildPlan
from buildlib.build.planner import BuildRequest, make_build_plan
from buildlib.config.build_options import is_directory
from buildlib.config.file import find_table, own_table, parse_toml
from buildlib.config.images import own_values
from buildlib.dockerfile.parser import context_path
from buildlib.errors import InputError
from buildlib.git.command import GitCommand
from buildlib.git.facts import GitFacts, NoGit
from buildlib.project import Project
from buildlib.versioning.preconditions import no_git_problem

# Tables and keys that are not about how an image is built.
_ELSEWHERE: Final = frozenset(
    {
        *(
            "run",
            "smoke",
            "policy",
            "scan",
            "diff",
            "publish",
            "sign",
            "verify",
            "bases",
            "goreleaser",
        ),
        *("registries", "tags", "tag-prefix", "version-scheme", "release-branches", "images"),
        *("builder", "builders", "cache-from", "cache-to", "progress", "clean", "binary-target"),
    }
)
_REMOTE: Final = "refs/remotes/origin"
# Where no remote says which one is the default branch.
_BRANCHES: Final = (
    *(f"{_REMOTE}/main", f"{_REMOTE}/master"),
    *("refs/heads/main", "refs/heads/master"),
)
Table = Mapping[str, Any]


class SinceCommit(NamedTuple):
    """What an earlier commit is compared by.

    Args:
        name: of the commit, for people.
        top: of the work tree.
        paths: that differ, relative to it.
        before: the configuration of then; None: there was none.
    """

    name: str
    top: Path
    paths: tuple[str, ...]
    before: Table | None
    now: Table


def compare(project: Project, ref: str) -> SinceCommit:
    """Compare the work tree with a commit.

    Args:
        ref: the commit; empty: where HEAD left the default branch, or the last tag.

    Raises:
        InputError: there is no such commit, or no repository (exit 2).
        ToolError: git fails (exit 3).
    """
    facts = project.git
    if isinstance(facts, NoGit):
        raise no_git_problem(facts)
    git = GitCommand(facts.root)
    name, commit = (ref, _commit(git, facts, ref)) if ref else _default(git, facts)
    differing = git.must("diff", "--name-only", "--no-renames", "-z", commit, "--")
    others = git.must("ls-files", "--others", "--exclude-standard", "--full-name", "-z")
    root, file = project.config.root, project.config.file
    below = (root.resolve() / file).relative_to(facts.root.resolve()).as_posix()
    before = git.run("show", f"{commit}:{below}")
    return SinceCommit(
        name=f"{name} ({commit[:7]})" if not commit.startswith(name) else commit[:7],
        top=facts.root.resolve(),
        paths=tuple(filter(None, f"{differing}\0{others}".split("\0"))),
        before=_table(before.out, file) if before.code == 0 else None,
        now=find_table(root)[2],
    )


def _commit(git: GitCommand, facts: GitFacts, ref: str) -> str:
    found = git.ask("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if not found:
        raise InputError(
            f"there is no commit {ref!r}",
            hint="this clone is shallow: git fetch --unshallow brings older ones"
            if facts.shallow
            else "git log --oneline --all lists the commits",
        )
    return found


def _default(git: GitCommand, facts: GitFacts) -> tuple[str, str]:
    """Return the commit that HEAD is compared with, where none is named."""
    known = (git.ask("symbolic-ref", "--quiet", f"{_REMOTE}/HEAD"), *_BRANCHES)
    bases = {branch: git.ask("merge-base", "HEAD", branch) for branch in filter(None, known)}
    branch = next((name for name, base in bases.items() if base), "")
    if branch and bases[branch] != facts.revision:
        return branch.removeprefix("refs/heads/").removeprefix("refs/remotes/"), bases[branch]
    # Of what is on the default branch, all that came since the last release.
    tag = git.ask("describe", "--tags", "--abbrev=0", "HEAD^")
    if not tag:
        raise InputError(
            "there is nothing to compare with",
            why="HEAD is on the default branch, and there is no tag before it"
            if branch
            else "the default branch is not known here, and there is no tag before HEAD",
            hint="name a commit: --changed REF"
            + ("; a shallow clone may lack it: git fetch --unshallow" if facts.shallow else ""),
        )
    return tag, _commit(git, facts, f"refs/tags/{tag}")


def _table(text: str, file: str) -> Table | None:
    """Return the configuration of then; one that was invalid says nothing."""
    with suppress(InputError):
        return own_table(parse_toml(text, file), file)
    return None


class Changed:
    """Says why images differ."""

    def __init__(self, comparison: SinceCommit, request: BuildRequest) -> None:
        self._comparison, self._request = comparison, request
        self._known: dict[str, tuple[str, ...]] = {}

    def reasons(self, project: Project) -> tuple[str, ...]:
        """Return why an image differs; nothing: it does not."""
        name = project.config.name
        if name not in self._known:
            self._known[name] = tuple(self._reasons(project))
        return self._known[name]

    def _reasons(self, project: Project) -> Iterator[str]:
        yield from self._configured(project)
        plan = make_build_plan(project, self._request, project.dockerfile())
        files = [*self._files(plan)]
        if files:
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            yield f"{files[0]}{more}"
        for name, one in project.below:
            if self.reasons(one):
                yield f"the image {name}, which it is based on"

    def _configured(self, project: Project) -> Iterator[str]:
        """Yield the keys of the configuration that differ, by which an image is built."""
        before, now = self._comparison.before, self._comparison.now
        name, file = project.config.name, project.config.file
        if before is None:
            yield f"{file} is new"
            return
        known = _valued(before, name)
        if known is None:
            yield f"[images.{name}] is new"
            return
        current = _valued(now, name) or {}
        keys = [key for key in {**known, **current} if known.get(key) != current.get(key)]
        if different := [key for key in keys if key not in _ELSEWHERE]:
            yield f"{', '.join(different)} in {file}"

    def _files(self, plan: BuildPlan) -> Iterator[str]:
        top, context = self._comparison.top, plan.context
        ignore = preflight.read_ignore(plan)
        sources = [_pattern(source) for source in plan.sources]
        own = [path for path in (plan.dockerfile, plan.ignore.path) if path]
        own += [Path(source) for _, source in plan.build_contexts if is_directory(source)]
        for path in self._comparison.paths:
            file = top / path
            inside = file.relative_to(context).as_posix() if file.is_relative_to(context) else ""
            if any(file.is_relative_to(one) for one in own) or (
                inside
                and any(overlap(source, inside) for source in sources)
                and not ignore.excludes(inside, directory=False)
            ):
                yield path


def _valued(table: Table, name: str) -> Table | None:
    """Return the keys of an image, inherited ones as well; None: there is no such image."""
    if not name:
        return table
    images = table.get("images")
    if not (isinstance(images, Mapping) and isinstance(images.get(name), Mapping)):
        return None
    return {**table, **own_values(table, name)}


def _pattern(source: str) -> str:
    """Return what a source may be of the context; one with variables may be anything."""
    return "." if "$" in source else context_path(source)


def changed_images(
    projects: Iterable[Project], request: BuildRequest, ref: str
) -> tuple[str, list[tuple[str, ...]]]:
    """Return what images are compared with, and why each one differs; nothing: it does not.

    Raises:
        InputError, ToolError: as `compare`.
    """
    found = [*projects]
    comparison = compare(found[0], ref)
    changed = Changed(comparison, request)
    return comparison.name, [changed.reasons(one) for one in found]
