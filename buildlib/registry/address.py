"""How a registry is reached: with or without encryption, directly or through a proxy."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final
from urllib import request
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import Url, parse_url

from buildlib.errors import InputError

_PORTS: Final = {"http": 80, "https": 443}


def is_loopback(host: str) -> bool:
    """Return whether a registry's host, with or without port, is this machine itself."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def is_private(address: str) -> bool:
    """Return whether nobody on the way reads what is sent to an address.

    Raises:
        LocationParseError: it is none.
    """
    try:
        parts = urlsplit(address)
        return parts.scheme == "https" or is_loopback(parts.netloc)
    except ValueError:
        raise LocationParseError(address) from None


def follow(base: str, address: str) -> tuple[str, bool]:
    """Return where an address leads that somebody gave, and whether it is still the same server.

    A registry that has its encryption from a proxy before it may take itself for one without, and
    name itself so: on its own host it is asked with encryption all the same.

    Args:
        base: the whole address of who gave it.
        address: relative to that, or whole.

    Raises:
        LocationParseError: it is none, or one of another kind than http and https.
    """
    try:
        found = urljoin(base, address)
    except ValueError:
        raise LocationParseError(address) from None
    ours, theirs = parse_url(base), parse_url(found)
    if theirs.scheme not in _PORTS:
        raise LocationParseError(address)
    if _is_downgrade(ours, theirs):
        theirs = theirs._replace(scheme=ours.scheme, port=ours.port)
        found = theirs.url
    return found, _origin(theirs) == _origin(ours)


def _is_downgrade(ours: Url, theirs: Url) -> bool:
    same = {_port(ours)} | ({_PORTS["http"]} if _port(ours) == _PORTS["https"] else set())
    schemes = (ours.scheme, theirs.scheme)
    return schemes == ("https", "http") and ours.host == theirs.host and _port(theirs) in same


def _port(url: Url) -> int | None:
    return url.port or _PORTS.get(url.scheme or "")


def _origin(url: Url) -> tuple[str | None, str | None, int | None]:
    return url.scheme, url.host, _port(url)


def make_pool(host: str, scheme: str, env: Mapping[str, str], timeout: float) -> Any:  # noqa: ANN401 - urllib3's two kinds of manager
    """Return urllib3's connections to a host, through the environment's proxy where there is one.

    Args:
        host: of the registry, with its port.
        scheme: http or https.
        env: for `https_proxy`, `http_proxy`, `all_proxy` and `no_proxy`, in either case.
        timeout: seconds without a byte until a connection counts as dead.

    Raises:
        InputError: the proxy's address is none (exit 2).
    """
    limits = urllib3.Timeout(connect=min(10.0, timeout), read=timeout)
    options: dict[str, Any] = {"timeout": limits, "maxsize": 4, "retries": False}
    said = {name.lower(): (name, value) for name, value in env.items()}
    nothing = ("", "")
    # The standard library's reading of no_proxy is everybody's.
    outside = {"no": said.get("no_proxy", nothing)[1]}
    if is_loopback(host) or request.proxy_bypass_environment(host, outside):  # type: ignore[attr-defined]
        return urllib3.PoolManager(**options)
    found = (said.get(name, nothing) for name in (f"{scheme}_proxy", "all_proxy"))
    variable, proxy = next((one for one in found if one[1]), nothing)
    if not proxy:
        return urllib3.PoolManager(**options)
    try:
        return _make_proxy(proxy, options)
    except (ValueError, HTTPError):
        # Not what it says: there may be a password in it.
        raise InputError(
            f"{variable} is no address of a proxy that can be used here",
            why="it has to be http://HOST:PORT or https://HOST:PORT; SOCKS is not supported",
            hint="in a user and a password @ is written as %40, and : as %3A",
        ) from None


def _make_proxy(address: str, options: Mapping[str, Any]) -> urllib3.ProxyManager:
    parts = urlsplit(address if "://" in address else f"http://{address}")
    if not parts.hostname:
        raise LocationParseError(address)
    headers = {}
    if parts.username:
        pair = b":".join(map(unquote_to_bytes, (parts.username, parts.password or "")))
        headers["proxy-authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    # What is without its brackets now is an address of version 6.
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    return urllib3.ProxyManager(f"{parts.scheme}://{host}{port}", proxy_headers=headers, **options)
