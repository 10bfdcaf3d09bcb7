"""The files of a commit, written by the real git whatever the work tree and its settings say."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import TASKS, Checkout, git
from gitscript import commit_all

from buildlib.build.argv import build_line
from buildlib.build.checkout import changes_of, from_commit
from buildlib.build.planner import BuildRequest, make_build_plan
from buildlib.dockerfile.ignore import DockerIgnore, context_paths
from buildlib.errors import BuildlibError, InputError, ToolError
from buildlib.project import Project, load_project
from buildlib.tempfiles import system_problem
from buildlib.version_schemes import Naming
from buildlib.versioning.preconditions import Mode, refusals

CheckOut = Callable[[Path], Project]
COMMITTED = "hello\n"
EPOCH = 1704164645  # of every commit that the tests make


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


def commit(root: Path, files: Mapping[str, str]) -> None:
    write(root, files)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "more")


def load(root: Path) -> Project:
    return load_project(root, {}, now=0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    write(
        folder,
        {
            "buildlib.toml": 'image = "thing"\n',
            "Dockerfile": "FROM scratch\nCOPY . /\n",
            ".gitignore": ".env\ngen/\n",
            "program": COMMITTED,
            "folder/inner": "inner\n",
        },
    )
    commit_all(folder, "v1.0.0")
    return folder


@pytest.fixture
def little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the directory of temporary files, where no file may be larger than 32 KB."""
    folder = tmp_path / "small"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 15, limits[1]))
    yield folder
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture
def checked_out() -> Iterator[CheckOut]:
    """Return what gives a project with its commit's files, until the test ends."""
    with ExitStack() as stack:
        yield lambda root: stack.enter_context(from_commit(load(root)))


def files_of(project: Project) -> dict[str, str]:
    """Return what the builder gets: each file with its content, each link with its target."""
    context = project.context
    found = {}
    for path in context_paths(context, DockerIgnore(())):
        place = context / path
        if place.is_symlink():
            found[path] = f"-> {place.readlink()}"
        elif place.is_file():
            found[path] = place.read_text(encoding="utf-8")
    return found


def problems_of(root: Path) -> list[BuildlibError]:
    project = load(root)
    return list(
        refusals(
            project.version, project.git, changes_of(project), mode=Mode.RELEASE, naming=Naming()
        )
    )


def _assume(root: Path) -> None:
    git(root, "update-index", "--assume-unchanged", "program")
    write(root, {"program": "EVIL"})


def _skip(root: Path) -> None:
    git(root, "update-index", "--skip-worktree", "program")
    write(root, {"program": "EVIL"})


def _sparse(root: Path) -> None:
    git(root, "sparse-checkout", "set", "--no-cone", "/*", "!/program")


def _replace(root: Path) -> None:
    """Show another commit in the place of HEAD, and have its files in the work tree."""
    real = git(root, "rev-parse", "HEAD")
    commit(root, {"program": "EVIL"})
    other = git(root, "rev-parse", "HEAD")
    git(root, "reset", "--quiet", "--hard", real)
    git(root, "replace", real, other)
    git(root, "reset", "--quiet", "--hard")


def _replace_blob(root: Path) -> None:
    evil = root.parent / "evil"
    evil.write_text("EVIL", encoding="utf-8")
    other = git(root, "hash-object", "-w", str(evil))
    git(root, "replace", git(root, "rev-parse", "HEAD:program"), other)
    (root / "program").unlink()
    git(root, "checkout", "--quiet", "program")


def _old_time(root: Path) -> None:
    """Change a file so that neither its time nor its size tells."""
    git(root, "config", "core.trustctime", "false")
    os.utime(root / "program", (1_700_000_000, 1_700_000_000))
    git(root, "update-index", "--refresh")
    about = (root / "program").stat()
    write(root, {"program": "HELLO\n"})
    os.utime(root / "program", ns=(about.st_atime_ns, about.st_mtime_ns))


HIDDEN = {
    "assume-unchanged": (_assume, "assumed unchanged\n  program"),
    "skip-worktree": (_skip, "skipped in the work tree\n  program"),
    "a sparse checkout": (_sparse, "skipped in the work tree\n  program"),
    "a replaced commit": (_replace, "git replace shows other objects than the commit has\n"),
}


