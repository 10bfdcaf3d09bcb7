"""Facts read from real throw-away repositories with real git."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from conftest import git
from gitscript import begin, new_repository

from buildlib.commands.publish import PublishOptions, PublishPlanner
from buildlib.commands.session import Edge
from buildlib.errors import InputError, ToolError
from buildlib.git.command import GitCommand, ask_ahead
from buildlib.git.facts import (
    Changes,
    GitFacts,
    NoGit,
    TagRefs,
    hash_changes,
    read_changes,
    read_git_facts,
)
from buildlib.git.history import read_lineage

from fakes import a_project, write_project


def _repository(root: Path, *, commits: int = 1) -> Path:
    if commits == 0:
        begin(root)
        return root
    new_repository(root)
    for number in range(1, commits):
        (root / "file").write_text(str(number), encoding="utf-8")
        git(root, "commit", "--quiet", "--all", "--message", f"commit {number}")
    return root


def _facts(root: Path, prefix: str = "v") -> GitFacts:
    facts = read_git_facts(root, tag_prefix=prefix)
    assert isinstance(facts, GitFacts)
    assert facts.description == git(root, "describe", "--tags", "--always", "--dirty")
    return facts


def test_a_commit_without_a_tag(tmp_path: Path) -> None:
    root = _repository(tmp_path)
    facts = _facts(root)
    assert facts.revision == git(root, "rev-parse", "HEAD")
    assert facts.short == git(root, "rev-parse", "--short", "HEAD")
    assert facts.committed == 1704164645
    assert (facts.nearest_tag, facts.distance, facts.dirty, facts.branch) == ("", 0, False, "main")
    assert facts.root == tmp_path


@pytest.mark.parametrize("annotate", [True, False], ids=["annotated", "lightweight"])
def test_tags_of_both_kinds_are_seen(tmp_path: Path, *, annotate: bool) -> None:
    root = _repository(tmp_path)
    for tag in ("v1.0.0", "other"):
        git(root, "tag", *(["--message", "x"] if annotate else []), tag)
    facts = _facts(root)
    assert set(facts.head_tags) == {"v1.0.0", "other"}
    assert (facts.nearest_tag, facts.distance) == ("", 0)


def test_the_nearest_tag_may_have_dashes(tmp_path: Path) -> None:
    root = _repository(tmp_path)
    git(root, "tag", "v1.0.0-rc-2-x")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "more")
    facts = _facts(root)
    assert (facts.nearest_tag, facts.distance, facts.head_tags) == ("v1.0.0-rc-2-x", 1, ())


def test_only_tags_with_the_prefix_are_near(tmp_path: Path) -> None:
    root = _repository(tmp_path)
    git(root, "tag", "cli/v2.0.0")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "more")
    git(root, "tag", "v1.0.0")
    facts = _facts(root, "cli/v")
    assert (facts.nearest_tag, facts.distance) == ("cli/v2.0.0", 1)


def test_a_changed_file_is_dirty_and_an_untracked_one_is_not(tmp_path: Path) -> None:
    root = _repository(tmp_path)
    (root / "new").write_text("x", encoding="utf-8")
    assert not _facts(root).dirty
    (root / "file").write_text("changed", encoding="utf-8")
    assert _facts(root).dirty


def test_a_tag_called_dirty_is_not_dirt(tmp_path: Path) -> None:
    root = _repository(tmp_path)
    git(root, "tag", "v1-dirty")
    assert not _facts(root).dirty


def test_a_detached_head_has_no_branch(tmp_path: Path) -> None:
    root = _repository(tmp_path, commits=2)
    git(root, "checkout", "--quiet", "HEAD~1")
    assert _facts(root).branch == ""


def test_a_tag_of_the_branch_s_name_changes_nothing(tmp_path: Path) -> None:
    root = _repository(tmp_path)
    git(root, "checkout", "--quiet", "-b", "release/1.2")
    git(root, "tag", "release/1.2")
    assert _facts(root).branch == "release/1.2"


def test_tags_are_read_one_by_one_whatever_git_is_configured_to(tmp_path: Path) -> None:
    root = _repository(tmp_path)
    names = ("v1.0.0", "v1.0.1", "v1.1.0")
    for name in names:
        git(root, "tag", name)
    git(root, "branch", "v1.0.0")
    git(root, "config", "column.ui", "always")
    found = read_lineage(root)
    assert found.before == found.after == names


def test_a_worktree_is_a_repository(tmp_path: Path) -> None:
    root = _repository(tmp_path / "main")
    git(root, "worktree", "add", "--quiet", str(tmp_path / "side"))
    facts = _facts(tmp_path / "side")
    assert (facts.branch, facts.root) == ("side", tmp_path / "side")


def test_a_submodule_has_facts_of_its_own(tmp_path: Path) -> None:
    inner = _repository(tmp_path / "inner")
    git(inner, "tag", "v5.0.0")
    outer = _repository(tmp_path / "outer")
    git(outer, "submodule", "--quiet", "add", str(inner), "sub")
    assert _facts(outer / "sub").root == outer / "sub"
    assert _facts(outer).nearest_tag == ""


def test_a_shallow_clone_is_known_as_such(tmp_path: Path) -> None:
    root = _repository(tmp_path / "main", commits=3)
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{root}", "shallow")
    assert _facts(tmp_path / "shallow").shallow
    assert not _facts(root).shallow


def test_a_directory_below_the_top_will_do(tmp_path: Path) -> None:
    root = _repository(tmp_path)
    (root / "sub dir").mkdir()
    assert _facts(root / "sub dir").root == root


def test_a_bare_repository_is_refused(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "bare")
    with pytest.raises(InputError, match="bare repository"):
        read_git_facts(tmp_path / "bare")


def test_no_repository_and_no_commit_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    assert read_git_facts(tmp_path / "plain") == NoGit(reason="not a git repository")
    empty = _repository(tmp_path / "empty", commits=0)
    assert read_git_facts(empty) == NoGit(reason="the repository has no commit yet")


def test_no_git_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_git_facts(tmp_path) == NoGit(reason="git is not installed", installed=False)


def _lose(root: Path, revision: str) -> None:
    """Remove an object, as a disk does that fails."""
    name = git(root, "rev-parse", revision)
    (root / ".git/objects" / name[:2] / name[2:]).unlink()


def _break_the_index(root: Path) -> str:
    (root / ".git/index").write_text("broken", encoding="utf-8")
    return "index file smaller than expected"


def _lose_a_submodule(root: Path) -> str:
    inner = _repository(root.parent / "inner")
    git(root, "submodule", "--quiet", "add", str(inner), "sub")
    git(root, "commit", "--quiet", "--message", "with it")
    (root / "sub/.git").write_text("gitdir: /nonexistent\n", encoding="utf-8")
    return "not a git repository: /nonexistent"


def _lose_the_tree(root: Path) -> str:
    _lose(root, "HEAD^{tree}")
    return "bad tree object HEAD"


FAULTS = pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_break_the_index, id="a broken index"),
        pytest.param(_lose_a_submodule, id="a submodule whose repository is gone"),
        pytest.param(_lose_the_tree, id="a tree that is missing"),
    ],
)


@FAULTS
def test_where_git_can_not_tell_what_changed_nothing_counts_as_clean(
    tmp_path: Path, damage: Callable[[Path], str]
) -> None:
    root = _repository(tmp_path / "outer")
    why = damage(root)
    git(root, "tag", "v1.0.0", "HEAD")
    for command, read in (("describe", read_git_facts), ("status", read_changes)):
        with pytest.raises(ToolError, match=f"^git {command} failed") as caught:
            read(root)
        assert why in caught.value.why
        assert f"git -C {root} {command} " in caught.value.hint


def test_what_is_not_tracked_is_never_guessed(tmp_path: Path) -> None:
    root = _repository(tmp_path)
    _break_the_index(root)
    with pytest.raises(ToolError, match=r"^git ls-files failed"):
        hash_changes(root, Changes(tracked=("file",)))


def test_a_tag_that_leads_nowhere_hides_no_other(tmp_path: Path) -> None:
    root = _repository(tmp_path)
    git(root, "tag", "v1.0.0")
    git(root, "tag", "--message", "x", "v0.9.0")
    _lose(root, "v0.9.0")
    with pytest.raises(ToolError, match=r"^git show-ref failed") as caught:
        read_git_facts(root)
    assert "bad ref refs/tags/v0.9.0" in caught.value.why


def test_a_lineage_that_git_can_not_tell_is_no_empty_one(tmp_path: Path) -> None:
    root = _repository(tmp_path)
    _lose(root, "HEAD")
    with pytest.raises(ToolError, match=r"^git for-each-ref failed"):
        read_lineage(root)


def test_a_repository_that_can_not_be_read_tells_why(tmp_path: Path) -> None:
    odd = _repository(tmp_path / "odd")
    with (odd / ".git/config").open("a", encoding="utf-8") as file:
        file.write("[bad\n")
    found = read_git_facts(odd)
    assert isinstance(found, NoGit)
    assert found.reason.startswith("bad config line ")
    gone = tmp_path / "gone"
    gone.mkdir()
    (gone / ".git").write_text("gitdir: /nonexistent\n", encoding="utf-8")
    assert read_git_facts(gone) == NoGit(reason="not a git repository: /nonexistent")
    headless = _repository(tmp_path / "headless")
    _lose(headless, "HEAD")
    reason = "git can't read the commit of HEAD: bad object HEAD"
    assert read_git_facts(headless) == NoGit(reason=reason)


def _rename(root: Path, old: str, new: str) -> None:
    """Rename an annotated tag the usual way: in its object it keeps its name."""
    git(root, "tag", new, f"refs/tags/{old}")
    git(root, "tag", "--delete", old)


def test_a_renamed_tag_counts_by_the_name_that_it_has_now(tmp_path: Path) -> None:
    root = _repository(tmp_path)
    git(root, "tag", "--message", "x", "v1.0.0")
    _rename(root, "v1.0.0", "v2.0.0")
    facts = _facts(root)
    assert (facts.head_tags, facts.nearest_tag, facts.dirty) == (("v2.0.0",), "", False)
    git(root, "commit", "--quiet", "--allow-empty", "--message", "more")
    (root / "file").write_text("changed", encoding="utf-8")
    facts = _facts(root)
    assert (facts.nearest_tag, facts.distance, facts.dirty) == ("v2.0.0", 1, True)


def test_a_renamed_tag_is_found_behind_one_that_names_no_version(tmp_path: Path) -> None:
    root = _repository(tmp_path)
    git(root, "tag", "--message", "x", "draft")
    _rename(root, "draft", "v2.0.0")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "more")
    git(root, "tag", "nightly")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "more")
    facts = _facts(root)
    assert (facts.nearest_tag, facts.distance) == ("v2.0.0", 2)


def test_a_tag_that_was_a_version_before_it_was_renamed_is_none(tmp_path: Path) -> None:
    root = _repository(tmp_path)
    git(root, "tag", "--message", "x", "v1.0.0")
    _rename(root, "v1.0.0", "withdrawn")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "more")
    facts = _facts(root)
    assert (facts.nearest_tag, facts.distance) == ("", 0)


@pytest.mark.parametrize(
    ("time", "committed"),
    [
        pytest.param("253402300800", 253402300800, id="the year 10000"),
        pytest.param("-5", -1, id="before 1970"),
        pytest.param("soon", -1, id="none"),
    ],
)
def test_a_commit_of_any_time_is_read(tmp_path: Path, time: str, committed: int) -> None:
    root = _repository(tmp_path)
    person = f"T <t@example.org> {time} +0000"
    tree = git(root, "rev-parse", "HEAD^{tree}")
    text = f"tree {tree}\nauthor {person}\ncommitter {person}\n\nx\n"
    (root / ".git/commit").write_text(text, encoding="utf-8")
    words = ("hash-object", "-t", "commit", "-w", "--literally", ".git/commit")
    git(root, "update-ref", "HEAD", git(root, *words))
    assert _facts(root).committed == committed


def test_a_password_in_the_remote_never_gets_in(tmp_path: Path) -> None:
    root = _repository(tmp_path)
    git(root, "remote", "add", "origin", "https://me:hunter2@example.org/me/x.git")
    assert _facts(root).remote == "https://example.org/me/x.git"


def test_dubious_ownership_names_the_command_and_never_a_star(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _repository(tmp_path / "theirs")
    # git takes this for a repository of another user, as it would after a chown.
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    with pytest.raises(ToolError) as caught:
        read_git_facts(root)
    assert f"git config --global --add safe.directory {root}" in caught.value.hint
    assert "*" not in caught.value.hint


@pytest.mark.parametrize("name", ["with blank", "quo'te\"", "new\nline", "ünï", "-dash"])
def test_odd_paths(tmp_path: Path, name: str) -> None:
    assert _facts(_repository(tmp_path / name)).branch == "main"


def test_what_was_asked_ahead_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _repository(tmp_path / "mine")
    git(root, "tag", "v1.0.0")
    ahead = ask_ahead(root)
    ahead.description.wait()
    ahead.tags.wait()
    git(root, "tag", "v2.0.0")
    facts = read_git_facts(root, ahead=ahead)
    assert isinstance(facts, GitFacts)
    assert (facts.description, facts.head_tags) == ("v1.0.0", ("v1.0.0",))
    # The same directory by another name is the same directory.
    monkeypatch.chdir(root)
    assert read_git_facts(Path(), ahead=ahead) == facts


def test_what_was_asked_ahead_elsewhere_does_not_count(tmp_path: Path) -> None:
    root, other = _repository(tmp_path / "mine"), _repository(tmp_path / "other")
    git(root, "tag", "v1.0.0")
    git(other, "tag", "v2.0.0")
    facts = read_git_facts(root, ahead=ask_ahead(other))
    assert isinstance(facts, GitFacts)
    assert (facts.description, facts.head_tags) == ("v1.0.0", ("v1.0.0",))


LISTING = (
    f"{'a' * 40} refs/tags/v1\n{'b' * 40} refs/tags/v1^{{}}\n"
    f"{'b' * 40} refs/tags/v10\n{'c' * 40} refs/tags/x/v1"
)
COMMITS = {"v1": "b" * 40, "v10": "b" * 40, "x/v1": "c" * 40}


def test_tags_are_found_one_by_one_and_all_together() -> None:
    tags = TagRefs(LISTING)
    assert {name: tags[name] for name in COMMITS} == COMMITS
    with pytest.raises(KeyError):
        tags["v"]
    assert tags.on("b" * 40) == ("v1", "v10")
    assert tags.on("a" * 40) == ("v1",)  # the tag's own object, which is no commit
    assert dict(tags) == COMMITS
    assert {name: tags[name] for name in COMMITS} == COMMITS
    assert (len(tags), len(TagRefs(""))) == (3, 0)


def _hash(root: Path) -> str:
    return hash_changes(root, read_changes(root), [root / "dist"])


def test_what_is_not_committed_has_one_hash(tmp_path: Path) -> None:
    root = _repository(tmp_path)
    (root / ".gitignore").write_text("ignored\n", encoding="utf-8")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "clean")
    assert _hash(root) == ""
    (root / "ignored").write_text("x", encoding="utf-8")
    (root / "dist").mkdir()
    (root / "dist/receipt.json").write_text("x", encoding="utf-8")
    assert _hash(root) == ""
    seen = [""]
    folder = root / "sub dir"
    folder.mkdir()
    for path, content in [
        (root / "file", "changed"),
        (root / "file", "changed again"),
        (folder / "new", "untracked"),
        (folder / "new", "untracked, and changed"),
    ]:
        path.write_text(content, encoding="utf-8")
        seen.append(_hash(root))
        assert _hash(root) == seen[-1]
    (folder / "new").chmod(0o755)
    seen.append(_hash(root))
    (folder / "link").symlink_to("one")
    seen.append(_hash(root))
    (folder / "link").unlink()
    (folder / "link").symlink_to("other")
    seen.append(_hash(root))
    (root / "file").unlink()
    seen.append(_hash(root))
    assert len(set(seen)) == len(seen)
    # Nothing that is ignored counts, wherever it is.
    (folder / "ignored").write_text("x", encoding="utf-8")
    assert _hash(root) == seen[-1]


def test_the_record_that_a_build_writes_is_no_change_of_its_files(tmp_path: Path) -> None:
    root = _repository(tmp_path)
    config = 'image = "thing"\nrecords = { directory = "records" }\n'
    write_project(root, config + '[registries.one]\nrepository = "one.example/thing"\n')
    facts = read_git_facts(root)
    assert isinstance(facts, GitFacts)
    project = a_project(root, git=facts)
    run = cast("Edge", SimpleNamespace(project=lambda: project))
    planner = PublishPlanner(run, PublishOptions(snapshot=True))
    for name in ("records", "dist"):
        (root / name).mkdir()
        (root / name / "1.json").touch()
    planner.check_unchanged()
    (root / "app/new").touch()
    with pytest.raises(InputError, match="the files changed"):
        planner.check_unchanged()


def test_git_asks_for_a_password_only_where_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GIT_TERMINAL_PROMPT", raising=False)
    words = ("-c", "alias.shown=!echo ${GIT_TERMINAL_PROMPT:-may ask}", "shown")
    git_here = GitCommand(_repository(tmp_path, commits=0))
    assert git_here.run(*words).out == "0"
    assert git_here.run(*words, questions=True).out == "may ask"


def test_a_line_separator_in_a_tag_ends_no_name(tmp_path: Path) -> None:
    root = _repository(tmp_path)
    names = ["a\x85refs/tags/v8.8.8", "v1.0.0", "x\u2028refs/tags/v9.9.9"]
    for name in names:
        git(root, "tag", name)
        git(root, "update-ref", f"refs/remotes/origin/{name}", "HEAD")
    found = read_lineage(root)
    assert sorted(found.before) == sorted(found.after) == names
    assert sorted(found.published) == names
    facts = read_git_facts(root)
    assert isinstance(facts, GitFacts)
    assert sorted(facts.tags) == names


@pytest.mark.parametrize("by", ["configuration", "environment"])
def test_abbreviations_are_of_one_length_for_every_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    root = _repository(tmp_path)
    before = read_git_facts(root)
    assert isinstance(before, GitFacts)
    if by == "configuration":
        git(root, "config", "core.abbrev", "4")
    else:
        monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.abbrev")
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", "4")
    assert read_git_facts(root) == before
    assert len(before.short) == 7
    monkeypatch.setenv("GIT_CONFIG_COUNT", "many")
    refused = read_git_facts(root)
    assert isinstance(refused, NoGit)
    assert "command-line config" in refused.reason


def test_a_submodule_that_changed_is_seen(tmp_path: Path) -> None:
    inner = _repository(tmp_path / "inner")
    outer = _repository(tmp_path / "outer")
    git(outer, "submodule", "--quiet", "add", str(inner), "sub")
    git(outer, "commit", "--quiet", "--message", "with it")
    assert _hash(outer) == ""
    seen = [""]
    for content in ("one", "two"):
        (outer / "sub/file").write_text(content, encoding="utf-8")
        seen.append(_hash(outer))
    git(outer / "sub", "commit", "--quiet", "--all", "--message", "further")
    seen.append(_hash(outer))
    assert len(set(seen)) == len(seen)


def test_a_file_that_can_not_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _repository(tmp_path)
    (root / "file").write_text("changed", encoding="utf-8")
    changes = read_changes(root)

    def refuse(*_: object) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match="can't read file"):
        hash_changes(root, changes)
