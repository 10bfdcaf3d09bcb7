"""Builders: what may be described, which commands it comes to, what a build can have of it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from buildlib.build import builder_check
from buildlib.build.plan import BuildPlan
from buildlib.build.planner import BuildRequest, make_build_plan
from buildlib.builders.commands import (
    boot_step,
    boots,
    buildkitd_toml,
    caches,
    create_steps,
    fingerprint,
    is_unreachable,
    missing_hint,
    remove_step,
)
from buildlib.builders.manager import BuilderManager
from buildlib.builders.ownership import OwnBuilder, OwnBuilders
from buildlib.config.builders import BuilderSettings, Collection, find_builder, parse_builders
from buildlib.config.key_types import MismatchError
from buildlib.config.load import load_config
from buildlib.docker.engine import Builder, Node, parse_builder
from buildlib.errors import CancelledError, EngineError, InputError, ProblemsError
from buildlib.executor import NOTHING, Completed
from buildlib.image.platform import parse_platforms

from fakes import GOOD, FakeExecutor, a_console, a_project, showing, words_after, write_project

FARM = """\
[builders.farm]
driver = "remote"
cache-from = ["type=registry,ref=r.example/cache:{platform}"]
cache-to = ["type=registry,ref=r.example/cache:{platform},mode=max"]
nodes = [
  { name = "here", endpoint = "tcp://build-1:1234", platforms = ["amd64", "linux/386"], cacert = "certs/ca.pem", cert = "certs/c.pem", key = "certs/k.pem", servername = "node" },
  { endpoint = "ssh://me@arm", platforms = ["linux/arm64"] },
]
"""  # noqa: E501 - a table of TOML has no line breaks
CONTAINERS = """\
[builders.two]
driver = "docker-container"
gc = { keep-storage = "20 GB" }
nodes = [
  { platforms = ["linux/amd64"], options = { image = "x:1", "env.A" = 'a,"b"' }, flags = ["--debug", "--x=a b"] },
  { name = "arm", endpoint = "ssh://me@arm", platforms = ["linux/arm64"] },
]
"""  # noqa: E501 - the same
PODS = """\
[builders.pods]
driver = "kubernetes"
nodes = [{ options = { namespace = "ci", replicas = "2" }, config = "buildkitd.toml" }]
"""


def _parse(text: str) -> BuilderSettings:
    (found,) = parse_builders(tomllib.loads(text)["builders"])
    return found


def _lines(text: str) -> list[str]:
    return [step.line() for step in create_steps(_parse(text), Path("/project"))]


def test_a_remote_builder_is_one_command_for_each_node() -> None:
    assert _lines(FARM) == [
        (
            "docker buildx create --name farm --driver remote --node here "
            "--platform linux/amd64,linux/386 --driver-opt cacert=/project/certs/ca.pem "
            "--driver-opt cert=/project/certs/c.pem --driver-opt key=/project/certs/k.pem "
            "--driver-opt servername=node tcp://build-1:1234"
        ),
        (
            "docker buildx create --append --name farm --driver remote --node farm1 "
            "--platform linux/arm64 ssh://me@arm"
        ),
    ]


def test_buildx_is_not_told_of_the_platforms_that_a_node_is_a_spare_for() -> None:
    text = CONTAINERS.replace(
        '"ssh://me@arm", platforms = [', '"ssh://me@arm", platforms = ["amd64", '
    )
    spare = '{ name = "spare", endpoint = "ssh://me@x", platforms = ["arm64", "386"] },\n]'
    steps = create_steps(_parse(text.replace("\n]", f"\n  {spare}") + "retry = 1\n"), Path("/"))
    given = [words_after(step.argv, "--platform") for step in steps]
    assert given == [["linux/amd64"], ["linux/arm64"], ["linux/386"]]


def test_a_container_gets_its_configuration_in_a_file() -> None:
    first, second = create_steps(_parse(CONTAINERS), Path("/project"))
    assert first.argv == (
        *("docker", "buildx", "create", "--name", "two", "--driver", "docker-container"),
        *("--node", "two0", "--platform", "linux/amd64", "--driver-opt", '"env.A=a,""b"""'),
        *("--driver-opt", "image=x:1", "--buildkitd-flags", "--debug '--x=a b'"),
        *("--buildkitd-config", "buildkitd.toml"),
    )
    assert second.reading(Path("/t/x"))[-3:] == ("--buildkitd-config", "/t/x", "ssh://me@arm")
    assert tomllib.loads(first.text) == {
        "worker": {"oci": {"gc": True, "gckeepstorage": 20 * 10**9}}
    }


