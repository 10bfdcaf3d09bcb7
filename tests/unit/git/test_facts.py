"""What vcs takes apart without asking git: addresses, and git's complaints."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from buildlib.errors import ToolError
from buildlib.git.command import GitResult, _finished
from buildlib.git.facts import without_credentials

PLAIN = {
    "none": ("https://example.org/x.git", "https://example.org/x.git"),
    "user and password": ("https://user:pw@example.org/x.git", "https://example.org/x.git"),
    "a token alone": ("https://token@example.org/x.git", "https://example.org/x.git"),
    "a user of ssh": ("ssh://git@example.org:22/x.git", "ssh://example.org:22/x.git"),
    "an empty password": ("https://user:@example.org/x", "https://example.org/x"),
    "no path": ("https://user:pw@example.org", "https://example.org"),
    "a query": ("https://user:pw@example.org?a=b@c", "https://example.org?a=b@c"),
    "IPv6": ("https://user:pw@[::1]:80/x", "https://[::1]:80/x"),
    "IPv6 without": ("https://[::1]/x@y", "https://[::1]/x@y"),
    "an @ in the path": ("https://example.org/@me/x.git", "https://example.org/@me/x.git"),
    "an @ after a port": ("https://example.org:8443/@me/x", "https://example.org:8443/@me/x"),
    "an @ in both": ("https://user:pw@example.org/@me/x", "https://example.org/@me/x"),
    "a file": ("file:///srv/me@home/x", "file:///srv/me@home/x"),
    "the short form of ssh": ("git@example.org:me/x.git", "git@example.org:me/x.git"),
    "a path": ("/srv/me@home/x", "/srv/me@home/x"),
    "a URL in a path": ("git@example.org:http://a@b", "git@example.org:http://a@b"),
    "a transport": ("odd::https://user:pw@example.org/x", "odd::https://example.org/x"),
    "a blank before it": (" https://user:pw@example.org/x", " https://example.org/x"),
    "nothing": ("", ""),
}
# Nobody should write them like that, but somebody does.
ODD = {
    "a bracket in the password": "https://user:p[ss@example.org/x.git",
    "a token in brackets": "https://x-access-token:[TOKEN]@example.org/x.git",
    "an @ in the password": "https://user:p@ss@example.org/x.git",
    "a slash in the password": "https://user:p/ss@example.org/x.git",
    "a slash after an @": "https://us@er:p/ss@example.org/x.git",
    "a # in the password": "https://user:p#ss@example.org/x.git",
    "a ? after figures": "https://user:12?ss@example.org/x.git",
    "figures that are no port before a slash": "https://user:123456/ss@example.org/x.git",
    "a line break in the password": "https://user:p\nss@example.org/x.git",
    "blanks in the password": "https://user:p s s@example.org/x.git",
}


@pytest.mark.parametrize(("address", "cut"), PLAIN.values(), ids=PLAIN)
def test_credentials_are_cut_and_nothing_else(address: str, cut: str) -> None:
    assert without_credentials(address) == cut


@pytest.mark.parametrize("address", ODD.values(), ids=ODD)
def test_a_password_is_cut_whatever_is_in_it(address: str) -> None:
    assert without_credentials(address) == "https://example.org/x.git"


@pytest.mark.parametrize("address", ["https://[x", "https://x]/@y", "://@", "https://", "a://[@"])
def test_what_is_no_address_is_no_crash(address: str) -> None:
    assert without_credentials(without_credentials(address)) == without_credentials(address)


def _failed(err: str, code: int = 128) -> GitResult:
    return GitResult(code, "", err, Path("/the repo"), ("status", "-z"))


@pytest.mark.parametrize(
    ("err", "complaint"),
    [
        pytest.param("fatal: bad object HEAD\n", "bad object HEAD", id="the only line"),
        pytest.param("error: bad tree object HEAD", "bad tree object HEAD", id="an error"),
        pytest.param("warning: x\nfatal: y\nTo go on, z\n", "y", id="warning and advice"),
        pytest.param("fatal: x\nfatal: y in submodule z", "x; y in submodule z", id="submodules"),
        pytest.param("Killed", "Killed", id="whatever was said last"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_the_reason_is_taken_out_of_what_git_says(err: str, complaint: str) -> None:
    assert _failed(err).complaint == complaint


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param(_failed("fatal: x"), "x", id="git's reason"),
        pytest.param(_failed("", -9), "it ended with code -9", id="killed"),
        pytest.param(_failed("", 127), "it is not installed", id="no git"),
    ],
)
def test_an_answer_that_is_none_is_an_error_with_its_command(answer: GitResult, why: str) -> None:
    with pytest.raises(ToolError, match=r"^git status failed") as caught:
        answer.checked()
    assert caught.value.why == why
    assert "git -C '/the repo' status -z" in caught.value.hint


def test_an_answer_passes_with_its_warnings() -> None:
    answer = _failed("warning: x", 0)
    assert answer.checked() is answer


class _Slow:
    """A git that takes a while."""

    returncode = 0

    def __init__(self) -> None:
        self.waits: list[float | None] = []

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        self.waits.append(timeout)
        if len(self.waits) < 3:
            raise subprocess.TimeoutExpired("git", timeout or 0)
        return b"all\n", b""


def test_no_wait_for_git_is_without_end() -> None:
    # Python notices a signal that comes just before a wait only after it.
    git: Any = _Slow()
    assert _finished(git, Path(), ("log",)).out == "all"
    assert len(git.waits) == 3
    assert None not in git.waits
