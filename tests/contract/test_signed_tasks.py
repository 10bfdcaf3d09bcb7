"""What `docker-sign` and `docker-verify` have cosign do, of which registry, and from where."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from conftest import git
from gitscript import commit_all
from smallregistry import SmallRegistry, small_registry

from buildlib.commands.session import Edge
from buildlib.commands.sign import sign
from buildlib.commands.verify import VerifyOptions, verify
from buildlib.errors import (
    BuildlibError,
    GateError,
    InputError,
    VerificationError,
    exit_code_of,
)
from buildlib.executor import Completed
from buildlib.image.labels import OWNER, REVISION_LABEL, VERSION_LABEL
from buildlib.registry.repository import INDEX, Document

from fakes import FakeExecutor, words_after, write_project

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
        self.statement = ""

    def _answer(self, argv: Sequence[str]) -> Completed:
        words = tuple(argv[argv.index("cosign") :])
        if words[1] == "version" or words[2] == "--help":
            return Completed(code=0, stdout="--recursive --tlog-upload")
        self.said.append(words)
        if words[1] == "verify-attestation" and not self.statement:
            return Completed(code=1, stderr=NONE)
        return Completed(code=0, stdout=self.statement)

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
        commit_all(root, "v1.2.3")
        self.revision = git(root, "rev-parse", "HEAD")
        self.run = _Edge(root)

    def push(self, version: str, *platforms: str) -> str:
        """Bring an image into the registry; return its reference."""
        labels = {VERSION_LABEL: version, REVISION_LABEL: self.revision}
        images = [self.registry.image(platform, **labels) for platform in platforms]
        return f"{self.registry.name}@{self.registry.index(*images)}"

    def verify(self, reference: str, key: str = "", identity: str = "") -> tuple[str, ...]:
        """Verify; return cosign's command line."""
        issuer = "https://issuer.example" if identity else ""
        wanted = VerifyOptions(key=key, identity=identity, issuer=issuer, attestations=())
        verify(self.run, reference, wanted, as_json=False)
        (words,) = self.run.cosign.did("verify")
        return words


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


def test_a_release_gets_the_statements_that_were_named_as_well(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "said.json").write_text("{}", encoding="utf-8")
    attest = f"https://example.org/said={tmp_path / 'said.json'}"
    sign(world.run, world.push("1.2.3", *BOTH), [attest], release=True)
    kinds = [words_after(words, "--type") for words in world.run.cosign.did("attest")]
    assert kinds == [["slsaprovenance1"], ["https://example.org/said"]]


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


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    "part",
    [
        pytest.param([], id="a list"),
        pytest.param("sha256:x", id="a word"),
        pytest.param({"size": 3}, id="no digest"),
        pytest.param({"digest": 5, "size": 3}, id="a digest that is a number"),
        pytest.param({"digest": "sha256:../x", "size": 3}, id="a digest that is a path"),
        pytest.param({"digest": "sha256:x", "size": "3"}, id="a size in words"),
        pytest.param({"digest": "sha256:x", "size": -3}, id="a size of less than nothing"),
    ],
)
def test_neither_does_an_image_whose_manifest_is_malformed(world: World, part: object) -> None:
    manifest = {"config": part, "layers": []}
    digest = world.registry.keep(manifest, "application/vnd.oci.image.manifest.v1+json")
    with pytest.raises(GateError, match="not an image of a known type"):
        sign(world.run, f"{world.registry.name}@{digest}", (), release=True)
    assert world.run.cosign.said == []


@pytest.mark.parametrize(
    "config",
    [
        {"config": ["x"]},
        {"config": "x"},
        {"config": {"Labels": ["a"]}},
        {"config": {"Labels": {"a": 1}}},
    ],
)
def test_neither_does_one_whose_configuration_is_malformed(world: World, config: object) -> None:
    data = Document(json.dumps(config).encode(), "")
    world.registry.blobs[data.digest] = data.data
    part = {"digest": data.digest, "size": len(data.data)}
    manifest = {"config": part, "layers": []}
    digest = world.registry.keep(manifest, "application/vnd.oci.image.manifest.v1+json")
    with pytest.raises(GateError, match="a configuration that is not one of an image"):
        sign(world.run, f"{world.registry.name}@{digest}", (), release=True)
    assert world.run.cosign.said == []


# --- files that are named on the command line ------------------------------------------------


