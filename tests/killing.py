"""Publications that are killed after a step or in the build, and finished by the next run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from faults import SIGNED, SKIP, Setting
from releases import UNSIGNED, Release

from buildlib.commands.publish import PublishOptions

_KILLED = """
import os, signal, sys
sys.path[:0] = {path!r}
from pathlib import Path
from buildlib.commands.session import Edge
from buildlib.commands.publish import NO_OPTIONS, publish
def kill(step):
    if step == {step!r}:
        os.kill(os.getpid(), signal.SIGKILL)
wanted = NO_OPTIONS._replace(resume={resume}, skips={skips!r}, reason={reason!r})
run = Edge(Path("."), dict(os.environ), dry=False, quiet=False)
publish(run, wanted, reached=kill)
"""
FILES = {"receipt.json", "thing-1.2.3.oci.tar"}
IN_THE_BUILD = "in the build"
UNBUILT = ("begun", "preflight", IN_THE_BUILD)
_FIRST = ("begun", "preflight", "build", "gates")
# They come in the order of the registries' ports.
_CLAIMS = ("claim one", "claim two")
_TAGS = (
    *(("one", "1.2.3"), ("two", "1.2.3")),
    *((one, tag) for one in ("one", "two") for tag in ("1.2", "1", "latest")),
)
_LAST = (*_CLAIMS, *(f"{done} {one} {tag}" for one, tag in _TAGS for done in ("write", "tag")))
# After each of them a publication can be killed.
STEPS = (*_FIRST, "push one", "push two", *_LAST)
SIGNED_STEPS = (*_FIRST, "provenance", "push one", "sign one", "push two", "sign two", *_LAST)


def kill(release: Release, moment: str, folder: Path, wanted: PublishOptions = UNSIGNED) -> None:
    """Kill a run after a step, or in the build.

    Args:
        release: is published, and resumed where it was begun.
        moment: the step, or IN_THE_BUILD.
        folder: an empty one, for temporary files, of which none may be left.
        wanted: how it is published; without signatures where it is killed in the build.
    """
    resume, before = (release.root / "dist/receipt.json").is_file(), files(release)
    if moment == IN_THE_BUILD:
        run = release.start("docker-publish", *(["--resume"] if resume else []), *SKIP)
        read_until(run, "docker buildx build")
        assert end(run, signal.SIGKILL)[0] == -signal.SIGKILL
        return
    code = _KILLED.format(
        path=sys.path, step=moment, resume=resume, skips=wanted.skips, reason=wanted.reason
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=release.root,
        env={**release.env, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        # Less than the claim of one that was killed before takes to expire: it is not waited for.
        timeout=200,
        check=False,
    )
    release.printed += [done.stdout, done.stderr]
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(folder.iterdir()) == []
    assert files(release) - before <= FILES


def files(release: Release) -> set[str]:
    """Return what lies in dist, but for BuildKit's statements."""
    found = {path.name for path in (release.root / "dist").glob("*")}
    return {name for name in found if not name.endswith(".buildkit.json")}


def finish(setting: Setting, digest: str, wanted: PublishOptions) -> str:
    """Pick up what was killed, and see that all is done; return what was printed."""
    reached: list[str] = []
    receipt = setting.release.root / "dist/receipt.json"
    # What BuildKit has said of the build is not asked again.
    asked = receipt.is_file() and bool(setting.release.receipt["provenance"])
    # One that was killed before it did anything left nothing to resume.
    picking_up = wanted._replace(resume=False, pick_up=True)
    text = setting.release.publish(picking_up, reached=reached.append)
    setting.finished(digest)
    assert setting.release.receipt["finished"] is True
    steps = SIGNED_STEPS if wanted._replace(resume=True) == SIGNED else STEPS
    steps = tuple(step for step in steps if not (asked and step == "provenance"))
    assert set(_CLAIMS) < set(reached)
    assert _unordered(reached) == _unordered((*steps, "ended"))
    return text


def _unordered(steps: Iterable[str]) -> list[str]:
    # What already exists is not written again.
    kept = [step for step in steps if not step.startswith("write ")]
    return ["claim" if step in _CLAIMS else step for step in kept]


def end(run: subprocess.Popen[str], number: int) -> tuple[int, str]:
    """Send a signal to a task and all that it started; return its code, and what it printed."""
    os.killpg(run.pid, number)
    text = run.communicate(timeout=300)[0]
    return run.returncode, text


def read_until(run: subprocess.Popen[str], words: str) -> str:
    """Read what a run prints until it says something; return all that was read."""
    assert run.stdout
    text = ""
    while words not in text:
        line = run.stdout.readline()
        assert line, text
        text += line
    return text
