"""Which release the next one is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from buildlib.config.config import Config
from buildlib.config.load import load_config
from buildlib.config.tables import Registry
from buildlib.publish.last_release import find_release, last_release, pulled_release
from buildlib.registry.open import Opened
from buildlib.registry.repository import Repository

from fakes import write_project


class Shelf:
    """A repository of tags, each with its digest."""

    def __init__(self, *tags: str, lost: Mapping[str, str] | None = None) -> None:
        self._tags = tags
        self._lost = lost or {}

    def tags(self) -> tuple[str, ...]:
        return self._tags

    def digest(self, tag: str) -> str:
        return self._lost.get(tag, f"sha256:{tag}")


def _opened(name: str, shelf: Shelf, *, required: bool = True) -> Opened:
    registry = Registry(name=name, repository=f"{name}.example/x", required=required)
    return Opened(registry, cast("Repository", shelf))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load_config(write_project(tmp_path), {})


MANY = Shelf("latest", "1", "1.2", "1.2.0", "1.10.0", "2.0.0-rc.1", "9.9.9-SNAPSHOT-abc", "main")


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("", "1.10.0"),
        ("1.2.1", "1.2.0"),
        ("1.10.0", "1.2.0"),
        ("2.0.0", "1.10.0"),
        ("2.0.0-rc.2", "1.10.0"),
        ("not a version", "1.10.0"),
    ],
)
def test_it_is_the_highest_release_below_this_one(config: Config, own: str, expected: str) -> None:
    found = last_release([_opened("one", MANY)], config, own)
    assert found is not None
    assert found.name == f"one.example/x:{expected}"
    assert found.digest == f"sha256:{expected}"


def test_a_prerelease_counts_where_nothing_else_was_released(config: Config) -> None:
    found = last_release([_opened("one", Shelf("2.0.0-rc.1", "2.0.0-rc.2"))], config, "2.0.0")
    assert found is not None
    assert found.name == "one.example/x:2.0.0-rc.2"


def test_before_the_first_release_there_is_none(config: Config) -> None:
    opened = [_opened("one", Shelf("latest", "1.0.0")), _opened("two", Shelf())]
    assert last_release(opened, config, "1.0.0") is None
    with pulled_release(opened, config, "1.0.0") as found:
        assert found is None


def test_required_registries_come_first_and_an_empty_one_is_passed_over(config: Config) -> None:
    optional = _opened("optional", Shelf("3.0.0"), required=False)
    empty, full = _opened("empty", Shelf()), _opened("full", Shelf("1.0.0"))
    found = last_release([optional, empty, full], config)
    assert found is not None
    assert found.name == "full.example/x:1.0.0"


def test_a_tag_that_is_gone_by_now_is_passed_over(config: Config) -> None:
    shelf = Shelf("1.0.0", "1.1.0", lost={"1.1.0": ""})
    found = last_release([_opened("one", shelf)], config)
    assert found is not None
    assert found.name == "one.example/x:1.0.0"


def test_a_version_is_found_by_its_tag(config: Config) -> None:
    first = Shelf("latest", lost={"1.2.0": "", "1.2.0+b": ""})
    opened = [_opened("one", first), _opened("two", MANY)]
    found = find_release(opened, config, "1.2.0")
    assert found
    assert (found.name, found.digest) == ("two.example/x:1.2.0", "sha256:1.2.0")


def test_a_version_that_no_registry_has_is_not_found(config: Config) -> None:
    assert find_release([_opened("one", Shelf(lost={"3.0.0": ""}))], config, "3.0.0") is None
