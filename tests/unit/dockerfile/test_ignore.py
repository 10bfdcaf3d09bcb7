from __future__ import annotations

import pytest

from buildlib.dockerfile.ignore import DockerIgnore
from buildlib.errors import InputError


def test_a_file_is_no_way_to_anything() -> None:
    assert DockerIgnore(["*", "!*/src"]).excludes("LICENSE", directory=False)
    assert not DockerIgnore(["*", "!LICEN?E"]).excludes("LICENSE", directory=False)


@pytest.mark.parametrize(
    ("lines", "path", "excluded"),
    [
        pytest.param([], "app", False, id="nothing is excluded by nothing"),
        pytest.param(["*"], "app", True, id="a star takes the top"),
        pytest.param(["*"], ".", False, id="the context itself is always there"),
        pytest.param(["*", "!app"], "app/", False, id="an exception brings back"),
        pytest.param(["*", "!app"], "app/main.go", False, id="with all that is below"),
        pytest.param(["*", "!app/main.go"], "app", False, id="or the way to what is below"),
        pytest.param(["*", "!app", "app"], "app", True, id="the last line decides"),
        pytest.param(["**/*.md"], "a/b/c.md", True, id="two stars cross directories"),
        pytest.param(["**/*.md"], "c.md", True, id="and match none as well"),
        pytest.param(["*.md"], "a/c.md", False, id="one star does not cross"),
        pytest.param(["a/**"], "a/b/c", True, id="two stars at the end"),
        pytest.param(["te?t"], "test", True, id="a question mark is one character"),
        pytest.param(["[a-c]x"], "bx", True, id="a class"),
        pytest.param(["[^a-c]x"], "bx", False, id="a class turned round"),
        pytest.param(["\\*x"], "*x", True, id="an escape"),
        pytest.param(["# app", "", "  "], "app", False, id="comments and blanks count for nothing"),
        pytest.param(["/app/"], "./app", True, id="slashes at the ends do not matter"),
        pytest.param(
            ["**", "!**/*.go"], "app", False, id="an exception anywhere opens a directory"
        ),
        pytest.param(["*", "!*/src"], "app/", False, id="one below any directory does so too"),
        pytest.param(["*", "!*/src"], "app/x", True, id="and not what is beside it"),
        pytest.param(["*", "!docs/*.md"], "app", True, id="one elsewhere does not"),
        pytest.param(["*", "!*.md"], "app", True, id="nor one that reaches less deep"),
        pytest.param(["**", "!a?p/**/x"], "app/b/c", False, id="two stars reach any depth"),
        pytest.param(["!**/*.go", "*"], "app", True, id="a later line closes it again"),
        pytest.param(["app"], "apple", False, id="a name is matched whole"),
    ],
)
def test_dockerignore(lines: list[str], path: str, excluded: bool) -> None:
    assert DockerIgnore(lines).excludes(path) is excluded


# Each was tried on a builder: what it makes of a pattern is not always what its manual says.
@pytest.mark.parametrize(
    ("line", "path", "excluded"),
    [
        pytest.param(r"[\w]asks.py", "tasks.py", True, id="a letter of a regular expression"),
        pytest.param(r"\dx", "5x", True, id="outside of brackets as well"),
        pytest.param(r"\dx", "dx", False, id="and not the letter itself"),
        pytest.param(r"[\-]x", "-x", True, id="an escape within brackets"),
        pytest.param(r"[\]]x", "]x", True, id="a bracket within brackets"),
        pytest.param("[[]x", "[x", True, id="one that opens"),
        pytest.param(r"[^\^]x", "ax", True, id="all but one character"),
        pytest.param(r"[^\^]x", "^x", False, id="which is a sign elsewhere"),
        pytest.param("[!-/]x", "*x", True, id="a range of signs"),
        pytest.param("[&&]x", "&x", True, id="signs that a set of Python's would have"),
        pytest.param("a**b", "a/x/b", True, id="two stars are directories"),
        pytest.param("a**b", "axb", False, id="and nothing else"),
        pytest.param("**b", "axb", True, id="except at the beginning of a name"),
        pytest.param("**b?", "axbx", False, id="where all else is plain"),
        pytest.param(" #c", "#c", True, id="a comment begins its line"),
        pytest.param("*.{js,ts}", "x.{js,ts}", False, id="what can't be told keeps nothing out"),
        pytest.param("[*]x", "*x", False, id="nor does a star within brackets"),
        pytest.param("[[:alpha:]]x", "ax", False, id="nor the name of a class"),
        pytest.param(r"obj\\Pages", r"obj\Pages", True, id="a backslash itself"),
        pytest.param(r"obj\Pages", "objPages", False, id="nor a letter that may mean anything"),
        pytest.param("x*[]a]", "xaa", False, id="nor a bracket that is read by nobody"),
        pytest.param("/", "a", False, id="the whole of it is nothing"),
    ],
)
def test_a_pattern_is_what_the_builder_takes_it_for(
    line: str,
    path: str,
    excluded: bool,
) -> None:
    assert DockerIgnore([line]).excludes(path) is excluded


def test_an_exception_that_can_t_be_told_brings_everything_back() -> None:
    assert not DockerIgnore(["*", "![*]x"]).excludes("app", directory=False)
    assert DockerIgnore(["*", "![*]x", "app"]).excludes("app", directory=False)


def test_a_slash_within_brackets_may_lead_anywhere() -> None:
    assert not DockerIgnore(["*", "!app[a/b]c"]).excludes("app")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        pytest.param("[z-a]*", "a range that ends before it begins", id="a range turned round"),
        pytest.param(r"[a-\]]x", "a range that ends before it begins", id="one up to a bracket"),
        pytest.param("[^]x", "a [ or a \\ that nothing ends", id="a set of nothing"),
        pytest.param("[]a]", "a [ or a \\ that nothing ends", id="nor can one begin so"),
        pytest.param("[a-]x", "a [ or a \\ that nothing ends", id="a range without an end"),
        pytest.param("[-x]x", "a [ or a \\ that nothing ends", id="or without a beginning"),
        pytest.param("[abc", "a [ or a \\ that nothing ends", id="a set that stays open"),
        pytest.param("x\\", "a [ or a \\ that nothing ends", id="an escape of nothing"),
        pytest.param("!", "there is nothing after the !", id="an exception from nothing"),
        pytest.param("! /", "there is nothing after the !", id="or from the whole"),
    ],
)
def test_what_the_builder_refuses_is_told_with_its_line(line: str, why: str) -> None:
    with pytest.raises(InputError) as caught:
        DockerIgnore(["# told", "*", f" {line} "], name="x.dockerignore")
    assert caught.value.what == f"line 3 of x.dockerignore is not a pattern: {line}"
    assert caught.value.why == why
