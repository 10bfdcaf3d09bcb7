"""The version, as a pure function of git facts, overrides and the clock.

On a clean tag it is the tag without its prefix, as GoReleaser's `{{ .Version }}`; off a tag it
is what GoReleaser makes of `{{ incpatch .Version }}-SNAPSHOT-{{ .ShortCommit }}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

from buildlib.errors import InputError
from buildlib.git.facts import GitFacts, NoGit
from buildlib.version_schemes import Naming, Parsed, Scheme

SNAPSHOT: Final = "-SNAPSHOT-"
_FIRST: Final = "0.0.1"
# The last second that a four-digit year can hold; beyond it RFC 3339 has no form.
_LAST_EPOCH: Final = 253402300799


class Version(NamedTuple):
    """The version and how it came about.

    Args:
        value: what goes into the image, `1.2.3` or `1.2.4-SNAPSHOT-abc1234`.
        describe: git's description, or empty without git.
        tag: the tag that it was made from, or empty.
        distance: commits between that tag and HEAD.
        revision: the commit, 40 hex digits, or empty.
        dirty: a tracked file differs from HEAD.
        prerelease: it sorts before the release of the same number.
        snapshot: it was not made from a clean tag.
        created: seconds since the epoch, from 1970 up to the year 9999, and `created_text` the same
            by RFC 3339.
        origin: `override`, `tag`, `snapshot` or `none`.
        warnings: what the user should know, one sentence each.
    """

    value: str
    describe: str = ""
    tag: str = ""
    distance: int = 0
    revision: str = ""
    dirty: bool = False
    prerelease: bool = False
    snapshot: bool = False
    created: int = 0
    origin: str = "none"
    warnings: tuple[str, ...] = ()

    @property
    def created_text(self) -> str:
        """Return the time as `2026-01-31T12:00:00Z`."""
        return time_text(self.created)


def time_text(seconds: int) -> str:
    """Return seconds since the epoch as `2026-01-31T12:00:00Z`."""
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _snapshot_base(tag: str, naming: Naming) -> str:
    """Return the number that a snapshot after `tag` gets, by GoReleaser's `incpatch`.

    The prerelease is dropped and the patch goes up by one, except after a prerelease, whose
    own number is still to come.
    """
    parsed = naming.parse(naming.version_of(tag))
    if parsed is None:
        return _FIRST
    major, minor, patch = parsed.numbers
    return f"{major}.{minor}.{patch if parsed.prerelease else patch + 1}"


def parse_epoch(text: str) -> int:
    """Parse SOURCE_DATE_EPOCH.

    Raises:
        InputError: not a whole number of seconds from 1970 up to the year 9999.
    """
    if not re.fullmatch(r"[0-9]{1,12}", text.strip()) or int(text) > _LAST_EPOCH:
        raise InputError(
            f"SOURCE_DATE_EPOCH is not a time: {text!r}",
            why="it is a whole number of seconds since 1970-01-01, 0 or more",
            hint="see reproducible-builds.org/specs/source-date-epoch",
        )
    return int(text)


def _overridden(override: str, naming: Naming) -> str:
    text = override.strip()
    value = text.removeprefix(naming.prefix)
    if value == text and naming.parse(text.removeprefix("v")):
        # In a monorepo someone may say v1.2.3 for cli/v1.2.3.
        value = text.removeprefix("v")
    if not value or not value.isprintable() or any(c.isspace() for c in value):
        raise InputError(
            f"not a version: {override!r}",
            hint=f"give one without blanks, such as {naming.prefix}1.2.3",
        )
    return value


def _nearest_time(seconds: int) -> int:
    """Return the time itself, or the nearest to it that can be written."""
    return min(max(seconds, 0), _LAST_EPOCH)


def unversioned(facts: GitFacts, naming: Naming) -> str:
    """Return why no tag on HEAD is its version, where it has tags that could be meant as one."""
    if naming.highest(facts.head_tags):
        return ""
    along = [tag for tag, commit in facts.moving.items() if commit == facts.revision]
    if along:
        return f"{', '.join(along)} on HEAD moves along with longer versions, and is not one itself"
    meant = [tag for tag in facts.head_tags if tag.startswith(naming.prefix)]
    if not meant:
        return ""
    return (
        f"{', '.join(meant)} on HEAD is not a version: "
        f'version-scheme is "{naming.scheme}", tag-prefix is "{naming.prefix}"'
    )


def _warnings(facts: GitFacts, tag: str, epoch: str, naming: Naming) -> Iterator[str]:
    if facts.dirty:
        yield "the tree has changes that are not committed"
    if facts.shallow and not tag:
        yield (
            "the clone is shallow, and no release tag can be seen in it: "
            "git fetch --unshallow --tags brings them"
        )
    if any(re.match(rf"{re.escape(naming.prefix)}v?[0-9]", one) for one in facts.head_tags):
        yield from filter(None, [unversioned(facts, naming)])
    if not epoch and facts.committed != _nearest_time(facts.committed):
        yield (
            "the commit has no time from 1970 up to the year 9999, so the nearest counts: "
            "SOURCE_DATE_EPOCH sets another"
        )


def _odd(value: str, naming: Naming) -> tuple[str, ...]:
    """Return a warning where a version that was given by hand has no place in the order."""
    if not value or naming.parse(value):
        return ()
    return (f'{value!r} is not a version by version-scheme = "{naming.scheme}"',)


def _from_git(facts: GitFacts, naming: Naming) -> tuple[str, str, str, bool]:
    """Return value, tag, origin and whether it is a snapshot."""
    on_head = naming.highest(facts.head_tags)
    if on_head and not facts.dirty:
        return naming.version_of(on_head), on_head, "tag", False
    tag = on_head or facts.nearest_tag
    return f"{_snapshot_base(tag, naming)}{SNAPSHOT}{facts.short}", tag, "snapshot", True


def resolve_version(
    facts: GitFacts | NoGit,
    *,
    now: int,
    prefix: str = "v",
    scheme: Scheme = Scheme.SEMVER,
    override: str = "",
    epoch: str = "",
) -> Version:
    """Return the version.

    Args:
        now: the clock, seconds since the epoch; used only where git has no time to give.
        prefix: of the tags that count, such as `v` or `cli/v`.
        scheme: by which the rest of a tag is a version.
        override: from `--version` or VERSION; wins over git.
        epoch: SOURCE_DATE_EPOCH, or empty.

    Raises:
        InputError: the override or the epoch is not usable.
    """
    naming = Naming(prefix=prefix, scheme=scheme)
    value = _overridden(override, naming) if override else ""
    if isinstance(facts, NoGit):
        warning = _odd(value, naming) if value else (f"no version from git: {facts.reason}",)
        return Version(
            value=value or f"{_FIRST}{SNAPSHOT}none",
            created=parse_epoch(epoch) if epoch else _nearest_time(now),
            origin="override" if value else "none",
            prerelease=_is_prerelease(naming.parse(value)) if value else True,
            snapshot=not value,
            warnings=warning,
        )
    from_git, tag, origin, snapshot = _from_git(facts, naming)
    return Version(
        value=value or from_git,
        describe=facts.description,
        tag=tag,
        distance=0 if tag in facts.head_tags else facts.distance,
        revision=facts.revision,
        dirty=facts.dirty,
        prerelease=(snapshot and not value) or _is_prerelease(naming.parse(value or from_git)),
        snapshot=snapshot and not value,
        created=parse_epoch(epoch) if epoch else _nearest_time(facts.committed),
        origin="override" if value else origin,
        warnings=(
            *_warnings(facts, value or tag, epoch, naming),
            *_odd(value, naming),
        ),
    )


def _is_prerelease(parsed: Parsed | None) -> bool:
    return bool(parsed and parsed.prerelease)
