"""What `docker-sign` and `docker-verify` have cosign do, of which registry, and from where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from conftest import git
from smallregistry import SmallRegistry, small_registry

from buildlib.errors import BuildlibError, InputError, exit_code_of
from buildlib.executor import Completed
from buildlib.labels import REVISION_LABEL, VERSION_LABEL
from buildlib.tasks.edge import Edge
from buildlib.tasks.signed import sign

from fakes import FakeExecutor, write_project

CONFIG = """\
image = "thing"
platforms = ["linux/amd64", "linux/arm64"]
[registries.one]
repository = "{name}"
[sign]
key = "cosign.key"
[verify]
key = "cosign.pub"
"""
NONE = "error during command execution: no matching attestations: \n"


class Cosign(FakeExecutor):
    """Does as it is told, and finds no statement; `said` are its own command lines."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, ...]] = []

    def _answer(self, argv: Sequence[str]) -> Completed:
        words = tuple(argv[argv.index("cosign") :])
        if words[1] == "version" or words[2] == "--help":
            return Completed(code=0, stdout="--recursive")
        self.said.append(words)
        there = words[1] != "verify-attestation"
        return Completed(code=0) if there else Completed(code=1, stderr=NONE)

    def did(self, verb: str) -> list[tuple[str, ...]]:
        return [words for words in self.said if words[1] == verb]


class _Edge(Edge):
    """An edge whose cosign signs nothing."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, {"DOCKER_CONFIG": str(root / "docker")}, dry=False, quiet=True)
        self.cosign = Cosign()

    @property
    def executor(self) -> Cosign:
        return self.cosign


class World:
    """A project on a release, the registry that it publishes to, and where a task is run."""

    def __init__(self, root: Path, registry: SmallRegistry) -> None:
        self.registry = registry
        write_project(root, CONFIG.format(name=registry.name), "FROM scratch\nCOPY app /\n")
        git(root, "init", "--quiet", "--initial-branch=main")
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "--message", "all")
        git(root, "tag", "v1.2.3")
        self.revision = git(root, "rev-parse", "HEAD")
        self.run = _Edge(root)

    def push(self, version: str, *platforms: str) -> str:
        """Bring an image into the registry; return its reference."""
        labels = {VERSION_LABEL: version, REVISION_LABEL: self.revision}
        images = [self.registry.image(platform, **labels) for platform in platforms]
        return f"{self.registry.name}@{self.registry.index(*images)}"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "repo").mkdir()
    with small_registry() as registry:
        yield World(tmp_path / "repo", registry)


BOTH = ("linux/amd64", "linux/arm64")

# --- a release that was pushed by hand -------------------------------------------------------


def test_a_release_is_signed_as_one(world: World) -> None:
    reference = world.push("1.2.3", *BOTH)
    sign(world.run, reference, (), release=True)
    (statement,) = world.run.cosign.did("attest")
    assert statement[-1] == reference
    assert len(world.run.cosign.did("verify")[-1][-3:]) == 3


@pytest.mark.parametrize(
    ("version", "platforms", "words"),
    [
        ("1.2.2", BOTH, "linux/arm64 says that its version is 1.2.2"),
        ("1.2.3", BOTH[:1], "not for linux/arm64"),
    ],
    ids=["another version", "one platform"],
)
def test_another_image_gets_no_statement(
    world: World, version: str, platforms: tuple[str, ...], words: str
) -> None:
    with pytest.raises(BuildlibError) as caught:
        sign(world.run, world.push(version, *platforms), (), release=True)
    assert exit_code_of(caught.value) == 2
    assert words in str(caught.value)
    assert world.run.cosign.said == []


def test_neither_does_a_platform_that_says_by_itself_which_it_is(world: World) -> None:
    labels = {VERSION_LABEL: "1.2.3", REVISION_LABEL: world.revision}
    manifest = world.registry.image("linux/arm64", **labels)
    with pytest.raises(InputError, match="not for linux/amd64"):
        sign(world.run, f"{world.registry.name}@{manifest}", (), release=True)
    assert world.run.cosign.said == []


def test_what_is_no_image_gets_none_either(world: World) -> None:
    digest = world.registry.keep({"layers": []}, "application/vnd.oci.image.manifest.v1+json")
    with pytest.raises(BuildlibError) as caught:
        sign(world.run, f"{world.registry.name}@{digest}", (), release=True)
    assert "says that its version is none" in str(caught.value)
    assert world.run.cosign.said == []
