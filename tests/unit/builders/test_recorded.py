"""The drivers cloud and kubernetes: commands as buildx takes them, against what buildx answered.

The answers were recorded from buildx 0.38.2: of `cloud` with a fake service and a real buildkitd
behind it, of `kubernetes` with a fake API that had no pods. With running pods buildx prints a node
once for each pod; source: its builder/node.go and commands/inspect.go.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from buildlib.build import builder_check
from buildlib.build.argv import build_line
from buildlib.build.checked_plan import plan_build
from buildlib.build.planner import BuildRequest
from buildlib.builders.commands import boots, create_steps, is_unreachable
from buildlib.builders.manager import BuilderManager
from buildlib.builders.ownership import OwnBuilder
from buildlib.config.builders import BuilderSettings, parse_builders
from buildlib.docker.engine import parse_builder
from buildlib.errors import EngineError
from buildlib.executor import Completed

from fakes import GOOD, FakeExecutor, a_console, a_project, write_project

CLOUD = """\
[builders.cloud]
driver = "cloud"
nodes = [{ endpoint = "acme/default" }]
"""
CLOUD_SAYS = """\
Name:          cloud
Driver:        cloud
Last Activity: 2026-12-01 00:44:54 +0000 UTC

Nodes:
Name:             linux-amd64
Endpoint:         cloud://acme/default_linux-amd64
Driver Options:   internal.tls.servername="node.test" internal.hub.host="http://localhost:18099"
Status:           running
BuildKit version: v0.34.2
Platforms:        linux/amd64*, linux/amd64/v2, linux/amd64/v3, linux/arm64, linux/386
Labels:
 org.mobyproject.buildkit.worker.executor:         oci
 org.mobyproject.buildkit.worker.snapshotter:      overlayfs
GC Policy rule#0:
 All:            false
 Filters:        type==source.local type==exec.cachemount type==source.git.checkout
 Keep Duration:  48h0m0s
 Max Used Space: 488.3MiB

Name:             linux-arm64
Endpoint:         cloud://acme/default_linux-arm64
Driver Options:   internal.tls.servername="node.test" internal.hub.host="http://localhost:18099"
Status:           running
BuildKit version: v0.34.2
Platforms:        linux/arm64*, linux/amd64, linux/amd64/v2, linux/amd64/v3, linux/386
"""
PODS = """\
[builders.pods]
driver = "kubernetes"

[[builders.pods.nodes]]
name = "amd"
platforms = ["linux/amd64"]
options = { namespace = "ci", nodeselector = "kubernetes.io/arch=amd64", replicas = "2", tolerations = "key=a,value=b" }

[[builders.pods.nodes]]
name = "arm"
platforms = ["linux/arm64"]
options = { namespace = "ci", nodeselector = "kubernetes.io/arch=arm64" }
"""  # noqa: E501 - an inline table of TOML has no line breaks
PODS_SAY = """\
Name:          pods
Driver:        kubernetes
Last Activity: 2026-12-01 00:46:42 +0000 UTC

Nodes:
Name:                  amd
Endpoint:              kubernetes:///pods?deployment=amd&kubeconfig=%2Fhome%2Fme%2Fkube
Driver Options:        tolerations="key=a,value=b" namespace="ci" nodeselector="kubernetes.io/arch=amd64" replicas="2"
Status:                inactive
BuildKit daemon flags: --allow-insecure-entitlement=network.host
Platforms:             linux/amd64*

