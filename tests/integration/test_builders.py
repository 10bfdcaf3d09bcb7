"""Builders for real: two buildkitd on loopback as two machines, one for each platform, with TLS."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from buildkit import image_of_buildkit
from cloudservice import cloud_service
from conftest import ROOT, Checkout, go_tool, start_task
from farms import User, make_user, wait_for
from farms import table as _table
from nodes import Authority, Daemon, built_here, daemon, make_authority, times_here
from registries import Server, registry
from releases import CURRENT, PATH, PLAIN, make_release

from buildlib.image.archive import open_archive
from buildlib.image.elf import program_arch

# Where buildkitd is not in the cache yet it is compiled, which takes minutes.
pytestmark = [
    pytest.mark.builders,
    pytest.mark.timeout(2400),
    pytest.mark.usefixtures("engine"),
]
Make = Callable[..., Checkout]
PLATFORMS = ("linux/amd64", "linux/arm64")
SLUGS = ("linux_amd64", "linux_arm64")
COPIES = "FROM scratch\nCOPY tasks.py /\n"
# What a machine that is not there may cost before it is told, in seconds.
LIMIT = 60
# A task that asks the nodes after two seconds of silence, and not only after half a minute; and
# once, as buildx waits 20 seconds for an answer. Unit tests hold that a busy node is asked twice.
IMPATIENT = """\
from buildlib.build import attempts
from invoke.main import program
attempts.SILENCE = 2.0
attempts.CHANCES = 1
program.run()
"""


@pytest.fixture(scope="module", name="authority")
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority") / "ca")


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[list[Daemon]]:
    """Run two machines: the first is for amd64, the second for arm64."""
    folder = tmp_path_factory.mktemp("farm")
    with ExitStack() as stack:
        names = ("amd", "arm")
        yield [stack.enter_context(daemon(folder / name, authority)) for name in names]


@pytest.fixture(scope="module", name="golang")
def _golang() -> str:
    """Return the compiler's image that this repository uses."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    match = re.search(r"^ARG GO_VERSION=(\S+)", text, re.MULTILINE)
    assert match
    return f"golang:{match[1]}-alpine"


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[Server]:
    with registry(tmp_path / "registry", password=False) as running:
        yield running


def _two(daemons: Sequence[Daemon], more: str = "") -> str:
    return _table(daemons, more, [f'"{platform}"' for platform in PLATFORMS])


@pytest.fixture(name="make_user")
def _make_user(
    make_checkout: Make, tmp_path: Path, authority: Authority
) -> Callable[[str, str], User]:
    """Return a maker of users; buildx remembers no builder of theirs after the test."""

    def make(dockerfile: str, table: str, folder: str = "repo") -> User:
        buildx = tmp_path / f"buildx-{folder}"
        return make_user(make_checkout, authority, buildx, dockerfile, table, folder)

    return make


def _output(user: User) -> Path:
    (folder,) = (user.checkout.root / "dist").iterdir()
    return folder


def _states(user: User) -> dict[str, str]:
    (found,) = json.loads(user.invoke("docker-builder", "status", "--json").stdout)["builders"]
    return {"": found["state"], **{node["name"]: node["state"] for node in found["nodes"]}}


