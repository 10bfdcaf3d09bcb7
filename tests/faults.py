"""A release whose two registries are reached through proxies, for tests of what fails there.

What is held after each fault: no public tag stands for anything but the digest that passed the
gates, no tag that moves has moved unless every registry holds that digest, and a second run
finishes.

A test file takes the fixtures by assigning them to names of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from registries import KNOWN, Fault, Proxy, Server, fault_proxy, registry
from releases import PATH, QUICK, UNSIGNED, Release, make_release

from buildlib.errors import BuildlibError
from buildlib.registry.client import Document, Repository
from buildlib.registry.transport import Patience, Transport

PINNED = ["1.2.3"]
TAGS = ["1", "1.2", "1.2.3", "latest"]
RESUMED = UNSIGNED._replace(resume=True)
INDEX = "application/vnd.oci.image.index.v1+json"
SKIP = ["--skip-gate", "sign", "--reason", "signatures are another test's"]


@dataclass(frozen=True)
class Setting:
    """A release whose registries are reached through a proxy each."""

    release: Release
    proxies: tuple[Proxy, Proxy]

    @property
    def proxy(self) -> Proxy:
        """Return that of the first registry."""
        return self.proxies[0]

    @property
    def servers(self) -> list[Server]:
        return list(self.release.servers)

    def check(self, digest: str) -> None:
        """See that nothing is public that must not be."""
        for tags in self.release.tags:
            assert set(tags.values()) <= {digest}
        if any(set(tags) - set(PINNED) for tags in self.release.tags):
            assert all(server.holds(digest) for server in self.servers)
            assert all("1.2.3" in tags for tags in self.release.tags)

    def finished(self, digest: str, *, marked: bool = False) -> None:
        """See that all is published; `marked`: the tag of one claim may be there."""
        assert self.release.tags == [dict.fromkeys(TAGS, digest)] * 2
        assert len(self.release.claims) <= marked

    def forget(self) -> None:
        """Be as if nothing had been published."""
        self.release.forget()
        for proxy in self.proxies:
            proxy.plan.clear()
            proxy.always.clear()
            proxy.seen.clear()

    def raised(self) -> BuildlibError:
        """Publish, and return what was raised."""
        with pytest.raises(BuildlibError) as caught:
            self.release.publish(RESUMED)
        return caught.value


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    folder = tmp_path_factory.mktemp("faults")
    with (
        registry(folder / "one") as one,
        registry(folder / "two") as two,
        fault_proxy(one.port) as first,
        fault_proxy(two.port) as second,
    ):
        hosts = {"one": first.host, "two": second.host}
        yield Setting(make_release(folder / "work/repo", hosts, [one, two]), (first, second))


@pytest.fixture(autouse=True)
def afresh(setting: Setting) -> Iterator[None]:
    """Begin each test with empty registries."""
    yield
    setting.forget()


@pytest.fixture(scope="module")
def digest(setting: Setting) -> str:
    """Return the digest of the archive, which is built and has passed its gates."""
    setting.release.publish()
    found = str(setting.release.receipt["digest"])
    setting.finished(found)
    setting.forget()
    return found


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Args:
        fault: what happens to one request.
        refused: it ends the run; else it is tried again, and nobody need do anything.
        step: it happens to every so-manieth request of the first registry, and to a third as many
            of the second's; the kinds begin at different ones, so that each request meets several,
            or one.
        patience: of the client.
    """

    fault: Fault
    refused: bool = False
    step: int = 3
    patience: Patience = QUICK


# Silent for longer than the client waits; the registry never hears of the request.
_STALL = Kind(Fault(stall=1.0, reset=True), patience=replace(QUICK, attempts=6, timeout=0.5))
KINDS = {
    "403": Kind(Fault(status=403), refused=True, step=1),
    "a reset after it was done": Kind(Fault(reset=True, done=True), step=1),
    "401": Kind(Fault(status=401), refused=True),
    "429": Kind(Fault(status=429, headers={"Retry-After": "1"})),
    "500": Kind(Fault(status=500)),
    "502": Kind(Fault(status=502, body=b"<html>")),
    "503 after it was done": Kind(Fault(status=503, done=True)),
    "a reset": Kind(Fault(reset=True)),
    "a stall": _STALL,
    "a cut at byte 5": Kind(Fault(cut=5)),
    "a cut at byte 300": Kind(Fault(cut=300)),
}


def something_else(server: Server, tag: str) -> str:
    """Let a tag stand for an image that nobody judged; return its digest."""
    repository = Repository(Transport(server.host, KNOWN), PATH)
    data = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()
    document = Document(data, INDEX)
    repository.put_manifest(tag, document)
    return document.digest
