"""What the distribution that holds this package says of itself."""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import Distribution, distribution, packages_distributions


@cache
def _own() -> Distribution | None:
    """Return the distribution; None where it is not installed, as in a checkout."""
    found = packages_distributions().get(__package__, ())
    return distribution(found[0]) if found else None


def version() -> str:
    """Return its version, or nothing."""
    own = _own()
    return own.version if own else ""


def address(label: str) -> str:
    """Return an address that it names, such as `Source`, or nothing."""
    own = _own()
    lines = own.metadata.get_all("Project-URL") or () if own else ()
    pairs = [line.partition(", ") for line in lines]
    return next((url for name, _, url in pairs if name == label), "")


def origin() -> tuple[str, str]:
    """Return the address and the commit that it was installed from, or nothing; see PEP 610."""
    own = _own()
    text = own.read_text("direct_url.json") if own else None
    found = json.loads(text) if text else {}
    commit = found.get("vcs_info", {}).get("commit_id", "")
    return (str(found.get("url", "")), str(commit)) if commit else ("", "")
