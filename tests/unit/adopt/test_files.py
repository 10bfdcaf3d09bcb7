from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from buildlib.adopt import files
from buildlib.adopt.files import Change, NotAppendedError, appended, read_file, write_all
from buildlib.errors import InputError
from buildlib.files import create_file


def _new(root: Path, name: str, text: str = "x\n") -> Change:
    return Change(root / name, name, None, text)


def test_all_files_are_written(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("a\n", encoding="utf-8")
    more = appended(tmp_path / "old", "old", ["b"], tmp_path)
    write_all([_new(tmp_path, ".github/workflows/x.yml"), more])
    assert (tmp_path / ".github/workflows/x.yml").read_text("utf-8") == "x\n"
    assert (tmp_path / "old").read_text("utf-8") == "a\nb\n"
    assert more.diff.splitlines()[-1] == "+b"


def _fail_at(monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    real = create_file

    def failing(path: Path, data: str) -> None:
        if path.name == name:
            raise OSError(code, os.strerror(code), str(path))
        real(path, data)

    monkeypatch.setattr(files, "create_file", failing)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EEXIST])
def test_where_one_can_not_be_written_nothing_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    (tmp_path / "old").write_bytes(b"a\r\n\xff")
    _fail_at(monkeypatch, "last", code)
    changes = [
        _new(tmp_path, "one"),
        appended(tmp_path / "old", "old", ["b"], tmp_path),
        _new(tmp_path, "deep/er/two"),
        _new(tmp_path, "other/last"),
    ]
    with pytest.raises(InputError, match="can't write other/last, so nothing was written") as error:
        write_all(changes)
    assert error.value.why == os.strerror(code)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_bytes() == b"a\r\n\xff"


def test_a_file_that_was_made_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "two").write_text("theirs", encoding="utf-8")
    with pytest.raises(InputError, match="can't write two"):
        write_all([_new(tmp_path, "one"), _new(tmp_path, "two")])
    assert not (tmp_path / "one").exists()
    assert (tmp_path / "two").read_text("utf-8") == "theirs"


def test_a_file_that_was_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_text("a\n", encoding="utf-8")
    change = appended(path, "old", ["b"], tmp_path)
    path.write_text("c\n", encoding="utf-8")
    with pytest.raises(InputError) as error:
        write_all([change])
    assert error.value.why == "it was changed meanwhile"
    assert path.read_text("utf-8") == "c\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"x\ny\n"),
        (b"a", b"a\nx\ny\n"),
        (b"a\n", b"a\nx\ny\n"),
        (b"a\r\nb\r\n", b"a\r\nb\r\nx\r\ny\r\n"),
        (b"a\r\nb", b"a\r\nb\r\nx\r\ny\r\n"),
        (b"\xef\xbb\xbf", b"\xef\xbb\xbfx\ny\n"),
        (b"\xef\xbb\xbfa\n", b"\xef\xbb\xbfa\nx\ny\n"),
        (b"\xff\n", b"\xff\nx\ny\n"),
    ],
)
def test_lines_are_added_as_the_others_end(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(before)
    write_all([appended(path, "file", ["x", "y"], tmp_path)])
    assert path.read_bytes() == after


def test_a_link_within_the_repository_is_followed_and_stays(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "real").write_text("a\n", encoding="utf-8")
    (root / "link").symlink_to("real")
    write_all([appended(root / "link", "link", ["b"], root)])
    assert (root / "link").is_symlink()
    assert (root / "real").read_text("utf-8") == "a\nb\n"


def test_what_is_not_a_text_of_the_repository_gets_no_lines(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").write_text("a\n", encoding="utf-8")
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "nowhere").symlink_to("missing")
    (root / "folder").mkdir()
    os.mkfifo(root / "pipe")
    (root / "wide").write_bytes("a\n".encode("utf-16"))
    for name in ("link", "nowhere", "folder", "pipe", "wide"):
        with pytest.raises(NotAppendedError):
            appended(root / name, name, ["b"], root)
    assert read_file(root / "none") is None


def test_a_new_file_needs_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "not here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    create_file(tmp_path / "new", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    (tmp_path / "link").symlink_to("missing")
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "link", "x")


def test_another_error_of_a_new_file_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to("missing")
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "link", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["link"]

    def full(*_: object) -> bytes:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("buildlib.files.os.urandom", full)
    with pytest.raises(OSError, match="full"):
        create_file(tmp_path / "new", "x")
    assert not (tmp_path / "new").exists()
