"""Two images compared, and how each kind of difference is reported."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from ociwriter import OciWriter

from buildlib.dockerfile.ignore import DockerIgnore, context_paths
from buildlib.errors import GateError, InputError
from buildlib.executor import NOTHING, Completed
from buildlib.image.archive import open_archive
from buildlib.image.size import check_size
from buildlib.reproduce.cache_mounts import Cache, mounts_of, without_mounts
from buildlib.reproduce.diff import Difference, compare
from buildlib.reproduce.report import ReproductionReport
from buildlib.reproduce.timestamps import late
from buildlib.reproduce.variations import copy_context, copy_project, variations

from fakes import FakeExecutor, a_project, write_project

EPOCH = 1_700_000_000
EPOCH_TEXT = "2023-11-14T22:13:20Z"


def _entry(path: str = "a", **changes: object) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.mode, entry.mtime = 0o644, EPOCH
    for name, value in changes.items():
        setattr(entry, name, value)
    return entry


@dataclass(frozen=True)
class Made:
    """An image of one layer on a base: its entries, how it is packed, what else it says."""

    entries: Sequence[tarfile.TarInfo] = (_entry(),)
    content: bytes = b"12345"
    level: int = 9
    made_by: str = "COPY a /"
    platforms: Sequence[str] = ("amd64",)
    created: str = EPOCH_TEXT
    config: dict[str, object] = field(default_factory=dict)
    layers: int = 1
    annotation: str = ""

    def write(self, path: Path) -> Path:
        writer = OciWriter()
        base = writer.layer({"bin/": b""})
        contents = {"a": self.content, "big": b"y" * 5000}
        layer = writer.entries(*self.entries, contents=contents, level=self.level)
        steps: list[dict[str, object]] = [
            {"created": "2020-01-01T00:00:00Z", "created_by": "the base"},
        ]
        steps += [{"created": self.created, "created_by": self.made_by}] * self.layers
        note = {"annotations": {"note": self.annotation}} if self.annotation else {}
        images = [
            {
                **writer.image(
                    [base, *[layer] * self.layers],
                    steps,
                    ("linux", arch),
                    created=self.created,
                    config=self.config,
                ),
                **note,
            }
            for arch in self.platforms
        ]
        return writer.write(path, writer.index(*images))


def _differences(tmp_path: Path, one: Made, other: Made) -> tuple[Difference, ...]:
    with (
        open_archive(one.write(tmp_path / "one.tar")) as first,
        open_archive(other.write(tmp_path / "other.tar")) as second,
    ):
        return compare(first, second)


def _link(target: str) -> tarfile.TarInfo:
    return _entry("a", type=tarfile.SYMTYPE, linkname=target)


@dataclass(frozen=True)
class Case:
    """Two images, and the one difference: part, item, what, and both values."""

    one: Made
    other: Made
    expected: tuple[str, str, str, str, str]


def _capable() -> tarfile.TarInfo:
    return _entry(pax_headers={"SCHILY.xattr.security.capability": "x"})


CASES = {
    "content of the same size": Case(
        Made(),
        Made(content=b"12346"),
        ("layer 2", "a", "content", "5 B sha256:5994471abb01", "5 B sha256:34d128f5b3de"),
    ),
    "mode": Case(
        Made(), Made(entries=[_entry(mode=0o600)]), ("layer 2", "a", "mode", "0644", "0600")
    ),
    "owner": Case(
        Made(), Made(entries=[_entry(gid=7)]), ("layer 2", "a", "owner", "0:0", "0:7")
    ),
    "time": Case(
        Made(),
        Made(entries=[_entry(mtime=0)]),
        ("layer 2", "a", "time", EPOCH_TEXT, "1970-01-01T00:00:00Z"),
    ),
    "a missing file": Case(
        Made(entries=[_entry(), _entry("b")]),
        Made(),
        ("layer 2", "b", "only in the first build", "", ""),
    ),
    "a file too many": Case(
        Made(),
        Made(entries=[_entry(), _entry("b")]),
        ("layer 2", "b", "only in the second build", "", ""),
    ),
    "the order of entries": Case(
        Made(entries=[_entry("b"), _entry("c")]),
        Made(entries=[_entry("c"), _entry("b")]),
        ("layer 2", "", "order of the entries", "b", "c"),
    ),
    "a file that became a link": Case(
        Made(), Made(entries=[_link("b")]), ("layer 2", "a", "kind", "file", "link")
    ),
    "the target of a link": Case(
        Made(entries=[_link("b")]), Made(entries=[_link("c")]), ("layer 2", "a", "link", "b", "c")
    ),
    "an extended attribute": Case(
        Made(),
        Made(entries=[_capable()]),
        ("layer 2", "a", "attributes", "", "security.capability"),
    ),
    "the compression alone": Case(
        Made(entries=[_entry("big")]),
        Made(entries=[_entry("big")], level=0),
        ("layer 2", "", "compression: the same when unpacked", "", ""),
    ),
    "what is in tar headers alone, such as an owner's name": Case(
        Made(),
        Made(entries=[_entry(uname="somebody")]),
        ("layer 2", "", "tar headers that are not compared one by one", "", ""),
    ),
    "a value of the configuration": Case(
        Made(config={"Env": ["A=1", "B=2"]}),
        Made(config={"Env": ["A=1", "B=3"]}),
        ("config", "config.Env[1]", "value", "B=2", "B=3"),
    ),
    "a key of the configuration": Case(
        Made(),
        Made(config={"User": "7"}),
        ("config", "config.User", "value", "absent", "7"),
    ),
    "a long value is shortened": Case(
        Made(config={"User": "7"}),
        Made(config={"User": "word " * 30}),
        ("config", "config.User", "value", "7", ("word " * 11).strip() + " …"),
    ),
    "a platform missing": Case(
        Made(platforms=("amd64", "arm64")),
        Made(),
        ("index", "", "only in the first build", "", ""),
    ),
    "a platform too many": Case(
        Made(),
        Made(platforms=("amd64", "arm64")),
        ("index", "", "only in the second build", "", ""),
    ),
    "an annotation of the index": Case(
        Made(annotation="x"),
        Made(annotation="y"),
        ("index", "manifests[0].annotations.note", "value", "x", "y"),
    ),
    "the order of platforms": Case(
        Made(platforms=("amd64", "arm64")),
        Made(platforms=("arm64", "amd64")),
        ("index", "", "the same, written in another way", "…", "…"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_difference_is_reported_by_its_kind(tmp_path: Path, case: Case) -> None:
    (found,) = _differences(tmp_path, case.one, case.other)
    part, item, what, first, second = case.expected
    assert (found.part, found.item, found.what) == (part, item, what)
    if first != "…":
        assert (found.first, found.second) == (first, second)
    assert found.made_by == ("COPY a /" if part == "layer 2" else "")


def test_the_same_image_has_no_difference(tmp_path: Path) -> None:
    assert _differences(tmp_path, Made(), Made()) == ()


def test_every_platform_and_every_file_is_reported(tmp_path: Path) -> None:
    both = ("amd64", "arm64")
    one = Made(platforms=both, entries=[_entry("a"), _entry("b")])
    other = Made(platforms=both, entries=[_entry("a", mode=0o600), _entry("b", mtime=1)])
    found = _differences(tmp_path, one, other)
    assert [(d.platform, d.item, d.what) for d in found] == [
        ("linux/amd64", "a", "mode"),
        ("linux/amd64", "b", "time"),
        ("linux/arm64", "a", "mode"),
        ("linux/arm64", "b", "time"),
    ]


def test_a_secret_in_an_instruction_is_not_shown(tmp_path: Path) -> None:
    made_by = "RUN |2 API_TOKEN=hidden OPEN_TOKEN=seen /bin/sh -c x"
    one = Made(made_by=made_by, entries=[_entry(mtime=EPOCH + 1)])
    other = replace(one, entries=[_entry(mode=0o600)])
    shown = "RUN |2 API_TOKEN=*** OPEN_TOKEN=seen /bin/sh -c x"
    with (
        open_archive(one.write(tmp_path / "one.tar")) as first,
        open_archive(other.write(tmp_path / "other.tar")) as second,
    ):
        assert {one.made_by for one in compare(first, second, ["OPEN_*"])} == {shown}
        assert [one.made_by for one in late(first, EPOCH, ["OPEN_*"])] == [shown]
        (size,) = check_size(first, allowed=["OPEN_*"]).images
    assert shown in [layer.created_by for layer in size.layers]


def test_a_layer_too_many_is_reported_by_its_number(tmp_path: Path) -> None:
    found = _differences(tmp_path, Made(), Made(layers=2))
    assert ("layer 3", "only in the second build", "COPY a /") in {
        (d.part, d.what, d.made_by) for d in found
    }


def test_an_index_against_a_single_manifest(tmp_path: Path) -> None:
    writer = OciWriter()
    image = writer.image([writer.layer({"a": b""})])
    single = writer.write(tmp_path / "single.tar", image)
    index = writer.write(tmp_path / "index.tar", writer.index(image))
    with open_archive(single) as first, open_archive(index) as second:
        (found,) = compare(first, second)
    assert (found.part, found.what) == ("index", "kind")


def _late(tmp_path: Path, made: Made) -> list[tuple[str, str, str]]:
    with open_archive(made.write(tmp_path / "i.tar")) as archive:
        return [(found.part, found.item, found.time) for found in late(archive, EPOCH)]


def test_files_at_the_epoch_and_before_it_are_well(tmp_path: Path) -> None:
    assert _late(tmp_path, Made(entries=[_entry("a"), _entry("b", mtime=0)])) == []


def test_a_file_after_the_epoch_is_named(tmp_path: Path) -> None:
    made = Made(entries=[_entry("a"), _entry("b", mtime=EPOCH + 1)])
    assert _late(tmp_path, made) == [("layer 2", "b", "2023-11-14T22:13:21Z")]


def test_a_base_keeps_its_times(tmp_path: Path) -> None:
    # Its layer is of 1234, and a commit may well be older than that.
    with open_archive(Made(created="1970-01-01T00:00:00Z").write(tmp_path / "i.tar")) as archive:
        found = late(archive, 0)
    assert {(entry.part, entry.item) for entry in found} == {("layer 2", "a")}


def test_an_image_that_knows_nothing_of_the_epoch(tmp_path: Path) -> None:
    made = Made(created="2026-01-01T00:00:00.5Z")
    assert _late(tmp_path, made) == [("config", "created", "2026-01-01T00:00:00.5Z")]


def test_a_step_of_another_time_among_ours(tmp_path: Path) -> None:
    writer = OciWriter()
    steps: list[dict[str, object]] = [
        {"created": EPOCH_TEXT, "empty_layer": True},
        {"created": "2026-01-01T00:00:00Z", "empty_layer": True},
    ]
    path = writer.write(tmp_path / "i.tar", writer.image([], steps, created=EPOCH_TEXT))
    with open_archive(path) as archive:
        (found,) = late(archive, EPOCH)
    assert (found.part, found.item) == ("config", "history[1].created")


def _modes(root: Path) -> dict[str, int]:
    return {
        path.relative_to(root).as_posix(): stat.S_IMODE(path.lstat().st_mode)
        for path in root.rglob("*")
        if not path.is_symlink()
    }


@pytest.fixture(name="context")
def _context(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "app" / "deep").mkdir(parents=True)
    (root / "app" / "run.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    (root / "app" / "run.sh").chmod(0o775)
    (root / "app" / "deep" / "x").write_bytes(b"\xff")
    (root / "app" / "link").symlink_to("deep/x")
    (root / "secret").write_text("s", encoding="utf-8")
    os.mkfifo(root / "pipe")
    (root / ".dockerignore").write_text("*\n!app\n", encoding="utf-8")
    return root


def test_only_what_the_builder_gets_is_copied(context: Path) -> None:
    assert context_paths(context, DockerIgnore(["*", "!app"])) == (
        ".dockerignore", "app", "app/deep", "app/deep/x", "app/link", "app/run.sh",
    )  # fmt: skip


def test_the_copies_differ_in_modes_and_times_and_in_nothing_else(
    context: Path, tmp_path: Path
) -> None:
    ignore = DockerIgnore(["*", "!app"])
    one, other = variations(epoch=EPOCH, now=EPOCH + 5)
    for variation in (one, other):
        copy_context(context, tmp_path / variation.name, ignore, variation)
    first, second = tmp_path / "first", tmp_path / "second"
    assert _modes(first) == {
        ".dockerignore": 0o644, "app": 0o755, "app/deep": 0o755,
        "app/deep/x": 0o644, "app/run.sh": 0o755,
    }  # fmt: skip
    assert _modes(second) == {path: mode & 0o700 for path, mode in _modes(first).items()}
    for copy in (first, second):
        assert (copy / "app/deep/x").read_bytes() == b"\xff"
        assert (copy / "app/link").readlink() == Path("deep/x")
    for path in context_paths(context, ignore):
        assert (first / path).lstat().st_mtime < EPOCH
        assert (second / path).lstat().st_mtime > EPOCH + 5


def test_a_context_that_can_not_be_copied(context: Path, tmp_path: Path) -> None:
    one, _ = variations(epoch=EPOCH, now=EPOCH)
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="can't be copied"):
        copy_context(context, tmp_path / "there", DockerIgnore(()), one)
    with pytest.raises(InputError, match="can't read"):
        context_paths(tmp_path / "nowhere", DockerIgnore(()))


def test_the_project_of_a_copy_keeps_its_version(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    project = a_project(write_project(root, 'image = "thing"\ncache-from = ["type=gha"]\n'))
    (root / "Dockerfile.dockerignore").write_text("# nothing\n", encoding="utf-8")
    _, other = variations(epoch=EPOCH, now=EPOCH)
    copied = copy_project(project, DockerIgnore(()), tmp_path / "copies", other)
    assert copied.version == project.version
    assert copied.context != project.context
    assert (copied.context / "app" / "main.go").is_file()
    assert copied.dockerfile() == project.dockerfile()
    assert copied.dockerfile_path.with_name("Dockerfile.dockerignore").is_file()
    assert copied.config.cache_from == ()


def test_an_epoch_at_the_beginning_of_time() -> None:
    one, other = variations(epoch=0, now=100)
    assert one.modified == 0
    assert other.modified > 100
    assert one.environment["TZ"] != other.environment["TZ"]


DU = """\
ID:\t\tabc
Created at:\t2026-11-23 17:14:39.65314 +0000 UTC
Mutable:\ttrue
Description:\tcached mount /c from exec /bin/sh -c go build with id "mine/go"
Usage count:\t1

