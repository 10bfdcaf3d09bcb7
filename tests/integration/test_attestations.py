"""Releases with SBOM and provenance in their index, as both generations of Docker's tools see them.

What is published by the toolchain that the tests run with is read by the oldest buildx and by the
newest: in the session `engines` that is either of them, and the installed and the newest engine.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import GOTOOLS
from registries import Server, registry
from releases import BUILDKIT, PATH, PLAIN, UNSIGNED, Release, make_release

from buildlib.errors import BuildlibError, exit_code_of
from buildlib.executor import PlumbumExecutor
from buildlib.image.archive import open_archive
from buildlib.image.size import saved

pytestmark = pytest.mark.release
# What BuildKit's provenance of either version names its kind of build in, and its builder.
KIND, BUILDER = {
    "slsaprovenance02": (["buildType"], ["builder"]),
    "slsaprovenance1": (["buildDefinition", "buildType"], ["runDetails", "builder"]),
}[BUILDKIT]


@pytest.fixture
def release(tmp_path: Path, syft_path: str) -> Iterator[Release]:
    with registry(tmp_path / "one") as one, registry(tmp_path / "two") as two:
        made = _release(tmp_path, one, two)
        made.env["PATH"] = syft_path
        yield made


def _release(folder: Path, *servers: Server) -> Release:
    hosts = dict(zip(("one", "two"), (server.host for server in servers), strict=True))
    made = make_release(folder / "repo", hosts, servers, gates=("size", "sbom"), provenance=True)
    config = made.root / "buildlib.toml"
    text = config.read_text("utf-8").replace("[publish]\n", '[publish]\nattestations = "index"\n')
    config.write_text(text, encoding="utf-8")
    made.commit("two", "v1.2.4")
    return made


def _oldest(folder: Path) -> str:
    """Return docker's own buildx, whatever another directory has."""
    folder.mkdir()
    argv = ["docker", "--config", str(folder), "info", "--format", "{{json .ClientInfo.Plugins}}"]
    told = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    return next(str(one["Path"]) for one in json.loads(told) if one["Name"] == "buildx")


