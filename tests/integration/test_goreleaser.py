"""GoReleaser itself, on a throw-away copy of this repository, held against what we do."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import GOTOOLS, ROOT, docker, git, remove_images
from github import GitHub, github
from registries import KNOWN, Server, registry
from releases import Release, own_release

from buildlib.registry.repository import Repository
from buildlib.registry.transport import Transport

pytestmark = [pytest.mark.goreleaser, pytest.mark.timeout(2400)]
PATH = "team/own"
CONFIG = "dist/goreleaser.yaml"
SYSTEMS_OF_ALL = "goos: [linux, darwin, windows]"
ARCHES = ("amd64", "arm64")
SYSTEMS = [f"{system}_{arch}" for system in ("darwin", "linux", "windows") for arch in ARCHES]
LINUX = [f"linux_{arch}" for arch in ARCHES]


@dataclass
class Going:
    """A copy of this repository, and the environment in which GoReleaser releases it."""

    release: Release
    env: dict[str, str] = field(repr=False)

    def goreleaser(self, *words: str, **more: str) -> None:
        done = subprocess.run(
            ["goreleaser", *words],
            cwd=self.release.root,
            env={**self.env, **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def session(self, *words: str, **more: str) -> None:
        """Run our session of that name in the copy, in the environment that is here."""
        chosen = ("--no-install", "--force-venv-backend", "none", "--session", "goreleaser")
        # What the session itself has to see to.
        env = {name: value for name, value in self.env.items() if name != "GOTOOLCHAIN"}
        done = subprocess.run(
            [sys.executable, "-m", "nox", *chosen, "--", *words],
            cwd=self.release.root,
            env={**env, **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def invoke(self, *words: str) -> str:
        done = self.release.invoke(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commit(self, text: str, *tags: str) -> None:
        (self.release.root / "CHANGELOG.md").write_text(f"# {text}\n", encoding="utf-8")
        git(self.release.root, "add", "--all")
        git(self.release.root, "commit", "--quiet", "--message", text)
        for tag in tags:
            git(self.release.root, "tag", tag)

    def release_images(self, *options: str, **more: str) -> None:
        """Release the images, with their programs alone and without bills: both take their time.

        The session makes every program and the bills.
        """
        self.invoke("goreleaser-config", "--output", CONFIG)
        file = self.release.root / CONFIG
        file.write_text(_for_linux(file.read_text(encoding="utf-8")), encoding="utf-8")
        words = ("--clean", "--skip=sbom", "--config", CONFIG)
        self.goreleaser("release", *words, *options, **more)

    @property
    def dist(self) -> Path:
        return self.release.root / "dist" / "goreleaser"

    def program(self, system: str) -> Path:
        (found,) = self.dist.glob(f"dockerutilities_{system}_*/dockerutilities*")
        return found

    def labels(self) -> dict[str, str]:
        """Return the labels that our own build of this commit gives."""
        words = shlex.split(self.invoke("docker-build", "--platform", "all", "--dry-run"))
        pairs = [words[at + 1] for at, word in enumerate(words) if word == "--label"]
        return _of_the_image(dict(pair.split("=", 1) for pair in pairs))


def _for_linux(config: str) -> str:
    """Return a configuration by which programs are compiled for Linux alone."""
    assert SYSTEMS_OF_ALL in config
    return config.replace(SYSTEMS_OF_ALL, "goos: [linux]")


def _of_the_image(labels: dict[str, str]) -> dict[str, str]:
    """Return labels without those about stand-ins: where nothing is compiled, Go has none."""
    return {name: value for name, value in labels.items() if ".stand-in" not in name}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    folder = tmp_path_factory.mktemp("registries")
    with (
        registry(folder / "first", memory=True) as first,
        registry(folder / "second", memory=True) as second,
    ):
        yield [first, second]


def _without_log(env: dict[str, str]) -> dict[str, str]:
    """Return what keeps the signatures of this cosign out of the public log."""
    done = subprocess.run(
        ["cosign", "sign", "--help"], env=env, capture_output=True, text=True, check=True
    )
    if "--use-signing-config=true" not in done.stdout:
        return {"COSIGN_TLOG_UPLOAD": "false"}
    return {
        # As it is anyway: what cosign 2 was given may be in the environment.
        "COSIGN_TLOG_UPLOAD": "true",
        "COSIGN_SIGNING_CONFIG": str(ROOT / "buildlib/sign/no-services.json"),
        "COSIGN_TRUSTED_ROOT": str(ROOT / "buildlib/sign/no-roots.json"),
    }


def _toolchain(root: Path, env: dict[str, str]) -> str:
    """Return the version of Go that the image's program is compiled with: `go1.24.3`."""
    done = subprocess.run(
        ["go", "version", str(root)], env=env, capture_output=True, text=True, check=True
    )
    return done.stdout.rsplit(" ", 1)[1].strip()


