"""The flow of a run where no such engine is at hand: the engine is a table of answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from buildlib.config.load import load_config
from buildlib.containers.container import Containers, command_error
from buildlib.containers.data_directory import DataDirectory, DataPlaces
from buildlib.containers.health import Health
from buildlib.containers.inspect import image_group, published_at
from buildlib.containers.plan import RUN_ID, Mount, RunPlan, RunRequest, make_run_plan
from buildlib.containers.runner import ContainerRunner, Running, describe_engine
from buildlib.docker.endpoint import Candidate, EngineKind, Pinged, find_engine
from buildlib.docker.engine import EngineFacts
from buildlib.errors import BuildlibError, EngineError, GateError, InputError, ProblemsError
from buildlib.executor import Completed
from buildlib.git.command import GitCommand
from buildlib.image.labels import names_of
from buildlib.tempfiles import new_name

from fakes import GOOD, FakeExecutor, a_console, dead_name, write_project

CONFIG = """
image = "thing"
[smoke]
port = 80
health-path = "/h"
[run]
data-path = "/data"
user = 1001
socket-path = "/var/run/docker.sock"
root-group-env = "ALLOW=1"
"""
ROOTLESS = replace(GOOD, security=("name=rootless",))
OK = Completed(code=0)
FAILED = Completed(code=1, stderr="no")
NO_SHELL = Completed(code=127, stderr='exec: "sh": executable file not found in $PATH')


@pytest.fixture(autouse=True)
def _no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have git track nothing: it is asked about a data directory below the project."""
    monkeypatch.setattr(GitCommand, "ask", lambda *_: "")


class Docker(FakeExecutor):
    """Answers by the beginning of what follows `docker`; what is not in the table goes well."""

    def __init__(self, answers: Mapping[str, Completed] | None = None) -> None:
        super().__init__()
        self.table = dict(answers or {})

    def _answer(self, argv: Sequence[str]) -> Completed:
        self.asked.append(tuple(argv))
        line = " ".join(argv[1:])
        matching = [key for key in self.table if line.startswith(key)]
        return self.table[max(matching, key=len)] if matching else OK

    def said(self, beginning: str) -> list[str]:
        joined = [" ".join(argv[1:]) for argv in self.asked]
        return [line for line in joined if line.startswith(beginning)]


def _container(**state: object) -> Completed:
    check = {"Test": ["CMD", "/check", "me"]}
    labels = {"buildlib.run": "thing"}
    found = {"Id": "1", "Name": "/thing", "State": state}
    return Completed(
        code=0,
        stdout=json.dumps([{**found, "Config": {"Healthcheck": check, "Labels": labels}}]),
    )


def _flow(
    root: Path,
    docker: Docker,
    facts: EngineFacts = GOOD,
    *,
    address: str = "unix:///run/user/1000/docker.sock",
    **request: object,
) -> tuple[ContainerRunner, list[str]]:
    answer = Pinged(candidate=Candidate(source="x", address=address))
    console, _, err = a_console()
    flow = ContainerRunner(
        load_config(write_project(root, CONFIG), {}),
        {},
        RunRequest(**request),  # type: ignore[arg-type]
        describe_engine(answer, facts),
        docker,
        console,
        root,
    )
    plan = flow.plan("thing:1")
    return flow, [*plan.confined, *plan.env, *plan.groups, *map(str, plan.mounts), err.getvalue()]


def test_the_group_is_the_one_that_a_container_sees(tmp_path: Path) -> None:
    docker = Docker({"run --rm --pull never --network none": Completed(code=0, stdout="991\n")})
    _, told = _flow(tmp_path, docker, ROOTLESS)
    assert "991" in told
    assert "ALLOW=1" not in told
    (probe,) = docker.said("run --rm")
    assert "source=/run/user/1000/docker.sock,target=/socket" in probe
    assert probe.endswith("--entrypoint stat thing:1 -c %g /socket")


