from __future__ import annotations

import re

import pytest
from characters import ANY
from hypothesis import given
from hypothesis import strategies as st

from buildlib.errors import InputError
from buildlib.image.reference import Reference, canonical, parse_reference, to_tag

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("thing", Reference(repository="thing"), id="a name alone"),
        pytest.param("thing:1.2", Reference(repository="thing", tag="1.2"), id="with a tag"),
        pytest.param("me/thing", Reference(repository="me/thing"), id="a path is no registry"),
        pytest.param(
            "ghcr.io/Me/Thing:V1",
            Reference(registry="ghcr.io", repository="me/thing", tag="V1"),
            id="the repository is lower-cased and the tag is not",
        ),
        pytest.param(
            "localhost:5000/thing:1",
            Reference(registry="localhost:5000", repository="thing", tag="1"),
            id="a port is no tag",
        ),
        pytest.param(
            f"localhost/thing@{DIGEST}",
            Reference(registry="localhost", repository="thing", digest=DIGEST),
            id="a digest",
        ),
        pytest.param(
            "[::1]:5000/team/thing:1",
            Reference(registry="[::1]:5000", repository="team/thing", tag="1"),
            id="an address of version 6 with a port",
        ),
        pytest.param(
            "[2001:DB8::1]/thing",
            Reference(registry="[2001:DB8::1]", repository="thing"),
            id="an address of version 6",
        ),
    ],
)
def test_reference_is_taken_apart(text: str, expected: Reference) -> None:
    assert parse_reference(text) == expected


def test_reference_is_put_together_again() -> None:
    assert str(parse_reference(f"reg.example:1/a/b:t@{DIGEST}")) == f"reg.example:1/a/b:t@{DIGEST}"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("a//b", id="an empty component"),
        pytest.param("-thing", id="a leading dash"),
        pytest.param("thing:", id="an empty tag"),
        pytest.param("thing:.x", id="a tag with a leading dot"),
        pytest.param("thing:a/b", id="a tag with a slash"),
        pytest.param("thing@sha256:12", id="a short digest"),
        pytest.param("a" * 256, id="a name over 255"),
        pytest.param("thing:" + "a" * 129, id="a tag over 128"),
        pytest.param("two words", id="a blank inside"),
        pytest.param("::1/thing", id="an address of version 6 without brackets"),
        pytest.param("[::1/thing", id="half of the brackets"),
        pytest.param("[::1%lo]/thing", id="an address with a zone"),
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_reference(text)


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("x", "docker.io/library/x"),
        ("library/x", "docker.io/library/x"),
        ("docker.io/x", "docker.io/library/x"),
        ("index.docker.io/x", "docker.io/library/x"),
        ("index.docker.io/library/x:1", "docker.io/library/x:1"),
        ("x:1.2", "docker.io/library/x:1.2"),
        (f"me/x@{DIGEST}", f"docker.io/me/x@{DIGEST}"),
        ("a/b/c", "docker.io/a/b/c"),
        ("docker.io/me/x", "docker.io/me/x"),
        ("localhost/x", "localhost/x"),
        ("host:1/x", "host:1/x"),
        ("[::1]:5000/x", "[::1]:5000/x"),
        ("ghcr.io/library/x", "ghcr.io/library/x"),
        ("my.io", "docker.io/library/my.io"),
    ],
)
def test_a_name_has_one_full_form(name: str, full: str) -> None:
    assert canonical(name) == full
    assert canonical(full) == full


@pytest.mark.parametrize(
    ("version", "tag"),
    [
        pytest.param("1.2.3", "1.2.3", id="a legal version stays"),
        pytest.param("1.2.3+build.5", "1.2.3-build.5", id="a plus becomes a dash"),
        pytest.param("feature/x y#z", "feature-x-y-z", id="illegal characters become dashes"),
        pytest.param("-.-1", "1", id="leading dots and dashes go"),
    ],
)
def test_version_is_mapped_into_the_tag_grammar(version: str, tag: str) -> None:
    assert to_tag(version) == tag


@given(st.text(ANY, min_size=1, max_size=300))
def test_every_mapped_tag_is_legal_and_stays_when_mapped_again(version: str) -> None:
    try:
        tag = to_tag(version)
    except InputError:
        # Nothing but blanks, dots, dashes and what became a dash.
        assert not re.search(r"[A-Za-z0-9_]", version)
        return
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", tag)
    assert to_tag(tag) == tag


def test_two_long_versions_with_one_beginning_stay_apart() -> None:
    assert to_tag("1." + "a" * 200 + "x") != to_tag("1." + "a" * 200 + "y")


def test_a_version_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(InputError, match="no tag can be made"):
        to_tag("...")