def test_a_cluster_has_no_endpoint() -> None:
    assert _lines(PODS) == [
        (
            "docker buildx create --name pods --driver kubernetes --node pods0 --driver-opt "
            "namespace=ci --driver-opt replicas=2 --buildkitd-config /project/buildkitd.toml"
        ),
    ]
    assert boots(_parse(PODS))
    assert boot_step("pods").line() == "docker buildx inspect --bootstrap pods"


def test_the_engine_s_own_builder_needs_no_command() -> None:
    own = _parse('[builders.own]\ndriver = "docker"\n')
    assert create_steps(own, Path("/p")) == ()
    assert own.buildx_name == "default"
    assert _parse(CONTAINERS.replace("two", "b")).buildx_name == "b"
    there = _parse('[builders.own]\ndriver = "docker"\nnodes = [{ endpoint = "there" }]\n')
    assert there.buildx_name == "there"


def test_what_removes_a_builder() -> None:
    assert remove_step("b").line() == "docker buildx rm --force b"
    kept = remove_step("b", keep_state=True).line()
    assert kept == "docker buildx rm --force --keep-state b"


@pytest.mark.parametrize(
    ("gc", "expected"),
    [
        pytest.param(Collection(enabled=False), {"gc": False}, id="none at all"),
        pytest.param(Collection(), {"gc": True}, id="BuildKit's own"),
        pytest.param(
            Collection(keep_storage=5), {"gc": True, "gckeepstorage": 5}, id="by size alone"
        ),
        pytest.param(
            Collection(keep_duration="168h"),
            {"gc": True, "gcpolicy": [{"keepDuration": "168h"}]},
            id="by age alone",
        ),
        pytest.param(
            Collection(keep_duration="168h", keep_storage=5),
            {"gc": True, "gcpolicy": [{"keepDuration": "168h"}, {"all": True, "keepBytes": 5}]},
            id="by age first, and then by size",
        ),
    ],
)
def test_garbage_collection_in_buildkit_s_words(gc: Collection, expected: dict[str, Any]) -> None:
    assert tomllib.loads(buildkitd_toml(gc)) == {"worker": {"oci": expected}}


def test_a_description_is_another_where_a_command_is() -> None:
    root = Path("/p")
    same, other = _parse(CONTAINERS), _parse(CONTAINERS.replace("20 GB", "21 GB"))
    assert fingerprint(same, root) == fingerprint(_parse(CONTAINERS), root)
    assert fingerprint(same, root) != fingerprint(other, root)
    # Caches are no part of what buildx makes.
    quiet = FARM.replace("mode=max", "mode=min")
    assert fingerprint(_parse(FARM), root) == fingerprint(_parse(quiet), root)


