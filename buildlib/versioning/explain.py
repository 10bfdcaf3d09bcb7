"""How version and tags came about, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from buildlib.config.tag_rules import VersionKind
from buildlib.files import counted
from buildlib.git.facts import GitFacts, NoGit
from buildlib.version_schemes import Naming
from buildlib.versioning.tag_plan import TagPlan
from buildlib.versioning.version import SNAPSHOT, Version, unversioned

_AS: dict[VersionKind, str] = {
    VersionKind.RELEASE: "Published as a release",
    VersionKind.PRERELEASE: "Published as a prerelease",
    VersionKind.OTHER: "Published as a version without an order",
    VersionKind.SNAPSHOT: "Published as a snapshot",
    VersionKind.EDGE: "Published as a build of the branch",
}


def _and(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else "".join(words)


def _origin(version: Version, git: GitFacts | NoGit, naming: Naming) -> Iterator[str]:
    yield f"The version is {version.value}."
    if version.origin == "override":
        yield "It was given, by --version or by VERSION in the environment."
    if isinstance(git, NoGit):
        yield f"git reports nothing: {git.reason}."
        return
    if version.origin == "tag":
        cut = f", which is cut to {version.value}" if version.tag != version.value else ""
        yield f"HEAD is {git.short}, and has the tag {version.tag}{cut}."
    elif version.tag in git.head_tags:
        yield f"HEAD is {git.short}, and has the tag {version.tag}, but tracked files were changed."
    elif version.tag:
        after = counted(version.distance, "commit")
        yield f"HEAD is {git.short}, {after} after the tag {version.tag}."
    else:
        where = "can be seen in this shallow clone" if git.shallow else "is reachable from it"
        yield f"HEAD is {git.short}, and no version tag {where}."
    if meant := unversioned(git, naming):
        yield f"{meant}."
    others = [tag for tag in git.head_tags if tag != version.tag and naming.version_of(tag)]
    if others and version.tag in git.head_tags:
        yield f"The highest of its tags counts; {_and(others)} does not."
    if version.snapshot:
        coming = version.value.partition(SNAPSHOT)[0]
        yield f"So it is a snapshot, on the way to {coming}."
    yield f"git describe calls it {git.description}."


def _publishing(plan: TagPlan, where: str) -> Iterator[str]:
    if plan.refusals:
        yield f"It can't be published{where}:"
    for refusal in plan.refusals:
        yield "  " + "\n    ".join(filter(None, (refusal.what, refusal.why, refusal.hint)))
    if plan.tags:
        yield f"{_AS[plan.kind]}{where} it gets {_and(plan.tags)}."
    for text, tag in plan.mapped:
        yield f"{text} is not a legal tag, so it is written {tag}."
    for tag, reason in plan.held_back:
        yield f"It does not get {tag}: {reason}."


def explain(
    version: Version,
    git: GitFacts | NoGit,
    plan: TagPlan,
    *,
    local: Sequence[str],
    naming: Naming,
    registries: Iterable[tuple[str, TagPlan]] = (),
) -> str:
    """Return one sentence a line.

    Args:
        naming: by which git tags name versions.
        registries: (repository, plan) of those that have rules of their own.
    """
    lines = [
        *_origin(version, git, naming),
        f"A local build is tagged {_and(local)}.",
        *_publishing(plan, ""),
    ]
    for repository, own in registries:
        lines += _publishing(own, f" to {repository}")
    return "\n".join(lines)
