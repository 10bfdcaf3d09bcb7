"""The bootstrap beside other users of the machine: nothing that they can write is run or read.

Where the tests are root, the other user is a real one; else
what anybody may write stands for theirs.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bootstrap import SCRIPT

ROOT = os.geteuid() == 0
NOBODY = 65534
RUN = "check_private; make_cache; "
REFUSED = "belongs to somebody else, or can be written by them"


def _bash(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run code in a shell that has read the script, with no variables but PATH and those given."""
    path = {"PATH": os.environ["PATH"], "BUILDLIB_VENV": "/nonexistent/venv"}
    return subprocess.run(
        ["bash", "-c", f"source {shlex.quote(str(SCRIPT))}; {code}"],
        env={**path, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def shared() -> Iterator[Path]:
    """Give a directory like /tmp: everybody may write, and nobody may rename what is another's."""
    folder = Path(tempfile.mkdtemp(prefix="buildlib-test-"))
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def _plant(file: Path, text: str = '#!/bin/sh\necho "run as $(id -u)"\n') -> None:
    """Have the other user make an executable file, and every directory that it needs."""
    script = 'umask 0; mkdir -p "${1%/*}" && printf %s "$2" >"$1" && chmod 777 "$1"'
    other = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if ROOT else {}
    argv = ["sh", "-c", script, "sh", str(file), text]
    subprocess.run(argv, check=True, cwd="/", **other)  # type: ignore[call-overload]


def _refused(done: subprocess.CompletedProcess[str], named: Path) -> None:
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert done.stderr.startswith(f"bootstrap: {named} {REFUSED}; ")
    assert done.stderr.count("\n") == 1


def test_without_home_nothing_is_taken_from_the_temporary_directory(shared: Path) -> None:
    _plant(shared / f"buildlib-{os.getuid()}" / "uv" / "bin" / "uv")
    no_uv = 'have() { [ "$1" != uv ] && command -v "$1" >/dev/null; }; '
    done = _bash(f'{no_uv}{RUN}uv=$(find_uv false) || exit 0; "$uv" --version', TMPDIR=str(shared))
    assert done.returncode == 0, done.stderr
    assert "run as" not in done.stdout
    home = _bash("own_home").stdout.strip()
    assert _bash('echo "$cache"').stdout.strip() == (f"{home}/.cache/buildlib" if home else "")


def test_without_any_home_the_directory_is_new_and_ours_alone(shared: Path) -> None:
    for name in ("bases", "stand-ins/map", "uv/bin/uv", "apt/parts/x.list"):
        _plant(shared / f"buildlib-{os.getuid()}" / name)
    homeless = "own_home() { :; }; cache=$(cache_path); "
    show = f'{homeless}{RUN}echo "$cache"; find "$cache"; stat -c %a:%u "$cache"'
    first, second = (_bash(show, TMPDIR=str(shared)) for _ in range(2))
    cache, found, state = first.stdout.splitlines()
    assert cache == found
    assert state == f"700:{os.getuid()}"
    assert cache.startswith(f"{shared}/buildlib-")
    assert second.stdout.splitlines()[0] != cache
    assert f"no home directory: the cache is {cache}" in first.stderr
    # Telling makes nothing.
    before = sorted(shared.iterdir())
    done = _bash(f'{homeless}check_private; bases_chosen; echo "$cache"', TMPDIR=str(shared))
    assert (done.stdout, sorted(shared.iterdir())) == ("/nonexistent/buildlib\n", before)


@pytest.mark.parametrize(
    "planted", ["uv/bin/uv", "apt/parts/x.list", "stand-ins/map", "bases", "venv-1/bin/python"]
)
def test_a_cache_of_somebody_else_is_refused(shared: Path, planted: str) -> None:
    cache = shared / "cache" / "buildlib"
    _plant(cache / planted)
    done = _bash(RUN + "find_uv false; bases_chosen", XDG_CACHE_HOME=str(cache.parent))
    _refused(done, cache.parent)


def test_what_somebody_else_has_put_into_our_cache_is_refused(shared: Path) -> None:
    cache = shared / "buildlib"
    cache.mkdir()
    cache.chmod(0o777)
    _plant(cache / "uv" / "bin" / "uv")
    _refused(_bash(RUN, XDG_CACHE_HOME=str(shared)), cache)
    # It is closed now, and what was put there is there still.
    cache.chmod(0o755)
    _refused(_bash(RUN, XDG_CACHE_HOME=str(shared)), cache / "uv")


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "UV_CACHE_DIR"])
def test_uv_does_not_use_a_cache_of_somebody_else(
    shared: Path, tmp_path: Path, variable: str
) -> None:
    env = {"XDG_CACHE_HOME": str(shared)}
    if variable == "UV_CACHE_DIR":
        env[variable] = str(shared / "uv")
    show = f'{RUN}echo "${{UV_CACHE_DIR:-as it is}}"'
    # Ours, where everybody could have made one.
    usual = "as it is" if variable == "XDG_CACHE_HOME" else f"{shared}/uv"
    assert _bash(show, **env).stdout == f"{usual}\n"
    (shared / "uv").rmdir()
    _plant(shared / "uv" / "archive-v0" / "x" / "module.py")
    assert _bash(show, **env).stdout == f"{shared}/buildlib/uv-cache\n"
    # In a home it is beside ours.
    assert _bash(show, HOME=str(tmp_path)).stdout == "as it is\n"


