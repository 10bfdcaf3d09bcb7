"""What vcs takes apart without asking git."""

from __future__ import annotations

import pytest

from buildlib.vcs import without_credentials

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
