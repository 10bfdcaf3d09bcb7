"""Values of the configuration that look secret reach docker, and no command line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from buildlib.config.config import Config
from buildlib.config.load import load_config
from buildlib.containers.container import Containers
from buildlib.containers.health import smoke_surroundings
from buildlib.containers.plan import RunPlan, RunRequest, make_run_plan, run_argv, services_argv
from buildlib.errors import InputError
from buildlib.executor import Completed
from buildlib.image.platform import Platform
from buildlib.smoke.checks import PlatformImage, PlatformSmoke
from buildlib.smoke.runner import SmokeRequest, planned
from buildlib.smoke.sandbox import Lab
from buildlib.smoke.services import beside

from fakes import FakeExecutor, a_project, words_after, write_project

AMD64 = Platform(os="linux", arch="amd64")
SECRET, ADDRESS, DATABASE = "hunter2\nand more", "db://me:s3cret@host/x", "pa55-w0rd"
CONFIG = f"""
image = "thing"
[run]
health = "running"
env = {{ PLAIN = "seen", API_TOKEN = {SECRET!r}, ADDRESS = "{ADDRESS}" }}
[run.services.db]
image = "db:1"
env = {{ NAME = "app", DB_PASSWORD = "{DATABASE}" }}
[smoke]
health = "running"
policy = false
env = {{ LATE_PASSWORD = "sm0ke" }}
commands = [["--help"]]
""".replace("'", '"')
HIDDEN = (SECRET, ADDRESS, DATABASE, "sm0ke")
OF_RUN = {"API_TOKEN": SECRET, "ADDRESS": ADDRESS}
OF_SMOKE = {**OF_RUN, "LATE_PASSWORD": "sm0ke"}


def _engine() -> FakeExecutor:
    running = '[{"State": {"Running": true}}]'
    return FakeExecutor(
        {
            ("docker", "container", "inspect"): Completed(code=0, stdout=running),
            ("docker",): Completed(code=0, stdout="c1"),
        }
    )


def _config(root: Path, more: str = "") -> Config:
    return load_config(write_project(root, CONFIG + more), {})


def _plan(config: Config, *env: str) -> RunPlan:
    here = dict.fromkeys(env, "mine")
    return make_run_plan(config, RunRequest(env=env), image="thing:1", env=here, run_id="7")


def _lines_without_secrets(argvs: list[tuple[str, ...]]) -> list[str]:
    lines = [" ".join(argv) for argv in argvs]
    assert not [line for line in lines for value in HIDDEN if value in line]
    return lines


def test_docker_run_gives_them_in_the_environment_of_docker_alone(tmp_path: Path) -> None:
    plan, docker = _plan(_config(tmp_path)), _engine()
    containers = Containers(docker, "thing")
    containers.start_services(plan)
    containers.start(plan)
    _lines_without_secrets(docker.asked)
    given = [(words_after(argv, "--env"), dict(env)) for argv, env in docker.envs]
    assert given == [
        (["NAME=app", "DB_PASSWORD"], {"DB_PASSWORD": DATABASE}),
        (["PLAIN=seen", "API_TOKEN", "ADDRESS"], OF_RUN),
    ]
    # What a dry run prints is what runs.
    started = [argv for argv in docker.asked if argv[1] in {"run", "network"}]
    assert started == [*services_argv(plan), run_argv(plan)]


def test_smoke_gives_them_in_the_environment_of_docker_alone(tmp_path: Path) -> None:
    config, docker = _config(tmp_path), _engine()
    lab = Lab(docker, "smoke-1")
    subject = PlatformImage(
        image="thing:1",
        source="thing:1",
        platform=AMD64,
        digest="",
        version="1",
        label=None,
        foreign=False,
    )
    PlatformSmoke(subject, config, lab, only=("--help", "healthy")).run()
    with beside(lab, smoke_surroundings(config).services):
        pass
    _lines_without_secrets(docker.asked)
    given = [(words_after(argv, "--env")[-1], dict(env)) for argv, env in docker.envs]
    assert given.count(("LATE_PASSWORD", OF_SMOKE)) == 2, given
    assert ("DB_PASSWORD", {"DB_PASSWORD": DATABASE}) in given


def test_smokes_dry_run_has_their_names_alone(tmp_path: Path) -> None:
    project = a_project(write_project(tmp_path, CONFIG))
    today = datetime.now(UTC).date()
    request = SmokeRequest(platforms=(AMD64,), image="thing:1", today=today)
    lines = planned(project, request)
    assert not [line for line in lines for value in HIDDEN if value in line]
    assert all(" --env PLAIN=seen --env API_TOKEN --env ADDRESS --env LATE" in one for one in lines)


def test_a_variable_that_is_given_by_name_has_the_value_that_it_has_here(tmp_path: Path) -> None:
    plan = _plan(_config(tmp_path), "API_TOKEN")
    assert dict(plan.given.hidden) == {"ADDRESS": ADDRESS}
    assert words_after(run_argv(plan), "--env") == ["PLAIN=seen", "ADDRESS", "API_TOKEN"]


def test_names_that_are_allowed_are_shown(tmp_path: Path) -> None:
    config = _config(tmp_path, '[policy]\nallow-names = ["API_*", "*_PASSWORD"]\n')
    plan = _plan(config)
    assert dict(plan.given.hidden) == {"ADDRESS": ADDRESS}
    assert f"API_TOKEN={SECRET}" in run_argv(plan)
    assert plan.given.services[0].hidden == ()


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "http_proxy", "DOCKER_AUTH_CONFIG"])
def test_docker_itself_is_given_none_of_a_containers_secrets(tmp_path: Path, name: str) -> None:
    text = f'image = "thing"\n[run]\nenv = {{ {name} = "http://me:s3cret@proxy:1" }}\n'
    with pytest.raises(InputError, match=f"{name} of a container holds a secret") as caught:
        _plan(load_config(write_project(tmp_path, text), {}))
    assert "env-file" in caught.value.hint
    assert "s3cret" not in str(caught.value)
    text = f'image = "thing"\n[run]\nenv = {{ {name} = "http://proxy:1" }}\n'
    assert f"{name}=http://proxy:1" in run_argv(
        _plan(load_config(write_project(tmp_path, text), {}))
    )
