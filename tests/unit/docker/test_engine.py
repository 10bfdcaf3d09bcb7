"""What docker prints, recorded from docker 26.1.5 and 28.2.2 with buildx 0.13.1, and read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pytest

from buildlib.docker.engine import (
    buildkit_versions,
    inspect_builder,
    inspect_engine,
    listed,
    parse_builder,
    parse_info,
)
from buildlib.errors import EngineError
from buildlib.executor import NOTHING, Completed

from fakes import FakeExecutor

INFO = {
    "Driver": "overlayfs",
    "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
    "OSType": "linux",
    "Architecture": "x86_64",
    "ServerVersion": "26.1.5+dfsg1",
    "ClientInfo": {
        "Version": "28.2.2",
        "Context": "default",
        "Plugins": [{"Name": "buildx", "Version": "0.13.1+ds1"}],
    },
}
INSPECT = """\
Name:          cross
Driver:        docker-container
Last Activity: 2026-11-23 09:00:00 +0000 UTC

Nodes:
Name:                  cross0
Endpoint:              unix:///var/run/docker.sock
Status:                running
BuildKit daemon flags: --allow-insecure-entitlement=network.host
BuildKit version:      v0.17.0
Platforms:             linux/amd64*, linux/amd64/v2, linux/arm64
Labels:
 org.mobyproject.buildkit.worker.executor: oci

