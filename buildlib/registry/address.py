"""Addresses of registries: with or without encryption, directly or through a proxy.

Only urllib3 parses addresses, so that checks and connections use the same result.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Final
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import Url, parse_url

from buildlib.errors import InputError
from buildlib.registry.connection import POOLS
from buildlib.registry.loopback import is_loopback

_PORTS: Final = {"http": 80, "https": 443}
# The characters of an address, without the backslash, which some parsers take for a slash.
_WRITTEN: Final = re.compile(r"[!-\[\]-~]*")
_USER: Final = re.compile(r"[^/?#]*//[^/?#]*@")
_HOST: Final = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")
# An entry of NO_PROXY: a host or an IP address, with or without a port.
_ENTRY: Final = re.compile(
    r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<host>[^:/\[\]]+|[0-9a-f]*:[0-9a-f.]*:[0-9a-f:.]*))"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_SECONDS_TO_CONNECT: Final = 10.0


def _is_host(host: str) -> bool:
    if not host.startswith("["):
        return bool(_HOST.fullmatch(host))
    try:
        return not IPv6Address(host[1:-1]).scope_id
    except ValueError:
        return False


def parse_address(text: str) -> Url:
    """Return the address of a registry, or one that a registry gave.

    Raises:
        LocationParseError: it is malformed, its scheme is not http or https, or it has a user or
            something else that programs parse differently.
    """
    _check(text)
    url = parse_url(text)
    if url.scheme not in _PORTS or _USER.match(text) or not _is_host(url.host or ""):
        raise LocationParseError(text)
    return url._replace(fragment=None)


def _check(text: str) -> None:
    if not _WRITTEN.fullmatch(text):
        raise LocationParseError(text)


def is_private(url: Url) -> bool:
    """Return whether what is sent to an address is encrypted, or stays on this machine."""
    return url.scheme == "https" or is_loopback(url.host or "")


def follow(base: Url, address: str) -> Url:
    """Return the absolute form of an address that a server gave.

    A registry behind a proxy with encryption may name itself with http: on its own host, encryption
    is used all the same. An address on another host has to be encrypted if the server's was.

    Args:
        address: relative to that, or absolute.

    Raises:
        LocationParseError: it is malformed, or gives up encryption.
    """
    _check(address)
    try:
        found = parse_address(urljoin(base.url, address))
    except ValueError:
        raise LocationParseError(address) from None
    if base.scheme == found.scheme:
        return found
    # One port has encryption or not, whatever the server says.
    same = {_port(base)} | ({_PORTS["http"]} if _port(base) == _PORTS["https"] else set())
    if found.host == base.host and _port(found) in same:
        return found._replace(scheme=base.scheme, port=base.port)
    if found.scheme == "http":
        raise LocationParseError(address)
    return found


def _port(url: Url) -> int | None:
    return url.port or _PORTS.get(url.scheme or "")


def same_server(one: Url, other: Url) -> bool:
    """Return whether two addresses are of one server, which may get the same secrets."""
    ours, theirs = ((url.scheme, url.host, _port(url)) for url in (one, other))
    return ours == theirs


def add_query(url: Url, text: str) -> Url:
    """Return an address with an addition to its query."""
    return url._replace(query="&".join(filter(None, (url.query, text))))


def is_spared(url: Url, no_proxy: str) -> bool:
    """Return whether `NO_PROXY` excludes an address from proxies, as docker reads it.

    Source: golang.org/x/net/http/httpproxy, config.go. An entry is `*`, a range of addresses, or a
    host, with or without its port; a host includes its subdomains, and `.host` or `*.host` are only
    these.
    """
    host = (url.host or "").strip("[]").lower().rstrip(".")
    entries = (entry.strip().lower() for entry in no_proxy.split(","))
    return any(entry and _spares(entry, host, _port(url)) for entry in entries)


def _spares(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    parsed = _ENTRY.fullmatch(entry)
    if not parsed:
        return "/" in entry and _is_within(host, entry)
    if parsed["port"] and int(parsed["port"]) != port:
        return False
    name = parsed["six"] or parsed["host"]
    if _is_within(host, name):
        return True
    name = name[1:] if name.startswith("*.") else name
    return host.endswith(name) if name[:1] == "." else host == name or host.endswith(f".{name}")


def _is_within(host: str, addresses: str) -> bool:
    try:
        return ip_address(host) in ip_network(addresses, strict=False)
    except ValueError:
        return False


class Routes:
    """Connections to all servers, each directly or through a proxy.

    A registry leads to other servers, for tokens, blobs and uploads, some of which the environment
    may exclude from the proxy.

    Args:
        env: for `https_proxy`, `http_proxy`, `all_proxy` and `no_proxy`, in either case.
        timeout: seconds without a byte until a connection counts as dead.
    """

    def __init__(self, env: Mapping[str, str], timeout: float) -> None:
        # As in Go: capitals win, and an empty variable counts as unset.
        self._variables = {
            name.lower(): (name, env[name]) for name in sorted(env, reverse=True) if env[name]
        }
        limits = urllib3.Timeout(connect=min(_SECONDS_TO_CONNECT, timeout), read=timeout)
        self._options: dict[str, Any] = {"timeout": limits, "maxsize": 4, "retries": False}
        self._managers: dict[str, urllib3.PoolManager] = {}

    def manager(self, url: Url) -> urllib3.PoolManager:
        """Return urllib3's connections for an address.

        Raises:
            InputError: the proxy's address can't be used (exit 2).
        """
        variable, proxy = self._proxy(url)
        if proxy not in self._managers:
            made = self._through(variable, proxy) if proxy else urllib3.PoolManager(**self._options)
            made.pool_classes_by_scheme = POOLS
            self._managers[proxy] = made
        return self._managers[proxy]

    def open(
        self, method: str, url: Url, body: object, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        """Send a request, and return the response as soon as its headers are there."""
        manager = self.manager(url)
        pool = manager.connection_from_host(url.host, url.port, url.scheme)
        # Only a proxy that forwards plain HTTP needs the absolute address.
        forwards = isinstance(manager, urllib3.ProxyManager) and url.scheme == "http"
        found: urllib3.BaseHTTPResponse = pool.urlopen(
            method,
            url.url if forwards else url.request_uri,
            body=body,  # type: ignore[arg-type]
            headers={**headers},
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
        )
        return found

    def close(self) -> None:
        """Close all connections."""
        for manager in self._managers.values():
            manager.clear()

    def _proxy(self, url: Url) -> tuple[str, str]:
        """Return the variable for the proxy of an address, and its value; both empty: none."""
        nothing = ("", "")
        if is_loopback(url.netloc or "") or is_spared(
            url, self._variables.get("no_proxy", nothing)[1]
        ):
            return nothing
        found = (
            self._variables.get(name, nothing) for name in (f"{url.scheme}_proxy", "all_proxy")
        )
        return next((one for one in found if one[1]), nothing)

    def _through(self, variable: str, proxy: str) -> urllib3.ProxyManager:
        try:
            return _make_proxy(proxy, self._options)
        except (ValueError, HTTPError):
            # The value is not printed: there may be a password in it.
            raise InputError(
                f"{variable} is not the address of a supported proxy",
                why="it has to be http://HOST:PORT or https://HOST:PORT; SOCKS is not supported",
                hint="in a user and a password, write @ as %40, and : as %3A",
            ) from None


def _make_proxy(address: str, options: Mapping[str, Any]) -> urllib3.ProxyManager:
    parts = urlsplit(address if "://" in address else f"http://{address}")
    if not parts.hostname:
        raise LocationParseError(address)
    headers = {}
    if parts.username:
        pair = b":".join(map(unquote_to_bytes, (parts.username, parts.password or "")))
        headers["proxy-authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    # urlsplit removes the brackets of an IPv6 address.
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    return urllib3.ProxyManager(f"{parts.scheme}://{host}{port}", proxy_headers=headers, **options)