@pytest.mark.parametrize(("hide", "told"), HIDDEN.values(), ids=HIDDEN)
def test_what_git_hides_is_refused_by_name_and_never_built(
    root: Path,
    checked_out: CheckOut,
    hide: Callable[[Path], None],
    told: str,
) -> None:
    assert problems_of(root) == []
    hide(root)
    assert git(root, "status", "--porcelain") == ""
    assert any(told in str(problem) for problem in problems_of(root))
    assert files_of(checked_out(root))["program"] == COMMITTED


def test_a_replaced_file_is_refused_by_its_object(root: Path, checked_out: CheckOut) -> None:
    _replace_blob(root)
    assert git(root, "rev-parse", "HEAD:program") in "".join(map(str, problems_of(root)))
    assert files_of(checked_out(root))["program"] == COMMITTED


def test_an_object_that_the_commit_does_not_reach_may_be_replaced(root: Path) -> None:
    git(root, "checkout", "--quiet", "--orphan", "other")
    commit(root, {"program": "other\n"})
    other = git(root, "rev-parse", "HEAD")
    git(root, "checkout", "--quiet", "main")
    git(root, "replace", other, git(root, "rev-parse", "HEAD"))
    assert problems_of(root) == []


def test_a_file_that_is_skipped_and_assumed_unchanged_is_told_as_both(root: Path) -> None:
    _assume(root)
    _skip(root)
    assert [problem.why for problem in problems_of(root)] == ["program", "program"]


def test_what_is_not_in_the_commit_is_not_built(root: Path, checked_out: CheckOut) -> None:
    ours = {"dist/thing-1.0.0.oci.tar": "", "bin/linux-amd64/thing": "", "data/reports/a": ""}
    write(root, {".env": "PASSWORD=x", "untracked": "", "program": "changed", **ours})
    (root / "folder/inner").unlink()
    assert files_of(checked_out(root)) == {
        ".gitignore": ".env\ngen/\n",
        "Dockerfile": "FROM scratch\nCOPY . /\n",
        "buildlib.toml": 'image = "thing"\n',
        "folder/inner": "inner\n",
        "program": COMMITTED,
    }


def test_a_change_that_leaves_size_and_time_alone_is_not_built(
    root: Path, checked_out: CheckOut
) -> None:
    _old_time(root)
    assert git(root, "status", "--porcelain") == ""
    assert files_of(checked_out(root))["program"] == COMMITTED


def test_staged_files_are_not_built(root: Path, checked_out: CheckOut) -> None:
    write(root, {"program": "staged"})
    git(root, "add", "program")
    assert files_of(checked_out(root))["program"] == COMMITTED


def test_modes_and_times_are_the_commits_whatever_the_umask(
    root: Path, checked_out: CheckOut
) -> None:
    (root / "run").write_text("#!/bin/sh\n", encoding="utf-8")
    (root / "run").chmod(0o700)
    (root / "link").symlink_to("run")
    (root / "to folder").symlink_to("folder")
    commit(root, {})
    git(root, "config", "core.fileMode", "false")
    (root / "program").chmod(0o4777)
    before = os.umask(0o077)
    try:
        context = checked_out(root).context
    finally:
        os.umask(before)
    modes = {"run": 0o755, "program": 0o644, "folder": 0o755, "folder/inner": 0o644, ".": 0o755}
    found = {name: stat.S_IMODE((context / name).stat().st_mode) for name in modes}
    assert found == modes
    names = (*modes, "link", "to folder")
    assert {int((context / name).lstat().st_mtime) for name in names} == {EPOCH}
    assert os.readlink(context / "link") == "run"  # noqa: PTH115 - no more than what it holds


