"""Both generations of media types, in every combination, wherever an image is read."""

from __future__ import annotations

import itertools
import json
import tarfile
from pathlib import Path

import pytest
from ociwriter import ELF, MANIFEST, OciWriter
from savedwriter import Kept, write_layout
from smallregistry import PATH, SmallRegistry, small_registry

from buildlib.commands.sign import _images
from buildlib.config.policy import Policy
from buildlib.errors import InputError
from buildlib.image.archive import Archive, open_archive
from buildlib.image.reference import parse_reference
from buildlib.image.size import measure
from buildlib.policy.image_checks import check_image, read_contents
from buildlib.publish.attestations import SPDX, Predicate, write_attested
from buildlib.registry.repository import Repository
from buildlib.registry.transfer import documents_of, manifests_of, pulled
from buildlib.registry.transport import Transport
from buildlib.reproduce.diff import compare

pytestmark = pytest.mark.unmeasured

OCI = "application/vnd.oci.image.layer.v1.tar"
SCHEMA_2 = "application/vnd.docker.image.rootfs.diff.tar"
ARM, AMD = ("linux", "arm64"), ("linux", "amd64")
V02, V1 = "https://slsa.dev/provenance/v0.2", "https://slsa.dev/provenance/v1"
PACKED = [OCI, f"{OCI}+gzip", f"{OCI}+zstd", SCHEMA_2, f"{SCHEMA_2}.gzip", f"{SCHEMA_2}.zstd"]
# BuildKit's attestations: none, as an image without a platform, as an OCI artifact.
ATTESTED = {"none": None, "image": (V02, False), "artifact": (V1, True)}
FORMS = list(itertools.product([False, True], PACKED, ATTESTED))


def _image(writer: OciWriter, packed: str, platform: tuple[str, ...]) -> dict[str, object]:
    program = tarfile.TarInfo("program")
    program.mode = 0o4755
    layer = writer.entries(program, contents={"program": ELF}, media_type=packed)
    keys = dict(zip(("os", "architecture"), platform, strict=True))
    return writer.image([layer], platform=platform, config={"User": "7"}) | {"platform": keys}


def _index(writer: OciWriter, packed: str, form: str) -> dict[str, object]:
    images = [_image(writer, packed, one) for one in (AMD, ARM)]
    attested = ATTESTED[form]
    if attested is None:
        return writer.index(*images)
    kind, artifact = attested
    said = [writer.attestation(one, kind, SPDX, artifact=artifact) for one in images]
    return writer.index(*images, *said)


