"""The build context on the real builder: what tasks wrote before is in no image."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Checkout
from gitscript import commit_all

pytestmark = [pytest.mark.engine, pytest.mark.unmeasured, pytest.mark.usefixtures("engine")]
Make = Callable[..., Checkout]


def _digest(checkout: Checkout) -> str:
    done = checkout.invoke("docker-build", "--output", "oci", "--json", SOURCE_DATE_EPOCH="1")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["digest"])


def test_a_build_that_copies_everything_is_the_same_again(make_checkout: Make) -> None:
    checkout = make_checkout("FROM scratch\nCOPY . /src\nUSER 1000\n")
    (checkout.root / ".dockerignore").write_text(".git\n__pycache__\n", encoding="utf-8")
    first = _digest(checkout)
    assert list((checkout.root / "dist").iterdir())
    assert _digest(checkout) == first
    (checkout.root / "dist" / "receipt.json").touch()
    assert _digest(checkout) == first
    assert (checkout.root / ".dockerignore").read_text("utf-8") == ".git\n__pycache__\n"
    left = Path(tempfile.gettempdir()).glob(f"buildlib-dockerfile-*-{os.getpid()}-*")
    assert [one for one in left if (one / "Dockerfile").is_file()] == []


def test_data_that_a_container_wrote_is_in_no_image(make_checkout: Make) -> None:
    checkout = make_checkout("FROM scratch\nCOPY . /\n", '[run]\ndata-path = "/data"\n')
    (checkout.root / "data").mkdir()
    (checkout.root / "data" / "x").touch()
    done = checkout.invoke("docker-build", "--output", "local", "--json")
    assert done.returncode == 0, done.stderr
    made = Path(json.loads(done.stdout)["destination"])
    assert (made / "Dockerfile").is_file()
    assert not (made / "data").exists()
    assert not (made / "dist").exists()


def test_the_line_of_a_dry_run_builds_the_same(make_checkout: Make) -> None:
    checkout = make_checkout("FROM scratch\nCOPY . /\n")
    (checkout.root / "dist").mkdir()
    (checkout.root / "dist" / "old").touch()
    line = checkout.invoke("docker-build", "--output", "local", "--dry-run").stdout
    done = subprocess.run(
        ["sh", "-c", line], cwd=checkout.root, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (made,) = [one for one in (checkout.root / "dist").iterdir() if one.is_dir()]
    assert (made / "Dockerfile").is_file()
    assert not (made / "dist").exists()


@pytest.mark.parametrize("link", ["link", "docker/link"], ids=["beside", "in another folder"])
def test_a_dockerfile_that_is_a_link_keeps_its_ignore_file(make_checkout: Make, link: str) -> None:
    checkout = make_checkout("FROM scratch\nCOPY . /\n", f'dockerfile = "{link}"\n')
    (checkout.root / "docker").mkdir()
    target = "../Dockerfile" if "/" in link else "Dockerfile"
    (checkout.root / link).symlink_to(target)
    (checkout.root / f"{link}.dockerignore").write_text("secret.txt\n", encoding="utf-8")
    (checkout.root / "secret.txt").touch()
    done = checkout.invoke("docker-build", "--output", "local", "--json")
    assert done.returncode == 0, done.stderr
    made = Path(json.loads(done.stdout)["destination"])
    assert (made / "Dockerfile").is_file()
    assert not (made / "secret.txt").exists()


def test_ignored_files_in_the_context_are_a_warning(make_checkout: Make) -> None:
    checkout = make_checkout("FROM scratch\nCOPY . /\n")
    (checkout.root / ".gitignore").write_text(".env\n__pycache__\n", encoding="utf-8")
    (checkout.root / ".dockerignore").write_text("__pycache__\n.git\n", encoding="utf-8")
    commit_all(checkout.root)
    (checkout.root / ".env").touch()
    done = checkout.invoke("docker-build", "--dry-run")
    assert "the build takes .env, which no commit has" in done.stderr
