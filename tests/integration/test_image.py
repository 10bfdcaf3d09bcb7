"""Looking into the real image: its size, and a budget that it is over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ROOT, TASKS, Checkout, docker

from buildlib.image.archive import open_archive

pytestmark = pytest.mark.engine


def _size(own_image: str, *words: str) -> dict[str, object]:
    done = Checkout(ROOT, own_image).invoke("docker-size", "--image", own_image, "--json", *words)
    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)["images"]
    return dict(report)


@pytest.mark.toolchain
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


def test_beside_base_and_binary_the_files_are_less_than_a_hundredth(
    own_image: str, tmp_path: Path
) -> None:
    path = tmp_path / "own.tar"
    docker("save", "--output", str(path), own_image)
    base = binary = everything = 0
    with open_archive(path) as archive:
        (image,) = archive.images()
        assert [image.own(layer) for layer in image.layers] == [False, True, True, True]
        for layer in image.layers:
            for file in archive.files(layer):
                size = file.size if file.kind == "file" else 0
                everything += size
                base += 0 if image.own(layer) else size
                binary += size if file.path == "usr/local/bin/dockerutilities" else 0
    assert base > 1_000_000
    assert binary > 1_000_000
    assert base + binary < everything <= 1.01 * (base + binary)


@pytest.fixture(name="sized")
def _sized(own_image: str, tmp_path: Path) -> Checkout:
    """Return a project that keeps the sizes of our own image."""
    (tmp_path / "tasks.py").write_text(TASKS, encoding="utf-8")
    image = own_image.partition(":")[0]
    config = f'image = "{image}"\n[smoke]\nsize-record = "kept/sizes.json"\nsize-growth = 3\n'
    (tmp_path / "buildlib.toml").write_text(config, encoding="utf-8")
    return Checkout(tmp_path, image)


def test_sizes_are_recorded_and_held_against(sized: Checkout) -> None:
    record = sized.root / "kept" / "sizes.json"
    first = sized.invoke("docker-size")
    assert first.returncode == 0, first.stderr
    assert "there is no record yet" in first.stderr
    assert sized.invoke("docker-size", "--record").returncode == 0
    version = json.loads(record.read_text(encoding="utf-8"))["version"]
    again = sized.invoke("docker-size")
    assert again.returncode == 0, again.stderr
    assert f"linux/amd64: +0.0 % since {version}" in again.stdout


def test_more_growth_than_allowed_exits_7(sized: Checkout) -> None:
    assert sized.invoke("docker-size", "--record").returncode == 0
    path = sized.root / "kept" / "sizes.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    recorded = record["platforms"]["linux/amd64"]
    for size in (recorded, recorded["layers"][2]):
        size["stored"] -= 1_000_000
    path.write_text(json.dumps(record), encoding="utf-8")
    done = sized.invoke("docker-size", "--json")
    assert done.returncode == 7
    assert "and 3 % are allowed" in done.stderr
    assert "COPY /out/dockerutilities /usr/local/bin/dockerutilities # buildkit: +1 MB" in (
        done.stderr
    )
    (change,) = json.loads(done.stdout)["changes"]
    assert change["now"] - change["before"] == 1_000_000


def test_a_platform_that_was_not_recorded_is_told_and_passes(sized: Checkout) -> None:
    (sized.root / "kept").mkdir()
    empty = '{"version": "1.0.0", "platforms": {}}'
    (sized.root / "kept" / "sizes.json").write_text(empty, encoding="utf-8")
    done = sized.invoke("docker-size")
    assert done.returncode == 0
    assert "linux/amd64 is not in the record of 1.0.0" in done.stderr


def test_a_broken_record_or_none_configured_exits_2(own_image: str, sized: Checkout) -> None:
    (sized.root / "kept").mkdir()
    (sized.root / "kept" / "sizes.json").write_text("{", encoding="utf-8")
    done = sized.invoke("docker-size")
    assert done.returncode == 2
    assert "is not a record of sizes" in done.stderr
    done = Checkout(ROOT, own_image).invoke("docker-size", "--image", own_image, "--record")
    assert done.returncode == 2
    assert "add size-record" in done.stderr


@pytest.mark.toolchain
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
