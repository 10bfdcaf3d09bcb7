"""Which registries are on this machine; it loads without a registry client."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

_HOST: Final = re.compile(r"(?:\[([0-9a-f:.]+)\]|([0-9a-z.-]+))(?::[0-9]*)?", re.IGNORECASE)


def is_loopback(host: str) -> bool:
    """Return whether a registry's host, with or without port, is this machine."""
    match = _HOST.fullmatch(host)
    name = (match[1] or match[2]).lower() if match else ""
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
