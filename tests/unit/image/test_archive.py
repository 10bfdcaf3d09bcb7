"""Images as they are stored, read from archives that are right and from broken ones."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ociwriter import INDEX, MANIFEST, OciWriter
from tarwriter import TarEntry, tar

from buildlib.config.key_types import MismatchError, parse_size
from buildlib.errors import EngineError, GateError, InputError
from buildlib.executor import Completed
from buildlib.image import archive as archive_module
from buildlib.image import blobs
from buildlib.image import layer as layer_module
from buildlib.image import size as size_module
from buildlib.image.archive import File, open_archive
from buildlib.image.size import SizeReport, measure, saved
from buildlib.smoke.load_image import given

from fakes import FakeExecutor

PLAIN = "application/vnd.oci.image.layer.v1.tar"


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
        ("empty.tar", "is not a complete image: index.json is missing"),
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
    messages = ("is missing", "can't be read", "ended before")
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
    assert SizeReport(images=(exact,)).problems() == []
    (problem,) = SizeReport(images=(exact, small)).problems()
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
        with pytest.raises(
            InputError, match=f"{digest} has {size} bytes, and its descriptor says 7"
        ):
            archive.check_blob(digest, 7)
    with open_archive(other) as archive:
        assert archive.size_of(digest) == 14
        with pytest.raises(InputError, match=f"{digest} has the bytes of sha256:"):
            archive.check_blob(digest, 14)


def _refused(path: Path, reason: str) -> None:
    """Expect that an archive is not read, and that the error says why."""
    with pytest.raises(InputError, match=reason), open_archive(path) as archive:
        archive.verify()


def _lying(path: Path, part: str) -> tuple[Path, str]:
    """Return an archive with other bytes under one digest, as many as before, and that digest."""
    writer = OciWriter()
    layer = writer.layer({"a": b"1"}, PLAIN)
    image = writer.image([layer])
    index = writer.index(image)
    parts = {"layer": layer, "manifest": image, "index": index}
    entry = parts[part]
    data = bytearray(writer.bytes_of(entry))
    data[-1 if part == "layer" else data.index(b":")] ^= 1
    writer.replace(entry, bytes(data))
    return writer.write(path, index), str(entry["digest"])


@pytest.mark.parametrize("part", ["layer", "manifest", "index"])
def test_other_bytes_under_a_digest_are_not_judged(tmp_path: Path, part: str) -> None:
    path, digest = _lying(tmp_path / "i.tar", part)
    _refused(path, digest)
    with open_archive(path) as archive, pytest.raises(InputError, match=digest):
        measure(archive, archive.images()[0])


def test_no_copy_is_made_of_other_bytes(tmp_path: Path) -> None:
    path, digest = _lying(tmp_path / "i.tar", "layer")
    with open_archive(path) as archive:
        (image,) = archive.images()
        with pytest.raises(InputError, match=f"{digest} has the bytes of"):
            archive.write_image(image, tmp_path / "one.tar")
        with pytest.raises(InputError, match=f"{digest} has the bytes of"):
            archive.write_renamed(tmp_path / "renamed.tar", {})


@pytest.mark.parametrize("part", ["layer", "config", "manifest"])
def test_a_size_that_is_not_that_of_the_blob(tmp_path: Path, part: str) -> None:
    writer = OciWriter()
    layer = writer.layer({"a": b"1"})
    image = writer.image([{**layer, "size": 7} if part == "layer" else layer])
    if part == "config":
        manifest = json.loads(writer.bytes_of(image))
        manifest["config"]["size"] = 7
        image = {**image, **writer.document(manifest)}
    if part == "manifest":
        image["size"] = 7
    _refused(writer.write(tmp_path / "i.tar", image), "bytes, and its descriptor says 7")


def test_the_blobs_of_an_attestation_are_compared_as_well(tmp_path: Path) -> None:
    writer = OciWriter()
    statement = {"mediaType": "application/vnd.in-toto+json", **writer.document({"a": 1})}
    attestation = writer.image([statement], platform=("unknown", "unknown"))
    image = writer.image([writer.layer({"a": b"1"})])
    path = writer.write(tmp_path / "i.tar", writer.index(image, attestation))
    with open_archive(path) as archive:
        archive.verify()
        assert len(archive.images()) == 1
    writer.replace(statement, json.dumps({"b": 1}).encode())
    _refused(writer.write(tmp_path / "i.tar", writer.index(image, attestation)), "has the bytes of")


@pytest.mark.parametrize(
    "diff_ids", [[], ["sha256:" + "0" * 64], ["sha256:" + "0" * 64] * 2, ["x:y"], [None]]
)
def test_a_layer_is_what_the_configuration_says(tmp_path: Path, diff_ids: list[str]) -> None:
    writer = OciWriter()
    image = writer.image([writer.layer({"a": b"1"})], rootfs={"diff_ids": diff_ids})
    reason = "configuration|digest of each layer|each of diff_ids"
    path = writer.write(tmp_path / "i.tar", image)
    with pytest.raises(InputError) as caught, open_archive(path) as archive:
        archive.verify()
    assert re.search(reason, f"{caught.value.what} {caught.value.why}")


def test_an_index_is_read_once_whatever_leads_to_it(tmp_path: Path) -> None:
    writer = OciWriter()
    index = writer.index(writer.image([writer.layer({"a": b"1"})]))
    # Each names the one below it twice: 2^14 ways lead to the image.
    for _ in range(14):
        index = writer.index(index, index)
    with open_archive(writer.write(tmp_path / "i.tar", index)) as archive:
        assert len(archive.images()) == 1
    deeper = writer.index(index)
    _refused(writer.write(tmp_path / "i.tar", deeper), "indexes in indexes")


def test_an_index_that_names_itself(tmp_path: Path) -> None:
    writer = OciWriter()
    index = writer.index(writer.image([]))
    itself = json.dumps({"mediaType": INDEX, "manifests": [index]}).encode()
    writer.replace(index, itself)
    index["size"] = len(itself)
    _refused(writer.write(tmp_path / "i.tar", index), "has the bytes of")


def test_too_many_manifests_and_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = OciWriter()
    layers = [writer.layer({name: b""}) for name in "abc"]
    path = writer.write(tmp_path / "i.tar", writer.image(layers))
    with monkeypatch.context() as patch:
        patch.setattr(archive_module, "MOST_LAYERS", 2)
        _refused(path, "more than 2 layers")
    with monkeypatch.context() as patch:
        patch.setattr(archive_module, "MOST_MANIFESTS", 0)
        _refused(path, "too many manifests")
    with monkeypatch.context() as patch:
        patch.setattr(blobs, "MOST_BLOBS", 2)
        _refused(path, "more than 2 files")
    with monkeypatch.context() as patch:
        patch.setattr(blobs, "LARGEST_DOCUMENT", 20)
        _refused(path, "larger than 20 bytes")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        pytest.param(TarEntry("./index.json", data=b"{}"), "is there twice", id="two of a name"),
        pytest.param(
            TarEntry(
                "x",
                data=b"{}",
                records=[
                    (b"GNU.sparse.size", b"2"),
                    (b"GNU.sparse.numblocks", b"1"),
                    (b"GNU.sparse.map", b"0,2"),
                ],
            ),
            "stored as a sparse file",
            id="a sparse one",
        ),
        pytest.param(TarEntry("a", size=-1), "can't be read as an image", id="a broken header"),
        pytest.param(TarEntry("ab/" * 2000), "can't be read as an image", id="a long name"),
    ],
)
def test_files_beside_the_blobs(tmp_path: Path, entry: TarEntry, reason: str) -> None:
    writer = OciWriter()
    path = writer.write(tmp_path / "i.tar", writer.image([]))
    path.write_bytes(bytes(entry) + path.read_bytes())
    _refused(path, reason)


def test_other_files_are_not_copied_with_the_blobs(tmp_path: Path) -> None:
    writer = OciWriter()
    path = writer.write(tmp_path / "i.tar", writer.image([writer.layer({"a": b""})]))
    more = [TarEntry("blobs/a/b", data=b"x"), TarEntry("blobs/sha256/x"), TarEntry("x")]
    path.write_bytes(b"".join(map(bytes, more)) + path.read_bytes())
    with open_archive(path) as archive:
        archive.write_renamed(tmp_path / "o.tar", {})
    with tarfile.open(tmp_path / "o.tar") as tar_file:
        names = set(tar_file.getnames())
    assert len(names) == 7
    assert not names & {"blobs/a/b", "blobs/sha256/x", "x"}


def test_directories_and_links_in_an_archive_are_no_blobs(tmp_path: Path) -> None:
    writer = OciWriter()
    path = writer.write(tmp_path / "i.tar", writer.image([writer.layer({"a": b""})]))
    more = [TarEntry("blobs/", b"5"), TarEntry("oci-layout", b"2", link="/etc/passwd")]
    path.write_bytes(b"".join(map(bytes, more)) + path.read_bytes())
    with open_archive(path) as archive:
        archive.verify()


DOCUMENTS: dict[str, tuple[bytes, str]] = {
    "a key in another case": (b'{"config": {"User": "1", "user": "0"}}', "is read as User"),
    "a letter that is another one": (b'{"config": {"U\xc5\xbfer": "0"}}', "is read as User"),
    "a key twice": (b'{"os": "linux", "os": "windows"}', "'os' is there twice"),
    "a label twice": (b'{"config": {"Labels": {"a": "1", "a": "2"}}}', "'a' is there twice"),
    "a list instead of an object": (b"[]", "not JSON of an object"),
    "another encoding": ('{"os": "linux"}'.encode("utf-16"), "it is not JSON"),
    "half a character": (rb'{"os": "\ud800"}', "it is not JSON"),
    "deep lists": (b'{"a":' + b"[" * 100_000, "it is not JSON"),
    "no number": (b'{"a": NaN}', "NaN is not a number"),
    "a user that is a number": (b'{"config": {"User": 0}}', "User should be a string"),
    "a command that is a line": (b'{"config": {"Cmd": "sh -c x"}}', "Cmd should be a list"),
    "words that are none": (b'{"config": {"Env": [1]}}', "each of Env should be a string"),
    "null among words": (b'{"config": {"Env": [null]}}', "each of Env should be a string"),
    "labels that are a list": (b'{"config": {"Labels": []}}', "Labels should be an object"),
    "labels that are numbers": (b'{"config": {"Labels": {"a": 1}}}', "each of Labels should"),
    "a history of words": (b'{"history": ["x"]}', "each of history should be an object"),
    "a flag that is a word": (b'{"history": [{"empty_layer": "no"}]}', "should be true or false"),
}


@pytest.mark.parametrize(("config", "reason"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_configuration_that_others_read_in_another_way(
    tmp_path: Path, config: bytes, reason: str
) -> None:
    writer = OciWriter()
    manifest = {"mediaType": MANIFEST, "config": writer.blob(config), "layers": []}
    path = writer.write(tmp_path / "i.tar", {"mediaType": MANIFEST, **writer.document(manifest)})
    with open_archive(path) as archive, pytest.raises(InputError) as caught:
        archive.images()
    assert "can't be understood" in caught.value.what
    assert reason in caught.value.why


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        ({}, "the configuration of sha256:[0-9a-f]* has no valid digest"),
        ({"config": {"digest": "sha256:1", "size": 1}}, "has no valid digest"),
        ({"config": {"digest": "sha256:" + "0" * 64}}, "has no valid size"),
        ({"config": {"digest": "sha256:" + "0" * 64, "size": -1}}, "has no valid size"),
        ({"config": {"digest": "sha256:" + "0" * 64, "size": 1}}, "0000 is missing"),
        ({"config": {"digest": 1}}, "can't be understood"),
        ({"config": {"size": True}}, "can't be understood"),
        ({"layers": [None]}, "can't be understood"),
        ({"mediaType": INDEX}, "both an index and a manifest"),
        ({"manifests": [{"digest": "sha256:" + "0" * 64, "size": 1}]}, "both an index and a"),
    ],
)
def test_manifests_that_are_none(tmp_path: Path, manifest: dict[str, Any], reason: str) -> None:
    writer = OciWriter()
    path = writer.write(tmp_path / "i.tar", {"mediaType": MANIFEST, **writer.document(manifest)})
    _refused(path, reason)


PLATFORM = {"os": "linux", "architecture": "arm64"}


@pytest.mark.parametrize(
    ("said", "own", "found"),
    [
        (PLATFORM, ("linux", "arm64", "v8"), "linux/arm64"),
        ({**PLATFORM, "architecture": "arm", "variant": "v6"}, ("linux", "arm"), "linux/arm/v6"),
        # An engine goes by the index, so that an image that says nothing of itself runs.
        (PLATFORM, ("unknown", "unknown"), "linux/arm64"),
        ({"os": "unknown", "architecture": "unknown"}, ("linux", "amd64"), "linux/amd64"),
        (PLATFORM, ("linux", "amd64"), "says linux/amd64"),
        (PLATFORM, ("lin\x1bux", "amd64"), "for the platform"),
    ],
)
def test_the_platform_by_the_index(
    tmp_path: Path, said: dict[str, str], own: tuple[str, ...], found: str
) -> None:
    writer = OciWriter()
    image = {**writer.image([writer.layer({"a": b""})], platform=own), "platform": said}
    path = writer.write(tmp_path / "i.tar", writer.index(image))
    if found.startswith("linux"):
        with open_archive(path) as archive:
            assert [one.platform for one in archive.images()] == [found]
    else:
        _refused(path, found)


def test_an_image_that_is_called_an_attestation_as_well_is_read(tmp_path: Path) -> None:
    writer = OciWriter()
    image = writer.image([writer.layer({"a": b""})], platform=("unknown", "unknown"))
    nowhere = {"os": "unknown", "architecture": "unknown"}
    index = writer.index({**image, "platform": nowhere}, {**image, "platform": PLATFORM}, image)
    with open_archive(writer.write(tmp_path / "i.tar", index)) as archive:
        assert [one.platform for one in archive.images()] == ["linux/arm64"]


def test_docker_s_own_list_is_of_the_same_image(tmp_path: Path) -> None:
    writer = OciWriter()
    layer = writer.layer({"a": b"1"})
    image = writer.image([layer])
    config = json.loads(writer.bytes_of(image))["config"]["digest"]
    blob = {str(x): f"blobs/{x}".replace(":", "/") for x in (config, layer["digest"])}
    right = {"Config": blob[config], "Layers": [blob[str(layer["digest"])]], "RepoTags": None}
    layout = TarEntry("oci-layout", data=b"{}")
    for entries, reason in (
        ([right], ""),
        ([{**right, "Layers": []}], "of another image than index.json"),
        ([{**right, "Config": "blobs/sha256/0"}], "of another image than index.json"),
        ([right, {}], "of another image than index.json"),
        ([{**right, "Config": 1}], "can't be understood"),
    ):
        path = writer.write(tmp_path / "i.tar", image)
        listed = TarEntry("manifest.json", data=json.dumps(entries).encode())
        path.write_bytes(bytes(listed) + bytes(layout) + path.read_bytes())
        if reason:
            _refused(path, reason)
        else:
            with open_archive(path) as archive:
                archive.verify()
    path = writer.write(tmp_path / "i.tar", image)
    path.write_bytes(bytes(TarEntry("manifest.json", data=b"[]")) + path.read_bytes())
    _refused(path, "without oci-layout")


DOCKER = "application/vnd.docker.image.rootfs.diff.tar"


@pytest.mark.parametrize(
    ("media_type", "made_as", "reason"),
    [
        (PLAIN, PLAIN, ""),
        (PLAIN, f"{PLAIN}+gzip", "end-of-archive"),
        (f"{PLAIN}+gzip", PLAIN, ""),
        (f"{PLAIN}+zstd", f"{PLAIN}+gzip", ""),
        (f"{PLAIN}+zstd", f"{PLAIN}+zstd", ""),
        (f"{PLAIN}+gzip", f"{PLAIN}+zstd", ""),
        (f"{DOCKER}.zstd", f"{PLAIN}+zstd", ""),
        (DOCKER, f"{PLAIN}+zstd", ""),
        (DOCKER, PLAIN, ""),
        (PLAIN, f"{PLAIN}+zstd", "."),
        (f"{DOCKER}.gzip", f"{PLAIN}+gzip", ""),
        (DOCKER, f"{PLAIN}+gzip", ""),
        (PLAIN.replace("layer.", "layer.nondistributable."), PLAIN, ""),
        (f"{PLAIN}+encrypted", PLAIN, "media type is unknown"),
        ("", PLAIN, "its media type is unknown: none"),
        ("text/plain", PLAIN, "media type is unknown"),
    ],
)
def test_a_layer_is_unpacked_as_its_first_bytes_say(
    tmp_path: Path, media_type: str, made_as: str, reason: str
) -> None:
    writer = OciWriter()
    made = writer.layer({"a": b"1"}, made_as)
    path = writer.write(tmp_path / "i.tar", writer.image([{**made, "mediaType": media_type}]))
    with open_archive(path) as archive:
        (image,) = archive.images()
        if not reason:
            assert [file.path for file in archive.files(image.layers[0])] == ["a"]
            return
        with pytest.raises(InputError, match="can't be read") as caught:
            list(archive.files(image.layers[0]))
    assert re.search(reason, caught.value.why)


def test_an_archive_that_can_not_be_written(tmp_path: Path) -> None:
    with open_archive(_two_platforms(tmp_path / "i.tar")) as archive:
        with pytest.raises(InputError, match="can't write"):
            archive.write_image(archive.images()[0], tmp_path / "none" / "o.tar")
        with pytest.raises(InputError, match="is not a digest"):
            archive.check_blob("sha256:1", 1)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_module, "LARGEST_LAYER", 1 << 20)
    writer = OciWriter()
    image = writer.image([writer.layer({"zeros": bytes(3 << 20)})])
    path = writer.write(tmp_path / "i.tar", image)
    assert path.stat().st_size < 20_000
    with open_archive(path) as archive:
        layer = archive.images()[0].layers[0]
        with pytest.raises(InputError, match="can't be read") as caught:
            list(archive.files(layer))
    assert "unpacks to more than 1048576 bytes" in caught.value.why


def test_names_that_a_terminal_would_obey_are_shown_as_they_are_written(tmp_path: Path) -> None:
    writer = OciWriter()
    data = tar(TarEntry(b"a\x1b[2J\xff", data=b"x"))
    path = writer.write(tmp_path / "i.tar", writer.image([writer.tar(data, PLAIN)]))
    with open_archive(path) as archive:
        report = measure(archive, archive.images()[0])
    assert report.largest[0].path == "a\\x1b[2J\\udcff"


def test_only_the_largest_files_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_module, "_MANY", 3)
    writer = OciWriter()
    files = {f"f{number}": b"x" * number for number in (5, 1, 9, 2, 7, 3)}
    path = writer.write(tmp_path / "i.tar", writer.image([writer.layer(files)]))
    with open_archive(path) as archive:
        report = measure(archive, archive.images()[0], top=2)
    assert [file.size for file in report.largest] == [9, 7]
    assert (report.layers[0].files, report.unpacked) == (6, 27)
