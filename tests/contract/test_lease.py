"""How many builds a node gets at once: real files and processes, no docker."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

import pytest

from buildlib.build import lease
from buildlib.config.builders import BuilderSettings, NodeSettings
from buildlib.errors import InputError
from buildlib.executor import PlumbumExecutor

from fakes import a_console

ONE = NodeSettings(name="one", endpoint="tcp://one:1", max_builds=1)
TWO = NodeSettings(name="two", endpoint="tcp://two:1", max_builds=2)
BUILDER = BuilderSettings(name="farm", driver="remote", nodes=(ONE, TWO))
# Takes the place of its node, starts what builds, and says so.
HOLDER = """\
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from fakes import a_console
from buildlib.build.lease import leased
from buildlib.config.builders import BuilderSettings, NodeSettings
from buildlib.executor import PlumbumExecutor
node = NodeSettings(name="one", endpoint="tcp://one:1", max_builds=1)
builder = BuilderSettings(name="other", driver="remote", nodes=(node,))
env = {{"XDG_STATE_HOME": {state!r}}}
with leased(builder, [node], "thing 1", env, a_console()[0], lambda _: None):
    PlumbumExecutor({{}}, Path("/")).stream(["sh", "-c", "echo $$; exec sleep 600"], print_line)
"""


class PausedError(Exception):
    """A build would have had to wait."""


def _refuse(_: float) -> None:
    raise PausedError


def _lease(
    state: Path,
    nodes: Sequence[NodeSettings],
    what: str = "thing 1",
    pause: Callable[[float], None] = _refuse,
    console: object = None,
) -> AbstractContextManager[None]:
    shown = console or a_console()[0]
    env = {"XDG_STATE_HOME": str(state)}
    return lease.leased(BUILDER, nodes, what, env, shown, pause)  # type: ignore[arg-type]


def test_a_node_has_as_many_places_as_it_says(tmp_path: Path) -> None:
    with ExitStack() as held:
        held.enter_context(_lease(tmp_path, [TWO]))
        held.enter_context(_lease(tmp_path, [ONE, TWO]))
        for nodes in ([ONE], [TWO], [TWO, ONE]):
            with pytest.raises(PausedError), _lease(tmp_path, nodes):
                pass
    # Whoever did not get both has given back the one.
    with _lease(tmp_path, [ONE, TWO]):
        pass


def test_whoever_waits_says_for_whom_and_how_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    first = _lease(tmp_path, [ONE], "thing 1.2.3 linux/arm64")
    first.__enter__()

    def pause(_: float) -> None:
        now[0] += 30
        if now[0] > 1070:
            first.__exit__(None, None, None)

    console, _, err = a_console()
    with _lease(tmp_path, [ONE], pause=pause, console=console):
        assert err.getvalue().splitlines() == [
            "node one: waiting for thing 1.2.3 linux/arm64 (0 s); waited 0 s so far",
            "node one: waiting for thing 1.2.3 linux/arm64 (60 s); waited 60 s so far",
            "node one is free after 90 s",
        ]


def test_without_a_limit_nothing_is_written(tmp_path: Path) -> None:
    node = NodeSettings(name="any", endpoint="tcp://any:1")
    with _lease(tmp_path, [node]), _lease(tmp_path, [node]):
        assert list(tmp_path.iterdir()) == []


def test_a_node_has_its_places_by_its_address_whatever_its_name(tmp_path: Path) -> None:
    same = NodeSettings(name="else", endpoint="tcp://one:1", max_builds=1)
    with _lease(tmp_path, [ONE]), pytest.raises(PausedError), _lease(tmp_path, [same]):
        pass


def test_a_build_outlives_the_task_that_is_killed_and_so_does_its_place(tmp_path: Path) -> None:
    tests, state = str(Path(__file__).parents[1]), str(tmp_path)
    program = HOLDER.format(tests=tests, state=state)
    printer = "def print_line(line):\n    print(line, flush=True)\n"
    with subprocess.Popen(
        [sys.executable, "-c", printer + program], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        build = int(holder.stdout.readline())
        holder.kill()
        holder.wait()
    with pytest.raises(PausedError), _lease(tmp_path, [ONE]):
        pass
    subprocess.run(["kill", "-9", str(build)], check=True)
    with _lease(tmp_path, [ONE], pause=lambda _: None):
        pass


def test_a_build_that_has_ended_leaves_its_place_to_others_whatever_still_runs(
    tmp_path: Path,
) -> None:
    executor = PlumbumExecutor({}, Path("/"))
    with ExitStack() as held:
        with _lease(tmp_path, [ONE]):
            held.enter_context(executor.serve(["sleep", "600"], tmp_path / "log"))
        with _lease(tmp_path, [ONE]):
            pass


@pytest.mark.parametrize(
    ("call", "code"), [("flock", errno.ENOLCK), ("pwrite", errno.ENOSPC)], ids=["lock", "full"]
)
def test_a_file_system_without_locks_is_reported_and_a_full_one_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl if call == "flock" else os, call, fail)
    reported = pytest.raises(InputError, match="max-builds needs a file in")
    with reported if call == "flock" else nullcontext(), _lease(tmp_path, [ONE], "\udce4"):
        pass


def test_a_state_directory_that_can_not_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "buildlib").touch()
    with pytest.raises(InputError, match="max-builds needs a file in"), _lease(tmp_path, [ONE]):
        pass
