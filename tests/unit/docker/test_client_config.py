"""Where docker keeps its configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildlib.docker.client_config import config_folder


@pytest.mark.parametrize(
    ("env", "directory"),
    [
        ({"DOCKER_CONFIG": "/etc/docker", "HOME": "/home/me"}, Path("/etc/docker")),
        ({"DOCKER_CONFIG": "", "HOME": "/home/me"}, Path("/home/me/.docker")),
        ({"HOME": ""}, Path.home() / ".docker"),
        ({}, Path.home() / ".docker"),
    ],
)
def test_it_is_found_as_docker_finds_it(env: dict[str, str], directory: Path) -> None:
    assert config_folder(env) == directory
