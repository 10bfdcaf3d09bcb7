"""Two publishers at once, on real registries: one is held up by a 503, and the other finishes.

What holds for any order of requests is simulated in tests/simulation.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import git
from faults import SKIP
from registries import Fault, Proxy, Server, fault_proxy, registry
from releases import UNSIGNED, Release, make_release

from buildlib.commands.rollback import rollback
from buildlib.commands.session import Edge

pytestmark = [pytest.mark.release, pytest.mark.unmeasured, pytest.mark.timeout(900)]
HELD_UP = Fault(status=503, headers={"Retry-After": "6"})


@dataclass
class Race:
    """Two registries; the first publisher reaches them through proxies, the second directly."""

    slow: Release
    quick: Release
    proxies: tuple[Proxy, ...]
    servers: tuple[Server, ...]

    def hold_up(self, request: str) -> None:
        """Let the slow publisher's next request of this kind in the first registry wait."""
        self.proxies[0].once.append((request, HELD_UP))

    def both(self) -> tuple[int, int]:
        """Let the slow one publish, and the quick one as soon as that waits; return their codes."""
        slow = self.slow.start("docker-publish", *SKIP)
        deadline = time.monotonic() + 300
        while self.proxies[0].once:
            assert slow.poll() is None, slow.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        quick = self.quick.invoke_process("docker-publish", *SKIP).returncode
        self.slow.printed += slow.communicate(timeout=300)
        return slow.returncode, quick

    def version_of(self, tag: str) -> list[str]:
        """Return who has a tag, in each registry."""
        owners = {
            str(one.receipt.get("digest")): name
            for name, one in (("slow", self.slow), ("quick", self.quick))
        }
        return [owners.get(tags.get(tag, ""), "nobody") for tags in self.quick.tags]


@pytest.fixture
def race(tmp_path: Path) -> Iterator[Race]:
    with (
        registry(tmp_path / "one") as one,
        registry(tmp_path / "two") as two,
        fault_proxy(one.port) as first,
        fault_proxy(two.port) as second,
    ):
        servers = (one, two)
        slow = {"one": first.host, "two": second.host}
        quick = {"one": one.host, "two": two.host}
        yield Race(
            make_release(tmp_path / "slow/repo", slow, servers),
            make_release(tmp_path / "quick/repo", quick, servers),
            (first, second),
            servers,
        )


def test_a_version_is_never_overwritten_by_a_publisher_that_was_held_up(race: Race) -> None:
    race.slow.commit("slow", "v1.5.0")
    race.quick.commit("quick", "v1.5.0")
    race.hold_up("PUT .*/manifests/1.5.0")
    # Who claimed the registries first, keeps them while it waits.
    assert race.both() == (0, 7), race.slow.printed
    for tag in ("1.5.0", "1.5", "1", "latest"):
        assert race.version_of(tag) == ["slow"] * 2
    assert "1.5.0 already exists with a different digest" in "".join(race.quick.printed)
    assert race.slow.claims == []


def test_latest_is_never_moved_back_by_a_publisher_that_was_held_up(race: Race) -> None:
    race.slow.commit("slow", "v1.2.9")
    race.quick.commit("quick", "v1.3.0")
    race.hold_up("PUT .*/manifests/1.2")
    assert race.both() == (0, 0), race.slow.printed
    assert race.version_of("1.2.9") == race.version_of("1.2") == ["slow"] * 2
    assert race.version_of("1.3.0") == race.version_of("1.3") == ["quick"] * 2
    assert race.version_of("latest") == race.version_of("1") == ["quick"] * 2
    assert race.slow.claims == []


def test_a_publication_that_is_run_again_leaves_a_rollback_as_it_is(race: Race) -> None:
    release = race.quick
    config = release.root / "buildlib.toml"
    # Nothing is signed here, and a rollback verifies what the configuration says.
    config.write_text(config.read_text(encoding="utf-8").partition("[sign]")[0], encoding="utf-8")
    release.commit("good", "v1.2.4")
    release.publish()
    release.commit("bad", "v1.3.0")
    release.publish()
    run = Edge(release.root, release.env, dry=False, quiet=True)
    try:
        rollback(run, "1.2.4", (), as_json=False)
    finally:
        run.close()
    before = release.tags
    said = release.publish(UNSIGNED._replace(pick_up=True))
    assert release.tags == before
    assert "latest is not moved: it was moved to" in said
    assert release.receipt["finished"] is True
    assert git(release.root, "describe", "--tags").strip() == "v1.3.0"