Name:      cross1
Endpoint:  ssh://arm
Status:    stopped
Platforms: linux/arm64*
"""


def test_an_engine_is_read() -> None:
    facts = parse_info(Completed(code=0, stdout=json.dumps(INFO)))
    assert (facts.client, facts.buildx, facts.server) == ("28.2.2", "0.13.1+ds1", "26.1.5+dfsg1")
    assert (str(facts.platform), facts.containerd_store, facts.problem) == ("linux/amd64", True, "")


def test_the_classic_store_is_told_apart() -> None:
    info = {**INFO, "Driver": "overlay2", "DriverStatus": [["Backing Filesystem", "extfs"]]}
    assert not parse_info(Completed(code=0, stdout=json.dumps(info))).containerd_store


def test_no_engine_leaves_the_client_and_the_reason() -> None:
    info = {**INFO, "ServerVersion": "", "OSType": "", "Architecture": "", "DriverStatus": None}
    reason = "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?"
    facts = parse_info(Completed(code=1, stdout=json.dumps(info), stderr=f"WARNING: y\n{reason}\n"))
    assert (facts.client, facts.server, facts.problem) == ("28.2.2", "", reason)
    assert facts.platform is None


def test_server_errors_win_over_stderr() -> None:
    info = {**INFO, "ServerVersion": "", "ServerErrors": ["one", "two"]}
    assert parse_info(Completed(code=0, stdout=json.dumps(info), stderr="x")).problem == "one two"


def test_an_architecture_without_a_name_is_no_platform() -> None:
    info = {**INFO, "Architecture": "vax"}
    assert parse_info(Completed(code=0, stdout=json.dumps(info))).platform is None


def test_a_broken_plugin_is_none() -> None:
    plugins = [{"Name": "buildx", "Version": "1", "Err": "failed to fetch metadata"}]
    info = {**INFO, "ClientInfo": {"Plugins": plugins}}
    assert parse_info(Completed(code=0, stdout=json.dumps(info))).buildx == ""


@pytest.mark.parametrize(("error", "path"), [("", "/lib/docker-buildx"), ("broken", "")])
def test_where_buildx_is_counts_where_it_works(error: str, path: str) -> None:
    plugin = {"Name": "buildx", "Version": "1", "Path": "/lib/docker-buildx", "Err": error}
    info = {**INFO, "ClientInfo": {"Plugins": [plugin]}}
    assert parse_info(Completed(code=0, stdout=json.dumps(info))).buildx_path == path


def test_a_context_that_does_not_exist_is_a_problem() -> None:
    facts = parse_info(
        Completed(code=1, stderr='Failed to initialize: context "nope": not found\n')
    )
    assert facts.problem == 'Failed to initialize: context "nope": not found'
    assert parse_info(Completed(code=1)).problem == "docker info printed nothing"


def test_an_engine_that_hangs_is_a_problem() -> None:
    class Hanging(FakeExecutor):
        def run(
            self,
            argv: Sequence[str],
            *,
            timeout: float | None = None,
            env: Mapping[str, str] = NOTHING,
        ) -> Completed:
            assert not env
            raise EngineError(f"{argv[0]} did not answer within {timeout:g} s")

    assert inspect_engine(Hanging()).problem == "docker did not answer within 30 s"
    assert inspect_builder(Hanging(), "b").error == "docker did not answer within 30 s"


def test_the_versions_of_buildkit_are_those_of_all_nodes() -> None:
    inspect = ("docker", "buildx", "inspect")
    several = INSPECT.replace("Status:    stopped", "BuildKit version: v0.34.2")
    for said, versions in ((INSPECT, "v0.17.0"), (several, "v0.17.0, v0.34.2"), ("", "unknown")):
        executor = FakeExecutor({inspect: Completed(code=0, stdout=said)})
        assert buildkit_versions(executor, "cross") == versions
        assert executor.asked == [(*inspect, "cross")]


def test_a_builder_is_read() -> None:
    builder = parse_builder(INSPECT)
    assert (builder.name, builder.driver, builder.status) == (
        "cross",
        "docker-container",
        "running",
    )
    assert builder.buildkit == "v0.17.0"
    assert builder.platforms == ("linux/amd64", "linux/amd64/v2", "linux/arm64")


def test_a_builder_that_is_not_there_is_an_error() -> None:
    error = Completed(code=1, stderr='ERROR: no builder "x" found\n')
    fake = FakeExecutor({("docker", "buildx", "inspect"): error})
    assert inspect_builder(fake, "x").error == 'ERROR: no builder "x" found'
    assert fake.asked == [("docker", "buildx", "inspect", "x")]


def test_the_current_builder_is_asked_for_without_a_name() -> None:
    fake = FakeExecutor({("docker",): Completed(code=0, stdout=INSPECT)})
    assert inspect_builder(fake).name == "cross"
    assert fake.asked == [("docker", "buildx", "inspect")]


class _Listing(FakeExecutor):
    """An engine that fails to list some times, as when an image goes meanwhile."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    def _answer(self, argv: Sequence[str]) -> Completed:
        self.asked.append(tuple(argv))
        if len(self.asked) > self.failures:
            return Completed(code=0, stdout="one\ntwo\n")
        return Completed(code=1, stderr="content digest sha256:ab: not found\n")


def test_a_listing_that_fails_is_made_again() -> None:
    engine, pauses = _Listing(2), list[float]()
    assert listed(engine, "image", "ls", sleep=pauses.append) == ("one", "two")
    assert engine.asked == [("docker", "image", "ls")] * 3
    assert len(pauses) == 2


def test_an_engine_that_does_not_answer_is_told() -> None:
    said = "Cannot connect to the Docker daemon at tcp://127.0.0.1:1."
    engine = FakeExecutor({("docker", "ps"): Completed(code=1, stderr=said)})
    with pytest.raises(EngineError, match="the Docker engine does not answer") as caught:
        listed(engine, "ps", "--quiet", sleep=lambda _: None)
    assert caught.value.why == said


def test_an_engine_that_lists_nothing_is_told_and_not_taken_for_empty() -> None:
    engine, pauses = _Listing(99), list[float]()
    with pytest.raises(EngineError, match="docker image failed") as caught:
        listed(engine, "image", "ls", sleep=pauses.append)
    assert caught.value.why == "content digest sha256:ab: not found"
    assert len(engine.asked) == len(pauses) + 1