def test_group_root_is_joined_with_a_word_about_it(tmp_path: Path) -> None:
    docker = Docker({"run --rm": Completed(code=0, stdout="0\n")})
    _, told = _flow(tmp_path, docker, ROOTLESS)
    assert {"0", "ALLOW=1"} <= set(told)
    assert "the socket of rootless belongs to group root, which is joined" in told[-1]


def test_a_socket_that_can_not_be_mounted_is_told(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="can't be mounted on rootless") as caught:
        _flow(tmp_path, Docker({"run --rm": FAILED}), ROOTLESS)
    assert "--no-socket" in caught.value.hint


def test_a_remote_engine_gives_no_socket_and_says_so(tmp_path: Path) -> None:
    _, told = _flow(tmp_path, Docker(), address="tcp://10.0.0.1:2375")
    assert "10.0.0.1:2375 is elsewhere" in told[-1]
    assert "the container runs without it" in told[-1]
    assert not any("docker.sock" in word for word in told[:-1])


def test_without_a_socket_nothing_is_said_about_it(tmp_path: Path) -> None:
    _, told = _flow(tmp_path, Docker(), address="tcp://10.0.0.1:2375", no_socket=True)
    assert told[-1] == ""


def test_an_address_beyond_this_machine_is_warned_of(tmp_path: Path) -> None:
    for host, warned in (("0.0.0.0", True), ("127.0.0.1", False), ("::1", False)):
        _, told = _flow(tmp_path, Docker(), no_socket=True, host=host)
        assert ("no authentication" in told[-1]) == warned


def test_with_selinux_nothing_of_the_users_is_relabelled(tmp_path: Path) -> None:
    facts = replace(GOOD, security=("name=selinux",))
    _, told = _flow(tmp_path, Docker(), facts, no_socket=True, data_dir="d")
    assert "--security-opt=label=disable" in told
    assert not any(word.endswith((":z", ":Z")) for word in told)
    _, told = _flow(tmp_path, Docker(), facts, no_socket=True)
    assert "--security-opt=label=disable" not in told


def test_a_remote_container_is_asked_inside(tmp_path: Path) -> None:
    docker = Docker({"container inspect": _container(Running=True)})
    flow, _ = _flow(tmp_path, docker, address="ssh://box", port="0")
    docker.table["container inspect thing"] = Completed(code=1, stderr="No such container: thing")
    docker.table["run --detach"] = Completed(code=0, stdout="c1\n")
    docker.table["port thing"] = Completed(code=0, stdout="0.0.0.0:32768\n")
    docker.table["exec --interactive"] = NO_SHELL
    running = flow.start(flow.plan("thing:1"), "1.2.3")
    # Its health path first; the image's own check where nothing inside can ask for that.
    assert docker.said("exec --interactive c1 sh -c")
    assert docker.said("exec c1") == ["exec c1 /check me"]
    assert running.address == "http://127.0.0.1:32768 on the engine's machine"
    assert (running.socket, running.data) == ("none", "is removed with the container")
    assert "address" in running.as_text()


CHECKS = {
    "a shell's": (["CMD-SHELL", "a | b"], ["exec c /bin/sh -c a | b"]),
    "a list of words": (["CMD", "/check", "a b"], ["exec c /check a b"]),
    "none": (["NONE"], []),
    "one that engines do not know": (["OTHER", "x"], []),
    "empty": ([], []),
    "absent": (None, []),
}


@pytest.mark.parametrize(("check", "asked"), CHECKS.values(), ids=CHECKS)
def test_each_form_of_a_health_check(check: list[str] | None, asked: list[str]) -> None:
    config = {"Healthcheck": {"Test": check} if check else None}
    answer = json.dumps([{"State": {"Running": True}, "Config": config}])
    found = Completed(code=0, stdout=answer)
    docker = Docker({"container inspect": found, "exec --interactive": NO_SHELL})
    plan = RunPlan(image="i", name="n", labels=(), health=Health("http", 80, "/h"), timeout=1)
    way = Containers(docker, "thing").wait_until_healthy(plan, "c", "")
    assert docker.said("exec c") == asked
    assert way.startswith("by the image's HEALTHCHECK" if asked else "only whether it runs")