@pytest.fixture(params=FORMS, ids=lambda form: f"{'docker' if form[0] else 'oci'} {form[1:]}")
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return an archive of two platforms."""
    docker, packed, form = request.param
    writer = OciWriter(docker=docker)
    return writer.write(tmp_path / "i.tar", _index(writer, packed, form))


def _keep(registry: SmallRegistry, archive: Archive) -> str:
    """Have a registry hold what an archive does, as a push would leave it; return the digest."""
    for digest, document in documents_of(archive, archive.top()).items():
        registry.documents[digest] = document
        for part in document.blobs() if "config" in json.loads(document.data) else ():
            with archive.open_blob(part["digest"]) as stream:
                registry.blobs[part["digest"]] = stream.read()
    return archive.top()


def test_an_archive_of_any_form_is_read_and_compared_with_its_digests(path: Path) -> None:
    with open_archive(path) as archive:
        archive.verify()
        images = archive.images()
        # The program is not of the second platform.
        foreign = {"linux/amd64": (), "linux/arm64": ("platform-matches",)}
        assert [image.platform for image in images] == [*foreign]
        for image in images:
            report = measure(archive, image)
            assert [one.path for one in report.largest] == ["program"]
            found = check_image(read_contents(archive, image), Policy())
            rules = {one.rule for one in found if one.path == "/program"}
            assert rules == {"no-setuid", *foreign[image.platform]}


def test_one_image_of_it_is_written_alone_as_what_it_is(path: Path, tmp_path: Path) -> None:
    with open_archive(path) as archive:
        image = archive.images()[1]
        own = json.loads(archive.bytes_of(image.digest))["mediaType"]
        archive.write_image(image, tmp_path / "o.tar")
    with open_archive(tmp_path / "o.tar") as alone:
        assert [one.digest for one in alone.images()] == [image.digest]
        assert alone.entry_of(alone.top())["mediaType"] == own


def test_a_registry_of_any_form_is_read(path: Path) -> None:
    with small_registry() as registry, open_archive(path) as archive:
        digest = _keep(registry, archive)
        repository = Repository(Transport(registry.name.partition("/")[0], None), PATH)
        document = repository.manifest(digest)
        assert document
        digests = [image.digest for image in archive.images()]
        assert list(manifests_of(document)) == digests
        reference = parse_reference(f"{registry.name}@{digest}")
        assert [one.platform for one in _images(repository, reference)] == [
            "linux/amd64",
            "linux/arm64",
        ]
        with pulled(repository, digest) as found:
            found.verify()
            assert [image.digest for image in found.images()] == digests
            assert compare(archive, found) == ()


def test_an_index_of_any_form_takes_further_attestations(path: Path, tmp_path: Path) -> None:
    with open_archive(path) as archive:
        said = [Predicate(image.digest, SPDX, {}) for image in archive.images()]
        before = json.loads(archive.bytes_of(archive.top()))
        write_attested(archive, tmp_path / "o.tar", said)
    with open_archive(tmp_path / "o.tar") as attested:
        attested.verify()
        after = json.loads(attested.bytes_of(attested.top()))
        assert [one.digest for one in attested.images()] == [one.about for one in said]
    assert after["mediaType"] == before["mediaType"]
    assert after["manifests"][:-2] == before["manifests"]
    subject = before["manifests"][0]
    kept = {key: subject[key] for key in ("mediaType", "digest", "size")}
    with open_archive(tmp_path / "o.tar") as attested:
        manifest = json.loads(attested.bytes_of(after["manifests"][-2]["digest"]))
    assert (manifest["mediaType"], manifest["subject"]) == (MANIFEST, kept)


def _saved(writer: OciWriter) -> list[Kept]:
    """Return what an engine saves together: of two platforms, of one, and one without an index."""
    both = [_image(writer, f"{OCI}+gzip", one) for one in (AMD, ARM)]
    said = [writer.attestation(one, V1, artifact=True) for one in both]
    plain = {key: value for key, value in both[0].items() if key != "platform"}
    return [
        Kept("one:1", writer.index(*both, *said), both[0]),
        Kept("two:1", writer.index(both[0], said[0]), both[0]),
        Kept("three:1", plain, both[0]),
    ]


def test_what_docker_29_saves_is_read(tmp_path: Path) -> None:
    writer = OciWriter()
    for kept, platforms in zip(_saved(writer), ([AMD, ARM], [AMD], [AMD]), strict=True):
        path = write_layout(tmp_path / "i.tar", writer, kept)
        with open_archive(path) as archive:
            archive.verify()
            assert archive.top() == kept.top["digest"]
            found = [image.platform for image in archive.images()]
            assert found == ["/".join(one) for one in platforms]
            archive.write_renamed(tmp_path / "o.tar", {"io.containerd.image.name": "other"})
        with open_archive(tmp_path / "o.tar") as renamed:
            renamed.verify()
            assert renamed.top() == kept.top["digest"]


def test_what_docker_29_saves_after_a_pull_is_its_own_platform_and_what_is_said_of_it(
    tmp_path: Path,
) -> None:
    writer = OciWriter()
    kept, *_ = _saved(writer)
    entries = json.loads(writer.bytes_of(kept.top))["manifests"]
    for entry in (entries[1], entries[3]):
        writer.drop(entry)
    path = write_layout(tmp_path / "i.tar", writer, kept)
    with open_archive(path) as archive:
        archive.verify()
        assert archive.top() == kept.top["digest"]
        assert [image.platform for image in archive.images()] == ["linux/amd64"]


def test_what_docker_29_saves_of_several_images_is_checked_as_one_and_not_pushed(
    tmp_path: Path,
) -> None:
    writer = OciWriter()
    path = write_layout(tmp_path / "i.tar", writer, *_saved(writer))
    with open_archive(path) as archive:
        archive.verify()
        # Each of them once, however many names lead to it.
        assert [image.platform for image in archive.images()] == ["linux/amd64", "linux/arm64"]
        with pytest.raises(InputError, match="holds 3 images instead of one"):
            archive.top()
