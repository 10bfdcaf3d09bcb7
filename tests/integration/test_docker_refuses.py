"""The tasks around a container where docker does one thing less than it was asked for."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import TASKS, Checkout, docker, remove_images

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]
OWNER = "buildlib.run"
DOCKERFILE = 'FROM {alpine}\nCMD ["sleep", "600"]\nSTOPSIGNAL SIGKILL\n'
CONFIG = '[run]\nsocket-path = "/var/run/docker.sock"\nuser = 1001\n'


@pytest.fixture
def plain(make_checkout: Callable[..., Checkout], alpine: str) -> Checkout:
    """Give a repository with nothing built or running."""
    return make_checkout(DOCKERFILE.format(alpine=alpine), CONFIG)


@pytest.fixture(scope="module")
def checkout(
    engine: str, alpine: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Checkout]:
    """Give a repository with a container of its own, which is removed at the end."""
    assert engine
    root = tmp_path_factory.mktemp("repo")
    made = Checkout(root, f"buildlib-test-{secrets.token_hex(4)}")
    made.dockerfile(DOCKERFILE.format(alpine=alpine))
    (root / "buildlib.toml").write_text(f'image = "{made.image}"\n{CONFIG}', encoding="utf-8")
    (root / "tasks.py").write_text(TASKS, encoding="utf-8")
    done = made.invoke("docker-run", "--detach", "--no-socket")
    assert done.returncode == 0, done.stderr
    yield made
    for left in docker("ps", "-aq", "--filter", f"label={OWNER}={made.image}").split():
        docker("rm", "--force", "--volumes", left, check=False)
    remove_images(made.image)


def _refusing(folder: Path, *commands: str) -> str:
    """Return a PATH whose docker is the real one, but refuses what begins with these words."""
    real = shutil.which("docker")
    assert real
    patterns = "|".join(f"{shlex.quote(command)}*" for command in commands)
    script = folder / "bin" / "docker"
    script.parent.mkdir()
    script.write_text(
        f'#!/bin/sh\ncase "$*" in {patterns}) echo permission denied >&2; exit 1 ;; esac\n'
        f'exec {shlex.quote(real)} "$@"\n',
        encoding="utf-8",
    )
    script.chmod(0o755)
    return f"{script.parent}{os.pathsep}{os.environ['PATH']}"


def _ours(checkout: Checkout) -> list[str]:
    label = f"label={OWNER}={checkout.image}"
    return docker("ps", "--all", "--filter", label, "--format", "{{.Names}}").split()


def test_a_container_that_stays_is_not_called_removed(checkout: Checkout, tmp_path: Path) -> None:
    path = _refusing(tmp_path, "stop ", "rm ")
    for task in ("docker-stop", "docker-clean"):
        done = checkout.invoke(task, PATH=path)
        assert done.returncode == 4, done.stdout
        assert done.stdout == ""
        assert "can't be removed" in done.stderr
        assert "permission denied" in done.stderr
        assert _ours(checkout) == [checkout.image]


def test_what_is_not_listed_is_not_taken_for_nothing(checkout: Checkout, tmp_path: Path) -> None:
    path = _refusing(tmp_path, "ps ")
    for task in ("docker-stop", "docker-clean", "docker-status"):
        done = checkout.invoke(task, PATH=path)
        assert done.returncode == 4, done.stdout
        assert "docker ps failed" in done.stderr
        assert _ours(checkout) == [checkout.image]


def test_a_log_that_can_not_be_followed_is_no_end_of_the_server(
    checkout: Checkout, tmp_path: Path
) -> None:
    words = ("docker-run", "--no-build", "--no-socket", "--name", f"{checkout.image}-2")
    done = checkout.invoke(*words, PATH=_refusing(tmp_path, "logs --follow"))
    assert done.returncode == 4, done.stdout
    assert "can't be followed, so it is stopped" in done.stderr
    assert "--detach leaves it running" in done.stderr
    assert _ours(checkout) == [checkout.image]


def test_what_stays_of_a_run_that_failed_is_told_beside_why_it_failed(
    checkout: Checkout, tmp_path: Path
) -> None:
    words = ("docker-run", "--no-build", "--no-socket", "--name", f"{checkout.image}-2")
    done = checkout.invoke(*words, PATH=_refusing(tmp_path, "logs --follow", "stop ", "rm "))
    docker("rm", "--force", "--volumes", f"{checkout.image}-2")
    assert done.returncode == 4, done.stdout
    left, why = "something of it may be left", "can't be followed"
    assert 0 < done.stderr.find(left) < done.stderr.find(why)


def test_the_line_of_a_dry_run_leads_to_the_engine_of_the_socket(
    plain: Checkout, tmp_path: Path
) -> None:
    link = tmp_path / "other.sock"
    link.symlink_to("/var/run/docker.sock")
    for words, env in (
        (("--socket", str(link)), {}),
        ((), {"DOCKER_SOCKET": str(link)}),
    ):
        done = plain.invoke("docker-run", "--dry-run", *words, **env)
        assert done.returncode == 0, done.stderr
        argv = shlex.split(done.stdout)
        assert argv[:4] == ["env", f"DOCKER_HOST=unix://{link}", "docker", "run"]
        assert f"type=bind,source={link}" in done.stdout


@pytest.mark.parametrize("socket", ["~nosuchuser", "/nowhere/docker.sock"])
def test_a_dry_run_supposes_no_other_socket_than_the_one_that_was_named(
    plain: Checkout, socket: str
) -> None:
    done = plain.invoke("docker-run", "--dry-run", "--socket", socket)
    assert done.returncode == 4
    assert done.stdout == ""
    assert socket in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dry_run_is_as_detached_as_the_real_one(plain: Checkout) -> None:
    words = ("docker-run", "--dry-run", "--no-socket", "--args", "sleep 100")
    assert plain.invoke(*words).stdout.startswith("docker run --interactive")
    assert plain.invoke(*words, "--detach").stdout.startswith("docker run --detach")