def test_what_is_configured_beside_the_commit_counts_for_nothing(
    root: Path, checked_out: CheckOut, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(
        root, {".gitattributes": "*.id ident\n*.bat eol=crlf\n", "a.id": "$Id$\n", "b.bat": "x\n"}
    )
    plain = files_of(checked_out(root))
    # As in every clone: what the commit itself says of its files.
    assert (root / "a.id").read_text("utf-8") == "$Id$\n"
    assert plain["a.id"].startswith("$Id: ")
    assert (checked_out(root).context / "b.bat").read_bytes() == b"x\r\n"
    git(root, "config", "core.autocrlf", "true")
    git(root, "config", "core.eol", "crlf")
    git(root, "config", "core.attributesFile", str(tmp_path / "attributes"))
    lines = "* text eol=crlf\nprogram export-ignore ident filter=evil\n"
    write(root, {".git/info/attributes": lines})
    write(tmp_path, {"attributes": lines, "home/git/attributes": lines})
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    git(root, "config", "filter.evil.smudge", "echo EVIL")
    git(root, "config", "core.hooksPath", str(tmp_path))
    write(tmp_path, {"post-checkout": "#!/bin/sh\ntouch hooked\n"})
    (tmp_path / "post-checkout").chmod(0o755)
    assert files_of(checked_out(root)) == plain
    assert not list(tmp_path.rglob("hooked"))


def test_attributes_of_archives_do_not_count(root: Path, checked_out: CheckOut) -> None:
    attributes = "program export-ignore\nversion export-subst\n"
    commit(root, {".gitattributes": attributes, "version": "$Format:%H$\n"})
    found = files_of(checked_out(root))
    assert found["program"] == COMMITTED
    assert found["version"] == "$Format:%H$\n"


@pytest.mark.parametrize(
    "variable",
    ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY", "GIT_CONFIG_COUNT"],
)
def test_variables_of_a_hook_do_not_lead_elsewhere(
    root: Path, checked_out: CheckOut, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    values = {
        "GIT_DIR": str(root / ".git"),
        "GIT_INDEX_FILE": str(root / ".git/index"),
        "GIT_WORK_TREE": str(root),
        "GIT_OBJECT_DIRECTORY": str(root / ".git/objects"),
        "GIT_CONFIG_COUNT": "1",
    }
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.autocrlf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    monkeypatch.setenv("GIT_DIR", values["GIT_DIR"])
    monkeypatch.setenv(variable, values[variable])
    write(root, {"program": "changed"})
    assert files_of(checked_out(root))["program"] == COMMITTED
    assert (root / "program").read_text("utf-8") == "changed"
    assert git(root, "diff", "--name-only") == "program"


def test_a_repository_of_sha256_and_a_linked_work_tree(
    tmp_path: Path, checked_out: CheckOut
) -> None:
    folder = tmp_path / "long"
    folder.mkdir()
    git(folder, "init", "--quiet", "--object-format=sha256")
    files = {"buildlib.toml": 'image = "thing"\n', "Dockerfile": "FROM scratch\n"}
    commit(folder, files)
    git(folder, "worktree", "add", "--quiet", str(tmp_path / "linked"))
    assert files_of(checked_out(folder)) == files
    assert files_of(checked_out(tmp_path / "linked")) == files


# -- submodules


def _with_submodule(root: Path, tmp_path: Path, *, config: str = "") -> Path:
    """Add a submodule that has one of its own; return the repository of the first."""
    deep, sub = tmp_path / "deep", tmp_path / "sub"
    for folder in (deep, sub):
        folder.mkdir()
        git(folder, "init", "--quiet")
        commit(folder, {"file": f"{folder.name}\n"})
    git(sub, "submodule", "--quiet", "add", "--name", "inner one", str(deep), "deep")
    git(sub, "commit", "--quiet", "--message", "deep")
    git(root, "submodule", "--quiet", "add", "--name", "the sub", str(sub), "vendor/sub")
    if config:
        git(root, "config", "--file", ".gitmodules", "submodule.the sub.ignore", config)
    git(root, "submodule", "--quiet", "update", "--init", "--recursive")
    commit(root, {})
    return sub


def test_submodules_are_those_that_the_commit_records(
    root: Path, tmp_path: Path, checked_out: CheckOut
) -> None:
    _with_submodule(root, tmp_path)
    write(root, {"vendor/sub/file": "EVIL", "vendor/sub/deep/untracked": ""})
    found = files_of(checked_out(root))
    assert found["vendor/sub/file"] == "sub\n"
    assert found["vendor/sub/deep/file"] == "deep\n"
    assert not [name for name in found if name.endswith((".git", "untracked"))]
    # They are on this machine as well where nothing is checked out.
    git(root, "submodule", "--quiet", "deinit", "--force", "--all")
    assert files_of(checked_out(root)) == found


def test_a_submodule_that_is_told_to_be_ignored_is_refused_by_name(
    root: Path, tmp_path: Path, checked_out: CheckOut
) -> None:
    _with_submodule(root, tmp_path, config="all")
    git(root, "tag", "v1.1.0")
    assert problems_of(root) == []
    sub = root / "vendor/sub"
    commit(sub, {"file": "EVIL"})
    assert git(root, "status", "--porcelain") == ""
    assert [problem.why for problem in problems_of(root)] == ["vendor/sub"]
    assert files_of(checked_out(root))["vendor/sub/file"] == "sub\n"
    git(root, "submodule", "--quiet", "update", "--checkout")
    git(sub, "update-index", "--assume-unchanged", "file")
    write(sub, {"file": "EVIL"})
    assert [problem.why for problem in problems_of(root)] == ["vendor/sub/file"]


def test_a_submodule_that_is_not_checked_out_hides_nothing(root: Path, tmp_path: Path) -> None:
    _with_submodule(root, tmp_path)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(root), str(clone))
    assert changes_of(load(clone)).paths == ()


def test_a_clone_that_has_only_the_files_that_it_checked_out(
    root: Path, tmp_path: Path, checked_out: CheckOut
) -> None:
    commit(root, {"program": "newer\n"})
    git(root, "config", "uploadpack.allowFilter", "true")
    options = ("--quiet", "--filter=blob:none", f"file://{root}")
    git(tmp_path, "clone", *options, str(tmp_path / "partial"))
    assert files_of(checked_out(tmp_path / "partial"))["program"] == "newer\n"
    git(tmp_path, "clone", "--no-checkout", *options, str(tmp_path / "empty"))
    write(tmp_path / "empty", {"buildlib.toml": 'image = "thing"\n'})
    with pytest.raises(ToolError, match=r"^git read-tree failed"):
        checked_out(tmp_path / "empty")


def test_a_submodule_that_is_missing_is_told_unless_nobody_reads_it(
    root: Path, tmp_path: Path, checked_out: CheckOut
) -> None:
    _with_submodule(root, tmp_path)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(root), str(clone))
    with pytest.raises(
        InputError, match="the submodule vendor/sub is not on this machine"
    ) as caught:
        checked_out(clone)
    assert caught.value.hint == "git submodule update --init --recursive"
    commit(clone, {".dockerignore": "vendor\n"})
    assert "program" in files_of(checked_out(clone))
    commit(clone, {".dockerignore": "vendor/sub/deep\n"})
    git(clone, "submodule", "--quiet", "update", "--init")
    assert files_of(checked_out(clone))["vendor/sub/file"] == "sub\n"
    commit(clone, {".dockerignore": ""})
    with pytest.raises(InputError, match="the submodule vendor/sub/deep is not on this machine"):
        checked_out(clone)


