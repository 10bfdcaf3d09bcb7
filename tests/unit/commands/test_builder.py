"""What `docker-builder status` says of places that several machines share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from buildlib.builders.manager import BuildersReport, BuilderStatus, NodeStatus
from buildlib.commands import builder
from buildlib.commands.session import Edge
from buildlib.config.builders import BuilderSettings, NodeSettings
from buildlib.errors import BuildlibError, CancelledError, TransientError

LIMITED = NodeSettings(name="one", endpoint="tcp://one:1", max_builds=2)
OTHER = NodeSettings(name="two", endpoint="tcp://two:1")
BUILDER = BuilderSettings(
    name="farm", driver="remote", nodes=(LIMITED, OTHER), lease_repository="r.example/leases"
)
STATUS = BuilderStatus(
    name="farm",
    driver="remote",
    state="ready",
    nodes=tuple(
        NodeStatus(name=one.name, endpoint=one.endpoint, platforms=(), state="running")
        for one in BUILDER.nodes
    ),
)


def _status(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: BuildlibError | None = None
) -> BuilderStatus:
    def holders(*_: object) -> list[tuple[str, float]]:
        if error:
            raise error
        return [("thing 1", 988.0), ("other 2", 1003.0)]

    transport = SimpleNamespace(host="r.example", clock=lambda: 1000.0)
    sharing = SimpleNamespace(repository=SimpleNamespace(transport=transport), holders=holders)
    monkeypatch.setattr(builder, "open_sharing", lambda one, *_: one.lease_repository and sharing)
    run = Edge(folder, {}, dry=False, quiet=False)
    return builder._with_places(run, BUILDER, STATUS)


def test_the_builds_that_have_a_place_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _status(tmp_path, monkeypatch)
    lines = BuildersReport(builders=(found,)).as_text().splitlines()
    # The clock of another machine may be ahead.
    assert lines[3:] == ["  one: place of thing 1, 12 s", "  one: place of other 2, 0 s"]
    one, two = found.as_dict()["nodes"]
    assert one["places"] == (("thing 1", 12.0), ("other 2", 0.0))
    assert two["places"] is None


def test_without_the_registry_the_rest_is_printed_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = TransientError("r.example did not answer GET")
    assert _status(tmp_path, monkeypatch, error) == STATUS
    said = "who has a place on the nodes of farm is unknown: r.example did not answer GET"
    assert said in " ".join(capsys.readouterr().err.split())
    with pytest.raises(CancelledError):
        _status(tmp_path, monkeypatch, CancelledError("interrupted"))


def test_where_no_places_are_shared_nothing_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildlib.registry.transport.Transport.ask", pytest.fail)
    run = Edge(tmp_path, {}, dry=False, quiet=False)
    alone = replace(BUILDER, lease_repository="")
    assert builder._with_places(run, alone, STATUS) == STATUS
