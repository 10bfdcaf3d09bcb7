"""What a container is given: every key, right and wrong, and what docker gets of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from characters import ASCII
from hypothesis import given
from hypothesis import strategies as st

from buildlib.config.config import Config
from buildlib.config.containers import check_sources, publishes, resolve_mount
from buildlib.config.expectations import parse_statuses
from buildlib.config.key_types import MismatchError
from buildlib.config.load import load_config
from buildlib.containers.health import (
    Health,
    run_health,
    run_surroundings,
    smoke_health,
    smoke_surroundings,
)
from buildlib.containers.plan import RunRequest, make_run_plan, run_argv
from buildlib.errors import InputError, ProblemsError

from fakes import words_after


def _config(root: Path, text: str) -> Config:
    (root / "buildlib.toml").write_text(f'image = "thing"\n{text}', encoding="utf-8")
    return load_config(root, {})


BOTH = """
[run]
env = { A = "1", B = "two words", N = 3 }
env-file = "run.env"
mounts = ["./conf:/conf:ro", "cache:/cache", "type=bind,source=x,target=/x"]
network = "outer"
add-host = ["far.example:10.0.0.1"]
ports = [9090, "9191:9091"]
[smoke]
port = 80
env = { B = "3" }
env-file = ["smoke.env"]
network = "inner"
add-host = "six=::1"
ports = [9090, 7]
"""


def test_smoke_gives_what_run_gives_and_its_own(tmp_path: Path) -> None:
    config = _config(tmp_path, BOTH)
    run, smoke = run_surroundings(config), smoke_surroundings(config)
    assert run.options() == (
        *("--env-file", f"{tmp_path}/run.env"),
        *("--env", "A=1", "--env", "B=two words", "--env", "N=3"),
        *("--volume", f"{tmp_path}/conf:/conf:ro", "--volume", "cache:/cache"),
        *("--mount", f"type=bind,source={tmp_path}/x,target=/x"),
        *("--network", "outer", "--add-host", "far.example:10.0.0.1"),
    )
    assert dict(smoke.env) == {"A": "1", "B": "3", "N": "3"}
    assert [path.name for path in smoke.env_files] == ["run.env", "smoke.env"]
    assert (smoke.network, smoke.hosts[1]) == ("inner", "six=::1")
    assert [port.inside for port in smoke.ports] == [9090, 9091, 7]
    assert [mount.target for mount in smoke.mounts] == ["/conf", "/cache", "/x"]


def test_docker_run_publishes_further_ports(tmp_path: Path) -> None:
    config = _config(tmp_path, BOTH)

    def published(**request: object) -> list[str]:
        wanted = RunRequest(**request)  # type: ignore[arg-type]
        return words_after(run_argv(make_run_plan(config, wanted, image="x", env={})), "--publish")

    further = ["127.0.0.1:9090:9090/tcp", "127.0.0.1:9191:9091/tcp"]
    assert published() == ["127.0.0.1:80:80", *further]
    assert published(port="0")[1:] == ["127.0.0.1::9090/tcp", "127.0.0.1::9091/tcp"]
    assert published(args=("x",)) == []


def test_a_variable_of_the_command_line_comes_last_and_counts(tmp_path: Path) -> None:
    plan = make_run_plan(_config(tmp_path, BOTH), RunRequest(env=("A=other",)), image="x", env={})
    assert words_after(run_argv(plan), "--env")[-1] == "A=other"


def test_a_volume_of_the_command_line_is_relative_to_where_one_stands(tmp_path: Path) -> None:
    request = RunRequest(volumes=("./here:/there",))
    config = _config(tmp_path, "[run]\nport = 1\n")
    plan = make_run_plan(config, request, image="x", env={}, start=tmp_path / "sub")
    assert words_after(run_argv(plan), "--volume") == [f"{tmp_path}/sub/here:/there"]


@pytest.mark.parametrize("network", ["host", "none", "container:other"])
def test_nothing_is_published_of_a_network_without_ports(tmp_path: Path, network: str) -> None:
    config = _config(tmp_path, f'[run]\nport = 80\nports = [81]\nnetwork = "{network}"\n')
    plan = make_run_plan(config, RunRequest(), image="x", env={})
    assert "--publish" not in run_argv(plan)
    assert not publishes(network)
    with pytest.raises(InputError, match="no port is published"):
        make_run_plan(config, RunRequest(port="90"), image="x", env={})


EXPOSED = {
    "one": ((8000,), "127.0.0.1:19123:8000"),
    "none": ((), "the image has EXPOSE for none"),
    "several": ((80, 443), "the image has EXPOSE for 80, 443"),
}


@pytest.mark.parametrize(("exposed", "outcome"), EXPOSED.values(), ids=EXPOSED)
def test_a_port_without_one_that_is_configured(
    tmp_path: Path, exposed: tuple[int, ...], outcome: str
) -> None:
    config, request = _config(tmp_path, ""), RunRequest(port="19123")
    if outcome.startswith("127"):
        plan = make_run_plan(config, request, image="x", env={}, exposed=exposed)
        assert words_after(run_argv(plan), "--publish") == [outcome]
        return
    with pytest.raises(InputError, match=r"--port 19123: no port is configured") as caught:
        make_run_plan(config, request, image="x", env={}, exposed=exposed)
    assert outcome in caught.value.why
    assert "add port" in caught.value.hint


PLACES = {
    "/abs:/in": ("--volume", "/abs:/in", "/abs"),
    "./a/../b:/in:ro": ("--volume", "/start/b:/in:ro", "/start/b"),
    "..:/in": ("--volume", "/:/in", "/"),
    "name:/in": ("--volume", "name:/in", ""),
    "/in": ("--volume", "/in", ""),
    "type=bind,src=a,dst=/in,readonly": (
        "--mount",
        "type=bind,src=/start/a,dst=/in,readonly",
        "/start/a",
    ),
    'type=bind,"source=a,b",target=/in': (
        "--mount",
        'type=bind,"source=/start/a,b",target=/in',
        "/start/a,b",
    ),
    "type=volume,source=a,destination=/in": (
        "--mount",
        "type=volume,source=a,destination=/in",
        "",
    ),
    "type=tmpfs,target=/in,tmpfs-size=1m": (
        "--mount",
        "type=tmpfs,target=/in,tmpfs-size=1m",
        "",
    ),
}


@pytest.mark.parametrize(("text", "found"), PLACES.items(), ids=PLACES)
def test_each_form_of_a_mount(text: str, found: tuple[str, str, str]) -> None:
    mount = resolve_mount(text, Path("/start"))
    assert (mount.option, mount.value, mount.source) == found
    assert mount.target == "/in"


@pytest.mark.parametrize(
    "text", ["", "a", "a:b", "a/b:/in", ":/in", "/a:/in:ro:z", "type=bind,source=/a", "type=bind"]
)
def test_what_is_not_a_mount(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="not a mount"):
        resolve_mount(text, tmp_path)


SEGMENT = st.from_regex(r"[a-z0-9_.-]{1,8}", fullmatch=True, alphabet=ASCII)


@given(st.lists(SEGMENT, min_size=1, max_size=4), st.lists(SEGMENT, min_size=1, max_size=4))
def test_a_path_becomes_absolute_and_its_target_stays(source: list[str], target: list[str]) -> None:
    there = "/" + "/".join(target)
    mount = resolve_mount(f"./{'/'.join(source)}:{there}", Path("/start"))
    assert mount.target == there
    assert Path(mount.source).is_absolute()
    assert ".." not in Path(mount.source).parts
    assert mount.value == f"{mount.source}:{there}"


def test_what_is_not_on_this_machine_is_told_before_docker_makes_a_directory_of_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "there").touch()
    check_sources((resolve_mount("./there:/in", tmp_path),), (tmp_path / "there",))
    with pytest.raises(InputError, match="is not there"):
        check_sources((resolve_mount("./absent:/in", tmp_path),), ())
    with pytest.raises(InputError, match="there is no env file"):
        check_sources((), (tmp_path / "absent",))


WRONG = {
    "run.env = 1": "a table of NAME",
    'run.env = { "A-B" = "x" }': "'A-B' is not a variable's name",
    "run.env = { A = [1] }": "A is not text",
    "run.env = { A = true }": "A is not text",
    "run.env-file = 1": "a list of texts",
    'run.mounts = ["nowhere"]': "a list of mounts",
    "run.mounts = [1]": "a list of texts",
    'run.network = "a b"': "the name of a network",
    'run.add-host = ["a"]': "NAME:ADDRESS",
    "run.ports = 80": "a list of ports",
    "run.ports = [0]": "a list of ports from 1",
    "run.ports = [70000]": "a list of ports from 1",
    'run.ports = ["a"]': "a list of ports",
    "run.ports = [true]": "a list of ports",
    "run.group = -1": "a whole number",
    "run.groups = 1": "a list of whole numbers",
    "run.cpus = 0": "a number of processors",
    'run.cpus = "many"': "a number of processors",
    'run.data-dir = "../x"': "a directory below the project",
    'run.health = "http2"': "one of http, tcp, command",
    'smoke.health-status = "ok"': "status codes of HTTP",
    "smoke.health-status = [99]": "status codes of HTTP",
    "smoke.health-status = true": "status codes of HTTP",
    'smoke.health-status = "300-200"': "status codes of HTTP",
    "smoke.health-version = 1": "true, a field",
    'smoke.health-version = { path = "x" }': 'a table with path = "/path"',
    "smoke.skip = 1": "a list of texts",
    'smoke.stop-codes = "0"': "a list of whole numbers",
    "smoke.services = 1": "a table of NAME",
    'smoke.services.a_b = { image = "x" }': "must be named like a host",
    "smoke.services.db = {}": 'a table with image = "…" for db',
    "smoke.services.db = 1": "a table",
    "smoke.services.db = { image = 1 }": "text",
    'smoke.services.db = { image = "x", ready-port = "y" }': "a port",
    'smoke.health = "tcp"': 'smoke.health = "tcp" without a port',
    'smoke.health = "command"': 'smoke.health = "command" without a command',
    'run.health = "command"': 'run.health = "command" without a command',
    'smoke = { network = "x", services = { db = { image = "y" } } }': "exclude each other",
    'run = { network = "x", services = { db = { image = "y" } } }': "exclude each other",
    "smoke.commands = [{ entrypoint = [] }]": "a list of commands",
    "smoke.commands = [[]]": "a list of commands",
    'run.tmpfs = ["a"]': "a list of absolute paths",
    'run.tmpfs = [""]': "a list of absolute paths",
}  # fmt: skip


@pytest.mark.parametrize(("line", "message"), WRONG.items(), ids=WRONG)
def test_a_wrong_value_names_its_key_and_what_it_has_to_be(
    tmp_path: Path, line: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        _config(tmp_path, f"{line}\n")
    assert message in str(caught.value)
    assert line.partition(" ")[0].partition(".")[0] in str(caught.value)


def test_what_two_tables_lack_together_is_told_once_with_its_line(tmp_path: Path) -> None:
    text = '[run]\nhealth = "command"\n[smoke]\nport = 1\nhealth = "command"\n'
    with pytest.raises(ProblemsError) as caught:
        _config(tmp_path, f"bad = 1\n{text}")
    assert [(one.what, one.why) for one in caught.value.problems[-2:]] == [
        ('smoke.health = "command" without a command', "buildlib.toml, line 7"),
        ('run.health = "command" without a command', "buildlib.toml, line 4"),
    ]
    # What a table that can't be read would have is not known.
    text = '[run]\nhealth = "command"\n[smoke]\nport = "x"\nhealth-command = ["y"]\n'
    with pytest.raises(InputError, match=r"smoke\.port"):
        _config(tmp_path, text)


def test_a_key_that_is_nearly_one(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        _config(tmp_path, 'smoke.services.db = { image = "x", ready-prot = 1 }\n')
    assert "smoke.services.db.ready-prot" in caught.value.what
    assert "ready-port" in caught.value.hint


HEALTH = {
    "nothing": ("[smoke]\nport = 1\n", Health("http", 1, "/"), Health("http", 1, "/")),
    "of smoke": (
        '[smoke]\nport = 1\nhealth-path = "/h"\nhealth-status = 204\n',
        Health("http", 1, "/h", ((204, 204),)),
        Health("http", 1, "/h", ((204, 204),)),
    ),
    "of run, where it has one": (
        '[smoke]\nport = 1\n[run]\nport = 2\nhealth = "tcp"\n',
        Health("http", 1, "/"),
        Health("tcp", 2, "/"),
    ),
    "a command": (
        '[smoke]\nhealth-command = ["ping", "me"]\n',
        Health("command", 0, "/", command=("ping", "me")),
        Health("command", 0, "/", command=("ping", "me")),
    ),
    "a command, and HTTP for run": (
        '[smoke]\nport = 1\nhealth-command = ["ping"]\n[run]\nhealth = "http"\n',
        Health("command", 1, "/", command=("ping",)),
        Health("http", 1, "/"),
    ),
    "none": ("", Health("http"), None),
    "a command of smoke, by run's word": (
        '[smoke]\nport = 1\nhealth = "http"\nhealth-command = ["x"]\n[run]\nhealth = "command"\n',
        Health("http", 1, "/"),
        Health("command", 1, "/", command=("x",)),
    ),
    "only that it runs": (
        '[smoke]\nhealth = "running"\n',
        Health("running"),
        Health("running"),
    ),
}


@pytest.mark.parametrize(("text", "smoke", "run"), HEALTH.values(), ids=HEALTH)
def test_what_counts_as_healthy(
    tmp_path: Path, text: str, smoke: Health, run: Health | None
) -> None:
    config = _config(tmp_path, text)
    assert (smoke_health(config), run_health(config)) == (smoke, run)


@given(st.integers(100, 599), st.integers(100, 599), st.integers(0, 999))
def test_a_status_counts_within_its_range(one: int, other: int, status: int) -> None:
    first, last = sorted((one, other))
    health = Health("http", statuses=parse_statuses([f"{first}-{last}"]))
    assert health.accepts(status) == (first <= status <= last)
    assert Health("http").accepts(status) == (200 <= status <= 399)
    hundred = Health("http", statuses=parse_statuses(f"{first // 100}xx"))
    assert hundred.accepts(status) == (status // 100 == first // 100)


def test_a_status_may_be_a_lone_number() -> None:
    assert parse_statuses([200, "204"]) == ((200, 200), (204, 204))
    with pytest.raises(MismatchError):
        parse_statuses([True])