def test_a_statement_is_the_file_that_is_meant_from_here(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = tmp_path / "repo/below"
    below.mkdir()
    for folder in (below, below.parent):
        (folder / "said.json").write_text("{}", encoding="utf-8")
    monkeypatch.chdir(below)
    sign(world.run, world.push("1.2.3", *BOTH), ["slsaprovenance1=said.json"], release=False)
    (attested,) = world.run.cosign.did("attest")
    assert words_after(attested, "--predicate") == [str(below / "said.json")]


def test_a_key_of_the_command_line_is_meant_from_here(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = world.verify(world.push("1.2.3", *BOTH), "my.pub")
    assert words_after(words, "--key") == [str(tmp_path / "my.pub")]


@pytest.mark.parametrize("key", ["env://MY_KEY", "awskms:///alias/mine"])
def test_a_key_that_is_no_file_stays_what_it_is(world: World, key: str) -> None:
    assert words_after(world.verify(world.push("1.2.3", *BOTH), key), "--key") == [key]


def test_a_configured_key_is_meant_from_the_project(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = world.verify(world.push("1.2.3", *BOTH))
    assert words_after(words, "--key") == [str(tmp_path / "repo/cosign.pub")]


# --- the version that a tag names -------------------------------------------------------------

SIGNED = VerifyOptions(key="", identity="", issuer="", attestations=())
# Rules, version scheme, what the signed image says, and the tag: is it that version's?
NAMED = {
    "its own": ("", "semver", "1.2.0", "1.2.0", True),
    "another's": ("", "semver", "1.1.0", "1.2.0", False),
    "a later one's": ("", "semver", "1.2.1", "1.2.0", False),
    "its prerelease's": ("", "semver", "1.2.0-rc.1", "1.2.0", False),
    "its line": ("", "semver", "1.2.3", "1.2", True),
    "another line": ("", "semver", "1.1.0", "1.2", False),
    "another major line": ("", "semver", "2.0.0", "1", False),
    "the newest": ("", "semver", "1.1.0", "latest", True),
    "a word": ("", "semver", "1.1.0", "stable", True),
    "a commit": ("", "semver", "1.1.0-SNAPSHOT-abc1234", "sha-abc1234", True),
    "a snapshot": ("", "semver", "1.1.0-SNAPSHOT-abc1234", "1.1.0-SNAPSHOT-abc1234", True),
    "another snapshot": ("", "semver", "1.1.0-SNAPSHOT-abc1234", "1.1.0-SNAPSHOT-def1234", False),
    "a build": ("", "semver", "1.2.0+fork", "1.2.0-fork", True),
    "a build of another": ("", "semver", "1.1.0+fork", "1.2.0-fork", False),
    "no version": ("", "semver", "", "1.2.0", True),
    "what is not a version": ("", "semver", "nightly", "1.2.0", False),
    "a v before it": ('["v{version}", "v{major}"]', "semver", "1.2.0", "v1.2.0", True),
    "a v before another's": ('["v{version}", "v{major}"]', "semver", "1.1.0", "v1.2.0", False),
    "a suffix": ('["{version}-slim"]', "semver", "1.2.0", "1.2.0-slim", True),
    "a suffix of another's": ('["{version}-slim"]', "semver", "1.1.0", "1.2.0-slim", False),
    "a branch that looks like a line": ('["{branch}", "{major}"]', "semver", "1.2.0", "2", True),
    "a post release": ("", "pep440", "1.2.post1", "1.2.post1", True),
    "the line of a post release": ("", "pep440", "1.2.post1", "1.2", True),
    "what it follows": ("", "pep440", "1.2.post1", "1.2.0", False),
    "another epoch": ("", "pep440", "1!2.0", "2.0.1", False),
    "a month": ("", "calver", "2026.01.3", "2026.01.3", True),
    "another month": ("", "calver", "2026.01.3", "2026.02.3", False),
    "anything": ("", "any", "20200110-RC2", "20200110-RC2", True),
    "anything else": ("", "any", "20200110-RC1", "20200110-RC2", False),
}


def _configure(world: World, rules: str, scheme: str) -> None:
    tags = f"[tags]\nrules = {rules}\n" if rules else ""
    config = CONFIG.format(name=world.registry.name)
    (world.run.start / "buildlib.toml").write_text(
        f'version-scheme = "{scheme}"\n{config}{tags}', encoding="utf-8"
    )


def _annotated(world: World, version: str, tag: str) -> str:
    said = {"annotations": {VERSION_LABEL: version}} if version else {}
    return world.registry.keep({"manifests": [], **said}, INDEX, tag)


@pytest.mark.unmeasured
@pytest.mark.parametrize(("rules", "scheme", "version", "tag", "good"), NAMED.values(), ids=NAMED)
def test_a_tag_names_the_version_that_is_signed(
    world: World, rules: str, scheme: str, version: str, tag: str, *, good: bool
) -> None:
    _configure(world, rules, scheme)
    digest = _annotated(world, version, tag)
    reference = f"{world.registry.name}:{tag}"
    # By its digest alone it is what it is.
    verify(world.run, f"{world.registry.name}@{digest}", SIGNED, as_json=False)
    for name in (reference, f"{reference}@{digest}"):
        if good:
            verify(world.run, name, SIGNED, as_json=False)
            continue
        with pytest.raises(VerificationError) as caught:
            verify(world.run, name, SIGNED, as_json=False)
        assert f"is not {tag}: it says that it is {version}" in caught.value.what
        assert "by its digest" in caught.value.hint


@pytest.mark.parametrize(("said", "good"), [("1.2.0", True), ("1.1.0", False), ("22.04", True)])
def test_without_an_annotation_the_images_say_it(world: World, said: str, *, good: bool) -> None:
    """The last one is a label that was inherited from the base."""
    digest = world.push(said, *BOTH).rpartition("@")[2]
    single = world.registry.image("linux/amd64", **{VERSION_LABEL: said})
    for held in (digest, single):
        world.registry.tags["1.2.0"] = held
        if good:
            verify(world.run, f"{world.registry.name}:1.2.0", SIGNED, as_json=False)
            continue
        with pytest.raises(VerificationError, match=r"is not 1\.2\.0: it says that it is 1\.1\.0"):
            verify(world.run, f"{world.registry.name}:1.2.0", SIGNED, as_json=False)


@pytest.mark.unmeasured
@pytest.mark.parametrize("scheme", ["semver", "pep440", "calver", "any"])
@pytest.mark.parametrize("rules", ["", '["{version}-slim", "{major}.{minor}-slim"]'])
def test_a_snapshot_passes_for_no_release_by_any_scheme(
    world: World, scheme: str, rules: str
) -> None:
    said, end = "1.2.1-SNAPSHOT-abc1234", "-slim" if rules else ""
    _configure(world, rules, scheme)
    release = "2026.1.3" if scheme == "calver" else "1.2.1"
    labels = {VERSION_LABEL: said, OWNER: "thing"}
    held = world.registry.image("linux/amd64", **labels)
    for tag, good in {said: True, release: False}.items():
        world.registry.tags[tag + end] = held
        reference = f"{world.registry.name}:{tag}{end}"
        if good:
            verify(world.run, reference, SIGNED, as_json=False)
            continue
        with pytest.raises(VerificationError, match=f"it says that it is {said}"):
            verify(world.run, reference, SIGNED, as_json=False)


@pytest.mark.parametrize("said", ["1.2.0", "1.1.0"])
def test_or_the_signed_statement_says_it(world: World, said: str) -> None:
    predicate = {"buildDefinition": {"externalParameters": {"version": said}}}
    payload = base64.b64encode(json.dumps({"predicate": predicate}).encode()).decode()
    world.run.cosign.statement = json.dumps({"payload": payload})
    _annotated(world, "", "1.2.0")
    wanted = SIGNED._replace(attestations=("slsaprovenance1",))
    if said == "1.2.0":
        verify(world.run, f"{world.registry.name}:1.2.0", wanted, as_json=False)
        return
    with pytest.raises(VerificationError, match="it says that it is 1"):
        verify(world.run, f"{world.registry.name}:1.2.0", wanted, as_json=False)


# --- a third party ------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "identity"), [("my.pub", ""), ("", "ann@example.org")])
def test_a_third_party_verifies_without_a_configuration(
    world: World, tmp_path: Path, key: str, identity: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    world.run = _Edge(tmp_path / "elsewhere")
    reference = world.push("1.2.3", *BOTH)
    words = world.verify(reference, key, identity)
    assert reference in words


@pytest.mark.parametrize(
    ("version", "tag", "good"),
    [
        ("1.2.0", "1.2.0", True),
        ("1.2.0", "v1.2.0", True),
        ("v1.2.0", "1.2.0", True),
        ("1.2.0", "1.2.0-alpine", True),
        ("1.2.0", "1.2", True),
        ("1.1.0", "1.2.0", False),
        ("1.1.0", "v1.2.0", False),
        ("1.1.0", "1.2.0-alpine", False),
    ],
)
def test_a_third_party_sees_that_a_tag_names_another_version(
    world: World, tmp_path: Path, version: str, tag: str, *, good: bool
) -> None:
    (tmp_path / "elsewhere").mkdir()
    world.run = _Edge(tmp_path / "elsewhere")
    _annotated(world, version, tag)
    wanted = SIGNED._replace(key="my.pub")
    if good:
        verify(world.run, f"{world.registry.name}:{tag}", wanted, as_json=False)
        return
    with pytest.raises(VerificationError, match="it says that it is"):
        verify(world.run, f"{world.registry.name}:{tag}", wanted, as_json=False)


def test_without_one_something_has_to_say_what_counts(world: World, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    world.run = _Edge(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="no image is named"):
        world.verify(world.push("1.2.3", *BOTH))
