"""The bootstrap and the engine: what it sets up, starts and stops, and what is left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bootstrap import define


def test_without_leave_to_install_the_engine_is_only_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "os-release"
    file.write_text("ID=debian\n", encoding="utf-8")
    code = "id() { echo 1000; }; apt-get() { echo ran >&2; }; sudo() { echo ran >&2; }; add_engine"
    done = define(code, BUILDLIB_OS_RELEASE=str(file))
    assert done.returncode == 3
    assert "install Docker Engine 23 or later" in done.stderr
    assert "--install-engine" in done.stderr
    assert "ran" not in done.stderr


def test_a_process_id_of_somebody_else_is_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "docker.pid"
    with subprocess.Popen(["sleep", "60"]) as other:
        file.write_text(str(other.pid), encoding="utf-8")
        assert define(f"forget_stale {file} sleep").returncode == 0
        assert file.exists()
        assert define(f"forget_stale {file} dockerd").returncode == 0
        assert not file.exists()
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        file.write_text(str(other.pid), encoding="utf-8")
        assert define(f"forget_stale {file} sleep").returncode == 0
        assert not file.exists(), "it ended, and was not reaped"
    file.write_text("not a number", encoding="utf-8")
    assert define(f"forget_stale {file} dockerd").returncode == 0
    assert not file.exists()


def test_a_process_that_ended_has_no_start_time_even_before_it_is_reaped() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        done = define(f"started_at {process.pid}")
        assert done.stdout.strip().isdigit()
        process.kill()
        # Ended, and not reaped: what is left is a zombie.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert define(f"started_at {process.pid}").returncode != 0


def _store(folder: Path) -> str:
    """Return code that has the engine's places below a folder, and is root there."""
    return (
        f'as_root() {{ "$@"; }}; engine_config={folder}/etc/docker/daemon.json; '
        f"engine_data={folder}/lib; choose_store"
    )


def test_a_new_engine_gets_the_containerd_store(tmp_path: Path) -> None:
    done = define(_store(tmp_path))
    config = tmp_path / "etc" / "docker" / "daemon.json"
    assert done.returncode == 0, done.stderr
    assert json.loads(config.read_text("utf-8")) == {"features": {"containerd-snapshotter": True}}
    assert f"set up the containerd image store ({config})" in done.stderr


def test_a_configuration_that_is_there_is_left_alone(tmp_path: Path) -> None:
    config = tmp_path / "etc" / "docker" / "daemon.json"
    config.parent.mkdir(parents=True)
    config.write_text("{}", encoding="utf-8")
    done = define(_store(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert config.read_text("utf-8") == "{}"


def test_images_in_the_classic_store_stay_in_sight(tmp_path: Path) -> None:
    (tmp_path / "lib" / "image").mkdir(parents=True)
    done = define(_store(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "etc").exists()


@pytest.fixture
def daemon() -> Iterator[subprocess.Popen[bytes]]:
    """Give a process in the place of an engine."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def _stop(folder: Path) -> subprocess.CompletedProcess[str]:
    return define(f"state={folder}; main --stop-engine")


def test_an_engine_that_nobody_recorded_is_not_stopped(tmp_path: Path) -> None:
    done = _stop(tmp_path)
    assert done.returncode == 0
    assert "no engine that was started here is running" in done.stderr


def test_a_process_that_got_the_recorded_id_since_is_not_stopped(
    daemon: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    started = int(define(f"started_at {daemon.pid}").stdout)
    (tmp_path / "dockerd").write_text(f"{daemon.pid} {started - 1}\n", encoding="utf-8")
    done = _stop(tmp_path)
    assert done.returncode == 0
    assert "no engine that was started here is running" in done.stderr
    assert daemon.poll() is None


def test_an_engine_that_was_started_here_is_stopped(
    daemon: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    started = define(f"started_at {daemon.pid}").stdout.strip()
    (tmp_path / "dockerd").write_text(f"{daemon.pid} {started}\n", encoding="utf-8")
    done = _stop(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "stopped the Docker engine" in done.stderr
    assert daemon.wait(5) == -signal.SIGTERM
    assert not (tmp_path / "dockerd").exists()
