"""Which sessions plain nox runs, on a machine with Go and on one without."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, pytest_collection_modifyitems, pytest_ignore_collect

ALWAYS = {
    *("lint", "unit", "app_tests", "browser", "engine", "release", "coverage", "simulation"),
    *("smoke(linux/amd64)", "smoke(linux/arm64)", "reproducible", "publish"),
}


def _nox(path: Path | str, *words: str, **more: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "nox", "--noxfile", str(ROOT / "noxfile.py"), *words],
        env={**os.environ, "PATH": str(path), "NO_COLOR": "1", **more},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout + done.stderr


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def test_a_release_by_goreleaser_is_told_what_only_we_know(tmp_path: Path) -> None:
    """The session itself, where every program only says what it was asked."""
    held = (
        'echo "a warning" >&2; case "$1" in *-config) echo latest 1;; binary) echo /of/ours;; esac'
    )
    _program(tmp_path / "invoke", held)
    _program(tmp_path / "go", 'echo "$2: go1.24.99"')
    _program(tmp_path / "python", 'echo "asked: $*"; echo "$GOTOOLCHAIN, $BUILDLIB_HELD_BACK"')
    words = ("--no-install", "--force-venv-backend", "none", "--session", "goreleaser")
    lines = _nox(tmp_path, *words, "--", "release", "--snapshot").splitlines()
    at = lines.index("go1.24.99, latest 1")
    assert lines[at - 1] == (
        "asked: scripts/gotools.py goreleaser syft -- "
        "goreleaser release --clean --skip=docker,sign --snapshot"
    )


@pytest.mark.parametrize("name", ["builders", "engines"])
def test_daemons_are_not_started_without_root(tmp_path: Path, name: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nos.geteuid = lambda: 1000\n", encoding="utf-8"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "nox", "--noxfile", str(ROOT / "noxfile.py")),
            *("--no-install", "--force-venv-backend", "none", "--session", name),
        ],
        env={**os.environ, **dict.fromkeys(("PYTHONPATH", "PATH"), str(tmp_path)), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert f"scripts/bootstrap.sh --as-root nox -s {name}" in done.stderr
    assert "Running" in done.stderr
    assert "bootstrap.sh --release-tools" not in done.stderr


# Stands for scripts/bootstrap.sh: one test fails on the toolchain whose prefix is $FAILS.
BOOTSTRAP = """\
echo "TMPDIR=${TMPDIR-unset} $*"
failed=0
case "$*" in *"tools $FAILS sh "*) failed=1 ;; esac
while [ "$1" != --matrix ]; do shift; done
echo "{\\"failed\\": {\\"test_it\\": $failed}}" >"$2"
exit $failed
"""


@pytest.mark.parametrize("fails", ["scripts/toolchain.py --engine", "none"])
def test_each_toolchain_runs_the_tests_outside_of_the_checkout(tmp_path: Path, fails: str) -> None:
    root, bin_ = tmp_path / "root", tmp_path / "bin"
    for folder in (root / "scripts", bin_):
        folder.mkdir(parents=True)
    for name in ("noxfile.py", "pyproject.toml", "buildlib"):
        (root / name).symlink_to(ROOT / name)
    _program(root / "scripts/bootstrap.sh", BOOTSTRAP)
    _program(bin_ / "python", 'echo "asked: $1 with $(($# - 1))"')
    (bin_ / "sitecustomize.py").write_text("import os\nos.geteuid = lambda: 0\n", encoding="utf-8")
    here = dict.fromkeys(("PYTHONPATH", "PATH"), str(bin_))
    env = {**os.environ, **here, "NO_COLOR": "1", "FAILS": fails}
    env.pop("TMPDIR", None)
    words = ("--no-install", "--force-venv-backend", "none", "--session", "engines")
    done = subprocess.run(
        [sys.executable, "-m", "nox", "--noxfile", str(root / "noxfile.py"), *words],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    begin = "TMPDIR=unset --release-tools"
    ran = [line for line in done.stdout.splitlines() if line.startswith("TMPDIR=")]
    assert all('&& exec "$@" - python -m pytest -m toolchain ' in line for line in ran)
    assert [line.partition(" sh -c invoke docker-build ")[0] for line in ran] == [
        begin,
        f"{begin} scripts/toolchain.py",
        f"{begin} scripts/toolchain.py --engine",
    ]
    assert ("asked: tests/matrix.py with 3" in done.stdout) is (fails == "none")
    # After a second, nox also says how long it took.
    failed = re.search(r"tests failed on: current( \(took .+\))?\.", done.stderr)
    assert bool(failed) is (fails != "none")


def _chosen(path: Path, *words: str) -> set[str]:
    lines = [line.split() for line in _nox(path, "--list", *words).splitlines()]
    return {words[1] for words in lines if words[:1] == ["*"]}


def test_tests_are_the_sum_of_three_sessions_and_their_coverage(tmp_path: Path) -> None:
    assert _chosen(tmp_path, "-s", "tests") == {"unit", "engine", "release", "coverage", "tests"}


def test_plain_nox_runs_two_sessions_at_a_time_and_a_session_by_name_is_alone() -> None:
    code = (
        "import importlib, sys\n"
        "sys.argv = ['nox', '-s', 'unit']\n"
        "import noxfile, nox\n"
        "print(nox.options.parallel)\n"
        "sys.argv = ['nox']\n"
        "importlib.reload(noxfile)\n"
        "print(nox.options.parallel)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["None", "2"]


def test_each_python_on_path_or_of_pyenv_has_a_session_and_none_is_started(tmp_path: Path) -> None:
    pyenv, own, started = tmp_path / "pyenv", tmp_path / "bin", tmp_path / "started"
    chosen = pyenv / "versions" / "3.12.4" / "bin"
    for folder in (own, chosen, pyenv / "shims"):
        folder.mkdir(parents=True)
    # Of a shim alone nobody knows whether it leads anywhere.
    for folder, version in ((own, 14), (chosen, 12), (pyenv / "shims", 12), (pyenv / "shims", 13)):
        _program(folder / f"python3.{version}", f"touch {started}")
    path = f"{pyenv / 'shims'}{os.pathsep}{own}"
    listed = _nox(path, "--list", PYENV_ROOT=str(pyenv))
    assert re.findall(r"^- pythons\((.*?)\)", listed, re.MULTILINE) == ["3.12", "3.14"]
    assert not started.exists()


def test_what_is_fast_needs_no_registry_and_no_second_machine(tmp_path: Path) -> None:
    assert _chosen(tmp_path, "-t", "fast") == {"lint", "unit"}


class _Item(pytest.Item):
    def runtest(self) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("marks", "problem"),
    [((), "no session runs"), (("release", "engine"), "two sessions")],
)
def test_a_test_that_is_not_in_one_session_is_refused(
    tmp_path: Path, request: pytest.FixtureRequest, marks: tuple[str, ...], problem: str
) -> None:
    path = tmp_path / "integration" / "test_it.py"
    item = _Item.from_parent(request.session, name="test_it", path=path)
    for mark in marks:
        item.add_marker(mark)
    with pytest.raises(pytest.UsageError, match=problem):
        pytest_collection_modifyitems([item])


@pytest.mark.parametrize(
    ("text", "ignored"),
    [
        ("pytestmark = pytest.mark.engine", True),
        ("pytestmark = [pytest.mark.release, pytest.mark.timeout(9)]", None),
        ("@pytest.mark.engine @mark.release", None),
        # It is to be refused.
        ("@pytest.mark.timeout(9)", None),
    ],
)
def test_no_file_is_imported_whose_tests_are_all_of_other_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, ignored: object
) -> None:
    path = tmp_path / "test_it.py"
    path.write_text(text, encoding="utf-8")
    config = pytest.Config.fromdictargs({"markexpr": "release"}, [])
    assert pytest_ignore_collect(path, config) is ignored
    assert pytest_ignore_collect(tmp_path, config) is None
    for words in ("release or engine", ""):
        monkeypatch.setattr(config.option, "markexpr", words)
        assert pytest_ignore_collect(path, config) is None


def test_with_go_everything_runs(tmp_path: Path) -> None:
    (tmp_path / "go").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "go").chmod(0o755)
    chosen = _chosen(tmp_path)
    assert chosen == ALWAYS | {"builders", "goreleaser"}
    assert "left_out" not in chosen
    assert "was left out" not in _nox(tmp_path, "--session", "left_out")


def test_without_go_what_needs_it_is_left_out_by_name(tmp_path: Path) -> None:
    assert _chosen(tmp_path) == ALWAYS | {"left_out"}
    said = _nox(tmp_path, "--session", "left_out")
    for name in ("builders", "goreleaser"):
        assert f"{name} was left out: no go on PATH" in said
