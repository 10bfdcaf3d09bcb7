"""Two interrupts, one soon after the other, at random moments of the tasks that start something."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import TASKS, Checkout, docker, remove_images
from faults import SKIP
from registries import registry
from releases import make_release

# As long as 200 of them take, which are tried every week.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600)]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LONGEST_GAP = 3.0
# A container has ten seconds to end, and the machine may be busy.
LIMIT = 120.0
# What an interpreter takes at most to end, once all is done.
END = 5.0
LABEL = "buildlib"
SERVE = "cp /version /tmp/index.html; httpd -p 8080 -h /tmp; trap exit TERM; sleep 600 & wait"
CONFIG = """
image = "{image}"
[smoke]
policy = false
commands = [["true"], ["sleep", "0.3"]]
port = 8080
health-path = "/index.html"
start-timeout = 20
[run]
user = 1001
"""


@dataclass(frozen=True)
class Pair:
    """Two signals: when the first comes, as a share of what the task takes, and the second."""

    moment: float
    gap: float
    numbers: tuple[signal.Signals, signal.Signals]
    group: bool

    def __str__(self) -> str:
        """Say it in words."""
        names = " and ".join(number.name for number in self.numbers)
        whom = "the group" if self.group else "the process"
        return f"{names} to {whom}, at {self.moment:.3f} of its time and {self.gap:.3f} s later"


def random_pairs(seed: str, count: int) -> list[Pair]:
    """Return so many pairs; the first signals are spread over the time of the task."""
    chance = random.Random(seed)
    return [
        Pair(
            moment=(number + chance.random()) / count,
            # Most people press it again at once.
            gap=LONGEST_GAP * chance.random() ** 2,
            numbers=(chance.choice(SIGNALS), chance.choice(SIGNALS)),
            group=chance.random() < 0.6,
        )
        for number in range(count)
    ]


@dataclass(frozen=True)
class Ended:
    """How a task ended; `late`: before the first signal came."""

    pid: int
    code: int
    err: str
    late: bool


@dataclass(frozen=True)
class Kind:
    """A task.

    Args:
        root: where it is started.
        env: in which.
        words: its command line, with a name that nothing else has.
        left: returns what is left of it.
        seconds: what it takes; 0: it is measured.
    """

    root: Path
    env: Mapping[str, str]
    words: Callable[[str], Sequence[str]]
    left: Callable[[int], list[str]]
    seconds: float = 0.0


class Run:
    """One run of a task, in a process group of its own, as a terminal has it."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._kind, self._err = kind, folder / "err"
        self._temporary = folder / "tmp"
        self._temporary.mkdir()
        self._marker = secrets.token_hex(8)
        env = {**kind.env, "TMPDIR": str(self._temporary), "MARKER": self._marker}
        with (folder / "out").open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "invoke", *kind.words(self._marker)],
                cwd=kind.root,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                process_group=0,
            )

    def wait(self, seconds: float) -> bool:
        """Return whether it has ended within so many seconds."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=seconds)
        return self.process.returncode is not None

    def _listens(self) -> bool:
        """Return whether it handles SIGTERM, which Python by itself does not."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        (caught,) = (line.split()[1] for line in status.splitlines() if line[:7] == "SigCgt:")
        return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)

    def interrupt(self, pair: Pair) -> bool:
        """Send both signals; return whether all was done before the first."""
        while not self._listens():
            assert self.process.poll() is None
            time.sleep(0.002)
        if self.wait(pair.moment * self._kind.seconds):
            return True
        first = time.monotonic()
        for number, seconds in zip(pair.numbers, (pair.gap, LIMIT), strict=True):
            if pair.group:
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)
            if self.wait(seconds):
                # It may have been about to end.
                return self.process.returncode == 0 and time.monotonic() - first < END
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return False

    def complaints(self, *, late: bool) -> list[str]:
        """Return what is wrong once it has ended."""
        err = self._err.read_text(encoding="utf-8", errors="replace")
        # The latter of a container whose log was shown.
        said = err.count("interrupted") + err.count("stopped and removed")
        code = self.process.returncode
        found = [f"alive: {line}" for line in self._alive()]
        found += [f"in TMPDIR: {path.name}" for path in self._temporary.iterdir()]
        found += self._kind.left(self.process.pid)
        if "Traceback" in err or "Exception ignored" in err:
            found.append("a traceback")
        if (code, said) != ((0, 0) if late else (130, 1)):
            found.append(f"exit {code}, and it says {said} times that it was interrupted")
        return [*found, err] if found else []

    def _alive(self) -> list[str]:
        """Return the command lines of its processes, whatever group they are in."""
        found = []
        for folder in Path("/proc").iterdir():
            with suppress(OSError):
                if (
                    folder.name.isdigit()
                    and self._marker.encode() in (folder / "environ").read_bytes()
                ):
                    found.append((folder / "cmdline").read_text(encoding="utf-8"))
        return [line.replace("\0", " ") for line in found if line]


