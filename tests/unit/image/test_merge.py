"""Archives of single platforms become the one that BuildKit writes of all platforms at once."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ociwriter import INDEX, OciWriter

from buildlib.build.parts import merge_argv
from buildlib.errors import InputError
from buildlib.image.archive import Archive, open_archive
from buildlib.image.merge import main, merge_archives

PLATFORMS = (("linux", "amd64"), ("linux", "arm64"), ("linux", "arm", "v7"))
NAMED = {
    "io.containerd.image.name": "docker.io/library/thing:1",
    "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
    "org.opencontainers.image.ref.name": "1",
}


def _platform(platform: Sequence[str]) -> dict[str, str]:
    """Return a platform as BuildKit has it in an index."""
    keys = dict(zip(("os", "architecture", "variant"), platform, strict=False))
    return dict(sorted(keys.items()))


class Part:
    """The build of one platform, as a part of an index and as an archive of its own."""

    def __init__(
        self,
        platform: Sequence[str],
        *,
        attested: bool = False,
        annotations: Mapping[str, str] | None = None,
        layers: Sequence[str] = (),
    ) -> None:
        self.writer = OciWriter()
        files = [{"same": b"1"}, *({text: text.encode()} for text in (*layers, *platform))]
        stored = [self.writer.layer(one) for one in files]
        image = self.writer.image(stored, platform=tuple(platform))
        given = {"annotations": dict(annotations)} if annotations else {}
        self.image = image | given | {"platform": _platform(platform)}
        self.attestations = []
        if attested:
            self.attestations.append(self.writer.attestation(image, "of/it", artifact=True))

    def write(self, path: Path, names: Mapping[str, str]) -> Path:
        """Write its own archive, whose outermost index has the name of the image."""
        if self.attestations:
            top: dict[str, object] = self.writer.index(self.image, *self.attestations)
            return self.writer.write(path, top | {"annotations": dict(names)})
        entry = {key: self.image[key] for key in ("mediaType", "digest", "size")}
        given: Any = self.image.get("annotations") or {}
        entry["annotations"] = {**given, **names}
        return self.writer.write(path, entry | {"platform": self.image["platform"]})


def _index(parts: Sequence[Part], annotations: Mapping[str, str]) -> bytes:
    """Return the index of all, as Go writes it."""
    images = [part.image for part in parts]
    attested = [one for part in parts for one in part.attestations]
    found: dict[str, object] = {"schemaVersion": 2, "mediaType": INDEX}
    found["manifests"] = images + attested
    if annotations:
        found["annotations"] = dict(sorted(annotations.items()))
    text = json.dumps(found, indent=2, ensure_ascii=False)
    for one in "<>&\u2028\u2029":
        text = text.replace(one, f"\\u{ord(one):04x}")
    return text.encode()


def _merge(
    folder: Path, parts: Sequence[Part], *given: Mapping[str, str]
) -> tuple[str, bytes, dict[str, Any]]:
    """Return the digest, the index, and the outermost index of what is merged."""
    paths = [part.write(folder / f"{number}.tar", NAMED) for number, part in enumerate(parts)]
    place = folder / "all.tar"
    digest = merge_archives(paths, place, *given)
    with open_archive(place) as archive:
        archive.verify()
        assert archive.top() == digest
        return digest, archive.bytes_of(digest), archive.outermost()


def test_the_index_is_the_one_that_buildkit_writes(tmp_path: Path) -> None:
    parts = [Part(one) for one in PLATFORMS[1:]]
    first, second = (part.image for part in parts)
    _, text, _ = _merge(tmp_path, parts, {"org.x": "1", "a": "2 <é>"})
    # Of BuildKit 0.13 and 0.34, with the digests of this test.
    assert (
        text.decode()
        == f"""\
{{
  "schemaVersion": 2,
  "mediaType": "application/vnd.oci.image.index.v1+json",
  "manifests": [
    {{
      "mediaType": "application/vnd.oci.image.manifest.v1+json",
      "digest": "{first["digest"]}",
      "size": {first["size"]},
      "platform": {{
        "architecture": "arm64",
        "os": "linux"
      }}
    }},
    {{
      "mediaType": "application/vnd.oci.image.manifest.v1+json",
      "digest": "{second["digest"]}",
      "size": {second["size"]},
      "platform": {{
        "architecture": "arm",
        "os": "linux",
        "variant": "v7"
      }}
    }}
  ],
  "annotations": {{
    "a": "2 \\u003cé\\u003e",
    "org.x": "1"
  }}
}}"""
    )


@pytest.mark.parametrize(("size", "extended"), [(8**11 - 1, False), (8**11, True)])
def test_a_layer_may_have_more_bytes_than_a_header_of_ustar_can_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, *, extended: bool
) -> None:
    parts = [Part(one) for one in PLATFORMS[:2]]
    paths = [part.write(tmp_path / f"{number}.tar", NAMED) for number, part in enumerate(parts)]
    manifest = json.loads(parts[0].writer.bytes_of(parts[0].image))
    large = str(manifest["layers"][-1]["digest"])
    real_size, real_add = Archive.size_of, Archive.add_to

    def size_of(self: Archive, digest: str) -> int:
        return size if digest == large else real_size(self, digest)

    def add_to(self: Archive, tar: tarfile.TarFile, digest: str, size: int, mode: int) -> None:
        if digest != large:
            real_add(self, tar, digest, size, mode)
            return
        file = tarfile.TarInfo(f"blobs/{digest.replace(':', '/')}")
        file.size = size
        tar.addfile(file)
        # A hole in a file takes no space.
        tar.offset += -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        assert tar.fileobj is not None
        tar.fileobj.seek(tar.offset)

    monkeypatch.setattr(Archive, "size_of", size_of)
    monkeypatch.setattr(Archive, "add_to", add_to)
    monkeypatch.setattr("buildlib.image.merge.check_room", lambda *_: None)
    place = tmp_path / "all.tar"
    digest = merge_archives(paths, place)
    monkeypatch.undo()
    with open_archive(place) as archive:
        assert archive.top() == digest
        assert archive.size_of(large) == size
    with tarfile.open(place) as tar:
        assert [bool(one.pax_headers) for one in tar if one.size == size] == [extended]


def test_the_name_of_the_image_leads_to_the_index(tmp_path: Path) -> None:
    parts = [Part(one, annotations={"d": "1"}) for one in PLATFORMS]
    digest, text, outermost = _merge(tmp_path, parts, {}, {"x": "2"})
    assert outermost["manifests"] == [
        {
            "mediaType": INDEX,
            "digest": digest,
            "size": len(text),
            "annotations": {**NAMED, "x": "2"},
        }
    ]
    assert [one["annotations"] for one in json.loads(text)["manifests"]] == [{"d": "1"}] * 3


def test_an_index_of_one_platform_does_not_stay(tmp_path: Path) -> None:
    parts = [Part(one, attested=True) for one in PLATFORMS]
    digest, text, _ = _merge(tmp_path, parts)
    kinds = ["annotations" in one for one in json.loads(text)["manifests"]]
    assert kinds == [False] * 3 + [True] * 3
    with open_archive(tmp_path / "all.tar") as archive:
        held = archive.digests()
        tops = [one for one in held if b'"manifests"' in archive.bytes_of(one)]
    assert tops == [digest]
    # A layer that all have is there once.
    assert len(held) == len(set(held))


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    order=st.permutations(PLATFORMS),
    count=st.integers(1, 3),
    attested=st.booleans(),
    index=st.dictionaries(st.sampled_from("abc"), st.text('<>&é\u2028\n"x', max_size=4)),
    descriptor=st.dictionaries(st.sampled_from("abc"), st.text("<é", max_size=3)),
    layers=st.lists(st.sampled_from(["one", "two", "three"]), max_size=3, unique=True),
)
def test_what_is_split_and_merged_has_the_same_bytes(
    tmp_path: Path,
    order: list[tuple[str, ...]],
    count: int,
    attested: bool,
    index: dict[str, str],
    descriptor: dict[str, str],
    layers: list[str],
) -> None:
    parts = [
        Part(one, attested=attested, annotations=dict(sorted(descriptor.items())), layers=layers)
        for one in order[:count]
    ]
    _, text, _ = _merge(tmp_path, parts, index)
    assert text == _index(parts, index)


def test_an_archive_that_is_damaged_is_refused(tmp_path: Path) -> None:
    part = Part(PLATFORMS[0])
    manifest = json.loads(part.writer.bytes_of(part.image))
    part.writer.replace(manifest["layers"][0], b"else")
    with pytest.raises(InputError, match="damaged"):
        _merge(tmp_path, [part, Part(PLATFORMS[1])])


def test_an_archive_without_its_manifest_is_refused(tmp_path: Path) -> None:
    plain, attested = Part(PLATFORMS[0]), Part(PLATFORMS[0], attested=True)
    other = Part(PLATFORMS[0], attested=True)
    missing = ((plain, plain.image), (attested, attested.image), (other, other.attestations[0]))
    for part, entry in missing:
        part.writer.leave_out(entry)
        with pytest.raises(InputError):
            _merge(tmp_path, [part, Part(PLATFORMS[1])])


def test_the_command_does_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [Part(one).write(tmp_path / one[1], NAMED) for one in PLATFORMS[:2]]
    given = ({"a": "x=y"}, {"b": "-z"})
    digest = merge_archives(paths, tmp_path / "all.tar", *given)
    before = (tmp_path / "all.tar").read_bytes()
    python, option, module, *words = merge_argv(paths, tmp_path / "all.tar", *given)
    assert (python, option, module) == ("python3", "-m", "buildlib.image.merge")
    main(words)
    assert (tmp_path / "all.tar").read_bytes() == before
    assert digest.encode() in before
    with pytest.raises(SystemExit) as caught:
        main(["--output", str(tmp_path / "x"), str(tmp_path / "absent")])
    assert caught.value.code == 2
    assert "can't be read as an image" in capsys.readouterr().err