# -- Git LFS and other filters


def _pointer(content: bytes) -> tuple[str, str]:
    digest = hashlib.sha256(content).hexdigest()
    version = "version https://git-lfs.github.com/spec/v1"
    return f"{version}\noid sha256:{digest}\nsize {len(content)}\n", digest


def test_pointers_become_the_files_that_git_lfs_keeps(root: Path, checked_out: CheckOut) -> None:
    text, digest = _pointer(b"large\n")
    other, _ = _pointer(b"in the work tree\n")
    lines = "*.bin filter=lfs diff=lfs merge=lfs -text\n"
    commit(
        root,
        {
            ".gitattributes": lines,
            "a.bin": text,
            "b.bin": other,
            "c.bin": "no pointer\n",
            "d.txt": text,
        },
    )
    with pytest.raises(InputError, match="only pointers to files that Git LFS keeps") as caught:
        checked_out(root)
    assert "a.bin, b.bin" in caught.value.why
    store = root / ".git/lfs/objects" / digest[:2] / digest[2:4]
    write(store, {digest: "large\n"})
    write(root, {"b.bin": "in the work tree\n"})
    found = files_of(checked_out(root))
    assert (found["a.bin"], found["b.bin"]) == ("large\n", "in the work tree\n")
    assert (found["c.bin"], found["d.txt"]) == ("no pointer\n", text)
    # By its content, wherever it comes from.
    write(store, {digest: "EVIL\n"})
    with pytest.raises(InputError, match=r"not on this machine: a\.bin"):
        checked_out(root)
    git(root, "config", "lfs.storage", "elsewhere")
    write(root, {f".git/elsewhere/objects/{digest[:2]}/{digest[2:4]}/{digest}": "large\n"})
    assert files_of(checked_out(root))["a.bin"] == "large\n"