def test_a_container_that_can_not_ask_itself_is_asked_by_the_helper(tmp_path: Path) -> None:
    text = 'image = "thing"\n[smoke]\nport = 80\nhelper-image = "busybox:1"\n'
    config = load_config(write_project(tmp_path, text), {})
    plan = make_run_plan(config, RunRequest(), image="thing:1", env={}, run_id="r1")
    answer = Completed(code=0, stdout="HTTP/1.1 200 OK\r\n\r\n")
    docker = Docker(
        {
            "container inspect": _container(Running=True),
            "exec --interactive": NO_SHELL,
            "run --rm": answer,
        }
    )
    way = Containers(docker, "thing").wait_until_healthy(plan, "c", "")
    (line,) = docker.said("run --rm")
    assert f"--label {RUN_ID}=r1 --network container:c --entrypoint sh busybox:1" in line
    assert way == "from a container of busybox:1 in its network"


def test_one_that_is_never_well_shows_its_health_log_and_its_log() -> None:
    log = [{"Output": "first\n"}, {"Output": "connection refused\n"}, {"Output": ""}]
    docker = Docker(
        {
            "container inspect": _container(Running=True, Health={"Log": log}),
            "exec": FAILED,
            "logs": Completed(code=0, stdout="the log\n"),
        }
    )
    plan = RunPlan(image="i", name="n", labels=(), health=Health("http", 80, "/h"), timeout=0)
    with pytest.raises(GateError) as caught:
        Containers(docker, "thing").wait_until_healthy(plan, "c", "")
    assert "health check: connection refused\n  the log" in str(caught.value)


STARTS = {
    "a missing image": (125, "docker: No such image: thing:1.", "is not here", 4),
    "a port that is taken": (125, "Bind: port is already allocated", "port 80 is taken", 4),
    "something else": (125, "docker: no space left\nSee help", "could not start the container", 4),
    "not executable": (126, "docker: permission denied", "can't be executed", 4),
    "not found": (127, "docker: not found", "is not in the container", 4),
    "nothing said": (1, "", "exit code 1", 4),
}  # fmt: skip


@pytest.mark.parametrize(("code", "stderr", "message", "exit_code"), STARTS.values(), ids=STARTS)
def test_why_it_did_not_start(code: int, stderr: str, message: str, exit_code: int) -> None:
    docker = Docker({"run": Completed(code=code, stderr=stderr)})
    plan = RunPlan(image="thing:1", name="n", labels=(), published=("127.0.0.1", 80, 80))
    with pytest.raises(BuildlibError) as caught:
        Containers(docker, "thing").start(plan)
    assert message in str(caught.value)
    assert caught.value.exit_code == exit_code


@pytest.mark.parametrize("platform", ["", "linux/ppc64le"])
def test_an_image_for_other_platforms_is_told_from_none(platform: str) -> None:
    docker = Docker(
        {
            "run": Completed(code=125, stderr="Unable to find image 'thing:1' locally"),
            "image inspect": Completed(code=0, stdout="linux/amd64\n"),
        }
    )
    with pytest.raises(EngineError) as caught:
        Containers(docker, "thing").start(
            RunPlan(image="thing:1", name="n", labels=(), platform=platform)
        )
    assert caught.value.what.endswith(f"is not here for {platform}" if platform else "is not here")
    assert (f"docker-build --platform {platform}" in caught.value.hint) == bool(platform)


def test_a_strangers_port_is_named() -> None:
    docker = Docker(
        {
            "run": Completed(code=125, stderr="address already in use"),
            "ps": Completed(code=0, stdout="web\n"),
            "container inspect web": Completed(
                code=0, stdout='[{"Config": {"Labels": null}, "Name": "/web"}]'
            ),
        }
    )
    plan = RunPlan(image="thing:1", name="n", labels=(), published=("127.0.0.1", 80, 80))
    with pytest.raises(EngineError) as caught:
        Containers(docker, "thing").start(plan)
    assert "the container web has it" in str(caught.value)


