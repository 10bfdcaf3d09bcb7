from __future__ import annotations

import pytest

from buildlib.adopt.ignore_lines import docker_lines, git_lines, written
from buildlib.errors import InputError

ALL = (".git", ".venv", "**/__pycache__", "dist", "data", "bin", "cosign.key")


def test_a_gitignore_gets_what_it_lacks() -> None:
    assert git_lines([], []) == (
        *(".venv/", "__pycache__/", "/dist/", "/data/", "/bin/", "cosign.key"),
    )
    lines = ["# dist", "!bin", "/dist", "data/", "*.key", ".venv", "__pycache__"]
    assert git_lines(lines, []) == ("/bin/",)
    assert "/bin/" not in git_lines([], ["bin"])


@pytest.mark.parametrize(
    ("lines", "sources", "missing"),
    [
        ([], ["."], ALL),
        (["*", "!app"], ["app"], ()),
        ([*ALL], ["."], ()),
        (["**/dist/", "bin*", "data/**"], ["."], (*ALL[:3], "data", "cosign.key")),
        ([], ["dist/app", "./bin", "data*"], (*ALL[:3], "cosign.key")),
        (["dist", "!dist/keep"], ["."], tuple(one for one in ALL if one != "dist")),
        ([], ["*", "$X", "**/bin"], ALL),
    ],
)
def test_an_ignore_file_gets_what_it_lacks(
    lines: list[str], sources: list[str], missing: tuple[str, ...]
) -> None:
    assert docker_lines(lines, [], sources) == missing


def test_what_the_repository_has_of_its_own_is_not_ignored() -> None:
    assert "data" not in docker_lines([], ["data"], ["."])
    assert docker_lines([], [], ["."], ["node_modules", "dist"]) == (*ALL, "node_modules")


def test_a_line_that_the_builder_refuses_is_reported() -> None:
    with pytest.raises(InputError, match="line 1"):
        docker_lines(["[a"], [], [])


def test_the_directories_for_data_are_ignored_as_they_are_configured() -> None:
    names = written(["guests", "var/notes"])
    assert git_lines([], [], names)[2:] == (
        *("/dist/", "/guests/", "/var/notes/", "/bin/", "cosign.key"),
    )
    lines = docker_lines([], [], ["var"], names=names)
    assert {"guests", "var/notes"} <= {*lines}
    assert "data" not in lines
    assert "var/notes" not in docker_lines([], [], ["var/notes/first"], names=names)
