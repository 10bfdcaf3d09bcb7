"""One hundred images cost little more than one: `docker-build --changed --dry-run`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, TASKS
from gitscript import commit_all

COUNT = 100
DOCKERFILE = """\
FROM alpine:3.24 AS build
ARG VERSION
COPY src/ /src/
RUN make
FROM scratch
COPY --from=build /out /
COPY config.json /
"""
# Of the machine that runs the tests little is known: the goal is 2 s.
TIMES = 6
BYTES = 100_000_000
# Between the tests and the task: Linux counts the memory that a process had before its `exec`.
MEASURE = """\
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hundred")
    tables = []
    for number in range(COUNT):
        name = f"image-{number:02}"
        source = root / "services" / name / "src"
        source.mkdir(parents=True)
        (source / "main.c").write_text("int main;\n", encoding="utf-8")
        (source.parent / "config.json").write_text("{}\n", encoding="utf-8")
        (source.parent / ".dockerignore").write_text("*.md\n", encoding="utf-8")
        (source.parent / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
        # Every tenth has versions of its own.
        prefix = f'tag-prefix = "{name}/v"\n' if number % 10 == 0 else ""
        tables.append(f'[images.{name}]\ncontext = "services/{name}"\n{prefix}run.port = 8080\n')
    (root / "buildlib.toml").write_text("\n".join(('image = "shop"', *tables)), encoding="utf-8")
    (root / "tasks.py").write_text(TASKS, encoding="utf-8")
    commit_all(root, "v1.0.0")
    (root / "services" / "image-07" / "src" / "main.c").write_text("int x;\n", encoding="utf-8")
    return root


def _cost(root: Path, *words: str) -> tuple[float, int, str]:
    """Return the processor's seconds and the memory of a task with its processes."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "BUILDLIB_BASE_IMAGES": ""}
    invoke = [sys.executable, "-m", "invoke", *words]
    argv = [sys.executable, "-c", MEASURE, *invoke]
    done = subprocess.run(argv, cwd=root, env=env, capture_output=True, text=True, check=True)
    seconds, kilobytes = done.stderr.splitlines()[-1].split()
    return float(seconds), int(kilobytes) * 1024, done.stdout


def test_a_hundred_images_cost_a_few_times_as_much_as_one(shop: Path) -> None:
    one = ("docker-build", "--dry-run", "--only", "image-07")
    _cost(shop, *one)  # compiles the modules
    first, _, single = _cost(shop, *one)
    all_, memory, changed = _cost(shop, "docker-build", "--changed", "v1.0.0", "--dry-run")
    assert "services/image-07/Dockerfile" in single
    assert changed.count("docker buildx build") == 1
    assert "services/image-07/Dockerfile" in changed
    assert all_ < TIMES * first
    assert memory < BYTES
