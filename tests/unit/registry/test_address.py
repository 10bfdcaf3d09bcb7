"""Which proxy is spoken to, what it learns, and what is no address of one."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from ipaddress import IPv4Address

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from registries import QuietServer, serving
from urllib3.exceptions import LocationParseError

from buildlib.config.tables import Registry
from buildlib.errors import InputError
from buildlib.registry.address import (
    Routes,
    add_query,
    follow,
    is_private,
    parse_address,
    same_server,
)
from buildlib.registry.connection import Deadline, until
from buildlib.registry.credentials import Credentials
from buildlib.registry.limits import Limits
from buildlib.registry.loopback import is_loopback
from buildlib.registry.open import are_local
from buildlib.registry.transport import Transport


def _proxy(env: Mapping[str, str]) -> urllib3.ProxyManager:
    found = _manager(env, "https://registry.example/")
    assert isinstance(found, urllib3.ProxyManager)
    return found


def _manager(env: Mapping[str, str], address: str) -> urllib3.PoolManager:
    return Routes(env, 1.0).manager(parse_address(address))


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
    with pytest.raises(InputError, match=f"{variable} is not the address") as caught:
        Transport("registry.example", env={variable: said})
    assert "plant" not in str(caught.value)
    assert "SOCKS" in str(caught.value)


def test_what_is_not_needed_is_not_looked_at() -> None:
    env = {"HTTPS_PROXY": "socks5://proxy.example", "NO_PROXY": "spared.example"}
    for host in ("127.0.0.1:5000", "spared.example"):
        assert not isinstance(_manager(env, f"https://{host}/"), urllib3.ProxyManager)


@pytest.mark.parametrize(
    ("address", "through"),
    [
        pytest.param("https://registry.example/v2/", "http://encrypted.example:3128", id="itself"),
        pytest.param("http://blobs.example/x", "http://plain.example:3128", id="in the clear"),
        pytest.param("https://tokens.spared.example/token", "", id="a spared token service"),
        pytest.param("http://127.0.0.1:5001/token", "", id="a token service of this machine"),
        pytest.param("http://localhost/token", "", id="the same by its name"),
        pytest.param("http://[::1]:5001/token", "", id="the same of version 6"),
    ],
)
def test_each_address_has_its_own_way(address: str, through: str) -> None:
    env = {
        "HTTPS_PROXY": "http://encrypted.example:3128",
        "HTTP_PROXY": "http://plain.example:3128",
        "NO_PROXY": ".spared.example",
    }
    proxy = _manager(env, address).proxy
    assert (proxy.url if proxy else "") == through


class _Asked(BaseHTTPRequestHandler):
    """Answers with what it was asked for."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.path)))
        self.end_headers()
        self.wfile.write(self.path.encode())


def test_a_proxy_that_forwards_is_given_the_whole_address_and_no_other_server() -> None:
    deadline = Deadline("blobs.example", "GET", Limits(), silence=10)
    with serving(QuietServer(_Asked)) as port, until(deadline):
        routes = Routes({"HTTP_PROXY": f"http://127.0.0.1:{port}"}, 10.0)
        for address, seen in (
            ("http://blobs.example/x?y=1", "http://blobs.example/x?y=1"),
            (f"http://127.0.0.1:{port}/x?y=1", "/x?y=1"),
        ):
            assert routes.open("GET", parse_address(address), None, {}).data.decode() == seen
        routes.close()


@pytest.mark.parametrize(
    ("no_proxy", "address", "spared"),
    [
        ("*", "https://registry.example/", True),
        ("", "https://registry.example/", False),
        (" , other.example , registry.example ", "https://registry.example/", True),
        ("registry.example", "https://a.registry.example/", True),
        ("REGISTRY.example", "https://registry.EXAMPLE/", True),
        ("registry.example", "https://myregistry.example/", False),
        (".corp.example", "https://a.corp.example/", True),
        (".corp.example", "https://corp.example/", False),
        ("*.corp.example", "https://a.b.corp.example/", True),
        ("*.corp.example", "https://corp.example/", False),
        ("*corp.example", "https://corp.example/", False),
        ("registry.example:5000", "https://registry.example:5000/", True),
        ("registry.example:5000", "https://registry.example/", False),
        ("registry.example:443", "https://registry.example/", True),
        ("*.corp.example:80", "http://a.corp.example/", True),
        ("10.0.0.0/8", "https://10.1.2.3:5000/", True),
        ("10.1.2.3/8", "https://10.9.9.9/", True),
        ("10.0.0.0/8", "https://11.1.2.3/", False),
        ("10.0.0.0/8", "https://10.example/", False),
        ("10.0.0.0/99", "https://10.1.2.3/", False),
        ("10.1.2.3", "https://10.1.2.3:5000/", True),
        ("10.1.2.3:5000", "https://10.1.2.3:5000/", True),
        ("10.1.2.3:5000", "https://10.1.2.3/", False),
        ("fd00::/8", "https://[fd00::1]:5000/", True),
        ("fd00::1", "https://[fd00:0::1]:5000/", True),
        ("[fd00::1]:5000", "https://[fd00::1]:5000/", True),
        ("[fd00::1]:5000", "https://[fd00::1]/", False),
        ("fe80::/10", "https://[fd00::1]/", False),
        (":5000", "https://registry.example:5000/", False),
        ("registry.example:http", "http://registry.example/", False),
    ],
)
def test_no_proxy_is_read_as_docker_reads_it(
    no_proxy: str,
    address: str,
    spared: bool,
) -> None:
    found = _manager({"ALL_PROXY": "http://proxy.example", "NO_PROXY": no_proxy}, address)
    assert isinstance(found, urllib3.ProxyManager) is not spared


