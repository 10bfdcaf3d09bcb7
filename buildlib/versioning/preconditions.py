"""What forbids to publish, or to make a release tag: as pure functions, and all of it at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final

from buildlib.errors import BuildlibError, InputError, ToolError
from buildlib.files import counted
from buildlib.git.facts import Changes, GitFacts, NoGit
from buildlib.git.hidden_changes import Hidden
from buildlib.image.reference import legal_part
from buildlib.program import PROGRAM
from buildlib.version_schemes import Naming
from buildlib.versioning.version import Version, unversioned

UNSHALLOW: Final = "git fetch --unshallow --tags, or --unshallow"
_LISTED: Final = 10
# How files of private keys are called.
_PRIVATE: Final = (".key", ".p12", ".pfx", ".pem")


class Mode(StrEnum):
    """What was asked for: a release, or by name one of the other builds."""

    RELEASE = "release"
    SNAPSHOT = "snapshot"
    EDGE = "edge"


def listing(paths: Sequence[str]) -> str:
    """Return the first paths of some, on one line."""
    # A name may hold anything: whatever would not print as itself is escaped.
    names = [path if path.isprintable() else ascii(path) for path in paths[:_LISTED]]
    more = len(paths) - _LISTED
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def change_problems(changes: Changes) -> Iterator[BuildlibError]:
    """Yield what is wrong with a tree that is to be released as it is."""
    if changes.tracked:
        yield InputError(
            "the tree has changes that are not committed",
            why=listing(changes.tracked),
            hint="commit them, or git stash",
        )
    if changes.untracked:
        private = [path for path in changes.untracked if path.endswith(_PRIVATE)]
        hint = "commit them, remove them, or ignore them in .gitignore"
        if private:
            key = f"never commit a private key: ignore {listing(private)} in .gitignore"
            hint = key if len(private) == len(changes.untracked) else f"{key}; the others: {hint}"
        yield InputError(
            "the tree has files that git does not track",
            why=listing(changes.untracked),
            hint=hint,
        )
    yield from _hidden_problems(changes.hidden)


def _hidden_problems(hidden: Hidden) -> Iterator[BuildlibError]:
    if hidden.assumed:
        yield InputError(
            "git does not look at files that are assumed unchanged",
            why=listing(hidden.assumed),
            hint="git update-index --no-assume-unchanged FILE, then commit or restore it",
        )
    if hidden.skipped:
        yield InputError(
            "git does not look at files that are skipped in the work tree",
            why=listing(hidden.skipped),
            hint="git sparse-checkout disable, or git update-index --no-skip-worktree FILE, "
            "then commit or restore it",
        )
    if hidden.replaced:
        yield InputError(
            "git replace shows other objects than the commit has",
            why=listing(hidden.replaced),
            hint="git replace --delete OBJECT, then git status shows what differs",
        )


def no_git_problem(git: NoGit) -> BuildlibError:
    """Return why nothing can be released without a repository."""
    kind = InputError if git.installed else ToolError
    return kind(f"nothing to release from: {git.reason}", hint="a release is made from a git tag")


def shallow_problem() -> InputError:
    """Return why neither an increment nor an order is known."""
    return InputError("older tags can't be seen in a shallow clone", hint=UNSHALLOW)


def _not_on_a_tag(version: Version, git: GitFacts, naming: Naming) -> InputError:
    why = "there is no release yet"
    if meant := unversioned(git, naming):
        why = meant
    elif version.tag:
        why = f"the nearest is {version.tag}, {counted(version.distance, 'commit')} back"
    elif git.shallow:
        why = f"none can be seen in a shallow clone ({UNSHALLOW})"
    return InputError(
        f"{version.value} is not a release: HEAD is not on a release tag",
        why=why,
        hint=f"make one with {PROGRAM} tag patch, or ask for --snapshot or --edge",
    )


def _tag_problems(version: Version, git: GitFacts, naming: Naming) -> Iterator[InputError]:
    """Yield where git's tags contradict what would be published."""
    image_tag = legal_part(version.value)
    for name, commit in git.tags.items():
        other = naming.version_of(name)
        if other == version.value and commit != git.revision:
            yield InputError(
                f"{version.value} already exists on another commit: {name} is on {commit[:7]}",
                hint="check that commit out, or choose another version",
            )
        elif image_tag and other not in {"", version.value} and legal_part(other) == image_tag:
            yield InputError(
                f"two versions map to the same image tag {image_tag}: {version.value} and {other}",
                hint=f"one of them needs another number; {name} names the other",
            )


def refusals(
    version: Version, git: GitFacts | NoGit, changes: Changes, *, mode: Mode, naming: Naming
) -> tuple[BuildlibError, ...]:
    """Return what forbids to publish; nothing where it may go ahead."""
    if isinstance(git, NoGit):
        return (no_git_problem(git),)
    found: list[BuildlibError] = []
    if mode is not Mode.SNAPSHOT:
        found.extend(change_problems(changes))
    if mode is not Mode.EDGE and not version.snapshot:
        found.extend(_tag_problems(version, git, naming))
    if mode is Mode.SNAPSHOT:
        released = [tag for tag in git.head_tags if naming.version_of(tag) == version.value]
        found.extend(
            InputError(f"{tag} is a release, and no snapshot", hint="leave --snapshot out")
            for tag in released
        )
    # A changed tree on a tag is refused for its changes alone.
    changed_tag = version.dirty and version.tag and not version.distance
    if mode is Mode.RELEASE and version.snapshot and not changed_tag:
        found.append(_not_on_a_tag(version, git, naming))
    return tuple(found)
