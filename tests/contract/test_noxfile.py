"""The sessions of `buildlib.nox`, in the noxfile of another repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import MEASURED, ROOT, Checkout

from buildlib.commands.templates import NOXFILE

Make = Callable[..., Checkout]
PLATFORMS = 'platforms = ["linux/amd64", "linux/arm64"]\n'
# In the place of Python in the session: it only prints what it would run, and where.
PYTHON = '#!/bin/sh\necho "in ${PWD##*/}: $*"\n'


def _nox(root: Path, *words: str, **env: str) -> str:
    argv = [sys.executable, "-m", "nox", *words]
    done = subprocess.run(
        argv,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _listed(root: Path, text: str) -> list[dict[str, Any]]:
    (root / "noxfile.py").write_text(text, encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(_nox(root, "--list", "--json"))
    return found


def test_the_shortest_noxfile_has_a_session_for_each_check(make_checkout: Make) -> None:
    listed = _listed(make_checkout(config=PLATFORMS).root, NOXFILE)
    assert [one["session"] for one in listed] == [
        "image_lint",
        "smoke(linux/amd64)",
        "smoke(linux/arm64)",
        "reproducible",
        "scan",
        "release_test",
    ]
    assert all(one["tags"] == ["image"] for one in listed)
    assert all(one["description"] for one in listed)


def test_names_are_chosen_and_images_have_sessions_of_their_own(make_checkout: Make) -> None:
    root = make_checkout().root
    configs = {
        "api": 'platforms = ["linux/amd64"]\n',
        "worker": 'platforms = ["linux/arm64"]\n',
        # Without platforms, smoke is one session.
        "plain": "",
    }
    for name, config in configs.items():
        (root / name).mkdir()
        text = f'image = "{name}"\n{config}'
        (root / name / "buildlib.toml").write_text(text, encoding="utf-8")
    calls = "".join(
        f'buildlib.nox.sessions(Path("{name}"), only=["smoke", "scan"], prefix="{name}_")\n'
        for name in configs
    )
    listed = _listed(root, f"from pathlib import Path\nimport buildlib.nox\n{calls}")
    assert [one["session"] for one in listed] == [
        "api_smoke(linux/amd64)",
        "api_scan",
        "worker_smoke(linux/arm64)",
        "worker_scan",
        "plain_smoke",
        "plain_scan",
    ]


def test_each_of_several_images_is_smoked_by_itself(make_checkout: Make) -> None:
    root = make_checkout(config=f"{PLATFORMS}[images.api]\n[images.worker]\nplatforms = []\n").root
    call = 'import buildlib.nox\nbuildlib.nox.sessions(only=["smoke"])\n'
    assert [one["session"] for one in _listed(root, call)] == [
        "smoke(api-linux/amd64)",
        "smoke(api-linux/arm64)",
        "smoke(worker)",
    ]
    (root / "Dockerfile").write_text("FROM scratch AS final\n", encoding="utf-8")
    ran = _nox(root, "-s", "smoke(worker)", "--", "--dry-run")
    (line,) = [line for line in ran.splitlines() if line.startswith("docker buildx build ")]
    assert "/worker:smoke " in line


def test_a_session_runs_the_task_with_the_python_of_nox(make_checkout: Make) -> None:
    checkout = make_checkout("FROM scratch AS final\n", PLATFORMS)
    (checkout.root / "noxfile.py").write_text(NOXFILE, encoding="utf-8")
    ran = _nox(checkout.root, "-j", "2", "-s", "smoke", "--", "--dry-run")
    lines = [line for line in ran.splitlines() if line.startswith("docker buildx build ")]
    assert sorted(line.partition(" --platform ")[2].split()[0] for line in lines) == [
        "linux/amd64",
        "linux/arm64",
    ]
    # There is no environment for it.
    assert not list((checkout.root / ".nox").glob("*/bin"))


def _ran(checkout: Checkout, path: Path, call: str, *words: str) -> list[str]:
    """Return what sessions would run in environments of their own."""
    path.mkdir()
    (path / "python").write_text(PYTHON, encoding="utf-8")
    (path / "python").chmod(0o755)
    text = (
        f"from pathlib import Path\nimport buildlib.nox\nmade = lambda _: print('made')\n{call}\n"
    )
    (checkout.root / "noxfile.py").write_text(text, encoding="utf-8")
    backend = ("--no-install", "--force-venv-backend", "none")
    env = {**MEASURED, "PATH": f"{path}:{os.environ['PATH']}"}
    printed = _nox(checkout.root, *backend, *words, **env)
    return [line for line in printed.splitlines() if line.startswith(("in ", "made"))]


def test_an_image_is_built_before_it_is_checked(make_checkout: Make, tmp_path: Path) -> None:
    call = "buildlib.nox.sessions(install=made)"
    words = ("-s", "image_lint", "--", "--sarif", "x")
    assert _ran(make_checkout(), tmp_path / "bin", call, *words) == [
        "made",
        "in repo: -m buildlib docker-build",
        "in repo: -m buildlib docker-policy --sarif x",
    ]


def test_sessions_with_an_environment_prepare_it_and_run_there(
    make_checkout: Make, tmp_path: Path
) -> None:
    checkout = make_checkout(config=PLATFORMS)
    (checkout.root / "below").mkdir()
    (checkout.root / "buildlib.toml").rename(checkout.root / "below" / "buildlib.toml")
    call = 'buildlib.nox.sessions(Path("below"), install=made, release="dry")'
    words = ("-s", "scan", "release_test", "image_lint", "smoke", "--", "shop:1")
    smoke = "in below: -m buildlib docker-smoke --platform"
    assert _ran(checkout, tmp_path / "bin", call, *words) == [
        "made",
        "in below: -m buildlib docker-scan --image shop:1",
        "made",
        "in below: -m buildlib docker-publish --dry-run shop:1",
        "made",
        "in below: -m buildlib docker-policy --image shop:1",
        "made",
        f"{smoke} linux/amd64 --junit dist/{checkout.image}-smoke-linux-amd64.xml --image shop:1",
        "made",
        f"{smoke} linux/arm64 --junit dist/{checkout.image}-smoke-linux-arm64.xml --image shop:1",
    ]


def test_two_images_with_one_short_name_have_reports_of_their_own(
    make_checkout: Make, tmp_path: Path
) -> None:
    config = '[images.api]\nimage = "a/shop"\n[images.web]\nimage = "b/shop"\n'
    call = "buildlib.nox.sessions(install=made)"
    ran = _ran(make_checkout(config=config), tmp_path / "bin", call, "-s", "smoke")
    assert ran[1::2] == [
        f"in repo: -m buildlib docker-smoke --only {name} --junit dist/{name}/shop-smoke.xml"
        for name in ("api", "web")
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ('sessions(only=["smok"])', "there is no session 'smok'"),
        ("sessions()", "unknown configuration key imago"),
    ],
)
def test_what_is_wrong_is_said_when_the_noxfile_is_loaded(
    make_checkout: Make, call: str, message: str
) -> None:
    root = make_checkout(config="imago = 1\n" if call == "sessions()" else "").root
    code = f"import buildlib.nox; buildlib.nox.{call}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert message in done.stderr


def test_nox_is_imported_by_this_module_alone() -> None:
    code = (
        "import pkgutil, sys, importlib, buildlib\n"
        "names = [one.name for one in pkgutil.walk_packages(buildlib.__path__, 'buildlib.')]\n"
        "[importlib.import_module(one) for one in names if one != 'buildlib.nox']\n"
        "assert 'nox' not in sys.modules\n"
        "import buildlib.nox\n"
        "assert 'nox' in sys.modules\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True
    )
