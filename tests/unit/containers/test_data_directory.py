"""The data directory: which one it may be, and how it is made and removed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from buildlib.containers import data_directory as data_module
from buildlib.containers import data_directory as places_module
from buildlib.containers.data_directory import DataDirectory, DataPlaces
from buildlib.containers.plan import Mount
from buildlib.docker.endpoint import EngineKind
from buildlib.errors import EngineError, InputError
from buildlib.executor import Completed
from buildlib.git.command import GitCommand

from fakes import FakeExecutor

USER = 1001


@pytest.fixture(autouse=True)
def _no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GitCommand, "ask", lambda *_: "")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "home" / "project"
    root.mkdir(parents=True)
    return root


@pytest.fixture
def places(project: Path) -> DataPlaces:
    return DataPlaces(project, {"HOME": str(project.parent)}, USER)


def _filled(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "file").touch()
    return folder


def _refused(places: DataPlaces, path: Path, why: str) -> None:
    for check in (places.check, places.check_removable):
        with pytest.raises(InputError, match="not a data directory") as caught:
            check(path)
        assert why in caught.value.why, path


def test_a_directory_that_is_new_or_empty_or_below_the_project_is_one(
    places: DataPlaces, project: Path, tmp_path: Path
) -> None:
    places.check(tmp_path / "new" / "one")
    places.check(_filled(project / "data"))
    (tmp_path / "empty").mkdir()
    places.check(tmp_path / "empty")
    assert places.check_removable(tmp_path / "empty").st_ino == (tmp_path / "empty").stat().st_ino


@pytest.mark.parametrize(
    ("path", "why"),
    [
        pytest.param("/", "the project is in it", id="everything"),
        pytest.param("/etc", "a directory of the system", id="etc"),
        pytest.param("/usr", "a directory of the system", id="usr"),
        pytest.param("/var", "a directory of the system", id="var"),
        pytest.param("/usr/bin", "docker-run has not used it", id="bin"),
        pytest.param("/var/lib", "docker-run has not used it", id="lib"),
    ],
)
def test_a_directory_of_the_system_is_none(places: DataPlaces, path: str, why: str) -> None:
    _refused(places, Path(os.path.realpath(path)), why)


def test_an_empty_directory_of_the_system_is_none(
    places: DataPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places_module, "_holds", lambda _path: False)
    _refused(places, Path("/etc"), "a directory of the system")


def test_the_project_its_parents_home_and_repositories_are_none(
    places: DataPlaces, project: Path, tmp_path: Path
) -> None:
    _refused(places, project, "the project is in it")
    _refused(places, project.parent, "the project is in it")
    _refused(places, _filled(project / ".git" / "refs"), "git repository")
    _filled(tmp_path / "other" / ".git")
    _refused(places, tmp_path / "other", "git repository")
    elsewhere = DataPlaces(project, {"HOME": str(_filled(tmp_path / "me" / "own"))}, USER)
    _refused(elsewhere, tmp_path / "me", "your home directory is in it")


def test_a_directory_that_can_not_be_looked_into_counts_as_filled(
    places: DataPlaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shut").mkdir()

    def refuse(_path: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "iterdir", refuse)
    _refused(places, tmp_path / "shut", "is not empty")


def test_one_that_was_used_is_known_until_it_is_removed_or_replaced(
    places: DataPlaces, tmp_path: Path
) -> None:
    folder = _filled(tmp_path / "elsewhere")
    _refused(places, folder, "is not empty, and docker-run has not used it")
    places.remember(folder)
    places.check(folder)
    assert places.check_removable(folder)
    folder.rename(tmp_path / "moved")
    _refused(places, _filled(folder), "is not empty, and docker-run has not used it")
    (tmp_path / "moved").rename(tmp_path / "again")
    folder.rename(tmp_path / "second")
    (tmp_path / "again").rename(folder)
    places.check(folder)
    places.forget(folder)
    places.forget(folder)
    _refused(places, folder, "is not empty, and docker-run has not used it")


def test_below_the_project_nothing_has_to_be_remembered(places: DataPlaces, project: Path) -> None:
    places.remember(_filled(project / "data"))
    assert list(project.parent.iterdir()) == [project]


def test_without_a_home_nothing_is_remembered_and_nothing_fails(
    project: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    homeless = DataPlaces(project, {"HOME": str(tmp_path / "file")}, USER)
    homeless.remember(_filled(tmp_path / "elsewhere"))
    _refused(homeless, tmp_path / "elsewhere", "is not empty")


def test_the_image_users_own_may_be_used_and_not_be_removed(project: Path, tmp_path: Path) -> None:
    folder = _filled(tmp_path / "elsewhere")
    env = {"HOME": str(tmp_path / "home")}
    user = folder.stat().st_uid
    if user:
        places = DataPlaces(project, env, user)
    else:
        os.chown(folder, USER, USER)
        places = DataPlaces(project, env, USER)
    places.check(folder)
    with pytest.raises(InputError, match="not a data directory"):
        places.check_removable(folder)


@pytest.mark.parametrize("link", ["data", "way/data"])
def test_what_a_link_leads_to_is_not_removed(
    places: DataPlaces, project: Path, tmp_path: Path, link: str
) -> None:
    _filled(tmp_path / "elsewhere" / "data")
    first = link.partition("/")[0]
    (project / first).symlink_to(tmp_path / "elsewhere" / ("data" if first == link else ""))
    with pytest.raises(InputError, match="is reached by a link") as caught:
        places.check_removable(project / link)
    assert f"it leads to {tmp_path}/elsewhere/data" in caught.value.why


class Helper(FakeExecutor):
    """A container that does what root inside would, on the directory itself."""

    def __init__(self, code: int = 0, empties: Path | None = None) -> None:
        super().__init__()
        self.code, self.empties = code, empties

    def _answer(self, argv: Sequence[str]) -> Completed:
        self.asked.append(tuple(argv))
        for path in self.empties.iterdir() if self.empties else ():
            path.unlink()
        return Completed(code=self.code)


def _refuse(_path: Path, _expected: os.stat_result) -> None:
    raise PermissionError(13, "Permission denied")


def _directory(
    helper: FakeExecutor, places: DataPlaces, kind: EngineKind = EngineKind.LINUX
) -> DataDirectory:
    return DataDirectory(helper, "i", (USER, USER), kind, places)


def test_data_is_removed_without_a_container_where_we_may(
    places: DataPlaces, project: Path
) -> None:
    folder, helper = _filled(project / "data"), Helper()
    _directory(helper, places).remove(folder, places.check_removable(folder))
    assert not folder.exists()
    assert helper.asked == []


def test_data_of_the_images_user_is_removed_by_a_container_that_compares_what_it_sees(
    places: DataPlaces, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_module, "remove", _refuse)
    folder = _filled(project / "data")
    about, helper = folder.stat(), Helper(empties=folder)
    _directory(helper, places).remove(folder, places.check_removable(folder))
    assert not folder.exists()
    assert helper.asked[0][-1] == f"{about.st_dev}:{about.st_ino}"


@pytest.mark.parametrize(("code", "why"), [(1, "another directory"), (0, "not empty")])
def test_data_that_can_not_be_removed_stays_with_the_command(
    places: DataPlaces, project: Path, monkeypatch: pytest.MonkeyPatch, code: int, why: str
) -> None:
    monkeypatch.setattr(data_module, "remove", _refuse)
    folder = _filled(project / "data")
    with pytest.raises(EngineError, match="sudo rm -r") as caught:
        _directory(Helper(code), places).remove(folder, folder.lstat())
    assert why in caught.value.why
    assert (folder / "file").exists()


def test_data_that_was_replaced_meanwhile_stays(places: DataPlaces, project: Path) -> None:
    folder = _filled(project / "data")
    about = places.check_removable(folder)
    folder.rename(project / "moved")
    helper = Helper()
    with pytest.raises(EngineError) as caught:
        _directory(helper, places).remove(_filled(folder), about)
    assert "replaced meanwhile" in caught.value.why
    assert (folder / "file").exists()
    assert helper.asked == []


def test_a_link_that_leads_nowhere_is_no_data_directory(places: DataPlaces, project: Path) -> None:
    (project / "data").symlink_to("nowhere")
    mount = Mount(kind="bind", source=str(project / "data"), target="/d")
    with pytest.raises(InputError, match="a link that leads nowhere"):
        _directory(Helper(), places).prepare(mount, "thing")
