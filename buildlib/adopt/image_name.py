"""What an image may be called: after the address of its repository, or after a directory."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from buildlib.git.facts import without_credentials

# Services that have a registry beside their repositories.
_REGISTRIES: Final = {"github.com": "ghcr.io", "gitlab.com": "registry.gitlab.com"}
_URL: Final = re.compile(r"(?:[\w-]+::)?[A-Za-z][\w+.-]*://([^/]*)/(.*)", re.DOTALL)
# As ssh and scp have it; a single letter is a drive, and what has a slash before a colon is a path.
_SCP: Final = re.compile(r"(?:[^@/:]+@)?(\[[^]/]+\]|[^/:]{2,}):(?!//)(.+)", re.DOTALL)
_LONGEST: Final = 128
_OTHERWISE: Final = "app"


def name_of_directory(name: str) -> str:
    """Return the name of an image for a directory of any name."""
    return _component(name) or _OTHERWISE


def name_of_remote(address: str) -> str:
    """Return the name of an image for the address of a git repository; empty: it has none.

    It has a registry where the service that keeps the repository has one as well.

    Args:
        address: an URL, a path, or `user@host:path`.
    """
    text = without_credentials(address.strip())
    found = _URL.fullmatch(text) or _SCP.fullmatch(text)
    host, path = (found[1], found[2]) if found else ("", text)
    host = host.rpartition("@")[2].partition(":")[0].lower().removeprefix("ssh.")
    path = re.split(r"[?#]", path, maxsplit=1)[0] if found else path.replace("\\", "/")
    parts = [part for part in path.rstrip("/").removesuffix(".git").split("/") if part]
    names = [name for part in parts if (name := _component(part))]
    registry = _REGISTRIES.get(host, "")
    if registry and len(names) > 1 and len(names) == len(parts):
        return "/".join([registry, *names])
    # A path such as `..` names nothing, and `origin.git` is what many call any remote.
    return _component(parts[-1]) if parts and parts[-1].lower() != "origin" else ""


def _component(text: str) -> str:
    """Return a text as an element of a repository's name may be; empty: nothing of it may."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", lambda it: it[0] if it[0] in {".", "_"} else "-", plain)
    return words[:_LONGEST].strip("-._")
