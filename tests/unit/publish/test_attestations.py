"""SBOM and provenance in an index: their form, and a digest that is the same again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ociwriter import MANIFEST, OciWriter
from smallregistry import PATH, small_registry

from buildlib.commands.push import push
from buildlib.commands.session import Edge
from buildlib.config.publish import parse_publish
from buildlib.config.tables import Registry
from buildlib.errors import GateError, InputError
from buildlib.git.facts import Changes
from buildlib.image.archive import Archive, open_archive
from buildlib.publish.attestations import SPDX, Predicate, predicates_of, write_attested
from buildlib.publish.dry_run import as_dict, as_script
from buildlib.publish.plan import Target, make_publish_plan
from buildlib.publish.receipt import GateRecord, Receipt, new_receipt
from buildlib.publish.report import as_text
from buildlib.publish.signing import ReleaseSigner, signing_problems
from buildlib.publish.tagger import conflicts
from buildlib.registry.repository import Document, Repository
from buildlib.registry.transfer import documents_of, manifests_of
from buildlib.registry.transport import Transport
from buildlib.reproduce.diff import compare
from buildlib.versioning.preconditions import Mode

from fakes import PINNED, FakeExecutor, a_console, a_project, git_facts, write_project

V02 = "https://slsa.dev/provenance/v0.2"
V1 = "https://slsa.dev/provenance/v1"
ARM = ("linux", "arm64", "v8")
UUID = "0f2d7c0e-7d0e-4d8c-9b1e-5a4f3c2b1a0{}"


def _archive(path: Path, *platforms: tuple[str, ...]) -> Path:
    """Write an image of these platforms, in an index where there are several."""
    writer = OciWriter()
    layer = writer.layer({"a": b"1"})
    made = "2024-05-06T07:08:09.5Z"
    images: list[dict[str, object]] = [
        writer.image([layer], platform=one, created=made)
        | {"platform": {"os": one[0], "architecture": one[1]}}
        for one in platforms
    ]
    one = {key: value for key, value in images[0].items() if key != "platform"}
    return writer.write(path, writer.index(*images) if len(images) > 1 else one)


def _sbom(digest: str, run: int = 0, **more: object) -> Predicate:
    """Return an SBOM as the `run`th run of syft writes it."""
    content = {
        "spdxVersion": "SPDX-2.3",
        "documentNamespace": f"https://anchore.com/syft/image/thing-{UUID.format(run)}",
        "creationInfo": {"creators": ["Tool: syft-1"], "created": f"2026-01-01T00:00:0{run}Z"},
        **more,
    }
    return Predicate(digest, SPDX, content)


def _provenance(digest: str, kind: str, run: int = 0) -> Predicate:
    """Return provenance as the `run`th run of a build has it."""
    if kind == V1:
        names = ("invocationId", "startedOn", "finishedOn")
        details = {"builder": {"id": ""}, "metadata": dict.fromkeys(names, str(run))}
        return Predicate(digest, kind, {"buildDefinition": {}, "runDetails": details})
    names = ("buildInvocationID", "buildStartedOn", "buildFinishedOn")
    return Predicate(digest, kind, {"buildType": "x", "metadata": dict.fromkeys(names, str(run))})


def _all(archive: Archive, kind: str = V1, run: int = 0) -> list[Predicate]:
    digests = [image.digest for image in archive.images()]
    return [_sbom(one, run) for one in digests] + [_provenance(one, kind, run) for one in digests]


def _read(archive: Archive, entry: Mapping[str, Any]) -> dict[str, Any]:
    archive.check_blob(entry["digest"], entry["size"])
    with archive.open_blob(entry["digest"]) as stream:
        found: dict[str, Any] = json.load(stream)
    return found


@pytest.mark.parametrize("kind", [V02, V1])
def test_the_index_has_the_form_that_docker_s_tools_read(tmp_path: Path, kind: str) -> None:
    with open_archive(_archive(tmp_path / "a.tar", ("linux", "amd64"), ARM)) as archive:
        built = json.loads(archive.bytes_of(archive.top()))["manifests"]
        digest = write_attested(archive, tmp_path / "b.tar", _all(archive, kind))
        images = archive.images()
    with open_archive(tmp_path / "b.tar") as attested:
        attested.verify()
        assert attested.top() == digest
        assert [one.digest for one in attested.images()] == [one.digest for one in images]
        index = json.loads(attested.bytes_of(digest))
        # After all the images, and these as they were.
        assert index["manifests"][:2] == built
        for entry, image in zip(index["manifests"][2:], built, strict=True):
            assert entry["platform"] == {"os": "unknown", "architecture": "unknown"}
            assert entry["annotations"] == {
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": image["digest"],
            }
            manifest = _read(attested, entry)
            assert manifest["artifactType"] == "application/vnd.docker.attestation.manifest.v1+json"
            assert manifest["subject"] == {
                "mediaType": MANIFEST,
                "digest": image["digest"],
                "size": image["size"],
            }
            assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
            assert _read(attested, manifest["config"]) == {}
            layers = manifest["layers"]
            kinds = [one["annotations"]["in-toto.io/predicate-type"] for one in layers]
            assert kinds == [SPDX, kind]
            for layer in layers:
                statement = _read(attested, layer)
                assert layer["mediaType"] == "application/vnd.in-toto+json"
                assert statement["_type"] == "https://in-toto.io/Statement/v1"
                assert statement["predicateType"] in kinds
                said = {"sha256": image["digest"].removeprefix("sha256:")}
                assert [one["digest"] for one in statement["subject"]] == [said]
        documents = documents_of(attested, digest)
    # What is pushed: images and attestations before the index, and only the former are images.
    assert list(documents)[-1] == digest
    assert len(documents) == 5
    assert list(manifests_of(documents[digest])) == [one["digest"] for one in built]


def test_the_same_image_by_the_same_tools_has_the_same_digest_again(tmp_path: Path) -> None:
    path = _archive(tmp_path / "a.tar", ("linux", "amd64"), ARM)
    for kind in (V02, V1):
        with open_archive(path) as archive:
            digests = {
                write_attested(archive, tmp_path / "b.tar", _all(archive, kind, run))
                for run in (1, 2)
            }
            assert len(digests) == 1
            first, *rest = _all(archive, kind)
            other = [_sbom(first.about, packages=["another"]), *rest]
            assert write_attested(archive, tmp_path / "b.tar", other) not in digests
            assert write_attested(archive, tmp_path / "b.tar", rest) not in digests


def test_an_sbom_has_the_time_of_its_image_and_a_name_of_its_own(tmp_path: Path) -> None:
    with open_archive(_archive(tmp_path / "a.tar", ("linux", "amd64"))) as archive:
        (image,) = archive.images()
        write_attested(archive, tmp_path / "b.tar", [_sbom(image.digest)])
    with open_archive(tmp_path / "b.tar") as attested:
        index = json.loads(attested.bytes_of(attested.top()))
        (layer,) = _read(attested, index["manifests"][1])["layers"]
        said = _read(attested, layer)["predicate"]
    assert said["creationInfo"] == {
        "creators": ["Tool: syft-1"],
        "created": "2024-05-06T07:08:09Z",
    }
    assert said["documentNamespace"].startswith("https://anchore.com/syft/image/thing-")
    assert UUID.format(0) not in said["documentNamespace"]


def test_an_image_of_one_platform_gets_an_index(tmp_path: Path) -> None:
    with open_archive(_archive(tmp_path / "a.tar", ARM)) as archive:
        (image,) = archive.images()
        assert archive.top() == image.digest
        top = write_attested(archive, tmp_path / "b.tar", [_sbom(image.digest)])
    with open_archive(tmp_path / "b.tar") as attested:
        index = json.loads(attested.bytes_of(top))
        assert index["manifests"][0]["platform"] == {
            "os": "linux",
            "architecture": "arm64",
            "variant": "v8",
        }
        assert [one.digest for one in attested.images()] == [image.digest]


def test_a_copy_that_can_not_be_made_leaves_nothing(tmp_path: Path) -> None:
    path = _archive(tmp_path / "a.tar", ("linux", "amd64"))
    data = bytearray(path.read_bytes())
    # A layer's own bytes: what is copied is compared with its digest.
    at = data.index(b"\x1f\x8b")
    data[at + 12] ^= 1
    path.write_bytes(data)
    with open_archive(path) as archive:
        (image,) = archive.images()
        with pytest.raises(InputError, match="has the bytes of"):
            write_attested(archive, tmp_path / "b.tar", [_sbom(image.digest)])
    assert [one.name for one in tmp_path.iterdir()] == ["a.tar"]


def test_without_anything_to_say_it_is_the_same_image(tmp_path: Path) -> None:
    path = _archive(tmp_path / "a.tar", ("linux", "amd64"), ARM)
    with open_archive(path) as archive:
        about = _sbom("sha256:" + "0" * 64)
        assert write_attested(archive, tmp_path / "b.tar", [about]) == archive.top()
    with open_archive(path) as archive, open_archive(tmp_path / "b.tar") as copy:
        assert compare(archive, copy) == ()


def test_only_the_index_differs_from_what_was_built(tmp_path: Path) -> None:
    path = _archive(tmp_path / "a.tar", ("linux", "amd64"), ARM)
    with open_archive(path) as archive:
        write_attested(archive, tmp_path / "b.tar", _all(archive))
    with open_archive(path) as archive, open_archive(tmp_path / "b.tar") as attested:
        found = compare(archive, attested)
    assert {(one.part, one.item) for one in found} == {
        ("index", "manifests[2]"),
        ("index", "manifests[3]"),
    }


CONFIG = """\
image = "thing"
platforms = ["linux/amd64"]
[publish]
attestations = "{}"
[sign]
key = "awskms://alias/mine"
[verify]
key = "cosign.pub"
[registries.one]
repository = "one.example/thing"
"""


def _planned(root: Path, where: str) -> tuple[ReleaseSigner, Receipt, Any]:
    project = a_project(write_project(root, CONFIG.format(where)), git=git_facts(root=root))
    registries = project.config.registries
    plan = make_publish_plan(
        project, PINNED, Changes(), registries, mode=Mode.RELEASE, in_registry={}
    )
    receipt = new_receipt(project.config, plan, started="")
    return ReleaseSigner(project, plan, FakeExecutor(), a_console()[0], {}), receipt, plan


def _made(root: Path, receipt: Receipt) -> None:
    """Note an SBOM and provenance that lie in the project."""
    about = "sha256:" + "a" * 64
    (root / "dist").mkdir()
    files = []
    for end, content in {
        "spdx.json": {
            "relationships": [{"relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-1"}],
            "packages": [{"SPDXID": "SPDXRef-1", "versionInfo": about}],
        },
        "cdx.json": {"bomFormat": "CycloneDX", "metadata": {"component": {"version": about}}},
        "buildkit.json": {"buildType": "x"},
    }.items():
        files.append(f"dist/thing.{end}")
        (root / files[-1]).write_text(json.dumps(content), encoding="utf-8")
    *sboms, own = files
    listed = {"platform": "linux/amd64", "digest": about, "packages": 1, "files": sboms}
    receipt.digest, receipt.platforms = about, {"linux/amd64": about}
    receipt.gates = [GateRecord(gate="sbom", state="passed", figures={"sboms": [listed]})]
    receipt.provenance = [
        {"platform": "linux/amd64", "digest": about, "file": own, "type": "slsaprovenance02"}
    ]


@pytest.mark.parametrize(
    ("where", "beside"),
    [
        ("beside", ["spdxjson", "cyclonedx", "slsaprovenance02", "slsaprovenance1"]),
        ("both", ["spdxjson", "cyclonedx", "slsaprovenance02", "slsaprovenance1"]),
        ("index", ["slsaprovenance1"]),
    ],
)
def test_what_is_signed_beside_the_image(tmp_path: Path, where: str, beside: list[str]) -> None:
    signer, receipt, plan = _planned(tmp_path, where)
    _made(tmp_path, receipt)
    said = signer._attestations(plan.targets[0], receipt, tmp_path)
    assert [kind for _, _, kind in said] == beside
    found = list(predicates_of(receipt, tmp_path))
    assert [one.kind for one in found] == [SPDX, V02]
    assert {one.about for one in found} == {receipt.digest}


def test_an_sbom_of_another_image_goes_into_no_index(tmp_path: Path) -> None:
    _, receipt, _ = _planned(tmp_path, "index")
    _made(tmp_path, receipt)
    receipt.gates[0].figures["sboms"][0]["digest"] = "sha256:" + "b" * 64
    with pytest.raises(InputError, match="is about another image"):
        list(predicates_of(receipt, tmp_path))


def test_the_dry_run_says_that_another_digest_is_published(tmp_path: Path) -> None:
    _, _, plan = _planned(tmp_path, "index")
    script = as_script(plan, tmp_path)
    own, attested = "dist/thing-1.2.3.oci.tar", "dist/thing-1.2.3.attested.oci.tar"
    assert f"invoke docker-sbom --image {own} --index {attested}\n" in script
    assert "the index gets its attestations, and another digest; the images keep theirs" in script
    assert f"DIGEST=$(invoke docker-push --image {attested} --registry one)" in script
    told = as_dict(plan, tmp_path)
    assert (told["attestations"], told["archive"], told["pushed"]) == ("index", own, attested)
    told = as_dict(replace(plan, attestations="beside"), tmp_path)
    assert (told["attestations"], told["archive"], told["pushed"]) == ("beside", own, own)


def test_by_hand_there_is_nothing_for_the_index_without_an_sbom(tmp_path: Path) -> None:
    _, _, plan = _planned(tmp_path, "index")
    script = as_script(replace(plan, gates=("size",)), tmp_path)
    assert "docker-push --image dist/thing-1.2.3.oci.tar " in script


@pytest.mark.parametrize(
    ("where", "name"),
    [("beside", "thing-1.2.3.oci.tar"), ("both", "thing-1.2.3.attested.oci.tar")],
)
def test_what_a_push_takes_by_itself_is_what_is_published(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    name: str,
) -> None:
    project = a_project(write_project(tmp_path, CONFIG.format(where)))
    monkeypatch.setattr(Edge, "project", lambda _: project)
    run = Edge(tmp_path, {}, dry=True, quiet=False)
    (tmp_path / "dist").mkdir()
    for end in ("oci.tar", "attested.oci.tar"):
        (tmp_path / f"dist/thing-1.2.3.{end}").touch()
    push(run, "", (), as_json=False)
    assert f"dist/{name} --registry one" in capsys.readouterr().out
    (tmp_path / "dist" / name).unlink()
    with pytest.raises(InputError, match=r"there is no archive of 1\.2\.3") as caught:
        push(run, "", (), as_json=False)
    assert ("docker-sbom" in caught.value.hint) == (where == "both")


def test_the_report_has_both_digests_where_they_differ(tmp_path: Path) -> None:
    _, receipt, _ = _planned(tmp_path, "index")
    receipt.digest = "sha256:1"
    for built in ("", "sha256:1"):
        receipt.built = built
        assert "as built" not in as_text(receipt)
    receipt.digest = "sha256:2"
    text = as_text(receipt)
    assert "sha256:2" in text
    assert "sha256:1, without attestations" in text
    assert {receipt.as_dict()[name] for name in ("digest", "built")} == {"sha256:1", "sha256:2"}


def test_an_attestation_that_is_to_be_verified_is_signed_on_its_own(tmp_path: Path) -> None:
    wanted = 'key = "cosign.pub"\nattestations = ["spdxjson", "slsaprovenance02"]\n'
    for where, refused in (("index", True), ("both", False), ("beside", False)):
        text = CONFIG.format(where).replace('key = "cosign.pub"\n', wanted)
        config = a_project(write_project(tmp_path, text)).config
        said = [problem.what for problem in signing_problems(config, ("sbom",))]
        what = "verify wants slsaprovenance02 and spdxjson, which would be in the index alone"
        assert said == ([what] if refused else [])


def test_where_attestations_go_is_one_of_three() -> None:
    assert parse_publish({}).attestations == "beside"
    assert parse_publish({"attestations": "both"}).attestations == "both"
    with pytest.raises(InputError, match=r"publish\.attestations is one of beside, index, both"):
        parse_publish({"attestations": "indexed"})
    nothing = {"attestations": "index", "gates": ["size"], "provenance": False}
    with pytest.raises(InputError, match="there is nothing to put there"):
        parse_publish(nothing)
    assert parse_publish({**nothing, "attestations": "beside"}).gates == ("size",)


def test_the_same_images_are_no_conflict_until_the_index_is_final() -> None:
    with small_registry() as registry:
        image, other = registry.image("linux/amd64"), registry.image("linux/arm64")
        held = registry.index(image)
        registry.tags["1.2.3"] = held
        host = registry.name.partition("/")[0]
        repositories = {"one": Repository(Transport(host, None), PATH)}
        there = Registry(name="one", repository=registry.name)
        targets = [Target(registry=there, tags=("1.2.3",))]
        built = Document(b"{}", "").digest

        def told(*images: str, final: bool) -> list[str]:
            found = conflicts(targets, repositories, built, images, final=final)
            assert all(isinstance(one, GateError) for one in found)
            return [one.why for one in found]

        assert told(image, final=False) == []
        assert told(other, final=False) == [f"{held}, and this is {built}"]
        assert told(image, final=True) == [
            f"{held}, and this is {built}: the same images, with other attestations"
        ]
        assert told(final=True) == [f"{held}, and this is {built}"]
