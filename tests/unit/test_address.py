"""Which proxy is spoken to, what it learns, and what is no address of one."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import pytest
import urllib3

from buildlib.errors import InputError
from buildlib.registry.address import is_private, make_pool
from buildlib.registry.credentials import Credentials
from buildlib.registry.transport import Transport


def _proxy(env: Mapping[str, str]) -> urllib3.ProxyManager:
    pool = make_pool("registry.example", "https", env, 1.0)
    assert isinstance(pool, urllib3.ProxyManager)
    return pool


@pytest.mark.parametrize(
    ("said", "address"),
    [
        pytest.param("http://proxy.example:3128", "http://proxy.example:3128", id="a name"),
        pytest.param("proxy.example:3128", "http://proxy.example:3128", id="without a scheme"),
        pytest.param("http://[::1]:3128", "http://[::1]:3128", id="an address of version 6"),
        pytest.param("http://me:p@[fe80::1]:3128", "http://[fe80::1]:3128", id="with who we are"),
    ],
)
def test_a_proxy_is_where_the_variable_says(said: str, address: str) -> None:
    found = _proxy({"HTTPS_PROXY": said}).proxy
    assert found
    assert found.url == address


@pytest.mark.parametrize(
    ("written", "pair"),
    [
        pytest.param("me:secret", b"me:secret", id="as they are"),
        pytest.param("me%40home:p%40s%3As", b"me@home:p@s:s", id="with what an address can't hold"),
        pytest.param("me:p%C3%A4ss", "me:päss".encode(), id="in another script"),
        pytest.param("me:p\u20acss", "me:p\u20acss".encode(), id="in another script, as it is"),
        pytest.param("me", b"me:", id="without a password"),
    ],
)
def test_a_proxy_learns_user_and_password_as_they_are_meant(written: str, pair: bytes) -> None:
    headers = _proxy({"https_proxy": f"http://{written}@proxy.example:3128"}).proxy_headers
    assert headers["proxy-authorization"] == f"Basic {base64.b64encode(pair).decode()}"


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    "said",
    [
        pytest.param("socks5h://me:plant@proxy.example:1080", id="SOCKS"),
        pytest.param("http://me:plant@proxy.example:port", id="a port that is no number"),
        pytest.param("http://me:plant@proxy.example:99999", id="a port that is too large"),
        pytest.param("http://[::1:3128/plant", id="half of an address"),
        pytest.param("http://me:plant@", id="no host"),
        pytest.param("http://me:plant\udce4@proxy.example", id="bytes that are no text"),
    ],
)
def test_what_is_no_proxy_is_told_by_its_variable_alone(variable: str, said: str) -> None:
    with pytest.raises(InputError, match=f"{variable} is no address") as caught:
        Transport("registry.example", env={variable: said})
    assert "plant" not in str(caught.value)
    assert "SOCKS" in str(caught.value)


def test_what_is_not_needed_is_not_looked_at() -> None:
    env = {"HTTPS_PROXY": "socks5://proxy.example", "NO_PROXY": "spared.example"}
    for host in ("127.0.0.1:5000", "spared.example"):
        assert not isinstance(make_pool(host, "https", env, 1.0), urllib3.ProxyManager)


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("https://tokens.example/token", True),
        ("http://127.0.0.1:5000/token", True),
        ("http://[::1]:5000/token", True),
        ("http://tokens.example/token", False),
        ("http://127.0.0.1@tokens.example/token", False),
        ("/token", False),
    ],
)
def test_who_else_reads_what_is_sent(address: str, private: bool) -> None:  # noqa: FBT001 - a table
    assert is_private(address) is private


def test_a_password_that_is_no_text_is_sent_as_the_bytes_that_it_is() -> None:
    known = Credentials(username="ann", secret="p\udce4ss", source="the test")  # noqa: S106 - made up
    assert base64.b64decode(known.basic) == b"ann:p\xe4ss"
