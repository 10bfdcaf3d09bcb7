"""What a receipt remembers, and what of it still holds."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildlib.errors import InputError
from buildlib.image.sbom import made_by, subject_of
from buildlib.publish.receipt import (
    SBOM_FILES,
    GateRecord,
    Receipt,
    TargetRecord,
    find_receipt,
    find_sboms,
    keep_receipt,
    read_receipt,
    sboms_are_there,
    write_receipt,
)

OWN, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
PLATFORMS = {"linux/amd64": OWN}


def _spdx(digest: str) -> object:
    """Return an SBOM as syft writes it, cut down to what says which image it is about."""
    root = "SPDXRef-DocumentRoot-Image-thing"
    return {
        "spdxVersion": "SPDX-2.3",
        "packages": [
            {"SPDXID": "SPDXRef-Package-npm-x", "versionInfo": "1.2.3"},
            {"SPDXID": root, "versionInfo": digest},
        ],
        "relationships": [
            {
                "spdxElementId": root,
                "relatedSpdxElement": "SPDXRef-Package-npm-x",
                "relationshipType": "CONTAINS",
            },
            {
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relatedSpdxElement": root,
                "relationshipType": "DESCRIBES",
            },
        ],
    }


def _cyclonedx(digest: str) -> object:
    component = {"type": "container", "name": "thing", "version": digest}
    return {"bomFormat": "CycloneDX", "metadata": {"component": component}}


MAKERS: dict[str, Callable[[str], object]] = {"spdxjson": _spdx, "cyclonedx": _cyclonedx}


def _written(folder: Path, kind: str, content: object) -> Path:
    path = folder / f"thing-linux-amd64.{SBOM_FILES[kind]}"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", MAKERS)
def test_an_sbom_says_which_image_it_is_about(tmp_path: Path, kind: str) -> None:
    assert subject_of(_written(tmp_path, kind, MAKERS[kind](OWN))) == OWN


@pytest.mark.parametrize(
    "content", [[], {}, {"bomFormat": "CycloneDX"}, {"relationships": [], "packages": [{}]}]
)
def test_what_says_nothing_is_about_nothing(tmp_path: Path, content: object) -> None:
    assert subject_of(_written(tmp_path, "spdxjson", content)) == ""
    assert subject_of(tmp_path / "none") == ""


@pytest.mark.parametrize("wrong", MAKERS)
def test_the_sboms_of_another_release_are_not_this_ones(tmp_path: Path, wrong: str) -> None:
    files = [str(_written(tmp_path, kind, make(OWN))) for kind, make in MAKERS.items()]
    (found,) = find_sboms(tmp_path, "thing", PLATFORMS)
    assert found == {"platform": "linux/amd64", "digest": OWN, "packages": 0, "files": files}
    receipt = Receipt(image="", version="", revision="", mode="", archive="")
    assert not sboms_are_there(receipt, tmp_path)
    receipt.gates = [GateRecord(gate="sbom", state="passed", figures={"sboms": [found]})]
    assert sboms_are_there(receipt, tmp_path)
    _written(tmp_path, wrong, MAKERS[wrong](OTHER))
    assert not sboms_are_there(receipt, tmp_path)
    with pytest.raises(InputError, match="is about another image") as caught:
        find_sboms(tmp_path, "thing", PLATFORMS)
    assert OTHER in str(caught.value)
    assert "docker-sbom" in str(caught.value)


def test_an_sbom_that_is_gone_is_not_there(tmp_path: Path) -> None:
    assert find_sboms(tmp_path, "thing", PLATFORMS) == []
    path = _written(tmp_path, "spdxjson", _spdx(OWN))
    (found,) = find_sboms(tmp_path, "thing", PLATFORMS)
    receipt = Receipt(image="", version="", revision="", mode="", archive="")
    receipt.gates = [GateRecord(gate="sbom", state="passed", figures={"sboms": [found]})]
    path.unlink()
    assert not sboms_are_there(receipt, tmp_path)


def test_an_sbom_says_what_made_it(tmp_path: Path) -> None:
    creators = ["Organization: Anchore, Inc", "Tool: syft-1.18.1"]
    path = _written(tmp_path, "spdxjson", {"creationInfo": {"creators": creators}})
    assert made_by(path) == "syft 1.18.1"
    unknown: list[object] = [{"creationInfo": {"creators": creators[:1]}}, {"creationInfo": 0}, []]
    for content in unknown:
        assert made_by(_written(tmp_path, "spdxjson", content)) == ""


def _whole() -> dict[str, Any]:
    """Return a receipt as it lies on disk, of a publication that is done."""
    sbom = {"platform": "linux/amd64", "digest": OWN, "packages": 1, "files": ["a.spdx.json"]}
    kept = {"platform": "linux/amd64", "digest": OWN, "file": "p.json", "type": "slsaprovenance1"}
    receipt = Receipt(
        image="thing",
        version="1.2.3",
        revision="0" * 40,
        mode="release",
        archive="dist/thing-1.2.3.oci.tar",
        gates=[GateRecord(gate="sbom", state="passed", figures={"sboms": [sbom]})],
        provenance=[kept],
        targets={"one": TargetRecord(repository="one.example/thing")},
        tools={"docker": "28"},
    )
    receipt.targets["one"].tags["1.2.3"] = {"digest": OWN, "before": ""}
    return receipt.as_dict()


def test_a_receipt_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(_whole()), encoding="utf-8")
    receipt = read_receipt(path)
    assert receipt
    assert receipt.as_dict() == _whole()
    # What a later version adds is nothing to this one.
    path.write_text(json.dumps(_whole() | {"weather": "fine"}), encoding="utf-8")
    assert read_receipt(path) == receipt
    # Nor does it need what an earlier version did not write.
    earlier = _whole()
    del earlier["targets"]["one"]["under_way"]
    path.write_text(json.dumps(earlier), encoding="utf-8")
    assert read_receipt(path) == receipt


def _gate(**changes: object) -> dict[str, Any]:
    return {"gates": [_whole()["gates"][0] | changes]}


def _sbom(**changes: object) -> dict[str, Any]:
    return _gate(figures={"sboms": [_whole()["gates"][0]["figures"]["sboms"][0] | changes]})


def _target(**changes: object) -> dict[str, Any]:
    return {"targets": {"one": _whole()["targets"]["one"] | changes}}


NO_RECEIPTS: dict[str, object] = {
    "a list": [],
    "null": None,
    "a version that is a number": {"version": 1},
    "provenance that is null": {"provenance": None},
    "provenance without a file": {"provenance": [{"platform": "linux/amd64"}]},
    "provenance of another type": {
        "provenance": [{"platform": "linux/amd64", "digest": "x", "file": "x", "type": "x"}]
    },
    "tools that are null": {"tools": None},
    "tools that are a list": {"tools": []},
    "gates that are null": {"gates": None},
    "a gate without a state": {"gates": [{"gate": "scan"}]},
    "figures that are null": _gate(figures=None),
    "SBOMs that are null": _gate(figures={"sboms": None}),
    "SBOMs that are a table": _gate(figures={"sboms": {}}),
    "SBOMs that are a text": _gate(figures={"sboms": ""}),
    "an SBOM without files": _gate(figures={"sboms": [{"digest": OWN}]}),
    "an SBOM of a kind that nobody knows": _sbom(files=["a.pdf"]),
    "an SBOM whose files are a text": _sbom(files="a.spdx.json"),
    "a registry that is a text": {"targets": {"one": "x"}},
    "tags that are a list": _target(tags=["1.2.3"]),
    "a tag without what it was before": _target(tags={"1.2.3": {"digest": OWN}}),
    "tags under way as a list": _target(under_way=["latest"]),
    "a registry's retries as a text": _target(retries="3"),
}


@pytest.mark.parametrize("found", NO_RECEIPTS.values(), ids=NO_RECEIPTS)
def test_what_is_no_receipt_is_told(tmp_path: Path, found: object) -> None:
    path = tmp_path / "receipt.json"
    content = _whole() | found if isinstance(found, dict) else found
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match="is not a receipt") as caught:
        read_receipt(path)
    assert "run without --resume" in str(caught.value)


# --- one for each version ---------------------------------------------------------------------


def _receipt(version: str = "1.2.3", **changes: object) -> Receipt:
    fields: dict[str, Any] = {"image": "thing", "version": version, "revision": "0" * 40}
    return Receipt(**{**fields, "mode": "release", "archive": "", **changes})


def _targets(*, pushed: int = 0, tags: int = 0) -> dict[str, TargetRecord]:
    """Return registries, some of which hold the image, and the first of them some tags."""
    found = {}
    for number, name in enumerate(("one", "two")):
        record = TargetRecord(repository=f"{name}.example/thing")
        record.digest = OWN if number < pushed else ""
        given = tags if number == 0 else 0
        record.tags = {f"t{n}": {"digest": OWN, "before": ""} for n in range(given)}
        found[name] = record
    return found


GATES = [GateRecord(gate="scan", state="passed")]
DONE = _receipt(digest=OWN, gates=GATES, targets=_targets(pushed=2, tags=3), finished=True)
HALF = _receipt(digest=OWN, gates=GATES, targets=_targets(pushed=1))
BUILT = _receipt(digest=OWN)
# What an attempt knows, what was kept before it, and whether it takes the place of that.
ATTEMPTS: dict[str, tuple[Receipt, Receipt, bool]] = {
    "nothing after a finished one": (_receipt(), DONE, False),
    "a build after a finished one": (BUILT, DONE, False),
    "as much as a finished one": (dataclasses.replace(DONE, finished=False), DONE, False),
    "one more registry": (
        dataclasses.replace(DONE, targets=_targets(pushed=2, tags=4), finished=False), DONE, True,
    ),
    "finished once more": (DONE, DONE, True),
    "another image after one with tags": (
        _receipt(digest=OTHER, gates=GATES * 9, targets=_targets(pushed=2, tags=3)), DONE, False,
    ),
    "another image that is finished": (dataclasses.replace(DONE, digest=OTHER), DONE, True),
    "nothing after half of one": (_receipt(), HALF, False),
    "a build after half of one": (BUILT, HALF, False),
    "the same half": (HALF, HALF, True),
    "more than half": (dataclasses.replace(HALF, targets=_targets(pushed=2)), HALF, True),
    "a build after nothing": (BUILT, _receipt(), True),
    "another build after a build": (_receipt(digest=OTHER), BUILT, True),
    "nothing after nothing": (_receipt(), _receipt(), True),
}  # fmt: skip


@pytest.mark.parametrize(("new", "kept", "replaces"), ATTEMPTS.values(), ids=ATTEMPTS)
def test_a_receipt_is_not_replaced_by_one_that_knows_less(
    tmp_path: Path, new: Receipt, kept: Receipt, *, replaces: bool
) -> None:
    write_receipt(tmp_path / "receipt.json", kept)
    keep_receipt(tmp_path, new, kept)
    assert find_receipt(tmp_path, "1.2.3") == (new if replaces else kept)
    assert [path.name for path in tmp_path.iterdir()] == ["receipt.json"]


@pytest.mark.parametrize("last", [True, False])
def test_a_receipt_that_stays_knows_the_claims_of_the_attempt(
    tmp_path: Path, *, last: bool
) -> None:
    name = "receipt.json" if last else "receipt-1.2.3.json"
    write_receipt(tmp_path / name, DONE)
    attempt = dataclasses.replace(DONE, finished=False, targets=copy.deepcopy(DONE.targets))
    attempt.targets["one"].claim, attempt.targets["one"].earlier_claims = "mine", ["before"]
    attempt.targets["one"].under_way = {"latest": "sha256:1"}
    attempt.targets["new"] = TargetRecord(repository="new.example/thing", claim="other")
    keep_receipt(tmp_path, attempt, DONE)
    found = find_receipt(tmp_path, "1.2.3")
    assert found
    assert found.finished
    assert {one: target.claim for one, target in found.targets.items()} == {
        "one": "mine",
        "two": "",
    }
    assert found.targets["one"].earlier_claims == ["before"]
    assert found.targets["one"].under_way == {"latest": "sha256:1"}
    attempt.targets["one"].earlier_claims.append("mine")
    attempt.targets["one"].claim = "the next"
    keep_receipt(tmp_path, attempt, DONE)
    found = find_receipt(tmp_path, "1.2.3")
    assert found
    assert found.targets["one"].earlier_claims == ["before", "mine"]
    attempt.targets["one"] = copy.deepcopy(DONE.targets["one"])
    keep_receipt(tmp_path, attempt, DONE)
    assert find_receipt(tmp_path, "1.2.3") == DONE
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_each_version_has_its_own(tmp_path: Path) -> None:
    write_receipt(tmp_path / "receipt.json", DONE)
    # One that ends before there is an image leaves even the last one's name alone.
    keep_receipt(tmp_path, _receipt("1.3.0"), None)
    assert json.loads((tmp_path / "receipt.json").read_text("utf-8"))["version"] == "1.2.3"
    assert find_receipt(tmp_path, "1.3.0") is None
    later = _receipt("1.3.0", digest=OTHER)
    keep_receipt(tmp_path, later, None)
    assert json.loads((tmp_path / "receipt.json").read_text("utf-8"))["version"] == "1.3.0"
    assert (find_receipt(tmp_path, "1.2.3"), find_receipt(tmp_path, "1.3.0")) == (DONE, later)
    assert {path.name for path in tmp_path.iterdir()} == {"receipt.json", "receipt-1.2.3.json"}
    # And back: an attempt at the older one that does nothing changes nothing.
    keep_receipt(tmp_path, _receipt(), DONE)
    assert (find_receipt(tmp_path, "1.2.3"), find_receipt(tmp_path, "1.3.0")) == (DONE, later)
    again = dataclasses.replace(DONE, ended="later")
    keep_receipt(tmp_path, again, DONE)
    assert (find_receipt(tmp_path, "1.2.3"), find_receipt(tmp_path, "1.3.0")) == (again, later)
    assert {path.name for path in tmp_path.iterdir()} == {"receipt.json", "receipt-1.3.0.json"}


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 2, "version": "1.2.3"}', "\0"])
@pytest.mark.parametrize("name", ["receipt.json", "receipt-1.2.3.json"])
def test_a_receipt_that_can_not_be_read_is_kept_as_it_is(
    tmp_path: Path, name: str, content: str
) -> None:
    """It may be of a later version of this program, and know of a release."""
    aside = [tmp_path / f"receipt-unreadable-{number}.json" for number in (1, 2)]
    for there in aside:
        (tmp_path / name).write_text(content, encoding="utf-8")
        keep_receipt(tmp_path, DONE, None)
        keep_receipt(tmp_path, DONE, None)
        assert find_receipt(tmp_path, "1.2.3") == DONE
        assert there.read_text("utf-8") == content
    assert {one.name for one in tmp_path.iterdir()} == {"receipt.json", *(a.name for a in aside)}


def test_a_version_of_another_spelling_is_another_one(tmp_path: Path) -> None:
    keep_receipt(tmp_path, _receipt("1.2.3+a", digest=OWN), None)
    keep_receipt(tmp_path, _receipt("2.0.0", digest=OWN), None)
    assert (tmp_path / "receipt-1.2.3-a.json").is_file()
    assert find_receipt(tmp_path, "1.2.3-a") is None
    found = find_receipt(tmp_path, "1.2.3+a")
    assert found
    assert found.version == "1.2.3+a"


@given(st.lists(st.tuples(st.sampled_from("123"), st.integers(0, 4)), max_size=12))
def test_no_sequence_of_attempts_loses_a_finished_release(attempts: list[tuple[str, int]]) -> None:
    """Each attempt comes as far as its number says, and is written after every step."""
    with TemporaryDirectory() as name:
        folder, finished = Path(name), set()
        for version, steps in attempts:
            kept = find_receipt(folder, version)
            known = copy.deepcopy(kept.targets) if kept else _targets()
            course = [
                _receipt(version, targets=known),
                _receipt(version, digest=OWN, targets=known),
            ]
            course += [_receipt(version, digest=OWN, gates=GATES, targets=known)]
            course += [
                dataclasses.replace(DONE, version=version, finished=end) for end in (False, True)
            ]
            for receipt in course[: steps + 1]:
                keep_receipt(folder, receipt, kept)
            finished |= {version} if steps == len(course) - 1 else set()
            for one in finished:
                found = find_receipt(folder, one)
                assert found
                assert (found.finished, found.digest, found.gates) == (True, OWN, GATES)


def test_tags_are_in_the_order_of_the_plan_however_a_receipt_was_kept() -> None:
    known = {tag: {"digest": "d", "before": ""} for tag in ("0.1", "0.1.3", "more")}
    record = TargetRecord(repository="r", tags=known, wanted=["0.1.3", "0.1", "latest"])
    assert record.given == ("0.1.3", "0.1", "more")