def _measured(kind: Kind, folder: Path) -> Kind:
    """Return a task with what it takes from its first import to its end."""
    if kind.seconds:
        return kind
    run = Run(kind, folder)
    started = time.monotonic()
    assert run.wait(LIMIT)
    assert run.complaints(late=True) == []
    return Kind(kind.root, kind.env, kind.words, kind.left, time.monotonic() - started)


def _tried(kind: Kind, folder: Path, pairs: Sequence[Pair]) -> list[str]:
    """Interrupt a task by each pair, one after the other; return what is wrong."""
    measured = _measured(kind, folder / "whole")
    found = []
    for number, pair in enumerate(pairs):
        run = Run(measured, folder / str(number))
        late = run.interrupt(pair)
        if complaints := run.complaints(late=late):
            words = " ".join(kind.words("NAME"))
            found.append("\n".join([f"{words}: {pair} ({measured.seconds:.1f} s)", *complaints]))
    return found


def _parts(root: Path) -> list[str]:
    return [path.name for path in (root / "dist").glob("*") if path.suffix != ".tar"]


@pytest.fixture(scope="module")
def kinds(
    engine: str, alpine: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Kind]]:
    assert engine
    folder = tmp_path_factory.mktemp("interrupts")
    image = f"buildlib-test-{secrets.token_hex(4)}"
    roots = [folder / name for name in ("build", "run", "smoke")]
    for root in roots:
        root.mkdir()
        (root / "buildlib.toml").write_text(CONFIG.format(image=f"{image}-{root.name}"), "utf-8")
        (root / "tasks.py").write_text(TASKS, encoding="utf-8")
        (root / "Dockerfile").write_text(
            f"FROM {alpine}\nARG VERSION\nRUN echo $VERSION > /version && sleep 0.5\n"
            f"USER 1001:1001\nCMD {json.dumps(['sh', '-c', SERVE])}\n",
            encoding="utf-8",
        )
    build, run, smoke = (Checkout(root, f"{image}-{root.name}") for root in roots)
    assert run.invoke("docker-build").returncode == 0
    env = run.environment({"COVERAGE_PROCESS_CONFIG": None})

    def of_run(_: int) -> list[str]:
        return _labelled_by(f"{LABEL}.run={run.image}")

    def of_smoke(pid: int) -> list[str]:
        tags = docker("image", "ls", "--format", "{{.Tag}}", smoke.image).split()
        names = [*_labelled_by(f"{LABEL}.smoke"), *tags]
        return [name for name in names if f"-{pid}-" in name]

    with registry(folder / "registry", password=False) as server:
        release = make_release(folder / "release", {"one": server.host}, [server])

        def of_publish(_: int) -> list[str]:
            (tags,) = release.tags
            digest = release.receipt["digest"] if tags else ""
            release.forget()
            wrong = [f"{tag} is {found}" for tag, found in tags.items() if found != digest]
            others = {"receipt.json", "thing-1.2.3.oci.tar"}
            return wrong + [name for name in _parts(release.root) if name not in others]

        publish_env = {k: v for k, v in release.env.items() if k != "COVERAGE_PROCESS_CONFIG"}
        yield {
            "docker-build": Kind(
                build.root,
                env,
                lambda _: ("docker-build", "--no-cache", "--output", "oci"),
                lambda _: _parts(build.root),
            ),
            "docker-run": Kind(
                run.root,
                env,
                lambda name: ("docker-run", "--no-build", "--port", "0", "--name", name),
                of_run,
                2.5,
            ),
            "docker-smoke": Kind(smoke.root, env, lambda _: ("docker-smoke",), of_smoke),
            "docker-publish": Kind(
                release.root, publish_env, lambda _: ("docker-publish", *SKIP), of_publish
            ),
        }
    for name in _labelled_by(f"{LABEL}.run={run.image}"):
        docker("rm", "--force", "--volumes", name)
    for checkout in (build, run, smoke):
        remove_images(checkout.image)


def _labelled_by(label: str) -> list[str]:
    """Return the names of the containers and volumes with a label."""
    only = ("--filter", f"label={label}")
    return [
        *docker("ps", "--all", *only, "--format", "{{.Names}}").split(),
        *docker("volume", "ls", *only, "--format", "{{.Name}}").split(),
    ]


def test_two_interrupts_at_any_moment_leave_nothing(
    kinds: dict[str, Kind], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    count = 50 if request.config.getoption("--every-request") else 2
    seed = os.environ.get("INTERRUPTS_SEED") or secrets.token_hex(4)
    sys.stdout.write(f"INTERRUPTS_SEED={seed}\n")
    with ThreadPoolExecutor() as pool:
        tried = [
            pool.submit(_tried, kind, tmp_path / name, random_pairs(f"{seed} {name}", count))
            for name, kind in kinds.items()
        ]
    found = [complaint for one in tried for complaint in one.result()]
    assert not found, "\n\n".join([f"INTERRUPTS_SEED={seed}", *found])
