"""The next release tag: which one it should be, and whether it may be made. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

import semver

from buildlib.errors import BuildlibError, InputError, did_you_mean, nearest
from buildlib.git.facts import Changes, GitFacts, NoGit
from buildlib.git.history import Lineage
from buildlib.program import PROGRAM
from buildlib.version_schemes import EXAMPLES, Naming, Scheme
from buildlib.versioning.preconditions import change_problems, no_git_problem, shallow_problem

_USUAL_BRANCHES: Final = ("main", "master")


class Increment(StrEnum):
    """Which number goes up."""

    MAJOR = "major"
    MINOR = "minor"
    PATCH = "patch"
    PRERELEASE = "prerelease"


_FIRST: Final = {
    Increment.MAJOR: "1.0.0",
    Increment.MINOR: "0.1.0",
    Increment.PATCH: "0.0.1",
    Increment.PRERELEASE: "0.0.1-rc.1",
}


def parse_step(text: str) -> Increment:
    """Return the step of that name.

    Raises:
        InputError: there is none.
    """
    if text not in set(Increment):
        raise InputError(f"unknown step {text!r}", hint=did_you_mean(text, Increment))
    return Increment(text)


def _after(version: semver.Version, step: Increment) -> semver.Version:
    # beta.1 goes on as beta.2, rc1 as rc2, and 1 as 2; a release's first candidate is rc.1.
    word = (version.prerelease or "rc").partition(".")[0]
    following = version.next_version(str(step), word.rstrip("0123456789"))
    if following > version:
        return following
    # Always a step on, whatever the library makes of it: before 3.1 it had none after `beta`.
    return version.replace(prerelease=f"{version.prerelease or 'rc'}.1")


def next_tag(step: Increment, before: Iterable[str], taken: Iterable[str], naming: Naming) -> str:
    """Return the tag that a step makes of the highest version before it.

    Args:
        step: which number goes up.
        before: tags that HEAD descends from.
        taken: every tag that there is.

    Raises:
        InputError: what is there has no such step (exit 2).
    """
    if naming.scheme in {Scheme.PEP440, Scheme.CALVER}:
        raise InputError(
            f"{step} is a step of SemVer",
            why=f'version-scheme is "{naming.scheme}"',
            hint=f"name the version: {PROGRAM} tag VERSION",
        )
    used = {naming.version_of(tag) for tag in taken}
    before = tuple(before)
    base = naming.highest(tag for tag in before if naming.parse(naming.version_of(tag)))
    if not base and naming.highest(before):
        raise InputError(
            f"can't increment {naming.highest(before)}",
            why="it is not a SemVer version",
            hint="git tag makes one by any name",
        )
    found = semver.Version.parse(naming.version_of(base) if base else _FIRST[step])
    if base:
        found = _after(found, step)
    while str(found) in used:
        found = _after(found, step)
    return f"{naming.prefix}{found}"


def tag_name(text: str, naming: Naming) -> str:
    """Return the name of the git tag for a version, with its prefix whether typed or not.

    Raises:
        InputError: it is not a version by the scheme.
    """
    text = text.strip()
    version = text.removeprefix(naming.prefix)
    # In a monorepo someone may type v1.2.3 for cli/v1.2.3.
    known = [one for one in (version, version.removeprefix("v")) if naming.names(one)]
    if not known:
        close = nearest(text, list(Increment))
        raise InputError(
            f'{text!r} is not a version by version-scheme = "{naming.scheme}"',
            hint=f"did you mean {close}?"
            if close
            else f"such as {naming.prefix}{EXAMPLES[naming.scheme]}, or {', '.join(Increment)}; "
            "for other names there is git tag",
        )
    return f"{naming.prefix}{known[0]}"


def release_branches(configured: Iterable[str], lineage: Lineage) -> tuple[str, ...]:
    """Return patterns of the branches that releases are made from.

    Those of the configuration, else the remote's default branch, else `main` and `master`.
    """
    own = (lineage.default_branch,) if lineage.default_branch else _USUAL_BRANCHES
    return tuple(configured) or own


def _branch_problems(
    git: GitFacts, lineage: Lineage, branches: tuple[str, ...], remote: str
) -> Iterator[BuildlibError]:
    names = ", ".join(branches)
    if not any(fnmatchcase(git.branch, pattern) for pattern in branches):
        yield InputError(
            f"HEAD is on {git.branch or 'no branch'}, and releases are made from {names}",
            hint='check that out, or set release-branches = ["…"]',
        )
    if remote and git.branch not in lineage.published:
        yield InputError(
            f"{remote} does not have this commit on {git.branch or 'any branch'}",
            why="a tag is pushed after what it stands for",
            hint=f"git push {remote} {git.branch}".rstrip(),
        )


def _order_problems(
    name: str, git: GitFacts, lineage: Lineage, naming: Naming
) -> Iterator[BuildlibError]:
    if git.shallow:
        yield shallow_problem()
    version = naming.version_of(name)
    own = naming.parse(version)
    same = [tag for tag in git.tags if naming.version_of(tag) == version]
    for tag in same:
        where = "HEAD" if git.tags[tag] == git.revision else git.tags[tag][:7]
        yield InputError(
            f"{tag} already exists, on {where}",
            hint=f"git push REMOTE {tag} pushes it" if where == "HEAD" else "choose another",
        )
    before = naming.highest(set(lineage.before) - set(git.moving))
    reached = naming.parse(naming.version_of(before))
    # A build of the same number does not go back.
    back = own and reached and (own.key < reached.key or (own.key == reached.key and not own.build))
    if back and not same:
        place = "on" if before in git.head_tags else "before"
        yield InputError(
            f"{name} is out of order: {before} is {place} HEAD",
            hint=f"choose a higher one; {PROGRAM} version --next patch names one",
        )
    for tag in sorted(set(lineage.after) - set(git.head_tags) - set(git.moving)):
        later = naming.parse(naming.version_of(tag))
        if own and later and later.key <= own.key and not same:
            yield InputError(
                f"{name} is out of order: {tag} is after HEAD", hint="choose a lower one"
            )


def tag_problems(
    name: str,
    git: GitFacts | NoGit,
    changes: Changes,
    lineage: Lineage,
    *,
    naming: Naming,
    branches: tuple[str, ...],
    remote: str = "",
) -> list[BuildlibError]:
    """Return what forbids to make the tag, all of it.

    Args:
        name: of the tag, with its prefix.
        changes: what `git status` lists.
        branches: patterns of the branches that releases are made from.
        remote: where the tag is to be pushed, or empty.
    """
    if isinstance(git, NoGit):
        return [no_git_problem(git)]
    return [
        *change_problems(changes),
        *_branch_problems(git, lineage, branches, remote),
        *_order_problems(name, git, lineage, naming),
    ]
