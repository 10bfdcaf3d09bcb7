"""The bootstrap's shells: which are installed, and what is said where none can be."""

from __future__ import annotations

from pathlib import Path

import pytest
from bootstrap import define

# What would change the machine says what it would do.
STUBS = 'apt_lists() { :; }; install_packages() { echo "$@"; }; '


def _ensure(tmp_path: Path, release: str, uid: int, found: str) -> tuple[int, str, str]:
    file = tmp_path / "os-release"
    file.write_text(release, encoding="utf-8")
    has = f'have() {{ case " {found} " in *" $1 "*) ;; *) return 1 ;; esac; }}'
    done = define(
        f"{STUBS} id() {{ echo {uid}; }}; {has}; ensure_shells", BUILDLIB_OS_RELEASE=str(file)
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("found", "installed"), [("zsh fish", ""), ("zsh", "fish"), ("bash", "zsh fish")]
)
def test_those_that_are_missing_are_installed(tmp_path: Path, found: str, installed: str) -> None:
    said = f"shells for tests {installed}\n" if installed else ""
    assert _ensure(tmp_path, "ID=debian\n", 0, found) == (0, said, "")


@pytest.mark.parametrize(("release", "uid"), [("ID=fedora\n", 0), ("ID=debian\n", 1000)])
def test_elsewhere_it_says_what_to_install(tmp_path: Path, release: str, uid: int) -> None:
    code, out, err = _ensure(tmp_path, release, uid, "fish")
    assert (code, out, err) == (3, "", "bootstrap: not found: zsh; install them\n")
