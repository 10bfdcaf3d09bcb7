"""The bootstrap's virtual environment: when one is made, with what, and what is said where not."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from bootstrap import define
from conftest import ROOT


@pytest.fixture
def environment(tmp_path: Path) -> tuple[str, Path]:
    """Return code that names an environment which looks finished, and where it is."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    real = Path(sys.executable).resolve().name
    (venv / "lib" / real).mkdir(parents=True)
    requirements = tmp_path / "dev.txt"
    requirements.write_text("invoke==2.2.0\n", encoding="utf-8")
    (venv / ".bootstrap").write_text("invoke==2.2.0\n", encoding="utf-8")
    return f"venv={venv}; requirements={requirements}; venv_ready", tmp_path


def test_an_environment_that_fits_is_ready(environment: tuple[str, Path]) -> None:
    assert define(environment[0]).returncode == 0


def test_an_environment_that_was_broken_off_is_not_ready(environment: tuple[str, Path]) -> None:
    code, folder = environment
    (folder / "venv" / ".bootstrap").unlink()
    assert define(code).returncode != 0


def test_other_requirements_make_an_environment_unready(environment: tuple[str, Path]) -> None:
    code, folder = environment
    (folder / "dev.txt").write_text("invoke==2.2.1\n", encoding="utf-8")
    assert define(code).returncode != 0


def test_another_python_behind_the_link_makes_an_environment_unready(
    environment: tuple[str, Path],
) -> None:
    code, folder = environment
    other = folder / "python3.99"
    other.write_text("#!/bin/sh\n", encoding="utf-8")
    other.chmod(0o755)
    (folder / "venv" / "bin" / "python").unlink()
    (folder / "venv" / "bin" / "python").symlink_to(other)
    assert define(code).returncode != 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param("/some/where", "/some/where", id="an absolute path is taken"),
        pytest.param("where", f"{ROOT}/where", id="a relative one is below the current directory"),
    ],
)
def test_the_environment_can_be_somewhere_else(given: str, expected: str) -> None:
    code = f"cd {shlex.quote(str(ROOT))}; venv_path"
    assert define(code, BUILDLIB_VENV=given).stdout.strip() == expected


def test_what_is_set_for_pip_holds_for_uv() -> None:
    show = 'uv_like_pip false; echo "${UV_DEFAULT_INDEX:-none} ${SSL_CERT_FILE:-none}"'
    unset = "unset UV_DEFAULT_INDEX PIP_INDEX_URL SSL_CERT_FILE PIP_CERT; "
    assert define(unset + show).stdout == "none none\n"
    given = "PIP_INDEX_URL=https://index.example.org/simple PIP_CERT=/ca.pem; "
    assert define(unset + given + show).stdout == "https://index.example.org/simple /ca.pem\n"
    stronger = "UV_DEFAULT_INDEX=https://uv.example.org; "
    assert define(unset + given + stronger + show).stdout.startswith("https://uv.example.org ")


# Says what it was called with, in the place of what would install, download or compile.
FILLING = (
    'install_packages() { echo "installed: $*"; }; fill_with_uv() { echo "uv: $1"; };'
    ' fill_with_pip() { echo "pip: $1"; }; '
)
NEVER = FILLING + "find_python() { echo /the/python; }; "
NO_DISTRIBUTION = "distribution_python=/no/such/python; "


def _place(folder: Path) -> str:
    """Return code that has the environment made in a folder, of requirements that are none."""
    requirements = folder / "dev.txt"
    requirements.write_text("# none\n", encoding="utf-8")
    return f"venv={folder / 'venv'}; requirements={requirements}; mkdir -p $venv; "


def test_an_environment_is_filled_by_uv(tmp_path: Path) -> None:
    done = define(f"{_place(tmp_path)}{NEVER}make_venv")
    assert (done.returncode, done.stdout) == (0, "uv: /the/python\n")
    assert f"made the virtual environment {tmp_path / 'venv'}" in done.stderr
    assert (tmp_path / "venv" / ".bootstrap").read_text("utf-8") == "# none\n"


def test_an_environment_is_filled_by_pip_where_there_is_no_uv(tmp_path: Path) -> None:
    code = f"{_place(tmp_path)}{NEVER}fill_with_uv() {{ return 1; }}; make_venv"
    done = define(code)
    assert (done.returncode, done.stdout) == (0, "pip: /the/python\n")
    assert (tmp_path / "venv" / ".bootstrap").exists()


def test_an_environment_that_could_not_be_filled_is_made_again_the_next_time(
    tmp_path: Path,
) -> None:
    failing = "fill_with_uv() { return 1; }; fill_with_pip() { return 1; }; "
    done = define(f"{_place(tmp_path)}{NEVER}{failing}touch $venv/.bootstrap; make_venv")
    assert done.returncode == 1
    assert not (tmp_path / "venv" / ".bootstrap").exists()