def _inspected(buildx: str, release: Release, reference: str, what: str) -> dict[str, Any]:
    """Return what a buildx reads of an image in a registry, by platform."""
    argv = [buildx, "imagetools", "inspect", reference, "--format", f"{{{{json .{what}}}}}"]
    done = subprocess.run(argv, env=release.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _at(found: Any, path: list[str]) -> Any:
    for key in path:
        found = found[key]
    return found


@pytest.mark.toolchain
def test_the_index_is_read_by_both_buildx_and_is_the_same_again(
    release: Release, tmp_path: Path
) -> None:
    release.publish(PLAIN)
    receipt = release.receipt
    digest, platforms = receipt["digest"], receipt["platforms"]
    # The archive that gates passed is as it was built; another one was pushed.
    assert digest != receipt["built"]
    with open_archive(release.root / receipt["archive"]) as archive:
        assert archive.top() == receipt["built"]
        assert {image.platform: image.digest for image in archive.images()} == platforms
    assert release.tags == [{**dict.fromkeys(["1", "1.2", "1.2.4", "latest"], digest)}] * 2
    for buildx in (_oldest(tmp_path / "none"), GOTOOLS.ensure("buildx", release.env, current=True)):
        for host in release.hosts.values():
            reference = f"{host}/{PATH}:1.2.4"
            sboms = _inspected(str(buildx), release, reference, "SBOM")
            assert sorted(sboms) == sorted(platforms)
            for platform, sbom in sboms.items():
                assert sbom["SPDX"]["spdxVersion"].startswith("SPDX-2.")
                named = {one.get("versionInfo") for one in sbom["SPDX"]["packages"]}
                assert platforms[platform] in named
            provenance = _inspected(str(buildx), release, reference, "Provenance")
            assert sorted(provenance) == sorted(platforms)
            for said in provenance.values():
                assert "buildkit" in _at(said["SLSA"], KIND)
                assert "id" in _at(said["SLSA"], BUILDER)
            manifest = _inspected(str(buildx), release, reference, "Manifest")
            assert manifest["digest"] == digest
            assert [one["digest"] for one in manifest["manifests"][:2]] == [*platforms.values()]
    _check_pulled(release)
    _check_signed(release)
    _check_by_hand(release)
    _check_the_same_again(release)


def _check_pulled(release: Release) -> None:
    """See that the engine takes the image and passes over what is said of it."""
    name = f"{release.hosts['one']}/{PATH}:1.2.4"
    pull = subprocess.run(
        ["docker", "pull", "--quiet", name],
        env=release.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert pull.returncode == 0, pull.stderr
    try:
        executor = PlumbumExecutor(release.env, release.root)
        with saved(executor, name) as archive:
            archive.verify()
            images = {image.platform: image.digest for image in archive.images()}
            assert archive.top() == release.receipt["digest"]
        # The engine may have another platform's files too: of the build that was published.
        assert images
        assert images.items() <= release.receipt["platforms"].items()
    finally:
        subprocess.run(
            ["docker", "image", "rm", name], env=release.env, capture_output=True, check=True
        )


def _check_signed(release: Release) -> None:
    """See that the index and its images are verified, and that what is in it is nowhere else."""
    for host in release.hosts.values():
        done = release.invoke("docker-verify", f"{host}/{PATH}:1.2.4", "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["digest"] == release.receipt["digest"]
        assert found["attestations"] == {"slsaprovenance1": 1}
        assert sorted(found["images"]) == sorted(release.receipt["platforms"].values())
    image = next(iter(release.receipt["platforms"].values()))
    done = release.invoke(
        "docker-verify", f"{release.hosts['one']}/{PATH}@{image}", "--attestation", "spdxjson"
    )
    assert done.returncode == 8


def _check_by_hand(release: Release) -> None:
    """See that the SBOMs alone go into an index as well, as the script of a dry run does it."""
    own = release.receipt["archive"]
    (line,) = (
        line
        for line in release.invoke("docker-publish", "--dry-run").stdout.splitlines()
        if line.startswith("invoke docker-sbom")
    )
    attested = release.root / own.replace(".oci.tar", ".attested.oci.tar")
    assert line == f"invoke docker-sbom --image {own} --index {attested.relative_to(release.root)}"
    published = attested.read_bytes()
    done = release.invoke(*line.split()[1:])
    assert done.returncode == 0, done.stderr
    with open_archive(attested) as archive:
        archive.verify()
        images = {image.platform: image.digest for image in archive.images()}
        assert images == release.receipt["platforms"]
        entries = json.loads(archive.bytes_of(archive.top()))["manifests"]
        assert len(entries) == 2 * len(images)
    attested.write_bytes(published)


def _check_the_same_again(release: Release) -> None:
    digest, tags = release.receipt["digest"], release.tags
    text = release.publish(PLAIN._replace(resume=True))
    assert "docker buildx build" not in text
    assert "signing" not in text
    # Without a receipt all of it is built, and looked at, and asked for once more.
    for left in (release.root / "dist").iterdir():
        left.unlink()
    text = release.publish(PLAIN)
    # The build for BuildKit's provenance is the same one, and not printed again.
    assert text.count("docker buildx build") == 1
    provenance = (release.root / "dist").glob("*.buildkit.json")
    assert len([*provenance]) == len(release.receipt["platforms"])
    assert (release.receipt["digest"], release.tags) == (digest, tags)
    assert [one["sent"] for one in release.receipt["targets"].values()] == [0, 0]
    done = release.invoke("docker-promote", digest, "stable")
    assert done.returncode == 0, done.stderr
    assert [found["stable"] for found in release.tags] == [digest] * 2


class _StopError(Exception):
    """Ends a publication at a step."""


def _stop_at(step: str) -> Callable[[str], None]:
    def reached(here: str) -> None:
        if here == step:
            raise _StopError

    return reached


@pytest.mark.parametrize("step", ["gates", "attestations", "push one"])
def test_one_that_broke_off_is_finished_with_the_digest_that_it_began_with(
    release: Release, step: str
) -> None:
    with pytest.raises(_StopError):
        release.publish(UNSIGNED, reached=_stop_at(step))
    begun = release.receipt
    assert release.tags == [{}, {}]
    text = release.publish(UNSIGNED._replace(resume=True))
    assert "has passed for this image" in text
    receipt = release.receipt
    assert receipt["finished"] is True
    assert (receipt["built"], receipt["platforms"]) == (begun["built"], begun["platforms"])
    if step != "gates":
        assert receipt["digest"] == begun["digest"]
    assert [found["1.2.4"] for found in release.tags] == [receipt["digest"]] * 2


def test_other_attestations_of_a_published_image_do_not_replace_them(release: Release) -> None:
    release.publish(UNSIGNED)
    tags = release.tags
    # As another version of syft may see more in it.
    (sbom, _) = sorted((release.root / "dist").glob("*.spdx.json"))
    said = json.loads(sbom.read_text("utf-8"))
    said["comment"] = "more"
    sbom.write_text(json.dumps(said), encoding="utf-8")
    with pytest.raises(BuildlibError) as caught:
        release.publish(UNSIGNED._replace(resume=True))
    assert exit_code_of(caught.value) == 7
    assert "the same images, with other attestations" in str(caught.value)
    assert release.tags == tags
