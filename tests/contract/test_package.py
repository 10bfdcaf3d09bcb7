"""What other repositories get: a wheel that holds buildlib whole, typed, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

CONFIGURATIONS = {"buildlib/sign/no-services.json", "buildlib/sign/no-roots.json"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_every_module_and_the_mark_of_types(wheel: zipfile.ZipFile) -> None:
    package = {p.relative_to(ROOT).as_posix() for p in (ROOT / "buildlib").rglob("*.py")}
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == package | {"buildlib/py.typed", *CONFIGURATIONS}


def test_the_wheel_names_licence_and_python(wheel: zipfile.ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith("METADATA")]
    metadata = wheel.read(name).decode()
    assert "License-Expression: MIT" in metadata
    assert "Requires-Python: >=3.11" in metadata
    for library in ("gitpython", "invoke", "plumbum", "semver"):
        assert f"Requires-Dist: {library}" in metadata


def test_the_wheel_serves_a_repository_that_is_not_this_one(
    wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    wheel.extractall(tmp_path / "site")
    project = tmp_path / "theirs"
    project.mkdir()
    (project / "buildlib.toml").write_text('image = "theirs"\n', encoding="utf-8")
    (project / "tasks.py").write_text(
        "from buildlib.tasks import collection\nnamespace = collection()\n", encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "version"],
        cwd=project,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "0.0.1-SNAPSHOT-none\n"


def test_no_requirement_has_an_address() -> None:
    for path in (ROOT / "requirements").iterdir():
        text = path.read_text(encoding="utf-8")
        assert "://" not in text
        assert "--index-url" not in text
    pinned = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
    blocks = [block for block in pinned.replace("\\\n", " ").splitlines() if block.strip()]
    assert len(blocks) > 20
    assert all("--hash=sha256:" in block for block in blocks)