BAD = {
    "a driver that is none suggests the one that was meant": (
        'driver = "remte"',
        "did you mean remote",
    ),
    "no driver at all": ("", "names no driver"),
    "an unknown key of a builder": (
        'driver = "docker"\nnode = []',
        "did you mean builders.b.nodes",
    ),
    "an unknown key of a node": (
        'driver = "remote"\nnodes = [{ endpont = "x" }]',
        "did you mean builders.b.nodes[0].endpoint",
    ),
    "an unknown key of gc": (
        'driver = "docker-container"\ngc = { keep = 1 }',
        "unknown configuration key builders.b.gc.keep",
    ),
    "a size that is none": (
        'driver = "docker-container"\ngc = { keep-storage = "much" }',
        'such as "20 MB"',
    ),
    "an age that is none": (
        'driver = "docker-container"\ngc = { keep-duration = "7d" }',
        'such as "168h"',
    ),
    "platforms that are none": (
        'driver = "docker-container"\nnodes = [{ platforms = ["linux/amd46"] }]',
        "did you mean linux/amd64",
    ),
    "a value of another kind": (
        'driver = "docker-container"\nnodes = [{ name = 1 }]',
        "builders.b.nodes[0].name from file (buildlib.toml) must be text, not 1",
    ),
    "a name that buildx would change": (
        'driver = "docker-container"\nnodes = [{ name = "A" }]',
        "give lower-case letters",
    ),
    "a cloud builder without a name": ('driver = "cloud"', 'give endpoint = "ORG/BUILDER"'),
    "a cloud builder that is none": (
        'driver = "cloud"\nnodes = [{ endpoint = "acme/.." }]',
        "is not a builder of Docker Build Cloud",
    ),
    "a spare node for the driver cloud": (
        'driver = "cloud"\nretry = 1\nnodes = [{ endpoint = "a/b" }]',
        "Docker Build Cloud replaces its nodes",
    ),
    "two nodes for the driver cloud": (
        'driver = "cloud"\nnodes = [{ endpoint = "a/b" }, { endpoint = "a/c" }]',
        "the driver cloud has one node",
    ),
    "flags for the driver cloud": (
        'driver = "cloud"\nnodes = [{ endpoint = "a/b", flags = ["--debug"] }]',
        "docker login is all that they need",
    ),
    "garbage collection for the driver cloud": (
        'driver = "cloud"\ngc = {}\nnodes = [{ endpoint = "a/b" }]',
        "settings of the cloud builder",
    ),
    "two nodes for the driver docker": (
        'driver = "docker"\nnodes = [{}, { endpoint = "x" }]',
        "the driver docker has one node",
    ),
    "certificates for the driver docker": (
        'driver = "docker"\nnodes = [{ cacert = "x" }]',
        "the driver docker does not accept cacert",
    ),
    "an address for the driver docker": (
        'driver = "docker"\nnodes = [{ endpoint = "ssh://x" }]',
        "is a docker context",
    ),
    "garbage collection for the driver docker": ('driver = "docker"\ngc = {}', "daemon.json"),
    "garbage collection for the driver remote": (
        'driver = "remote"\ngc = {}\nnodes = [{ endpoint = "tcp://x:1" }]',
        "buildkitd.toml of the node",
    ),
    "certificates for a container": (
        'driver = "docker-container"\nnodes = [{ cert = "x", key = "y" }]',
        "docker context create makes a context with certificates",
    ),
    "two containers on one engine": (
        (
            'driver = "docker-container"\n'
            'nodes = [{ platforms = ["arm64"] }, { platforms = ["amd64"] }]'
        ),
        "two nodes have the endpoint of docker itself",
    ),
    "two nodes of one address": (
        'driver = "remote"\nnodes = [{ endpoint = "tcp://x:1" }, { endpoint = "tcp://x:1" }]',
        "two nodes have the endpoint tcp://x:1",
    ),
    "two nodes of one name": (
        (
            'driver = "remote"\n'
            'nodes = [{ name = "n", endpoint = "tcp://x:1" }, '
            '{ name = "n", endpoint = "tcp://x:2" }]'
        ),
        "two nodes are called n",
    ),
    "two nodes, and nothing says who builds what": (
        (
            'driver = "remote"\nnodes = [{ endpoint = "tcp://x:1", platforms = ["amd64"] }, '
            '{ endpoint = "tcp://x:2" }]'
        ),
        "no platforms for b1",
    ),
    "a spare without a node to stand in for": (
        (
            'driver = "remote"\nretry = 1\nnodes = [{ endpoint = "tcp://x:1", '
            'platforms = ["arm64"] }]'
        ),
        "retry without a spare node",
    ),
    "places to share, and no limit": (
        'driver = "remote"\nlease-repository = "r.example/x"\nnodes = [{ endpoint = "tcp://x:1" }]',
        "lease-repository without max-builds",
    ),
    "places to share on everybody's own engine": (
        (
            'driver = "docker-container"\nlease-repository = "r.example/x"\n'
            "nodes = [{ max-builds = 1 }]"
        ),
        "docker itself is another machine for each client",
    ),
    "places to share on everybody's own socket": (
        (
            'driver = "remote"\nlease-repository = "r.example/x"\n'
            'nodes = [{ endpoint = "unix:///run/b", max-builds = 1 }]'
        ),
        "unix:///run/b is another machine for each client",
    ),
    "places to share under a tag": (
        'driver = "kubernetes"\nlease-repository = "r.example/x:1"\nnodes = [{ max-builds = 1 }]',
        "a repository without tag or digest",
    ),
    "a spare of docker's own engine": ('driver = "docker"\nretry = 1', "docker has one engine"),
    "a spare of a cluster": ('driver = "kubernetes"\nretry = 1', "Kubernetes itself"),
    "two nodes for one platform": (
        (
            'driver = "remote"\nnodes = [{ endpoint = "tcp://x:1", platforms = ["arm64"] }, '
            '{ endpoint = "tcp://x:2", platforms = ["linux/aarch64"] }]'
        ),
        "two nodes build linux/arm64",
    ),
    "a remote builder without a node": ('driver = "remote"', "has no node"),
    "a remote node without an address": ('driver = "remote"\nnodes = [{}]', "has no endpoint"),
    "an address of another kind": (
        'driver = "remote"\nnodes = [{ endpoint = "http://x" }]',
        "not the address of a buildkitd",
    ),
    "certificates on a way that has its own": (
        'driver = "remote"\nnodes = [{ endpoint = "ssh://x", cacert = "c" }]',
        "which has no TLS",
    ),
    "a name on a certificate that nobody checks": (
        'driver = "remote"\nnodes = [{ endpoint = "tcp://x:1", servername = "y" }]',
        "without cacert",
    ),
    "a certificate without its key": (
        'driver = "remote"\nnodes = [{ endpoint = "tcp://x:1", cacert = "c", cert = "d" }]',
        "cert and key belong together",
    ),
    "flags for a daemon that runs already": (
        'driver = "remote"\nnodes = [{ endpoint = "tcp://x:1", flags = ["--debug"] }]',
        "does not start that daemon",
    ),
    "an address for a cluster": (
        'driver = "kubernetes"\nnodes = [{ endpoint = "tcp://x:1" }]',
        "the one of KUBECONFIG",
    ),
    "a certificate as an option": (
        'driver = "remote"\nnodes = [{ endpoint = "tcp://x:1", options = { cacert = "x" } }]',
        "it is a key of the node itself",
    ),
    "a configuration twice": (
        'driver = "docker-container"\ngc = {}\nnodes = [{ config = "b.toml" }]',
        "exclude each other",
    ),
}


