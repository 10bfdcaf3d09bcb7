"""What the nodes of a builder do and hold, by recorded answers of buildx."""

from __future__ import annotations

import json

import pytest

from buildlib.builders.manager import BuildersReport, BuilderStatus, NodeStatus
from buildlib.builders.usage import (
    Usage,
    cache_argv,
    history_argv,
    parse_cache,
    parse_history,
    read_usage,
)
from buildlib.executor import Completed

from fakes import FakeExecutor

# Of buildx 0.13 and 0.38.
DU = """\
ID\t\t\t\t\t\tRECLAIMABLE\tSIZE\t\tLAST ACCESSED
zl4nl58mgxv9zjz3c9ooogxg4*              \ttrue \t\t8.192kB   \tLess than a second ago
Reclaimable:\t8.192kB
Total:\t\t45.06kB
"""
RUNNING = (
    '{"cached_steps":0,"completed_steps":0,"created_at":"2026-11-30T22:33:46Z","name":"ctx",'
    '"ref":"two/nb/67uy7xigjkayjkj036ec3u2cp","status":"Running","total_steps":0}\n'
)
# buildx 0.13 prints its usage, and has no such command.
OLD = Completed(code=125, stderr="unknown flag: --builder")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        pytest.param(DU, 45060, id="0.13"),
        pytest.param("Reclaimable:\t0B\nTotal:\t\t0B\n", 0, id="nothing"),
        pytest.param("Total:\t\t1.5TB\n", 1_500_000_000_000, id="a large cache"),
        pytest.param("Total: many\n", None, id="a form that is not known"),
        pytest.param(None, None, id="a failure"),
    ],
)
def test_the_size_of_the_cache_is_read(text: str | None, size: int | None) -> None:
    assert parse_cache(text) == size


@pytest.mark.parametrize(
    ("text", "running"),
    [
        pytest.param(RUNNING + RUNNING, {"nb": 2}, id="running"),
        pytest.param(RUNNING.replace("Running", "Completed"), {}, id="ended"),
        pytest.param("", {}, id="no builds"),
        pytest.param("BUILD ID  NAME\n", None, id="not JSON"),
        pytest.param('{"ref": "x", "status": "Running"}', None, id="another reference"),
        pytest.param("[]", None, id="another form"),
        pytest.param(None, None, id="no such command"),
    ],
)
def test_builds_that_run_are_counted_by_node(
    text: str | None, running: dict[str, int] | None
) -> None:
    assert parse_history(text) == running


def test_a_buildx_without_a_history_still_has_the_cache() -> None:
    du, history = cache_argv("two"), history_argv("two")
    executor = FakeExecutor({du: Completed(code=0, stdout=DU), history: OLD})
    assert read_usage(executor, "two") == Usage(cache=45060, running=None)
    assert executor.asked == [du, history]


def _node(name: str, version: str, running: int | None = None) -> NodeStatus:
    return NodeStatus(
        name=name,
        endpoint=f"tcp://{name}:1",
        platforms=("linux/amd64",),
        state="running",
        buildkit=version,
        running=running,
        gc=("keep bytes 24.21GiB",),
    )


def _report(*nodes: NodeStatus) -> BuildersReport:
    status = BuilderStatus(name="two", driver="remote", state="ready", nodes=nodes, cache=45060)
    return BuildersReport(builders=(status,))


def test_nodes_of_different_versions_are_a_warning() -> None:
    (warning,) = _report(_node("na", "v0.34.2"), _node("nb", "v0.13.2")).warnings()
    assert "the nodes of two have different versions of BuildKit" in warning
    assert "na v0.34.2, nb v0.13.2" in warning
    assert _report(_node("na", "v0.34.2"), _node("nb", "v0.34.2")).warnings() == []
    # That of a node that does not run yet is not known.
    assert _report(_node("na", "v0.34.2"), _node("nb", "")).warnings() == []


def test_usage_is_printed_for_people_and_programs() -> None:
    report = _report(_node("na", "v0.34.2", 1), _node("nb", "v0.34.2", 0))
    text = report.as_text()
    assert "na: 1 build running\n" in text
    assert "nb: 0 builds running\n" in text
    assert "cache of all nodes: 45.06 kB\n" in text
    assert "na: gc: keep bytes 24.21GiB" in text
    (found,) = json.loads(json.dumps(report.as_dict()))["builders"]
    assert found["cache"] == 45060
    assert [(node["running"], node["gc"]) for node in found["nodes"]] == [
        (1, ["keep bytes 24.21GiB"]),
        (0, ["keep bytes 24.21GiB"]),
    ]
