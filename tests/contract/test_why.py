"""`docker-why` on records of builds, and the outputs of a workflow; without docker."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Checkout

from buildlib.commands.outputs import write_outputs
from buildlib.config.load import load_config
from buildlib.dockerfile.definitions import InstructionText
from buildlib.records.record import File, Record, Step
from buildlib.records.store import open_store

STEP = Step(digest="1", name="[1/1] COPY a /", ended="1", seconds=2.0)


@pytest.fixture
def shop(make_checkout: Callable[..., Checkout]) -> Checkout:
    """Return a project that was built twice; a file changed in between."""
    made = make_checkout()
    store = open_store(load_config(made.root, {}), made.environment({}))
    assert store
    before = Record(
        id="30000101T000000.000Z-1",
        task="docker-build",
        image=made.image,
        version="1.2.3",
        started="3000-01-01T00:00:00.000+00:00",
        instructions=(InstructionText("FROM scratch"), InstructionText("COPY a /")),
        files={"a": File(mode="100644", size=1, digest="1")},
        steps=(STEP,),
    )
    files = {"a": File(mode="100644", size=1, digest="2")}
    for one in (before, replace(before, id="30000101T000001.000Z-1", files=files)):
        store.write(one)
    return made


def test_the_last_build_is_explained(shop: Checkout) -> None:
    done = shop.invoke("docker-why")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        f"docker-build of {shop.image} 1.2.3, 3000-01-01T00:00:00Z: built, 1 of 1 step ran, 0.0 s\n"
        "compared with docker-build of 1.2.3, 3000-01-01T00:00:00Z (30000101T000000.000Z-1)\n"
        "    2.0 s  [1/1]  COPY a /\n"
        "          file changed: a\n"
    )
    found = json.loads(shop.invoke("docker-why", "--json").stdout)
    (step,) = found["steps"]
    assert step["cause"]["kind"] == "file-changed"
    assert found["compared_with"] == "30000101T000000.000Z-1"


def test_one_step_is_explained(shop: Checkout) -> None:
    assert "file changed: a" in shop.invoke("docker-why", "--step", "copy").stdout
    done = shop.invoke("docker-why", "--step", "1/2")
    assert done.returncode == 2
    assert "did you mean 1/1?" in done.stderr


def test_without_a_record_there_is_a_hint(make_checkout: Callable[..., Checkout]) -> None:
    made = make_checkout()
    done = made.invoke("docker-why")
    assert done.returncode == 2
    assert "invoke docker-build writes one" in done.stderr
    off = made.invoke("docker-why", HOME="/nonexistent", XDG_STATE_HOME=None)
    assert "there is no home directory" in off.stderr
    path = made.root / "buildlib.toml"
    path.write_text(f'image = "{made.image}"\nrecords = false\n', encoding="utf-8")
    done = made.invoke("docker-why")
    assert done.returncode == 2
    assert "turns them off" in done.stderr


def test_a_damaged_record_is_passed_over_with_a_warning(shop: Checkout) -> None:
    store = open_store(load_config(shop.root, {}), shop.environment({}))
    assert store
    newest = store.paths()[0]
    newest.write_text(newest.read_text("utf-8")[:99], encoding="utf-8")
    done = shop.invoke("docker-why")
    assert done.returncode == 0
    assert "is damaged: passed over" in done.stderr
    assert "no earlier record" in done.stdout


def test_a_workflow_gets_version_digest_and_tags(tmp_path: Path) -> None:
    path = tmp_path / "outputs"
    path.write_text("earlier=1\n", encoding="utf-8")
    env = {"GITHUB_OUTPUT": str(path)}
    write_outputs(env, version="1.2.3", digest="sha256:d", tags=("a:1", "a:latest"))
    first, *lines = path.read_text("utf-8").splitlines()
    assert first == "earlier=1"
    end = lines[0].partition("<<")[2]
    assert lines == [
        *(f"version<<{end}", "1.2.3", end),
        *(f"digest<<{end}", "sha256:d", end),
        *(f"tags<<{end}", "a:1", "a:latest", end),
    ]
    write_outputs(env, image="api", version="2", digest="", tags=())
    named = [one.partition("<<")[0] for one in path.read_text("utf-8").splitlines() if "<<" in one]
    assert named[3:] == ["api-version", "api-digest", "api-tags"]
    write_outputs({}, version="", digest="", tags=())
