"""Measure a builder of two nodes, one for each platform, against one node that builds both.

Every node is a buildkitd with TLS on loopback that may use one core. Farm and single node build
this repository's image in turn. Then a build writes a registry cache, and empty nodes build from
it: those are the numbers that benchmarks/scale.py computes with.

    scripts/bootstrap.sh --release-tools python benchmarks/farm.py --pairs 3

Needs go, once, to build BuildKit; and two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from nodes import Authority, Daemon, daemon, make_authority
from registries import fault_proxy, registry

ROOT = Path(__file__).parent.parent
PLATFORMS = ("linux/amd64", "linux/arm64")
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """One build: seconds on the clock, and of the processors of its nodes."""

    seconds: float
    core_seconds: float


def _pid(one: Daemon) -> int:
    return one.process.pid if one.process else 0


def core_seconds(nodes: Sequence[Daemon]) -> float:
    """Return the processor time of daemons and of everything that has run in their containers."""
    total = 0
    for one in nodes:
        text = Path(f"/proc/{_pid(one)}/stat").read_text(encoding="utf-8")
        total += sum(map(int, text.rpartition(") ")[2].split()[11:15]))
    return total / _TICK


def pin(one: Daemon, core: int) -> None:
    """Let a daemon, and what it starts, use one core."""
    argv = ["taskset", "--all-tasks", "--cpu-list", "--pid", str(core), str(_pid(one))]
    subprocess.run(argv, check=True, capture_output=True)


def table(name: str, nodes: Sequence[tuple[Daemon, Sequence[str]]], cache: str = "") -> str:
    """Return the configuration of a builder."""
    tls = 'cacert = "certs/ca.pem", cert = "certs/client.pem", key = "certs/client.key"'
    rows = [
        f'{{ name = "node{n}", endpoint = "{one.endpoint}", platforms = {json.dumps(list(names))}, '
        f"{tls} }}"
        for n, (one, names) in enumerate(nodes)
    ]
    caches = ""
    if cache:
        place = f"type=registry,ref={cache}:{{platform}}"
        caches = f'cache-from = ["{place}"]\ncache-to = ["{place},mode=max"]\n'
    joined = ", ".join(rows)
    return f'[builders.{name}]\ndriver = "remote"\n{caches}nodes = [{joined}]\n'


class Project:
    """A copy of what this repository's image is built from, with caches that nobody has filled."""

    def __init__(self, folder: Path, authority: Authority, tables: str) -> None:
        """Copy it, and make its builders."""
        self.folder = folder
        for name in ("app", "scripts"):
            shutil.copytree(ROOT / name, folder / name)
        shutil.copy(ROOT / ".dockerignore", folder)
        certificate, key = authority.sign("client")
        certs = folder / "certs"
        certs.mkdir()
        for path in (authority.certificate, certificate, key):
            shutil.copy(path, certs)
        text = f'image = "thing"\nplatforms = {json.dumps(list(PLATFORMS))}\nrecords = false\n'
        (folder / "buildlib.toml").write_text(text + tables, encoding="utf-8")
        self._env = {**os.environ, "PYTHONPATH": str(ROOT), "SOURCE_DATE_EPOCH": "1700000000"}
        self._env["BUILDX_CONFIG"] = str(folder / "buildx")
        self.forget()
        for name in re.findall(r"^\[builders\.(\w+)\]", tables, re.MULTILINE):
            self.run("docker-builder", "create", "--name", name)

    def forget(self) -> None:
        """Use a new cache mount from here on, which is an empty one."""
        text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
        text = re.sub(r"id=[\w-]+", f"id=bench-{time.time_ns()}", text)
        (self.folder / "Dockerfile").write_text(text, encoding="utf-8")

    def run(self, *words: str) -> str:
        """Run a task; a failure ends the benchmark."""
        argv = [sys.executable, "-m", "buildlib", *words]
        done = subprocess.run(
            argv, cwd=self.folder, env=self._env, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            sys.exit(f"{' '.join(words)} failed:\n{done.stderr[-3000:]}")
        return done.stdout

    def build(self, builder: str, nodes: Sequence[Daemon], *words: str) -> Measured:
        """Build both platforms."""
        before, started = core_seconds(nodes), time.perf_counter()
        options = ("--builder", builder, "--platform", "all", "--output", "oci")
        self.run("docker-build", *options, *words)
        return Measured(time.perf_counter() - started, core_seconds(nodes) - before)


def ratios(project: Project, nodes: Sequence[Daemon], pairs: int) -> None:
    """Print how long a cold build takes on the farm, and on one of its nodes."""
    found: list[tuple[Measured, Measured]] = []
    for _ in range(pairs):
        times = []
        for name, used in (("farm", nodes), ("alone", nodes[:1])):
            project.forget()
            times.append(project.build(name, used, "--no-cache"))
        found.append((times[0], times[1]))
        print(f"farm {times[0]}, one node {times[1]}", file=sys.stderr)
    farm, alone = (statistics.median(pair[n].seconds for pair in found) for n in (0, 1))
    share = statistics.median(farm.seconds / alone.seconds for farm, alone in found)
    print("| cold, both platforms | one node | two nodes | |\n| --- | --- | --- | --- |")
    print(f"| one core for each node | {alone:.1f} s | {farm:.1f} s | {share:.2f} of one node |")


def costs(folder: Path, authority: Authority, nodes: Sequence[Daemon]) -> None:
    """Print what a cold and a warm build cost with a registry cache."""
    with (
        registry(folder / "registry", password=False) as server,
        fault_proxy(server.port) as proxy,
        daemon(folder / "empty", authority) as empty,
        daemon(folder / "other", authority) as other,
    ):
        cache = f"{proxy.host}/cache"
        new = [(one, [name]) for one, name in zip((empty, other), PLATFORMS, strict=True)]
        old = [(one, [name]) for one, name in zip(nodes, PLATFORMS, strict=True)]
        tables = table("farm", old, cache) + table("new", new, cache)
        project = Project(folder / "cached", authority, tables)
        rows = {}
        for what, builder, used in (("cold", "farm", nodes), ("warm", "new", (empty, other))):
            proxy.forget()
            done = project.build(builder, used, *(["--no-cache"] if what == "cold" else []))
            kinds = Counter(line.partition(" ")[0] for line in proxy.seen)
            stored = sum(path.stat().st_size for path in server.root.rglob("data"))
            rows[what] = {
                "core-seconds": round(done.core_seconds, 1),
                "requests": len(proxy.seen),
                "reads": kinds["GET"] + kinds["HEAD"],
                "seconds": round(done.seconds, 1),
                "stored-megabytes": round(stored / 1e6, 1),
            }
        print(json.dumps(rows, indent=2))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=3)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="buildlib-farm-") as place, ExitStack() as stack:
        folder = Path(place)
        authority = make_authority(folder / "ca")
        nodes = [stack.enter_context(daemon(folder / f"n{core}", authority)) for core in (0, 1)]
        for core, one in enumerate(nodes):
            pin(one, core)
        farm = [(one, [name]) for one, name in zip(nodes, PLATFORMS, strict=True)]
        tables = table("farm", farm) + table("alone", [(nodes[0], PLATFORMS)])
        project = Project(folder / "project", authority, tables)
        ratios(project, nodes, given.pairs)
        costs(folder, authority, nodes)
    print(f"load before: {load:.1f}, after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
