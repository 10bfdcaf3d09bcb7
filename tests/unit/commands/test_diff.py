"""Which two images docker-diff compares."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from buildlib.commands import diff as work
from buildlib.commands.session import Edge
from buildlib.config.load import load_config
from buildlib.diff.check import DiffRequest, Subject
from buildlib.diff.report import DiffReport, Side
from buildlib.errors import InputError
from buildlib.image.archive import Archive
from buildlib.publish.last_release import Release
from buildlib.records.record import Record
from buildlib.registry.repository import Repository

from fakes import write_project

CONFIG = 'image = "thing"\n[registries.main]\nrepository = "here.example/thing"\n'
REPOSITORY = cast("Repository", SimpleNamespace(name="here.example/thing"))
OPENED = SimpleNamespace(repository=REPOSITORY, registry=SimpleNamespace(host="here.example"))
DIGEST = f"sha256:{'1' * 64}"


def _record(image: str = "thing", *, published: bool) -> Record:
    registries = ({"repository": "here.example/thing"},) if published else ()
    return Record(id="1", image=image, version="1.1.0", digest=DIGEST, registries=registries)


@pytest.fixture
def compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what compares: it is given the records, and returns the names of both images."""
    config = load_config(write_project(tmp_path, CONFIG), {})

    @contextmanager
    def opening(_: str, archive: object) -> Iterator[object]:
        yield archive

    console = SimpleNamespace(opening=opening, note=lambda _: None, running=lambda _: nullcontext())
    edge = SimpleNamespace(config=lambda: config, console=console, executor=None, env={})
    run = cast("Edge", edge)
    releases = ["1.0.0", "1.1.0"]

    @contextmanager
    def pulled(_: Edge, found: Release) -> Iterator[Subject]:
        yield Subject(name=found.name, archive=cast("Archive", None))

    def last(_: object, __: object, own: str = "") -> Release:
        lower = [one for one in releases if not own or one < own]
        return Release(f"here.example/thing:{lower[-1]}", DIGEST, REPOSITORY)

    def find(_: object, __: object, version: str) -> Release | None:
        name = f"here.example/thing:{version}"
        return Release(name, DIGEST, REPOSITORY) if version in releases else None

    def diffed(old: Subject, new: Subject, _: DiffRequest) -> DiffReport:
        sides = [Side(name=one.name, digest="") for one in (old, new)]
        return DiffReport(old=sides[0], new=sides[1])

    for name, value in {
        "from_registry": pulled,
        "in_registry": lambda _, __, text: Release(text, DIGEST, REPOSITORY),
        "last_release": last,
        "find_release": find,
        "saved": lambda _, text: text,
        "open_registries": lambda *_: [OPENED],
        "diff_images": diffed,
    }.items():
        monkeypatch.setattr(work, name, value)
    found: list[DiffReport] = []
    monkeypatch.setattr(work, "show", lambda report, *_, **__: found.append(report))

    def compare(*records: Record, **options: Any) -> tuple[str, str]:
        store = SimpleNamespace(usable=lambda: iter(records))
        monkeypatch.setattr(work, "open_store", lambda *_: store)
        work.diff(run, work.DiffOptions(**options))
        return found[-1].old.name, found[-1].new.name

    return compare


def test_a_release_that_was_published_last_is_compared_with_the_one_before(compared: Any) -> None:
    names = ("here.example/thing:1.0.0", "here.example/thing:1.1.0")
    assert compared(_record("other", published=False), _record(published=True)) == names


def test_what_was_built_since_is_compared_with_the_last_release(compared: Any) -> None:
    names = ("here.example/thing:1.1.0", "thing:latest")
    assert compared(_record(published=False), _record(published=True)) == names
    assert compared() == names


def test_versions_are_those_of_the_releases_of_this_project(compared: Any) -> None:
    names = ("here.example/thing:1.0.0", "here.example/thing:1.1.0")
    assert compared(old="v1.0.0", new="1.1.0") == names
    with pytest.raises(InputError, match=r"there is no release 3\.0\.0"):
        compared(old="3.0.0", new="1.1.0")