@given(st.ip_addresses(network="10.32.0.0/11"), st.integers(0, 32))
def test_a_range_of_no_proxy_has_the_addresses_that_it_names(
    address: IPv4Address, length: int
) -> None:
    inside = f"{address}/{length}"
    env = {"HTTPS_PROXY": "http://proxy.example", "NO_PROXY": inside}
    assert not isinstance(_manager(env, f"https://{address}:5000/"), urllib3.ProxyManager)


def test_a_variable_in_capitals_wins_and_an_empty_one_is_none() -> None:
    both = {"https_proxy": "http://small.example", "HTTPS_PROXY": "http://capitals.example"}
    assert str(_proxy(both).proxy) == "http://capitals.example:80"
    assert str(_proxy({**both, "HTTPS_PROXY": ""}).proxy) == "http://small.example:80"


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("https://tokens.example/token", True),
        ("http://127.0.0.1:5000/token", True),
        ("http://[::1]:5000/token", True),
        ("http://tokens.example/token", False),
        ("http://127.0.0.1.tokens.example/token", False),
        ("http://0x7f000001/token", False),
        ("http://2130706433/token", False),
        ("http://127.1/token", False),
    ],
)
def test_who_else_reads_what_is_sent(address: str, private: bool) -> None:
    assert is_private(parse_address(address)) is private


@pytest.mark.parametrize(
    "address",
    [
        "http://evil.example\\@127.0.0.1/token",
        "http://evil.example\\127.0.0.1/token",
        "http://127.0.0.1\\@evil.example/token",
        "http://127.0.0.1@tokens.example/token",
        "http://@tokens.example/token",
        "http://me:secret@127.0.0.1/token",
        "http:\\\\127.0.0.1/token",
        "http://127.0.0.1\t.evil.example/token",
        "http://127.0.0.1\n/token",
        "http://127.0.0.1 /token",
        " http://127.0.0.1/token",
        "http://127.0.0.1\x00/token",
        "http://127.0.0.1\u3002evil.example/token",
        "http://evil.example\uff0f@127.0.0.1/token",
        "http://127.0.0.1:80:80/token",
        "http://127.0.0.1:x/token",
        "http://127.0.0.1:99999/token",
        "http://[::1/token",
        "http://[::1%25lo]/token",
        "http://[v1.x]/token",
        "http://%31%32%37.0.0.1%2f/token",
        "http://a..example/token",
        "http:///token",
        "http:127.0.0.1/token",
        "//127.0.0.1/token",
        "/token",
        "",
        "ftp://127.0.0.1/token",
        "file:///etc/passwd",
        "javascript:alert(1)",
    ],
)
def test_what_programs_read_in_several_ways_is_no_address(address: str) -> None:
    with pytest.raises(LocationParseError):
        parse_address(address)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("/up?a=b", "https://registry.example/up?a=b"),
        ("more?n=2", "https://registry.example/v2/more?n=2"),
        ("?n=2", "https://registry.example/v2/tags?n=2"),
        ("//other.example/up", "https://other.example/up"),
        ("http://registry.example/up", "https://registry.example/up"),
        ("http://REGISTRY.example:443/up#part", "https://registry.example/up"),
        ("https://other.example/up@x", "https://other.example/up@x"),
    ],
)
def test_an_address_is_relative_to_the_one_that_was_asked(address: str, found: str) -> None:
    base = parse_address("https://registry.example/v2/tags")
    assert follow(base, address).url == found
    assert same_server(base, follow(base, address)) is ("registry" in found)


@pytest.mark.parametrize(
    "address", ["/\\evil.example/up", "\\\\evil.example/up", "http://[x", "h x"]
)
def test_a_relative_one_is_held_to_the_same(address: str) -> None:
    with pytest.raises(LocationParseError):
        follow(parse_address("https://registry.example/v2/"), address)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("https://r.example/token", "https://r.example/token?a=1"),
        ("https://r.example/token?account=x", "https://r.example/token?account=x&a=1"),
        ("https://r.example/token?", "https://r.example/token?a=1"),
        ("https://r.example", "https://r.example?a=1"),
    ],
)
def test_a_query_is_added_to_the_one_that_is_there(address: str, found: str) -> None:
    assert add_query(parse_address(address), "a=1").url == found


@pytest.mark.parametrize("host", ["registry.example\\", "a b", "registry.example:x"])
def test_a_host_that_is_none_is_told(host: str) -> None:
    with pytest.raises(InputError, match="is not the address of a registry"):
        Transport(host)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:5000", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:5000"]
)
def test_a_host_on_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        *("", "registry.example", "localhost.example", "127.0.0.1.example", "0.0.0.0", "[::2]"),
        *("registry.example\\", "localhost\\.example", "127.0.0.1@example", "example#127.0.0.1"),
        *("127.0.0.1:5000@example", "localhost/..", "127.0.0.1:x", "[::1", "localhost\n", "0x7f.1"),
    ],
)
def test_a_host_elsewhere(host: str) -> None:
    assert not is_loopback(host)


def test_registries_are_on_this_machine_if_there_are_any_and_all_are() -> None:
    here = Registry(name="here", repository="localhost:5000/thing")
    there = Registry(name="there", repository="registry.example/thing")
    assert are_local([here, here])
    assert not are_local([here, there])
    assert not are_local([])


def test_a_password_that_is_no_text_is_sent_as_the_bytes_that_it_is() -> None:
    known = Credentials(username="ann", secret="p\udce4ss", source="the test")
    assert base64.b64decode(known.basic) == b"ann:p\xe4ss"
