"""This repository's own image, built twice; the session `reproducible` runs it."""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path

import pytest
from conftest import ROOT, Checkout, docker

from buildlib.image.archive import open_archive

pytestmark = [
    pytest.mark.reproducible,
    pytest.mark.usefixtures("engine"),
    pytest.mark.timeout(2400),
]


def test_our_own_image_is_the_same_to_the_byte_on_every_platform(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "temporary files"
    folder.mkdir()
    keep = tmp_path / "both"
    image = f"buildlib-test-twice-{secrets.token_hex(4)}"
    checkout = Checkout(ROOT, image, {"BUILDLIB_IMAGE": image})
    done = checkout.invoke("docker-reproduce", "--json", "--keep", str(keep), TMPDIR=str(folder))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["reproducible"] is True
    assert result["platforms"] == ["linux/amd64", "linux/arm64"]
    one, other = (Path(path) for path in result["archives"])
    assert hashlib.sha256(one.read_bytes()).digest() == hashlib.sha256(other.read_bytes()).digest()
    with open_archive(one) as archive:
        assert len(archive.images()) == 2
        for found in archive.images():
            layers = [layer for layer in found.layers if found.own(layer)]
            assert len(layers) == 3
            times = {file.modified for layer in layers for file in archive.files(layer)}
            assert times == {result["epoch"]}
    assert list(folder.iterdir()) == []
    listing = docker("buildx", "du", "--verbose").splitlines()
    mounts = [line for line in listing if "cached mount" in line]
    assert not [line for line in mounts if "buildlib-reproduce-" in line]
    assert docker("image", "ls", "--quiet", image) == ""
