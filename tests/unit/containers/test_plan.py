"""What is run, as data and as the one command."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from buildlib.config.config import Config
from buildlib.config.load import load_config
from buildlib.containers.data_directory import may_write
from buildlib.containers.health import Health
from buildlib.containers.plan import (
    Mount,
    RunRequest,
    container_name,
    data_mount,
    make_run_plan,
    published_address,
    run_argv,
)
from buildlib.errors import InputError

from fakes import words_after, write_project

CONFIG = """
image = "reg.example/me/thing"
[smoke]
port = 8080
health-path = "/health"
[run]
data-path = "/data"
user = 1001
"""
CONFINED = (
    *("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
    *("--init", "--memory=512m", "--pids-limit=256"),
)


def _config(root: Path, more: str = "") -> Config:
    (root / "buildlib.toml").write_text(CONFIG + more, encoding="utf-8")
    return load_config(root, {})


def test_the_command_as_a_whole(tmp_path: Path) -> None:
    config = _config(tmp_path)
    data = Mount(kind="bind", source="/srv/d", target="/data")
    request = RunRequest(env=("A=b c", "HOME"), platform="linux/arm64")
    plan = make_run_plan(config, request, image="thing:1", env={"HOME": "/"}, data=data, run_id="7")
    plan = replace(plan, groups=("999",))
    label = "buildlib.run"
    assert run_argv(plan) == (
        *("docker", "run", "--detach", "--name", "thing", "--pull", "never"),
        *("--platform", "linux/arm64"),
        *("--label", "buildlib.data=bind:/srv/d"),
        *("--label", f"{label}=reg.example/me/thing"),
        *("--label", f"{label}-checkout={tmp_path}", "--label", f"{label}-id=7"),
        *("--publish", "127.0.0.1:8080:8080"),
        *("--mount", "type=bind,source=/srv/d,target=/data"),
        *("--group-add", "999", "--env", "A=b c", "--env", "HOME", *CONFINED, "thing:1"),
    )
    assert (plan.health, plan.timeout) == (Health("http", 8080, "/health"), 30)


def test_unconfined_takes_every_limit_away(tmp_path: Path) -> None:
    request = RunRequest(unconfined=True)
    plan = make_run_plan(_config(tmp_path), request, image="x", env={})
    assert not set(run_argv(plan)) & set(CONFINED)


@pytest.mark.parametrize("request_", [RunRequest(), RunRequest(unconfined=True)])
def test_an_image_that_starts_as_root_is_started_as_its_user(
    tmp_path: Path, request_: RunRequest
) -> None:
    config = load_config(
        write_project(tmp_path, 'image = "t"\n[run]\nuser = 1001\ndrops-root = true\n'), {}
    )
    assert "--user=1001:1001" in run_argv(make_run_plan(config, request_, image="x", env={}))


def test_to_drop_root_there_has_to_be_a_user(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.drops-root needs run\.user"):
        load_config(write_project(tmp_path, 'image = "t"\n[run]\ndrops-root = true\n'), {})


OFF = {
    "read-only = false": {"--read-only", "--tmpfs=/tmp"},
    "drop-capabilities = false": {"--cap-drop=ALL"},
    "no-new-privileges = false": {"--security-opt=no-new-privileges"},
    "init = false": {"--init"},
    'memory = ""': {"--memory=512m"},
    "pids = 0": {"--pids-limit=256"},
    "tmpfs = []": {"--tmpfs=/tmp"},
}


@pytest.mark.parametrize("line", OFF)
def test_each_limit_can_be_turned_off(tmp_path: Path, line: str) -> None:
    plan = make_run_plan(_config(tmp_path, f"{line}\n"), RunRequest(), image="x", env={})
    assert set(CONFINED) - set(run_argv(plan)) == OFF[line]


PUBLISHED = [
    ({}, "127.0.0.1:8080:8080", "http://127.0.0.1:8080"),
    ({"port": "9000"}, "127.0.0.1:9000:8080", "http://127.0.0.1:9000"),
    ({"port": "0"}, "127.0.0.1::8080", "http://127.0.0.1:0"),
    ({"host": "0.0.0.0"}, "0.0.0.0:8080:8080", "http://127.0.0.1:8080"),
    ({"host": "localhost"}, "127.0.0.1:8080:8080", "http://127.0.0.1:8080"),
    ({"host": "::1"}, "[::1]:8080:8080", "http://[::1]:8080"),
    ({"host": "::"}, "[::]:8080:8080", "http://[::1]:8080"),
]


@pytest.mark.parametrize(("options", "option", "address"), PUBLISHED)
def test_published(tmp_path: Path, options: dict[str, str], option: str, address: str) -> None:
    plan = make_run_plan(_config(tmp_path), RunRequest(**options), image="x", env={})  # type: ignore[arg-type]
    assert words_after(run_argv(plan), "--publish") == [option]
    assert published_address(plan) == address


def test_arguments_run_beside_the_server_and_publish_nothing(tmp_path: Path) -> None:
    request = RunRequest(args=("version", "a b"))
    plan = make_run_plan(_config(tmp_path), request, image="x", env={}, run_id="77")
    argv = run_argv(plan, detach=False, terminal=True)
    assert argv[-3:] == ("x", "version", "a b")
    assert argv[2:7] == ("--interactive", "--tty", "--name", "thing-77", "--pull")
    assert "--publish" not in argv
    assert plan.health is None
    served = make_run_plan(_config(tmp_path), replace(request, port="81"), image="x", env={})
    assert words_after(run_argv(served), "--publish") == ["127.0.0.1:81:8080"]


BAD = {
    "a port that is none": ({"port": "x"}, "not a port"),
    "a port too high": ({"port": "65536"}, "not a port"),
    "a negative port": ({"port": "-1"}, "not a port"),
    "a host that is no address": ({"host": "example.org"}, "not an address"),
    "a name that docker would not take": ({"name": "-x"}, "not a name for a container"),
    "a name with a blank": ({"name": "a b"}, "not a name for a container"),
    "an unknown policy": ({"pull_policy": "often"}, "unknown pull policy"),
    "a variable without a name": ({"env": ("=x",)}, "not a variable"),
    "a variable that is none": ({"env": ("A-B=x",)}, "not a variable"),
    "a secret in the open": ({"env": ("API_TOKEN=x",)}, "looks like a secret"),
    "a variable that is not set here": ({"env": ("NOWHERE",)}, "has no value here"),
}


@pytest.mark.parametrize(("options", "message"), BAD.values(), ids=BAD)
def test_bad_options(tmp_path: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_run_plan(_config(tmp_path), RunRequest(**options), image="x", env={})  # type: ignore[arg-type]


def test_an_image_without_a_port_is_run_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "buildlib.toml").write_text('image = "x"\n', encoding="utf-8")
    config = load_config(tmp_path, {})
    plan = make_run_plan(config, RunRequest(), image="x1", env={})
    assert (plan.published, plan.health, published_address(plan)) == (None, None, "")
    with pytest.raises(InputError, match="keeps no data"):
        data_mount(config, RunRequest(persistent=True), tmp_path)


DIRECTORIES = [
    ("", "{root}/data"),
    ("d", "{here}/d"),
    ("../d e", "{root}/d e"),
    ("/srv/d", "/srv/d"),
]


@pytest.mark.parametrize(("typed", "source"), DIRECTORIES)
def test_where_the_data_is(tmp_path: Path, typed: str, source: str) -> None:
    here = tmp_path / "here"
    mount = data_mount(_config(tmp_path), RunRequest(persistent=True, data_dir=typed), here)
    assert mount == Mount(
        kind="bind", source=source.format(root=tmp_path, here=here), target="/data"
    )


def test_a_volume_is_named_and_data_means_persistent(tmp_path: Path) -> None:
    config = _config(tmp_path)
    assert data_mount(config, RunRequest(data_dir="volume:keep"), tmp_path) == Mount(
        kind="volume", source="keep", target="/data"
    )
    assert data_mount(config, RunRequest(), tmp_path) is None
    with pytest.raises(InputError, match="not a name for a volume"):
        data_mount(config, RunRequest(data_dir="volume:a/b"), tmp_path)


@pytest.mark.parametrize(
    ("source", "option"),
    [
        ("/a b", "type=bind,source=/a b,target=/data"),
        ("/a,b", 'type=bind,"source=/a,b",target=/data'),
        ('/a"b', 'type=bind,"source=/a""b",target=/data'),
        ("/a\nb", 'type=bind,"source=/a\nb",target=/data'),
        ("/a:b", "type=bind,source=/a:b,target=/data"),
    ],
)
def test_odd_paths_are_quoted_as_docker_reads_them(source: str, option: str) -> None:
    assert str(Mount(kind="bind", source=source, target="/data")) == option


def test_the_name_is_that_of_the_image(tmp_path: Path) -> None:
    assert container_name(_config(tmp_path)) == "thing"
    assert container_name(_config(tmp_path), "other.1") == "other.1"
    (tmp_path / "buildlib.toml").write_text('image = "x"\n', encoding="utf-8")
    assert container_name(load_config(tmp_path, {})) == "x-run"


def test_two_images_of_one_name_have_containers_of_their_own(tmp_path: Path) -> None:
    config = _config(tmp_path, '[tags]\nsuffix = "-slim"\n')
    assert container_name(config) == "thing-slim"
    plan = make_run_plan(config, RunRequest(), image="thing:1", env={}, run_id="7")
    assert "buildlib.run=reg.example/me/thing:latest-slim" in words_after(run_argv(plan), "--label")


@pytest.mark.parametrize(
    ("owner", "group", "mode", "expected"),
    [
        (1001, 0, 0o700, True),
        (1001, 0, 0o500, False),
        (0, 1001, 0o770, True),
        (0, 1001, 0o750, False),
        (0, 0, 0o777, True),
        (0, 0, 0o755, False),
        # The owner's bits count for the owner, even where others may do more.
        (1001, 1001, 0o077, False),
        (0, 0, 0o776, False),
    ],
)
def test_who_may_write(owner: int, group: int, mode: int, *, expected: bool) -> None:
    status = os.stat_result((0o040000 | mode, 0, 0, 1, owner, group, 0, 0, 0, 0))
    assert may_write(status, 1001, 1001) == expected


def test_a_home_that_nobody_has_is_no_data_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such data directory: ~nosuchuser/x"):
        data_mount(_config(tmp_path), RunRequest(data_dir="~nosuchuser/x"), tmp_path)
