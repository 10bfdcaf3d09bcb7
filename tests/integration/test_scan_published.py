"""What is scanned of what the registries have: every platform, and the same image once."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import Checkout
from grypedb import Advisory
from ociwriter import MANIFEST, OciWriter
from registries import KNOWN, PASSWORD, USER, Server, registry

from buildlib.errors import GateError, InputError
from buildlib.image.archive import open_archive
from buildlib.registry.repository import Document, Repository
from buildlib.registry.tags import put_tag
from buildlib.registry.transfer import pulled, push_archive
from buildlib.registry.transport import Transport

# Where the scanner is not in the cache yet it is compiled, which takes minutes.
pytestmark = [pytest.mark.release, pytest.mark.timeout(2400)]
# As official images say it.
PLATFORMS = ["linux/amd64", "linux/arm64/v8"]
LEAKY = Advisory("GHSA-leak-leak-leak", "CVE-2026-0001", "high", "npm", "leaky", "<1.2.4", "1.2.4")
LOOSE = Advisory("GHSA-lose-lose-lose", "CVE-2026-0003", "high", "npm", "loose", "<1.2.4", "1.2.4")
SIGNED_IN = {"SCAN_USER": USER, "SCAN_PASSWORD": PASSWORD}
Made = tuple[Checkout, list[Repository]]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    folder = tmp_path_factory.mktemp("registries")
    with registry(folder / "one") as one, registry(folder / "two") as two:
        yield [one, two]


@pytest.fixture
def made(servers: list[Server], make_checkout: Callable[..., Checkout]) -> Made:
    """Return a checkout with two registries, and its repository in each."""
    path = f"team/thing-{secrets.token_hex(4)}"
    tables = [
        f'[registries.{name}]\nrepository = "{server.host}/{path}"\n'
        'username-env = "SCAN_USER"\npassword-env = "SCAN_PASSWORD"\n'
        for name, server in zip(("one", "two"), servers, strict=True)
    ]
    repositories = [Repository(Transport(server.host, KNOWN), path) for server in servers]
    return make_checkout(config="".join(tables)), repositories


@pytest.fixture(scope="module")
def known(database: Callable[..., dict[str, str | None]]) -> dict[str, str | None]:
    return {**database(LEAKY, LOOSE, built=datetime.now(UTC)), **SIGNED_IN}


def _archive(path: Path, package: str, *, platforms: list[str] = PLATFORMS) -> Path:
    writer = OciWriter()
    text = json.dumps({"name": package, "version": "1.2.3", "license": "MIT"}).encode()
    layer = writer.layer({f"usr/lib/node_modules/{package}/package.json": text})
    images = [writer.image([layer], platform=tuple(name.split("/"))) for name in platforms]
    return writer.write(path, writer.index(*images) if len(images) > 1 else images[0])


def _publish(archive: Path, *repositories: Repository) -> str:
    """Push, and let latest stand for it; the digest is returned."""
    with open_archive(archive) as opened:
        for repository in repositories:
            digest = push_archive(opened, repository).digest
            put_tag(repository, digest, "latest", immutable=False)
        return opened.top()


def test_the_same_image_in_both_registries_is_scanned_once(
    made: Made, known: dict[str, str | None], tmp_path: Path
) -> None:
    checkout, repositories = made
    digest = _publish(_archive(tmp_path / "i.tar", "leaky"), *repositories)
    done = checkout.invoke("docker-scan", "--published", "--sarif", "scan.sarif", **known)
    assert done.returncode == 7, done.stdout + done.stderr
    both = ", ".join(f"{one.name}:latest" for one in repositories)
    assert f"{both} is {digest}" in done.stderr
    assert f"{both} has 2 known vulnerabilities" in done.stderr
    (run,) = json.loads((checkout.root / "scan.sarif").read_text("utf-8"))["runs"]
    assert [result["ruleId"] for result in run["results"]] == [LEAKY.id] * 2


def test_different_images_are_told_together(
    made: Made, known: dict[str, str | None], tmp_path: Path
) -> None:
    checkout, (one, two) = made
    _publish(_archive(tmp_path / "one.tar", "leaky"), one)
    _publish(_archive(tmp_path / "two.tar", "loose", platforms=["linux/amd64"]), two)
    done = checkout.invoke("docker-scan", "--published", "--json", **known)
    assert done.returncode == 7, done.stdout + done.stderr
    report = json.loads(done.stdout)
    found = {
        platform["platform"]: [finding["id"] for finding in platform["findings"]]
        for platform in report["platforms"]
    }
    assert found == {"linux/amd64": [LEAKY.id, LOOSE.id], "linux/arm64": [LEAKY.id]}
    assert report["image"] == f"{one.name}:latest, {two.name}:latest"


def test_what_is_not_published_has_not_passed(
    made: Made, known: dict[str, str | None], tmp_path: Path
) -> None:
    checkout, (one, two) = made
    _publish(_archive(tmp_path / "i.tar", "tight"), one)
    done = checkout.invoke("docker-scan", "--published", **known)
    assert done.returncode == 2
    assert f"there is no {two.name}:latest" in done.stderr
    done = checkout.invoke("docker-scan", "--published", "--image", "i.tar", **known)
    assert done.returncode == 2
    assert "--published and --image are two things" in done.stderr


def test_what_is_pulled_is_what_was_pushed(made: Made, tmp_path: Path) -> None:
    _, (repository, _) = made
    for name, platforms in (("both", PLATFORMS), ("single", PLATFORMS[:1])):
        path = _archive(tmp_path / f"{name}.tar", "tight", platforms=platforms)
        digest = _publish(path, repository)
        with pulled(repository, digest) as archive, open_archive(path) as before:
            assert archive.top() == digest
            assert archive.images() == before.images()
            (layer,) = archive.images()[0].layers
            assert list(archive.files(layer)) == list(before.files(layer))


def test_what_is_not_there_is_not_pulled(made: Made) -> None:
    _, (repository, _) = made
    missing = "sha256:" + "0" * 64
    with pytest.raises(InputError, match="there is no"), pulled(repository, missing):
        pass


def test_an_image_with_a_part_missing_is_not_pulled(made: Made) -> None:
    _, (repository, _) = made
    platform = {"os": "linux", "architecture": "amd64"}
    gone = {"mediaType": MANIFEST, "digest": "sha256:" + "1" * 64, "size": 2, "platform": platform}

    class Half(Repository):
        """A registry that lost a manifest which its index names; a real one takes no such index."""

        def manifest(self, reference: str) -> Document | None:
            data = json.dumps({"manifests": [gone]}).encode()
            index = Document(data, "application/vnd.oci.image.index.v1+json")
            return None if reference == gone["digest"] else index

    half = Half(repository.transport, "team/half")
    with pytest.raises(GateError, match="no whole image"), pulled(half, "latest"):
        pass
