"""What other repositories get: a wheel that holds buildlib whole, typed, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from conftest import ROOT
from packaging.metadata import Metadata, RawMetadata, parse_email
from packaging.requirements import Requirement

from buildlib.tasks import collection

# Files beside the modules.
CONFIGURATIONS = {"buildlib/sign/no-services.json", "buildlib/sign/no-roots.json"}
TEMPLATES = {
    f"buildlib/adopt/templates/{name}"
    for name in ("go.Dockerfile", "python.Dockerfile", "node.Dockerfile")
} | {f"buildlib/records/report/templates/report.{ending}" for ending in ("html", "css", "js")}


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
    assert held == package | {"buildlib/py.typed", *CONFIGURATIONS, *TEMPLATES}


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> RawMetadata:
    (name,) = [name for name in wheel.namelist() if name.endswith("METADATA")]
    raw, unknown = parse_email(wheel.read(name))
    assert not unknown
    # What an index refuses is an error here.
    Metadata.from_raw(raw)
    return raw


def test_the_wheel_names_licence_and_python(wheel: zipfile.ZipFile, metadata: RawMetadata) -> None:
    assert metadata["license_expression"] == "MIT"
    (text,) = [name for name in wheel.namelist() if name.endswith("/licenses/LICENSE")]
    assert wheel.read(text) == (ROOT / "LICENSE").read_bytes()
    assert metadata["license_files"] == ["LICENSE"]
    assert metadata["requires_python"] == ">=3.11"
    needed = {Requirement(one).name for one in metadata["requires_dist"]}
    assert {"gitpython", "invoke", "plumbum", "semver"} <= needed
    assert metadata["provides_extra"] == ["nox"]


def test_the_wheel_names_who_made_it_and_where_it_comes_from(metadata: RawMetadata) -> None:
    copyright_line = (ROOT / "LICENSE").read_text(encoding="utf-8").splitlines()[2]
    assert metadata["author"] in copyright_line
    source = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "buildlib"
    ]
    urls = metadata["project_urls"]
    assert urls["Source"] == source["source"]
    for url in urls.values():
        below = url.removeprefix(source["source"])
        assert below != url
        assert not below or (ROOT / below.split("/main/")[1]).exists()
    classifiers = metadata["classifiers"]
    assert "Typing :: Typed" in classifiers
    assert "Programming Language :: Python :: 3 :: Only" in classifiers
    assert not [one for one in classifiers if one.startswith("License ::")]


def test_its_description_has_no_link_that_only_works_in_the_repository(
    metadata: RawMetadata,
) -> None:
    assert metadata["description_content_type"] == "text/markdown"
    links = re.findall(r"\]\(([^)]+)\)", metadata["description"])
    assert links
    assert all(link.startswith("https://") for link in links)
    commands = re.findall(r"^invoke (\S+)", metadata["description"], re.MULTILINE)
    assert set(commands) - {"--list"} <= set(collection(ROOT).task_names)


def _needed(requirements: Iterable[str], found: dict[str, Distribution]) -> dict[str, Distribution]:
    """Return what a wheel requires without extras, and what that requires, as it is installed."""
    for text in requirements:
        one = Requirement(text)
        if (one.marker is None or one.marker.evaluate({"extra": ""})) and one.name not in found:
            found[one.name] = distribution(one.name)
            _needed(found[one.name].requires or (), found)
    return found


@pytest.fixture(scope="module")
def unpacked(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    wheel.extractall(folder)
    return folder


@pytest.fixture
def site(unpacked: Path, tmp_path: Path) -> Path:
    """Return a directory with the wheel's contents, whose byte code all tests share."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "buildlib").symlink_to(unpacked / "buildlib")
    (info,) = unpacked.glob("*.dist-info")
    shutil.copytree(info, site / info.name)
    return site


def test_the_wheel_needs_nothing_but_what_it_requires(
    site: Path, metadata: RawMetadata, tmp_path: Path
) -> None:
    """As `uvx --from WHEEL buildlib init`, whose environment has nothing else."""
    project = tmp_path / "theirs"
    for one in _needed(metadata["requires_dist"], {}).values():
        for name in {file.parts[0] for file in one.files or ()} - {"..", "__pycache__"}:
            if not (site / name).exists():
                (site / name).symlink_to(str(one.locate_file(name)))
    project.mkdir()
    (project / "Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(site)}
    argv = [sys.executable, "-S", "-m", "buildlib", "init", "--yes"]
    done = subprocess.run(argv, cwd=project, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (project / "buildlib.toml").is_file()


def test_the_wheel_serves_a_repository_that_is_not_this_one(
    wheel: zipfile.ZipFile, site: Path, tmp_path: Path
) -> None:
    project = tmp_path / "theirs"
    project.mkdir()
    (project / "buildlib.toml").write_text('image = "theirs"\n', encoding="utf-8")

    def run(*words: str) -> str:
        env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(site)}
        argv = [sys.executable, "-m", *words]
        done = subprocess.run(
            argv, cwd=project, env=env, capture_output=True, text=True, check=True
        )
        return done.stdout

    # First of all, because Invoke writes no byte code.
    assert run("buildlib", "version") == "0.0.1-SNAPSHOT-none\n"
    (project / "tasks.py").write_text(
        "from buildlib.tasks import collection\nnamespace = collection()\n", encoding="utf-8"
    )
    assert run("invoke", "version") == "0.0.1-SNAPSHOT-none\n"
    (project / "tasks.py").unlink()
    source = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert run("buildlib", "--version") == f"buildlib {source['version']}\n"
    (project / "buildlib.toml").rename(project / "Dockerfile")
    (info,) = site.glob("*.dist-info")
    origin = {
        "url": f"{source['urls']['Source']}.git",
        "vcs_info": {"vcs": "git", "commit_id": "a" * 40},
    }
    (info / "direct_url.json").write_text(json.dumps(origin), encoding="utf-8")
    begun = run("buildlib", "init", "--yes", "--noxfile", "--workflow")
    assert f"+#:schema {source['urls']['Schema']}\n" in begun
    repository = source["urls"]["Source"].removeprefix("https://github.com/")
    workflow = project / ".github" / "workflows" / "image.yml"
    assert f"uses: {repository}/.github/workflows/image.yml@{'a' * 40}" in workflow.read_text()
    assert "buildlib.nox.sessions()" in (project / "noxfile.py").read_text(encoding="utf-8")
    workflow.write_text("name: own\n", encoding="utf-8")
    again = run("buildlib", "init", "--yes", "--workflow")
    assert "add to .github/workflows/image.yml, as it is not overwritten:" in again
    assert workflow.read_text(encoding="utf-8") == "name: own\n"
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
    assert f"`#:schema {source['urls']['Schema']}`" in page
    (entry_points,) = [name for name in wheel.namelist() if name.endswith("/entry_points.txt")]
    assert "buildlib = buildlib.__main__:main" in wheel.read(entry_points).decode()


def test_no_requirement_has_an_address() -> None:
    for path in (ROOT / "requirements").iterdir():
        text = path.read_text(encoding="utf-8")
        assert "://" not in text
        assert "--index-url" not in text
    pinned = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
    blocks = [block for block in pinned.replace("\\\n", " ").splitlines() if block.strip()]
    assert len(blocks) > 20
    assert all("--hash=sha256:" in block for block in blocks)
