"""The table of versions and tags on real repositories: script -> version, tags, reasons."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from conftest import git
from gitscript import grow, grown

from buildlib.config.tag_rules import DEFAULT_RULES, parse_rules
from buildlib.git.facts import Changes, GitFacts, read_changes, read_git_facts
from buildlib.version_schemes import Naming, Scheme
from buildlib.versioning.preconditions import Mode
from buildlib.versioning.tag_plan import TagPlan, plan_tags
from buildlib.versioning.version import Version, resolve_version

SHORT = "<short>"


@dataclass(frozen=True, kw_only=True)
class Row:
    """`tags` are those of a publication, `held` reasons by tag, `refused` parts of the messages."""

    script: str
    version: str
    tags: str = ""
    held: dict[str, str] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    prefix: str = "v"
    scheme: Scheme = Scheme.SEMVER
    override: str = ""
    mode: Mode = Mode.RELEASE
    rules: str = ""
    registry: str = ""
    clone: str = ""


HIGHER_2 = {"latest": "2.0.0 is higher"}
OFF = ("HEAD is not on a release tag",)
UNSEEN = "older tags can't be seen in a shallow clone"

# The rows that the project began with.
DOCUMENT = {
    "the highest release": Row(script="t:v1.1.1", version="1.1.1", tags="1.1.1 1.1 1 latest"),
    "a prerelease": Row(script="t:v2.0.8-beta.67", version="2.0.8-beta.67", tags="2.0.8-beta.67"),
    "0.y.z gets no bare 0": Row(
        script="t:v0.3.1",
        version="0.3.1",
        tags="0.3.1 0.3 latest",
        held={"0": "0.y releases may be incompatible with each other"},
    ),
    "two tags on one commit": Row(
        script="t:v0.0.1 t:v0.0.2", version="0.0.2", tags="0.0.2 0.0 latest"
    ),
    "a release and its own prerelease": Row(
        script="t:v0.0.1-rc.2 t:v0.0.1", version="0.0.1", tags="0.0.1 0.0 latest"
    ),
    "four commits past a tag": Row(
        script="t:v1.2.3 c4",
        version=f"1.2.4-SNAPSHOT-{SHORT}",
        refused=(*OFF, "the nearest is v1.2.3, 4 commits back"),
    ),
    "no tag": Row(
        script="", version=f"0.0.1-SNAPSHOT-{SHORT}", refused=(*OFF, "there is no release yet")
    ),
    "one commit past a prerelease": Row(
        script="t:v2.0.8-beta.67 c", version=f"2.0.8-SNAPSHOT-{SHORT}", refused=OFF
    ),
    "a changed file on a tag": Row(
        script="t:v1.2.3 edit",
        version=f"1.2.4-SNAPSHOT-{SHORT}",
        refused=("changes that are not committed\n  file\n",),
    ),
    "an untracked file on a tag": Row(
        script="t:v1.2.3 new:notes.txt",
        version="1.2.3",
        refused=("files that git does not track\n  notes.txt\n",),
    ),
    "a backport below the next minor": Row(
        script="t:v1.2.8 b:old c t:v1.2.9 co:main c t:v1.3.0 co:old",
        version="1.2.9",
        tags="1.2.9 1.2",
        held={"1": "1.3.0 is higher", "latest": "1.3.0 is higher"},
    ),
    "the last of a line below the next major": Row(
        script="b:one c t:v1.9.0 co:main c t:v2.0.0 co:one",
        version="1.9.0",
        tags="1.9.0 1.9 1",
        held=HIGHER_2,
    ),
    "only a prerelease is higher": Row(
        script="c t:v1.3.0 c t:v2.0.0-rc.1 co:v1.3.0", version="1.3.0", tags="1.3.0 1.3 1 latest"
    ),
    "build metadata": Row(
        script="t:v2.3.8+fork.1.0.1",
        version="2.3.8+fork.1.0.1",
        tags="2.3.8-fork.1.0.1",
        held=dict.fromkeys(("2.3", "2", "latest"), "build metadata moves no tag"),
    ),
    "a shallow clone on a tag": Row(
        script="t:v1.0.0 c t:v1.1.0",
        clone="1",
        version="1.1.0",
        tags="1.1.0",
        held={"1.1": UNSEEN, "1": UNSEEN, "latest": UNSEEN},
    ),
    "a shallow clone without a tag": Row(
        script="t:v1.0.0 c2",
        clone="1",
        version=f"0.0.1-SNAPSHOT-{SHORT}",
        refused=(*OFF, "none can be seen in a shallow clone", "git fetch --unshallow --tags"),
    ),
    "a tag that is not SemVer": Row(
        script="t:v20200110-RC2",
        scheme=Scheme.ANY,
        version="20200110-RC2",
        tags="20200110-RC2",
        held={"latest": '20200110-RC2 is not a version by version-scheme = "any"'},
    ),
    "an annotated tag": Row(script="a:v1.1.1", version="1.1.1", tags="1.1.1 1.1 1 latest"),
    "a detached HEAD": Row(
        script="c t:v1.1.1 c co:v1.1.1", version="1.1.1", tags="1.1.1 1.1 1 latest"
    ),
}

VERSIONS = {
    "an annotated and a lightweight tag": Row(
        script="a:v0.9.0 t:v0.10.0", version="0.10.0", tags="0.10.0 0.10 latest"
    ),
    "the v may be missing": Row(script="t:1.2.3", version="1.2.3", tags="1.2.3 1.2 1 latest"),
    "a tag with the v and one without": Row(
        script="t:v1.2.3 t:1.2.4", version="1.2.4", tags="1.2.4 1.2 1 latest"
    ),
    "no prefix at all": Row(
        script="t:1.2.3", prefix="", version="1.2.3", tags="1.2.3 1.2 1 latest"
    ),
    "without a prefix a v makes no SemVer": Row(
        script="t:v1.2.3",
        prefix="",
        version=f"0.0.1-SNAPSHOT-{SHORT}",
        refused=(
            *OFF,
            'v1.2.3 on HEAD is not a version: version-scheme is "semver", tag-prefix is ""',
        ),
    ),
    "a tag of another kind beside a version": Row(
        script="t:nightly t:v1.0.0 t:deployed", version="1.0.0", tags="1.0.0 1.0 1 latest"
    ),
    "a version beats a name that begins with v": Row(
        script="t:vnext t:v0.1.0", version="0.1.0", tags="0.1.0 0.1 latest"
    ),
    "a tag that only begins like a version": Row(
        script="t:v1.2",
        version=f"0.0.1-SNAPSHOT-{SHORT}",
        refused=(
            *OFF,
            'v1.2 on HEAD is not a version: version-scheme is "semver", tag-prefix is "v"',
        ),
    ),
    "leading zeros are no SemVer": Row(
        script="t:v01.2.3",
        version=f"0.0.1-SNAPSHOT-{SHORT}",
        refused=(
            *OFF,
            'v01.2.3 on HEAD is not a version: version-scheme is "semver", tag-prefix is "v"',
        ),
    ),
    "a calendar version": Row(
        script="t:v2024.12.0 c t:v2025.1.0", version="2025.1.0", tags="2025.1.0 2025.1 2025 latest"
    ),
    "a large number": Row(
        script="t:v1.0.99999999999", version="1.0.99999999999", tags="1.0.99999999999 1.0 1 latest"
    ),
    "a prerelease with dashes": Row(
        script="t:v1.0.0-rc-2-x", version="1.0.0-rc-2-x", tags="1.0.0-rc-2-x"
    ),
    "the higher of two prereleases": Row(
        script="t:v1.0.0-rc.2 t:v1.0.0-rc.11", version="1.0.0-rc.11", tags="1.0.0-rc.11"
    ),
    "a prerelease and a build": Row(
        script="t:v1.0.0-rc.1+b5", version="1.0.0-rc.1+b5", tags="1.0.0-rc.1-b5"
    ),
    "of equals the one without a build": Row(
        script="t:v1.0.0+b1 t:v1.0.0", version="1.0.0", tags="1.0.0 1.0 1 latest"
    ),
    "a monorepo's own prefix": Row(
        script="t:cli/v3.0.0 t:lib/v9.0.0 t:v7.0.0",
        prefix="cli/v",
        version="3.0.0",
        tags="3.0.0 3.0 3 latest",
    ),
    "another part's tag is none of ours": Row(
        script="t:cli/v3.0.0 c t:lib/v9.0.0",
        prefix="cli/v",
        version=f"3.0.1-SNAPSHOT-{SHORT}",
        refused=OFF,
    ),
    "another part is higher": Row(
        script="t:lib/v9.0.0 c t:cli/v3.0.0",
        prefix="cli/v",
        version="3.0.0",
        tags="3.0.0 3.0 3 latest",
    ),
    "a slash in a version": Row(
        script="t:v1.0.0/linux", scheme=Scheme.ANY, version="1.0.0/linux", tags="1.0.0-linux"
    ),
    "a hash sign in a version": Row(script="t:v1#2", scheme=Scheme.ANY, version="1#2", tags="1-2"),
    "letters of other scripts": Row(
        script="t:vünï",
        scheme=Scheme.ANY,
        version=f"0.0.1-SNAPSHOT-{SHORT}",
        refused=(*OFF, "vünï on HEAD is not a version"),
    ),
    "no letter of it is legal": Row(
        script="c",
        override="ü",
        version="ü",
        refused=("no tag is left for ü",),
        held={"ü": "no character of it is legal"},
    ),
    "another version without a legal letter": Row(
        script="t:vü c t:v1.0.0", version="1.0.0", tags="1.0.0 1.0 1 latest"
    ),
    "upper case stays": Row(script="t:v1.0.0-RC.1", version="1.0.0-RC.1", tags="1.0.0-RC.1"),
    "past a release and its prerelease": Row(
        script="t:v1.0.0-rc.1 t:v1.0.0 c", version=f"1.0.1-SNAPSHOT-{SHORT}", refused=OFF
    ),
    "past two releases on one commit": Row(
        script="a:v1.1.0 t:v1.2.0 c", version=f"1.2.1-SNAPSHOT-{SHORT}", refused=OFF
    ),
    "past a build": Row(script="t:v1.2.3+fork c", version=f"1.2.4-SNAPSHOT-{SHORT}", refused=OFF),
    "past a tag that is no SemVer": Row(
        script="t:v1.2.3 c t:v20200110-RC2 c2",
        version=f"1.2.4-SNAPSHOT-{SHORT}",
        refused=(*OFF, "the nearest is v1.2.3, 3 commits back"),
    ),
    "past a tag of another kind": Row(
        script="t:v1.2.3 c t:deployed c", version=f"1.2.4-SNAPSHOT-{SHORT}", refused=OFF
    ),
    "only tags of another kind": Row(
        script="t:deployed c", version=f"0.0.1-SNAPSHOT-{SHORT}", refused=OFF
    ),
    "a tag on another branch is not near": Row(
        script="b:side c t:v5.0.0 co:main c", version=f"0.0.1-SNAPSHOT-{SHORT}", refused=OFF
    ),
    "a tag that was merged is": Row(
        script="b:side c t:v5.0.0 co:main c merge:side",
        version=f"5.0.1-SNAPSHOT-{SHORT}",
        refused=OFF,
    ),
    "a staged change is a change": Row(
        script="t:v1.2.3 stage", version=f"1.2.4-SNAPSHOT-{SHORT}", refused=("  file\n",)
    ),
    "a removed file is a change": Row(
        script="t:v1.2.3 rm", version=f"1.2.4-SNAPSHOT-{SHORT}", refused=("  file\n",)
    ),
    "a change past a tag has two reasons": Row(
        script="t:v1.2.3 c edit",
        version=f"1.2.4-SNAPSHOT-{SHORT}",
        refused=("not committed", *OFF),
    ),
    "a change and a new file are told together": Row(
        script="t:v1.2.3 edit new:a new:b",
        version=f"1.2.4-SNAPSHOT-{SHORT}",
        refused=("  file\n", "  a, b\n"),
    ),
    "a change on a prerelease": Row(
        script="t:v2.0.0-rc.1 edit", version=f"2.0.0-SNAPSHOT-{SHORT}", refused=("  file\n",)
    ),
    "an ignored file is nothing": Row(
        script="t:v1.2.3 ignored:trash", version="1.2.3", tags="1.2.3 1.2 1 latest"
    ),
    "packed refs": Row(script="a:v1.2.3 t:x pack", version="1.2.3", tags="1.2.3 1.2 1 latest"),
    "a deleted tag is gone": Row(
        script="t:v1.0.0 t:v9.0.0 untag:v9.0.0", version="1.0.0", tags="1.0.0 1.0 1 latest"
    ),
    "a tag that looks like a description": Row(
        script="t:v1.0.0-4-gdeadbee", version="1.0.0-4-gdeadbee", tags="1.0.0-4-gdeadbee"
    ),
    "a tag that looks dirty": Row(
        script="t:v1-dirty", scheme=Scheme.ANY, version="1-dirty", tags="1-dirty"
    ),
}

# Services and actions move tags of their own; other projects have other schemes.
SCHEMES = {
    "a word that begins with a v": Row(
        script="t:verified",
        version=f"0.0.1-SNAPSHOT-{SHORT}",
        refused=(
            *OFF,
            'verified on HEAD is not a version: version-scheme is "semver", tag-prefix is "v"',
        ),
    ),
    "a word where there is no prefix": Row(
        script="t:nightly",
        prefix="",
        version=f"0.0.1-SNAPSHOT-{SHORT}",
        refused=(
            *OFF,
            'nightly on HEAD is not a version: version-scheme is "semver", tag-prefix is ""',
        ),
    ),
    "a word after a release": Row(
        script="t:v1.2.3 c t:vendored",
        version=f"1.2.4-SNAPSHOT-{SHORT}",
        refused=(*OFF, "vendored on HEAD is not a version"),
    ),
    "only the beginning is a version": Row(
        script="t:v1.2.3 c t:v1.2.4.5 t:v1.3.0_x t:v1.4.0/a",
        version=f"1.2.4-SNAPSHOT-{SHORT}",
        refused=(*OFF, "v1.2.4.5, v1.3.0_x, v1.4.0/a on HEAD is not a version"),
    ),
    "tags that move along with a release": Row(
        script="t:v1.2.3 t:v1 t:v1.2", version="1.2.3", tags="1.2.3 1.2 1 latest"
    ),
    "tags that moved along with a release before": Row(
        script="t:v1.2.3 c t:v1 t:v1.2 c t:v1.2.4", version="1.2.4", tags="1.2.4 1.2 1 latest"
    ),
    "a tag that moves is not a release": Row(
        script="t:v1.2.3 c t:v1",
        version=f"1.2.4-SNAPSHOT-{SHORT}",
        refused=(*OFF, "v1 on HEAD is not a version"),
    ),
    "past a tag that moves": Row(
        script="t:v1.2.3 c t:v1 c",
        version=f"1.2.4-SNAPSHOT-{SHORT}",
        refused=(*OFF, "the nearest is v1.2.3, 2 commits back"),
    ),
    **{
        f"{what} by {scheme}": replace(row, scheme=scheme)
        for scheme in (Scheme.PEP440, Scheme.ANY)
        for what, row in {
            "tags that move along": Row(
                script="t:v1.2.3 t:v1 t:v1.2", version="1.2.3", tags="1.2.3 1.2 1 latest"
            ),
            "tags that moved along before": Row(
                script="t:v1.2.3 c t:v1 t:v1.2 c t:v1.2.4",
                version="1.2.4",
                tags="1.2.4 1.2 1 latest",
            ),
            "a tag that moved between releases": Row(
                script="t:v1.2.3 c t:v1",
                version=f"1.2.4-SNAPSHOT-{SHORT}",
                refused=(*OFF, "v1 on HEAD moves along with longer versions"),
            ),
            "past tags that moved": Row(
                script="t:v1.2.3 c t:v1 t:v1.2 c",
                version=f"1.2.4-SNAPSHOT-{SHORT}",
                refused=(*OFF, "the nearest is v1.2.3, 2 commits back"),
            ),
            "a word that begins with a v": Row(
                script="t:verified",
                version=f"0.0.1-SNAPSHOT-{SHORT}",
                refused=(*OFF, "verified on HEAD is not a version"),
            ),
        }.items()
    },
    "a post release": Row(
        script="t:v1.2.post1",
        scheme=Scheme.PEP440,
        version="1.2.post1",
        tags="1.2.post1 1.2 1 latest",
    ),
    "a post release beside what it follows": Row(
        script="t:v1.2 c t:v1.2.post1",
        scheme=Scheme.PEP440,
        version="1.2.post1",
        tags="1.2.post1 1 latest",
        held={"1.2": "a git tag names a version of just that name"},
    ),
    "a beta without a dash": Row(
        script="t:v1.1beta2", scheme=Scheme.PEP440, version="1.1beta2", tags="1.1beta2"
    ),
    "a candidate is below its release": Row(
        script="c t:v2.0rc1 t:v2.0.0 t:v2.0.dev3",
        scheme=Scheme.PEP440,
        version="2.0.0",
        tags="2.0.0 2.0 2 latest",
    ),
    "a local version": Row(
        script="t:v1.2.3+ubuntu",
        scheme=Scheme.PEP440,
        version="1.2.3+ubuntu",
        tags="1.2.3-ubuntu",
        held={"latest": "build metadata moves no tag"},
    ),
    "a local version that would read as a release": Row(
        script="t:v1.2.3+1",
        scheme=Scheme.PEP440,
        version="1.2.3+1",
        refused=("such a tag reads as 1.2.3-1, and this is 1.2.3+1",),
    ),
    "an epoch is of no line without one": Row(
        script="t:v1!2.0",
        scheme=Scheme.PEP440,
        version="1!2.0",
        tags="1-2.0 latest",
        held={
            "{major}.{minor}": "there is no major, no minor here",
            "{major}": "there is no major here",
        },
    ),
    "a version without an epoch beside one with it": Row(
        script="t:v1!2.5 c t:v2.1",
        scheme=Scheme.PEP440,
        version="2.1",
        tags="2.1 2",
        held={"latest": "1!2.5 is higher"},
    ),
    "an epoch in the registry": Row(
        script="t:v3.0",
        scheme=Scheme.PEP440,
        registry="1-2.0",
        version="3.0",
        tags="3.0 3",
        held={"latest": "1!2.0 is higher (in the registry)"},
    ),
    "past a post release": Row(
        script="t:v1.2.post1 c",
        scheme=Scheme.PEP440,
        version=f"1.2.1-SNAPSHOT-{SHORT}",
        refused=OFF,
    ),
    "a backport by PEP 440": Row(
        script="t:v1.2 c t:v1.10 co:v1.2 c t:v1.2.1",
        scheme=Scheme.PEP440,
        version="1.2.1",
        tags="1.2.1",
        held={"latest": "1.10 is higher", "1": "1.10 is higher"},
    ),
    "what PEP 440 does not know": Row(
        script="t:v1.2.x",
        scheme=Scheme.PEP440,
        version=f"0.0.1-SNAPSHOT-{SHORT}",
        refused=(*OFF, 'version-scheme is "pep440"'),
    ),
    "year and month": Row(
        script="t:v2024.10 c t:v2024.2 co:v2024.2",
        scheme=Scheme.CALVER,
        version="2024.2",
        tags="2024.2",
        held={"latest": "2024.10 is higher"},
    ),
    "year, month with a zero, and a number": Row(
        script="t:v2024.01.3",
        scheme=Scheme.CALVER,
        version="2024.01.3",
        tags="2024.01.3 2024.01 2024 latest",
    ),
    "a short year": Row(
        script="t:24.04.1", scheme=Scheme.CALVER, version="24.04.1", tags="24.04.1 24.04 24 latest"
    ),
    "a date": Row(
        script="t:20240131", scheme=Scheme.CALVER, version="20240131", tags="20240131 latest"
    ),
    "a candidate of a month": Row(
        script="t:v2024.2-rc1", scheme=Scheme.CALVER, version="2024.2-rc1", tags="2024.2-rc1"
    ),
    "a year alone moves": Row(
        script="t:v2024.2 t:v2024",
        scheme=Scheme.CALVER,
        version="2024.2",
        tags="2024.2 2024 latest",
    ),
    "the registry is higher by CalVer": Row(
        script="t:v2024.9",
        scheme=Scheme.CALVER,
        registry="2024.10 latest build-2099.1",
        version="2024.9",
        tags="2024.9",
        held={"latest": "2024.10 is higher (in the registry)"},
    ),
}

TAGS = {
    "the newest patch of an old line": Row(
        script="t:v1.2.3 c t:v1.3.0 c t:v2.0.0 co:v1.3.0 c t:v1.3.1",
        version="1.3.1",
        tags="1.3.1 1.3 1",
        held=HIGHER_2,
    ),
    "an old release again": Row(
        script="t:v1.2.3 c t:v1.2.4 co:v1.2.3",
        version="1.2.3",
        tags="1.2.3",
        held=dict.fromkeys(("1.2", "1", "latest"), "1.2.4 is higher"),
    ),
    "ten is higher than nine": Row(
        script="t:v1.10.0 c t:v1.9.0",
        version="1.9.0",
        tags="1.9.0 1.9",
        held=dict.fromkeys(("1", "latest"), "1.10.0 is higher"),
    ),
    "a higher tag on another branch counts": Row(
        script="b:next c t:v2.0.0 co:main c t:v1.0.0",
        version="1.0.0",
        tags="1.0.0 1.0 1",
        held=HIGHER_2,
    ),
    "a higher prerelease of the own line does not": Row(
        script="t:v1.2.3 c t:v1.2.4-rc.1 co:v1.2.3", version="1.2.3", tags="1.2.3 1.2 1 latest"
    ),
    "a higher build does not": Row(
        script="t:v1.2.3 c t:v1.2.4+fork co:v1.2.3", version="1.2.3", tags="1.2.3 1.2 1 latest"
    ),
    "0.3 below 0.4": Row(
        script="t:v0.4.0 c t:v0.3.2",
        version="0.3.2",
        tags="0.3.2 0.3",
        held={"0": "0.y releases may be incompatible with each other", "latest": "0.4.0 is higher"},
    ),
    "a prerelease is told why it is not latest": Row(
        script="t:v2.0.0-rc.1",
        version="2.0.0-rc.1",
        tags="2.0.0-rc.1",
        held=dict.fromkeys(("2.0", "2", "latest"), "2.0.0-rc.1 is a prerelease"),
    ),
    "a version of its own keeps its tag": Row(
        script="t:v1.2 c t:v1.2.3",
        scheme=Scheme.ANY,
        version="1.2.3",
        tags="1.2.3 1 latest",
        held={"1.2": "a git tag names a version of just that name"},
    ),
    "a higher release in the registry": Row(
        script="t:v1.2.3",
        registry="1.2.9 1.2 latest 2.0.0 2.0.0-rc.1 sha-abc1234",
        version="1.2.3",
        tags="1.2.3",
        held={
            "1.2": "1.2.9 is higher (in the registry)",
            "1": "1.2.9 is higher (in the registry)",
            "latest": "2.0.0 is higher (in the registry)",
        },
    ),
    "a prerelease in the registry": Row(
        script="t:v1.2.3",
        registry="2.0.0-rc.1 1.2.4-SNAPSHOT-abc1234 9-x",
        version="1.2.3",
        tags="1.2.3 1.2 1 latest",
    ),
    "the same version in the registry": Row(
        script="t:v1.2.3", registry="1.2.3 latest", version="1.2.3", tags="1.2.3 1.2 1 latest"
    ),
    "two versions that come to one tag": Row(
        script="t:v1.0.0+a c t:v1.0.0-a",
        version="1.0.0-a",
        refused=("two versions map to the same image tag 1.0.0-a: 1.0.0-a and 1.0.0+a",),
    ),
    "one version on two commits": Row(
        script="t:1.0.0 c t:v1.0.0",
        version="1.0.0",
        refused=("1.0.0 already exists on another commit: 1.0.0 is on",),
    ),
    "one version twice on one commit": Row(
        script="t:1.0.0 t:v1.0.0", version="1.0.0", tags="1.0.0 1.0 1 latest"
    ),
    "a git tag called latest": Row(
        script="t:latest",
        prefix="",
        version=f"0.0.1-SNAPSHOT-{SHORT}",
        refused=(
            *OFF,
            'latest on HEAD is not a version: version-scheme is "semver", tag-prefix is ""',
        ),
    ),
    "an override": Row(
        script="t:v1.2.3 c", override="v9.8.7", version="9.8.7", tags="9.8.7 9.8 9 latest"
    ),
    "an override without the prefix": Row(
        script="c", override="9.8.7-rc.1", version="9.8.7-rc.1", tags="9.8.7-rc.1"
    ),
    "an override below what git has": Row(
        script="t:v2.0.0 c", override="v1.0.0", version="1.0.0", tags="1.0.0 1.0 1", held=HIGHER_2
    ),
    "an override that is another commit": Row(
        script="t:v1.2.3 c",
        override="v1.2.3",
        version="1.2.3",
        refused=("1.2.3 already exists on another commit: v1.2.3 is on",),
    ),
    "an override on changed files": Row(
        script="edit", override="v1.0.0", version="1.0.0", refused=("  file\n",)
    ),
    "a snapshot by name": Row(
        script="t:v1.2.3 c",
        mode=Mode.SNAPSHOT,
        version=f"1.2.4-SNAPSHOT-{SHORT}",
        tags=f"1.2.4-SNAPSHOT-{SHORT}",
    ),
    "a changed snapshot by name": Row(
        script="t:v1.2.3 edit new:x",
        mode=Mode.SNAPSHOT,
        version=f"1.2.4-SNAPSHOT-{SHORT}",
        tags=f"1.2.4-SNAPSHOT-{SHORT}",
    ),
    "a release is no snapshot": Row(
        script="t:v1.2.3",
        mode=Mode.SNAPSHOT,
        version="1.2.3",
        refused=("v1.2.3 is a release, and no snapshot",),
    ),
    "a snapshot of a given number": Row(
        script="c",
        mode=Mode.SNAPSHOT,
        override="2.0.0-nightly.5",
        version="2.0.0-nightly.5",
        tags="2.0.0-nightly.5",
    ),
    "an edge build": Row(
        script="t:v1.2.3 c",
        mode=Mode.EDGE,
        version=f"1.2.4-SNAPSHOT-{SHORT}",
        tags=f"edge sha-{SHORT}",
    ),
    "an edge build of a release": Row(
        script="t:v1.2.3", mode=Mode.EDGE, version="1.2.3", tags=f"edge sha-{SHORT}"
    ),
    "an edge build of changed files": Row(
        script="t:v1.2.3 c edit",
        mode=Mode.EDGE,
        version=f"1.2.4-SNAPSHOT-{SHORT}",
        refused=("  file\n",),
    ),
    "an edge build with an untracked file": Row(
        script="new:x", mode=Mode.EDGE, version=f"0.0.1-SNAPSHOT-{SHORT}", refused=("  x\n",)
    ),
    "an edge build of a shallow clone": Row(
        script="c2",
        clone="1",
        mode=Mode.EDGE,
        version=f"0.0.1-SNAPSHOT-{SHORT}",
        tags=f"edge sha-{SHORT}",
    ),
    "a shallow clone that reaches a tag": Row(
        script="t:v1.0.0 c2", clone="3", version=f"1.0.1-SNAPSHOT-{SHORT}", refused=OFF
    ),
    "a shallow clone on a prerelease": Row(
        script="c t:v1.0.0-rc.1", clone="1", version="1.0.0-rc.1", tags="1.0.0-rc.1"
    ),
}

HIGHER_REGISTRY = "2.0.0 is higher (in the registry)"
RULES = {
    "a v before the version": Row(
        script="t:v1.2.3",
        rules='rules = ["v{version}", "v{major}.{minor}", "v{major}", "latest"]',
        registry="v1.0.0 v1.1.0 v2.0.0 v2 latest",
        version="1.2.3",
        tags="v1.2.3 v1.2 v1",
        held={"latest": HIGHER_REGISTRY},
    ),
    "words around the version": Row(
        script="t:v1.2.3",
        rules='suffix = "-slim"\nrules = ["release-{version}", "line-{major}", "latest"]',
        registry="release-2.0.0-slim release-9.0.0 3.0.0-slim",
        version="1.2.3",
        tags="release-1.2.3-slim line-1-slim",
        held={"latest-slim": HIGHER_REGISTRY},
    ),
    "the version in three numbers": Row(
        script="t:v1.2.3",
        rules='rules = ["r{major}_{minor}_{patch}", "latest"]',
        registry="r2_0_0 r1.9.9",
        version="1.2.3",
        tags="r1_2_3",
        held={"latest": HIGHER_REGISTRY},
    ),
    "the version and the commit": Row(
        script="t:v1.2.3",
        rules='rules = [{ template = "{version}-{short}", on = ["release"] }, "latest"]',
        registry="2.0.0-abc1234",
        version="1.2.3",
        tags=f"1.2.3-{SHORT}",
        held={"latest": HIGHER_REGISTRY},
    ),
    "three numbers do not tell a build": Row(
        script="t:v1.2.3+fork",
        rules='rules = ["{major}.{minor}.{patch}", "{version}"]',
        version="1.2.3+fork",
        tags="1.2.3-fork",
        held={"1.2.3": "such a tag reads as 1.2.3, and this is 1.2.3+fork"},
    ),
    "three numbers do not tell a post release": Row(
        script="t:v1.2.3.post1",
        scheme=Scheme.PEP440,
        rules='rules = ["{major}.{minor}.{patch}", "{version}"]',
        version="1.2.3.post1",
        tags="1.2.3.post1",
        held={"1.2.3": "such a tag reads as 1.2.3, and this is 1.2.3.post1"},
    ),
    "a flavour": Row(
        script="t:v1.2.3",
        rules='suffix = "-alpine"',
        version="1.2.3",
        tags="1.2.3-alpine 1.2-alpine 1-alpine latest-alpine",
    ),
    "a flavour with a latest of its own": Row(
        script="t:v1.2.3",
        rules='suffix = "-alpine"\nrules = ["{version}", { template = "latest", suffix = "" }]',
        version="1.2.3",
        tags="1.2.3-alpine latest",
    ),
    "a flavour looks at its own in the registry": Row(
        script="t:v1.2.3",
        rules='suffix = "-alpine"',
        registry="1.3.0-alpine 2.0.0",
        version="1.2.3",
        tags="1.2.3-alpine 1.2-alpine",
        held=dict.fromkeys(
            ("1-alpine", "latest-alpine"), "1.3.0 is higher (in the registry)"
        ),
    ),
    "a word moves like latest": Row(
        script="b:x c t:v2.0.0 co:main t:v1.0.0",
        rules='rules = ["{version}", "stable"]',
        version="1.0.0",
        tags="1.0.0",
        held={"stable": "2.0.0 is higher"},
    ),
    "a word that always moves": Row(
        script="b:x c t:v2.0.0 co:main t:v1.0.0",
        rules='rules = [{ template = "newest", on = ["release"], highest = "minor" }]',
        version="1.0.0",
        tags="newest",
    ),
    "a tag for prereleases": Row(
        script="t:v2.0.0-rc.1",
        rules='rules = ["{version}", { template = "next", on = ["prerelease"], highest = "all" }]',
        version="2.0.0-rc.1",
        tags="2.0.0-rc.1 next",
    ),
    "a tag for prereleases stays behind a later one": Row(
        script="c t:v2.0.0-rc.2 co:main b:x t:v2.0.0-rc.1 co:v2.0.0-rc.1",
        rules='rules = ["{version}", { template = "next", on = ["prerelease"], highest = "all" }]',
        version="2.0.0-rc.2",
        tags="2.0.0-rc.2 next",
    ),
    "a tag for prereleases stays behind the release": Row(
        script="t:v2.0.0-rc.1 c t:v2.0.0 co:v2.0.0-rc.1",
        rules='rules = ["{version}", { template = "next", on = ["prerelease"], highest = "all" }]',
        version="2.0.0-rc.1",
        tags="2.0.0-rc.1",
        held={"next": "2.0.0 is higher"},
    ),
    "numbers and a prerelease": Row(
        script="t:v2.0.0-rc.1",
        rules='rules = ["{major}.{minor}.{patch}-{prerelease}"]',
        version="2.0.0-rc.1",
        tags="2.0.0-rc.1",
    ),
    "a branch": Row(
        script="b:feature/Foo_bar c",
        rules='rules = ["{branch}"]',
        mode=Mode.EDGE,
        version=f"0.0.1-SNAPSHOT-{SHORT}",
        tags="feature-Foo_bar",
    ),
    "a branch without one": Row(
        script="c co:HEAD~0",
        rules='rules = ["{branch}", "sha-{short}"]',
        mode=Mode.EDGE,
        version=f"0.0.1-SNAPSHOT-{SHORT}",
        tags=f"sha-{SHORT}",
        held={"{branch}": "there is no branch here"},
    ),
    "no tag is left": Row(
        script="c co:HEAD~0",
        rules='rules = ["{branch}"]',
        mode=Mode.EDGE,
        version=f"0.0.1-SNAPSHOT-{SHORT}",
        refused=("no tag is left",),
    ),
    "only on some branches": Row(
        script="b:feature c",
        rules='rules = ["sha-{short}", { template = "edge", branches = ["main", "release/*"] }]',
        mode=Mode.EDGE,
        version=f"0.0.1-SNAPSHOT-{SHORT}",
        tags=f"sha-{SHORT}",
        held={"edge": "only on main, release/*, and this is feature"},
    ),
    "on one of those branches": Row(
        script="b:release/1 c",
        rules='rules = [{ template = "edge", branches = ["main", "release/*"] }]',
        mode=Mode.EDGE,
        version=f"0.0.1-SNAPSHOT-{SHORT}",
        tags="edge",
    ),
    "a long branch is cut with a hash": Row(
        script="b:" + "x" * 140,
        rules='rules = ["{branch}"]',
        mode=Mode.EDGE,
        version=f"0.0.1-SNAPSHOT-{SHORT}",
        tags="x" * 115 + "-f5e19a4ccf0b",
    ),
}  # fmt: skip

TABLE = {**DOCUMENT, **VERSIONS, **SCHEMES, **TAGS, **RULES}


def _outcome(root: Path, row: Row) -> tuple[GitFacts, Version, TagPlan]:
    facts = read_git_facts(root, tag_prefix=row.prefix, scheme=row.scheme)
    assert isinstance(facts, GitFacts)
    version = resolve_version(
        facts, now=0, prefix=row.prefix, scheme=row.scheme, override=row.override
    )
    rules = parse_rules(tomllib.loads(row.rules)) if row.rules else DEFAULT_RULES
    plan = plan_tags(
        version,
        facts,
        read_changes(root),
        rules=rules,
        naming=Naming(prefix=row.prefix, scheme=row.scheme),
        mode=row.mode,
        in_registry=row.registry.split(),
    )
    return facts, version, plan


def _check(root: Path, row: Row) -> None:
    facts, version, plan = _outcome(root, row)
    assert version.value == row.version.replace(SHORT, facts.short)
    assert list(plan.tags) == row.tags.replace(SHORT, facts.short).split()
    held = dict(plan.held_back)
    assert {tag: held.get(tag, "")[: len(reason)] for tag, reason in row.held.items()} == row.held
    messages = [str(refusal) for refusal in plan.refusals]
    assert [part for part in row.refused if not any(part in text for text in messages)] == []
    assert [text for text in messages if not any(part in text for part in row.refused)] == []


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_table(row: Row, tmp_path: Path) -> None:
    root = grown(row.script)
    if row.clone:
        git(tmp_path, "clone", "--quiet", f"--depth={row.clone}", f"file://{root}", "clone")
        root = tmp_path / "clone"
    _check(root, row)


def test_the_table_is_as_long_as_was_wanted() -> None:
    assert len(TABLE) - len(DOCUMENT) >= 60


@pytest.mark.unmeasured
@pytest.mark.parametrize("name", list(DOCUMENT)[:14])
def test_a_worktree_gives_the_same(name: str, tmp_path: Path) -> None:
    row = DOCUMENT[name]
    clean = " ".join(word for word in row.script.split() if word not in {"edit", "new:notes.txt"})
    root = grow(tmp_path / "repo", clean)
    git(root, "worktree", "add", "--quiet", "--detach", str(tmp_path / "side"))
    for word in set(row.script.split()) & {"edit", "new:notes.txt"}:
        name = "file" if word == "edit" else "notes.txt"
        (tmp_path / "side" / name).write_text("changed", encoding="utf-8")
    _check(tmp_path / "side", row)


def test_a_submodule_has_versions_of_its_own(tmp_path: Path) -> None:
    inner = grow(tmp_path / "inner", "t:v5.0.0")
    outer = grow(tmp_path / "outer", "t:v1.0.0")
    git(outer, "submodule", "--quiet", "add", str(inner), "sub")
    _check(outer / "sub", Row(script="", version="5.0.0", tags="5.0.0 5.0 5 latest"))
    facts, version, plan = _outcome(outer, DOCUMENT["no tag"])
    assert version.value == f"1.0.1-SNAPSHOT-{facts.short}"
    assert ".gitmodules, sub" in str(plan.refusals[0])


def test_nothing_is_written_where_there_is_nothing_to_read() -> None:
    assert read_changes(grown("c")) == Changes()


def test_a_renamed_file_is_told_by_its_new_name(tmp_path: Path) -> None:
    root = grow(tmp_path / "repo", "c")
    (root / "odd\tname").write_text("x", encoding="utf-8")
    git(root, "mv", "file", "other file")
    assert read_changes(root) == Changes(tracked=("other file",), untracked=("odd\tname",))
