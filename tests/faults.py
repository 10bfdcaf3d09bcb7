"""A release whose two registries are reached through proxies, for tests of what fails there.

What is held after each fault: no public tag stands for anything but the digest that passed the
gates, no tag that moves has moved unless every registry holds that digest, and a second run
finishes.

A test file takes the fixtures by assigning them to names of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from registries import KNOWN, Proxy, Server, fault_proxy, registry
from releases import PATH, PLAIN, QUICK, UNSIGNED, Release, make_release

from buildlib.commands.publish import PublishOptions
from buildlib.errors import BuildlibError, exit_code_of
from buildlib.registry.repository import Document, Repository
from buildlib.registry.transport import Transport
from buildlib.retry import Patience
from buildlib.sign import signer

PINNED = ["1.2.3"]
TAGS = ["1", "1.2", "1.2.3", "latest"]
RESUMED = UNSIGNED._replace(resume=True)
SIGNED = PLAIN._replace(resume=True)
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
            proxy.forget()

    def code(self, wanted: PublishOptions, patience: Patience = QUICK) -> int:
        """Publish, and return the code that the task would exit with."""
        try:
            self.release.publish(wanted, patience=patience)
        except BuildlibError as error:
            return exit_code_of(error)
        return 0

    def raised(self, wanted: PublishOptions = RESUMED) -> BuildlibError:
        """Publish, and return what was raised."""
        with pytest.raises(BuildlibError) as caught:
            self.release.publish(wanted)
        return caught.value


def blobs_sent(proxy: Proxy) -> int:
    """Return how many blobs were sent, or begun to be."""
    return sum("digest=" in line for line in proxy.seen)


@contextmanager
def reached_by_proxies(folder: Path, *, provenance: bool = True) -> Iterator[Setting]:
    """Run two registries, and a proxy before each, for a new release."""
    with (
        registry(folder / "one") as one,
        registry(folder / "two") as two,
        fault_proxy(one.port) as first,
        fault_proxy(two.port) as second,
    ):
        hosts = {"one": first.host, "two": second.host}
        release = make_release(folder / "work/repo", hosts, [one, two], provenance=provenance)
        yield Setting(release, (first, second))


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    with reached_by_proxies(tmp_path_factory.mktemp("faults")) as made:
        yield made


@pytest.fixture(scope="module")
def setting_with_one_statement(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    """Return one whose release attaches no statement of BuildKit's, which takes cosign its time."""
    with reached_by_proxies(tmp_path_factory.mktemp("faults"), provenance=False) as made:
        yield made


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


def something_else(server: Server, tag: str) -> str:
    """Point a tag at an image that was not checked; return its digest."""
    repository = Repository(Transport(server.host, KNOWN), PATH)
    data = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()
    document = Document(data, INDEX)
    repository.put_manifest(tag, document)
    return document.digest


@pytest.fixture
def quick_cosign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start cosign again at once where it failed."""
    monkeypatch.setattr(signer, "PATIENCE", replace(signer.PATIENCE, base=0.01))
