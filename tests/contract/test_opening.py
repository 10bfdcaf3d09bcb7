"""Registries whose credentials can't be had: which of them end a task, and how."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildlib.commands.session import Edge
from buildlib.config.tables import Registry
from buildlib.errors import (
    AuthorisationError,
    BuildlibError,
    ProblemsError,
    ToolError,
    exit_code_of,
)
from buildlib.registry.open import open_registries

FINE = Registry(name="fine", repository="127.0.0.1:1/x")


def _without_helper(*, required: bool) -> Registry:
    return Registry(name="tool", repository="helped.example/x", required=required)


def _half(*, required: bool) -> Registry:
    return Registry(
        name="half",
        repository="half.example/x",
        required=required,
        username_env="WHO",
        password_env="WITH",
    )


@pytest.fixture
def run(tmp_path: Path) -> Edge:
    config = {"credHelpers": {"helped.example": "that-is-not-here"}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    env = {"DOCKER_CONFIG": str(tmp_path), "PATH": "/usr/bin:/bin", "WHO": "ann"}
    return Edge(tmp_path, env, dry=False, quiet=True)


@pytest.mark.parametrize("spare_optional", [False, True])
def test_all_that_is_wrong_with_required_ones_is_told(run: Edge, *, spare_optional: bool) -> None:
    wanted = [_without_helper(required=True), FINE, _half(required=True)]
    with pytest.raises(ProblemsError) as caught:
        open_registries(wanted, run.env, run.executor, spare_optional=spare_optional)
    assert [type(one) for one in caught.value.problems] == [ToolError, AuthorisationError]
    assert exit_code_of(caught.value) == 3
    assert "docker-credential-that-is-not-here" in str(caught.value)
    assert "missing: WITH" in str(caught.value)


@pytest.mark.parametrize(
    ("broken", "kind"),
    [(_without_helper(required=False), ToolError), (_half(required=False), AuthorisationError)],
    ids=["no helper", "half of them"],
)
def test_one_that_is_not_required_says_so_itself(
    run: Edge, broken: Registry, kind: type[BuildlibError]
) -> None:
    opened = open_registries([broken, FINE], run.env, run.executor, spare_optional=True)
    assert [one.registry.name for one in opened] == [broken.name, "fine"]
    for ask in (opened[0].repository.tags, opened[0].repository.check_writable):
        with pytest.raises(kind):
            ask()
    assert opened[0].repository.transport.tally.retries == 0
    # Where somebody named it, or has no way around it, it is needed.
    with pytest.raises(kind):
        open_registries([broken, FINE], run.env, run.executor)
