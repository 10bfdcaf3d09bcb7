"""Publishing when it is killed after a step or in the build, or interrupted: faults.md, row 31."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import faults
import pytest
from conftest import git
from faults import RESUMED, SIGNED, Setting
from killing import FILES, UNBUILT, end, files, finish, kill, read_until
from registries import Fault
from releases import UNSIGNED

pytestmark = [pytest.mark.release, pytest.mark.unmeasured, pytest.mark.timeout(2400)]
setting, digest, _afresh = faults.setting, faults.digest, faults.afresh


def test_killed_again_and_again_it_goes_on_from_where_it_was(
    setting: Setting, digest: str, tmp_path: Path
) -> None:
    release, archives = setting.release, set[int]()
    shutil.rmtree(release.root / "dist")
    # When the second registry is claimed, the claim on the first is held.
    claimed = f"claim {max(release.hosts, key=release.hosts.__getitem__)}"
    # Each leaves something of another kind behind.
    for moment in (*UNBUILT[1:], "build", "gates", claimed, "tag one 1.2.3", "write one 1.2"):
        kill(release, moment, tmp_path)
        assert release.receipt["digest"] == ("" if moment in UNBUILT else digest)
        setting.check(digest)
        if moment not in UNBUILT:
            archives.add((release.root / "dist/thing-1.2.3.oci.tar").stat().st_mtime_ns)
    assert "docker buildx build" not in finish(setting, digest, UNSIGNED)
    assert len(archives) == 1
    assert files(release) == FILES


def test_killed_while_it_is_signed_it_goes_on_from_where_it_was(
    setting: Setting, digest: str, tmp_path: Path
) -> None:
    for moment in ("provenance", "sign one", "sign two"):
        kill(setting.release, moment, tmp_path, SIGNED)
        assert setting.release.tags == [{}, {}]
    text = finish(setting, digest, SIGNED)
    # Whoever was killed after it was signed has signed it.
    assert "signing" not in text
    assert "attaching" not in text, "".join(setting.release.printed)


def _wait(run: subprocess.Popen[str], until: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not until():
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("moment", ["a push", "a signature", "a gate"])
def test_row_31_interrupted_it_ends_and_leaves_nothing(
    setting: Setting, digest: str, tmp_path: Path, number: int, moment: str
) -> None:
    release = setting.release
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    env = {"TMPDIR": str(temporary)}
    pids, argv = tmp_path / "pids", ["docker-publish", "--resume"]
    held = {"a push": "PUT .*digest=", "a signature": "PUT .*/manifests/sha256-"}.get(moment, "")
    config = release.root / "buildlib.toml"
    kept = config.read_text(encoding="utf-8")
    if moment == "a gate":
        # A scanner that takes its time, and notes that it was started.
        slow = tmp_path / "bin" / "grype"
        slow.parent.mkdir()
        slow.write_text(
            '#!/bin/sh\ncase "$*" in *version*) echo \'{"version": "0.100.0"}\'; exit ;; '
            "*db\\ status*) echo '{\"valid\": true}'; exit ;; esac\n"
            f"echo $$ >> {pids}\nexec sleep 120\n",
            "utf-8",
        )
        slow.chmod(0o755)
        env["PATH"] = f"{slow.parent}{os.pathsep}{release.env['PATH']}"
        config.write_text(kept.replace('"policy"]', '"policy", "scan"]'), encoding="utf-8")
        git(release.root, "commit", "--all", "--amend", "--no-edit", "--quiet")
        git(release.root, "tag", "--force", "v1.2.3")
        argv = ["docker-publish"]
    else:
        setting.proxy.always[held] = Fault(stall=120)
    run = release.start(*argv, **env)
    try:
        if moment == "a gate":
            read_until(run, "gate policy passed")
            _wait(run, pids.is_file)
        else:
            _wait(run, lambda: setting.proxy.met(held))
        started = time.monotonic()
        code, text = end(run, number)
        assert time.monotonic() - started < 60
    finally:
        if moment == "a gate":
            config.write_text(kept, encoding="utf-8")
            git(release.root, "commit", "--all", "--amend", "--no-edit", "--quiet")
            git(release.root, "tag", "--force", "v1.2.3")
    assert code == 130, text
    assert "interrupted" in text
    assert "Traceback" not in text
    assert release.tags == [{}, {}]
    assert list(temporary.iterdir()) == []
    if moment == "a gate":
        for pid in pids.read_text(encoding="utf-8").split():
            assert not Path("/proc", pid).exists()
        return
    setting.proxy.always.clear()
    release.publish(RESUMED)
    setting.finished(digest)