@pytest.fixture(scope="module")
def going(tmp_path_factory: pytest.TempPathFactory, servers: list[Server]) -> Iterator[Going]:
    """Give a copy that GoReleaser can release; what it leaves in the engine is removed."""
    folder = tmp_path_factory.mktemp("own")
    # What is compared does not depend on the cache.
    cached = "[tool.buildlib.publish]\ncache = true\n"
    release = own_release(folder, servers, {}, path=PATH, more=cached)
    program = Path(GOTOOLS.ensure("goreleaser", os.environ))
    env = {
        **release.env,
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "GORELEASER_NO_GITHUB": "true",
        "COSIGN_PRIVATE_KEY": (folder / "cosign.key").read_text(encoding="utf-8"),
    }
    env |= _without_log(env)
    going = Going(release, env)
    git(release.root, "remote", "add", "origin", "https://github.com/someone/own.git")
    going.commit("begin")
    going.invoke("binary")
    (built,) = (release.root / "bin").glob("*/*")
    # The very compiler of the image: another one makes other programs of the same sources.
    env["GOTOOLCHAIN"] = _toolchain(built, env)
    yield going
    # What it pushes is in the engine as well.
    for host in release.hosts.values():
        remove_images(f"{host}/{PATH}")


def test_a_snapshot_builds_both_images_and_publishes_nothing(going: Going) -> None:
    version = going.invoke("version").strip()
    assert "-SNAPSHOT-" in version
    going.release_images("--snapshot")
    names = {path.name for path in going.dist.iterdir() if path.is_file()}
    assert _archives(version, LINUX) | {"checksums.txt"} <= names
    first = f"{going.release.hosts['first']}/{PATH}"
    images = [f"{first}:{version}-{arch}" for arch in ARCHES]
    ours = going.labels()
    for image in images:
        arch = image.rsplit("-", 1)[1]
        run = ("run", "--rm", "--platform", f"linux/{arch}", image, "version", "--json")
        told = json.loads(docker(*run))
        assert (told["version"], told["platform"]) == (version, f"linux/{arch}")
        show = ("image", "inspect", "--format", "{{json .Config.Labels}}", image)
        assert _of_the_image(json.loads(docker(*show))) == ours
    assert [_tags(server) for server in going.release.servers] == [{}, {}]


def _archives(version: str, systems: Sequence[str] = SYSTEMS) -> set[str]:
    endings = {system: "zip" if system.startswith("windows") else "tar.gz" for system in systems}
    return {f"dockerutilities_{version}_{system}.{end}" for system, end in endings.items()}


def _files(version: str) -> set[str]:
    """Return the names of what a release gives to people."""
    archives = _archives(version)
    return archives | {f"{name}.sbom.json" for name in archives} | {"checksums.txt"}


def _tags(server: Server) -> dict[str, str]:
    """Return tag and digest of everything in a registry but signatures."""
    repository = Repository(Transport(server.host, KNOWN), PATH)
    return {tag: repository.digest(tag) for tag in repository.tags() if tag[:7] != "sha256-"}


def _release(going: Going, **more: str) -> dict[str, Any]:
    """Release what is checked out; return what we would have done."""
    planned = dict(json.loads(going.invoke("version", "--json")))
    held_back = going.invoke("goreleaser-config", "--held-back").strip()
    going.release_images(BUILDLIB_HELD_BACK=held_back, **more)
    return planned


