"""The stand-ins: layouts that hold what their digests say, the same bytes each time."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import pytest
from conftest import ROOT, load_script

from buildlib.config.load import load_config
from buildlib.config.variables import BASE_IMAGES

standins = load_script("standins")


def _layer(folder: Path) -> object:
    binary = folder / "busybox"
    binary.write_bytes(b"\x7fELF")
    return standins.base_layer(binary, ["bin/sh", "bin/busybox", "usr/bin/env"], b"trusted")


def _layout(folder: Path) -> tuple[Path, str]:
    folder.mkdir()
    root = folder / "alpine"
    layout = standins.Layout(root)
    descriptor = layout.layer(_layer(folder))
    images = [layout.image(arch, [descriptor], {"PATH": "/bin"}) for arch in ("amd64", "arm64")]
    return root, layout.finish(images)


def _blob(root: Path, digest: str) -> bytes:
    data = (root / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()
    assert hashlib.sha256(data).hexdigest() == digest.removeprefix("sha256:")
    return data


def test_the_same_inputs_give_the_same_digest(tmp_path: Path) -> None:
    assert _layout(tmp_path / "a")[1] == _layout(tmp_path / "b")[1]


def test_every_digest_of_a_layout_is_that_of_its_blob(tmp_path: Path) -> None:
    root, digest = _layout(tmp_path / "a")
    assert json.loads((root / "oci-layout").read_text("utf-8")) == {"imageLayoutVersion": "1.0.0"}
    (top,) = json.loads((root / "index.json").read_text("utf-8"))["manifests"]
    assert top["digest"] == digest
    manifests = json.loads(_blob(root, digest))["manifests"]
    assert [m["platform"] for m in manifests] == [
        {"os": "linux", "architecture": "amd64"},
        {"os": "linux", "architecture": "arm64", "variant": "v8"},
    ]
    for descriptor in manifests:
        manifest = json.loads(_blob(root, descriptor["digest"]))
        config = json.loads(_blob(root, manifest["config"]["digest"]))
        assert config["config"]["Labels"] == {standins.LABEL: "true"}
        assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
        for layer in manifest["layers"]:
            assert len(_blob(root, layer["digest"])) == layer["size"]


def test_a_base_layer_has_what_a_dockerfile_expects(tmp_path: Path) -> None:
    path = tmp_path / "layer.tar"
    _layer(tmp_path).write(path)  # type: ignore[attr-defined]
    with tarfile.open(path) as archive:
        members = {member.name: member for member in archive}
    assert members["bin/sh"].linkname == "/bin/busybox"
    assert members["bin/busybox"].isfile()
    assert members["tmp"].mode == 0o1777
    assert {"etc/passwd", "etc/group", "root", "var/run"} <= set(members)
    empty = {"media", "mnt", "opt", "srv", "usr/local/bin", "usr/local/lib", "usr/local/share"}
    assert {name for name in empty if members[name].isdir()} == empty
    assert {member.mtime for member in members.values()} == {0}
    assert list(members) == sorted(members)


def test_the_toolchain_leaves_tests_out(tmp_path: Path) -> None:
    for name in (
        "bin/go",
        "src/fmt/print.go",
        "src/fmt/print_test.go",
        "src/cmd/x.go",
        "a/testdata/x",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    (tmp_path / "bin/go").chmod(0o755)
    path = tmp_path.parent / "go.tar"
    standins.go_layer(tmp_path).write(path)
    with tarfile.open(path) as archive:
        files = {member.name: member.mode for member in archive if member.isfile()}
    assert files == {"usr/local/go/bin/go": 0o755, "usr/local/go/src/fmt/print.go": 0o644}


def test_the_references_are_those_of_the_dockerfile(tmp_path: Path) -> None:
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("ARG GO_VERSION=1.24\nARG ALPINE_VERSION=3.22\n", encoding="utf-8")
    assert standins.references(dockerfile) == {
        "alpine": "alpine:3.22",
        "golang": "golang:1.24-alpine",
    }
    dockerfile.write_text("FROM scratch\n", encoding="utf-8")
    with pytest.raises(standins.StandInError, match="GO_VERSION"):
        standins.references(dockerfile)


def test_buildlib_reads_the_map(tmp_path: Path) -> None:
    text = standins.map_text(
        {"alpine": "alpine:3.22"}, {"alpine": "sha256:0"}, tmp_path / "with blank"
    )
    (tmp_path / "map.toml").write_text(text, encoding="utf-8")
    (tmp_path / "buildlib.toml").write_text('image = "x"\n', encoding="utf-8")
    config = load_config(tmp_path, {BASE_IMAGES: str(tmp_path / "map.toml")})
    ((name, image),) = config.base_images
    assert (name, image.stand_in) == ("alpine:3.22", True)
    assert image.source == f"oci-layout://{tmp_path}/with blank/alpine@sha256:0"


def test_a_program_that_fails_or_is_absent_is_told() -> None:
    with pytest.raises(standins.StandInError, match="no-such-program not found"):
        standins.run("no-such-program")
    with pytest.raises(standins.StandInError, match="sh -c failed: why"):
        standins.run("sh", "-c", "echo why >&2; exit 1")


def test_what_was_made_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def make(folder: Path, uv: str, requirements: Path) -> dict[str, str]:
        made.append(uv)
        assert folder.is_dir()
        assert requirements.is_file()
        return {"alpine": "sha256:1", "golang": "sha256:2"}

    monkeypatch.setattr(standins, "make", make)
    requirements = tmp_path / "r.txt"
    requirements.write_text("x", encoding="utf-8")

    def prepare() -> Path:
        found = standins.prepare(tmp_path / "cache", ROOT / "Dockerfile", requirements, "uv")
        assert isinstance(found, Path)
        return found

    first = prepare()
    assert prepare() == first
    assert made == ["uv"]
    requirements.write_text("y", encoding="utf-8")
    assert prepare() != first
    assert made == ["uv", "uv"]
    assert not list((tmp_path / "cache" / "stand-ins").glob(".new-*"))
