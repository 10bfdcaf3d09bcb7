"""Looking into the real image: its size, and a budget that it is over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ROOT, TASKS, Checkout, docker

pytestmark = pytest.mark.engine


def _size(own_image: str, *words: str) -> dict[str, object]:
    done = Checkout(ROOT, own_image).invoke("docker-size", "--image", own_image, "--json", *words)
    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)["images"]
    return dict(report)


def test_the_size_is_the_base_and_the_binary_and_hardly_more(own_image: str) -> None:
    report = _size(own_image, "--top", "1")
    layers, files = report["layers"], report["largest"]
    assert isinstance(layers, list)
    assert isinstance(files, list)
    # The skeleton's user, the entrypoint and the working directory: all that is beside the two.
    ours = [layer for layer in layers if "COPY" in layer["created_by"]]
    binary = next(
        layer for layer in ours if "/usr/local/bin/dockerutilities" in layer["created_by"]
    )
    base = layers[: layers.index(ours[0])]
    least = sum(layer["stored"] for layer in [*base, binary])
    stored = report["stored"]
    assert isinstance(stored, int)
    assert least < stored <= 1.01 * least + 4096
    assert files[0]["path"] == "usr/local/bin/dockerutilities"
    assert report["platform"] == "linux/amd64"


def test_an_archive_will_do_as_well(own_image: str, tmp_path: Path) -> None:
    archive = tmp_path / "own image.tar"
    docker("save", "--output", str(archive), own_image)
    done = Checkout(ROOT, own_image).invoke("docker-size", "--image", str(archive))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("linux/amd64: ")


def test_an_image_over_its_budget_exits_7(own_image: str, tmp_path: Path) -> None:
    image = own_image.partition(":")[0]
    (tmp_path / "tasks.py").write_text(TASKS, encoding="utf-8")
    (tmp_path / "buildlib.toml").write_text(
        f'image = "{image}"\n[smoke]\nsize-budget = "1 MB"\n', encoding="utf-8"
    )
    done = Checkout(tmp_path, image).invoke("docker-size")
    assert done.returncode == 7
    assert "over its budget" in done.stderr
    assert "of 1 MB" in done.stdout


def test_an_image_that_is_not_there_exits_4(own_image: str) -> None:
    done = Checkout(ROOT, own_image).invoke("docker-size", "--image", "buildlib-test-nowhere")
    assert done.returncode == 4
    assert "invoke docker-build makes it" in done.stderr