def test_codes_of_docker_run() -> None:
    assert "could not start" in str(command_error(125))
    assert "ended with code 5" in str(command_error(5))


def _directory(docker: Docker, root: Path, kind: EngineKind) -> DataDirectory:
    return DataDirectory(docker, "i", (1001, 1001), kind, DataPlaces(root, {"HOME": "/h"}, 1001))


def test_a_directory_here_is_nothing_to_a_remote_engine(tmp_path: Path) -> None:
    directory = _directory(Docker(), tmp_path, EngineKind.REMOTE)
    with pytest.raises(InputError, match="engine elsewhere") as caught:
        directory.prepare(Mount(kind="bind", source=str(tmp_path), target="/d"), "thing")
    assert "volume:NAME" in caught.value.hint


def test_on_other_engines_a_new_directory_is_given_away_by_a_container(tmp_path: Path) -> None:
    docker = Docker()
    path = tmp_path / "a" / "b"
    mount = Mount(kind="bind", source=str(path), target="/d")
    _directory(docker, tmp_path, EngineKind.ROOTLESS).prepare(mount, "thing")
    assert path.is_dir()
    (line,) = docker.said("run")
    assert "--user 0 --cap-drop ALL --cap-add CHOWN" in line
    about = path.stat()
    assert 'chown "$1" /data' in line
    assert line.endswith(f" {about.st_dev}:{about.st_ino} 1001:1001")


def test_an_engine_with_a_kernel_of_its_own_compares_no_numbers(tmp_path: Path) -> None:
    docker = Docker()
    mount = Mount(kind="bind", source=str(tmp_path / "d"), target="/d")
    _directory(docker, tmp_path, EngineKind.COLIMA).prepare(mount, "thing")
    assert docker.asked[0][-2:] == ("", "1001:1001")


