#!/usr/bin/env python3
"""Run a command with the newest Docker tools, instead of the installed ones.

Usage: toolchain.py [--engine] COMMAND...

The command finds the newest buildx as docker's plugin. With --engine it also gets the newest
engine, with the newest containerd: DOCKER_HOST points to it, and BUILDLIB_TOOLCHAIN is `current`.
That engine runs in its own namespaces, so it does not affect the installed one; it shares its
network with the command, without access to anything else. When the command has ended, the kernel
ends all remaining processes, and the engine's data is removed.

gotools.py builds the programs. Exits with the command's own code; otherwise 2 wrong use, 3
something is missing, 4 the engine does not start. Needs only the standard library.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from gotools import GoToolError, ensure

_PROGRAMS: Final = ("dockerd", "docker-proxy", "containerd", "containerd-shim-runc-v2")
# The installed runc may not support time namespaces. The image store is the engine's default, as
# for its users.
_CONFIG: Final = {"shutdown-timeout": 5, "features": {"time-namespaces": False}}
_START: Final = 60.0
_END: Final = 30.0
# Separate processes, mounts and network, which always end with this process.
_NAMESPACES: Final = (
    *("unshare", "--mount", "--pid", "--net", "--fork", "--kill-child=SIGKILL", "--mount-proc"),
    "--",
)


def _use_buildx(folder: Path, buildx: Path, env: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which docker finds that buildx."""
    plugins = folder / "docker" / "cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-buildx").symlink_to(buildx)
    return {**env, "DOCKER_CONFIG": str(plugins.parent)}


def _start(folder: Path, name: str, *options: str) -> int:
    with (folder / f"{name}.log").open("wb") as log:
        argv = [name, *options]
        quiet = subprocess.DEVNULL
        # In its own process group: Ctrl-C in the terminal is for the command.
        return subprocess.Popen(
            argv, cwd="/", stdin=quiet, stdout=log, stderr=log, process_group=0
        ).pid


def _do(*argv: str) -> None:
    subprocess.run(argv, check=True)


def _start_engine(folder: Path) -> int:
    """Start containerd and dockerd; return the process ID of the latter."""
    _do("ip", "link", "set", "lo", "up")
    # containerd's shims have their sockets there, whatever its configuration says.
    Path("/run/containerd").mkdir(exist_ok=True)
    _do("mount", "-t", "tmpfs", "tmpfs", "/run/containerd")
    config, socket = folder / "containerd.toml", folder / "containerd.sock"
    config.write_text(
        f'version = 2\nroot = "{folder}/images"\nstate = "{folder}/state"\n'
        f'[grpc]\naddress = "{socket}"\n',
        encoding="utf-8",
    )
    _start(folder, "containerd", "--config", str(config))
    (folder / "daemon.json").write_text(json.dumps(_CONFIG), encoding="utf-8")
    return _start(
        folder,
        "dockerd",
        *("--config-file", str(folder / "daemon.json"), "--host", f"unix://{folder}/docker.sock"),
        *("--containerd", str(socket), "--pidfile", str(folder / "pid")),
        *("--data-root", str(folder / "data"), "--exec-root", str(folder / "run")),
    )


def _answers(host: str) -> bool:
    argv = ["docker", "--host", host, "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def _wait_for(pid: int, until: float = float("inf")) -> int | None:
    """Return a child's exit code; as the first process, this one also reaps all others."""
    while time.monotonic() < until:
        ended, status = os.waitpid(-1, 0 if until == float("inf") else os.WNOHANG)
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if not ended:
            time.sleep(0.05)
    return None


def _start_command(command: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the command, and forward signals to it; when it ends, everything ends.

    Not with `send_signal`, which polls the process first, so that its end could be missed.
    """
    started: list[int] = []

    def pass_on(number: int, _frame: object) -> None:
        for pid in started:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    process = subprocess.Popen(command, env=env)
    started.append(process.pid)
    return process


def _run_inside(folder: Path, command: Sequence[str]) -> int:
    """Start the engine in the namespaces of this process, and run the command with it."""
    host = f"unix://{folder}/docker.sock"
    engine = _start_engine(folder)
    until = time.monotonic() + _START
    while not _answers(host):
        if time.monotonic() > until:
            print((folder / "dockerd.log").read_text("utf-8", "replace")[-3000:], file=sys.stderr)
            return 4
        time.sleep(0.2)
    env = {**os.environ, "DOCKER_HOST": host, "BUILDLIB_TOOLCHAIN": "current"}
    # Keep the reference: an unreferenced Popen polls its process, too.
    process = _start_command(command, env)
    code = _wait_for(process.pid)
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(engine, signal.SIGTERM)
        _wait_for(engine, time.monotonic() + _END)
    return 4 if code is None else code


def _run(command: Sequence[str], env: Mapping[str, str]) -> int:
    """Run the command to its end, however often it is interrupted."""
    code = _start_command(command, env).wait()
    return code if code >= 0 else 128 - code


def main() -> int:
    """Run the command."""
    words = sys.argv[1:]
    if words[:1] == ["--inside"]:
        return _run_inside(Path(words[1]), words[2:])
    engine = words[:1] == ["--engine"]
    command = words[engine:]
    if not command or command[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    if engine and os.geteuid() != 0:
        print("toolchain: an engine needs root: scripts/bootstrap.sh --as-root", file=sys.stderr)
        return 3
    env = dict(os.environ)
    try:
        buildx = ensure("buildx", env, current=True)
        found = [ensure(name, env, current=True).parent for name in _PROGRAMS] if engine else []
    except GoToolError as error:
        print(f"toolchain: {error}", file=sys.stderr)
        return error.code
    # Short, because the path of a socket has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="buildlib-toolchain-", dir="/tmp"))
    try:
        env = _use_buildx(folder, buildx, env)
        env["PATH"] = os.pathsep.join([*map(str, found), env.get("PATH", os.defpath)])
        inside = (*_NAMESPACES, sys.executable, __file__, "--inside", str(folder))
        return _run((*inside, *command) if engine else command, env)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
