"""What an index says of itself, and what of an archive is not pushed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from ociwriter import OciWriter

from buildlib.errors import InputError
from buildlib.image.archive import open_archive
from buildlib.registry.repository import INDEX, MANIFEST, Document, Repository
from buildlib.registry.request import Content
from buildlib.registry.transfer import documents_of, manifests_of, push_archive
from buildlib.registry.transport import Transport
from buildlib.terminal.activity import Activity


def _entry(digest: str, **platform: str) -> dict[str, object]:
    return {"digest": digest, "platform": platform} if platform else {"digest": digest}


def test_an_index_of_an_official_image_is_read() -> None:
    entries = [
        _entry("sha256:1", os="linux", architecture="amd64"),
        _entry("sha256:2", os="unknown", architecture="unknown"),
        _entry("sha256:3", os="linux", architecture="arm", variant="v7"),
        _entry("sha256:4", os="linux", architecture="arm64", variant="v8"),
        _entry("sha256:5"),
    ]
    data = json.dumps({"manifests": entries}).encode()
    assert manifests_of(Document(data, INDEX)) == {
        "sha256:1": "linux/amd64",
        "sha256:3": "linux/arm/v7",
        "sha256:4": "linux/arm64",
        "sha256:5": "",
    }
    assert manifests_of(Document(data, MANIFEST)) == {}


def _push(folder: Path, writer: OciWriter, top: dict[str, object]) -> InputError:
    """Push an archive; return why that ends before anything is asked of a registry."""
    repository = Repository(Transport("registry.invalid"), "team/thing")
    with (
        open_archive(writer.write(folder / "image.tar", top)) as archive,
        pytest.raises(InputError) as caught,
    ):
        push_archive(archive, repository)
    return caught.value


LAYER = {"digest": "sha256:" + "1" * 64, "size": 3}


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param([], id="a list"),
        pytest.param({"layers": []}, id="no configuration"),
        pytest.param({"config": [], "layers": []}, id="a configuration that is a list"),
        pytest.param({"config": LAYER, "layers": 5}, id="layers that are a number"),
        pytest.param({"config": LAYER, "layers": ["x"]}, id="a layer that is a word"),
        pytest.param({"config": LAYER, "layers": [{"digest": "x"}]}, id="no digest"),
        pytest.param({"config": {**LAYER, "digest": "sha256:../x"}}, id="a path"),
        pytest.param({"config": {**LAYER, "size": "3"}}, id="a size in words"),
        pytest.param({"config": {"digest": LAYER["digest"]}}, id="no size"),
        pytest.param({"config": LAYER, "mediaType": "a\r\nb: c"}, id="a type on two lines"),
        pytest.param({"config": LAYER, "mediaType": 5}, id="a type that is a number"),
        pytest.param({"mediaType": INDEX, "manifests": [{}]}, id="an index of nothing"),
        pytest.param({"mediaType": INDEX, "manifests": [LAYER]}, id="an index of what is not here"),
    ],
)
def test_a_malformed_document_is_not_pushed(tmp_path: Path, manifest: object) -> None:
    writer = OciWriter()
    assert _push(tmp_path, writer, writer.document(manifest)).exit_code == 2


def test_indexes_in_indexes_have_an_end(tmp_path: Path) -> None:
    writer = OciWriter()
    top = writer.image([writer.layer({"a": b"a"})])
    for _ in range(30):
        # Each twice: whoever reads both goes through a thousand million of them.
        top = writer.index(top, top)
    assert "nested too deeply" in _push(tmp_path, writer, top).why


def test_what_is_in_two_indexes_is_pushed_once_and_before_both(tmp_path: Path) -> None:
    writer = OciWriter()
    image = writer.image([writer.layer({"a": b"a"})])
    inner = writer.index(image)
    top = writer.index(inner, image, inner)
    with open_archive(writer.write(tmp_path / "image.tar", top)) as archive:
        found = documents_of(archive, archive.top())
    assert list(found) == [image["digest"], inner["digest"], top["digest"]]


def test_bytes_of_another_digest_are_not_pushed(tmp_path: Path) -> None:
    writer = OciWriter()
    layer = writer.layer({"a": b"a"})
    writer._blobs[str(layer["digest"])] = bytes(int(str(layer["size"])))
    problem = _push(tmp_path, writer, writer.image([layer]))
    assert f"{layer['digest']} has the bytes of sha256:" in problem.what


class Taking(Repository):
    """A repository that has one blob already, and takes every other at the second attempt."""

    def __init__(self, there: str, activity: Activity) -> None:
        super().__init__(Transport("registry.invalid"), "team/thing")
        self.there, self.activity = there, activity
        self.seen: list[tuple[int, int]] = []

    def has_blob(self, digest: str) -> bool:
        return digest == self.there

    def put_blob(
        self,
        digest: str,
        size: int,
        content: Callable[[], IO[bytes]],
        *,
        sent: Callable[[int], None] = lambda _: None,
    ) -> None:
        assert digest
        for _ in range(2):
            attempt = Content(content, size, sent)
            while attempt.read(7):
                pass
            self.seen.append((self.activity.done, self.activity.total))

    def put_manifest(self, reference: str, document: Document) -> None:
        pass

    def check(self, reference: str, document: Document) -> None:
        pass


def test_a_push_says_how_many_bytes_of_how_many_are_sent(tmp_path: Path) -> None:
    writer = OciWriter()
    first, second = writer.layer({"a": b"a"}), writer.layer({"b": b"b" * 999})
    top = writer.image([first, second])
    activity = Activity(name="pushing")
    repository = Taking(str(first["digest"]), activity)
    with open_archive(writer.write(tmp_path / "image.tar", top)) as archive:
        done = push_archive(archive, repository, activity=activity)
    assert (activity.done, activity.total) == (done.size, done.size)
    config = done.size - int(str(second["size"]))
    # What is sent again counts once, and what was there already not at all.
    assert [one for one, _ in repository.seen] == [config, config, done.size, done.size]