ID:\t\tdef
Description:\tcached mount /c from exec /bin/sh -c go build with id "other/go"

ID:\t\tghi
Description:\tcached mount /c from exec /bin/sh -c go build with id "/go"

ID:\t\tjkl
Description:\t[1/2] COPY mine/ /

Reclaimable:\t1.05MB
Total:\t\t1.05MB
"""


def test_only_mounts_of_our_namespaces_are_ours() -> None:
    assert mounts_of(DU, ["mine"]) == ("abc",)
    assert mounts_of(DU, ["mine", "other"]) == ("abc", "def")
    assert mounts_of(DU, ["min"]) == ()
    assert mounts_of("ERROR: no builder", ["mine"]) == ()


class Builder(FakeExecutor):
    """A builder whose cache has what a build put there, until it is removed."""

    def __init__(self, *, stubborn: int = 0) -> None:
        super().__init__({("docker", "buildx"): Completed(code=0)})
        self.left = ""
        self._stubborn = stubborn

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float | None = None,
        env: Mapping[str, str] = NOTHING,
    ) -> Completed:
        super().run(argv, timeout=timeout, env=env)
        if "prune" in argv:
            self._stubborn -= 1
            self.left = self.left if self._stubborn >= 0 else ""
        return Completed(code=0, stdout=self.left if "du" in argv else "")


@pytest.mark.parametrize("stubborn", [0, 2], ids=["at once", "when they are let go of"])
def test_what_a_build_left_is_removed_also_when_it_failed(
    monkeypatch: pytest.MonkeyPatch, stubborn: int
) -> None:
    monkeypatch.setattr("buildlib.reproduce.cache_mounts._PAUSE", 0)
    docker = Builder(stubborn=stubborn)

    def build() -> None:
        with without_mounts(Cache(docker, "mine"), ["mine"]):
            docker.left = DU
            raise GateError("no good")

    with pytest.raises(GateError, match="no good"):
        build()
    removals = [argv for argv in docker.asked if "prune" in argv]
    expected = ("docker", "buildx", "prune", "--force", "--builder", "mine")
    assert removals == [(*expected, "--filter", "id=/^(abc)$/")] * (stubborn + 1)


def test_a_record_that_stays_in_use_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("buildlib.reproduce.cache_mounts._PAUSE", 0)
    docker = Builder(stubborn=1000)
    with without_mounts(Cache(docker), ["mine"]):
        docker.left = DU
    assert 1 < len(docker.asked) < 60


def _result(tmp_path: Path, one: Made, other: Made) -> ReproductionReport:
    found = _differences(tmp_path, one, other)
    with open_archive(other.write(tmp_path / "late.tar")) as archive:
        times = late(archive, EPOCH)
    return ReproductionReport(
        tools={"buildx": "v0.38.2", "engine": "29.8.1", "buildkit": "v0.34.2"},
        image="thing",
        version="1.2.3",
        platforms=("linux/amd64",),
        epoch=EPOCH,
        digests=("sha256:1", "sha256:2" if found else "sha256:1"),
        archives=(),
        seconds=1.23456,
        differences=found,
        late=times,
    )


def test_an_identical_pair_passes(tmp_path: Path) -> None:
    result = _result(tmp_path, Made(), Made())
    assert result.problems() == []
    assert result.as_dict()["reproducible"] is True
    assert "two builds  identical" in result.as_text()
    # Another BuildKit may give another digest.
    assert "built with  buildx v0.38.2, engine 29.8.1, buildkit v0.34.2" in result.as_text()
    assert result.as_dict()["tools"]["buildkit"] == "v0.34.2"
    assert f"{EPOCH} ({EPOCH_TEXT})" in result.as_text()


def test_a_pair_that_differs_fails_with_the_file_in_the_table(tmp_path: Path) -> None:
    result = _result(tmp_path, Made(), Made(entries=[_entry(mode=0o600)]))
    (problem,) = result.problems()
    assert isinstance(problem, GateError)
    assert "not reproducible: 1 difference\n" in str(problem)
    assert "linux/amd64 layer 2, made by COPY a /: a mode" in str(problem)
    assert "linux/amd64 layer 2, made by COPY a /\n  what  differs in" in result.as_text()
    assert "  a     mode        0644   0600" in result.as_text()


def test_times_after_the_epoch_fail_by_themselves(tmp_path: Path) -> None:
    made = Made(entries=[_entry(mtime=EPOCH + 60)])
    result = _result(tmp_path, made, made)
    (problem,) = result.problems()
    assert "the epoch is not in the image: 1 other time\n" in str(problem)
    assert "a  2023-11-14T22:14:20Z" in result.as_text()
    assert result.as_dict()["reproducible"] is False


def test_a_long_list_is_cut_in_the_table_and_whole_in_json(tmp_path: Path) -> None:
    def made(mode: int) -> Made:
        return Made(entries=[_entry(f"f{number}", mode=mode) for number in range(40)])

    result = _result(tmp_path, made(0o644), made(0o600))
    assert "  and 10 more; --json has all" in result.as_text()
    assert len(result.as_dict()["differences"]) == 40
    assert "40 differences" in str(result.problems()[0])
