"""Bills of materials of this repository's own image, by the real syft."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import GOTOOLS, ROOT, Checkout

from buildlib.image.archive import open_archive
from buildlib.image.sbom import made_by, subject_of

# Where syft is not in the cache yet it is compiled, which takes minutes.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]


@pytest.mark.toolchain
def test_the_sbom_of_each_platform_lists_our_program_and_its_library(
    tmp_path: Path, own_archive: Path, syft_path: str
) -> None:
    own, out = Checkout(ROOT, "dockerutilities", {"PATH": syft_path}), tmp_path / "sboms"
    done = own.invoke("docker-sbom", "--image", str(own_archive), "--output", str(out), "--json")
    assert done.returncode == 0, done.stderr
    bills = json.loads(done.stdout)["sboms"]
    with open_archive(own_archive) as opened:
        assert [bill["digest"] for bill in bills] == [one.digest for one in opened.images()]
    version = own.invoke("version").stdout.strip()
    (line,) = re.findall(r"\nARG GO_VERSION=(\S+)", (ROOT / "Dockerfile").read_text("utf-8"))
    for bill in bills:
        assert [subject_of(Path(file)) for file in bill["files"]] == [bill["digest"]] * 2
        spdx, cyclonedx = (json.loads(Path(file).read_text("utf-8")) for file in bill["files"])
        assert spdx["spdxVersion"] == "SPDX-2.3"
        assert (cyclonedx["bomFormat"], cyclonedx["specVersion"]) == ("CycloneDX", "1.6")
        pinned = GOTOOLS.TOOLS["syft"].version.removeprefix("v")
        assert made_by(Path(bill["files"][0])) == f"syft {pinned}"
        packages = {p["name"]: p.get("versionInfo", "") for p in spdx["packages"]}
        assert packages["github.com/smiller333/dockerutilities/app"] == f"v{version}"
        assert packages["stdlib"].startswith(f"go{line}.")
        components = {c["name"] for c in cyclonedx["components"]}
        assert {"stdlib", "github.com/smiller333/dockerutilities/app"} <= components
        assert str(tmp_path) not in json.dumps([spdx, cyclonedx])


def test_without_syft_there_is_no_sbom(tmp_path: Path, own_image: str) -> None:
    for program in ("docker", "git", "env"):
        found = shutil.which(program)
        assert found
        (tmp_path / program).symlink_to(found)
    done = Checkout(ROOT, own_image).invoke(
        "docker-sbom", "--image", own_image, "--output", str(tmp_path / "out"), PATH=str(tmp_path)
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "syft not found" in done.stderr
