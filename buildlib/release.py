"""The next release tag: which one it should be, and whether it may be made. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from buildlib.errors import BuildlibError, InputError
from buildlib.lineage import Lineage
from buildlib.precedence import highest, parse_semver, version_of
from buildlib.refusals import change_problems, no_git_problem, shallow_problem
from buildlib.vcs import Changes, GitFacts, NoGit

if TYPE_CHECKING:
    import semver

_USUAL_BRANCHES: Final = ("main", "master")


class Step(StrEnum):
    """Which number goes up."""

    MAJOR = "major"
    MINOR = "minor"
    PATCH = "patch"
    PRERELEASE = "prerelease"


_FIRST: Final = {
    Step.MAJOR: "1.0.0",
    Step.MINOR: "0.1.0",
    Step.PATCH: "0.0.1",
    Step.PRERELEASE: "0.0.1-rc.1",
}


def parse_step(text: str) -> Step:
    """Return the step of that name.

    Raises:
        InputError: there is none.
    """
    if text not in set(Step):
        raise InputError(f"unknown step {text!r}", hint=f"known: {', '.join(Step)}")
    return Step(text)


def _after(version: semver.Version, step: Step) -> semver.Version:
    # beta.1 goes on as beta.2, rc1 as rc2, and 1 as 2; a release's first candidate is rc.1.
    word = (version.prerelease or "rc").partition(".")[0]
    following = version.next_version(str(step), word.rstrip("0123456789"))
    if following > version:
        return following
    # Always a step on, whatever the library makes of it: before 3.1 it had none after `beta`.
    return version.replace(prerelease=f"{version.prerelease or 'rc'}.1")


def next_tag(step: Step, before: Iterable[str], taken: Iterable[str], prefix: str) -> str:
    """Return the tag to make next.

    It goes on from the highest version that HEAD descends from, so that on a release branch the
    branch's own line goes on; what another branch has taken already is left out.

    Args:
        step: which number goes up; after `1.3.0-rc.1` a patch is `1.3.0`.
        before: tags on HEAD and before it.
        taken: all tags of the repository.
        prefix: of the tags that name versions.

    Raises:
        InputError: there are versions before HEAD, but none by SemVer.
    """
    import semver  # noqa: PLC0415 - costs start-up time, as in precedence

    used = {version_of(tag, prefix) for tag in taken}
    before = tuple(before)
    base = highest((tag for tag in before if parse_semver(version_of(tag, prefix))), prefix)
    if not base and highest(before, prefix):
        raise InputError(
            f"no step goes on from {highest(before, prefix)}",
            why="it is no version by SemVer",
            hint="git tag makes one by any name",
        )
    found = semver.Version.parse(version_of(base, prefix) if base else _FIRST[step])
    if base:
        found = _after(found, step)
    while str(found) in used:
        found = _after(found, step)
    return f"{prefix}{found}"


def tag_name(text: str, prefix: str) -> str:
    """Return the name of the git tag for a version, with its prefix whether typed or not.

    Raises:
        InputError: it is no version by SemVer.
    """
    text = text.strip()
    version = text.removeprefix(prefix)
    # In a monorepo someone may type v1.2.3 for cli/v1.2.3.
    version = version if parse_semver(version) else version.removeprefix("v")
    if not parse_semver(version):
        raise InputError(
            f"not a version by SemVer: {text!r}",
            hint=f"such as {prefix}1.2.3, or {', '.join(Step)}; for other names there is git tag",
        )
    return f"{prefix}{version}"


def release_branches(configured: Iterable[str], lineage: Lineage) -> tuple[str, ...]:
    """Return patterns of the branches that releases are made from.

    Those of the configuration, else the remote's default branch, else `main` and `master`.
    """
    own = (lineage.default_branch,) if lineage.default_branch else _USUAL_BRANCHES
    return tuple(configured) or own


def _branch_problems(
    git: GitFacts, lineage: Lineage, branches: tuple[str, ...], remote: str
) -> Iterator[BuildlibError]:
    wanted = ", ".join(branches)
    if not any(fnmatchcase(git.branch, pattern) for pattern in branches):
        yield InputError(
            f"HEAD is on {git.branch or 'no branch'}, and releases are made from {wanted}",
            hint='check that out, or set release-branches = ["…"]',
        )
    if remote and git.branch not in lineage.published:
        yield InputError(
            f"{remote} does not have this commit on {git.branch or 'any branch'}",
            why="a tag is pushed after what it stands for",
            hint=f"git push {remote} {git.branch}".rstrip(),
        )


def _order_problems(
    name: str, git: GitFacts, lineage: Lineage, prefix: str
) -> Iterator[BuildlibError]:
    if git.shallow:
        yield shallow_problem()
    version = version_of(name, prefix)
    own = parse_semver(version)
    same = [tag for tag in git.tags if version_of(tag, prefix) == version]
    for tag in same:
        where = "HEAD" if git.tags[tag] == git.revision else git.tags[tag][:7]
        yield InputError(
            f"{tag} is there already, on {where}",
            hint=f"git push REMOTE {tag} pushes it" if where == "HEAD" else "choose another",
        )
    before = highest(lineage.before, prefix)
    reached = parse_semver(version_of(before, prefix))
    # A build of the same number is no step back.
    if own and reached and not same and (own < reached or (own == reached and not own.build)):
        place = "on" if before in git.head_tags else "before"
        yield InputError(
            f"{name} is out of order: {before} is {place} HEAD",
            hint="choose a higher one; invoke version --next patch names one",
        )
    for tag in sorted(set(lineage.after) - set(git.head_tags)):
        later = parse_semver(version_of(tag, prefix))
        if own and later and later <= own and not same:
            yield InputError(
                f"{name} is out of order: {tag} is after HEAD", hint="choose a lower one"
            )


def tag_problems(
    name: str,
    git: GitFacts | NoGit,
    changes: Changes,
    lineage: Lineage,
    *,
    prefix: str,
    branches: tuple[str, ...],
    remote: str = "",
) -> list[BuildlibError]:
    """Return what forbids to make the tag, all of it.

    Args:
        name: of the tag, with its prefix.
        git: what git says.
        changes: what `git status` lists.
        lineage: where HEAD stands.
        prefix: of the tags that name versions.
        branches: patterns of the branches that releases are made from.
        remote: where the tag is to be pushed, or empty.
    """
    if isinstance(git, NoGit):
        return [no_git_problem(git)]
    return [
        *change_problems(changes),
        *_branch_problems(git, lineage, branches, remote),
        *_order_problems(name, git, lineage, prefix),
    ]
