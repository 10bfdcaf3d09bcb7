"""What a killed process leaves, and who removes it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildlib.registry.credentials import Credentials, docker_store
from buildlib.tempfiles import has_ended, new_name, passing_file, passing_folder, remove_left

KNOWN = Credentials(username="ann", secret="pass", source="the test")
HOLDS = """
import sys
from buildlib.registry.credentials import Credentials, docker_store
known = Credentials(username="ann", secret="pass", source="the test")
with docker_store("registry.example", known) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def holder(temporary: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Start a process that has a registry's password in a directory."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS],
        env={"TMPDIR": str(temporary), "PYTHONPATH": ":".join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_a_password_goes_with_its_block(temporary: Path) -> None:
    with docker_store("registry.example", KNOWN) as folder:
        assert KNOWN.basic in (folder / "config.json").read_text(encoding="utf-8")
        assert folder.stat().st_mode & 0o077 == 0
        # And not while somebody has it.
        assert remove_left() == ()
        assert folder.is_dir()
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_not_before(
    temporary: Path, holder: tuple[subprocess.Popen[str], Path]
) -> None:
    process, folder = holder
    assert (folder / "config.json").is_file()
    assert remove_left() == ()
    process.kill()
    process.wait()
    assert (folder / "config.json").is_file()
    assert remove_left() == (folder.name,)
    assert list(temporary.iterdir()) == []


def test_what_is_not_ours_stays(
    temporary: Path, holder: tuple[subprocess.Popen[str], Path]
) -> None:
    process, folder = holder
    process.kill()
    process.wait()
    stale = folder.name[:-8]
    machine = new_name("x").split("-")[1]
    kept = temporary / "kept"
    kept.mkdir()
    (temporary / f"{stale}alink").symlink_to(kept)
    (temporary / f"{stale}afile.json").touch()
    # Another machine's, by a directory that both see; one without a process; a stranger's.
    for name in (stale.replace(machine, "00000000"), "buildlib-docker-", "other-"):
        (temporary / f"{name}abcdefgh").mkdir()
    before = {path.name for path in temporary.iterdir()}
    ours = {f"{stale}afile.json", folder.name}
    assert set(remove_left()) == ours
    assert {path.name for path in temporary.iterdir()} == before - ours


def test_two_folders_of_one_kind_are_two() -> None:
    with passing_folder("x") as one, passing_folder("x") as other:
        assert one != other


def test_a_file_goes_with_who_made_it_and_not_before() -> None:
    one, other = passing_file("metadata", ".json"), passing_file("metadata", ".json")
    assert one != other
    one.touch()
    assert remove_left() == ()
    assert one.exists()


def test_a_process_of_another_container_is_not_looked_up_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Which number it has there says nothing here, though both have the name of their machine.
    name = f"{new_name('smoke').rpartition('-')[0].rpartition('-')[0]}-{_ended()}-ab12"
    assert has_ended(name)
    monkeypatch.setattr(os, "readlink", lambda _: "pid:[4026532999]")
    assert not has_ended(name)


def _ended() -> int:
    """Return the number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid
