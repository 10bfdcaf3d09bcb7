"""An image based on another one of its repository, built and published for real."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from buildkit import container_builder
from conftest import TASKS, Checkout, docker, remove_images
from gitscript import commit_all
from registries import Server, docker_config, registry
from releases import CURRENT

from buildlib.image.archive import open_archive

CONFIG = """\
image = "{image}"
platforms = ["linux/amd64", "linux/arm64"]
{more}
[images.web]
context = "web"
base-images = {{ "base:local" = "image:base" }}
[images.base]
context = "base"
"""
BASE = """\
FROM scratch
COPY shared /
ENV SHARED=yes
"""
WEB = """\
FROM base:local
COPY page /
COPY --from=base:local /shared /again
"""
Make = Callable[..., Checkout]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    images: list[str] = []

    def made(more: str = "", **env: str) -> Checkout:
        image = f"buildlib-test-{secrets.token_hex(4)}"
        images.append(image)
        root = tmp_path / "shop"
        # What no other run has in the builder's cache.
        mark = secrets.token_hex(8)
        files = {
            "tasks.py": TASKS,
            "buildlib.toml": CONFIG.format(image=image, more=more),
            ".gitignore": "dist/\n__pycache__/\n",
            "base/Dockerfile": BASE,
            "base/shared": f"shared {mark}\n",
            "web/Dockerfile": WEB,
            "web/page": f"page {mark}\n",
        }
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        commit_all(root, "v1.2.3")
        return Checkout(root, image, {"BUILDLIB_BASE_IMAGES": "", **env})

    yield made
    for image in images:
        for name in ("base", "web"):
            remove_images(f"{image}/{name}")


def _images(root: Path, name: str) -> tuple[str, dict[str, tuple[str, list[str]]]]:
    """Return the digest of an archive, and configuration and layers of each platform."""
    with open_archive(root / f"dist/{name}/{name}-1.2.3.oci.tar") as archive:
        return archive.top(), {
            one.platform: (one.config_digest, [layer.digest for layer in one.layers])
            for one in archive.images()
        }


def _noted(root: Path, name: str) -> list[list[dict[str, str]]]:
    """Return what BuildKit notes at each layer, platform by platform."""
    with tarfile.open(root / f"dist/{name}/{name}-1.2.3.oci.tar") as archive:

        def read(path: str) -> dict[str, Any]:
            file = archive.extractfile(path)
            assert file
            return dict(json.load(file))

        def blob(one: dict[str, str]) -> dict[str, Any]:
            return read(f"blobs/{one['digest'].replace(':', '/')}")

        top, *_ = read("index.json")["manifests"]
        manifests = [blob(one) for one in blob(top)["manifests"]]
    return [[layer.get("annotations", {}) for layer in one["layers"]] for one in manifests]


def _layers(root: Path, name: str) -> dict[str, Sequence[str]]:
    """Return the digests of the layers of each platform."""
    return {platform: layers for platform, (_, layers) in _images(root, name)[1].items()}


def _receipt(root: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((root / f"dist/{name}/receipt.json").read_text(encoding="utf-8")))


def _digests(outputs: Path) -> dict[str, str]:
    """Return the outputs of a workflow that are digests."""
    return dict(re.findall(r"^(\S*digest)<<\S+\n(.*)$", outputs.read_text("utf-8"), re.MULTILINE))


@pytest.mark.engine
@pytest.mark.toolchain
@pytest.mark.usefixtures("engine")
def test_bake_builds_what_docker_build_builds(make: Make, tmp_path: Path) -> None:
    shop = make()
    words = ("docker-build", "--platform", "all", "--output", "oci", "--json")
    outputs, summary = tmp_path / "outputs", tmp_path / "summary"
    env = {"GITHUB_OUTPUT": str(outputs), "GITHUB_STEP_SUMMARY": str(summary)}
    done = shop.invoke(*words, "--jobs", "2", **env)
    assert done.returncode == 0, done.stderr
    built = {name: one["digest"] for name, one in json.loads(done.stdout)["images"].items()}
    assert _digests(outputs) == {f"{name}-digest": digest for name, digest in built.items()}
    assert summary.read_text("utf-8").count("### ") == len(built)
    assert set(built) == {"base", "web"}
    base, web = _layers(shop.root, "base"), _layers(shop.root, "web")
    assert set(base) == set(web) == {"linux/amd64", "linux/arm64"}
    assert all(web[platform][: len(base[platform])] == base[platform] for platform in base)
    before = {name: _images(shop.root, name)[1] for name in built}
    before_noted = _noted(shop.root, "web")
    epoch = shop.git("log", "-1", "--format=%ct")
    for name in built:
        (shop.root / f"dist/{name}/{name}-1.2.3.oci.tar").unlink()
    done = shop.invoke("bake", "--output", "docker-bake.json")
    assert (done.returncode, done.stdout) == (0, "docker-bake.json\n"), done.stderr
    baking = ["docker", "buildx", "bake", "--file", "docker-bake.json", "--no-cache"]
    subprocess.run(baking, cwd=shop.root, check=True, capture_output=True)
    baked = {name: _images(shop.root, name) for name in built}
    assert {name: images for name, (_, images) in baked.items()} == before
    # Today's BuildKit notes at each layer whose times it has set that it has: in an image of its
    # own build, but not in one of a layout. That is all the difference.
    if CURRENT:
        noted = [{"buildkit/rewritten-timestamp": epoch} for _ in range(3)]
        assert before_noted == [[{}, *noted[1:]]] * 2
        assert _noted(shop.root, "web") == [noted] * 2
    same = ["base"] if CURRENT else ["base", "web"]
    assert [name for name, (digest, _) in baked.items() if digest == built[name]] == same


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
def test_the_lines_of_a_dry_run_build_both(make: Make) -> None:
    shop = make()
    (shop.root / "web" / "more").write_text("x\n", encoding="utf-8")
    done = shop.invoke("docker-build", "--only", "web", "--dry-run")
    env = shop.environment({})
    subprocess.run(["sh", "-ec", done.stdout], cwd="/", env=env, check=True, capture_output=True)
    config = json.loads(
        docker("image", "inspect", "--format", "{{json .Config}}", f"{shop.image}/web:latest")
    )
    assert "SHARED=yes" in config["Env"]
    assert config["Labels"]["org.opencontainers.image.base.name"].startswith(
        f"docker.io/{shop.image}/base:"
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with registry(tmp_path_factory.mktemp("registry") / "one") as one:
        yield one


@pytest.mark.release
def test_a_published_image_is_based_on_the_published_one(
    make: Make, server: Server, tmp_path: Path
) -> None:
    more = f'[registries.one]\nrepository = "{server.host}/shop"\n'
    more += '[publish]\ngates = ["size"]\nsign = false\nprovenance = false\n'
    with container_builder(tmp_path / "builder") as builder:
        shop = make(
            more,
            **builder.env,
            BUILDLIB_BUILDER=builder.name,
            GITHUB_OUTPUT=str(tmp_path / "outputs"),
            DOCKER_CONFIG=str(docker_config(tmp_path / "docker", server.host)),
        )
        done = shop.invoke("docker-publish")
    assert done.returncode == 0, done.stderr
    # A build that is not reproducible would be another image now.
    assert f"it is in {shop.root}/dist/base/base-1.2.3.oci.tar" in done.stderr
    assert len(re.findall(r"docker buildx build .*--output type=oci", done.stderr)) == 2
    receipts = {name: _receipt(shop.root, name) for name in ("base", "web")}
    digests = {f"{name}-digest": one["digest"] for name, one in receipts.items()}
    assert _digests(tmp_path / "outputs") == digests
    assert {name: one["finished"] for name, one in receipts.items()} == {"base": True, "web": True}
    base, web = _layers(shop.root, "base"), _layers(shop.root, "web")
    assert all(web[platform][: len(base[platform])] == base[platform] for platform in base)
    for name, receipt in receipts.items():
        assert server.tags(f"shop/{name}")["1.2.3"] == receipt["digest"]
