"""An image that is based on another one of its repository, with docker replaced."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ociwriter import OciWriter

from buildlib.build.argv import build_line, check_argv
from buildlib.build.build_image import build_image
from buildlib.build.checked_plan import plan_build
from buildlib.build.planner import BuildRequest, unused_bases
from buildlib.errors import EngineError
from buildlib.executor import Completed
from buildlib.image.labels import STAND_INS
from buildlib.project import Project, load_project
from buildlib.publish.plan import release_build, unpinned_bases
from buildlib.publish.receipt import built_by

from fakes import DOCKER_INFO, FakeDocker, a_console, git_facts, words_after

CONFIG = """\
platforms = ["linux/amd64", "linux/arm64"]
[registries.main]
repository = "r.example/shop"
[images.web]
dockerfile = "web"
base-images = { "lib:local" = "image:lib" }
[images.lib]
dockerfile = "lib"
base-images = { "base:local" = "image:base" }
[images.base]
dockerfile = "base"
"""
PINNED = f"alpine:3@sha256:{'1' * 64}"
NOW = 1_800_000_000


@pytest.fixture(autouse=True)
def _git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("buildlib.project.read_git_facts", lambda *_, **__: git_facts())


def _project(root: Path, base: str = PINNED, more: str = "") -> Project:
    texts = {
        "buildlib.toml": CONFIG + more,
        "base": f"FROM {base}\n",
        "lib": "FROM base:local\n",
        "web": "FROM scratch\nCOPY --from=lib:local /x /y\n",
    }
    for name, text in texts.items():
        (root / name).write_text(text, encoding="utf-8")
    return load_project(root, {}, now=NOW, image="web")


def test_each_image_is_passed_on_by_its_digest(tmp_path: Path) -> None:
    docker = FakeDocker()
    console, _, err = a_console()
    request = BuildRequest(no_cache=True, platforms=("linux/arm64",))
    build_image(_project(tmp_path), request, docker, console)
    builds = [argv for argv in docker.asked if argv[:3] == ("docker", "buildx", "build")]
    assert [Path(*words_after(argv, "--file")).name for argv in builds] == ["base", "lib", "web"]
    assert all("--no-cache" in argv for argv in builds)
    assert {tuple(words_after(argv, "--platform")) for argv in builds} == {("linux/arm64",)}
    contexts = [words_after(argv, "--build-context") for argv in builds]
    outputs = [words_after(argv, "--output") for argv in builds]
    places = [output[0].rpartition("dest=")[2] for output in outputs[:2]]
    assert contexts == [
        [],
        [f"base:local=oci-layout://{places[0]}@sha256:d"],
        [f"lib:local=oci-layout://{places[1]}@sha256:d"],
    ]
    assert all("tar=false" in output[0] for output in outputs[:2])
    assert not any(words_after(argv, "--tag") for argv in builds[:2])
    assert "web is based on lib" in err.getvalue()
    # Nothing of it is left.
    assert not any(Path(place).exists() for place in places)


def test_a_base_that_fails_ends_the_build_and_leaves_nothing(tmp_path: Path) -> None:
    docker = FakeDocker(code=1)
    with pytest.raises(EngineError):
        build_image(_project(tmp_path), BuildRequest(), docker, a_console()[0])
    (built,) = [argv for argv in docker.asked if argv[:3] == ("docker", "buildx", "build")]
    assert words_after(built, "--file") == [f"{tmp_path}/base"]
    folder = Path(words_after(built, "--output")[0].rpartition("dest=")[2]).parent
    assert not folder.exists()


def test_the_line_of_a_dry_run_builds_all_of_them(tmp_path: Path) -> None:
    plan, warnings = plan_build(_project(tmp_path), BuildRequest())
    line = build_line(plan)
    assert line.count("docker buildx build") == 3
    assert line.index(f"--file {tmp_path}/base") < line.index(f"--file {tmp_path}/lib")
    assert line.endswith(f"rm -rf -- {plan.layouts}")
    assert not warnings


def test_its_bases_are_those_of_the_images_below(tmp_path: Path) -> None:
    project = _project(tmp_path)
    plan = release_build(project, project.dockerfile())
    assert (plan.bases, plan.all_bases) == ((), (PINNED,))
    assert not unpinned_bases(plan, project.config.registries)
    assert not unused_bases(project, plan)
    loose = _project(tmp_path, base="alpine:3")
    plan = release_build(loose, loose.dockerfile())
    (problem,) = unpinned_bases(plan, loose.config.registries)
    assert problem.what == "base images are not pinned: alpine:3"


def test_a_placeholder_below_is_one_of_the_image(tmp_path: Path) -> None:
    more = f'base-images."{PINNED}" = {{ source = "docker-image://x", stand-in = true }}\n'
    plan, _ = plan_build(_project(tmp_path, more=more), BuildRequest())
    assert plan.stand_ins == (PINNED,)
    assert dict(plan.labels)[STAND_INS] == PINNED


def test_an_archive_is_another_one_if_an_image_below_is(tmp_path: Path) -> None:
    project = _project(tmp_path)
    plan = release_build(project, project.dockerfile())
    ((name, below),) = plan.below
    other = replace(plan, below=((name, replace(below, target="x")),))
    assert built_by(plan, tmp_path) != built_by(other, tmp_path)
    assert built_by(plan, tmp_path) == built_by(replace(plan, below=((name, below),)), tmp_path)


def test_a_check_of_the_dockerfile_needs_no_layout(tmp_path: Path) -> None:
    plan, _ = plan_build(_project(tmp_path), BuildRequest())
    assert words_after(check_argv(plan), "--build-context") == [f"lib:local={tmp_path}"]


def test_the_classic_store_of_the_engine_is_refused_before_anything_is_built(
    tmp_path: Path,
) -> None:
    docker = FakeDocker()
    info = {**DOCKER_INFO, "DriverStatus": [["Backing Filesystem", "extfs"]]}
    docker.answers["docker", "info"] = Completed(code=0, stdout=json.dumps(info))
    docker.answers["docker", "buildx", "inspect"] = Completed(
        code=0, stdout="Name: default\nDriver: docker\nNodes:\nName: default\nStatus: running\n"
    )
    with pytest.raises(EngineError, match="can't do base images as OCI layouts"):
        build_image(_project(tmp_path), BuildRequest(), docker, a_console()[0])
    assert not [argv for argv in docker.asked if argv[:3] == ("docker", "buildx", "build")]


def test_what_was_published_is_taken_instead_of_built(tmp_path: Path) -> None:
    archive, writer = tmp_path / "lib.oci.tar", OciWriter()
    top = writer.image([writer.layer({"x": b"x"})])
    writer.write(archive, top)
    project = _project(tmp_path)
    ((name, lib),) = project.below
    docker, seen = FakeDocker(), list[bytes]()
    answer = docker.stream

    def stream(argv: Sequence[str], on_line: Callable[[str], None], **options: Any) -> int:
        layout = words_after(argv, "--build-context")[0].partition("//")[2].partition("@")[0]
        blob = Path(layout, "blobs", *str(top["digest"]).split(":"))
        seen.append(blob.read_bytes())
        return answer(argv, on_line, **options)

    docker.stream = stream  # type: ignore[method-assign]
    taken = replace(project, below=((name, replace(lib, archive=archive)),))
    build_image(taken, BuildRequest(), docker, a_console()[0])
    (argv,) = [argv for argv in docker.asked if argv[:3] == ("docker", "buildx", "build")]
    (context,) = words_after(argv, "--build-context")
    assert context.endswith(f"/lib@{top['digest']}")
    assert seen == [writer.bytes_of(top)]
