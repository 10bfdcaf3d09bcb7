"""The bootstrap on machines that this one is not: its functions, read into a shell, alone."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from bootstrap import SCRIPT, define

ONE_LINE = """\
deb http://mirror.example.org/debian bookworm main contrib
deb-src http://mirror.example.org/debian bookworm main
deb [arch=amd64] http://other.example.org/apt some-suite main
deb [trusted=yes] http://tools.example.org/linux/debian bookworm stable
deb http://safe.example.org/debian-security bookworm-security main
"""
DEB822 = """\
Types: deb
URIs: http://mirror.example.org/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://tools.example.org/apt
Suites: bookworm-tools
Components: main
"""


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        pytest.param(
            "own.list",
            ONE_LINE,
            {
                "http://mirror.example.org/debian bookworm",
                "http://safe.example.org/debian-security bookworm-security",
            },
            id="sources of one line each",
        ),
        pytest.param(
            "own.sources",
            DEB822,
            {
                "http://mirror.example.org/debian bookworm",
                "http://mirror.example.org/debian bookworm-updates",
            },
            id="sources as paragraphs",
        ),
        pytest.param("own.list", "", set(), id="no sources"),
    ],
)
def test_the_mirrors_are_those_of_the_machine_and_no_other_makers(
    name: str, text: str, expected: set[str], tmp_path: Path
) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / name).write_text(text, encoding="utf-8")
    conf = tmp_path / "apt.conf"
    conf.write_text(
        f'Dir::Etc::SourceList "/dev/null";\nDir::Etc::SourceParts "{parts}";\n', encoding="utf-8"
    )
    done = define(f"own_mirrors {shlex.quote(str(tmp_path / 'state'))}", APT_CONFIG=str(conf))
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.splitlines()) == expected


@pytest.mark.parametrize(
    ("release", "debian_like"),
    [
        pytest.param("ID=debian\n", True, id="Debian"),
        pytest.param('ID=pop\nID_LIKE="ubuntu debian"\n', True, id="a child of Ubuntu"),
        pytest.param("ID=fedora\n", False, id="Fedora"),
        pytest.param("", False, id="a system that does not say"),
    ],
)
def test_only_debian_and_its_children_are_installed_on(
    *, release: str, debian_like: bool, tmp_path: Path
) -> None:
    file = tmp_path / "os-release"
    file.write_text(release, encoding="utf-8")
    done = define("is_debian_like", BUILDLIB_OS_RELEASE=str(file))
    assert (done.returncode == 0) == debian_like


@pytest.mark.parametrize(
    ("uid", "options", "may"),
    [
        pytest.param("0", "", True, id="root may"),
        pytest.param("1000", "", False, id="a user may not"),
        pytest.param("1000", "may_sudo=yes", True, id="a user who says so may"),
    ],
)
def test_who_may_install(*, uid: str, options: str, may: bool, tmp_path: Path) -> None:
    file = tmp_path / "os-release"
    file.write_text("ID=debian\n", encoding="utf-8")
    code = f"id() {{ echo {uid}; }}; {options or ':'}; may_install"
    assert (define(code, BUILDLIB_OS_RELEASE=str(file)).returncode == 0) == may


def test_the_emulator_is_registered_as_the_kernel_wants_it(tmp_path: Path) -> None:
    code = 'as_root() { "$@"; }; ' + f"binfmt={shlex.quote(str(tmp_path))}; "
    assert define(f"{code} register_emulation aarch64 b7").returncode == 0
    name, kind, offset, magic, mask, interpreter, flags = (
        (tmp_path / "register").read_text(encoding="utf-8").removeprefix(":").split(":")
    )
    assert (name, kind, offset, flags) == ("qemu-aarch64", "M", "", "PF")
    assert interpreter == "/usr/bin/qemu-aarch64-static"
    # The ELF header: 64 bit, little-endian, an executable or shared object, for machine 0xb7.
    assert magic.encode().decode("unicode_escape").encode("latin-1").hex() == (
        "7f454c460201010000000000000000000200b700"
    )
    assert mask.encode().decode("unicode_escape").encode("latin-1").hex() == (
        "ffffffffffffff00fffffffffffffffffeffffff"
    )


def test_as_root_it_starts_itself_again_with_our_path_and_home(tmp_path: Path) -> None:
    programs = {"id": "echo 1000", "sudo": 'printf "%s\\n" "$@"; exit 9'}
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    words = ["--release-tools", "--as-root", "nox", "-s", "a b", "--as-root"]
    done = subprocess.run(
        [str(SCRIPT), *words],
        env={**os.environ, "PATH": path, "HOME": "/home/of me"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 9, done.stderr
    expected = ["--preserve-env", "env", f"PATH={path}", "HOME=/home/of me", str(SCRIPT), *words]
    assert done.stdout.splitlines() == expected


@pytest.mark.parametrize(
    ("uid", "options", "code", "said"),
    [
        pytest.param("0", "--as-root", 0, "", id="root is root already"),
        pytest.param("1000", "", 0, "", id="nobody asked for it"),
        pytest.param("1000", "--as-root", 3, "--as-root needs sudo", id="there is no sudo"),
    ],
)
def test_what_is_not_done_again_as_root(uid: str, options: str, code: int, said: str) -> None:
    without = f"id() {{ echo {uid}; }}; have() {{ [ $1 != sudo ]; }}; prepare() {{ :; }}"
    without += "; check_private() { :; }"
    done = define(f"{without}; main {options} echo done")
    assert (done.returncode, done.stdout) == (code, "" if code else "done\n"), done.stderr
    assert said in done.stderr


def test_a_command_that_is_not_there_is_named() -> None:
    done = define("prepare() { :; }; check_private() { :; }; main no-such-program --help")
    assert (done.returncode, done.stdout) == (127, "")
    assert done.stderr == "bootstrap: no-such-program not found; give a program and its arguments\n"
