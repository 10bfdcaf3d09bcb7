"""Places of a node that several machines share, over a registry in memory."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from simulation.direct import Direct
from simulation.registries import Registry

from buildlib.build import registry_lease
from buildlib.build.lease import leased, node_key, open_sharing
from buildlib.build.registry_lease import Sharing
from buildlib.config.builders import BuilderSettings, NodeSettings
from buildlib.errors import (
    AuthorisationError,
    BuildlibError,
    CancelledError,
    EngineError,
    TransientError,
)
from buildlib.executor import PlumbumExecutor
from buildlib.registry.claim import Claim, ClaimTerms
from buildlib.registry.repository import Repository

from fakes import a_console

ONE = NodeSettings(name="one", endpoint="tcp://one:1", max_builds=1)
TWO = NodeSettings(name="two", endpoint="tcp://two:1", max_builds=2)
BUILDER = BuilderSettings(
    name="farm", driver="remote", nodes=(ONE, TWO), lease_repository="r.example/leases"
)
QUICK = ClaimTerms(duration=0.6, poll=0.02, patience=0.2)


class World:
    """One registry, and machines with a state directory each; `now` is 0 where time is real."""

    def __init__(self, folder: Path, *, deletes: bool = True) -> None:
        self.registry = Registry("r.example", deletes=deletes)
        self.folder, self.lock = folder, threading.Lock()
        self.now = 0.0
        self.passes: Callable[[], None] = lambda: None

    def client(self, machine: str) -> Client:
        return Client(self, machine)

    def clock(self) -> float:
        return self.now or time.time()

    def pause(self, seconds: float) -> None:
        if not self.now:
            time.sleep(seconds)
            return
        self.now += seconds
        self.passes()


class Client:
    """Somebody who builds on a machine."""

    def __init__(self, world: World, machine: str) -> None:
        self.world, self.state = world, world.folder / machine
        self.way = Direct(world.registry, world.pause, world.clock, world.lock)
        self.console, _, self._err = a_console()
        self.warnings: list[str] = []
        self.sharing = Sharing(repository=Repository(self.way, "leases"), warn=self.warnings.append)

    @property
    def lines(self) -> list[str]:
        return self._err.getvalue().splitlines()

    @contextmanager
    def builds(self, *nodes: NodeSettings, what: str = "thing 1 linux/arm64") -> Iterator[None]:
        env = {"XDG_STATE_HOME": str(self.state)}
        with leased(BUILDER, nodes, what, env, self.console, self.world.pause, self.sharing):
            yield


@pytest.fixture(name="world")
def _world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a world whose time passes only while somebody waits."""
    world = World(tmp_path)
    world.now = 1000.0
    monkeypatch.setattr("time.time", lambda: world.now)
    monkeypatch.setattr("time.monotonic", lambda: world.now)
    made = partial(Claim, clock=lambda: world.now)
    monkeypatch.setattr(registry_lease, "Claim", made)
    monkeypatch.setattr(registry_lease, "_renewed", lambda *_: ExitStack())
    return world