def test_on_other_engines_a_container_tells_whether_it_can_write(tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    mount = Mount(kind="bind", source=str(folder), target="/d")
    docker = Docker()
    _directory(docker, tmp_path, EngineKind.DOCKER_DESKTOP).prepare(mount, "thing")
    assert docker.said("run")[0].endswith("--entrypoint test i -w /data")
    with pytest.raises(InputError, match="sudo chown 1001:1001"):
        _directory(Docker({"run": FAILED}), tmp_path, EngineKind.DOCKER_DESKTOP).prepare(
            mount, "thing"
        )


def test_a_directory_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    mount = Mount(kind="bind", source=str(tmp_path / "file" / "d"), target="/d")
    with pytest.raises(InputError, match="can't be made"):
        _directory(Docker(), tmp_path, EngineKind.LINUX).prepare(mount, "thing")


def test_a_volume_that_can_not_be_made() -> None:
    mount = Mount(kind="volume", source="v", target="/d")
    docker = Docker({"volume": FAILED})
    with pytest.raises(EngineError, match="the volume v can't be made"):
        _directory(docker, Path("/repo"), EngineKind.LINUX).prepare(mount, "thing")


def test_the_current_context_is_asked_of_docker() -> None:
    env = {"DOCKER_CONTEXT": "box"}
    docker = Docker({"context inspect": Completed(code=0, stdout="ssh://me@box\n")})
    answer = find_engine(env, docker)
    assert answer.candidate == Candidate(source="context box", address="ssh://me@box", named=True)
    with pytest.raises(EngineError, match="'box' does not exist"):
        find_engine(env, Docker({"context inspect": FAILED}))


def test_nobody_of_ours_is_an_error_only_where_one_is_needed() -> None:
    containers = Containers(Docker(), "thing")
    assert containers.ours() == []
    with pytest.raises(InputError, match="no container of this project is called x"):
        containers.only("x")


def _listed(*names: str) -> Docker:
    found = [{"Id": name, "Name": f"/{name}"} for name in names]
    return Docker(
        {
            "ps": Completed(code=0, stdout="\n".join(names)),
            "container inspect": Completed(code=0, stdout=json.dumps(found)),
        }
    )


def test_what_an_earlier_version_started_is_found_and_removed_with_its_services() -> None:
    former = names_of(RUN_ID)[1].removesuffix("-id")
    labels = {former: "thing", f"{former}-services": "db", f"{former}-id": "77"}
    found = [{"Id": "1", "Name": "/thing", "Config": {"Labels": labels}}]
    docker = Docker(
        {
            f"ps --all --quiet --no-trunc --filter label={former}=thing": Completed(
                code=0, stdout="1\n"
            ),
            "container inspect": Completed(code=0, stdout=json.dumps(found)),
            f"ps --all --filter label={former}-id=77": Completed(code=0, stdout="db=\n"),
            f"network ls --filter label={former}-id=77": Completed(code=0, stdout="net\n"),
        }
    )
    containers = Containers(docker, "thing")
    (container,) = containers.ours()
    assert containers.is_ours(container)
    assert not Containers(docker, "other").is_ours(container)
    containers.remove_all(container)
    assert docker.said("rm") == [f"rm --force --volumes {name}" for name in ("1", "db")]
    assert docker.said("network rm") == ["network rm net"]


def test_what_killed_runs_of_an_earlier_version_left_is_removed_on_request() -> None:
    former, dead = names_of(RUN_ID)[1], dead_name("run")
    docker = Docker(
        {
            f"ps --all --filter label={former} --format": Completed(code=0, stdout=f"{dead}=\n"),
            f"ps --all --quiet --filter label={former}={dead}": Completed(code=0, stdout="c\n"),
        }
    )
    notes: list[str] = []
    Containers(docker, "thing").remove_stale(notes.append)
    assert not notes
    Containers(docker, "thing").remove_stale(notes.append, former=True)
    assert docker.said("rm") == ["rm --force --volumes c"]
    assert notes == [f"removed what {dead} had left, a run that was killed"]


@pytest.mark.parametrize("name", ["adv.run2", "adv", "adv.*", "run2", "a|adv.run2"])
def test_a_name_is_no_pattern(name: str) -> None:
    docker = _listed("advXrun2", "adv.run2", "adv.run22")
    found = [container["Id"] for container in Containers(docker, "thing").ours(name)]
    assert found == (["adv.run2"] if name == "adv.run2" else [])
    assert not any("name=" in word for argv in docker.asked for word in argv)


def test_room_is_made_for_a_name_not_for_the_beginning_of_an_identity() -> None:
    other = Completed(code=0, stdout=json.dumps([{"Id": "feed01", "Name": "/other"}]))
    docker = Docker({"container inspect feed": other})
    assert Containers(docker, "thing").make_room("feed") is None
    assert docker.said("rm") == []


@pytest.mark.parametrize(
    ("printed", "address"),
    [
        ("127.0.0.1:32768\n", "http://127.0.0.1:32768"),
        ("0.0.0.0:32768\n[::]:32768\n", "http://127.0.0.1:32768"),
        ("[::]:32768\n", "http://[::1]:32768"),
        (":::32768\n", "http://[::1]:32768"),
        ("[::1]:32768\n", "http://[::1]:32768"),
        ("", ""),
    ],
)
def test_where_a_free_port_is_found(printed: str, address: str) -> None:
    docker = Docker({"port": Completed(code=0, stdout=printed)})
    assert published_at(docker, "c", 80) == address


@pytest.mark.parametrize(
    ("label", "said"),
    [
        pytest.param("", "replaced our own older container thing", id="of an older version"),
        pytest.param("{here}", "replaced our own older container thing", id="of this checkout"),
        pytest.param(
            "/srv/other",
            "warning: replaced the container thing, which was started from /srv/other; --name",
            id="of another checkout",
        ),
    ],
)
def test_it_says_whose_container_was_replaced(tmp_path: Path, label: str, said: str) -> None:
    key = "buildlib.run"
    labels = {key: "thing", f"{key}-checkout": label.format(here=tmp_path)}
    older = {"Id": "1", "Name": "/thing", "Config": {"Labels": labels}, "State": {}}
    docker = Docker({"container inspect": Completed(code=0, stdout=json.dumps([older]))})
    console, _, err = a_console()
    config = load_config(write_project(tmp_path, 'image = "thing"\n'), {})
    engine = describe_engine(Pinged(candidate=Candidate(source="x", address="tcp://x:1")), GOOD)
    request = RunRequest(args=("true",), name="thing")
    flow = ContainerRunner(config, {}, request, engine, docker, console, tmp_path)
    flow.prepare(flow.plan("thing:1"))
    assert docker.said("rm") == ["rm --force --volumes 1"]
    assert err.getvalue().splitlines()[-1].startswith(said)


def test_it_says_what_was_asked() -> None:
    empty = dict.fromkeys(("container", "image", "version", "data", "socket", "engine", "stop"), "")
    running = Running(name="x", address="http://a", health="GET /health on port 80", **empty)
    assert "checked    GET /health on port 80\n" in running.as_text()


class Going(Docker):
    """A container that somebody else is removing: it is there for some questions more."""

    def __init__(self, questions: int) -> None:
        super().__init__(
            {"rm": Completed(code=1, stderr="removal of container c is already in progress")}
        )
        self.questions = questions

    def _answer(self, argv: Sequence[str]) -> Completed:
        answer = super()._answer(argv)
        if argv[1] != "container":
            return answer
        self.questions -= 1
        gone = Completed(code=1, stderr="No such container: c")
        return _container() if self.questions > 0 else gone


def test_a_container_that_somebody_else_removes_is_waited_for() -> None:
    docker = Going(questions=3)
    Containers(docker, "thing").remove("c")
    assert docker.questions == 0


def test_one_that_was_gone_before_is_removed() -> None:
    missing = Completed(code=1, stderr="No such container: c")
    Containers(Docker({"rm": missing, "container inspect": missing}), "thing").remove("c")


def test_one_that_stays_is_told() -> None:
    with pytest.raises(EngineError, match="the container c can't be removed") as caught:
        Containers(Docker({"rm": FAILED, "container inspect": _container()}), "thing").remove("c")
    assert caught.value.why == "no"


WITH_SERVICES = """
image = "thing"
[run]
health-command = ["ready"]
[run.services.db]
image = "db:1"
command = ["serve"]
env = { A = "b" }
"""


def _serving(root: Path, docker: Docker) -> ContainerRunner:
    (root / "buildlib.toml").write_text(WITH_SERVICES, encoding="utf-8")
    answer = Pinged(candidate=Candidate(source="x", address="unix:///s"))
    request = RunRequest(no_socket=True)
    engine = describe_engine(answer, GOOD)
    console, _, _ = a_console()
    return ContainerRunner(load_config(root, {}), {}, request, engine, docker, console, root)


def test_services_are_started_before_it_and_go_with_it(tmp_path: Path) -> None:
    docker = Docker({"container inspect": _container(Running=True)})
    docker.table["run --detach"] = Completed(code=0, stdout="c1\n")
    flow = _serving(tmp_path, docker)
    network, run_id = (
        f"thing-{flow.run_id}",
        f"--label buildlib.run-id={flow.run_id}",
    )
    with flow.guard(keep=False):
        flow.start(flow.plan("thing:1"), "1")
    first, second = docker.said("run")
    assert first == (
        f"run --name {network}-db {run_id} --detach --network {network} --network-alias db"
        " --env A=b db:1 serve"
    )
    assert f" --network {network} " in second
    assert docker.said("network create") == [f"network create {run_id} {network}"]
    assert docker.said("network ls")
    assert docker.said("exec c1") == ["exec c1 ready"]


def test_a_container_with_services_is_removed_with_them() -> None:
    docker = Docker(
        {
            f"ps --all --filter label={RUN_ID}=77": Completed(code=0, stdout="a=\nb=\n"),
            "network ls": Completed(code=0, stdout="net\n"),
        }
    )
    label = "buildlib.run"
    labels = {f"{label}-services": "db", f"{label}-id": "77"}
    containers = Containers(docker, "thing")
    containers.remove_all({"Id": "1", "Config": {"Labels": labels}})
    # Services have nothing to end in order, and may not listen to the signal for it.
    assert docker.said("stop") == ["stop --time 10 1"]
    assert docker.said("rm") == [f"rm --force --volumes {name}" for name in ("1", "a", "b")]
    assert docker.said("network rm") == ["network rm net"]
    docker.asked.clear()
    containers.remove_all({"Id": "1", "Config": {"Labels": {f"{label}-id": "77"}}})
    assert docker.said("ps") + docker.said("network") == []


def test_what_can_not_be_removed_keeps_nothing_else_and_all_of_it_is_told() -> None:
    refused = Completed(code=1, stderr="busy")
    docker = Docker(
        {
            "ps --all": Completed(code=0, stdout="one=thing\ntwo=\n"),
            "network ls": Completed(code=0, stdout="net-1\nnet-2\n"),
            "rm --force --volumes one": refused,
            "container inspect one": _container(Running=True),
            "network rm net-1": refused,
            "network rm net-2": Completed(code=1, stderr="network net-2 not found"),
        }
    )
    with pytest.raises(ProblemsError) as caught:
        Containers(docker, "thing").clean_up("77", services=True)
    assert [one.what for one in caught.value.problems] == [
        "the container one can't be removed",
        "the network net-1 can't be removed",
    ]
    assert docker.said("rm")[-1] == "rm --force --volumes two"
    docker.table["ps --all"] = refused
    with pytest.raises(ProblemsError, match="docker ps failed") as caught:
        Containers(docker, "thing").clean_up("77", services=True)
    assert len(caught.value.problems) == 2
    # Nor does the container itself keep its services.
    docker.asked.clear()
    label = "buildlib.run"
    labels = {f"{label}-services": "db", f"{label}-id": "77"}
    with pytest.raises(ProblemsError, match="the container one can't be removed") as caught:
        Containers(docker, "thing").remove_all({"Id": "one", "Config": {"Labels": labels}})
    assert len(caught.value.problems) == 3
    assert docker.said("network rm") == ["network rm net-1", "network rm net-2"]


def test_what_killed_runs_left_is_removed_and_what_is_detached_or_runs_is_not(
    tmp_path: Path,
) -> None:
    before, foreground, detached = (dead_name("run") for _ in range(3))
    mine, other = new_name("run"), "0123456789abcdef"
    rows = [f"{foreground}=", f"{detached}=", f"{detached}=true", f"{mine}=", f"{other}="]
    docker = Docker(
        {
            f"ps --all --filter label={RUN_ID} --format": Completed(code=0, stdout="\n".join(rows)),
            "network ls --filter": Completed(code=0, stdout=f"{before}\n{detached}\n{mine}\n"),
            f"ps --all --quiet --filter label={RUN_ID}={foreground}": Completed(code=0, stdout="c"),
            f"network ls --quiet --filter label={RUN_ID}={before}": Completed(code=0, stdout="n"),
        }
    )
    flow = _serving(tmp_path, docker)
    docker.table["run --detach"] = Completed(code=0, stdout="c1\n")
    docker.table["container inspect"] = _container(Running=True)
    flow.start(flow.plan("thing:1"), "1")
    assert docker.said("rm") == ["rm --force --volumes c"]
    assert docker.said("network rm") == ["network rm n"]
    listed = [argv[-1] for argv in docker.asked if "--quiet" in argv and argv[1] == "ps"]
    assert sorted(listed) == sorted(f"label={RUN_ID}={one}" for one in (before, foreground))


def test_a_service_that_can_not_be_started_is_the_engines_error(tmp_path: Path) -> None:
    docker = Docker({"run --name": Completed(code=125, stderr="no such image")})
    flow = _serving(tmp_path, docker)
    with pytest.raises(EngineError, match=r"the service \w+ can't be started") as caught:
        flow.start(flow.plan("thing:1"), "1")
    assert caught.value.why == "no such image"


def test_the_port_of_expose_is_published_where_one_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "buildlib.toml").write_text('image = "thing"\n', encoding="utf-8")
    ports = json.dumps({"ExposedPorts": {"8000/tcp": {}}})
    docker = Docker({"image inspect": Completed(code=0, stdout=ports)})
    answer = Pinged(candidate=Candidate(source="x", address="unix:///s"))
    console, _, _ = a_console()
    request = RunRequest(port="19123")
    engine = describe_engine(answer, GOOD)
    flow = ContainerRunner(
        load_config(tmp_path, {}), {}, request, engine, docker, console, tmp_path
    )
    # Before there is an image nothing can be said about it.
    flow.check()
    assert flow.plan("thing:1").published == ("127.0.0.1", 19123, 8000)
    docker.table.clear()
    with pytest.raises(InputError, match="no port is configured"):
        flow.plan("thing:1")


