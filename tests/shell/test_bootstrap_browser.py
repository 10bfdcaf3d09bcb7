"""The bootstrap's browser: when one is installed, and what is said where none can be."""

from __future__ import annotations

from pathlib import Path

import pytest
from bootstrap import define
from conftest import ROOT

# What would change the machine says what it would do.
STUBS = 'apt_lists() { :; }; first_known() { echo "$1"; }; install_packages() { echo "$@"; }; '


def _ensure(tmp_path: Path, release: str, uid: int, found: str) -> tuple[int, str, str]:
    file = tmp_path / "os-release"
    file.write_text(release, encoding="utf-8")
    code = f'{STUBS} id() {{ echo {uid}; }}; have() {{ [ "$1" = "{found}" ]; }}; ensure_browser'
    done = define(code, BUILDLIB_OS_RELEASE=str(file))
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", ["chromium", "google-chrome"])
def test_a_browser_that_is_there_is_taken(tmp_path: Path, name: str) -> None:
    assert _ensure(tmp_path, "ID=fedora\n", 1000, name) == (0, "", "")


def test_on_debian_chromium_is_installed(tmp_path: Path) -> None:
    code, out, err = _ensure(tmp_path, "ID=debian\n", 0, "none")
    assert (code, err) == (0, "")
    assert out == "a browser for tests chromium-headless-shell fonts-dejavu-core\n"


@pytest.mark.parametrize(
    ("release", "uid"),
    [
        pytest.param("ID=fedora\n", 0, id="a machine without apt"),
        pytest.param("ID=ubuntu\nID_LIKE=debian\n", 0, id="Ubuntu, whose package is a snap"),
        pytest.param("ID=debian\n", 1000, id="a user who may not install"),
    ],
)
def test_elsewhere_it_says_what_to_install(tmp_path: Path, release: str, uid: int) -> None:
    code, out, err = _ensure(tmp_path, release, uid, "none")
    assert (code, out) == (3, "")
    assert "install Chromium or Google Chrome" in err


def test_the_tests_look_for_the_same_browsers() -> None:
    listed = define('printf "%s\\n" "${browsers[@]}"').stdout.split()
    text = (ROOT / "tests/browser/conftest.py").read_text(encoding="utf-8")
    quoted = ", ".join(f'"{name}"' for name in listed)
    assert f"BROWSERS = ({quoted})" in text
