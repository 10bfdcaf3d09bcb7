from __future__ import annotations

import shlex

import pytest

from buildlib.adopt.docker_options import parse_command


@pytest.mark.parametrize(
    ("line", "name", "options", "words"),
    [
        ("docker build .", "build", [], ["."]),
        ("docker image build .", "build", [], ["."]),
        ("docker buildx b .", "build", [], ["."]),
        ("docker buildx f app", "buildx bake", [], ["app"]),
        ("docker build . -t a --tag=b -tc -t=d", "build", [("tag", x) for x in "abcd"], ["."]),
        (
            "docker build --pull=false --no-cache .",
            "build",
            [("pull", "false"), ("no-cache", None)],
            ["."],
        ),
        ("docker build -qf x -- -y", "build", [("quiet", None), ("file", "x")], ["-y"]),
        ("docker build -t", "build", [("tag", "")], []),
        ("docker build -", "build", [], ["-"]),
        (
            "docker run -itp 80:80 img -p x",
            "run",
            [("interactive", None), ("tty", None), ("publish", "80:80")],
            ["img", "-p", "x"],
        ),
        ("docker run --net host img", "run", [("network", "host")], ["img"]),
        ("docker container run img", "run", [], ["img"]),
        ("docker push -a x", "push", [("all-tags", None)], ["x"]),
        ("docker manifest push --purge x", "manifest push", [("purge", None)], ["x"]),
        (
            "docker buildx imagetools create -t x y",
            "buildx imagetools create",
            [("tag", "x")],
            ["y"],
        ),
        (
            "docker compose up -d --build web",
            "compose up",
            [("detach", None), ("build", None)],
            ["web"],
        ),
        ("docker system prune -f", "system prune", [], ["-f"]),
        ("docker", "", [], []),
        ("docker compose", "compose", [], []),
    ],
)
def test_a_line_is_taken_apart_as_docker_does(
    line: str, name: str, options: list[tuple[str, str | None]], words: list[str]
) -> None:
    found = parse_command(shlex.split(line))
    assert found.name == name
    assert [(one.name, one.value) for one in found.options] == options
    assert list(found.words) == words
    assert found.unknown == ()


def test_options_of_docker_itself_and_unknown_ones_are_kept() -> None:
    found = parse_command(shlex.split("docker -H tcp://x --debug build --frobnicate -Z ."))
    assert [(one.name, one.value) for one in found.outer] == [("host", "tcp://x"), ("debug", None)]
    assert found.unknown == ("--frobnicate", "-Z")
    assert found.words == (".",)
    compose = parse_command(shlex.split("docker compose -f a.yaml -p x up"))
    assert [one.text for one in compose.outer] == ["-f a.yaml", "-p x"]
