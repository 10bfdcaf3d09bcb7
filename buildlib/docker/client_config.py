"""The directory of docker's own configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def config_directory(env: Mapping[str, str]) -> Path:
    """Return the directory with config.json, by DOCKER_CONFIG or the home directory.

    Args:
        env: for DOCKER_CONFIG and HOME.
    """
    return Path(env.get("DOCKER_CONFIG") or Path(env.get("HOME") or "~").expanduser() / ".docker")
