"""The configuration that `init` writes for each repository of the corpus has what its lines say."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from adoptcorpus import Repository, corpus
from conftest import git

from buildlib.adopt.configuration import Package
from buildlib.adopt.plan import AdoptionRequest, plan_adoption
from buildlib.config.load import load_config


def _written(repository: Repository, root: Path) -> dict[str, Any]:
    repository.write(root)
    found = plan_adoption(root, AdoptionRequest(here=root, package=Package()))
    (text,) = [one.after for one in found.changes if one.name == "buildlib.toml"]
    (root / "buildlib.toml").write_text(text, encoding="utf-8")
    return tomllib.loads(text)


IMAGES = """\
image = "shop"
tag-prefix = "shop/v"
[images.web]
[images.api]
tag-prefix = "api/v"
"""


def test_the_workflow_is_at_the_top_of_the_work_tree_and_knows_all_tags(tmp_path: Path) -> None:
    def text(prefixes: Mapping[str, Sequence[str]], directory: str) -> str:
        return f"{directory!r} {dict(prefixes)}"

    git(tmp_path, "init", "--quiet")
    below = tmp_path / "services" / "shop"
    for root in (below, tmp_path):
        root.mkdir(parents=True, exist_ok=True)
        (root / "Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    (below / "buildlib.toml").write_text(IMAGES, encoding="utf-8")
    request = AdoptionRequest(here=below, package=Package(), workflow=text)
    found = plan_adoption(below, request)
    (given,) = [one for one in found.by_hand if one.name.endswith("image.yml")]
    assert given.name == "../../.github/workflows/image.yml"
    assert given.lines == ("'services/shop' {'shop/v': ['web'], 'api/v': ['api']}",)
    assert not [one.name for one in found.changes if one.name.endswith("image.yml")]
    top = plan_adoption(tmp_path, request._replace(here=tmp_path))
    (written,) = [one for one in top.changes if one.name.endswith("image.yml")]
    assert (written.name, written.after) == (".github/workflows/image.yml", "'' {'v': []}")


def _moved(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with the port where `init` has it: smoke asks it as well."""
    run = dict(settings.get("run", {}))
    port = run.pop("port", None)
    smoke = settings.get("smoke", {}) | ({"port": port} if port else {})
    tables = {"run": run, "smoke": smoke}
    return settings | {name: table for name, table in tables.items() if table or name in settings}


ONE = [one for one in corpus() if "others" not in one.expected]


@pytest.mark.parametrize("repository", ONE, ids=lambda one: one.name)
def test_what_the_lines_say_is_in_the_configuration(repository: Repository, tmp_path: Path) -> None:
    root = tmp_path / repository.name
    root.mkdir()
    written = _written(repository, root)
    for key, value in _moved(repository.expected).items():
        found = written.get(key)
        if isinstance(value, dict):
            found = {name: (found or {}).get(name) for name in value}
        assert found == value
    assert load_config(root, {}).image
