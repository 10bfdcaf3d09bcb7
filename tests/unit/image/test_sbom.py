"""Bills of materials, over a syft that answers as told."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from ociwriter import ELF, OciWriter

from buildlib.errors import GateError, InputError, ToolError
from buildlib.executor import Completed
from buildlib.image.archive import open_archive
from buildlib.image.sbom import SbomReport, make_sboms

from fakes import FakeExecutor, words_after

PROGRAM = {"usr/bin/thing": ELF}


class Syft(FakeExecutor):
    """Writes a list of packages to each file that it is told, and reads what it is given."""

    def __init__(self, packages: int = 2, code: int = 0) -> None:
        super().__init__()
        self.packages, self.code = packages, code
        self.read: list[str] = []

    def _answer(self, argv: Sequence[str]) -> Completed:
        self.asked.append(tuple(argv))
        source = next(word for word in argv if word.startswith("oci-archive:"))
        with open_archive(Path(source.partition(":")[2])) as archive:
            (image,) = archive.images()
            assert archive.top() == image.digest
            self.read.append(image.platform)
        for word in argv if self.packages else ():
            kind, equals, path = word.partition("=")
            if equals and "-json@" in kind:
                listed: dict[str, list[object]] = {"packages": [{}] * self.packages}
                Path(path).write_text(json.dumps(listed), encoding="utf-8")
        return Completed(code=self.code, stderr="no good")


def _report(
    root: Path,
    syft: Syft,
    folder: Path | None = None,
    *,
    files: Mapping[str, bytes] = PROGRAM,
    allow_unknown: bool = False,
) -> SbomReport:
    writer = OciWriter()
    layer = writer.layer(files)
    other = writer.image([layer], platform=("linux", "arm", "v7"))
    path = writer.write(root / "i.tar", writer.index(writer.image([layer]), other))
    with open_archive(path) as archive:
        out = folder or root / "out"
        return make_sboms(archive, "thing", out, syft, allow_unknown=allow_unknown)


def test_every_platform_has_its_sbom_in_both_formats(tmp_path: Path) -> None:
    syft = Syft()
    report = _report(tmp_path, syft)
    one, other = report.sboms
    # Each is given an archive of its own, in which nothing but its platform is.
    assert syft.read == ["linux/amd64", "linux/arm/v7"]
    assert (one.platform, one.packages) == ("linux/amd64", 1)
    names = [Path(path).name for path in (*one.files, *other.files)]
    assert names == [
        "thing-linux-amd64.spdx.json",
        "thing-linux-amd64.cdx.json",
        "thing-linux-arm-v7.spdx.json",
        "thing-linux-arm-v7.cdx.json",
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    argv = syft.asked[0]
    assert argv[:4] == ("env", "SYFT_CHECK_FOR_APP_UPDATE=false", "syft", "scan")
    assert argv[argv.index("--source-version") + 1] == one.digest
    # The newest syft writes CycloneDX 1.7, unless told otherwise.
    kinds = [word.partition("=")[0] for word in words_after(argv, "--output")]
    assert kinds == ["spdx-json@2.3", "cyclonedx-json@1.6"]
    assert report.as_text().splitlines()[0].startswith("linux/amd64   1 package  ")


FAULTS = {
    "syft is not here": (Syft(code=127), ToolError, "syft not found"),
    "syft can not read it": (Syft(code=1), GateError, "can't read the image for linux/amd64"),
    "syft writes nothing": (Syft(packages=0), GateError, "wrote no SBOM for linux/amd64"),
    "syft lists nothing of a program": (
        Syft(packages=1),
        GateError,
        "syft sees no package in the image for linux/amd64: nothing is known",
    ),
}


@pytest.mark.parametrize(("syft", "kind", "message"), FAULTS.values(), ids=FAULTS)
def test_without_an_sbom_nothing_has_passed(
    tmp_path: Path, syft: Syft, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        _report(tmp_path, syft)


@pytest.mark.parametrize(
    ("files", "allowed"),
    [({"bin/run": b"#!/bin/sh\n"}, False), (PROGRAM, True)],
    ids=["files", "programs that may be unknown"],
)
def test_an_image_without_a_package_has_an_empty_sbom(
    tmp_path: Path, files: Mapping[str, bytes], *, allowed: bool
) -> None:
    report = _report(tmp_path, Syft(packages=1), files=files, allow_unknown=allowed)
    assert [one.packages for one in report.sboms] == [0, 0]
    assert all(Path(file).is_file() for one in report.sboms for file in one.files)
    assert report.warnings() == tuple(
        f"syft sees no package in the image for {platform}: its SBOM is empty"
        for platform in ("linux/amd64", "linux/arm/v7")
    )


def test_a_folder_that_can_not_be_made_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="can't write to"):
        _report(tmp_path, Syft(), tmp_path / "file" / "out")