@pytest.mark.toolchain
def test_create_status_build_and_remove(
    make_user: Callable[..., User], farm: list[Daemon], golang: str
) -> None:
    dockerfile = (
        f"FROM --platform=$BUILDPLATFORM {golang} AS compile\n"
        "ARG TARGETARCH\nWORKDIR /src\nCOPY go.mod main.go ./\n"
        "RUN uname -m >/machine && CGO_ENABLED=0 GOARCH=$TARGETARCH go build -o /thing .\n"
        "FROM scratch\nCOPY --from=compile /machine /thing /\n"
    )
    user = make_user(dockerfile, _two(farm))
    (user.checkout.root / "go.mod").write_text("module thing\n", encoding="utf-8")
    main = "package main\n\nfunc main() { println(1) }\n"
    (user.checkout.root / "main.go").write_text(main, encoding="utf-8")

    missing = user.invoke("docker-build", "--builder", "farm")
    assert missing.returncode == 4
    assert "invoke docker-builder create --name farm" in missing.stderr
    assert "$ docker buildx build" not in missing.stderr

    assert _states(user)[""] == "absent"
    assert "running" in user.succeed("docker-builder", "create").stdout
    assert _states(user) == {"": "ready", "node0": "running", "node1": "running"}
    again = user.succeed("docker-builder", "create")
    assert "already exists" in again.stderr
    assert "$ docker buildx create" not in again.stderr

    user.build("--platform", "all", "--output", "local")
    # Compiled by this machine's own kind of program on both nodes, for two kinds of machine.
    for slug, arch in zip(SLUGS, ("amd64", "arm64"), strict=True):
        folder = _output(user) / slug
        assert (folder / "machine").read_text(encoding="utf-8").strip() == os.uname().machine
        assert program_arch((folder / "thing").read_bytes()[:64]) == arch
    # Each daemon remembers that it built its platform, and none else.
    assert [built_here(one) for one in farm] == [{name} for name in PLATFORMS]

    assert user.succeed("docker-builder", "remove").stdout == "removed farm\n"
    assert _states(user)[""] == "absent"
    assert user.succeed("docker-builder", "remove").stdout == "farm was not there\n"


