"""What `init` leaves out of a configuration that could not be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildlib.adopt.configuration import Package
from buildlib.adopt.places import Repository
from buildlib.adopt.plan import Adoption, AdoptionRequest, plan_adoption
from buildlib.adopt.settings import nested
from buildlib.git.command import GitCommand


def _planned(root: Path, files: dict[str, str], patch: pytest.MonkeyPatch) -> Adoption:
    repository = Repository(root, None, {}, None)
    patch.setattr("buildlib.adopt.places.find_repository", lambda _: repository)
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return plan_adoption(root, AdoptionRequest(here=root, package=Package()))


@pytest.mark.parametrize("folders", [("api",), ("api", "web")])
def test_only_the_part_that_can_not_be_read_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folders: tuple[str, ...]
) -> None:
    services = (
        "services:\n"
        "  api: {build: {context: api, network: ci}, ports: [80], depends_on: [redis_cache]}\n"
        "  redis_cache: {image: redis}\n"
        "  web: {build: web}\n"
    )
    dockerfiles = {f"{folder}/Dockerfile": "FROM scratch\n" for folder in folders}
    found = _planned(tmp_path, {"compose.yaml": services, **dockerfiles}, monkeypatch)
    where = "images.api." if len(folders) > 1 else ""
    assert [note.partition(" is left out: ")[0] for note in found.notes][-2:] == [
        f"{where}run.services.redis_cache",
        f"{where}build.network",
    ]
    table = nested(found.settings)
    table = table["images"]["api"] if where else table
    assert table["smoke"]["port"] == 80
    assert not {"build", "services"} & {*table, *table.get("run", {})}
    assert found.images == (folders if where else ())


def test_the_lines_of_the_ignore_files_follow_the_directory_for_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    makefile = "i:\n\tdocker build -t app .\nr:\n\tdocker run -v ./guests:/data app\n"
    files = {"Makefile": makefile, "Dockerfile": "FROM scratch\nVOLUME /data\n"}
    found = _planned(tmp_path, files, monkeypatch)
    assert nested(found.settings)["run"] == {"data-path": "/data", "data-dir": "guests"}
    written = {one.name: one.after.splitlines() for one in found.changes}
    assert "/guests/" in written[".gitignore"]
    assert "/data/" not in written[".gitignore"]
    assert "guests" in written[".dockerignore"]
    assert "data" not in written[".dockerignore"]


class Tags(GitCommand):
    names = "other\n"

    def __init__(self) -> None:
        pass

    def ask(self, *arguments: str) -> str:
        return self.names if arguments[0] == "tag" else ""


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("VERSION", "v2.4.0\n", "VERSION"),
        ("package.json", '{"version": "2.4.0"}', "package.json"),
        ("pyproject.toml", '[project]\nversion = "2.4.0"\n', "pyproject.toml"),
        ("pyproject.toml", '[tool.poetry]\nversion = "2.4.0"\n', "pyproject.toml"),
        ("Cargo.toml", '[package]\nversion = "2.4.0"\n', "Cargo.toml"),
        ("Makefile", "V ?= 2.4.0\ni:\n\tdocker build -t app:$(V) .\n", "Makefile:3"),
        ("VERSION", "next\n", ""),
        ("package.json", '{"version": "0.0.0-development"}', ""),
        ("package.json", '{"version": 2', ""),
        ("pyproject.toml", '[project]\nversion = {file = "V"}\n', ""),
    ],
)
def test_a_version_that_no_tag_has_is_named_with_its_tag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, place: str
) -> None:
    git = Tags()
    repository = Repository(tmp_path, None, {}, git)
    monkeypatch.setattr("buildlib.adopt.places.find_repository", lambda _: repository)
    (tmp_path / "Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    (tmp_path / name).write_text(text, encoding="utf-8")
    request = AdoptionRequest(here=tmp_path, package=Package())
    said = [note for note in plan_adoption(tmp_path, request).notes if "git tag" in note]
    assert bool(said) == bool(place)
    assert all(f"2.4.0 in {place}," in note and note.endswith("git tag v2.4.0") for note in said)
    git.names = "other\nv1.0.0\n"
    assert not [note for note in plan_adoption(tmp_path, request).notes if "git tag" in note]
