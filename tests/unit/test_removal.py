"""What is removed, and what a link leads to, which is not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from buildlib import files
from buildlib.files import link_on_the_way, mounts_in, opened_directory, remove
from buildlib.tasks.project import outputs

from fakes import a_project, write_project


def _tree(folder: Path) -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").touch()
    return folder


def test_a_directory_goes_with_all_that_is_in_it_and_what_links_lead_to_stays(
    tmp_path: Path,
) -> None:
    kept, gone = _tree(tmp_path / "kept"), _tree(tmp_path / "gone")
    (gone / "deep" / "out").symlink_to(kept)
    remove(gone)
    assert not gone.exists()
    assert (kept / "deep" / "file").exists()


@pytest.mark.parametrize("name", ["a file", "a link"])
def test_a_file_or_a_link_itself_is_removed(tmp_path: Path, name: str) -> None:
    kept, gone = _tree(tmp_path / "kept"), tmp_path / name
    gone.symlink_to(kept) if name == "a link" else gone.touch()
    remove(gone)
    assert not os.path.lexists(gone)
    assert (kept / "deep" / "file").exists()


def test_the_way_leads_through_no_link(tmp_path: Path) -> None:
    kept = _tree(tmp_path / "kept")
    (tmp_path / "way").symlink_to(kept)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        remove(tmp_path / "way" / "deep")
    assert (kept / "deep" / "file").exists()


def test_what_took_the_place_of_what_was_checked_stays(tmp_path: Path) -> None:
    checked, other = _tree(tmp_path / "checked"), _tree(tmp_path / "other")
    about = checked.lstat()
    checked.rename(tmp_path / "moved")
    other.rename(checked)
    with pytest.raises(OSError, match="replaced meanwhile"):
        remove(checked, about)
    assert (checked / "deep" / "file").exists()


def test_a_parent_that_becomes_a_link_after_it_was_opened_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, parent = tmp_path / "kept", tmp_path / "parent"
    _tree(kept / "data")
    _tree(parent / "data")
    removing = shutil.rmtree

    def swapped(name: str, *, dir_fd: int) -> None:
        parent.rename(tmp_path / "moved")
        parent.symlink_to(kept)
        removing(name, dir_fd=dir_fd)

    monkeypatch.setattr(shutil, "rmtree", swapped)
    remove(parent / "data")
    assert (kept / "data" / "deep" / "file").exists()
    assert not (tmp_path / "moved" / "data").exists()


def test_what_is_mounted_in_it_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _tree(tmp_path / "with blank")
    listed = tmp_path / "mountinfo"
    name = str(folder / "deep").replace(" ", "\\040")
    others = "2 0 0:1 / / rw - x x rw\n3 0 0:1 /a\rb /c rw - x x rw\n"
    listed.write_bytes(f"1 0 0:1 / {name} rw - x x rw\n{others}".encode())
    monkeypatch.setattr(files, "_MOUNTS", listed)
    assert mounts_in(folder) == (str(folder / "deep"),)
    with pytest.raises(OSError, match="is mounted, so nothing is removed"):
        remove(folder)
    assert (folder / "deep" / "file").exists()
    monkeypatch.setattr(files, "_MOUNTS", tmp_path / "no such list")
    assert mounts_in(folder) == ()


def test_the_first_link_on_the_way_is_named(tmp_path: Path) -> None:
    _tree(tmp_path / "there")
    (tmp_path / "a").symlink_to("there")
    assert link_on_the_way(tmp_path / "a" / "deep" / "file", tmp_path) == tmp_path / "a"
    assert link_on_the_way(tmp_path / "there" / "deep", tmp_path) is None
    assert link_on_the_way(tmp_path / "a", tmp_path) is None


def test_nothing_stays_open(tmp_path: Path) -> None:
    before = len([*Path("/dev/fd").iterdir()])
    with opened_directory(tmp_path):
        pass
    with pytest.raises(FileNotFoundError), opened_directory(tmp_path / "not" / "there"):
        pass
    assert len([*Path("/dev/fd").iterdir()]) == before


def test_only_programs_of_platforms_are_what_builds_wrote_into_bin(tmp_path: Path) -> None:
    project = a_project(write_project(tmp_path))
    written = ("linux-amd64", "linux-amd64-v3", "linux-arm-v6")
    for name in (*written, "linux-amd64-vendor", "linux-amd64-v3-notes", "linux", "tool"):
        (tmp_path / "bin" / name).mkdir(parents=True)
    assert [path.name for path in outputs(project)] == list(written)
