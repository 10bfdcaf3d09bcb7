"""The switch of the image store: on an engine that is none, so that the real one stays as it is."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

SCRIPT = ROOT / "scripts" / "containerd-store.sh"
CLASSIC = '[["Backing Filesystem","extfs"]]'
CONTAINERD = '[["driver-type","io.containerd.snapshotter.v1"]]'
# The engine has the store that its configuration names, once it was restarted.
DOCKER = f"""\
#!/bin/sh
echo "docker $*" >> "$FOLDER/asked"
[ ! -e "$FOLDER/silent" ] || exit 1
if [ -e "$FOLDER/switched" ]; then echo '{CONTAINERD}'; else echo '{CLASSIC}'; fi
"""
SYSTEMCTL = """\
#!/bin/sh
echo "systemctl $*" >> "$FOLDER/asked"
[ ! -e "$FOLDER/stuck" ] || exit 1
if grep -q '"containerd-snapshotter": true' "$BUILDLIB_DAEMON_JSON" && [ ! -e "$FOLDER/deaf" ]; then
    : > "$FOLDER/switched"
fi
"""
SUDO = """\
#!/bin/sh
echo "sudo $1" >> "$FOLDER/asked"
exec "$@"
"""
ID = "#!/bin/sh\necho 1000\n"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Return a folder with an engine of the classic store, and somebody who is not root."""
    (tmp_path / "bin").mkdir()
    programs = {"docker": DOCKER, "systemctl": SYSTEMCTL, "sudo": SUDO, "id": ID}
    for name, text in programs.items():
        program = tmp_path / "bin" / name
        program.write_text(text, encoding="utf-8")
        program.chmod(0o755)
    return tmp_path


def _run(machine: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {
        "PATH": f"{machine / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "FOLDER": str(machine),
        "BUILDLIB_DAEMON_JSON": str(machine / "etc" / "daemon.json"),
    }
    return subprocess.run(
        [str(SCRIPT), *words], env=env, capture_output=True, text=True, check=False
    )


def _asked(machine: Path) -> list[str]:
    return (machine / "asked").read_text("utf-8").splitlines()


def test_the_store_is_switched_and_what_was_configured_stays(machine: Path) -> None:
    (machine / "etc").mkdir()
    known = {"exec-opts": ["native.cgroupdriver=cgroupfs"], "features": {"buildkit": True}}
    config = machine / "etc" / "daemon.json"
    config.write_text(json.dumps(known), encoding="utf-8")
    done = _run(machine, "--restart")
    assert done.returncode == 0, done.stderr
    assert "switched the engine to the containerd image store" in done.stderr
    assert json.loads(config.read_text("utf-8")) == {
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "features": {"buildkit": True, "containerd-snapshotter": True},
    }
    assert "systemctl restart docker" in _asked(machine)
    assert "sudo tee" in _asked(machine)


def test_an_engine_that_has_it_is_left_alone(machine: Path) -> None:
    (machine / "switched").touch()
    for words in ((), ("--restart",)):
        assert _run(machine, *words).returncode == 0
    assert not [line for line in _asked(machine) if not line.startswith("docker info")]
    assert not (machine / "etc").exists()


def test_without_the_word_it_only_tells(machine: Path) -> None:
    done = _run(machine)
    assert done.returncode == 4
    assert "--restart switches it" in done.stderr
    assert not (machine / "etc").exists()


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        pytest.param("silent", "does not answer", id="no engine"),
        pytest.param("stuck", "systemd could not restart", id="no restart"),
        pytest.param("deaf", "still has another image store", id="an engine that ignores it"),
    ],
)
def test_what_does_not_work_is_told(machine: Path, mark: str, message: str) -> None:
    (machine / mark).touch()
    done = _run(machine, "--restart")
    assert done.returncode == 4
    assert message in done.stderr


def test_a_configuration_that_is_broken_is_left_as_it_is(machine: Path) -> None:
    (machine / "etc").mkdir()
    config = machine / "etc" / "daemon.json"
    config.write_text("{", encoding="utf-8")
    done = _run(machine, "--restart")
    assert done.returncode == 4
    assert "daemon.json can't be read" in done.stderr
    assert config.read_text("utf-8") == "{"
    assert not [line for line in _asked(machine) if line.startswith("systemctl")]


def test_wrong_use_is_told(machine: Path) -> None:
    assert _run(machine, "--now").returncode == 2
