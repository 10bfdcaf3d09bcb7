from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buildlib.adopt.image_name import name_of_directory, name_of_remote
from buildlib.image.reference import parse_reference


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://github.com/You/Thing.git", "ghcr.io/you/thing"),
        ("https://me:secret@github.com/you/thing", "ghcr.io/you/thing"),
        ("https://me@github.com/you/thing/", "ghcr.io/you/thing"),
        ("git@github.com:you/thing.git", "ghcr.io/you/thing"),
        ("github.com:you/thing.git", "ghcr.io/you/thing"),
        ("ssh://git@github.com:22/you/thing.git", "ghcr.io/you/thing"),
        ("ssh://git@ssh.github.com:443/you/thing.git", "ghcr.io/you/thing"),
        ("git+ssh://git@github.com/you/thing", "ghcr.io/you/thing"),
        ("git://github.com/you/thing?ref=x#y", "ghcr.io/you/thing"),
        ("git@gitlab.com:group/sub/thing.git", "registry.gitlab.com/group/sub/thing"),
        ("https://git.example.org/team/thing.git", "thing"),
        ("ssh://git@[::1]:2222/team/thing.git", "thing"),
        ("git@[::1]:team/thing.git", "thing"),
        ("https://github.com/thing", "thing"),
        ("https://github.com/you/Ünïcode Thing", "ghcr.io/you/unicode-thing"),
        ("https://github.com/you/名前", ""),
        ("/srv/git/thing.git", "thing"),
        ("../thing.git", "thing"),
        ("/srv/git/origin.git", ""),
        ("file:///srv/git/thing.git", "thing"),
        ("C:\\work\\thing", "thing"),
        ("ext::sh -c x", "sh-c-x"),
        ("..", ""),
        ("", ""),
    ],
)
def test_an_image_is_called_after_the_remote(address: str, name: str) -> None:
    assert name_of_remote(address) == name


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("My App", "my-app"),
        ("thing.v2", "thing.v2"),
        ("a__b", "a-b"),
        ("..x--", "x"),
        ("名前", "app"),
        ("", "app"),
    ],
)
def test_an_image_is_called_after_its_directory(directory: str, name: str) -> None:
    assert name_of_directory(directory) == name


@given(st.text())
@example("a._b")
@example("x" * 400)
@example("git@github.com:a/b._c")
def test_a_name_is_always_that_of_an_image(text: str) -> None:
    assert parse_reference(name_of_directory(text)).name == name_of_directory(text)
    if name := name_of_remote(text):
        assert parse_reference(name).name == name