@pytest.mark.parametrize(("table", "message"), BAD.values(), ids=BAD)
def test_what_contradicts_itself_is_refused(tmp_path: Path, table: str, message: str) -> None:
    write_project(tmp_path, f'image = "thing"\n[builders.b]\n{table}\n')
    with pytest.raises(InputError) as caught:
        load_config(tmp_path, {})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([], id="a list of builders"),
        pytest.param({"b": "remote"}, id="a builder that is a text"),
        pytest.param({"b": {"driver": "remote", "nodes": {}}}, id="nodes that are a table"),
        pytest.param({"b": {"driver": "remote", "nodes": ["x"]}}, id="a node that is a text"),
    ],
)
def test_what_is_of_another_kind_is_refused(value: object) -> None:
    with pytest.raises(MismatchError, match=r"a table|tables"):
        parse_builders(value)


@pytest.mark.parametrize("name", ["default", "Farm", "1st"])
def test_a_name_that_buildx_does_not_keep_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=name):
        parse_builders({name: {"driver": "docker"}})


def test_a_builder_is_found_by_its_name() -> None:
    farm = _parse(FARM)
    assert find_builder([farm], "farm") is farm
    assert find_builder([farm], "f") is None
    assert [str(p) for p in farm.platforms] == ["linux/amd64", "linux/386", "linux/arm64"]
    assert _parse(PODS).platforms == ()


def test_a_build_of_several_platforms_reads_every_cache_and_writes_none() -> None:
    farm = _parse(FARM)
    both = parse_platforms(["linux/amd64,linux/arm64"])
    ref = "type=registry,ref=r.example/cache:linux-"
    assert caches(farm, both) == ((f"{ref}amd64", f"{ref}arm64"), ())
    assert caches(farm, both[1:]) == ((f"{ref}arm64",), (f"{ref}arm64,mode=max",))
    # As the first node builds it.
    assert caches(farm, ()) == ((f"{ref}amd64",), (f"{ref}amd64,mode=max",))
    inline = replace(farm, cache_to=("type=inline",))
    assert caches(inline, both)[1] == ("type=inline",)


def _plan(root: Path, more: str = "", **request: Any) -> BuildPlan:
    write_project(root, f'image = "thing"\nbuilder = "farm"\n{more}{FARM}')
    project = a_project(root)
    return make_build_plan(project, BuildRequest(**request), project.dockerfile())


def test_the_builder_s_caches_count_where_no_others_are_configured(tmp_path: Path) -> None:
    plan = _plan(tmp_path, platforms=("linux/arm64",))
    assert plan.builder == "farm"
    assert plan.cache_from == ("type=registry,ref=r.example/cache:linux-arm64",)
    assert plan.cache_to == ("type=registry,ref=r.example/cache:linux-arm64,mode=max",)
    own = _plan(tmp_path, 'cache-from = ["a"]\ncache-to = ["b"]\n', platforms=("linux/arm64",))
    assert (own.cache_from, own.cache_to) == (("a",), ("b",))


def test_the_engine_s_own_builder_has_buildx_s_name_for_it(tmp_path: Path) -> None:
    write_project(tmp_path, 'image = "t"\nbuilder = "own"\n[builders.own]\ndriver = "docker"\n')
    project = a_project(tmp_path)
    assert make_build_plan(project, BuildRequest(), project.dockerfile()).builder == "default"


INSPECT = """\
Name:          farm
Driver:        remote
Last Activity: 2026-11-24 01:56:44 +0000 UTC

Nodes:
Name:             here
Endpoint:         tcp://build-1:1234
Driver Options:   cacert="/project/certs/ca.pem"
Status:           running
BuildKit version: v0.13.2
Platforms:        linux/amd64*, linux/386*, linux/amd64/v2, linux/arm64
Labels:
 org.mobyproject.buildkit.worker.hostname: vm
GC Policy rule#0:
 All:           false
 Keep Duration: 48h0m0s
 Keep Bytes:    488.3MiB
GC Policy rule#1:
 All:           true

Name:      farm1
Endpoint:  ssh://me@arm
Status:    inactive
Platforms: linux/arm64*
"""
FOUND = parse_builder(INSPECT)
HERE, ARM = FOUND.nodes


