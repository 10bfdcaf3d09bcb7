"""Docker's own configuration on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path


def config_folder(env: Mapping[str, str]) -> Path:
    """Return the directory of docker's configuration.

    Args:
        env: for DOCKER_CONFIG and HOME.
    """
    home = env.get("HOME") or "~"
    return Path(env.get("DOCKER_CONFIG") or Path(home).expanduser() / ".docker")


def buildx_folder(env: Mapping[str, str]) -> Path:
    """Return the directory where buildx keeps what it remembers."""
    return Path(env.get("BUILDX_CONFIG") or config_folder(env) / "buildx")


def chosen_builder(env: Mapping[str, str]) -> str:
    """Return the builder that buildx was told to use; empty: that of the engine."""
    if name := env.get("BUILDX_BUILDER"):
        return name
    with suppress(OSError, ValueError, AttributeError):
        text = (buildx_folder(env) / "current").read_text(encoding="utf-8")
        return str(json.loads(text).get("Name") or "")
    return ""