def test_a_new_data_directory_gets_the_group_of_the_image(tmp_path: Path) -> None:
    runtime = json.dumps({"User": "1001:0"})
    docker = Docker(
        {
            "image inspect": Completed(code=0, stdout=runtime),
            "run --rm": Completed(code=0, stdout="991\n"),
            "container inspect": Completed(code=1, stderr="No such container: thing"),
        }
    )
    flow, _ = _flow(tmp_path, docker, ROOTLESS, no_socket=True, data_dir="new")
    flow.prepare(flow.plan("thing:1"))
    assert docker.said("run --rm")[0].endswith(" 1001:0")


@pytest.mark.parametrize(
    ("keys", "user", "group"),
    [
        ("user = 1001\ngroup = 0\n", "1001:7", 0),
        ("user = 1001\ngroup = 7\n", "1001:0", 7),
        ("user = 1001\n", "1001:0", 0),
        ("user = 1001\n", "1001", 1001),
        ("user = 1001\n", "", 1001),
        ("", "1001:7", 0),
    ],
)
def test_group_zero_is_a_group_like_any_other(
    tmp_path: Path, keys: str, user: str, group: int
) -> None:
    config = load_config(write_project(tmp_path, f'image = "thing"\n[run]\n{keys}'), {})
    runtime = Completed(code=0, stdout=json.dumps({"User": user}))
    assert image_group(Docker({"image inspect": runtime}), config.run, "thing:1") == group