def test_the_nodes_of_a_builder_are_read() -> None:
    assert (FOUND.name, FOUND.driver) == ("farm", "remote")
    assert (
        Node(
            name="here",
            endpoint="tcp://build-1:1234",
            status="running",
            buildkit="v0.13.2",
            given=("linux/amd64", "linux/386"),
            platforms=("linux/amd64", "linux/386", "linux/amd64/v2", "linux/arm64"),
            gc=("keep duration 48h0m0s, keep bytes 488.3MiB", "all"),
        )
        == HERE
    )
    assert (ARM.name, ARM.status, ARM.given) == ("farm1", "inactive", ("linux/arm64",))


@pytest.mark.parametrize(
    ("platforms", "expected"),
    [
        pytest.param([], ["here"], id="the first, where nothing is asked for"),
        pytest.param(["linux/arm64"], ["farm1"], id="the one that has it"),
        pytest.param(["linux/amd64", "linux/386"], ["here"], id="one for two platforms"),
        pytest.param(["linux/arm64", "linux/amd64"], ["farm1", "here"], id="both"),
        pytest.param(["linux/riscv64"], ["here", "farm1"], id="all, where none was given it"),
    ],
)
def test_the_nodes_that_a_build_needs(platforms: list[str], expected: list[str]) -> None:
    assert [node.name for node in builder_check.needed_nodes(FOUND, platforms)] == expected


def _texts(plan: BuildPlan, found: Builder, settings: BuilderSettings | None) -> str:
    return "\n".join(map(str, builder_check.check_builder(plan, GOOD, found, settings)))


def test_only_a_node_that_is_needed_has_to_answer(tmp_path: Path) -> None:
    farm = _parse(FARM)
    assert _texts(_plan(tmp_path, platforms=("amd64",)), FOUND, farm) == ""
    text = _texts(_plan(tmp_path, platforms=("arm64",)), FOUND, farm)
    assert "node farm1 of the builder farm does not answer" in text
    assert "invoke docker-builder status --name farm says why" in text
    text = _texts(_plan(tmp_path, platforms=("arm64",)), FOUND, None)
    assert "docker buildx inspect farm" in text


def test_a_node_that_buildx_starts_need_not_run() -> None:
    assert not is_unreachable("docker-container", ARM)
    assert is_unreachable("docker-container", replace(ARM, error="no such host"))


RUNS = replace(FOUND, nodes=(HERE, replace(ARM, status="running")))


@pytest.mark.parametrize("output", ["load", "oci", "type=docker,dest=x", "type=tar,dest=x"])
def test_one_archive_of_several_nodes_that_are_not_described_is_refused(
    tmp_path: Path, output: str
) -> None:
    plan = _plan(tmp_path, platforms=("amd64", "arm64"), output=output)
    text = _texts(replace(plan, separate=()), RUNS, None)
    assert "can't be put together from several nodes: here, farm1" in text
    assert "give --push" in text


@pytest.mark.parametrize("output", ["push", "local", "cacheonly", "type=image,push=true"])
def test_what_several_nodes_can_do_together(tmp_path: Path, output: str) -> None:
    plan = _plan(tmp_path, platforms=("amd64", "arm64"), output=output)
    assert _texts(plan, RUNS, _parse(FARM)) == ""


def test_a_builder_that_differs_is_reported(tmp_path: Path) -> None:
    plan = _plan(tmp_path, platforms=("amd64",))
    moved = _parse(FARM.replace("build-1", "build-2"))
    assert "is not what the configuration describes" in _texts(plan, RUNS, moved)
    two = _parse(CONTAINERS.replace("builders.two", "builders.farm"))
    assert "is not what the configuration describes" in _texts(plan, RUNS, two)
    started = replace(RUNS, driver="docker-container")
    assert "is not what" in _texts(plan, started, two)
    assert _texts(plan, replace(started, driver="kubernetes"), _parse(PODS)) == ""
    assert _texts(plan, Builder(name="farm", driver="", error="no builder"), moved) == ""


def test_the_engine_of_another_context_is_reported(tmp_path: Path) -> None:
    there = _parse('[builders.own]\ndriver = "docker"\nnodes = [{ endpoint = "there" }]\n')
    plan = replace(_plan(tmp_path, platforms=("amd64",)), builder="there")
    node = Node(name="there", status="running")
    text = _texts(plan, Builder(name="there", driver="docker", nodes=(node,)), there)
    assert "set DOCKER_CONTEXT=there" in text


