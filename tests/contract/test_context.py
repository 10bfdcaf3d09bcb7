"""What the builder reads of a work tree: what tasks wrote stays out, what no commit has is told."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from gitscript import commit_all

from buildlib.build import preflight
from buildlib.build.argv import build_line, buildx_argv
from buildlib.build.context import uncommitted
from buildlib.build.plan import BuildPlan
from buildlib.build.planner import BuildRequest, make_build_plan
from buildlib.project import Checkout, Project
from buildlib.records.record import Record
from buildlib.records.store import new_id, open_store

from fakes import a_project, git_facts, words_after, write_project

CONFIG = 'image = "me/thing"\nbinary-target = "b"\n[run]\ndata-path = "/data"\n'


def _project(root: Path, config: str = CONFIG, dockerfile: str = "FROM scratch\n") -> Project:
    """Return a project in a real repository with everything committed that is there."""
    write_project(root, config, dockerfile)
    commit_all(root)
    return a_project(root, git=git_facts(root=root))


def _plan(project: Project, **request: str) -> BuildPlan:
    place = project.config.root.parent / "handover"
    wanted = BuildRequest(**request)  # type: ignore[arg-type]
    return make_build_plan(project, wanted, project.dockerfile(), handover=place)


TAKES = {
    "everything": ("COPY . /x", "", ["dist", "bin", "data"]),
    "everything by another name": ("COPY ./ /x", "", ["dist", "bin", "data"]),
    "everything by its root": ("ADD / /x", "", ["dist", "bin", "data"]),
    "a pattern": ("COPY * /x", "", ["dist", "bin", "data"]),
    "a pattern that fits one": ("COPY d?s* /x", "", ["dist"]),
    "a mount": ("RUN --mount=type=bind,target=. make", "", ["dist", "bin", "data"]),
    "some are kept out already": ("COPY . /x", "dist\ndata/\n", ["bin"]),
    "all are kept out already": ("COPY . /x", "*\n!app\n", []),
    "a folder": ("COPY app /x", "", []),
    "one of ours that is named": ("COPY . /x\nCOPY dist/thing.tar /y", "", ["bin", "data"]),
    "what a variable names": ("COPY . /x\nCOPY $WHAT /y", "", []),
    "nothing": ("", "", []),
}


@pytest.mark.parametrize(("lines", "ignore", "kept"), TAKES.values(), ids=TAKES)
def test_what_tasks_wrote_stays_out(
    tmp_path: Path, lines: str, ignore: str, kept: list[str]
) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    (root / ".dockerignore").write_text(ignore, encoding="utf-8")
    plan = _plan(_project(root, dockerfile=f"FROM scratch\n{lines}\n"))
    assert list(plan.kept_out) == kept
    known = preflight.read_ignore(plan)
    assert all(known.excludes(f"{folder}/x", directory=False) for folder in kept)
    assert bool(plan.handover) == bool(kept)
    assert words_after(buildx_argv(plan), "--file") == [str(plan.file)]


def test_only_folders_that_tasks_write_are_left_out(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    project = _project(root, 'image = "thing"\n', "FROM scratch\nCOPY . /x\n")
    assert _plan(project).kept_out == ("dist",)


ALIKE = ("bin/linux", "bin/linux-amd64.sh", "bin/linux-amd64-tools", "bin/linux-amd64-v3x")


def test_of_a_folder_that_git_tracks_only_what_tasks_wrote_stays_out(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    for name in ("dist/page.html", "bin/run.sh", "data/seed.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    plan = _plan(_project(root, dockerfile="FROM scratch\nCOPY . /x\n"))
    known = preflight.read_ignore(plan)
    for name in ("dist/page.html", "bin/run.sh", "data/seed.json", "dist/things", *ALIKE):
        assert not known.excludes(name, directory=False), name
    for name in ("dist/thing-1.2.3.oci.tar", "dist/receipt.json", "dist/receipt-1.2.3.json"):
        assert known.excludes(name, directory=False), name
    for name in ("linux-amd64", "linux-arm-v7", "linux-amd64-v3", "linux-arm64-v9.5"):
        assert known.excludes(f"bin/{name}/thing", directory=False), name


@pytest.mark.parametrize("folder", ["records", "dist"])
def test_records_stay_out_of_a_folder_that_git_tracks(tmp_path: Path, folder: str) -> None:
    root = tmp_path / "repo"
    (root / folder).mkdir(parents=True)
    for name in (".gitkeep", ".keep", "notes.json"):
        (root / folder / name).touch()
    config = f'image = "thing"\n[records]\ndirectory = "{folder}"\n'
    project = _project(root, config, "FROM scratch\nCOPY . /x\n")
    store = open_store(project.config, project.env)
    assert store
    store.key()
    store.write(Record(id=new_id()))
    written = [*(one.name for one in store.folder.iterdir()), store.hashes.name, ".hashes.1234abcd"]
    known = preflight.read_ignore(_plan(project))
    for name in (".gitkeep", ".keep", "notes.json"):
        assert not known.excludes(f"{folder}/{name}", directory=False), name
        written.remove(name)
    assert len(written) == 4
    for name in (*written, store.builders.name, f".{new_id()}-12345678.json.1234abcd"):
        assert known.excludes(f"{folder}/{name}", directory=False), name


def test_a_project_below_the_context_keeps_its_own_folders_out(tmp_path: Path) -> None:
    root = tmp_path / "repo" / "a[b]"
    root.mkdir(parents=True)
    config = 'image = "thing"\ncontext = ".."\n'
    project = a_project(write_project(root, config, "FROM scratch\nCOPY . /x\n"))
    plan = make_build_plan(project, BuildRequest(), project.dockerfile())
    assert plan.kept_out == ("a\\[b\\]/dist",)
    known = preflight.read_ignore(plan)
    assert known.excludes("a[b]/dist/x", directory=False)
    assert not known.excludes("dist/x", directory=False)


# -- the Dockerfile's own ignore file

LINKS = {
    "beside its target": ("link", "Dockerfile", "link.dockerignore", False),
    "to a folder below": ("link", "shared/Dockerfile", "link.dockerignore", False),
    "out of its folder": ("docker/link", "../Dockerfile", "docker/link.dockerignore", True),
    "to what has one itself": ("docker/link", "../Dockerfile", "Dockerfile.dockerignore", False),
    "to what has none": ("docker/link", "../Dockerfile", ".dockerignore", False),
}


@pytest.mark.parametrize(("link", "target", "own", "handed"), LINKS.values(), ids=LINKS)
def test_a_dockerfile_that_is_a_link_keeps_its_ignore_file(
    tmp_path: Path, link: str, target: str, own: str, *, handed: bool
) -> None:
    root = tmp_path / "repo"
    (root / "shared").mkdir(parents=True)
    (root / "docker").mkdir()
    write_project(root, f'image = "thing"\ndockerfile = "{link}"\n', "FROM scratch\n")
    (root / "shared" / "Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    (root / link).symlink_to(target)
    (root / own).write_text("secret.txt\n", encoding="utf-8")
    plan = _plan(a_project(root))
    assert preflight.read_ignore(plan).excludes("secret.txt", directory=False)
    assert bool(plan.handover) == handed
    if handed:
        assert plan.file.name == "Dockerfile"
        assert plan.ignored.startswith("secret.txt\n")


def test_the_line_of_a_dry_run_hands_the_same_over(tmp_path: Path) -> None:
    root = tmp_path / "it's a repo"
    root.mkdir()
    (root / ".dockerignore").write_text("a b\n!it's\n", encoding="utf-8")
    plan = _plan(_project(root, dockerfile="FROM scratch\nCOPY . /x\n"))
    assert plan.handover
    line = build_line(plan)
    shown = line.replace(shlex.join(buildx_argv(plan)), f"cp -r {plan.handover} shown")
    assert shown != line
    subprocess.run(["sh", "-c", shown], cwd=tmp_path, check=True)
    assert (tmp_path / "shown/Dockerfile").read_text("utf-8") == "FROM scratch\nCOPY . /x\n"
    ignore = (tmp_path / "shown/Dockerfile.dockerignore").read_text("utf-8")
    assert ignore.split("\n") == ["a b", "!it's", "", "dist", "bin", "data", ""]
    assert not plan.handover.exists()


# -- what no commit has

FILES = (".env", "app/cache.db", "node_modules/a/b.js", "node_modules/c.js", "gen/a.js", "gen/b.js")
UNKNOWN = {
    "everything": ("COPY . /x", "", "", [".env", "app/cache.db", "gen/", "node_modules/"]),
    "a folder": ("COPY app /x", "", "", ["app/cache.db"]),
    "one file": ("COPY .env /x", "", "", [".env"]),
    "a pattern": ("COPY *.env app/* /x", "", "", [".env", "app/cache.db"]),
    "a file that is committed": ("COPY app/main.go /x", "", "", []),
    "a mount": (
        "RUN --mount=type=bind,target=. x",
        ".env\nnode_modules\ngen\n",
        "",
        ["app/cache.db"],
    ),
    "nothing": ("", "", "", []),
    "what is kept out": ("COPY . /x", "*\n!app\n", "", ["app/cache.db"]),
    "what is allowed": ("COPY . /x", "node_modules\n", '".env", "gen/*.js"', ["app/cache.db"]),
    "some of a folder": ("COPY gen /x", "", '"gen/a.js"', ["gen/b.js"]),
    "whole folders": ("COPY . /x", "", '"gen", "node_modules", "app", ".env"', []),
}


@pytest.mark.parametrize(("lines", "ignore", "allow", "told"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_no_commit_has_is_told(
    tmp_path: Path, lines: str, ignore: str, allow: str, told: list[str]
) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    (root / ".gitignore").write_text(".env\nnode_modules\n", encoding="utf-8")
    (root / ".dockerignore").write_text(ignore, encoding="utf-8")
    config = f'image = "thing"\n[context]\nallow = [{allow}]\n'
    project = _project(root, config, f"FROM scratch\n{lines}\n")
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    plan = _plan(project)
    found = uncommitted(project, plan, preflight.read_ignore(plan))
    assert sorted(found) == told
    sentences = preflight.unknown_files(found)
    assert len(sentences) == bool(told)
    assert all(name in sentence for sentence in sentences for name in told)


def test_what_is_built_from_a_commit_has_nothing_else(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    project = _project(root, dockerfile="FROM scratch\nCOPY . /x\n")
    (root / ".env").touch()
    plan = _plan(project)
    assert uncommitted(project, plan, preflight.read_ignore(plan)) == (".env",)

    made = Checkout(folder=tmp_path, top=root)
    assert uncommitted(project, replace(plan, checkout=made), preflight.read_ignore(plan)) == ()
