"""Measure, and print the table that benchmarks/README.md keeps.

Everything is measured in one run on one machine, so that what counts are the ratios. Options:
`--pairs N` (default 10), `--only start` to leave the builds out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
IMAGE = f"buildlib-bench-{secrets.token_hex(4)}"
PLATFORMS = "linux/amd64,linux/arm64"


def seconds(argv: Sequence[str], cwd: Path = ROOT) -> float:
    """Return how long a command takes, as a whole process; a failure ends the benchmark."""
    started = time.perf_counter()
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(argv)} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - started


def output(*argv: str, cwd: Path = ROOT) -> str:
    """Return what a command prints."""
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=True).stdout.strip()


@dataclass(frozen=True)
class Row:
    """One line of the table: what, both figures as text, and the ratio or difference."""

    what: str
    old: str
    new: str
    result: str


class Builds:
    """Both Dockerfiles on a copy of the repository, with caches that nothing else has filled."""

    def __init__(self, folder: Path) -> None:
        """Copy what the build needs."""
        self._folder = folder
        for name in ("app", "scripts"):
            shutil.copytree(ROOT / name, folder / name)
        for name in (".dockerignore",):
            shutil.copy(ROOT / name, folder / name)
        shutil.copy(ROOT / "benchmarks" / "Dockerfile.seed", folder / "Dockerfile.seed")
        text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
        # A cache mount of another name is an empty one; nobody's cache is touched.
        text = re.sub(r"id=[\w-]+", f"id={IMAGE}", text)
        (folder / "Dockerfile.new").write_text(text, encoding="utf-8")

    def build(self, kind: str, *options: str) -> float:
        """Build both platforms with one of the Dockerfiles; return seconds."""
        argv = [
            "docker",
            "buildx",
            "build",
            "--platform",
            PLATFORMS,
            "--provenance=false",
            "--load",
        ]
        argv += ["--file", f"Dockerfile.{kind}", "--tag", f"{IMAGE}:{kind}", *contexts(), *options]
        return seconds([*argv, "."], self._folder)

    def change_a_line(self) -> None:
        """Change one line of the program."""
        path = self._folder / "app" / "main.go"
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"(looks at the images of)", f"\\1 {time.time_ns()}", text), "utf-8")


def contexts() -> list[str]:
    """Return the options for base images that are replaced, as buildlib would give them."""
    config = json.loads(output("invoke", "config", "--json"))
    pairs = config["base-images"]["value"]
    return [w for name, image in pairs for w in ("--build-context", f"{name}={image['source']}")]


def size(kind: str) -> int:
    """Return the bytes of an image, as the engine counts them."""
    return int(output("docker", "image", "inspect", "--format", "{{.Size}}", f"{IMAGE}:{kind}"))


def build_rows(folder: Path) -> list[Row]:
    """Measure cold, one line changed, nothing changed, and the size."""
    builds = Builds(folder)
    rows = []
    steps: list[tuple[str, Callable[[], None], tuple[str, ...]]] = [
        ("cold, both platforms", lambda: None, ("--no-cache",)),
        ("one source line changed", builds.change_a_line, ()),
        ("nothing changed", lambda: None, ()),
    ]
    for what, prepare, options in steps:
        prepare()
        old, new = builds.build("seed", *options), builds.build("new", *options)
        rows.append(Row(what, f"{old:.1f} s", f"{new:.1f} s", f"{old / new:.1f} times faster"))
        print(rows[-1], file=sys.stderr)
    old_size, new_size = size("seed"), size("new")
    rows.append(
        Row(
            "image",
            f"{old_size / 1e6:.1f} MB",
            f"{new_size / 1e6:.1f} MB",
            f"{old_size / new_size:.1f} times smaller",
        )
    )
    return rows


def pairs(count: int, first: Sequence[str], second: Sequence[str]) -> tuple[float, float, float]:
    """Return the medians of both commands and of their differences, run in turn."""
    seconds(first)
    seconds(second)
    measured = [(seconds(first), seconds(second)) for _ in range(count)]
    return (
        statistics.median(a for a, _ in measured),
        statistics.median(b for _, b in measured),
        statistics.median(b - a for a, b in measured),
    )


def start_rows(count: int) -> list[Row]:
    """Measure what the tasks cost over the commands that they run."""
    line = output("invoke", "docker-build", "--dry-run")
    by_hand = shlex.split(line)
    metadata = Path(by_hand[by_hand.index("--metadata-file") + 1])
    rows = []
    compared = {
        "`docker buildx build` by hand / `invoke docker-build`": (
            by_hand,
            ["invoke", "docker-build"],
        ),
        "an empty task (`invoke --version`) / `invoke version`": (
            ["invoke", "--version"],
            ["invoke", "version"],
        ),
        "`docker info` / `scripts/bootstrap.sh true`": (
            ["docker", "info"],
            ["scripts/bootstrap.sh", "true"],
        ),
    }
    for what, (first, second) in compared.items():
        old, new, difference = pairs(count, first, second)
        rows.append(Row(what, f"{old:.2f} s", f"{new:.2f} s", f"{difference:+.2f} s"))
    metadata.unlink(missing_ok=True)
    return rows


def machine() -> str:
    """Return what it was measured on."""
    docker = output("docker", "version", "--format", "{{.Server.Version}}")
    buildx = output("docker", "buildx", "version").split()[1]
    return f"{os.cpu_count()} cores, Docker {docker}, buildx {buildx}, {sys.version.split()[0]}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--only", choices=("start", "builds"))
    given = parser.parse_args()
    rows: list[Row] = []
    try:
        if given.only != "start":
            with tempfile.TemporaryDirectory(prefix="buildlib-bench-") as folder:
                rows += build_rows(Path(folder))
        if given.only != "builds":
            rows += start_rows(given.pairs)
    finally:
        for kind in ("seed", "new"):
            subprocess.run(
                ["docker", "image", "rm", "--force", f"{IMAGE}:{kind}"],
                capture_output=True,
                check=False,
            )
    print(f"{machine()}\n\n| | old | new | |\n| --- | --- | --- | --- |")
    for row in rows:
        print(f"| {row.what} | {row.old} | {row.new} | {row.result} |")


if __name__ == "__main__":
    main()