def test_a_platform_without_a_node_is_refused() -> None:
    wanted = parse_platforms(["linux/arm64", "linux/riscv64"])
    (problem,) = builder_check.check_platforms(_parse(FARM), wanted)
    assert isinstance(problem, InputError)
    assert "no node of the builder farm builds linux/riscv64" in str(problem)
    assert "its nodes build linux/amd64" in str(problem)
    assert builder_check.check_platforms(_parse(PODS), wanted) == []


def test_the_fate_of_a_cache_is_reported(tmp_path: Path) -> None:
    farm = _parse(FARM)
    plan = _plan(tmp_path, platforms=("amd64", "arm64"), output="cacheonly")
    (text,) = builder_check.cache_warnings(plan, farm)
    assert "builds of one platform alone" in text
    one = replace(farm, cache_to=("type=registry,ref=r.example/cache",))
    (text,) = builder_check.cache_warnings(replace(plan, cache_to=one.cache_to), one)
    assert "2 nodes write their cache to one place" in text
    alone = _plan(tmp_path, platforms=("amd64",))
    assert builder_check.cache_warnings(alone, farm) == []
    inline = replace(farm, cache_to=("type=inline",))
    assert builder_check.cache_warnings(replace(plan, cache_to=inline.cache_to), inline) == []


class FakeBuildx(FakeExecutor):
    """buildx as far as builders need it: it remembers them, and says of them what it says."""

    def __init__(self, *, fails: Sequence[str] = ()) -> None:
        super().__init__()
        self.builders: dict[str, list[str]] = {}
        self.fails = fails
        self.status = "running"

    def _answer(self, argv: Sequence[str]) -> Completed:
        self.asked.append(tuple(argv))
        words = list(argv)
        if any(word in words for word in self.fails):
            return Completed(code=1, stderr="\nERROR: it does not want to\n")
        name = words[words.index("--name") + 1] if "--name" in words else words[-1]
        match words[2]:
            case "create":
                if "--buildkitd-config" in words:
                    path = Path(words[words.index("--buildkitd-config") + 1])
                    # Twice, as buildx 0.38 does; a pipe would be empty then.
                    self.texts.append(path.read_text("utf-8"))
                    assert path.read_text("utf-8") == self.texts[-1]
                node, driver = (words[words.index(w) + 1] for w in ("--node", "--driver"))
                end = words[-1] if "://" in words[-1] else "unix:///var/run/docker.sock"
                rows = self.builders.setdefault(name, [f"Name: {name}\nDriver: {driver}\n\nNodes:"])
                rows.append(f"Name: {node}\nEndpoint: {end}\nStatus: STATUS\n")
            case "rm":
                self.builders.pop(name)
            case _ if name not in self.builders:
                return Completed(code=1, stderr=f'ERROR: no builder "{name}" found\n')
        text = "\n".join(self.builders.get(name, ()))
        return Completed(code=0, stdout=text.replace("STATUS", self.status))

    @property
    def done(self) -> list[str]:
        """Return what was done, without the questions."""
        verbs = [argv[2] for argv in self.asked if argv[2:] != ("inspect", argv[-1])]
        self.asked.clear()
        return verbs


def _flow(root: Path, buildx: FakeBuildx) -> BuilderManager:
    console, _, _ = a_console()
    (root / "certs").mkdir(exist_ok=True)
    for name in ("ca.pem", "c.pem", "k.pem"):
        (root / "certs" / name).touch()
    return BuilderManager(root, {"BUILDX_CONFIG": str(root / "buildx")}, buildx, console)


def test_the_same_description_twice_is_made_once(tmp_path: Path) -> None:
    buildx = FakeBuildx()
    flow = _flow(tmp_path, buildx)
    status = flow.create(_parse(FARM))
    assert status.state == "ready"
    assert buildx.done == ["create", "create"]
    # Only status asks what the nodes do.
    flow.usage(status, "farm")
    assert buildx.done == ["du", "history"]
    flow.usage(replace(status, state="silent"), "farm")
    assert buildx.done == []
    assert flow.create(_parse(FARM)).state == "ready"
    assert buildx.done == []
    flow.create(_parse(FARM.replace('servername = "node"', 'servername = "other"')))
    assert buildx.done == ["rm", "create", "create"]


def test_a_container_is_started_and_its_cache_outlives_a_change(tmp_path: Path) -> None:
    buildx = FakeBuildx()
    flow = _flow(tmp_path, buildx)
    flow.create(_parse(CONTAINERS))
    assert buildx.texts == ["[worker.oci]\n  gc = true\n  gckeepstorage = 20000000000\n"] * 2
    assert buildx.asked[-2:] == [
        ("docker", "buildx", "inspect", "two"),
        ("docker", "buildx", "inspect", "two"),
    ]
    assert ("docker", "buildx", "inspect", "--bootstrap", "two") in buildx.asked
    flow.create(_parse(CONTAINERS.replace("20 GB", "21 GB")))
    assert ("docker", "buildx", "rm", "--force", "--keep-state", "two") in buildx.asked


