"""What docker-report adds to a record while the engine still has the image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from ociwriter import OciWriter

from buildlib.commands import contents
from buildlib.commands.session import Edge
from buildlib.config.load import load_config
from buildlib.executor import Completed
from buildlib.image.archive import Archive, open_archive
from buildlib.records.record import Record
from buildlib.records.store import RecordStore, new_id

from fakes import FakeExecutor, write_project

SECRET = "s3cr3t-v4lue-of-a-test"


HISTORY = {"Size": "5000", "CreatedBy": f"RUN |1 API_TOKEN={SECRET} /bin/sh -c make"}


@pytest.mark.parametrize("writable", [True, False])
def test_secrets_of_an_image_that_came_from_the_cache_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, writable: bool
) -> None:
    writer = OciWriter()
    layer = writer.layer({"bin/app": b"x" * 5000})
    path = writer.write(tmp_path / "i.tar", writer.image([layer], [{"created_by": "COPY"}]))

    @contextmanager
    def image_of(_: Edge, __: Record) -> Iterator[Archive]:
        with open_archive(path) as archive:
            yield archive

    monkeypatch.setattr(contents, "_image_of", image_of)
    notes: list[str] = []
    console = SimpleNamespace(note=notes.append)
    executor = FakeExecutor({("docker", "history"): Completed(code=0, stdout=json.dumps(HISTORY))})
    run = cast("Edge", SimpleNamespace(executor=executor, console=console))
    config = load_config(write_project(tmp_path, 'image = "thing"\n'), {})
    store = RecordStore(tmp_path / "r", keep=9, days=9)
    store.key()
    record = Record(id=new_id(), platforms=("linux/amd64",), digest="sha256:1")
    if not writable:

        def full(_: Record) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(store, "write", full)
    found = contents.with_contents(run, config, store, record)
    assert [one.made_by for one in found.layers] == ["RUN |1 API_TOKEN=*** /bin/sh -c make"]
    assert [one.path for one in found.largest] == ["bin/app"]
    kept = "".join(one.read_text(encoding="utf-8") for one in store.paths())
    assert ("bin/app" in kept) == writable
    assert SECRET not in kept
    assert bool(notes) != writable
