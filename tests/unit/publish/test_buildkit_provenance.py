"""BuildKit's own statements about a build that is asked for once more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from ociwriter import OciWriter

from buildlib.errors import CancelledError
from buildlib.executor import Completed
from buildlib.image.archive import open_archive
from buildlib.publish.provenance import write_provenance

from fakes import FakeDocker, FakeExecutor, a_console, a_project, words_after, write_project

SLSA = "https://slsa.dev/provenance/v0.2"
SLSA_1 = "https://slsa.dev/provenance/v1"
SPDX = "https://spdx.dev/Document"


class Buildx(FakeDocker):
    """Builds an archive with the statement about its image in it."""

    def __init__(self, layer: bytes, *kinds: str, artifact: bool = False, code: int = 0) -> None:
        super().__init__(code=code)
        self._layer, self._kinds, self._artifact = layer, kinds or (SLSA,), artifact
        self.archive = b""  # it writes a real one

    def _answer(self, argv: Sequence[str]) -> Completed:
        for output in words_after(argv, "--output"):
            fields = dict(part.partition("=")[::2] for part in output.split(","))
            _archive(Path(fields["dest"]), self._layer, *self._kinds, artifact=self._artifact)
        return super()._answer(argv)


def _archive(path: Path, layer: bytes, *kinds: str, artifact: bool = False) -> str:
    """Write what BuildKit writes; return the digest of the image.

    Args:
        path: of the archive.
        layer: content of the image's only file.
        kinds: predicate types of the statements.
        artifact: the form of BuildKit 0.31 and later; before, an image without a platform.
    """
    writer = OciWriter()
    image = writer.image([writer.layer({"a": layer})])
    attestation = writer.attestation(image, *kinds, artifact=artifact)
    writer.write(path, writer.index(image, attestation))
    return str(image["digest"])


def _written(
    root: Path,
    docker: FakeExecutor,
    digests: Mapping[str, str],
    expected: str = "slsaprovenance02",
) -> tuple[list[str], str]:
    """Return the files that were written, and what was told."""
    console, _, err = a_console()
    project = a_project(write_project(root))
    (root / "dist").mkdir()
    stem = root / "dist/thing-1.2.3"
    found = write_provenance(project, docker, console, stem=stem, platforms=digests)
    assert [one["type"] for one in found] == [expected] * len(found)
    said = [json.loads(Path(one["file"]).read_text("utf-8")) for one in found]
    assert all(one["of"] in {SLSA, SLSA_1} for one in said)
    return [Path(one["file"]).name for one in found], err.getvalue()


@pytest.mark.parametrize("artifact", [False, True], ids=["image", "OCI artifact"])
@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ((SLSA,), "slsaprovenance02"),
        ((SLSA_1,), "slsaprovenance1"),
        ((SLSA_1, SPDX), "slsaprovenance1"),
    ],
    ids=["v0.2", "v1", "v1 and an SBOM"],
)
def test_it_is_written_beside_the_archive(
    tmp_path: Path, kinds: tuple[str, ...], expected: str, *, artifact: bool
) -> None:
    digest = _archive(tmp_path / "known.tar", b"one", *kinds, artifact=artifact)
    docker = Buildx(b"one", *kinds, artifact=artifact)
    names, told = _written(tmp_path, docker, {"linux/amd64": digest}, expected)
    with open_archive(tmp_path / "known.tar") as archive:
        archive.verify()
        assert [one.platform for one in archive.images()] == ["linux/amd64"]
    assert names == ["thing-1.2.3-linux-amd64.buildkit.json"]
    assert "provenance is" not in told


def test_a_build_that_gives_another_image_says_nothing_of_this_one(tmp_path: Path) -> None:
    digest = _archive(tmp_path / "known.tar", b"one")
    names, told = _written(tmp_path, Buildx(b"two"), {"linux/amd64": digest})
    assert names == []
    assert (
        "BuildKit's provenance is about another image, from another build: none for linux/amd64"
        in told
    )


def test_a_form_that_is_not_known_is_told(tmp_path: Path) -> None:
    digest = _archive(tmp_path / "known.tar", b"one")
    docker = Buildx(b"one", "https://slsa.dev/provenance/v9")
    names, told = _written(tmp_path, docker, {"linux/amd64": digest})
    assert names == []
    assert "provenance is in an unknown form: none for linux/amd64" in told


def test_a_driver_without_it_holds_nothing_up(tmp_path: Path) -> None:
    names, told = _written(tmp_path, Buildx(b"one", code=1), {"linux/amd64": "sha256:1"})
    assert names == []
    assert "BuildKit gives no provenance: the build failed" in told


def test_who_interrupts_is_heard(tmp_path: Path) -> None:
    class Interrupted(FakeDocker):
        def _answer(self, argv: Sequence[str]) -> Completed:
            if "build" in argv:
                raise CancelledError("interrupted")
            return super()._answer(argv)

    with pytest.raises(CancelledError):
        _written(tmp_path, Interrupted(), {"linux/amd64": "sha256:1"})