def test_what_makes_a_builder_is_shown_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = showing(monkeypatch)
    _flow(tmp_path, FakeBuildx()).create(_parse(CONTAINERS))
    assert shown[-1] == "docker buildx inspect --bootstrap two"


def test_missing_files_are_reported_before_anything_is_created(tmp_path: Path) -> None:
    buildx = FakeBuildx()
    flow = _flow(tmp_path, buildx)
    for name in ("c.pem", "k.pem"):
        (tmp_path / "certs" / name).unlink()
    with pytest.raises(ProblemsError) as caught:
        flow.create(_parse(FARM))
    assert "node here: cert" in str(caught.value)
    assert buildx.asked == []


@pytest.mark.parametrize("action", ["create", "remove"])
def test_a_foreign_builder_stays(tmp_path: Path, action: str) -> None:
    buildx = FakeBuildx()
    buildx.builders["farm"] = [INSPECT]
    flow = _flow(tmp_path, buildx)
    with pytest.raises(EngineError, match="was not made here"):
        flow.create(_parse(FARM)) if action == "create" else flow.remove("farm")
    assert buildx.done == []
    assert flow.status(_parse(FARM)).state == "strange"


def test_ours_that_was_created_again_elsewhere_is_foreign(tmp_path: Path) -> None:
    buildx = FakeBuildx()
    flow = _flow(tmp_path, buildx)
    flow.create(_parse(FARM))
    buildx.builders["farm"] = [INSPECT.replace("build-1", "elsewhere")]
    with pytest.raises(EngineError, match="was not made here"):
        flow.remove("farm")


def test_what_fails_half_way_is_undone(tmp_path: Path) -> None:
    buildx = FakeBuildx(fails=["--append"])
    flow = _flow(tmp_path, buildx)
    with pytest.raises(EngineError, match="it does not want to"):
        flow.create(_parse(FARM))
    assert buildx.done == ["create", "create", "rm"]
    assert buildx.builders == {}
    assert flow.records.read("farm") is None
    first = FakeBuildx(fails=["--node"])
    with pytest.raises(EngineError, match="failed with exit code 1"):
        _flow(tmp_path, first).create(_parse(FARM))
    # What another has made meanwhile is not removed.
    assert first.done == ["create"]


@pytest.mark.parametrize(
    ("node", "left"),
    [
        pytest.param("here", True, id="in the first command: it may be there"),
        pytest.param("farm1", False, id="later: what was made is removed"),
    ],
)
def test_what_is_interrupted_stays_ours_until_it_is_gone(
    tmp_path: Path, node: str, *, left: bool
) -> None:
    class Interrupted(FakeBuildx):
        def run(
            self,
            argv: Sequence[str],
            *,
            timeout: float | None = None,
            env: Mapping[str, str] = NOTHING,
        ) -> Completed:
            if node in argv:
                raise CancelledError("interrupted")
            return super().run(argv, timeout=timeout, env=env)

    buildx = Interrupted()
    flow = _flow(tmp_path, buildx)
    with pytest.raises(CancelledError):
        flow.create(_parse(FARM))
    assert buildx.builders == {}
    assert (flow.records.read("farm") is not None) == left


def test_a_node_that_does_not_answer_leaves_nothing_of_a_new_builder(tmp_path: Path) -> None:
    buildx = FakeBuildx()
    table = '[builders.one]\ndriver = "remote"\nnodes = [{ endpoint = "unix:///nowhere" }]\n'
    flow, farm = _flow(tmp_path, buildx), _parse(table)
    buildx.builders["other"] = ["Name: other\nDriver: remote\n\nNodes:"]
    buildx.status = "inactive"
    with pytest.raises(EngineError, match="node one0 of the builder one does not answer"):
        flow.create(farm)
    assert (list(buildx.builders), flow.records.read("one")) == (["other"], None)
    # What was there before it is nothing that it made.
    buildx.status = "running"
    flow.create(farm)
    buildx.status = "inactive"
    with pytest.raises(EngineError, match="does not answer"):
        flow.create(farm)
    assert "one" in buildx.builders
    assert flow.status(farm).state == "silent"


def test_what_can_not_be_removed_again_stays_ours_and_is_reported(tmp_path: Path) -> None:
    buildx = FakeBuildx(fails=["farm1", "rm"])
    console, _, err = a_console()
    _flow(tmp_path, buildx)
    flow = BuilderManager(tmp_path, {"BUILDX_CONFIG": str(tmp_path / "buildx")}, buildx, console)
    with pytest.raises(EngineError, match="it does not want to"):
        flow.create(_parse(FARM))
    assert "farm may be left: invoke docker-builder remove --name farm" in err.getvalue()
    assert flow.records.read("farm") is not None