Name:                  arm
Endpoint:              kubernetes:///pods?deployment=arm&kubeconfig=%2Fhome%2Fme%2Fkube
Driver Options:        nodeselector="kubernetes.io/arch=arm64" namespace="ci"
Status:                inactive
BuildKit daemon flags: --allow-insecure-entitlement=network.host
Platforms:             linux/arm64*
"""  # noqa: E501 - as buildx prints it


def _parse(text: str) -> BuilderSettings:
    (found,) = parse_builders(tomllib.loads(text)["builders"])
    return found


def _running() -> str:
    """Return what buildx says of two pods for amd64 and one for arm64."""
    head, amd, arm = PODS_SAY.replace("inactive", "running").split("Name:  ")[1:]
    return f"Name:  {head}Name:  {amd}Name:  {amd}Name:  {arm}"


def _lines(text: str) -> list[str]:
    return [step.line() for step in create_steps(_parse(text), Path("/project"))]


def test_a_cloud_builder_is_one_command_whatever_nodes_it_has() -> None:
    assert _lines(CLOUD) == [
        "docker buildx create --name cloud --driver cloud acme/default",
    ]
    more = CLOUD.replace("acme/default", "cloud://acme/default").replace(
        '" }]', '", options = { default-load = "false" } }]'
    )
    assert _lines(more) == [
        (
            "docker buildx create --name cloud --driver cloud --driver-opt default-load=false "
            "cloud://acme/default"
        ),
    ]
    assert not boots(_parse(CLOUD))


def test_pods_of_two_architectures_are_two_commands() -> None:
    assert _lines(PODS) == [
        (
            "docker buildx create --name pods --driver kubernetes --node amd "
            "--platform linux/amd64 --driver-opt namespace=ci "
            "--driver-opt nodeselector=kubernetes.io/arch=amd64 --driver-opt replicas=2 "
            "--driver-opt '\"tolerations=key=a,value=b\"'"
        ),
        (
            "docker buildx create --append --name pods --driver kubernetes --node arm "
            "--platform linux/arm64 --driver-opt namespace=ci "
            "--driver-opt nodeselector=kubernetes.io/arch=arm64"
        ),
    ]


@pytest.mark.parametrize(
    ("table", "says", "nodes"),
    [
        pytest.param(CLOUD, CLOUD_SAYS, ["linux-amd64", "linux-arm64"], id="cloud"),
        pytest.param(PODS, PODS_SAY, ["amd", "arm"], id="pods that the build starts"),
        pytest.param(PODS, _running(), ["amd", "amd", "arm"], id="pods that run"),
    ],
)
@pytest.mark.parametrize("output", ["oci", "load", "push"])
def test_each_platform_is_built_on_its_own_node(
    tmp_path: Path, table: str, says: str, nodes: list[str], output: str
) -> None:
    settings, found = _parse(table), parse_builder(says)
    assert [node.name for node in found.nodes] == nodes
    assert {node.given for node in found.nodes} == {("linux/amd64",), ("linux/arm64",)}
    assert not any(is_unreachable(found.driver, node) for node in found.nodes)
    top = f'image = "r.example/x"\nplatforms = ["amd64", "arm64"]\nbuilder = "{settings.name}"\n'
    write_project(tmp_path, top + table)
    request = BuildRequest(platforms=("all",), output=output)
    plan, _ = plan_build(a_project(tmp_path), request)
    assert [str(one.platform) for one in plan.separate] == ["linux/amd64", "linux/arm64"]
    assert build_line(plan).count(f"buildx build --builder {settings.name}") == 2
    assert builder_check.check_builder(plan, GOOD, found, settings) == []
    made = OwnBuilder(driver=found.driver, nodes={node.name: node.endpoint for node in found.nodes})
    assert made.owns(found)


def test_a_cloud_builder_of_another_name_is_not_the_one_that_is_described(tmp_path: Path) -> None:
    write_project(tmp_path, f'image = "x"\nbuilder = "cloud"\n{CLOUD}')
    plan, _ = plan_build(a_project(tmp_path), BuildRequest(platforms=("linux/amd64",)))
    found = parse_builder(CLOUD_SAYS.replace("acme", "other"))
    (problem,) = builder_check.check_builder(plan, GOOD, found, _parse(CLOUD))
    assert "is not what the configuration describes" in str(problem)


@pytest.mark.parametrize(
    ("says", "hint"),
    [
        pytest.param(
            'ERROR: failed to find driver "cloud"', "install buildx 0.37 or later", id="buildx 0.13"
        ),
        pytest.param(
            (
                "ERROR: unknown builder: failed to fetch hub token: retrieving user credentials: "
                "no credentials found for https://index.docker.io/v1/"
            ),
            "docker login, then again",
            id="not signed in",
        ),
    ],
)
def test_what_buildx_lacks_for_the_cloud_is_explained(tmp_path: Path, says: str, hint: str) -> None:
    docker = FakeExecutor(
        {
            ("docker", "buildx", "create"): Completed(code=1, stderr=f"{says}\n"),
            ("docker", "buildx", "inspect"): Completed(code=1, stderr='no builder "cloud" found'),
        }
    )
    env = {"BUILDX_CONFIG": str(tmp_path)}
    manager = BuilderManager(tmp_path, env, docker, a_console()[0])
    with pytest.raises(EngineError) as caught:
        manager.create(_parse(CLOUD))
    assert (caught.value.why, caught.value.hint) == (says, hint)
