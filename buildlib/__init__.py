"""Builds, checks and publishes container images with docker buildx.

The names below are the public interface; everything else may change.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildlib.build.build_image import build_image
    from buildlib.build.plan import BuildPlan
    from buildlib.build.planner import BuildRequest, make_build_plan
    from buildlib.build.result import BuildResult
    from buildlib.config.config import Config
    from buildlib.config.load import load_config, load_images
    from buildlib.errors import BuildlibError
    from buildlib.executor import Executor, PlumbumExecutor
    from buildlib.project import Project, load_project, load_projects
    from buildlib.terminal.console import Console
    from buildlib.versioning.version import Version, resolve_version

_HOME = {
    "BuildPlan": "build.plan",
    "BuildRequest": "build.planner",
    "BuildResult": "build.result",
    "BuildlibError": "errors",
    "Config": "config.config",
    "Console": "terminal.console",
    "Executor": "executor",
    "PlumbumExecutor": "executor",
    "Project": "project",
    "Version": "versioning.version",
    "build_image": "build.build_image",
    "load_config": "config.load",
    "load_images": "config.load",
    "load_project": "project",
    "load_projects": "project",
    "make_build_plan": "build.planner",
    "resolve_version": "versioning.version",
}

__all__ = [
    "BuildPlan",
    "BuildRequest",
    "BuildResult",
    "BuildlibError",
    "Config",
    "Console",
    "Executor",
    "PlumbumExecutor",
    "Project",
    "Version",
    "build_image",
    "load_config",
    "load_images",
    "load_project",
    "load_projects",
    "make_build_plan",
    "resolve_version",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that start-up pays for nothing else."""
    if name not in _HOME:
        raise AttributeError(name)
    return getattr(import_module(f"buildlib.{_HOME[name]}"), name)