def test_what_was_interrupted_is_created_again(tmp_path: Path) -> None:
    buildx = FakeBuildx()
    flow = _flow(tmp_path, buildx)
    flow.create(_parse(FARM))
    half = OwnBuilder(driver="remote", nodes={"here": "", "farm1": ""})
    flow.records.write("farm", half)
    buildx.builders["farm"] = buildx.builders["farm"][:2]
    assert flow.status(_parse(FARM)).state == "changed"
    assert buildx.done == ["create", "create"]
    flow.create(_parse(FARM))
    assert buildx.done == ["rm", "create", "create"]


def test_removing_twice_is_removing_once(tmp_path: Path) -> None:
    buildx = FakeBuildx()
    flow = _flow(tmp_path, buildx)
    flow.create(_parse(FARM))
    assert flow.remove("farm")
    assert not flow.remove("farm")
    assert flow.status(_parse(FARM)).state == "absent"


def test_a_status_names_nodes_and_what_is_wrong(tmp_path: Path) -> None:
    buildx = FakeBuildx()
    flow = _flow(tmp_path, buildx)
    # No address that a probe could ask.
    table = FARM.replace("tcp://build-1:1234", "unix:///nowhere").replace(
        ', cacert = "certs/ca.pem", cert = "certs/c.pem", key = "certs/k.pem", servername = "node"',
        "",
    )
    builder = _parse(table)
    flow.create(builder)
    buildx.status = "inactive"
    status = flow.status(builder)
    assert status.state == "silent"
    assert "here: it is inactive" in status.as_text()
    assert [str(problem).splitlines()[0] for problem in status.problems()] == [
        "node here of the builder farm does not answer",
        "node farm1 of the builder farm does not answer",
    ]
    assert json.loads(json.dumps(status.as_dict()))["nodes"][0]["state"] == "inactive"
    with pytest.raises(ProblemsError):
        flow.create(builder)


def test_a_builder_that_docker_does_not_tell_about_is_no_absent_one(tmp_path: Path) -> None:
    buildx = FakeBuildx(fails=["inspect"])
    with pytest.raises(EngineError, match="can't inspect farm"):
        _flow(tmp_path, buildx).create(_parse(FARM))


def test_the_engine_s_own_builder_is_looked_at_and_left(tmp_path: Path) -> None:
    buildx = FakeBuildx()
    buildx.builders["default"] = ["Name: default\nDriver: docker\n\nNodes:\n"]
    buildx.builders["default"].append("Name: default\nStatus: running\nPlatforms: linux/amd64\n")
    own = _parse('[builders.own]\ndriver = "docker"\n')
    assert _flow(tmp_path, buildx).create(own).state == "ready"
    assert buildx.done == []


def test_a_record_lies_beside_buildx_s_own(tmp_path: Path) -> None:
    record = OwnBuilder(driver="kubernetes", fingerprint="x")
    for env, folder in (
        ({"BUILDX_CONFIG": f"{tmp_path}/a", "DOCKER_CONFIG": f"{tmp_path}/b"}, "a"),
        ({"DOCKER_CONFIG": f"{tmp_path}/b", "HOME": f"{tmp_path}/c"}, "b/buildx"),
        ({"HOME": f"{tmp_path}/c"}, "c/.docker/buildx"),
    ):
        OwnBuilders(env).write("pods", record)
        assert (tmp_path / folder / "buildlib/pods.json").is_file()
        assert OwnBuilders(env).read("pods") == record
    assert record.owns(Builder(name="pods", driver="kubernetes", nodes=(HERE,)))
    assert not record.owns(FOUND)
    (tmp_path / "a/buildlib/pods.json").write_text("[]", encoding="utf-8")
    assert OwnBuilders({"BUILDX_CONFIG": f"{tmp_path}/a"}).read("pods") is None


def test_a_record_that_can_not_be_kept_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match="can't write to"):
        OwnBuilders({"BUILDX_CONFIG": str(tmp_path / "file")}).write(
            "b", OwnBuilder(driver="remote")
        )


def test_a_context_that_is_not_there_is_not_for_us_to_make(tmp_path: Path) -> None:
    own = _parse('[builders.own]\ndriver = "docker"\nnodes = [{ endpoint = "gone" }]\n')
    with pytest.raises(EngineError) as caught:
        _flow(tmp_path, FakeBuildx()).create(own)
    assert "docker context ls" in str(caught.value)
    assert missing_hint(_parse(FARM)) == "invoke docker-builder create --name farm"
