"""Docker's own configuration on this machine."""

from __future__ import annotations

from collections.abc import Mapping
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
