"""The writer of files: through links, and with the mode and the owner that a file has."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildlib.errors import InputError
from buildlib.files import write_file
from buildlib.tempfiles import check_room, passing_file, system_problem


@given(st.binary(), st.integers(0, 0o777), st.integers(0, 3), st.integers(0, 9))
def test_what_is_there_keeps_everything_but_its_content(
    content: bytes, mode: int, links: int, owner: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kept", "file")
        file.parent.mkdir()
        file.write_bytes(b"old")
        os.chown(file, owner, owner + 1)
        file.chmod(mode)
        given_name = file
        for number in range(links):
            link = Path(folder, f"link{number}")
            link.symlink_to(os.path.relpath(given_name, folder))
            given_name = link
        write_file(given_name, content)
        about = file.stat()
        assert file.read_bytes() == content
        assert (stat.S_IMODE(about.st_mode), about.st_uid, about.st_gid) == (mode, owner, owner + 1)
        assert all(Path(folder, f"link{number}").is_symlink() for number in range(links))
        assert sorted(os.listdir(file.parent)) == ["file"]  # noqa: PTH208 - names alone


def test_a_new_file_is_made_with_its_directories(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    write_file(path, "x\udc80ü")
    assert path.read_bytes() == b"x\x80\xc3\xbc"
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_a_link_to_what_is_not_there_makes_it(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("there/file")
    write_file(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "file").read_text("utf-8") == "x"


def test_what_is_no_regular_file_is_written_to(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    handle = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    write_file(fifo, "x")
    assert os.read(handle, 9) == b"x"
    os.close(handle)
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    write_file(Path(os.devnull), "x")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_a_file_whose_owner_a_new_one_cannot_have_is_written_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("a longer text", encoding="utf-8")
    os.chown(path, 5, 5)
    inode = path.stat().st_ino

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "not yours")

    monkeypatch.setattr(os, "fchown", refuse)
    write_file(path, "new")
    assert (path.read_text("utf-8"), path.stat().st_ino, path.stat().st_uid) == ("new", inode, 5)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_file_that_is_mounted_is_written_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("a longer text", encoding="utf-8")

    def refuse(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", refuse)
    write_file(path, "new")
    assert path.read_text("utf-8") == "new"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_new_file_is_as_closed_as_the_old_one_before_it_holds_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o600)
    sizes: list[int] = []
    change = os.fchmod

    def note(handle: int, mode: int) -> None:
        sizes.append(os.fstat(handle).st_size)
        change(handle, mode)

    monkeypatch.setattr(os, "fchmod", note)
    write_file(path, "x" * 1_000_000)
    assert sizes == [0]


def test_one_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old", encoding="utf-8")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fchmod", full)
    with pytest.raises(OSError, match="No space"):
        write_file(path, "new")
    assert path.read_text("utf-8") == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_loop_of_links_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        write_file(tmp_path / "a", "x")


def test_too_small_a_directory_for_what_passes_is_named(tmp_path: Path) -> None:
    check_room(tmp_path, 1)
    with pytest.raises(InputError) as caught:
        check_room(tmp_path, 1 << 62)
    assert tempfile.gettempdir() in caught.value.what
    assert "are needed" in caught.value.why
    assert "TMPDIR" in caught.value.hint


def test_a_full_disk_that_nobody_named_is_that_of_temporary_files() -> None:
    problem = system_problem(OSError(errno.ENOSPC, "No space left on device"))
    assert (problem.exit_code, "TMPDIR" in problem.hint) == (2, True)
    ours = str(passing_file("x", ".tar"))
    for error in (
        OSError(errno.EDQUOT, "Disk quota exceeded", ours),
        OSError(errno.EFBIG, "File too large", "/from", None, ours),
    ):
        problem = system_problem(error)
        assert tempfile.gettempdir() in problem.what
        assert (ours in problem.why, "TMPDIR" in problem.hint) == (True, True)
    kept = f"{tempfile.gettempdir()}/project/dist/x"
    assert system_problem(OSError(errno.ENOSPC, "No space left on device", kept)).what == (
        f"{kept}: No space left on device"
    )
    named = system_problem(OSError(errno.ENOSPC, "No space left on device", "/x"))
    assert named.what == "/x: No space left on device"


def test_too_small_a_directory_that_is_not_for_what_passes_is_named_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "other"))
    with pytest.raises(InputError, match="there is no room in ") as caught:
        check_room(tmp_path, 1 << 62)
    assert str(tmp_path) in caught.value.what
    assert not caught.value.hint
