"""Publishing when it is killed after a step or in the build, or interrupted: faults.md, row 31."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import faults
import pytest
from conftest import git
from faults import RESUMED, SKIP, Setting
from registries import Fault
from releases import PLAIN, UNSIGNED, Release

pytestmark = [pytest.mark.release, pytest.mark.timeout(2400)]
setting, digest, _afresh = faults.setting, faults.digest, faults.afresh
KILLED = """
import os, signal, sys
sys.path[:0] = {path!r}
from pathlib import Path
from buildlib.tasks.edge import Edge
from buildlib.tasks.publishing import NOTHING, publish
reached = []
def kill(step):
    reached.append(step)
    if len(reached) == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
wanted = NOTHING._replace(resume={resume}, skips={skips!r}, reason={reason!r})
run = Edge(Path("."), dict(os.environ), dry=False, quiet=True)
publish(run, wanted, reached=kill)
"""


def _killed(release: Release, number: int, folder: Path, *, signed: bool) -> int:
    """Kill a run after a step; nothing is left of it, in the directory for that either."""
    wanted = PLAIN if signed else UNSIGNED
    resume = (release.root / "dist/receipt.json").is_file()
    code = KILLED.format(
        path=sys.path,
        number=number,
        resume=resume,
        skips=wanted.skips,
        reason=wanted.reason,
    )
    before = _files(release)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=release.root,
        env={**release.env, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    assert list(folder.iterdir()) == []
    assert _files(release) - before <= {"receipt.json", "thing-1.2.3.oci.tar"}
    return done.returncode


def _files(release: Release) -> set[str]:
    """Return what lies in dist, but for BuildKit's statements."""
    found = {path.name for path in (release.root / "dist").glob("*")}
    return {name for name in found if not name.endswith(".buildkit.json")}


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_killed_after_any_step_it_is_finished_by_the_next_run(
    setting: Setting,
    digest: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    *,
    signed: bool,
) -> None:
    release = setting.release
    wanted = PLAIN if signed else UNSIGNED
    steps: list[str] = []
    release.publish(wanted._replace(resume=True), reached=steps.append)
    assert steps[:4] == ["begun", "preflight", "build", "gates"]
    assert steps[-1] == "ended"
    setting.forget()
    # Signing takes its time: only around it, where it matters, but where all is asked for.
    some = signed and not request.config.getoption("--every-request")
    numbers = range(5, 9) if some else range(1, len(steps))
    for number in numbers:
        assert _killed(release, number, tmp_path, signed=signed) == -signal.SIGKILL, steps[
            number - 1
        ]
        setting.check(digest)
        release.publish(wanted._replace(resume=True))
        setting.finished(digest)
        assert release.receipt["finished"] is True
        setting.forget()


FIRST_STEPS = ["begun", "preflight", "build", "gates"]


@pytest.mark.parametrize("moment", [*FIRST_STEPS, "in the build"])
def test_a_first_publication_that_is_killed_is_finished_by_the_next_run(
    setting: Setting, digest: str, tmp_path: Path, moment: str
) -> None:
    release, has_built = setting.release, moment in {"build", "gates"}
    shutil.rmtree(release.root / "dist")
    if moment in FIRST_STEPS:
        number = FIRST_STEPS.index(moment) + 1
        assert _killed(release, number, tmp_path, signed=False) == -signal.SIGKILL
    else:
        run = release.start("docker-publish", *SKIP)
        _until(run, "docker buildx build")
        assert _ended_by(run, signal.SIGKILL)[0] == -signal.SIGKILL
    assert release.receipt["digest"] == (digest if has_built else "")
    assert release.tags == [{}, {}]
    text = release.publish(RESUMED)
    setting.finished(digest)
    assert ("docker buildx build" in text) is not has_built
    assert _files(release) == {"receipt.json", "thing-1.2.3.oci.tar"}


def _ended_by(run: subprocess.Popen[str], number: int) -> tuple[int, str]:
    os.killpg(run.pid, number)
    text = run.communicate(timeout=60)[0]
    return run.returncode, text


def _until(run: subprocess.Popen[str], words: str) -> str:
    """Read what a run prints until it says something."""
    assert run.stdout
    text = ""
    while words not in text:
        line = run.stdout.readline()
        assert line, text
        text += line
    return text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("moment", ["a push", "a signature", "a gate"])
def test_row_31_interrupted_it_ends_and_leaves_nothing(
    setting: Setting, digest: str, tmp_path: Path, number: int, moment: str
) -> None:
    release = setting.release
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    env = {"TMPDIR": str(temporary)}
    words, argv = "pushing", ["docker-publish", "--resume"]
    config = release.root / "buildlib.toml"
    kept = config.read_text(encoding="utf-8")
    if moment == "a gate":
        # A scanner that takes its time, and notes that it was started.
        slow = tmp_path / "bin" / "grype"
        slow.parent.mkdir()
        slow.write_text(
            '#!/bin/sh\ncase "$*" in *version*) echo \'{"version": "0.100.0"}\'; exit ;; esac\n'
            f"echo $$ >> {tmp_path}/pids\nexec sleep 120\n",
            "utf-8",
        )
        slow.chmod(0o755)
        env["PATH"] = f"{slow.parent}{os.pathsep}{release.env['PATH']}"
        config.write_text(kept.replace('"policy"]', '"policy", "scan"]'), encoding="utf-8")
        git(release.root, "commit", "--all", "--amend", "--no-edit", "--quiet")
        git(release.root, "tag", "--force", "v1.2.3")
        words, argv = "gate policy passed", ["docker-publish"]
    elif moment == "a push":
        setting.proxy.always["PUT .*digest="] = Fault(stall=30)
    else:
        setting.proxy.always["PUT .*[.]sig"] = Fault(stall=30)
        words = "signing"
    run = release.start(*argv, **env)
    try:
        _until(run, words)
        time.sleep(1.0)
        started = time.monotonic()
        code, text = _ended_by(run, number)
        assert time.monotonic() - started < 15
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
        for pid in (tmp_path / "pids").read_text(encoding="utf-8").split():
            assert not Path("/proc", pid).exists()
        return
    setting.proxy.always.clear()
    release.publish(RESUMED)
    setting.finished(digest)