def test_python_is_installed_where_that_is_allowed(tmp_path: Path) -> None:
    code = (
        f"{_place(tmp_path)}{NEVER}may_install() {{ return 0; }}; "
        "find_python() { [ -e $venv/python ] && echo /new/python; }; "
        'install_packages() { echo "installed: $*"; touch $venv/python; }; make_venv'
    )
    done = define(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "installed: Python python3 python3-venv\nuv: /new/python\n"


@pytest.mark.parametrize(
    ("may", "message"),
    [
        pytest.param("return 1", "no Python 3.11 or later on PATH; install one", id="not allowed"),
        pytest.param("return 0", "Python is older than 3.11; install one", id="too old"),
    ],
)
def test_without_a_python_it_says_so_and_exits_3(tmp_path: Path, may: str, message: str) -> None:
    code = f"find_python() {{ return 1; }}; may_install() {{ {may}; }}; make_venv"
    done = define(f"{_place(tmp_path)}{NEVER}{code}")
    assert done.returncode == 3
    assert message in done.stderr
    assert "uv:" not in done.stdout


@pytest.mark.parametrize("named", ["python3", "python3.12"])
def test_the_python_that_is_found_is_new_enough(tmp_path: Path, named: str) -> None:
    for name in ("python3", "python3.14", "python3.13", "python3.12", "python3.11"):
        program = tmp_path / name
        # A Python's answer to whether it is older than 3.11 is its exit code.
        program.write_text(f"#!/bin/sh\nexit {int(name != named)}\n", encoding="utf-8")
        program.chmod(0o755)
    done = define(f"{NO_DISTRIBUTION}PATH={shlex.quote(str(tmp_path))}:$PATH; find_python")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / named}\n")


@pytest.mark.parametrize(
    ("new", "complete", "taken"),
    [
        pytest.param(0, 0, True, id="it is"),
        pytest.param(1, 0, False, id="not where it is too old"),
        pytest.param(0, 1, False, id="not where it can make no environment"),
    ],
)
def test_the_distributions_python_comes_first(
    tmp_path: Path, new: int, complete: int, *, taken: bool
) -> None:
    own = tmp_path / "own"
    own.write_text(
        f"#!/bin/sh\ncase $2 in *ensurepip*) exit {complete} ;; esac\nexit {new}\n",
        encoding="utf-8",
    )
    own.chmod(0o755)
    done = define(f"distribution_python={own}; find_python")
    assert done.returncode == 0
    assert (done.stdout == f"{own}\n") is taken


def test_a_python_that_is_named_is_taken(tmp_path: Path) -> None:
    done = define(f"{_place(tmp_path)}{FILLING}make_venv", BUILDLIB_PYTHON=sys.executable)
    assert (done.returncode, done.stdout) == (0, f"uv: {sys.executable}\n"), done.stderr


@pytest.mark.parametrize("named", ["old-python", "/no/such/python", "no-such-python"])
def test_a_python_that_is_named_and_will_not_do_is_an_error(tmp_path: Path, named: str) -> None:
    program = tmp_path / "old-python"
    program.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    code = f"PATH={shlex.quote(str(tmp_path))}:$PATH; {_place(tmp_path)}{FILLING}make_venv"
    done = define(code, BUILDLIB_PYTHON=named)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"BUILDLIB_PYTHON is not a Python 3.11 or later: {named}" in done.stderr


def test_uv_that_fails_says_so_and_leaves_the_rest_to_pip(tmp_path: Path) -> None:
    code = f"{_place(tmp_path)}find_uv() {{ return 1; }}; fill_with_uv {sys.executable}"
    assert define(code).returncode == 1
    code = f"{_place(tmp_path)}find_uv() {{ echo false; }}; fill_with_uv {sys.executable}"
    assert define(code).returncode == 1


# A Python without ensurepip, as Debian's is without python3-venv, that shows what it is told.
BARE = '#!/bin/sh\n[ "$1" != -c ] || exit 1\necho "python: $*"\nmkdir -p "$4/bin"\n'


def _bare_python(folder: Path) -> str:
    python = folder / "python"
    pip = 'printf \'#!/bin/sh\\necho "in it: $*"\\n\' >"$4/bin/python"; chmod 755 "$4/bin/python"\n'
    python.write_text(BARE + pip, encoding="utf-8")
    python.chmod(0o755)
    return str(python)


def test_without_the_venv_module_it_says_what_to_install(tmp_path: Path) -> None:
    python = _bare_python(tmp_path)
    code = f"{_place(tmp_path)}may_install() {{ return 1; }}; fill_with_pip {python}"
    done = define(code)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"{python} has no venv module; install python3-venv" in done.stderr


def test_the_venv_module_is_installed_where_that_is_allowed(tmp_path: Path) -> None:
    code = (
        f"{_place(tmp_path)}may_install() {{ return 0; }}; "
        f'install_packages() {{ echo "installed: $*"; }}; fill_with_pip {_bare_python(tmp_path)}'
    )
    done = define(code)
    assert done.returncode == 0, done.stderr
    installed, made, filled = done.stdout.splitlines()
    assert installed == "installed: Python's venv module python3-venv"
    assert made == f"python: -m venv --clear {tmp_path / 'venv'}"
    assert filled.endswith(f"--require-hashes -r {tmp_path / 'dev.txt'}")


def test_the_environment_runs_tasks_in_another_repository(tmp_path: Path) -> None:
    venv, other = tmp_path / "venv", tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    # The packages of this environment, without the library; and a folder of its name.
    (packages,) = venv.glob("lib/python3*/site-packages")
    used = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "used.pth").write_text("\n".join(used), encoding="utf-8")
    (other / "buildlib").mkdir(parents=True)
    (other / "buildlib/__init__.py").write_text("raise SystemExit('not this one')\n", "utf-8")
    (other / "buildlib.toml").write_text('image = "thing"\n', encoding="utf-8")
    for _ in range(2):
        done = define(f"venv={venv}; link_library")
        assert (done.returncode, done.stderr) == (0, "")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env["PATH"] = f"{venv}/bin{os.pathsep}{env['PATH']}"
    done = subprocess.run(
        ["buildlib", "config", "--json"],
        cwd=other,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"thing"' in done.stdout
    words = [f"{venv}/bin/python", "-P", "-c", "import buildlib; print(buildlib.__file__)"]
    done = subprocess.run(words, cwd=other, env=env, capture_output=True, text=True, check=False)
    assert done.stdout == f"{ROOT / 'buildlib/__init__.py'}\n", done.stderr
