"""Images as they are stored, read from archives that are right and from broken ones."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import pytest
from ociwriter import OciWriter

from buildlib.errors import EngineError, GateError, InputError
from buildlib.executor import Completed
from buildlib.oci import File, open_archive
from buildlib.size import check_sizes, measure, saved
from buildlib.smoke.image import given
from buildlib.values import MismatchError, parse_size

from fakes import FakeExecutor


def _two_platforms(path: Path) -> Path:
    writer = OciWriter()
    base = writer.layer({"bin/": b"", "bin/sh": b"x" * 100})
    top = writer.layer({"app": b"y" * 300, "./etc/conf": b"z"})
    history: list[dict[str, object]] = [
        {"created_by": "base"},
        {"created_by": "ENV A=b", "empty_layer": True},
        {"created_by": "COPY  app\n /"},
    ]
    index = writer.index(
        writer.image([base, top], history),
        writer.image([base], platform=("linux", "arm", "v7")),
        # An attestation, which is no platform's image.
        writer.image([base], platform=("unknown", "unknown")),
    )
    return writer.write(path, index)


def test_every_platform_is_read_and_attestations_are_left_out(tmp_path: Path) -> None:
    with open_archive(_two_platforms(tmp_path / "i.tar")) as archive:
        one, other = archive.images()
    assert (one.platform, other.platform) == ("linux/amd64", "linux/arm/v7")
    assert [layer.created_by for layer in one.layers] == ["base", "COPY  app\n /"]
    # A base that tells nothing of itself.
    assert [layer.created_by for layer in other.layers] == [""]
    assert one.size == one.config_size + sum(layer.size for layer in one.layers)


def test_a_base_without_a_history_does_not_move_the_steps(tmp_path: Path) -> None:
    writer = OciWriter()
    layers = [writer.layer({name: b""}) for name in ("base", "one", "two")]
    history: list[dict[str, object]] = [
        {"created_by": "COPY one"},
        {"created_by": "COPY two"},
        {"created_by": "[2/2] COPY two", "comment": "buildkit.exporter.image.v0"},
    ]
    with open_archive(writer.write(tmp_path / "i.tar", writer.image(layers, history))) as archive:
        (image,) = archive.images()
    assert [layer.created_by for layer in image.layers] == ["", "COPY one", "COPY two"]


def test_the_files_of_a_layer(tmp_path: Path) -> None:
    with open_archive(_two_platforms(tmp_path / "i.tar")) as archive:
        (image, _) = archive.images()
        files = list(archive.files(image.layers[1]))
        (directory, _) = archive.files(image.layers[0])
    facts = {"kind": "file", "mode": 0o640, "user": 7, "group": 0, "modified": 1234}
    assert files == [
        File(path="app", size=300, head=b"y" * 64, **facts),  # type: ignore[arg-type]
        File(path="etc/conf", size=1, head=b"z", **facts),  # type: ignore[arg-type]
    ]
    assert (directory.path, directory.kind) == ("bin", "directory")


def test_the_contents_of_files_are_read_where_they_are_asked_for(tmp_path: Path) -> None:
    with open_archive(_two_platforms(tmp_path / "i.tar")) as archive:
        (image, _) = archive.images()
        files = list(archive.files(image.layers[1], contents=True))
    assert [file.head for file in files] == [b"y" * 64, b"z"]
    assert files[0].sha256 == hashlib.sha256(b"y" * 300).hexdigest()


def test_links_and_extended_attributes(tmp_path: Path) -> None:
    writer = OciWriter()
    link = tarfile.TarInfo("bin/sh")
    link.type, link.linkname = tarfile.SYMTYPE, "/bin/busybox"
    ping = tarfile.TarInfo("bin/ping")
    ping.pax_headers = {"SCHILY.xattr.security.capability": "x"}
    path = writer.write(tmp_path / "i.tar", writer.image([writer.entries(link, ping)]))
    with open_archive(path) as archive:
        (image,) = archive.images()
        one, other = archive.files(image.layers[0])
    assert (one.kind, one.target) == ("link", "/bin/busybox")
    assert other.attributes == ("security.capability",)


def test_the_digest_of_the_whole(tmp_path: Path) -> None:
    writer = OciWriter()
    image = writer.image([writer.layer({"a": b""})])
    other = writer.image([writer.layer({"b": b""})])
    index = writer.index(image)
    with open_archive(writer.write(tmp_path / "i.tar", index)) as archive:
        assert archive.top() == index["digest"]
        assert json.loads(archive.bytes_of(archive.top()))["manifests"] == [image]
    two = writer.write(tmp_path / "two.tar", image, other)
    with open_archive(two) as archive, pytest.raises(InputError, match="holds 2 images"):
        archive.top()


def test_the_default_variant_is_not_told(tmp_path: Path) -> None:
    # Official images for arm64 say it in their configuration.
    writer = OciWriter()
    image = writer.image([writer.layer({"a": b""})], platform=("linux", "arm64", "v8"))
    with open_archive(writer.write(tmp_path / "i.tar", image)) as archive:
        (found,) = archive.images()
    assert found.platform == "linux/arm64"


def test_an_image_that_is_there_twice_is_read_once(tmp_path: Path) -> None:
    writer = OciWriter()
    image = writer.image([writer.layer({"a": b""}, "application/vnd.oci.image.layer.v1.tar")])
    path = writer.write(tmp_path / "i.tar", image, writer.index(image))
    with open_archive(path) as archive:
        (found,) = archive.images()
        assert [file.path for file in archive.files(found.layers[0])] == ["a"]


def test_a_platform_whose_content_is_not_here_is_left_out(tmp_path: Path) -> None:
    writer = OciWriter()
    here = writer.image([writer.layer({"a": b""})])
    elsewhere = writer.image([], platform=("linux", "arm64"))
    index = writer.index(here, elsewhere)
    writer.drop(elsewhere)
    with open_archive(writer.write(tmp_path / "i.tar", index)) as archive:
        assert [image.platform for image in archive.images()] == ["linux/amd64"]


def _images(path: Path) -> None:
    with open_archive(path) as archive:
        archive.images()


def test_what_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("x", encoding="utf-8")
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    OciWriter().write(tmp_path / "none.tar")
    for name, message in (
        ("gone", "can't be read as an image"),
        ("text", "can't be read as an image"),
        ("empty.tar", "is no whole image: index.json is missing"),
        ("none.tar", "holds no image"),
    ):
        with pytest.raises(InputError, match=message):
            _images(tmp_path / name)


def test_what_is_broken_is_named(tmp_path: Path) -> None:
    writer = OciWriter()
    gone, torn = writer.layer({"a": b"1"}), writer.layer({"b": b"2" * 4000})
    cut = {**torn, **writer.blob(b"\x1f\x8b\x08\x00nonsense")}
    zstd = "application/vnd.oci.image.layer.v1.tar+zstd"
    image = writer.image([gone, cut, {"mediaType": zstd, **writer.blob(b"\x28\xb5\x2f\xfdx")}])
    writer.drop(gone)
    messages = ("is missing", "can't be read", "zstd")
    with open_archive(writer.write(tmp_path / "i.tar", image)) as archive:
        (found,) = archive.images()
        for layer, message in zip(found.layers, messages, strict=True):
            with pytest.raises(InputError, match=message):
                list(archive.files(layer))


def test_a_document_that_is_no_json(tmp_path: Path) -> None:
    writer = OciWriter()
    path = writer.write(tmp_path / "i.tar", {"mediaType": "x", **writer.blob(b"no")})
    with open_archive(path) as archive, pytest.raises(InputError, match="is not JSON"):
        archive.images()


def test_the_report_names_layers_and_the_largest_files(tmp_path: Path) -> None:
    with open_archive(_two_platforms(tmp_path / "i.tar")) as archive:
        report = measure(archive, archive.images()[0], budget=0, top=2)
    assert [(file.path, file.size, file.layer) for file in report.largest] == [
        ("app", 300, 2),
        ("bin/sh", 100, 1),
    ]
    assert [(layer.unpacked, layer.files) for layer in report.layers] == [(100, 1), (301, 2)]
    assert report.unpacked == 401
    assert report.within
    text = report.as_text()
    assert "COPY app /" in text
    assert "layer 2  app" in text


def test_an_image_over_its_budget_fails_by_how_much(tmp_path: Path) -> None:
    with open_archive(_two_platforms(tmp_path / "i.tar")) as archive:
        image = archive.images()[0]
        exact = measure(archive, image, budget=image.size)
        small = measure(archive, image, budget=image.size - 5)
    assert check_sizes([exact]) == []
    (problem,) = check_sizes([exact, small])
    assert isinstance(problem, GateError)
    assert "linux/amd64 is 5 B over its budget" in str(problem)
    assert small.as_dict()["within"] is False


def test_an_archive_that_is_not_there_is_no_reference(tmp_path: Path) -> None:
    image = str(tmp_path / "none.oci.tar")
    for opened in (saved(FakeExecutor(), image), given(image, "x:y", FakeExecutor())):
        with pytest.raises(InputError, match=r"no such file: .*none\.oci\.tar") as caught, opened:
            pass
        assert "docker-build --output oci" in caught.value.hint


def test_a_tag_may_end_as_an_archive_does() -> None:
    docker = FakeExecutor({("docker", "save"): Completed(code=1, stderr="No such image: x")})
    with pytest.raises(EngineError, match="No such image"), saved(docker, "thing:1.tar"):
        pass


def test_an_image_that_the_engine_does_not_have(tmp_path: Path) -> None:
    docker = FakeExecutor({("docker", "save"): Completed(code=1, stderr="No such image: x")})
    with pytest.raises(EngineError, match="No such image"), saved(docker, str(tmp_path / "x")):
        pass


@pytest.mark.parametrize(
    ("text", "size"),
    [("0 B", 0), ("20 MB", 20_000_000), ("19.5MiB", 20_447_232), ("3kB", 3000), ("1 GiB", 2**30)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("value", [20, "20", "MB", "-1 MB", "1 TB", "1,5 MB", ["1 MB"]])
def test_what_is_no_size(value: object) -> None:
    with pytest.raises(MismatchError):
        parse_size(value)


def _read_all(path: Path) -> None:
    with open_archive(path) as archive:
        archive.bytes_of(archive.top())
        for image in archive.images():
            archive.write_image(image, path.with_name("single.tar"))


def test_an_archive_that_ends_anywhere_is_no_whole_image(tmp_path: Path) -> None:
    path = _two_platforms(tmp_path / "i.tar")
    data = path.read_bytes().rstrip(b"\0")
    for size in range(0, len(data), 199):
        path.write_bytes(data[:size])
        with pytest.raises(InputError):
            _read_all(path)


def test_a_blob_has_the_length_and_the_bytes_of_its_descriptor(tmp_path: Path) -> None:
    writer = OciWriter()
    image = writer.image([writer.layer({"a": b"1"})])
    digest = str(image["digest"])
    whole = writer.write(tmp_path / "whole.tar", image)
    writer.replace(image, b"something else")
    other = writer.write(tmp_path / "other.tar", image)
    with open_archive(whole) as archive:
        size = archive.size_of(digest)
        assert size == image["size"]
        archive.check_blob(digest, size)
        with pytest.raises(InputError, match=f"{digest} has {size} bytes, not the 7"):
            archive.check_blob(digest, 7)
    with open_archive(other) as archive:
        assert archive.size_of(digest) == 14
        with pytest.raises(InputError, match=f"{digest} has the bytes of sha256:"):
            archive.check_blob(digest, 14)
