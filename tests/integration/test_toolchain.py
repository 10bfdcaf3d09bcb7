"""An engine beside the installed one: in namespaces of its own, with nothing left of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import GOTOOLS, ROOT

pytestmark = pytest.mark.engine
# Stands for dockerd and containerd: only what starts and ends them is tested here.
DAEMON = """\
#!/bin/sh
setsid sleep 3600 &
trap "echo ${0##*/} >> $LOG; exit" TERM
touch "$LOG-${0##*/}"
while :; do sleep 0.1; done
"""


def _programs(folder: Path) -> None:
    for name, tool in GOTOOLS.CURRENT.items():
        program = folder / "cache" / "buildlib" / "go" / f"{name}@{tool.version}" / name
        program.parent.mkdir(parents=True)
        program.write_text(DAEMON, encoding="utf-8")
        program.chmod(0o755)
    (folder / "docker").write_text('#!/bin/sh\n[ -e "$LOG-dockerd" ]\n', encoding="utf-8")
    (folder / "docker").chmod(0o755)


def _processes_with(text: str) -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            environment = file.read_bytes()
        except OSError:
            continue
        if text.encode() in environment:
            found.append(file.parent.name)
    return found


@pytest.mark.parametrize(
    ("ending", "code"),
    [("exit 7", 7), ("kill -KILL $$", 137), ("kill -INT 0", 130)],
    ids=["its end", "its death", "Ctrl-C"],
)
def test_an_engine_of_ones_own_is_gone_with_the_command(
    tmp_path: Path, ending: str, code: int
) -> None:
    _programs(tmp_path)
    env = {
        **os.environ,
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "LOG": str(tmp_path / "log"),
    }
    before = {kind: Path("/proc/self/ns", kind).readlink() for kind in ("net", "pid", "mnt")}
    script = (
        f"for kind in {' '.join(before)}; do readlink /proc/self/ns/$kind; done\n"
        f'echo "$DOCKER_HOST $BUILDLIB_TOOLCHAIN"\n{ending}\n'
    )
    argv = [sys.executable, str(ROOT / "scripts/toolchain.py"), "--engine", "sh", "-c", script]
    done = subprocess.run(
        argv, env=env, capture_output=True, text=True, check=False, start_new_session=True
    )
    assert done.returncode == code, done.stderr
    *spaces, told = done.stdout.splitlines()
    assert not set(spaces) & set(map(str, before.values()))
    host, toolchain = told.split()
    assert toolchain == "current"
    folder = Path(host.removeprefix("unix://")).parent
    assert not folder.exists()
    assert str(folder) not in Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    assert _processes_with(str(tmp_path)) == []
    # The engine was asked to end, so that it could end its containers.
    assert "dockerd\n" in (tmp_path / "log").read_text(encoding="utf-8")