def test_a_pointer_that_nobody_reads_or_understands(root: Path, checked_out: CheckOut) -> None:
    text, _ = _pointer(b"x")
    commit(
        root,
        {
            ".gitattributes": "*.bin filter=lfs\n",
            ".dockerignore": "tests\n",
            "tests/a.bin": text,
            "long.bin": text + "x" * 2000,
        },
    )
    assert files_of(checked_out(root))["long.bin"].endswith("xxx")
    commit(root, {"odd.bin": text.replace("\noid", "\next-0-foo sha256:1\noid")})
    with pytest.raises(InputError, match=r"not on this machine: odd\.bin"):
        checked_out(root)


def test_what_a_filter_makes_of_a_file_is_not_in_the_commit(
    root: Path, checked_out: CheckOut
) -> None:
    git(root, "config", "filter.crypt.clean", "tr a-z A-Z")
    git(root, "config", "filter.crypt.smudge", "tr A-Z a-z")
    git(root, "config", "filter.notes.smudge", "cat")
    git(root, "config", "filter.no name.smudge", "x")
    commit(
        root,
        {
            ".gitattributes": "key filter=crypt\nother filter=notes\n",
            "key": "secret\n",
            "other": "x",
        },
    )
    with pytest.raises(InputError, match="a filter of this machine's changes files") as caught:
        checked_out(root)
    assert "before that: key" in caught.value.why
    commit(root, {"buildlib.toml": 'image = "thing"\n[context]\ninclude = ["key"]\n'})
    project = checked_out(root)
    assert files_of(project)["key"] == "secret\n"
    assert project.checkout
    assert [name for name, _ in project.checkout.included] == ["key"]


# -- what is included


INCLUDE = 'image = "thing"\n[context]\ninclude = ["gen/**/*.js", ".env"]\n'


def test_generated_files_are_built_by_name_and_have_a_digest(
    root: Path, checked_out: CheckOut
) -> None:
    commit(root, {"buildlib.toml": INCLUDE})
    write(
        root,
        {"gen/a.js": "a", "gen/deep/b.js": "b", "gen/c.txt": "", ".env": "x", "gen/.git/d.js": ""},
    )
    (root / "gen/link.js").symlink_to("a.js")
    assert problems_of(root)[0].what.startswith("1.0.1-SNAPSHOT")
    project = checked_out(root)
    found = files_of(project)
    assert {name: found[name] for name in found if name.startswith(("gen", ".env"))} == {
        ".env": "x",
        "gen/a.js": "a",
        "gen/deep/b.js": "b",
        "gen/link.js": "-> a.js",
    }
    assert project.checkout
    assert dict(project.checkout.included) == {
        name: f"sha256:{hashlib.sha256(text).hexdigest()}"
        for name, text in {
            ".env": b"x",
            "gen/a.js": b"a",
            "gen/deep/b.js": b"b",
            "gen/link.js": b"a.js",
        }.items()
    }
    assert (project.context / "gen/deep").stat().st_mtime == EPOCH


def test_what_is_included_has_to_be_there(root: Path, checked_out: CheckOut) -> None:
    commit(root, {"buildlib.toml": INCLUDE})
    with pytest.raises(InputError, match=r"files that are not there: gen/\*\*/\*\.js, \.env"):
        checked_out(root)
    commit(root, {"buildlib.toml": INCLUDE.replace(".env", "[")})
    with pytest.raises(InputError, match=r"line 2 of \[context\] include is not a pattern"):
        checked_out(root)