def test_what_is_not_on_the_engines_machine_is_told() -> None:
    docker = Docker({"run": Completed(code=125, stderr="bind source path does not exist: /x")})
    with pytest.raises(EngineError, match="not on the engine's machine") as caught:
        Containers(docker, "thing").start(RunPlan(image="i", name="n", labels=()))
    assert "volume:NAME" in caught.value.hint


STARTED = {
    "never": ({"StartedAt": "0001-01-01T00:00:00Z"}, "", False),
    "gone": ({}, "", False),
    "yes": ({"StartedAt": "2026-01-01T00:00:00Z"}, "[FATAL] it says itself", True),
    "docker's init alone": (
        {"StartedAt": "2026-01-01T00:00:00Z"},
        "[FATAL tini (7)] exec nonsense failed: No such file or directory",
        False,
    ),
}


@pytest.mark.parametrize(("state", "log", "started"), STARTED.values(), ids=STARTED)
def test_whether_a_command_was_ever_started(
    state: dict[str, object], log: str, *, started: bool
) -> None:
    docker = Docker(
        {"container inspect": _container(**state), "logs": Completed(code=0, stderr=log)}
    )
    assert Containers(docker, "thing").has_started("c") == started


def test_an_engine_elsewhere_can_not_mount_what_is_here(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    flow, _ = _flow(tmp_path, Docker(), address="tcp://10.0.0.1:2375", volumes=("./there:/x",))
    with pytest.raises(InputError, match="an engine elsewhere can't mount"):
        flow.check()
    here, _ = _flow(tmp_path, Docker({"run --rm": OK}), no_socket=True, volumes=("./there:/x",))
    here.check()
