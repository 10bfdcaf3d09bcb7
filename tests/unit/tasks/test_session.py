"""What a task's processes are given."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

from buildlib.tasks.session import edge, nearest


def _nobody(uid: int) -> pwd.struct_passwd:
    raise KeyError(uid)


def test_steps_are_counted_whatever_the_user_s_progress_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDKIT_PROGRESS", "plain")
    with edge(Context()) as run:
        assert run.env["BUILDKIT_PROGRESS"] == "rawjson"


def test_a_user_without_home_and_without_a_name_has_a_passing_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HOME", "DOCKER_CONFIG", "BUILDX_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", _nobody)
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.F_OK and path.exists())
    with edge(Context()) as run:
        assert run.env["HOME"] == "/nonexistent"
        assert run.passing_home
        folder = Path(run.env["BUILDX_CONFIG"])
        assert folder.is_dir()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("there", "found"),
    [
        pytest.param("home/.docker/buildx", "home/.docker/buildx", id="buildx's own directory"),
        pytest.param("home/.docker", "home/.docker", id="docker's, where buildx has none yet"),
        pytest.param("home", "home", id="home, where docker has none yet"),
        pytest.param("", "", id="what is above it"),
    ],
)
def test_what_has_to_be_writable_is_the_nearest_that_is_there(
    tmp_path: Path, there: str, found: str
) -> None:
    (tmp_path / there).mkdir(parents=True, exist_ok=True)
    assert nearest(tmp_path / "home" / ".docker" / "buildx") == tmp_path / found


def test_what_can_not_be_entered_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert nearest(tmp_path / "file" / ".docker" / "buildx") == tmp_path / "file"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "/bin/x"), "/bin/x: Permission denied"),
        (OSError(18, "Invalid cross-device link", "/a", None, "/b"), "/a and /b: Invalid"),
        (OSError("no room"), "no room"),
    ],
    ids=["of a file", "of two files", "of none"],
)
def test_what_the_system_refuses_is_one_line_and_a_code(error: OSError, said: str) -> None:
    with pytest.raises(Exit) as caught, edge(Context()):
        raise error
    assert caught.value.code == 2
    assert said in str(caught.value)
    assert "BUILDLIB_DEBUG=1" in str(caught.value)