def test_what_the_commit_has_is_never_included(root: Path, checked_out: CheckOut) -> None:
    commit(root, {"buildlib.toml": 'image = "thing"\n[context]\ninclude = ["program"]\n'})
    write(root, {"program": "EVIL"})
    project = checked_out(root)
    assert files_of(project)["program"] == COMMITTED
    assert project.checkout
    assert project.checkout.included == ()


def test_nothing_is_included_through_a_link_of_the_commit(
    root: Path, checked_out: CheckOut, tmp_path: Path
) -> None:
    (root / "way").symlink_to(tmp_path / "outside")
    commit(root, {"buildlib.toml": 'image = "thing"\n[context]\ninclude = ["way/file"]\n'})
    (tmp_path / "outside").mkdir()
    (root / "way").unlink()
    write(root, {"way/file": "x"})
    with pytest.raises(InputError, match="the commit has a link on its way"):
        checked_out(root)
    assert list((tmp_path / "outside").iterdir()) == []


# -- what is configured


def test_the_dockerfile_and_its_ignore_file_are_the_commits(
    root: Path, checked_out: CheckOut
) -> None:
    commit(root, {".dockerignore": "folder\n"})
    for name in ("Dockerfile", ".dockerignore"):
        git(root, "update-index", "--assume-unchanged", name)
    write(root, {"Dockerfile": "FROM evil\n", ".dockerignore": ""})
    project = checked_out(root)
    assert project.dockerfile_path.read_text("utf-8") == "FROM scratch\nCOPY . /\n"
    assert project.dockerfile().stages[0].base == "scratch"
    assert (project.context / ".dockerignore").read_text("utf-8") == "folder\n"


def test_a_configuration_that_the_commit_does_not_have_is_refused(
    root: Path, checked_out: CheckOut
) -> None:
    git(root, "update-index", "--assume-unchanged", "buildlib.toml")
    write(root, {"buildlib.toml": 'image = "other"\n'})
    with pytest.raises(InputError, match=r"buildlib\.toml is not what the commit has"):
        checked_out(root)
    # The same in other words.
    write(root, {"buildlib.toml": "# as before\r\nimage = 'thing'\r\n"})
    assert checked_out(root).config.image == "thing"
    git(root, "rm", "--quiet", "--cached", "buildlib.toml")
    git(root, "commit", "--quiet", "--message", "without")
    with pytest.raises(InputError, match=r"the commit has no buildlib\.toml"):
        checked_out(root)


@pytest.mark.parametrize(
    ("name", "told"),
    [("Dockerfile", "the commit has no Dockerfile"), ("sub", "the commit has no sub")],
)
def test_what_is_built_has_to_be_in_the_commit(
    root: Path, checked_out: CheckOut, name: str, told: str
) -> None:
    key = "dockerfile" if name == "Dockerfile" else "context"
    git(root, "rm", "--quiet", "--cached", "Dockerfile")
    commit(
        root,
        {
            "buildlib.toml": f'image = "thing"\n{key} = "{name}"\n',
            ".gitignore": f"{name}\n",
            f"{name}/x" if name == "sub" else "x": "",
        },
    )
    with pytest.raises(InputError, match=told):
        checked_out(root)


def test_a_project_below_the_top_and_a_context_above_it(root: Path, checked_out: CheckOut) -> None:
    text = 'image = "thing"\ncontext = ".."\ndockerfile = "docker/link"\n'
    commit(root, {"app/buildlib.toml": text, "app/docker/real": "FROM scratch\n"})
    (root / "app/docker/link").symlink_to("real")
    commit(root, {"app/docker/link.dockerignore": "folder\n"})
    project = checked_out(root / "app")
    assert files_of(project)["app/docker/link"] == "-> real"
    assert project.dockerfile_path.name == "link"
    assert project.dockerfile().stages[0].base == "scratch"
    assert project.files == project.context / "app"


