"""The table of versions and tags, as far as the plain cases go; see docs/versions of the design."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from buildlib.config.load import load_config
from buildlib.errors import InputError
from buildlib.git.facts import Changes, GitFacts, NoGit
from buildlib.project import load_project
from buildlib.version_schemes import Scheme
from buildlib.versioning.local_tags import local_tags, mapped_tags, references
from buildlib.versioning.preconditions import Mode
from buildlib.versioning.tag_plan import plan_tags
from buildlib.versioning.version import parse_epoch, resolve_version

from fakes import REVISION, git_facts, write_project

NOW = 1_800_000_000


@dataclass(frozen=True)
class Case:
    sentence: str
    facts: GitFacts | NoGit
    version: str
    prefix: str = "v"
    override: str = ""
    scheme: Scheme = Scheme.SEMVER


def _off(tag: str, distance: int = 4) -> GitFacts:
    description = f"{tag}-{distance}-g0123456" if tag else "0123456"
    return git_facts(
        description=description, head_tags=(), nearest_tag=tag, distance=distance if tag else 0
    )


CASES = [
    Case("a clean tag gives its own number", git_facts(), "1.2.3"),
    Case(
        "a prerelease tag stays as it is", git_facts(head_tags=("v2.0.8-beta.67",)), "2.0.8-beta.67"
    ),
    Case("of two tags the higher counts", git_facts(head_tags=("v0.0.2", "v0.0.1")), "0.0.2"),
    Case("ten is higher than nine", git_facts(head_tags=("v0.9.0", "v0.10.0")), "0.10.0"),
    Case(
        "a release beats its own prerelease",
        git_facts(head_tags=("v0.0.1", "v0.0.1-rc.2")),
        "0.0.1",
    ),
    Case("build metadata stays", git_facts(head_tags=("v2.3.8+fork.1.0.1",)), "2.3.8+fork.1.0.1"),
    Case(
        "a tag that is not SemVer counts where any does",
        git_facts(head_tags=("20200110-RC2",)),
        "20200110-RC2",
        "",
        scheme=Scheme.ANY,
    ),
    Case(
        "a tag that is not SemVer does not count",
        git_facts(head_tags=("20200110-RC2",), nearest_tag=""),
        "0.0.1-SNAPSHOT-0123456",
        "",
    ),
    Case(
        "a word that begins with the prefix does not count",
        git_facts(head_tags=("verified",), nearest_tag=""),
        "0.0.1-SNAPSHOT-0123456",
    ),
    Case(
        "a post release counts by PEP 440",
        git_facts(head_tags=("v1.2.post1", "v1.2")),
        "1.2.post1",
        scheme=Scheme.PEP440,
    ),
    Case("SemVer beats what is not", git_facts(head_tags=("vnext", "v1.0.0")), "1.0.0"),
    Case(
        "a tag without the prefix does not count",
        git_facts(head_tags=("x1.0.0",)),
        "1.2.4-SNAPSHOT-0123456",
    ),
    Case(
        "a monorepo's prefix is cut",
        git_facts(head_tags=("cli/v3.0.0", "v1.0.0")),
        "3.0.0",
        "cli/v",
    ),
    Case("past a tag comes a snapshot of the next patch", _off("v1.2.3"), "1.2.4-SNAPSHOT-0123456"),
    Case(
        "past a prerelease its own number is next",
        _off("v2.0.8-beta.67", 1),
        "2.0.8-SNAPSHOT-0123456",
    ),
    Case("with no tag the first number is next", _off(""), "0.0.1-SNAPSHOT-0123456"),
    Case(
        "a changed file makes a snapshot even on a tag",
        git_facts(dirty=True, description="v1.2.3-dirty"),
        "1.2.4-SNAPSHOT-0123456",
    ),
    Case("without git there is a version all the same", NoGit(reason="x"), "0.0.1-SNAPSHOT-none"),
    Case("VERSION wins over a tag", git_facts(), "9.8.7", override="v9.8.7"),
    Case("VERSION without the prefix is taken as it is", git_facts(), "9.8.7", override="9.8.7"),
    Case(
        "VERSION in a monorepo has its prefix or only a v",
        git_facts(),
        "9.8.7",
        prefix="cli/v",
        override="v9.8.7",
    ),
    Case(
        "VERSION with the whole prefix", git_facts(), "9.8.7", prefix="cli/v", override="cli/v9.8.7"
    ),
    Case(
        "VERSION that is no SemVer keeps its v", git_facts(), "v20", prefix="cli/v", override="v20"
    ),
    Case("VERSION serves without git", NoGit(reason="x"), "9.8.7", override="v9.8.7"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_version(case: Case) -> None:
    found = resolve_version(
        case.facts, now=NOW, prefix=case.prefix, scheme=case.scheme, override=case.override
    )
    assert found.value == case.version


def test_a_release_tells_how_it_came_about() -> None:
    found = resolve_version(git_facts(), now=NOW)
    assert (found.tag, found.distance, found.revision) == ("v1.2.3", 0, REVISION)
    assert (found.snapshot, found.prerelease, found.dirty, found.origin) == (
        False,
        False,
        False,
        "tag",
    )
    assert found.created_text == "2023-11-14T22:13:20Z"


def test_a_snapshot_tells_how_far_it_is() -> None:
    found = resolve_version(_off("v1.2.3"), now=NOW)
    assert (found.tag, found.distance, found.snapshot, found.prerelease) == (
        "v1.2.3",
        4,
        True,
        True,
    )


@pytest.mark.parametrize("clock", [0, 1, NOW, 4_102_444_800, 253402300799])
def test_a_clock_far_off_matters_only_without_git(clock: int) -> None:
    assert resolve_version(git_facts(), now=clock) == resolve_version(git_facts(), now=NOW)
    found = resolve_version(NoGit(reason="x"), now=clock)
    assert (found.created, len(found.created_text)) == (clock, 20)


def test_an_override_is_a_release_of_its_own() -> None:
    found = resolve_version(_off("v1.2.3"), now=NOW, override="v2.0.0-rc.1")
    assert (found.origin, found.snapshot, found.prerelease) == ("override", False, True)


def test_a_changed_file_is_warned_of() -> None:
    assert resolve_version(git_facts(dirty=True), now=NOW).warnings


@pytest.mark.parametrize(
    ("tag", "scheme", "told"),
    [
        ("v20200110-RC2", Scheme.SEMVER, 'version-scheme is "semver", tag-prefix is "v"'),
        ("v1", Scheme.SEMVER, "v1 on HEAD is not a version"),
        ("v1.2.x", Scheme.PEP440, 'version-scheme is "pep440"'),
        ("verified", Scheme.SEMVER, ""),
        ("v1.2.3", Scheme.SEMVER, ""),
    ],
)
def test_a_tag_that_is_nearly_a_version_is_warned_of(tag: str, scheme: Scheme, told: str) -> None:
    found = resolve_version(git_facts(head_tags=(tag,)), now=NOW, scheme=scheme)
    assert [told in warning for warning in found.warnings] == ([True] if told else [])


def test_without_git_the_reason_is_a_warning_and_the_clock_gives_the_time() -> None:
    found = resolve_version(NoGit(reason="git is not installed"), now=NOW)
    assert found.warnings == ("no version from git: git is not installed",)
    assert found.created == NOW


@pytest.mark.parametrize("facts", [git_facts(), NoGit(reason="x")], ids=["git", "no git"])
@pytest.mark.parametrize(("override", "odd"), [("v9.8.7", False), ("not..a..version", True)])
def test_an_override_that_is_no_semver_is_taken_with_a_warning(
    facts: GitFacts | NoGit, override: str, *, odd: bool
) -> None:
    found = resolve_version(facts, now=NOW, override=override)
    assert any('version-scheme = "semver"' in warning for warning in found.warnings) == odd


@pytest.mark.parametrize("override", [" ", "v", "1 2", "1\n2", "\x1b[31m"])
def test_an_override_that_is_no_version_is_refused(override: str) -> None:
    with pytest.raises(InputError, match="not a version"):
        resolve_version(git_facts(), now=NOW, override=override)


@pytest.mark.parametrize("facts", [git_facts(), NoGit(reason="x")], ids=["git", "no git"])
@pytest.mark.parametrize("epoch", ["0", "1", "253402300799"])
def test_source_date_epoch_is_the_time(facts: GitFacts | NoGit, epoch: str) -> None:
    assert resolve_version(facts, now=NOW, epoch=epoch).created == int(epoch)


@pytest.mark.parametrize(
    ("committed", "text"),
    [
        pytest.param(253402300800, "9999-12-31T23:59:59Z", id="the year 10000"),
        pytest.param(10**30, "9999-12-31T23:59:59Z", id="beyond any calendar"),
        pytest.param(-1, "1970-01-01T00:00:00Z", id="before 1970"),
    ],
)
def test_a_commit_time_that_can_not_be_written_is_the_nearest_and_warned_of(
    committed: int, text: str
) -> None:
    facts = git_facts(committed=committed)
    found = resolve_version(facts, now=NOW)
    assert found.created_text == text
    assert ["the commit has no time" in warning for warning in found.warnings] == [True]
    given = resolve_version(facts, now=NOW, epoch="86400")
    assert (given.created_text, given.warnings) == ("1970-01-02T00:00:00Z", ())


@pytest.mark.parametrize("committed", [0, 253402300799])
def test_a_commit_time_that_can_be_written_is_taken_as_it_is(committed: int) -> None:
    found = resolve_version(git_facts(committed=committed), now=NOW)
    assert (found.created, found.warnings) == (committed, ())


@pytest.mark.parametrize("clock", [-1, 253402300800])
def test_a_clock_that_can_not_be_written_is_no_crash(clock: int) -> None:
    assert resolve_version(NoGit(reason="x"), now=clock).created in {0, 253402300799}


@pytest.mark.parametrize("epoch", ["-1", "soon", "1.5", "253402300800", "9" * 40, "१"])
def test_what_is_no_epoch_is_refused(epoch: str) -> None:
    with pytest.raises(InputError, match="SOURCE_DATE_EPOCH"):
        parse_epoch(epoch)


LOCAL = {
    "no rules": ("", ("2.3.8-fork.1", "latest")),
    "no suffix": ('rules = ["v{version}", "{major}"]', ("2.3.8-fork.1", "latest")),
    "of the table": ('suffix = "-slim"', ("2.3.8-fork.1-slim", "latest-slim")),
    "of every rule": (
        'rules = [{ template = "{version}", suffix = "-slim" }, { template = "{major}" }]',
        ("2.3.8-fork.1-slim", "latest-slim"),
    ),
    "in a template": (
        'rules = ["slim", "{major}.{minor}.{patch}-slim"]',
        ("2.3.8-fork.1-slim", "latest-slim"),
    ),
    "a prerelease is called otherwise": (
        'rules = [{ template = "{version}-next", on = ["prerelease"] }, "{version}-slim"]',
        ("2.3.8-fork.1-slim", "latest-slim"),
    ),
    "latest is this one": (
        'suffix = "-slim"\nrules = ["{version}", { template = "latest", suffix = "" }]',
        ("2.3.8-fork.1-slim", "latest"),
    ),
    "no version at all": (
        'suffix = "-slim"\nrules = ["stable"]',
        ("2.3.8-fork.1-slim", "latest-slim"),
    ),
}


@pytest.mark.parametrize("case", LOCAL)
def test_a_local_build_is_tagged_with_version_and_latest_as_the_rules_end_them(
    tmp_path: Path, case: str
) -> None:
    text, tags = LOCAL[case]
    write_project(tmp_path, f'image = "thing"\n[tags]\n{text}\n' if text else 'image = "thing"\n')
    config = load_config(tmp_path, {})
    found = resolve_version(git_facts(head_tags=("v2.3.8+fork.1",)), now=NOW)
    assert local_tags(found, config) == tags
    assert config.local_image == f"thing:{tags[-1]}"


@pytest.mark.parametrize(
    ("text", "tags", "last"),
    [
        ('["{version}"]', ("2.3.8-fork.1",), ""),
        ('["dev-{version}", "dev", "dev"]', ("dev-2.3.8-fork.1", "dev"), "thing:dev"),
        ('"dev, {version}"', ("dev", "2.3.8-fork.1"), "thing:dev"),
    ],
)
def test_the_tags_of_a_local_build_can_be_chosen(
    tmp_path: Path, text: str, tags: tuple[str, ...], last: str
) -> None:
    write_project(tmp_path, f'image = "thing"\nlocal-tags = {text}\n')
    config = load_config(tmp_path, {})
    found = resolve_version(git_facts(head_tags=("v2.3.8+fork.1",)), now=NOW)
    assert local_tags(found, config) == tags
    assert config.local_image == last
    # Containers and what is removed go by the name of the image, as before.
    assert config.owner == "thing"


@pytest.mark.parametrize("text", ["[]", '["{major}"]', '["a b/"]', '["-x"]', "true"])
def test_a_tag_that_no_local_build_can_have_is_refused(tmp_path: Path, text: str) -> None:
    write_project(tmp_path, f'image = "thing"\nlocal-tags = {text}\n')
    with pytest.raises(InputError, match="local-tags"):
        load_config(tmp_path, {})


def test_references_take_tags_and_whole_references_each_once() -> None:
    assert references("me/thing", ["1", "latest"], ["1", " ", "x.y/z", "x/y:2", "thing:3"]) == (
        "me/thing:1",
        "me/thing:latest",
        "x.y/z:latest",
        "x/y:2",
        "thing:3",
    )


def test_lists_in_one_option_are_taken_apart_and_never_glued() -> None:
    assert references("thing", [], ["1, 2 ,,3\n4", "x/y:5,6"]) == (
        "thing:1",
        "thing:2",
        "thing:3",
        "thing:4",
        "x/y:5",
        "thing:6",
    )


def test_an_extra_tag_is_mapped_into_the_grammar() -> None:
    texts = ["feature/x", "a+b, c d", "ok", "localhost/x:1", "me.example/y"]
    assert references("thing", [], texts) == (
        "thing:feature-x",
        "thing:a-b",
        "thing:c-d",
        "thing:ok",
        "localhost/x:1",
        "me.example/y:latest",
    )
    assert mapped_tags(texts) == (("feature/x", "feature-x"), ("a+b", "a-b"), ("c d", "c-d"))


def test_two_extra_tags_never_come_to_one_unnoticed() -> None:
    with pytest.raises(InputError, match=r"'a\+b' and 'a-b' would both be the tag a-b"):
        mapped_tags(["a+b,a-b"])
    assert mapped_tags(["a+b", "a+b"]) == (("a+b", "a-b"),)


def test_an_extra_tag_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(InputError, match=r"not a tag: '\.\.\.'"):
        references("thing", [], ["..."])


def test_references_without_any_tag_are_refused() -> None:
    with pytest.raises(InputError, match="no tag is left"):
        references("thing", [" "], [""])


def test_a_digest_is_no_tag_for_a_build() -> None:
    with pytest.raises(InputError, match="digest"):
        references("thing", [], ["thing@sha256:" + "0" * 64])


@pytest.mark.parametrize(
    ("env", "branch"),
    [
        ({"GITHUB_REF": "refs/heads/feature/x", "GITHUB_SHA": REVISION}, "feature/x"),
        ({"GITHUB_REF": "refs/tags/v1.2.3", "GITHUB_SHA": REVISION}, ""),
        ({"GITHUB_REF": "refs/pull/7/merge", "GITHUB_SHA": REVISION}, ""),
        ({"CI_COMMIT_BRANCH": "main", "CI_COMMIT_SHA": REVISION}, "main"),
        ({"BUILD_SOURCEBRANCH": "refs/heads/main", "BUILD_SOURCEVERSION": REVISION}, "main"),
        ({"BITBUCKET_BRANCH": "main", "BITBUCKET_COMMIT": REVISION}, "main"),
        ({"CIRCLE_BRANCH": "main", "CIRCLE_SHA1": REVISION}, "main"),
        ({"CI_COMMIT_BRANCH": "main", "CI_COMMIT_SHA": "f" * 40}, ""),
        ({"CI_COMMIT_BRANCH": "main"}, ""),
        ({}, ""),
    ],
)
def test_ci_names_the_branch_of_a_clone_that_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env: dict[str, str], branch: str
) -> None:
    """CI services check out a commit, not a branch."""
    write_project(tmp_path, 'image = "thing"\n[tags]\nrules = ["{branch}"]\n')
    facts = git_facts(head_tags=(), branch="")
    monkeypatch.setattr("buildlib.project.read_git_facts", lambda *_, **__: facts)
    project = load_project(tmp_path, env, now=0)
    assert isinstance(project.git, GitFacts)
    assert project.git.branch == branch
    plan = plan_tags(
        project.version, project.git, Changes(), rules=project.config.tags, mode=Mode.EDGE
    )
    if branch:
        assert plan.tags == (branch.replace("/", "-"),)
    else:
        assert "{branch}: there is no branch here" in str(plan.refusals[0])
    monkeypatch.setattr("buildlib.project.read_git_facts", lambda *_, **__: git_facts(branch="own"))
    found = load_project(tmp_path, env, now=0).git
    assert isinstance(found, GitFacts)
    assert found.branch == "own"
