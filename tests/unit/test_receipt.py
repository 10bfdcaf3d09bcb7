"""What a receipt remembers, and what of it still holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from buildlib.errors import InputError
from buildlib.publish.receipt import (
    BILLS,
    GateRecord,
    Receipt,
    TargetRecord,
    bills_are_there,
    find_bills,
    read_receipt,
)
from buildlib.sbom import made_by, subject_of

OWN, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
PLATFORMS = {"linux/amd64": OWN}


def _spdx(digest: str) -> object:
    """Return a bill as syft writes it, cut down to what says which image it is about."""
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
    path = folder / f"thing-linux-amd64.{BILLS[kind]}"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", MAKERS)
def test_a_bill_says_which_image_it_is_about(tmp_path: Path, kind: str) -> None:
    assert subject_of(_written(tmp_path, kind, MAKERS[kind](OWN))) == OWN


@pytest.mark.parametrize(
    "content", [[], {}, {"bomFormat": "CycloneDX"}, {"relationships": [], "packages": [{}]}]
)
def test_what_says_nothing_is_about_nothing(tmp_path: Path, content: object) -> None:
    assert subject_of(_written(tmp_path, "spdxjson", content)) == ""
    assert subject_of(tmp_path / "none") == ""


@pytest.mark.parametrize("wrong", MAKERS)
def test_the_bills_of_another_release_are_not_this_ones(tmp_path: Path, wrong: str) -> None:
    files = [str(_written(tmp_path, kind, make(OWN))) for kind, make in MAKERS.items()]
    (found,) = find_bills(tmp_path, "thing", PLATFORMS)
    assert found == {"platform": "linux/amd64", "digest": OWN, "packages": 0, "files": files}
    receipt = Receipt(image="", version="", revision="", mode="", archive="")
    assert not bills_are_there(receipt, tmp_path)
    receipt.gates = [GateRecord(gate="sbom", state="passed", figures={"sboms": [found]})]
    assert bills_are_there(receipt, tmp_path)
    _written(tmp_path, wrong, MAKERS[wrong](OTHER))
    assert not bills_are_there(receipt, tmp_path)
    with pytest.raises(InputError, match="is about another image") as caught:
        find_bills(tmp_path, "thing", PLATFORMS)
    assert OTHER in str(caught.value)
    assert "docker-sbom" in str(caught.value)


def test_a_bill_that_is_gone_is_not_there(tmp_path: Path) -> None:
    assert find_bills(tmp_path, "thing", PLATFORMS) == []
    path = _written(tmp_path, "spdxjson", _spdx(OWN))
    (found,) = find_bills(tmp_path, "thing", PLATFORMS)
    receipt = Receipt(image="", version="", revision="", mode="", archive="")
    receipt.gates = [GateRecord(gate="sbom", state="passed", figures={"sboms": [found]})]
    path.unlink()
    assert not bills_are_there(receipt, tmp_path)


def test_a_bill_says_what_made_it(tmp_path: Path) -> None:
    creators = ["Organization: Anchore, Inc", "Tool: syft-1.18.1"]
    path = _written(tmp_path, "spdxjson", {"creationInfo": {"creators": creators}})
    assert made_by(path) == "syft 1.18.1"
    unknown: list[object] = [{"creationInfo": {"creators": creators[:1]}}, {"creationInfo": 0}, []]
    for content in unknown:
        assert made_by(_written(tmp_path, "spdxjson", content)) == ""


def _whole() -> dict[str, Any]:
    """Return a receipt as it lies on disk, of a publication that is done."""
    bill = {"platform": "linux/amd64", "digest": OWN, "packages": 1, "files": ["a.spdx.json"]}
    kept = {"platform": "linux/amd64", "digest": OWN, "file": "p.json", "type": "slsaprovenance1"}
    receipt = Receipt(
        image="thing",
        version="1.2.3",
        revision="0" * 40,
        mode="release",
        archive="dist/thing-1.2.3.oci.tar",
        gates=[GateRecord(gate="sbom", state="passed", figures={"sboms": [bill]})],
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


def _gate(**changes: object) -> dict[str, Any]:
    return {"gates": [_whole()["gates"][0] | changes]}


def _bill(**changes: object) -> dict[str, Any]:
    return _gate(figures={"sboms": [_whole()["gates"][0]["figures"]["sboms"][0] | changes]})


def _target(**changes: object) -> dict[str, Any]:
    return {"targets": {"one": _whole()["targets"]["one"] | changes}}


NO_RECEIPTS: dict[str, object] = {
    "a list": [],
    "null": None,
    "a version that is a number": {"version": 1},
    "provenance that is null": {"provenance": None},
    "provenance without a file": {"provenance": [{"platform": "linux/amd64"}]},
    "tools that are null": {"tools": None},
    "tools that are a list": {"tools": []},
    "gates that are null": {"gates": None},
    "a gate without a state": {"gates": [{"gate": "scan"}]},
    "figures that are null": _gate(figures=None),
    "bills that are null": _gate(figures={"sboms": None}),
    "a bill without files": _gate(figures={"sboms": [{"digest": OWN}]}),
    "a bill of a kind that nobody knows": _bill(files=["a.pdf"]),
    "a bill whose files are a text": _bill(files="a.spdx.json"),
    "a registry that is a text": {"targets": {"one": "x"}},
    "tags that are a list": _target(tags=["1.2.3"]),
    "a tag without what it was before": _target(tags={"1.2.3": {"digest": OWN}}),
    "a registry's retries as a text": _target(retries="3"),
}


@pytest.mark.parametrize("found", NO_RECEIPTS.values(), ids=NO_RECEIPTS)
def test_what_is_no_receipt_is_told(tmp_path: Path, found: object) -> None:
    path = tmp_path / "receipt.json"
    content = _whole() | found if isinstance(found, dict) else found
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match="is no receipt") as caught:
        read_receipt(path)
    assert "publish without --resume" in str(caught.value)
