"""What `init` leaves out of a configuration that could not be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildlib.adopt.configuration import Package
from buildlib.adopt.places import Repository
from buildlib.adopt.plan import Adoption, AdoptionRequest, plan_adoption
from buildlib.adopt.settings import nested


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