def _compare(going: Going, planned: dict[str, Any]) -> None:
    """Hold the registries against our plan, tag by tag, and the images' labels."""
    digests = (going.dist / "digests.txt").read_text(encoding="utf-8").split("\n")
    (digest,) = {line.split()[0] for line in digests if line.strip()}
    for server in going.release.servers:
        given = {tag for tag, held in _tags(server).items() if held == f"sha256:{digest}"}
        assert given == set(planned["published_tags"])
    host = going.release.hosts["second"]
    reference = f"{host}/{PATH}@sha256:{digest}"
    show = ("buildx", "imagetools", "inspect", reference, "--format", "{{json .Image}}")
    done = subprocess.run(
        ["docker", *show], env=going.env, capture_output=True, text=True, check=True
    )
    images = json.loads(done.stdout)
    assert sorted(images) == ["linux/amd64", "linux/arm64"]
    ours = going.labels()
    for image in images.values():
        labels = image["config"]["Labels"]
        assert _of_the_image(labels) == ours
        assert labels["org.opencontainers.image.version"] == planned["version"]
    _verify(going, reference)


def _verify(going: Going, reference: str, **more: str) -> None:
    words = ("--key", "../cosign.pub", "--insecure-ignore-tlog=true", reference)
    verify = ["cosign", "verify", *words]
    env = {**going.env, **more}
    subprocess.run(verify, cwd=going.release.root, env=env, capture_output=True, check=True)


@dataclass(frozen=True)
class Given:
    """What somebody who pulls an image is told about it."""

    tags: list[str]
    annotations: dict[str, str]
    platforms: dict[str, Any]

    @classmethod
    def of(cls, server: Server, tag: str) -> Given:
        repository = Repository(Transport(server.host, KNOWN), PATH)
        digest = repository.digest(tag)
        index = _document(repository, digest)
        platforms = {}
        for row in index["manifests"]:
            if row["platform"]["os"] != "unknown":  # else it is an attestation
                manifest = _document(repository, row["digest"])
                config = json.loads(repository.blob(manifest["config"]["digest"]))
                told = config["config"]
                told["Labels"] = _of_the_image(told["Labels"])
                known = [config["created"], manifest.get("annotations"), len(manifest["layers"])]
                platforms["/".join(row["platform"].values())] = [told, *known]
        tags = sorted(name for name, held in _tags(server).items() if held == digest)
        return cls(tags, _of_the_image(index.get("annotations", {})), platforms)


def _document(repository: Repository, digest: str) -> dict[str, Any]:
    found = repository.manifest(digest)
    assert found
    return dict(json.loads(found.data))


def _published(going: Going, tag: str) -> list[Given]:
    """Publish what is checked out as we do, unjudged; return what is given to people."""
    skips = ("smoke", "policy", "size", "scan", "sbom", "sign")
    words = (word for gate in skips for word in ("--skip-gate", gate))
    going.invoke("docker-publish", *words, "--reason", "held against GoReleaser")
    return [Given.of(server, tag.removeprefix("v")) for server in going.release.servers]


def test_releases_get_the_tags_labels_and_versions_that_we_give(going: Going) -> None:
    root = going.release.root
    going.commit("one", "v1.2.3")
    going.commit("two", "v1.3.0-rc.1")
    planned = _release(going)
    assert planned["published_tags"] == ["1.3.0-rc.1"]
    _compare(going, planned)
    # A candidate becomes the release as it is: two tags are on one commit.
    going.commit("three", "v2.0.0-rc.1", "v2.0.0-rc.2", "v2.0.0")
    ours = _published(going, "v2.0.0")
    planned = _release(going)
    assert set(planned["published_tags"]) == {"2.0.0", "2.0", "2", "latest"}
    _compare(going, planned)
    theirs = [Given.of(server, "2.0.0") for server in going.release.servers]
    assert theirs == ours
    git(root, "checkout", "--quiet", "-b", "backports", "v1.2.3")
    going.commit("mended", "v1.2.4")
    planned = _release(going)
    assert set(planned["published_tags"]) == {"1.2.4", "1.2", "1"}
    _compare(going, planned)


@pytest.mark.parametrize("cosign_path", ["cosign 3"], indirect=True)
def test_where_nobody_says_what_is_held_back_no_tag_is_moved(
    going: Going, cosign_path: str
) -> None:
    """And the other cosign signs it: the other releases here are signed by this machine's."""
    before = [_tags(server) for server in going.release.servers]
    going.commit("more", "v1.2.6")
    program = going.env["PATH"].partition(os.pathsep)[0]
    path = f"{program}{os.pathsep}{cosign_path}"
    going.release_images(PATH=path, **_without_log({**going.env, "PATH": path}))
    for host in going.release.hosts.values():
        _verify(going, f"{host}/{PATH}:1.2.6", PATH=path)
    for server, tags in zip(going.release.servers, before, strict=True):
        now = _tags(server)
        assert now.pop("1.2.6") not in now.values()
        assert now == tags