@pytest.mark.parametrize("key", ["context", "dockerfile"])
def test_what_lies_outside_of_the_repository_is_in_no_commit(
    root: Path, checked_out: CheckOut, tmp_path: Path, key: str
) -> None:
    (tmp_path / "outside").mkdir()
    commit(root, {"buildlib.toml": f'image = "thing"\n{key} = "../outside"\n'})
    with pytest.raises(InputError, match="outside is in no commit"):
        checked_out(root)
    (root / "way").symlink_to(tmp_path / "outside")
    commit(root, {"buildlib.toml": f'image = "thing"\n{key} = "way"\n'})
    with pytest.raises(InputError, match="way is in no commit"):
        checked_out(root)


def test_nothing_stays(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary files"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with from_commit(load(root)) as project:
        assert project.context.is_relative_to(folder)
        assert stat.S_IMODE(next(folder.iterdir()).stat().st_mode) == 0o700
    assert list(folder.iterdir()) == []


def test_without_a_repository_there_is_no_commit(tmp_path: Path, checked_out: CheckOut) -> None:
    write(tmp_path, {"buildlib.toml": 'image = "thing"\n'})
    assert changes_of(load(tmp_path)).paths == ()
    with pytest.raises(InputError, match="nothing to release from"):
        checked_out(tmp_path)


def test_what_tasks_write_is_no_change(root: Path) -> None:
    text = 'image = "thing"\nbinary-target = "b"\n[run]\ndata-path = "/data"\n'
    commit(root, {"buildlib.toml": text})
    ours = {"dist/receipt.json": "", "bin/linux-amd64/thing": "", "data/reports/a": ""}
    write(root, ours)
    assert changes_of(load(root)).paths == ()
    write(root, {"dist.txt": ""})
    assert changes_of(load(root)).paths == ("dist.txt",)


# -- by hand


def test_the_printed_lines_make_the_same_files(root: Path, tmp_path: Path) -> None:
    _with_submodule(root, tmp_path)
    text, digest = _pointer(b"large\n")
    commit(
        root, {"buildlib.toml": INCLUDE, ".gitattributes": "*.bin filter=lfs\n", "it's a.bin": text}
    )
    write(root / ".git/lfs/objects" / digest[:2] / digest[2:4], {digest: "large\n"})
    write(root, {"gen/a file.js": "a", ".env": "x"})
    with from_commit(load(root)) as project:
        plan = make_build_plan(
            project,
            BuildRequest(output="oci", destination=tmp_path / "x.tar"),
            project.dockerfile(),
        )
        line = build_line(plan)
        assert str(project.checkout and project.checkout.folder) not in line
        wanted = _about(project.context)
    script = line.replace("docker buildx build", "true")
    script = script.replace('rm -rf -- "$CONTEXT"', 'printf %s "$CONTEXT"')
    (tmp_path / "x.tar.part").touch()
    done = subprocess.run(
        ["sh", "-c", f"umask 077; {script}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert _about(Path(done.stdout, "files")) == wanted


def _about(root: Path) -> dict[str, tuple[int, int, str]]:
    found = {}
    for path in root.rglob("*"):
        about = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else ""
        content = path.read_text("utf-8") if path.is_file() and not content else content
        found[str(path.relative_to(root))] = (about.st_mode, int(about.st_mtime), content)
    return found


# -- as tasks


@pytest.fixture
def task(root: Path) -> Checkout:
    commit(root, {"tasks.py": TASKS, ".gitignore": ".env\ngen/\n__pycache__/\n"})
    git(root, "tag", "v1.1.0")
    return Checkout(root, "thing")


def test_an_archive_of_a_release_is_planned_from_its_commit(task: Checkout) -> None:
    git(task.root, "update-index", "--assume-unchanged", "program")
    write(task.root, {"program": "EVIL"})
    done = task.invoke("docker-build", "--output", "oci", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "1.1.0 is built from its commit, without what differs: program" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "CONTEXT=$(mktemp -d) &&"
    assert lines[-1] == 'rm -rf -- "$CONTEXT"'
    assert ' "$CONTEXT"/files && mv -f ' in lines[-2]
    assert '--file "$CONTEXT"/files/Dockerfile' in lines[-2]
    # What is no release is what somebody sees, and says so by its name.
    git(task.root, "update-index", "--no-assume-unchanged", "program")
    done = task.invoke("docker-build", "--output", "oci", "--dry-run")
    assert "CONTEXT" not in done.stdout
    assert f" {task.root}" in done.stdout
    git(task.root, "checkout", "--quiet", "program")
    git(task.root, "tag", "--delete", "v1.1.0")
    assert "CONTEXT" in task.invoke("docker-build", "--output", "oci", "--dry-run").stdout


def test_a_local_build_of_a_release_takes_the_work_tree_and_warns(task: Checkout) -> None:
    done = task.invoke("docker-build", "--dry-run")
    assert "may not have" not in done.stderr
    assert "CONTEXT" not in done.stdout
    told = "the image gets .git, which the Dockerfile copies with all of the context"
    assert told in done.stderr
    git(task.root, "update-index", "--skip-worktree", "program")
    done = task.invoke("docker-build", "--dry-run")
    assert "1.1.0 is built from files that its commit may not have: program" in done.stderr


def test_two_builds_are_planned_from_the_commit(task: Checkout) -> None:
    write(task.root, {".env": "x", "untracked": ""})
    done = task.invoke("docker-reproduce", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_what_is_included_is_shown_with_the_configuration(task: Checkout) -> None:
    commit(task.root, {"buildlib.toml": INCLUDE})
    shown = json.loads(task.invoke("config", "--json").stdout)["context"]
    assert shown["value"] == {"path": ".", "include": ["gen/**/*.js", ".env"]}


def test_a_publication_is_planned_from_the_commit(task: Checkout) -> None:
    pinned = "FROM scratch\nCOPY program /\n"
    registry = '[registries.one]\nrepository = "127.0.0.1:9/thing"\n'
    text = f'image = "thing"\n{registry}[publish]\ngates = []\n'
    commit(task.root, {"buildlib.toml": text, "Dockerfile": pinned})
    git(task.root, "tag", "v1.2.0")
    words = ("docker-publish", "--dry-run", "--skip-gate", "sign", "--reason", "no key")
    done = task.invoke(*words)
    assert done.returncode == 0, done.stderr
    assert "\nCONTEXT=$(mktemp -d) &&\n" in done.stdout
    # Nothing of what is hidden is taken, and all of it is told.
    git(task.root, "update-index", "--assume-unchanged", "program")
    git(task.root, "update-index", "--skip-worktree", "Dockerfile")
    done = task.invoke(*words)
    assert done.returncode == 2
    assert "assumed unchanged" in done.stderr
    assert "skipped in the work tree" in done.stderr
    done = task.invoke("tag", "v1.2.1", "--dry-run")
    assert done.returncode == 2
    assert "assumed unchanged" in done.stderr


# -- no room for it


LARGE = {
    "in the commit": ({"large": "x" * (1 << 17)}, ""),
    "included": ({"buildlib.toml": 'image = "thing"\n[context]\ninclude = ["gen"]\n'}, "gen/large"),
}


@pytest.mark.parametrize(("files", "included"), LARGE.values(), ids=LARGE)
def test_too_little_room_is_named_and_nothing_is_left(
    root: Path, little_room: Path, files: dict[str, str], included: str
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits[1], limits[1]))
    commit(root, files)
    write(root, {included: "x" * (1 << 17)} if included else {})
    project = load(root)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with pytest.raises((InputError, OSError)) as caught, from_commit(project):
        pytest.fail("there was room")
    error = caught.value
    problem = system_problem(error) if isinstance(error, OSError) else error
    assert isinstance(problem, InputError)
    assert problem.what == f"there is no room for temporary files in {little_room}"
    assert "TMPDIR" in problem.hint
    assert list(little_room.iterdir()) == []


def test_a_git_that_fails_for_another_reason_is_no_matter_of_room(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = load(root)
    monkeypatch.setattr("buildlib.build.checkout._FRESH", {"GIT_CONFIG_COUNT": "x"})
    with pytest.raises(ToolError, match="git init failed"), from_commit(project):
        pytest.fail("git took it")