@pytest.fixture(name="quick")
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a world in which time is real, and claims last a moment."""
    monkeypatch.setattr(registry_lease, "TERMS", QUICK)
    monkeypatch.setattr(registry_lease, "POLL", 0.02)
    return World(tmp_path)


def _killed(client: Client, *nodes: NodeSettings, what: str = "thing 1") -> None:
    """Let a client end without any clean-up, but for what the system does: the lock of its file."""
    with suppress(SystemExit), client.builds(*nodes, what=what):
        client.way.fails = _raise(SystemExit)


def _raise(error: type[BaseException] | BaseException) -> Callable[[str, str], None]:
    def fails(_method: str, _path: str) -> None:
        raise error

    return fails


def test_a_node_has_its_places_once_for_all_machines(world: World) -> None:
    world.passes = partial(_refuse)
    with ExitStack() as held:
        held.enter_context(world.client("a").builds(TWO))
        held.enter_context(world.client("b").builds(ONE, TWO))
        for nodes in ([ONE], [TWO], [TWO, ONE]):
            with pytest.raises(_PausedError), world.client("c").builds(*nodes):
                pass
        assert len(world.registry.tags) == 3
    with world.client("c").builds(ONE, TWO):
        pass
    assert (world.registry.tags, world.registry.manifests) == ({}, {})


class _PausedError(Exception):
    """A build would have had to wait."""


def _refuse() -> None:
    raise _PausedError


def test_whoever_waits_says_for_whom_and_how_long(world: World) -> None:
    first = world.client("a").builds(ONE, what="thing 1.2.3 linux/arm64")
    first.__enter__()
    world.now += 12

    def passes() -> None:
        if world.now > 1082:
            world.passes = lambda: None
            first.__exit__(None, None, None)

    world.passes = passes
    client = world.client("b")
    with client.builds(ONE):
        waited, again, free = client.lines
    assert waited == "node one: waiting for thing 1.2.3 linux/arm64 (12 s); waited 0 s so far"
    assert re.fullmatch(r"node one: waiting for thing 1\.2\.3 .*\(7\d s\); waited 6\d s .*", again)
    assert re.fullmatch(r"node one is free after 7\d s", free)


def test_a_client_of_the_same_machine_asks_the_registry_only_when_it_is_next(world: World) -> None:
    first = world.client("a").builds(ONE)
    first.__enter__()
    second = world.client("a")

    def passes() -> None:
        assert second.way.asked == []
        world.passes = lambda: None
        first.__exit__(None, None, None)

    world.passes = passes
    with second.builds(ONE):
        assert len([line for line in second.lines if "is free" in line]) == 1


def test_the_registry_gets_neither_the_address_of_a_node_nor_a_name_of_a_client(
    world: World,
) -> None:
    with world.client("a").builds(ONE, what="thing 1.2.3 linux/arm64"):
        ((tag, digest),) = world.registry.tags.items()
        found = json.loads(world.registry.manifests[digest])["annotations"]
    assert re.fullmatch(r"buildlib-lease-[0-9a-f]{16}-0-[0-9a-f]{16}", tag)
    assert {name: text for name, text in found.items() if name.startswith("buildlib.")} == {
        "buildlib.claim.state": "held",
        "buildlib.claim.owner": "thing 1.2.3 linux/arm64",
        "buildlib.claim.digest": "",
        "buildlib.claim.versions": "",
        "buildlib.claim.began": "1000",
        "buildlib.claim.renewed": f"1000 1 {tag.rpartition('-')[2]}",
    }


def test_the_place_of_a_killed_client_is_free_after_a_while_and_nothing_is_left(
    world: World,
) -> None:
    _killed(world.client("a"), TWO)
    _killed(world.client("b"), TWO)
    assert len(world.registry.tags) == 2
    with world.client("c").builds(TWO):
        assert 1120 <= world.now < 1130
    # Also in the place that was not taken, once that is certain at first sight.
    world.now += 2 * 3600
    with world.client("d").builds(TWO):
        pass
    assert (world.registry.tags, world.registry.manifests) == ({}, {})


def test_a_waiter_has_no_tag(world: World) -> None:
    world.passes = _refuse
    with world.client("a").builds(ONE):
        with pytest.raises(_PausedError), world.client("b").builds(ONE):
            pass
        assert len(world.registry.tags) == 1


def test_the_holders_of_places_are_known_to_anybody(world: World) -> None:
    asks = world.client("c")
    key = node_key(BUILDER, TWO)
    assert asks.sharing.holders(TWO, key) == []
    with world.client("a").builds(TWO, what="thing 1"):
        world.now += 5
        with world.client("b").builds(TWO, what="thing 2"):
            assert asks.sharing.holders(TWO, key) == [("thing 1", 1000.0), ("thing 2", 1005.0)]
    assert not [line for line in asks.way.asked if not line.startswith("GET")]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, CancelledError])
def test_an_interrupt_leaves_nothing_and_waits_for_no_registry(
    world: World, kind: type[BaseException]
) -> None:
    client = world.client("a")
    with pytest.raises(kind), client.builds(ONE, TWO):
        raise kind("stop")
    assert world.registry.tags == {}
    assert client.way.patience.attempts == 1


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (TransientError("no answer", why="gone"), 6, "no place on node one can be claimed in"),
        (AuthorisationError("no"), 5, "does not list the tags by which builds are kept apart"),
        (EngineError("no"), 4, "does not list the tags by which builds are kept apart"),
    ],
)
def test_no_build_begins_without_the_registry(
    world: World, error: BuildlibError, code: int, text: str
) -> None:
    client = world.client("a")
    client.way.fails = _raise(error)
    with pytest.raises(type(error), match=text) as caught, client.builds(ONE):
        pass
    assert caught.value.exit_code == code
    assert "claim = false" not in str(caught.value)
    # The file of this machine is free again.
    client.way.fails = lambda _method, _path: None
    with client.builds(ONE):
        pass


def test_where_nothing_is_deleted_a_machine_uses_its_tag_again(
    tmp_path: Path, world: World
) -> None:
    world.registry.deletes = False
    for _ in range(3):
        with world.client("a").builds(ONE):
            pass
    assert len(world.registry.tags) == 1
    # A copy of the state directory gets a tag of its own while that one is used.
    first = world.client("a").builds(ONE)
    first.__enter__()
    shutil.copytree(tmp_path / "a", tmp_path / "b")

    def passes() -> None:
        world.passes = lambda: None
        world.now += 60
        first.__exit__(None, None, None)

    world.passes = passes
    with world.client("b").builds(ONE):
        assert world.now > 1060
    assert len(world.registry.tags) == 2
    # As does a task after one that was killed.
    _killed(world.client("a"), ONE)
    with world.client("a").builds(ONE):
        assert world.now > 1180
    assert len(world.registry.tags) == 3


class _Build(threading.Event):
    """A build of so many seconds; `passes` is called each second, with those that have passed."""

    def __init__(self, world: World, seconds: int, passes: Callable[[float], None]) -> None:
        super().__init__()
        self._world, self._began, self._seconds = world, world.now, seconds
        self._passes = passes

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        for _ in range(max(round(timeout), 1)):
            self._world.now += 1
            self._passes(self._world.now - self._began)
        return self._world.now - self._began >= self._seconds


def _claim(client: Client) -> Claim:
    (claim,) = registry_lease._claims(client.sharing.repository, ONE, "key", "thing 1")
    return claim


def test_a_place_is_kept_as_long_as_its_build_takes(world: World) -> None:
    client, other = world.client("a"), world.client("b")
    waits = _claim(other)
    seen = set[str]()

    def passes(_: float) -> None:
        assert [one.owner for one in waits.others()] == ["thing 1"]
        # Earlier states are deleted at once, and not all at the end.
        assert len(world.registry.manifests) == 1
        seen.update(world.registry.manifests)

    with _claim(client) as claim:
        build = _Build(world, 1000, passes)
        registry_lease._renew(claim, build, ONE, client.warnings.append)
    assert len(seen) == 25
    assert client.warnings == []
    assert not world.registry.tags


def test_a_build_goes_on_without_the_network_and_has_its_place_again_after_it(
    world: World,
) -> None:
    client, other = world.client("a"), world.client("b")
    waits = _claim(other)
    free = set[float]()

    def passes(second: float) -> None:
        down = 100 < second < 400
        client.way.fails = (
            _raise(TransientError("no answer")) if down else lambda _method, _path: None
        )
        if not waits.others():
            free.add(second)

    with _claim(client) as claim:
        registry_lease._renew(claim, _Build(world, 600, passes), ONE, client.warnings.append)
    # It was renewed after 80 seconds, and each time after the network was back.
    assert min(free) == 201
    assert 400 <= max(free) <= 403
    (warning,) = client.warnings
    assert warning == (
        "the place on node one can't be renewed (no answer): this build goes on, and others may "
        "begin there after 120 s"
    )
    assert not world.registry.tags


def test_a_place_that_can_not_be_released_is_reported(quick: World) -> None:
    client = quick.client("a")
    with client.builds(ONE):
        client.way.fails = _raise(TransientError("r.example did not answer"))
    assert client.warnings[-1] == (
        "r.example/leases: the claim could not be released; it expires within 1 s"
    )


def test_a_build_renews_its_place_beside_it(quick: World) -> None:
    with quick.client("a").builds(ONE):
        first, deadline = set(quick.registry.tags.values()), time.monotonic() + 60
        while set(quick.registry.tags.values()) in (first, set()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert not quick.registry.tags


def test_a_renewal_that_hangs_does_not_hold_up_the_end(
    quick: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_lease, "_LAST", 0.1)
    client, hangs = quick.client("a"), threading.Event()
    reached = threading.Event()

    def hang(_method: str, _path: str) -> None:
        reached.set()
        hangs.wait(30)

    with client.builds(ONE):
        client.way.fails = hang
        assert reached.wait(30)
        began = time.monotonic()
    assert time.monotonic() - began < 10
    hangs.set()
    assert "could not be released" in client.warnings[-1]


def test_a_defect_in_a_renewal_is_not_passed_over(quick: World) -> None:
    client, reached = quick.client("a"), threading.Event()

    def break_once(_method: str, _path: str) -> None:
        client.way.fails = lambda _method, _path: None
        reached.set()
        raise ValueError("a defect")

    def build() -> None:
        with client.builds(ONE):
            client.way.fails = break_once
            assert reached.wait(30)

    with pytest.raises(ValueError, match="a defect"):
        build()
    assert not quick.registry.tags


@pytest.mark.parametrize("deletes", [True, False])
def test_many_clients_at_once_never_exceed_the_limit_and_all_finish(
    quick: World, monkeypatch: pytest.MonkeyPatch, deletes: bool
) -> None:
    monkeypatch.setattr(registry_lease, "TERMS", ClaimTerms(duration=20, poll=0.01, patience=0.3))
    quick.registry.deletes = deletes
    counting, running, most, done = threading.Lock(), [0], [0], [0]

    def build(number: int) -> None:
        for _ in range(3):
            with quick.client(f"machine{number}").builds(TWO):
                with counting:
                    running[0] += 1
                    most[0] = max(most[0], running[0])
                time.sleep(0.01)
                with counting:
                    running[0] -= 1
                    done[0] += 1

    threads = [threading.Thread(target=build, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (done, most) == ([24], [2])
    # One for each machine and place.
    assert len(quick.registry.tags) <= (0 if deletes else 16)


def test_places_are_shared_only_where_a_repository_is_configured(tmp_path: Path) -> None:
    executor = PlumbumExecutor({}, tmp_path)
    alone = BuilderSettings(name="farm", driver="remote", nodes=(ONE,))
    for builder in (None, alone):
        assert open_sharing(builder, {}, executor, print) is None
    env = {"DOCKER_CONFIG": str(tmp_path)}
    sharing = open_sharing(BUILDER, env, executor, print)
    assert sharing
    assert sharing.repository.name == "r.example/leases"
