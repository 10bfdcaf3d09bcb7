"""What a receipt remembers, and what of it still holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from buildlib.errors import InputError
from buildlib.publish.receipt import BILLS, GateRecord, Receipt, bills_are_there, find_bills
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
