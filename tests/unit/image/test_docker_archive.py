"""What docker takes for an image, and for a layer: every form of it is read."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import itertools
import lzma
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ociwriter import OciWriter
from savedwriter import write_saved, write_tar

from buildlib.errors import EngineError, InputError
from buildlib.executor import Completed
from buildlib.image.archive import archive_file, open_archive
from buildlib.image.layer import Layer, LayerError, read_layer
from buildlib.image.size import saved
from buildlib.smoke.load_image import name_of

from fakes import FakeExecutor

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PLAIN = "application/vnd.oci.image.layer.v1.tar"


def _archive(path: Path) -> Path:
    writer = OciWriter()
    return writer.write(path, writer.image([writer.layer({"a": b"1"})]))


@pytest.mark.parametrize(
    ("compress", "tool"),
    [
        (gzip.compress, "gunzip"),
        (bz2.compress, "bunzip2"),
        (lzma.compress, "unxz"),
        (zstd.compress, "unzstd"),
    ],
)
def test_a_compressed_archive_is_refused_with_a_hint(
    tmp_path: Path, compress: Callable[[bytes], bytes], tool: str
) -> None:
    path = tmp_path / "packed"
    path.write_bytes(compress(_archive(tmp_path / "i.tar").read_bytes()))
    assert archive_file(str(path)) == path
    with (
        pytest.raises(InputError, match="can't be read as an image") as caught,
        open_archive(path),
    ):
        pass
    assert tool in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "is_archive"),
    [
        ("thing", b"#!/bin/sh\n", False),
        ("thing", b"", False),
        ("thing", b"archive", True),
        ("thing:1.2", b"text", False),
        ("team/thing", b"text", False),
        ("./thing", b"text", True),
        ("Thing", b"text", False),
        ("thing.tar", b"text", True),
        ("dist/thing.tar", b"text", True),
        ("thing.tgz", b"text", True),
    ],
)
def test_a_file_of_an_images_name_is_no_archive(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    content: bytes,
    is_archive: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    if content == b"archive":
        _archive(path)
    assert archive_file(name) == (Path(name) if is_archive else None)


@pytest.mark.parametrize(
    ("name", "saved_name"),
    [
        ("thing", "thing:latest"),
        ("team/thing", "team/thing:latest"),
        ("localhost:5000/thing", "localhost:5000/thing:latest"),
        ("[::1]:5000/thing", "[::1]:5000/thing:latest"),
        ("thing:1", "thing:1"),
        (f"thing@sha256:{'1' * 64}", f"thing@sha256:{'1' * 64}"),
        (f"sha256:{'1' * 64}", f"sha256:{'1' * 64}"),
        ("1" * 64, "1" * 64),
        ("15452", "15452"),
        # Docker looks for a name first.
        ("cafe", "cafe:latest"),
    ],
)
def test_a_name_without_a_tag_is_one_image(name: str, saved_name: str) -> None:
    """`docker save` writes every tag of such a name."""
    inspect = ("docker", "image", "inspect")
    docker = FakeExecutor(
        {
            (*inspect, "cafe:latest"): Completed(code=0),
            inspect: Completed(code=1),
            ("docker", "save"): Completed(code=1),
        }
    )
    with pytest.raises(EngineError), saved(docker, name):
        pass
    assert docker.asked[-1][1] == "save"
    assert docker.asked[-1][-1] == saved_name


def _skippable(data: bytes) -> bytes:
    return b"\x5a\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data


@given(
    st.lists(st.tuples(st.text("ab", min_size=1, max_size=3), st.binary(max_size=300)), min_size=1),
    st.lists(st.integers(0, 2000), max_size=3),
    st.sampled_from([0, 1, 2]),
)
def test_any_zstd_that_engines_read_is_read(
    files: list[tuple[str, bytes]], cuts: list[int], skips: int
) -> None:
    writer = OciWriter()
    plain = writer.layer(dict(files), PLAIN)
    data = writer.bytes_of(plain)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    frames = [zstd.compress(data[a:b]) for a, b in itertools.pairwise(places)]
    packed = b"".join(_skippable(b"x" * n) for n in range(skips)) + b"".join(frames)
    stored = "sha256:" + hashlib.sha256(packed).hexdigest()
    layer = Layer(
        digest=stored,
        size=len(packed),
        media_type=f"{PLAIN}+zstd",
        diff_id=str(plain["digest"]),
    )
    found = [file.path for file in read_layer(io.BytesIO(packed), layer)]
    assert found == list(dict(files))
    broken = bytearray(packed)
    broken[-1] ^= 0xFF
    with pytest.raises(LayerError):
        list(read_layer(io.BytesIO(bytes(broken)), layer))


@pytest.mark.parametrize("prefix", ["", "./"])
@pytest.mark.parametrize("links", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_an_archive_of_dockers_older_form_is_an_image(
    tmp_path: Path,
    prefix: str,
    links: bool,
    packed: bool,
) -> None:
    layers = [{"a": b"1"}, {"b": b"22"}, {"a": b"1"}]
    path = tmp_path / "i.tar"
    write_saved(path, *layers, packed=packed, links=links, prefix=prefix)
    with open_archive(path) as archive:
        archive.verify()
        (image,) = archive.images()
        found = [[file.path for file in archive.files(layer)] for layer in image.layers]
        archive.write_renamed(tmp_path / "o.tar", {"a": "b"})
        archive.write_image(image, tmp_path / "one.tar")
        top = archive.top()
    assert found == [["a"], ["b"], ["a"]]
    assert image.platform == "linux/amd64"
    assert image.labels == {"a": "b"}
    for name in ("o.tar", "one.tar"):
        with open_archive(tmp_path / name) as again:
            again.verify()
            assert again.top() == top


def test_such_an_archive_may_hold_one_image_alone(tmp_path: Path) -> None:
    path = write_saved(tmp_path / "i.tar", {"a": b"1"}, images=2)
    with open_archive(path) as archive, pytest.raises(InputError, match="holds 2 images"):
        archive.top()


@pytest.mark.parametrize(
    ("listed", "reason"),
    [
        (b"[]", "holds no image"),
        (b"{}", "can't be understood"),
        (b"[1]", "can't be understood"),
        (b'[{"Config": 1}]', "can't be understood"),
        (b'[{"Config": "x.json", "Layers": []}]', "x.json is missing"),
        (b'[{"Layers": ["../../etc/passwd"]}]', "is missing"),
        (b"x", "can't be understood"),
    ],
)
def test_a_list_that_is_none_is_told(tmp_path: Path, listed: bytes, reason: str) -> None:
    path = tmp_path / "i.tar"
    path.write_bytes(write_tar({"manifest.json": listed}))
    with pytest.raises(InputError, match=reason), open_archive(path) as archive:
        archive.images()


def test_a_layer_of_such_an_archive_is_the_one_of_its_configuration(tmp_path: Path) -> None:
    path = write_saved(tmp_path / "i.tar", {"a": b"1"})
    one, other = (write_tar({"a": content})[:513] for content in (b"1", b"2"))
    path.write_bytes(path.read_bytes().replace(one, other))
    with open_archive(path) as archive, pytest.raises(InputError, match="can't be read"):
        archive.verify()


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("thing:smoke-1", "docker.io/library/thing:smoke-1"),
        ("owner/name:smoke-1", "docker.io/owner/name:smoke-1"),
        ("docker.io/owner/name:smoke-1", "docker.io/owner/name:smoke-1"),
        ("ghcr.io/owner/name:smoke-1", "ghcr.io/owner/name:smoke-1"),
        ("localhost/name:smoke-1", "localhost/name:smoke-1"),
    ],
)
def test_what_is_loaded_has_the_name_that_docker_finds_it_by(tag: str, name: str) -> None:
    assert name_of(tag)["io.containerd.image.name"] == name