def test_a_link_is_followed_before_anything_is_checked(shared: Path, tmp_path: Path) -> None:
    theirs = shared / "theirs"
    _plant(theirs / "buildlib" / "bases")
    (tmp_path / "cache").symlink_to(theirs)
    _refused(_bash(RUN, XDG_CACHE_HOME=str(tmp_path / "cache")), theirs)
    (tmp_path / "own").mkdir()
    (shared / "way").symlink_to(tmp_path / "own")
    done = _bash(f'{RUN}echo "$cache"', XDG_CACHE_HOME=str(shared / "way"))
    assert done.stdout == f"{tmp_path}/own/buildlib\n", done.stderr


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "TMPDIR", "HOME", "BUILDLIB_VENV"])
def test_a_directory_whose_entries_others_can_rename_is_refused(
    tmp_path: Path, variable: str
) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for place in ("buildlib", ".cache/buildlib", "venv"):
        (tmp_path / "open" / place).mkdir(parents=True)
    given = tmp_path / "open" / ("venv" if variable == "BUILDLIB_VENV" else "")
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")} if variable != "HOME" else {}
    _refused(_bash(RUN, **{**env, variable: str(given)}), tmp_path / "open")


def test_an_environment_of_somebody_else_is_not_started(shared: Path, tmp_path: Path) -> None:
    venv = shared / "venv"
    _plant(venv / "bin" / "python")
    shutil.copy(SCRIPT.parent.parent / "requirements" / "dev.txt", tmp_path)
    argv = [str(SCRIPT), "--check"]
    env = {"PATH": os.environ["PATH"], "BUILDLIB_VENV": str(venv), "HOME": str(tmp_path)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    _refused(done, venv)


@pytest.mark.parametrize(("own", "code"), [(True, 0), (False, 3)])
def test_a_group_that_is_the_users_own_may_write(tmp_path: Path, *, own: bool, code: int) -> None:
    (tmp_path / "buildlib").mkdir()
    (tmp_path / "buildlib").chmod(0o775)
    stub = f"has_own_group() {{ {str(own).lower()}; }}; "
    assert _bash(stub + RUN, XDG_CACHE_HOME=str(tmp_path)).returncode == code


GROUPS = {
    "the user's own": ("alice:x:1000:", 0),
    "the user's own, said twice": ("alice:x:1000:alice", 0),
    "shared": ("alice:x:1000:alice,mallory", 1),
    "of others": ("users:x:100:", 1),
    "unknown": ("", 1),
}


@pytest.mark.parametrize(("entry", "code"), GROUPS.values(), ids=GROUPS)
def test_which_group_is_a_users_own(entry: str, code: int) -> None:
    stub = f"getent() {{ [ -z {shlex.quote(entry)} ] || echo {shlex.quote(entry)}; }}; "
    assert _bash(f"{stub}has_own_group alice 1000").returncode == code
    assert _bash(f"{stub}has_own_group '' 1000").returncode == 1


def test_what_is_out_of_reach_may_have_any_mode(tmp_path: Path) -> None:
    (tmp_path / "buildlib" / "uv").mkdir(parents=True)
    (tmp_path / "buildlib" / "uv").chmod(0o777)
    for mode, code in ((0o755, 3), (0o700, 0)):
        (tmp_path / "buildlib").chmod(mode)
        assert _bash(RUN, XDG_CACHE_HOME=str(tmp_path)).returncode == code


def test_with_sudo_the_caller_counts_as_root_does(tmp_path: Path) -> None:
    words = 'set_others; echo "${foreign[*]}"'
    for uid, counts in (("0", True), ("1000", False)):
        done = _bash(f"id() {{ echo {uid}; }}; {words}", SUDO_UID="4711")
        assert ("-user 4711" in done.stdout) == counts
    if ROOT:
        shutil.chown(tmp_path, NOBODY, NOBODY)
        assert _bash(RUN, XDG_CACHE_HOME=str(tmp_path)).returncode == 3
        assert _bash(RUN, XDG_CACHE_HOME=str(tmp_path), SUDO_UID=str(NOBODY)).returncode == 0


def test_what_is_made_is_closed_to_others_and_the_command_gets_the_mask_that_was_set(
    tmp_path: Path,
) -> None:
    stubs = "".join(
        f"{name}() {{ :; }}; "
        for name in ("ensure_git", "ensure_engine", "ensure_emulation", "ensure_bases")
    )
    folders = "$venv/bin $venv/lib/python3.11/site-packages"
    made = f"venv_ready() {{ false; }}; make_venv() {{ mkdir -p {folders}; touch $venv/bin/x; }}; "
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "BUILDLIB_VENV": str(tmp_path / "venv")}
    done = _bash(f"{stubs}{made}umask 0000; main sh -c umask", **env)
    assert (done.returncode, done.stdout) == (0, "0000\n"), done.stderr
    assert (tmp_path / "cache" / "buildlib").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "venv" / "bin" / "x").stat().st_mode & 0o022 == 0
    assert _bash(RUN, **env).returncode == 0


def test_a_directory_that_somebody_else_is_quicker_to_make_is_refused(tmp_path: Path) -> None:
    quicker = 'mkdir() { command mkdir -p "$2" && chmod 777 "$2"; }; '
    done = _bash(quicker + RUN, XDG_CACHE_HOME=str(tmp_path))
    _refused(done, tmp_path / "buildlib")


def test_what_can_not_be_looked_at_counts_as_open(tmp_path: Path) -> None:
    (tmp_path / "buildlib").mkdir()
    done = _bash(f"find() {{ false; }}; {RUN}", XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 3
    assert REFUSED in done.stderr


def test_a_cache_that_can_not_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = _bash(RUN, XDG_CACHE_HOME=str(tmp_path / "file"))
    assert done.returncode == 3
    assert "can't be made; give a directory of your own in XDG_CACHE_HOME" in done.stderr
