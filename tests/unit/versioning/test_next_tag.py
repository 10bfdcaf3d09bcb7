"""The next release tag, and whether it may be made: as tables."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import semver

from buildlib.errors import InputError, ToolError
from buildlib.git.facts import Changes, NoGit
from buildlib.git.history import Lineage
from buildlib.version_schemes import Naming, Scheme
from buildlib.versioning.next_tag import (
    Increment,
    next_tag,
    parse_step,
    release_branches,
    tag_name,
    tag_problems,
)
from buildlib.versioning.preconditions import change_problems

from fakes import REVISION, git_facts

ELSEWHERE = "f" * 40

NEXT = {
    "of a release": (["v1.2.3"], ["v2.0.0", "v1.3.0", "v1.2.4", "v1.2.4-rc.1"]),
    "of a candidate": (["v1.3.0-rc.1"], ["v2.0.0", "v1.3.0", "v1.3.0", "v1.3.0-rc.2"]),
    "of a beta": (["v2.0.8-beta.67"], ["v3.0.0", "v2.1.0", "v2.0.8", "v2.0.8-beta.68"]),
    "of a beta alone": (["v1.0.0-beta"], ["v1.0.0", "v1.0.0", "v1.0.0", "v1.0.0-beta.0"]),
    "of a major's candidate": (["v2.0.0-rc.1"], ["v2.0.0", "v2.0.0", "v2.0.0", "v2.0.0-rc.2"]),
    "of the highest": (["v1.9.0", "v1.10.0"], ["v2.0.0", "v1.11.0", "v1.10.1", "v1.10.1-rc.1"]),
    "of nothing": ([], ["v1.0.0", "v0.1.0", "v0.0.1", "v0.0.1-rc.1"]),
    "of other tags": (["nightly"], ["v1.0.0", "v0.1.0", "v0.0.1", "v0.0.1-rc.1"]),
    "of a build": (["v1.0.0+fork"], ["v2.0.0", "v1.1.0", "v1.0.1", "v1.0.1-rc.1"]),
    "without a prefix": (["1.2.3"], ["v2.0.0", "v1.3.0", "v1.2.4", "v1.2.4-rc.1"]),
    "of 0.y.z": (["v0.3.1"], ["v1.0.0", "v0.4.0", "v0.3.2", "v0.3.2-rc.1"]),
    "beside others": (["v1.0.0", "v2020-01"], ["v2.0.0", "v1.1.0", "v1.0.1", "v1.0.1-rc.1"]),
}  # fmt: skip


@pytest.mark.parametrize(("before", "expected"), NEXT.values(), ids=NEXT)
def test_next(before: list[str], expected: list[str]) -> None:
    assert [next_tag(step, before, before, Naming(prefix="v")) for step in Increment] == expected


def test_a_step_always_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def stays(self: semver.Version, _step: str, _word: str) -> semver.Version:
        return self

    monkeypatch.setattr(semver.Version, "next_version", stays)
    before = ["v1.0.0-beta"]
    assert next_tag(Increment.PRERELEASE, before, before, Naming(prefix="v")) == "v1.0.0-beta.1"


def test_what_another_branch_has_taken_is_left_out() -> None:
    taken = ["v1.2.8", "v1.2.9", "v1.2.10", "v1.3.0", "v2.0.0"]
    before = ["v1.2.8"]
    assert next_tag(Increment.PATCH, before, taken, Naming(prefix="v")) == "v1.2.11"
    assert next_tag(Increment.MINOR, before, taken, Naming(prefix="v")) == "v1.4.0"
    assert next_tag(Increment.MAJOR, before, taken, Naming(prefix="v")) == "v3.0.0"
    assert (
        next_tag(Increment.PRERELEASE, before, [*taken, "v1.2.9-rc.1"], Naming(prefix="v"))
        == "v1.2.9-rc.2"
    )


def test_the_next_tag_has_the_prefix_of_the_project() -> None:
    tags = ["cli/v1.0.0", "v7.0.0"]
    assert next_tag(Increment.PATCH, tags, tags, Naming(prefix="cli/v")) == "cli/v1.0.1"


def test_no_step_goes_on_from_what_is_no_semver() -> None:
    with pytest.raises(InputError, match="can't increment v2020-01"):
        next_tag(Increment.PATCH, ["v2020-01"], [], Naming(scheme=Scheme.ANY))
    for scheme in (Scheme.PEP440, Scheme.CALVER):
        with pytest.raises(InputError, match="patch is a step of SemVer") as caught:
            next_tag(Increment.PATCH, ["v2020.1"], [], Naming(scheme=scheme))
        assert f'version-scheme is "{scheme}"' in str(caught.value)


@pytest.mark.parametrize(
    ("text", "scheme", "name"),
    [
        ("1.2.post1", Scheme.PEP440, "v1.2.post1"),
        ("v1.2", Scheme.PEP440, "v1.2"),
        ("2026.01", Scheme.CALVER, "v2026.01"),
        ("20200110-RC2", Scheme.ANY, "v20200110-RC2"),
        ("1.2.post1", Scheme.SEMVER, ""),
        ("1.2.x", Scheme.PEP440, ""),
        ("2026", Scheme.CALVER, ""),
        ("nightly", Scheme.ANY, ""),
    ],
)
def test_a_tag_is_a_version_of_the_scheme(text: str, scheme: Scheme, name: str) -> None:
    if name:
        assert tag_name(text, Naming(scheme=scheme)) == name
        return
    with pytest.raises(InputError, match=f'version-scheme = "{scheme}"'):
        tag_name(text, Naming(scheme=scheme))


def test_steps_have_names() -> None:
    assert parse_step("patch") is Increment.PATCH
    with pytest.raises(InputError, match="unknown step"):
        parse_step("pach")


@pytest.mark.parametrize(
    ("text", "prefix", "name"),
    [
        ("v1.2.3", "v", "v1.2.3"),
        ("1.2.3", "v", "v1.2.3"),
        (" 1.2.3-rc.1 ", "v", "v1.2.3-rc.1"),
        ("v1.2.3", "cli/v", "cli/v1.2.3"),
        ("cli/v1.2.3", "cli/v", "cli/v1.2.3"),
        ("1.2.3+b", "", "1.2.3+b"),
        ("v1.2.3", "", "1.2.3"),
    ],
)
def test_a_tag_may_be_typed_without_its_prefix(text: str, prefix: str, name: str) -> None:
    assert tag_name(text, Naming(prefix=prefix)) == name


@pytest.mark.parametrize("text", ["", "v", "v1.2", "x1.2.3", "latest", "v01.2.3", "lib/v1.2.3"])
def test_a_name_that_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(InputError, match='not a version by version-scheme = "semver"'):
        tag_name(text, Naming())


def test_a_private_key_is_not_advised_to_be_added() -> None:
    (problem,) = change_problems(Changes(untracked=("cosign.key", "cosign.pub")))
    assert problem.hint.startswith("never commit a private key: ignore cosign.key in .gitignore")
    (problem,) = change_problems(Changes(untracked=("cosign.pub",)))
    assert problem.hint.startswith("commit them")


def test_release_branches_are_configured_or_the_remotes_or_the_usual_ones() -> None:
    told = Lineage(default_branch="trunk")
    assert release_branches(["release/*"], told) == ("release/*",)
    assert release_branches([], told) == ("trunk",)
    assert release_branches([], Lineage()) == ("main", "master")


CLEAN = Changes()


@dataclass(frozen=True, kw_only=True)
class Case:
    name: str = "v1.2.4"
    before: tuple[str, ...] = ("v1.2.3",)
    after: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    branch: str = "main"
    shallow: bool = False
    changes: Changes = CLEAN
    remote: str = ""
    published: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


CASES = {
    "all is well": Case(),
    "the first tag": Case(name="v0.1.0", before=()),
    "a candidate": Case(name="v2.0.0-rc.1"),
    "a release after its candidate on one commit": Case(
        name="v2.0.0", before=("v2.0.0-rc.1",), head=("v2.0.0-rc.1",)
    ),
    "a backport on its branch": Case(branch="release/1.2", elsewhere=("v2.0.0",)),
    "a build of the same number": Case(name="v1.2.3+fork.1"),
    "a branch that is no release branch": Case(
        branch="feature", problems=("on feature, and releases are made from main, release/*",)
    ),
    "no branch": Case(branch="", problems=("HEAD is on no branch",)),
    "changed files": Case(changes=Changes(tracked=("a", "b")), problems=("not committed\n  a, b",)),
    "untracked files": Case(changes=Changes(untracked=("n",)), problems=("does not track\n  n",)),
    "many files": Case(
        changes=Changes(tracked=tuple("abcdefghijkl")),
        problems=("a, b, c, d, e, f, g, h, i, j and 2 more",),
    ),
    "a file with a control character": Case(
        changes=Changes(untracked=("a\x1b[31m",)), problems=("'a\\x1b[31m'",)
    ),
    "a shallow clone": Case(shallow=True, problems=("shallow clone",)),
    "there already, here": Case(
        name="v1.2.3", head=("v1.2.3",), problems=("v1.2.3 already exists, on HEAD",)
    ),
    "there already, elsewhere": Case(
        elsewhere=("v1.2.4",), problems=("v1.2.4 already exists, on fffffff",)
    ),
    "there already, without the prefix": Case(
        elsewhere=("1.2.4",), problems=("1.2.4 already exists",)
    ),
    "lower than before": Case(name="v1.2.2", problems=("out of order: v1.2.3 is before HEAD",)),
    "lower than on HEAD": Case(
        name="v1.2.2", head=("v1.2.3",), problems=("out of order: v1.2.3 is on HEAD",)
    ),
    "a candidate after its release": Case(
        name="v1.2.3-rc.2", problems=("out of order: v1.2.3 is before HEAD",)
    ),
    "higher than after": Case(
        name="v1.3.0", after=("v1.2.9", "nightly"), problems=("out of order: v1.2.9 is after HEAD",)
    ),
    "lower than after": Case(after=("v1.3.0",)),
    "the number of a build after it": Case(
        name="v1.2.3",
        before=(),
        after=("v1.2.3+fork.1",),
        problems=("out of order: v1.2.3+fork.1 is after HEAD",),
    ),
    "to be pushed, and the commit is not": Case(
        remote="origin", published=("x",), problems=("origin does not have this commit on main",)
    ),
    "to be pushed, after the commit": Case(remote="origin", published=("main",)),
    "everything at once": Case(
        name="v1.0.0",
        branch="x",
        changes=Changes(tracked=("a",), untracked=("b",)),
        problems=("not committed", "does not track", "on x", "out of order"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_forbids_a_tag(case: Case) -> None:
    tags = {**dict.fromkeys(case.before + case.after + case.elsewhere, ELSEWHERE)}
    tags |= dict.fromkeys(case.head, REVISION)
    found = tag_problems(
        case.name,
        git_facts(tags=tags, head_tags=case.head, branch=case.branch, shallow=case.shallow),
        case.changes,
        Lineage(before=case.before, after=case.after, published=case.published),
        naming=Naming(),
        branches=("main", "release/*"),
        remote=case.remote,
    )
    assert len(found) == len(case.problems)
    for problem, part in zip(found, case.problems, strict=True):
        assert part in str(problem)
        assert problem.hint


@pytest.mark.parametrize(
    ("git", "error"),
    [
        (NoGit(reason="git is not installed", installed=False), ToolError),
        (NoGit(reason="not a git repository"), InputError),
    ],
    ids=["no git", "no repository"],
)
def test_without_a_repository_there_is_nothing_to_tag(git: NoGit, error: type) -> None:
    (problem,) = tag_problems(
        "v1.0.0", git, Changes(), Lineage(), naming=Naming(), branches=("main",)
    )
    assert isinstance(problem, error)
    assert git.reason in str(problem)
