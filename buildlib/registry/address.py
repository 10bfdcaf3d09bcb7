"""How a registry is reached: with or without encryption, directly or through a proxy."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib import request
from urllib.parse import urlsplit

import urllib3


def is_loopback(host: str) -> bool:
    """Return whether a registry's host, with or without port, is this machine itself."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def make_pool(host: str, scheme: str, env: Mapping[str, str], timeout: float) -> Any:  # noqa: ANN401 - urllib3's two kinds of manager
    """Return urllib3's connections to a host, through the environment's proxy where there is one.

    Args:
        host: of the registry, with its port.
        scheme: http or https.
        env: for `https_proxy`, `http_proxy`, `all_proxy` and `no_proxy`, in either case.
        timeout: seconds without a byte until a connection counts as dead.
    """
    limits = urllib3.Timeout(connect=min(10.0, timeout), read=timeout)
    options: dict[str, Any] = {"timeout": limits, "maxsize": 4, "retries": False}
    lowered = {key.lower(): value for key, value in env.items()}
    proxy = lowered.get(f"{scheme}_proxy") or lowered.get("all_proxy") or ""
    # The standard library's reading of no_proxy is everybody's.
    inside = request.proxy_bypass_environment(host, {"no": lowered.get("no_proxy", "")})  # type: ignore[attr-defined]
    if not proxy or inside or is_loopback(host):
        return urllib3.PoolManager(**options)
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    headers = {}
    if parts.username:
        pair = f"{parts.username}:{parts.password or ''}"
        headers = urllib3.make_headers(proxy_basic_auth=pair)
    port = f":{parts.port}" if parts.port else ""
    return urllib3.ProxyManager(
        f"{parts.scheme}://{parts.hostname}{port}", proxy_headers=headers, **options
    )
