"""A builder of the driver docker-container, from an image that is made here.

Where Docker Hub can't be reached, the image that the driver would pull is not to be had: this one
holds BuildKit, built from source, and this machine's runc with what it is linked to.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conftest import go_tool

DOCKERFILE = """\
FROM scratch
COPY root/ /
ENTRYPOINT ["/usr/bin/buildkitd"]
"""


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source.resolve(), target)


def _fill(root: Path) -> None:
    for name in ("buildkitd", "buildctl"):
        _copy(go_tool(name), root / "usr/bin" / name)
    runc = shutil.which("runc", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert runc, "the engine's runc is needed"
    _copy(Path(runc), root / "usr/bin/buildkit-runc")
    linked = subprocess.run(["ldd", runc], capture_output=True, text=True, check=False).stdout
    for library in re.findall(r"(/\S+) \(0x", linked):
        _copy(Path(library), root / library.lstrip("/"))
    (root / "tmp").mkdir()


@dataclass(frozen=True)
class Builder:
    """A builder's name, and the environment in which buildx knows of it."""

    name: str
    env: dict[str, str]

    def docker(self, *words: str, check: bool = True) -> None:
        env = {**os.environ, **self.env}
        subprocess.run(["docker", *words], env=env, capture_output=True, check=check)


@contextmanager
def image_of_buildkit(folder: Path) -> Iterator[str]:
    """Build the image that the driver would pull, and remove it; yield its tag."""
    tag = f"buildlib-test-{secrets.token_hex(4)}:1"
    _fill(folder / "root")
    (folder / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    argv = ["docker", "build", "--quiet", "--tag", tag, str(folder)]
    subprocess.run(argv, capture_output=True, check=True)
    try:
        yield tag
    finally:
        subprocess.run(["docker", "image", "rm", tag], capture_output=True, check=False)


@contextmanager
def container_builder(folder: Path) -> Iterator[Builder]:
    """Make a builder, and remove it with its container and image."""
    with image_of_buildkit(folder) as image:
        name = image.partition(":")[0]
        builder = Builder(name, {"BUILDX_CONFIG": str(folder / "buildx")})
        try:
            options = ("--driver", "docker-container", "--driver-opt", f"image={image}")
            builder.docker("buildx", "create", "--name", name, *options)
            builder.docker("buildx", "inspect", "--bootstrap", name)
            yield builder
        finally:
            builder.docker("buildx", "rm", "--force", name, check=False)
