"""The configuration that `init` writes for each repository of the corpus has what its lines say."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from adoptcorpus import Repository, corpus

from buildlib.adopt.configuration import Package
from buildlib.adopt.plan import AdoptionRequest, plan_adoption
from buildlib.config.config import load_config


def _written(repository: Repository, root: Path) -> dict[str, Any]:
    repository.write(root)
    found = plan_adoption(root, AdoptionRequest(here=root, package=Package()))
    (text,) = [one.after for one in found.changes if one.name == "buildlib.toml"]
    (root / "buildlib.toml").write_text(text, encoding="utf-8")
    return tomllib.loads(text)


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