@pytest.fixture
def hub() -> Iterator[GitHub]:
    with github() as found:
        yield found


def _release_to(
    hub: GitHub, going: Going, text: str, tag: str, *words: str, linux: bool = False
) -> None:
    """Release a new commit by the session, to that GitHub: its configuration names it."""
    file = going.release.root / ".goreleaser.yaml"
    if linux:
        file.write_text(_for_linux(file.read_text(encoding="utf-8")), encoding="utf-8")
    urls = "".join(f"  {name}: {hub.address}\n" for name in ("api", "upload", "download"))
    before = file.read_text(encoding="utf-8").partition("github_urls:")[0]
    file.write_text(f"{before}github_urls:\n{urls}", encoding="utf-8")
    going.commit(text, tag)
    # The token is nobody's.
    going.session("release", *words, GORELEASER_NO_GITHUB="false", GITHUB_TOKEN=hub.address)


def test_the_session_releases_programs_and_leaves_images_alone(going: Going, hub: GitHub) -> None:
    before = [_tags(server) for server in going.release.servers]
    git(going.release.root, "checkout", "--quiet", "main")
    _release_to(hub, going, "what people are told", "v9.0.0")
    assert [_tags(server) for server in going.release.servers] == before
    assert hub.told["tag_name"] == "v9.0.0"
    assert "what people are told" in hub.told["body"]
    assert (hub.told["prerelease"], hub.told["make_latest"]) == (False, "true")
    assert set(hub.assets) == _files("9.0.0")
    assert sorted(SYSTEMS) == sorted(
        "_".join(path.name.split("_")[1:3])
        for path in going.dist.glob("dockerutilities_*_*_*")
        if path.is_dir()
    )
    changes = (going.dist / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "what people are told" in changes
    sums = (line.split() for line in hub.assets["checksums.txt"].decode().splitlines())
    assert {name: digest for digest, name in sums} == {
        name: hashlib.sha256(hub.assets[name]).hexdigest()
        for name in hub.assets
        if name != "checksums.txt"
    }
    for name in _archives("9.0.0"):
        bill = json.loads(hub.assets[f"{name}.sbom.json"])
        assert bill["spdxVersion"].startswith("SPDX-2.")
        packages = {one["name"]: one.get("versionInfo", "") for one in bill["packages"]}
        assert packages["stdlib"] == going.env["GOTOOLCHAIN"]
        assert packages["github.com/smiller333/dockerutilities/app"] == "v9.0.0"
        assert packages[name] == f"sha256:{hashlib.sha256(hub.assets[name]).hexdigest()}"


def test_the_session_makes_the_programs_of_the_image_to_the_byte(going: Going) -> None:
    """What the session before this one left."""
    going.invoke("binary", "--platform", "all")
    for arch in ARCHES:
        ours = (going.release.root / "bin" / f"linux-{arch}" / "dockerutilities").read_bytes()
        assert going.program(f"linux_{arch}").read_bytes() == ours, (
            f"linux/{arch}: compiled by {going.env['GOTOOLCHAIN']} in both, so the sources, the "
            "version or the flags in Dockerfile and .goreleaser.yaml differ"
        )


def test_a_backport_is_not_what_github_calls_the_latest(going: Going, hub: GitHub) -> None:
    going.commit("the newest", "v9.1.0")
    git(going.release.root, "checkout", "--quiet", "--detach", "HEAD^")
    # Of a job that broke off, and was run again.
    hub.keep("checksums.txt", b"begun")
    _release_to(hub, going, "mended once more", "v1.2.7", "--skip=sbom", linux=True)
    assert len(hub.assets["checksums.txt"].splitlines()) == len(LINUX)
    assert (hub.told["tag_name"], hub.told["make_latest"]) == ("v1.2.7", "false")
    assert set(hub.assets) == _archives("1.2.7", LINUX) | {"checksums.txt"}