def test_the_dry_run_can_be_pasted(
    make_user: Callable[..., User], farm: list[Daemon], tmp_path: Path
) -> None:
    user = make_user(COPIES, _two(farm))
    printed = user.succeed("docker-builder", "create", "--dry-run").stdout
    assert _states(user)[""] == "absent"
    env = user.checkout.environment(user.env)
    subprocess.run(["sh", "-ec", printed], env=env, cwd=tmp_path, check=True, capture_output=True)
    pasted = user.buildx("inspect", "farm")
    user.buildx("rm", "--force", "farm")
    user.succeed("docker-builder", "create")
    kept = ("Name", "Driver:", "Endpoint", "Platforms", "Status")
    made = user.buildx("inspect", "farm")
    rows = [
        [line for line in text.splitlines() if line.startswith(kept)] for text in (pasted, made)
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 10


def _alone(one: Daemon) -> str:
    """Return the table of a builder of one node that builds every platform."""
    table = _table([one], "", [", ".join(f'"{name}"' for name in PLATFORMS)])
    return table.replace("builders.farm", "builders.alone")


@pytest.mark.toolchain
def test_several_nodes_push_the_index_of_a_single_node(
    make_user: Callable[..., User], farm: list[Daemon], server: Server
) -> None:
    place = f"type=registry,ref={server.host}/cache:{{platform}}"
    more = f'cache-from = ["{place}"]\ncache-to = ["{place},mode=max"]\n'
    # A file of its own for each platform: the registry, of version 2.8, can answer 400 where the
    # same layer comes from two sides in one moment.
    dockerfile = "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /\n"
    user = make_user(dockerfile, _two(farm, more) + _alone(farm[0]))
    for name in ("amd64", "arm64"):
        (user.checkout.root / name).write_text(name, encoding="utf-8")
    user.env["SOURCE_DATE_EPOCH"] = "1700000000"
    for name in ("farm", "alone"):
        user.succeed("docker-builder", "create", "--name", name)
        for number, option in enumerate(((), ("--annotation", "index:a=<1>"))):
            tags = [f"{server.host}/{name}:{number}", f"{server.host}/other/{name}:x{number}"]
            named = [word for tag in tags for word in ("--tag", tag)]
            words = ("docker-build", "--builder", name, "--platform", "all", "--push", *named)
            done = json.loads(user.succeed(*words, "--json", *option).stdout)
            assert server.tags(name)[f"{number}"] == done["digest"]
            assert server.tags(f"other/{name}")[f"x{number}"] == done["digest"]
    assert server.tags("farm") == server.tags("alone")
    shown = user.buildx("imagetools", "inspect", "--raw", f"{server.host}/farm:1")
    index = json.loads(shown)
    assert [one["platform"]["architecture"] for one in index["manifests"]] == ["amd64", "arm64"]
    assert index["annotations"] == {"a": "<1>"}
    # Each build wrote the cache of its platform.
    assert set(server.tags("cache")) == {"linux-amd64", "linux-arm64"}
    # Pasted, the dry run gives the same.
    words = ("docker-build", "--builder", "farm", "--platform", "all", "--push", "--dry-run")
    tag = f"{server.host}/pasted:1"
    printed = user.succeed(*words, "--annotation", "index:a=<1>", "--tag", tag).stdout
    env = user.checkout.environment(user.env)
    subprocess.run(["sh", "-ec", printed], env=env, check=True, capture_output=True)
    assert server.tags("pasted") == {"1": server.tags("farm")["1"]}


@pytest.mark.toolchain
def test_what_several_nodes_build_is_loaded_and_smoked(
    make_user: Callable[..., User], farm: list[Daemon], alpine: str
) -> None:
    top = 'builder = "farm"\n'
    smoke = '[smoke]\npolicy = false\ncommands = [{ run = ["cat", "/made"], stdout = "64" }]\n'
    dockerfile = f"FROM {alpine}\nARG TARGETARCH\nRUN echo $TARGETARCH >/made\n"
    user = make_user(dockerfile, f"{top}{smoke}{_two(farm)}")
    # Files that are not committed have the time of the build.
    user.env["SOURCE_DATE_EPOCH"] = "1700000000"
    user.succeed("docker-builder", "create")
    words = ("docker-build", "--platform", "all")
    done = json.loads(user.succeed(*words, "--json").stdout)
    image = done["references"][0]
    try:
        argv = ["docker", "image", "inspect", "--format", "{{.Id}}", image]
        shown = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        assert shown.strip() == done["digest"]
        assert done["size"] > 0
        for platform in PLATFORMS:
            argv = ["docker", "run", "--rm", "--platform", platform, image, "cat", "/made"]
            said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
            assert platform == f"linux/{said.strip()}"
        # Pasted, the dry run loads it again.
        subprocess.run(["docker", "image", "rm", *done["references"]], check=True)
        printed = user.succeed(*words, "--dry-run").stdout
        env = user.checkout.environment(user.env)
        subprocess.run(["sh", "-ec", printed], env=env, check=True, capture_output=True)
        argv = ["docker", "image", "inspect", "--format", "{{.Id}}", image]
        again = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        assert again == shown
    finally:
        subprocess.run(["docker", "image", "rm", *done["references"]], check=False)
    smoked = json.loads(user.succeed("docker-smoke", "--platform", "all", "--json").stdout)
    assert [one["platform"] for one in smoked["smoke"]] == list(PLATFORMS)
    lines = user.succeed("docker-smoke", "--platform", "all", "--dry-run").stdout
    assert lines.count("docker buildx build --builder farm") == 2
    assert lines.index("docker load --input") < lines.index("docker run")


@pytest.mark.parametrize("output", ["type=docker,dest=x.tar", "type=tar,dest=x.tar"])
def test_what_several_nodes_can_not_put_together_is_reported_before_work(
    make_user: Callable[..., User], farm: list[Daemon], output: str
) -> None:
    user = make_user(COPIES, _two(farm))
    user.succeed("docker-builder", "create")
    words = ("docker-build", "--builder", "farm", "--output", output)
    done = user.invoke(*words, "--platform", "all")
    assert done.returncode == 4, done.stderr
    assert "can't be put together from several nodes: node0, node1" in done.stderr
    assert "give --output oci" in done.stderr
    assert "--push, or --output local" in done.stderr
    assert "$ docker buildx build" not in done.stderr
    # The way out that the message gives.
    user.succeed(*words, "--platform", "linux/arm64")


@pytest.mark.toolchain
def test_an_archive_of_several_nodes_has_the_digest_of_one_node(
    make_user: Callable[..., User], farm: list[Daemon], golang: str, server: Server
) -> None:
    dockerfile = (
        f"FROM --platform=$BUILDPLATFORM {golang} AS compile\n"
        "ARG TARGETARCH\nRUN sleep 2; echo $TARGETARCH >/thing\n"
        "FROM scratch\nCOPY --from=compile /thing /\n"
    )
    place = f"type=registry,ref={server.host}/cache:{{platform}}"
    more = f'cache-from = ["{place}"]\ncache-to = ["{place},mode=max"]\n'
    annotation = '[build]\nannotations = { "index:a" = "<é>", "manifest-descriptor:d" = "1" }\n'
    user = make_user(dockerfile, annotation + _two(farm, more) + _alone(farm[0]))
    # Files that are not committed have the time of the build.
    user.env["SOURCE_DATE_EPOCH"] = "1700000000"
    words = ("docker-build", "--platform", "all", "--output", "oci")
    digests = []
    before = [set(times_here(one)) for one in farm]
    for name in ("farm", "alone"):
        user.succeed("docker-builder", "create", "--name", name)
        if name == "alone":
            # By their own records, both nodes built at the same time.
            times = [times_here(one) for one in farm]
            (began, ended), (begun, end) = (
                found[ref]
                for found, known in zip(times, before, strict=True)
                for ref in set(found) - known
            )
            assert max(began, begun) < min(ended, end)
        done = json.loads(user.succeed(*words, "--builder", name, "--json").stdout)
        digests.append(done["digest"])
        assert done["platforms"] == list(PLATFORMS)
        # Nothing of the parts is left.
        assert str(_output(user)) == done["destination"]
        with open_archive(_output(user)) as archive:
            archive.verify()
            assert archive.top() == done["digest"]
    assert digests[0] == digests[1]
    shown = user.succeed("docker-builder", "status", "--name", "farm", "--json").stdout
    (status,) = json.loads(shown)["builders"]
    assert status["cache"] > 0
    assert all(node["gc"] for node in status["nodes"])
    # Each build wrote the cache of its platform.
    assert set(server.tags("cache")) == {"linux-amd64", "linux-arm64"}
    # Pasted, the dry run gives the same.
    printed = user.succeed(*words, "--builder", "farm", "--dry-run").stdout
    shutil.rmtree(user.checkout.root / "dist")
    env = user.checkout.environment(user.env)
    subprocess.run(["sh", "-ec", printed], env=env, check=True, capture_output=True)
    with open_archive(_output(user)) as archive:
        assert archive.top() == digests[0]
    # So do two builds under other conditions, both of them without a cache.
    user.env["BUILDLIB_BUILDER"] = "farm"
    again = json.loads(user.succeed("docker-reproduce", "--json").stdout)
    assert again["digests"] == [digests[0]] * 2


@pytest.mark.toolchain
def test_a_release_from_two_nodes_is_the_one_of_a_single_node(
    tmp_path: Path, farm: list[Daemon], authority: Authority
) -> None:
    certificate, key = authority.sign("client")
    tables = _two(farm) + _alone(farm[0])
    places = {"ca.pem": authority.certificate, "cert.pem": certificate, "key.pem": key}
    for name, path in places.items():
        tables = tables.replace(f'"certs/{name}"', f'"{path}"')
    with registry(tmp_path / "registry") as server:
        config = f'builder = "farm"\n{tables}'
        hosts = {"one": server.host}
        release = make_release(
            tmp_path / "repo", hosts, [server], config=config, provenance=True, content="farm"
        )
        release.env["BUILDX_CONFIG"] = str(tmp_path / "buildx")
        # No file of the checkout, whose time and mode would be those of the image.
        text = "FROM scratch\nARG VERSION\nARG TARGETARCH\n"
        text += "COPY <<EOF /program\n$TARGETARCH\nEOF\nUSER 1001\n"
        (release.root / "Dockerfile").write_text(text, encoding="utf-8")
        release.commit("again", "v1.2.4")
        for name in ("farm", "alone"):
            assert release.invoke("docker-builder", "create", "--name", name).returncode == 0
        release.publish(PLAIN)
        receipt = release.receipt
        assert release.tags == [dict.fromkeys(["1", "1.2", "1.2.4", "latest"], receipt["digest"])]
        assert [gate["state"] for gate in receipt["gates"]] == ["passed", "passed"]
        # BuildKit's statement about the image of each node.
        assert [one["platform"] for one in receipt["provenance"]] == list(PLATFORMS)
        assert release.invoke("docker-verify", f"{server.host}/{PATH}:1.2.4").returncode == 0
        # One node, under other conditions and without a cache, builds the same bytes twice.
        release.env["BUILDLIB_BUILDER"] = "alone"
        again = json.loads(release.invoke("docker-reproduce", "--json").stdout)
        assert again["digests"] == [receipt["digest"]] * 2


def test_a_certificate_of_somebody_else_is_refused_and_reported(
    make_user: Callable[..., User], farm: list[Daemon], tmp_path: Path
) -> None:
    user = make_user(COPIES, _two(farm))
    user.certify(make_authority(tmp_path / "stranger"))
    started = time.monotonic()
    done = user.invoke("docker-builder", "create")
    assert done.returncode == 4
    assert "node node0 of the builder farm does not answer" in done.stderr
    assert "it refuses the certificate" in done.stderr
    # Nothing is left of it.
    assert _states(user)[""] == "absent"
    done = user.invoke("docker-build", "--builder", "farm", "--output", "cacheonly")
    assert done.returncode == 4
    assert "builder farm can't be used" in done.stderr
    assert "invoke docker-builder create --name farm" in done.stderr
    assert "$ docker buildx build" not in done.stderr
    assert time.monotonic() - started < LIMIT


def test_a_node_whose_name_is_another_is_not_trusted(
    make_user: Callable[..., User], farm: list[Daemon]
) -> None:
    user = make_user(COPIES, _two(farm).replace("key.pem", 'key.pem", servername = "else.test'))
    done = user.invoke("docker-builder", "create")
    assert done.returncode == 4
    assert "its certificate is not trusted" in done.stderr
    text = user.config.read_text(encoding="utf-8")
    user.config.write_text(text.replace("else.test", "node.test"), encoding="utf-8")
    assert "ready" in user.succeed("docker-builder", "create").stdout


def test_a_builder_of_somebody_else_is_never_removed(
    make_user: Callable[..., User], farm: list[Daemon]
) -> None:
    user = make_user(COPIES, _two(farm))
    user.buildx("create", "--name", "farm", "--driver", "remote", "tcp://127.0.0.1:1")
    for action in ("create", "remove", "status"):
        done = user.invoke("docker-builder", action)
        assert done.returncode == 4, done.stdout
        assert "a builder farm that was not made here, so it stays" in done.stderr
    assert "tcp://127.0.0.1:1" in user.buildx("inspect", "farm")
    done = user.invoke("docker-build", "--builder", "farm")
    assert done.returncode == 4
    assert "is not what the configuration describes" in done.stderr


def test_a_machine_behind_ssh(
    make_user: Callable[..., User], farm: list[Daemon], tmp_path: Path
) -> None:
    # What ssh would start on the machine is started here, with the words that buildx gives it.
    folder = tmp_path / "bin"
    folder.mkdir()
    script = '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift 3\n'
    (folder / "ssh").write_text(f'{script}exec {go_tool("buildctl")} "$@"\n', encoding="utf-8")
    (folder / "ssh").chmod(0o755)
    node = f'{{ endpoint = "ssh://me@machine{farm[1].socket}", platforms = ["linux/arm64"] }}'
    user = make_user(COPIES, f'[builders.farm]\ndriver = "remote"\nnodes = [{node}]\n')
    user.env["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
    assert "running" in user.succeed("docker-builder", "create").stdout
    user.build("--platform", "linux/arm64", "--output", "local")


def test_a_node_that_hangs_is_not_waited_for_without_end(
    make_user: Callable[..., User], farm: list[Daemon]
) -> None:
    user = make_user(COPIES, _two(farm))
    user.succeed("docker-builder", "create")
    process = farm[1].process
    assert process
    process.send_signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        done = user.invoke("docker-build", "--builder", "farm", "--platform", "linux/arm64")
        assert time.monotonic() - started < LIMIT
    finally:
        process.send_signal(signal.SIGCONT)
    assert done.returncode == 4
    assert "node node1 of the builder farm does not answer" in done.stderr
    user.build("--platform", "linux/arm64", "--output", "cacheonly")


def test_what_several_nodes_write_to_one_place_is_warned_of(
    make_user: Callable[..., User], farm: list[Daemon], server: Server
) -> None:
    reference = f"type=registry,ref={server.host}/one"
    user = make_user(COPIES, _two(farm, f'cache-to = ["{reference}"]\n'))
    user.succeed("docker-builder", "create")
    done = user.build("--platform", "all", "--output", "cacheonly")
    assert any("where the last one stays" in warning for warning in done["warnings"])


@dataclass(frozen=True)
class Building:
    """A build on two machines of a test's own, at a moment when both are at work."""

    user: User
    amd: Daemon
    arm: Daemon
    words: tuple[str, ...]
    process: subprocess.Popen[str]


@pytest.fixture
def building(
    make_user: Callable[..., User],
    tmp_path: Path,
    authority: Authority,
    end_group: Callable[[subprocess.Popen[str]], None],
) -> Iterator[Callable[..., Building]]:
    """Return a starter of such a build."""
    with daemon(tmp_path / "amd", authority) as amd, daemon(tmp_path / "arm", authority) as arm:

        def start(dockerfile: str, output: str, *, impatient: bool = False, **env: str) -> Building:
            user = make_user(dockerfile, _two([amd, arm]))
            user.succeed("docker-builder", "create")
            user.env |= env
            words = ("docker-build", "--builder", "farm", "--platform", "all", "--output", output)
            environment = user.checkout.environment(user.env)
            argv = [sys.executable, "-c", IMPATIENT, *words]
            if not impatient:
                argv = user.checkout.command(*words)
            process = start_task(argv, user.checkout.root, environment)
            end_group(process)
            wait_for(lambda: arm.containers() and amd.containers())
            return Building(user, amd, arm, words, process)

        yield start


@pytest.mark.toolchain
def test_a_node_that_is_killed_in_mid_build(
    building: Callable[..., Building], tmp_path: Path, alpine: str
) -> None:
    slow = f"FROM --platform=$BUILDPLATFORM {alpine} AS compile\nARG TARGETARCH\n"
    slow += (
        "RUN echo $TARGETARCH >/made && sleep SECONDS\nFROM scratch\nCOPY --from=compile /made /\n"
    )
    temporary = tmp_path / "t"
    temporary.mkdir()
    begun = building(slow.replace("SECONDS", "600"), "local", TMPDIR=str(temporary))
    user = begun.user
    begun.arm.kill()
    killed = time.monotonic()
    output, _ = begun.process.communicate(timeout=LIMIT)
    assert time.monotonic() - killed < LIMIT
    assert begun.process.returncode == 4, output
    assert "Traceback" not in output
    # Nothing is left of it: neither files of ours, nor the work of the node that lives.
    assert list(temporary.iterdir()) == []
    assert not [*(user.checkout.root / "dist").rglob("*")]
    wait_for(lambda: not begun.amd.containers())

    started = time.monotonic()
    done = user.invoke(*begun.words)
    assert time.monotonic() - started < LIMIT
    assert done.returncode == 4
    assert "node node1 of the builder farm does not answer" in done.stderr
    assert _states(user) == {"": "silent", "node0": "running", "node1": "inactive"}
    # The platform of the node that lives can be built meanwhile.
    user.checkout.dockerfile(slow.replace("SECONDS", "0"))
    user.build("--platform", "linux/amd64", "--output", "cacheonly")

    begun.arm.start()
    user.succeed(*begun.words)
    made = [(_output(user) / slug / "made").read_text(encoding="utf-8") for slug in SLUGS]
    assert made == ["amd64\n", "arm64\n"]


def test_a_node_that_stops_in_mid_build_is_not_waited_for_without_end(
    building: Callable[..., Building], alpine: str
) -> None:
    # It keeps its connections, and says nothing: no network tells that it is gone.
    slow = f"FROM --platform=$BUILDPLATFORM {alpine}\nARG TARGETARCH\n"
    slow += "RUN echo $TARGETARCH && sleep 600\n"
    begun = building(slow, "cacheonly", impatient=True)
    assert begun.arm.process
    begun.arm.process.send_signal(signal.SIGSTOP)
    try:
        output, _ = begun.process.communicate(timeout=3 * LIMIT)
    finally:
        begun.arm.process.send_signal(signal.SIGCONT)
    assert begun.process.returncode == 4, output
    assert "node node1 of the builder farm does not answer" in output
    assert "node0" not in output.partition("does not answer")[2]
    assert "Traceback" not in output
    # Neither the node that lives nor the one that comes back goes on with it.
    wait_for(lambda: not begun.amd.containers() and not begun.arm.containers())


@pytest.mark.toolchain
def test_a_registry_makes_the_cold_build_of_another_machine_warm(
    make_user: Callable[..., User],
    farm: list[Daemon],
    tmp_path: Path,
    authority: Authority,
    alpine: str,
    server: Server,
) -> None:
    dockerfile = (
        f"FROM --platform=$BUILDPLATFORM {alpine} AS compile\n"
        "ARG TARGETARCH\nCOPY tasks.py /\nRUN echo $TARGETARCH >/made\n"
        "FROM scratch\nCOPY --from=compile /made /\n"
    )
    reference = f"type=registry,ref={server.host}/cache:{{platform}}"
    shared = f'cache-from = ["{reference}"]\ncache-to = ["{reference},mode=max"]\n'
    user = make_user(dockerfile, _two(farm, shared))
    user.succeed("docker-builder", "create")
    user.build("--platform", "all", "--output", "oci")
    assert sorted(server.tags("cache")) == ["linux-amd64", "linux-arm64"]

    with daemon(tmp_path / "cold", authority) as cold:
        both = ", ".join(f'"{platform}"' for platform in PLATFORMS)
        other = make_user(dockerfile, _table([cold], shared, [both]), "other")
        other.succeed("docker-builder", "create")
        for platform in PLATFORMS:
            done = other.build("--platform", platform, "--output", "local")
            # What runs, what copies it, and the file that both platforms copy.
            assert done["steps"] == done["cached"] == 3
            made = (_output(other) / "made").read_text(encoding="utf-8")
            assert platform == f"linux/{made.strip()}"


@pytest.mark.toolchain
def test_a_container_as_a_builder(make_user: Callable[..., User], tmp_path: Path) -> None:
    with image_of_buildkit(tmp_path / "image") as image:
        name = image.partition(":")[0]
        table = f'[builders."{name}"]\ndriver = "docker-container"\n'
        table += (
            f'gc = {{ keep-storage = "1 GB" }}\nnodes = [{{ options = {{ image = "{image}" }} }}]\n'
        )
        user = make_user(COPIES, table)
        try:
            assert "running" in user.succeed("docker-builder", "create").stdout
            rules = user.buildx("inspect", name)
            assert "953.7MiB" in rules
            words = ("docker-build", "--builder", name, "--output")
            user.succeed("docker-build", "--output", "cacheonly")
            first = user.succeed(*words, "oci")
            assert re.search(rf"COPY tasks.py /\n +other builder: .+ → {name}\n", first.stderr)
            (step,) = json.loads(user.succeed("docker-why", "--json").stdout)["steps"]
            assert step["cause"]["kind"] == "builder"
            user.succeed("docker-builder", "create")
            # Other options: created again, and the cache is kept.
            text = user.config.read_text(encoding="utf-8").replace("1 GB", "2 GB")
            user.config.write_text(text, encoding="utf-8")
            assert "created again" in user.succeed("docker-builder", "create").stderr
            again = user.succeed(*words, "cacheonly", "--json", "--no-cache", "--dry-run")
            (line,) = json.loads(again.stdout)["commands"]
            assert shlex.split(line)[:5] == ["docker", "buildx", "build", "--builder", name]
            done = json.loads(user.succeed(*words, "cacheonly", "--json").stdout)
            assert done["cached"] == done["steps"]
            user.succeed("docker-builder", "remove")
            assert user.buildx("inspect", name) == ""
        finally:
            user.buildx("rm", "--force", name)


@pytest.mark.toolchain
def test_the_builder_of_docker_itself(make_user: Callable[..., User]) -> None:
    user = make_user(COPIES, '[builders.own]\ndriver = "docker"\n')
    done = user.succeed("docker-builder", "create")
    assert "nothing to make" in done.stderr
    assert "default" in done.stdout
    built = user.succeed("docker-build", "--builder", "own", "--json")
    assert "docker buildx build --builder default" in json.loads(built.stdout)["command"]
    assert user.invoke("docker-builder", "remove").returncode == 2


@pytest.mark.toolchain
def test_the_driver_cloud_with_a_fake_service(
    make_user: Callable[..., User], authority: Authority, tmp_path: Path
) -> None:
    with (
        daemon(tmp_path / "node", authority, mutual=False) as one,
        cloud_service(one, tmp_path) as (docker, options),
    ):
        pairs = ", ".join(f'"{name}" = "{value}"' for name, value in options.items())
        node = f'{{ endpoint = "acme/default", options = {{ {pairs} }} }}'
        user = make_user(COPIES, f'[builders.cloud]\ndriver = "cloud"\nnodes = [{node}]\n')
        user.env["DOCKER_CONFIG"] = str(docker)
        done = user.invoke("docker-builder", "create")
        if not CURRENT:
            # buildx 0.13 has no such driver.
            assert done.returncode == 4
            assert "install buildx 0.37 or later" in done.stderr
            return
        assert done.returncode == 0, done.stderr
        assert _states(user) == {"": "ready", "linux-amd64": "running", "linux-arm64": "running"}
        words = ("docker-build", "--builder", "cloud", "--platform", "all", "--output", "oci")
        built = json.loads(user.succeed(*words, "--json").stdout)
        with open_archive(Path(built["destination"])) as archive:
            assert archive.top() == built["digest"]
            assert [image.platform for image in archive.images()] == list(PLATFORMS)
        assert user.succeed("docker-builder", "remove").stdout == "removed cloud\n"


def test_a_cluster_that_is_not_there(make_user: Callable[..., User]) -> None:
    table = '[builders.cluster]\ndriver = "kubernetes"\n'
    user = make_user(COPIES, f"{table}nodes = [{{ options = {{ namespace = 'nowhere' }} }}]\n")
    user.env["KUBECONFIG"] = "/nonexistent"
    started = time.monotonic()
    done = user.invoke("docker-builder", "create")
    assert done.returncode == 4
    assert time.monotonic() - started < LIMIT
    assert _states(user)[""] == "absent"
