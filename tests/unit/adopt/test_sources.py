from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildlib.adopt.sources import docker_lines
from buildlib.adopt.yaml_text import Node, read_yaml
from buildlib.executor import Completed

from fakes import FakeExecutor

HCL = 'target "app" {\n  tags = ["x"]\n}\ntarget "dev" { inherits = ["app"] }\n'


def found(root: Path, name: str, text: str) -> list[tuple[str, ...]]:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return [line.argv for line in docker_lines(root)]


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("sudo -E docker build .", ("docker", "build", ".")),
        ("env A=1 docker build .", ("docker", "build", ".")),
        ("/usr/bin/docker build .", ("docker", "build", ".")),
        ("podman build .", ("docker", "build", ".")),
        ("buildah bud -t x .", ("docker", "build", "-t", "x", ".")),
        ("nerdctl push x", ("docker", "push", "x")),
        ("docker-compose up", ("docker", "compose", "up")),
        ("docker-buildx build .", ("docker", "buildx", "build", ".")),
        ("$(DOCKER) build .", ("docker", "build", ".")),
        ("$${DOCKER:-docker} build .", ("docker", "build", ".")),
        ("$(DOCKER_COMPOSE) up", ("docker", "compose", "up")),
        ("echo hi | docker login -u x", ("docker", "login", "-u", "x")),
    ],
)
def test_docker_is_found_whatever_it_is_called(
    tmp_path: Path, text: str, argv: tuple[str, ...]
) -> None:
    assert found(tmp_path, "Makefile", f"t:\n\t{text}\n") == [argv]


@pytest.mark.parametrize(
    "text", ["echo docker build .", "cat Dockerfile", "$(GO) build .", "# docker x"]
)
def test_what_is_no_command_of_docker_is_not_found(tmp_path: Path, text: str) -> None:
    assert found(tmp_path, "Makefile", f"t:\n\t{text}\n") == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("ssh prod 'docker pull x'", "ssh … docker pull"),
        ("xargs docker rm < x", "xargs … docker rm"),
        (
            "sh -c 'cd a && docker build . && docker login -p pass'",
            "sh … docker build, docker login",
        ),
    ],
)
def test_what_another_program_runs_is_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "Makefile").write_text(f"t:\n\t{text}\n\tssh prod uptime\n", encoding="utf-8")
    (line,) = docker_lines(tmp_path)
    assert (line.argv, line.place) == ((), "Makefile:2")
    assert line.left[0][0] == named


def test_a_line_knows_where_it_was_found(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "Makefile").write_text("image:\n\tdocker build .\n", encoding="utf-8")
    text = "all:\n\t$(MAKE) -C sub image\n\tcd sub && make -C ../../other\n"
    (tmp_path / "Makefile").write_text(text, encoding="utf-8")
    (line,) = docker_lines(tmp_path)
    assert (line.place, line.folder, line.where) == ("sub/Makefile:2", "sub", "target image")


def test_make_prefers_its_own_names(tmp_path: Path) -> None:
    for name in ("Makefile", "GNUmakefile"):
        (tmp_path / name).write_text(f"t:\n\tdocker build -t {name} .\n", encoding="utf-8")
    (line,) = docker_lines(tmp_path)
    assert line.file == "GNUmakefile"


def test_a_file_that_leads_out_of_the_repository_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("t:\n\tdocker build .\n", encoding="utf-8")
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "Makefile").symlink_to(tmp_path / "outside")
    assert docker_lines(tmp_path / "repo") == []


def test_bake_files_in_hcl_are_read_by_buildx(tmp_path: Path) -> None:
    path = tmp_path / "docker-bake.hcl"
    path.write_text(HCL, encoding="utf-8")
    argv = ("docker", "buildx", "bake", "--file", str(path), "--print", "app", "dev")
    printed = {"target": {"app": {"context": ".", "tags": ["x"], "cache-from": [{"type": "gha"}]}}}
    runner = FakeExecutor({argv: Completed(code=0, stdout=json.dumps(printed))})
    (line,) = docker_lines(tmp_path, runner)
    assert line.argv == ("docker", "buildx", "build", "--tag", "x", "--cache-from", "type=gha", ".")
    assert line.line == 1
    assert runner.asked == [argv]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "only docker buildx bake --print reads HCL"),
        (Completed(code=1, stderr="no such target"), "no such target"),
        (Completed(code=0, stdout="nonsense"), "failed"),
        (Completed(code=0, stdout='{"target": 1}'), "failed"),
    ],
)
def test_a_bake_file_that_no_buildx_reads_is_named(
    tmp_path: Path, answer: Completed | None, why: str
) -> None:
    (tmp_path / "docker-bake.hcl").write_text(HCL, encoding="utf-8")
    runner = FakeExecutor({("docker", "buildx"): answer}) if answer else None
    (line,) = docker_lines(tmp_path, runner)
    assert line.argv == ()
    assert why in line.left[0][1]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("compose.yaml", "a: [\n"),
        ("compose.yaml", "a: &a [*a]\n"),
        # On one line each would be looked at as the possible start of a key, again and again.
        ("compose.yaml", "[\n" * 3000),
        ("compose.yaml", "a: 1\n---\nb: 2\n"),
        ("docker-bake.json", "{"),
        ("docker-bake.json", "[1]"),
        (".goreleaser.yaml", "\tx"),
    ],
)
def test_a_file_that_can_not_be_read_is_named(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    (line,) = docker_lines(tmp_path)
    assert (line.file, line.argv) == (name, ())
    assert line.left[0][1]


def test_yaml_is_read_as_docker_reads_it() -> None:
    document = read_yaml(
        'a: &a {x: on, y: "22:22"}\nb:\n  <<: *a\n  y: 22:22\n  z: ~\nc: [1, null]\n'
        'd: {x: "", y: , z: NULL}\n'
    )
    assert isinstance(document, Node)
    assert document.get("b").pairs == ["x=on", "y=22:22", "z"]
    assert document.get("b").line == 3
    assert document.get("d").pairs == ["x=", "y", "z"]
    assert document.get("c").texts == ["1"]
    assert document.get("c", "d").value == ""
    assert read_yaml("") == Node({}, 1)


def test_a_yaml_file_that_grows_is_read_in_no_time() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    assert isinstance(read_yaml("\n".join(lines)), Node)


@given(st.one_of(st.text(), st.text("-:[]{}&*!|>\n \t'\"<a?%@`,#")))
def test_any_text_is_read_as_yaml(text: str) -> None:
    assert isinstance(read_yaml(text), Node | str)
