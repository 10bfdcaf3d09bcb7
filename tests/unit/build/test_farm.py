"""A builder of several nodes: a build of each platform, and one archive, with docker replaced."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ociwriter import OciWriter

from buildlib.background import Background
from buildlib.build import join
from buildlib.build.argv import build_line
from buildlib.build.build_image import build_image
from buildlib.build.checked_plan import plan_build
from buildlib.build.parts import merge_command, parts_of
from buildlib.build.planner import BuildRequest
from buildlib.build.result import BuildResult
from buildlib.errors import (
    AuthorisationError,
    BuildlibError,
    CancelledError,
    EngineError,
    NodeError,
    TimedOutError,
    ToolError,
    exit_code_of,
)
from buildlib.executor import Completed, Watch
from buildlib.image.archive import open_archive
from buildlib.project import load_project
from buildlib.retry import Patience
from buildlib.tempfiles import has_ended
from buildlib.terminal.console import labelled

from fakes import FakeDocker, a_console, a_project, dead_name, git_facts, words_after, write_project

FARM = """\
image = "thing"
platforms = ["linux/amd64", "linux/arm64"]
builder = "farm"
[builders.farm]
driver = "remote"
cache-from = ["type=registry,ref=r.example/cache:{platform}"]
cache-to = ["type=registry,ref=r.example/cache:{platform}"]
nodes = [
  { name = "amd", endpoint = "tcp://amd:1", platforms = ["linux/amd64"] },
  { name = "arm", endpoint = "tcp://arm:1", platforms = ["linux/arm64"] },
]
"""
INSPECT = """\
Name:   farm
Driver: remote

Nodes:
Name:      amd
Endpoint:  tcp://amd:1
Status:    running
BuildKit version: v0.13.2
Platforms: linux/amd64*

Name:      arm
Endpoint:  tcp://arm:1
Status:    running
BuildKit version: v0.13.2
Platforms: linux/arm64*
"""
ALL = BuildRequest(platforms=("all",), output="oci")


class FarmDocker(FakeDocker):
    """Docker with two nodes; each build writes the archive of its platform.

    Args:
        met: what each build passes before it ends.
    """

    def __init__(self, met: Callable[[str], None] = lambda _: None) -> None:
        super().__init__()
        self.answers["docker", "buildx", "inspect"] = Completed(code=0, stdout=INSPECT)
        self.met = met
        self.watches: list[Watch | None] = []

    def _answer(self, argv: Sequence[str]) -> Completed:
        platforms = words_after(argv, "--platform")
        if tuple(argv[:3]) == ("docker", "buildx", "build") and platforms:
            writer = OciWriter()
            os, arch = platforms[0].split("/")
            image = writer.image([writer.layer({arch: b"1"})], platform=(os, arch))
            image |= {"platform": {"architecture": arch, "os": os}}
            place = Path(words_after(argv, "--output")[0].rpartition("dest=")[2])
            self.archive = writer.write(place.with_name(f"{arch}.tmp"), image).read_bytes()
            place.with_name(f"{arch}.tmp").rename(place)
            for path in words_after(argv, "--metadata-file"):
                Path(path).write_text(json.dumps({"containerimage.digest": image["digest"]}))
            self.asked.append(tuple(argv))
            return Completed(code=0)
        return super()._answer(argv)

    def stream(
        self, argv: Sequence[str], on_line: Callable[[str], None], *, watch: Watch | None = None
    ) -> int:
        self.watches.append(watch)
        self.met(words_after(argv, "--platform")[0])
        return super().stream(argv, on_line, watch=watch)

    def builds(self) -> list[tuple[str, ...]]:
        return sorted(argv for argv in self.asked if argv[:3] == ("docker", "buildx", "build"))


def _build(root: Path, docker: FakeDocker, request: BuildRequest = ALL) -> tuple[BuildResult, str]:
    write_project(root, FARM)
    console, _, err = a_console()
    return build_image(a_project(root), request, docker, console), err.getvalue()


def _left(root: Path) -> list[str]:
    folder = root / "dist"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_each_platform_is_built_at_the_same_time_with_its_own_cache(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=20)

    def meet(_: str) -> None:
        both.wait()

    docker = FarmDocker(meet)
    result, shown = _build(tmp_path, docker)
    found = [
        [words_after(argv, option) for option in ("--platform", "--cache-from", "--cache-to")]
        for argv in docker.builds()
    ]
    assert sorted(found) == [
        [[f"linux/{arch}"], *[[f"type=registry,ref=r.example/cache:linux-{arch}"]] * 2]
        for arch in ("amd64", "arm64")
    ]
    assert not any(words_after(argv, "--annotation") for argv in docker.builds())
    assert len({words_after(argv, "--metadata-file")[0] for argv in docker.builds()}) == 2
    assert "linux/arm64 | $ mkdir -p" in shown
    assert "$ python3 -m buildlib.image.merge --annotation org.opencontainers" in shown
    assert (result.platforms, result.steps, result.cached) == (("linux/amd64", "linux/arm64"), 2, 2)
    assert result.warnings == ()


def test_the_result_is_one_archive_with_the_annotations_of_the_plan(tmp_path: Path) -> None:
    result, _ = _build(tmp_path, FarmDocker())
    assert _left(tmp_path) == ["thing-1.2.3.oci.tar"]
    plan, _ = plan_build(a_project(tmp_path), ALL)
    with open_archive(Path(result.destination)) as archive:
        archive.verify()
        assert archive.top() == result.digest
        index = json.loads(archive.bytes_of(archive.top()))
        assert index["annotations"] == dict(plan.annotations)
        assert [one.platform for one in archive.images()] == ["linux/amd64", "linux/arm64"]
    assert result.size == Path(result.destination).stat().st_size


def test_annotations_go_where_their_levels_say(tmp_path: Path) -> None:
    write_project(tmp_path, FARM)
    texts = ("index,manifest:a=1", "index-descriptor:b=2", "c=3", "index:a=4")
    request = replace(ALL, options=tuple(("annotation", text) for text in texts))
    plan, _ = plan_build(a_project(tmp_path), request)
    for part in parts_of(plan):
        assert part.values("annotation") == ("manifest:a=1", "c=3")
    merge = merge_command(plan)
    assert "a=4" in words_after(merge, "--annotation")
    assert words_after(merge, "--descriptor-annotation") == ["b=2"]


def test_what_the_user_wants_written_is_about_the_whole(tmp_path: Path) -> None:
    files = {name: str(tmp_path / name) for name in ("iidfile", "metadata-file")}
    docker = FarmDocker()
    result, _ = _build(tmp_path, docker, replace(ALL, options=tuple(files.items())))
    assert not any(words_after(argv, "--iidfile") for argv in docker.builds())
    assert Path(files["iidfile"]).read_text("utf-8") == result.digest
    metadata = json.loads(Path(files["metadata-file"]).read_text("utf-8"))
    assert metadata["containerimage.digest"] == result.digest
    assert metadata["image.name"] == "thing:1.2.3,thing:latest"


def _dead(platform: str) -> None:
    if platform == "linux/arm64":
        raise EngineError("node arm does not answer")


SPARE = FARM.replace("[builders.farm]\n", "[builders.farm]\nretry = 1\n").replace(
    '"tcp://arm:1", platforms = ["linux/arm64"] },\n',
    '"tcp://arm:1", platforms = ["linux/arm64"] },\n  { name = "spare", '
    'endpoint = "tcp://spare:1", platforms = ["linux/arm64", "linux/amd64"] },\n',
)


def _inspected(*dead: str) -> Completed:
    text = INSPECT + "\nName:      spare\nEndpoint:  tcp://spare:1\nStatus:    running\n"
    for name in dead:
        text = text.replace(f"tcp://{name}:1\nStatus:    running", f"tcp://{name}:1\nError: gone")
    return Completed(code=0, stdout=text)


class SpareDocker(FarmDocker):
    """Nodes that die, each as it builds for the first time.

    Args:
        dying: their names.
    """

    def __init__(self, *dying: str, dead: Sequence[str] = ()) -> None:
        super().__init__()
        self.dying, self.dead, self.built = dying, list(dead), list[tuple[str, str]]()
        self._alone = ""
        # A subcommand of buildx that does not answer.
        self.hanging = ""
        self.hanging_once_dead = False
        self.answers["docker", "buildx", "create"] = Completed(code=0)
        self.answers["docker", "buildx", "rm"] = Completed(code=0)

    def _answer(self, argv: Sequence[str]) -> Completed:
        self.answers["docker", "buildx", "inspect"] = _inspected(*self.dead)
        if tuple(argv[:3]) == ("docker", "buildx", "create"):
            (self._alone,) = words_after(argv, "--name")
        answer = super()._answer(argv)
        hanging = "inspect" if self.hanging_once_dead and self.dead else self.hanging
        if hanging in argv[2:3]:
            raise TimedOutError("docker did not answer within 60 s")
        return answer

    def stream(
        self, argv: Sequence[str], on_line: Callable[[str], None], *, watch: Watch | None = None
    ) -> int:
        (platform,) = words_after(argv, "--platform")
        node = "spare" if words_after(argv, "--builder") == [self._alone] else platform[-5:-2]
        self.built.append((platform, node))
        if node in self.dying:
            self.dead.append(node)
            raise NodeError(f"node {node} of the builder farm does not answer")
        return super().stream(argv, on_line, watch=watch)

    @property
    def commands(self) -> list[tuple[str, ...]]:
        """Return what changed the builders that buildx has."""
        return [argv for argv in self.asked if argv[2] in {"create", "rm"}]


def _spared(root: Path, docker: FakeDocker) -> tuple[BuildResult, str]:
    write_project(root, SPARE)
    console, _, err = a_console()
    return build_image(a_project(root), ALL, docker, console), err.getvalue()


@pytest.mark.parametrize("before", [False, True], ids=["in mid build", "before the build"])
def test_a_platform_whose_node_dies_is_built_on_a_spare(tmp_path: Path, before: bool) -> None:
    whole, _ = _spared(tmp_path, SpareDocker())
    docker = SpareDocker(*([] if before else ["arm"]), dead=["arm"] if before else [])
    result, shown = _spared(tmp_path, docker)
    said = "node arm of the builder farm does not answer: linux/arm64 is built on node spare"
    assert result.warnings == (said,)
    assert f"linux/arm64 | warning: {said}" in shown
    assert result.digest == whole.digest
    assert _left(tmp_path) == ["thing-1.2.3.oci.tar"]
    assert ("linux/amd64", "amd") in docker.built
    assert docker.built.count(("linux/arm64", "spare")) == 1
    # buildx is told of that node alone for as long as it builds.
    create, remove = docker.commands
    name = remove[-1]
    assert create == (
        *("docker", "buildx", "create", "--name", name, "--driver", "remote", "--node", "spare"),
        *("--platform", "linux/arm64,linux/amd64", "tcp://spare:1"),
    )
    assert remove == ("docker", "buildx", "rm", "--force", "--keep-daemon", name)


@pytest.mark.parametrize(
    "docker",
    [
        pytest.param(SpareDocker("arm", "spare"), id="both die"),
        pytest.param(SpareDocker("arm", dead=["spare"]), id="the spare is dead"),
        pytest.param(SpareDocker(dead=["arm", "spare"]), id="both are dead"),
    ],
)
def test_a_platform_that_no_node_can_build_fails_and_leaves_nothing(
    tmp_path: Path, docker: SpareDocker
) -> None:
    with pytest.raises(NodeError, match="does not answer"):
        _spared(tmp_path, docker)
    assert _left(tmp_path) == []
    assert len([argv for argv in docker.commands if argv[2] == "rm"]) == len(docker.commands) / 2


def test_what_is_not_the_nodes_fault_is_not_built_again(tmp_path: Path) -> None:
    docker = SpareDocker()
    docker.met = _dead
    with pytest.raises(EngineError):
        _spared(tmp_path, docker)
    assert docker.commands == []


def test_the_builder_of_a_spare_that_was_left_behind_is_removed(tmp_path: Path) -> None:
    left = dead_name("buildlib-spare")
    (tmp_path / "buildx/instances").mkdir(parents=True)
    (tmp_path / "buildx/instances" / left).touch()
    write_project(tmp_path, SPARE)
    console, _, _ = a_console()
    docker = SpareDocker("arm")
    project = a_project(tmp_path, env={"BUILDX_CONFIG": str(tmp_path / "buildx")})
    build_image(project, ALL, docker, console)
    assert docker.commands[0][-1] == left


@pytest.mark.parametrize("left", [False, True], ids=["afterwards", "of a killed task"])
def test_a_builder_of_a_spare_that_can_not_be_removed_ends_no_build(
    tmp_path: Path, left: bool
) -> None:
    name = dead_name("buildlib-spare")
    (tmp_path / "buildx/instances").mkdir(parents=True)
    if left:
        (tmp_path / "buildx/instances" / name).touch()
    write_project(tmp_path, SPARE)
    console, _, err = a_console()
    docker = SpareDocker("arm")
    docker.hanging = "rm"
    project = a_project(tmp_path, env={"BUILDX_CONFIG": str(tmp_path / "buildx")})
    build_image(project, ALL, docker, console)
    assert ("linux/arm64", "spare") in docker.built
    removed = [argv[-1] for argv in docker.commands if argv[2] == "rm"]
    assert removed[:-1] == [name] * left
    for one in removed:
        assert f"docker buildx rm --force --keep-daemon {one}" in err.getvalue()


def test_a_spare_builds_where_buildx_does_not_say_who_answers(tmp_path: Path) -> None:
    docker = SpareDocker("arm")
    docker.hanging_once_dead = True
    _spared(tmp_path, docker)
    assert ("linux/arm64", "spare") in docker.built


def test_the_files_of_a_part_are_known_by_the_process_that_made_them(tmp_path: Path) -> None:
    write_project(tmp_path, FARM)
    plan, _ = plan_build(a_project(tmp_path), ALL)
    names = {kind: dead_name(f"buildlib-{kind}") for kind in ("metadata", "dockerfile")}
    plan = replace(
        plan,
        metadata_file=tmp_path / f"{names['metadata']}.json",
        handover=tmp_path / names["dockerfile"],
    )
    for part in parts_of(plan):
        assert part.metadata_file
        assert part.handover
        assert has_ended(part.metadata_file.name)
        assert has_ended(part.handover.name)


def test_a_platform_that_fails_ends_the_others_and_leaves_nothing(tmp_path: Path) -> None:
    stopped = threading.Event()

    class Endless(FarmDocker):
        def stream(
            self, argv: Sequence[str], on_line: Callable[[str], None], *, watch: Watch | None = None
        ) -> int:
            _dead(words_after(argv, "--platform")[0])
            on_line("it begins")
            assert watch
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                try:
                    watch.ask()
                except CancelledError:
                    stopped.set()
                    raise
                time.sleep(0.01)
            return 0

    with pytest.raises(EngineError, match="node arm does not answer"):
        _build(tmp_path, Endless())
    assert stopped.is_set()
    assert _left(tmp_path) == []


def test_an_interrupt_ends_all_builds_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(3, timeout=20)
    ended: list[str] = []

    class Waiting(FarmDocker):
        def stream(
            self, argv: Sequence[str], on_line: Callable[[str], None], *, watch: Watch | None = None
        ) -> int:
            self._answer(argv)
            both.wait()
            assert watch
            while True:
                time.sleep(0.01)
                try:
                    watch.ask()
                    on_line("it goes on")
                except CancelledError:
                    ended.extend(words_after(argv, "--platform"))
                    raise

    class Interrupted(Background[Any]):
        def wait(self, seconds: float | None = None) -> bool:
            if not interrupted:
                interrupted.append(True)
                both.wait()
                raise KeyboardInterrupt
            return super().wait(seconds)

    interrupted: list[bool] = []
    monkeypatch.setattr("buildlib.build.farm.Background", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        _build(tmp_path, Waiting())
    assert sorted(ended) == ["linux/amd64", "linux/arm64"]
    assert _left(tmp_path) == []


def test_the_labels_of_an_image_and_of_its_platform_are_both_shown(tmp_path: Path) -> None:
    with labelled("web | "):
        _, shown = _build(tmp_path, FarmDocker())
    assert "web | linux/arm64 | $ mkdir -p" in shown


def test_an_archive_that_was_there_stays_where_a_platform_fails(tmp_path: Path) -> None:
    result, _ = _build(tmp_path, FarmDocker())
    before = Path(result.destination).read_bytes()
    with pytest.raises(EngineError):
        _build(tmp_path, FarmDocker(_dead))
    assert _left(tmp_path) == ["thing-1.2.3.oci.tar"]
    assert Path(result.destination).read_bytes() == before


def test_two_that_fail_are_both_reported_with_the_lowest_code(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=20)

    def fail(platform: str) -> None:
        both.wait()
        _dead(platform)
        raise ToolError("docker not found")

    with pytest.raises(BuildlibError) as caught:
        _build(tmp_path, FarmDocker(fail))
    assert exit_code_of(caught.value) == 3
    assert "node arm does not answer" in str(caught.value)


LOADED = BuildRequest(platforms=("all",))


def _parts_left() -> list[Path]:
    return [*Path(tempfile.gettempdir()).glob(f"buildlib-*-{os.getpid()}-*")]


def test_what_is_loaded_is_merged_first_and_leaves_no_archive(tmp_path: Path) -> None:
    loaded: list[str] = []

    class Loading(FarmDocker):
        def _answer(self, argv: Sequence[str]) -> Completed:
            if argv[1] == "load":
                with open_archive(Path(argv[3])) as archive:
                    loaded.extend([archive.top(), *(one.platform for one in archive.images())])
                return Completed(code=0)
            return super()._answer(argv)

    docker = Loading()
    result, shown = _build(tmp_path, docker, LOADED)
    assert loaded == [result.digest, "linux/amd64", "linux/arm64"]
    assert (result.output, result.destination, result.size) == ("load", "", 5818000)
    assert (result.size_of, result.references) == ("content", ("thing:1.2.3", "thing:latest"))
    assert [words_after(argv, "--tag") for argv in docker.builds()] == [
        ["thing:1.2.3", "thing:latest"]
    ] * 2
    assert "docker load --input" in shown
    assert _parts_left() == []
    assert _left(tmp_path) == []


def test_an_engine_that_does_not_load_ends_with_its_reason(tmp_path: Path) -> None:
    docker = FarmDocker()
    docker.answers["docker", "load"] = Completed(code=1, stderr="no room for it\n")
    with pytest.raises(EngineError, match="does not load the image") as caught:
        _build(tmp_path, docker, LOADED)
    assert caught.value.why == "no room for it"
    assert _parts_left() == []


def test_the_plan_of_what_is_loaded_prints_every_line(tmp_path: Path) -> None:
    write_project(tmp_path, FARM)
    amd, arm, merge, load, remove = build_line(plan_build(a_project(tmp_path), LOADED)[0]).split(
        " &&\n"
    )
    folder = remove.removeprefix("rm -rf -- ")
    assert amd.startswith(f"mkdir -p -- {folder} && ")
    assert arm.endswith(f"mv -f -- {folder}/image.linux-arm64.part {folder}/image.linux-arm64")
    merged = f"{folder}/image.oci.tar"
    assert merge.endswith(
        f"--output {merged} -- {folder}/image.linux-amd64 {folder}/image.linux-arm64"
    )
    assert load == f"docker load --input {merged}"


PUSHED = BuildRequest(
    platforms=("all",),
    push=True,
    tags=("r.example/a/thing:1", "r.example/a/thing:2", "s.example/thing:1"),
    options=(("annotation", "index:a=1"),),
)
INDEX = b'{\n  "schemaVersion": 2\n}'


class Pushing(FarmDocker):
    """Docker whose builds push by digest."""

    def __init__(self, error: str = "") -> None:
        super().__init__()
        made = Completed(code=1, stderr=f"ERROR: {error}") if error else Completed(code=0)
        shown = Completed(code=0, stdout=f"{INDEX.decode()}\n")
        create = ("docker", "buildx", "imagetools", "create")
        self.answers[*create, "--dry-run"] = shown
        self.answers[create] = made

    def _answer(self, argv: Sequence[str]) -> Completed:
        for path in words_after(argv, "--metadata-file"):
            arch = words_after(argv, "--platform")[0].rpartition("/")[2]
            Path(path).write_text(json.dumps({"containerimage.digest": f"sha256:{arch}"}))
            self.asked.append(tuple(argv))
            return Completed(code=0)
        return super()._answer(argv)


def test_each_platform_is_pushed_by_digest_and_the_index_gets_the_tags(tmp_path: Path) -> None:
    docker = Pushing()
    result, _ = _build(tmp_path, docker, PUSHED)
    for argv in docker.builds():
        assert words_after(argv, "--output") == [
            (
                'type=image,"name=r.example/a/thing,s.example/thing",push-by-digest=true,'
                "name-canonical=true,push=true,oci-mediatypes=true"
            )
        ]
        assert words_after(argv, "--tag") == words_after(argv, "--annotation") == []
    last = docker.asked[-1]
    assert last[:6] == ("docker", "buildx", "imagetools", "create", "--builder", "farm")
    assert words_after(last, "--tag") == list(result.references)
    assert words_after(last, "--annotation") == ["index:a=1"]
    assert last[-2:] == ("r.example/a/thing@sha256:amd64", "r.example/a/thing@sha256:arm64")
    assert result.digest == f"sha256:{hashlib.sha256(INDEX).hexdigest()}"
    assert (result.output, result.size) == ("push", None)
    assert _parts_left() == []


def test_a_registry_that_refuses_the_index_ends_with_code_5(tmp_path: Path) -> None:
    with pytest.raises(AuthorisationError, match="the registry refused"):
        _build(tmp_path, Pushing("push access denied"), PUSHED)
    assert _parts_left() == []


def test_the_index_is_pushed_again_where_that_may_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(join, "pause", lambda *_: None)
    docker = Pushing("unexpected status from PUT request: 503 Service Unavailable")
    with pytest.raises(BuildlibError):
        _build(tmp_path, docker, PUSHED)
    pushes = [argv for argv in docker.asked if argv[2] == "imagetools" and argv[4] == "--builder"]
    assert len(pushes) == Patience().attempts


def test_the_plan_of_what_is_pushed_prints_every_line(tmp_path: Path) -> None:
    write_project(tmp_path, FARM)
    plan, _ = plan_build(a_project(tmp_path), PUSHED)
    *builds, index, remove = build_line(plan).split(" &&\n")
    files = [words_after(shlex.split(line), "--metadata-file")[0] for line in builds]
    # The shell puts the digests there; a test with real nodes pastes it.
    sources = index.split(" r.example/a/thing@")[1:]
    assert [source.rpartition(" ")[2] for source in sources] == [f'{path})"' for path in files]
    assert words_after(shlex.split(index), "--tag") == list(plan.references)
    assert remove == f"rm -f -- {' '.join(files)}"


def test_silence_is_looked_into_on_its_own_node_alone(tmp_path: Path) -> None:
    docker = FarmDocker()
    _build(tmp_path, docker)
    assert [watch.every for watch in docker.watches if watch] == [0.5, 0.5]


def test_the_plan_prints_every_line(tmp_path: Path) -> None:
    write_project(tmp_path, FARM)
    plan, warnings = plan_build(a_project(tmp_path), ALL)
    assert not any("cache" in text for text in warnings)
    place = f"{tmp_path}/dist/thing-1.2.3.oci.tar"
    amd, arm, merge, move, remove = build_line(plan).split(" &&\n")
    assert f"mv -f -- {place}.linux-amd64.part {place}.linux-amd64" in amd
    assert "--platform linux/arm64" in arm
    assert merge.endswith(f"--output {place}.part -- {place}.linux-amd64 {place}.linux-arm64")
    assert move == f"mv -f -- {place}.part {place}"
    assert remove == f"rm -f -- {place}.linux-amd64 {place}.linux-arm64"
    drawn = replace(plan, progress="tty")
    assert {part.progress for part in parts_of(drawn)} == {"plain"}


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(BuildRequest(platforms=("linux/arm64",), output="oci"), id="one platform"),
        pytest.param(BuildRequest(platforms=("all",), output="local"), id="files"),
    ],
)
def test_other_builds_are_one(tmp_path: Path, request_: BuildRequest) -> None:
    write_project(tmp_path, FARM)
    plan, _ = plan_build(a_project(tmp_path), request_)
    assert parts_of(plan) == ()
    assert build_line(plan).count("docker buildx") == 1


def test_a_node_for_all_platforms_builds_them_at_once(tmp_path: Path) -> None:
    nodes = 'nodes = [{ name = "amd", endpoint = "tcp://amd:1", platforms = ["linux/amd64", '
    write_project(tmp_path, f'{FARM.partition("nodes")[0]}{nodes}"linux/arm64"] }}]\n')
    assert parts_of(plan_build(a_project(tmp_path), ALL)[0]) == ()


def test_an_image_below_is_merged_into_a_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildlib.project.read_git_facts", lambda *_, **__: git_facts())
    text = FARM.replace('image = "thing"\n', "") + (
        '[registries.main]\nrepository = "r.example/shop"\n'
        '[images.web]\ndockerfile = "web"\nbase-images = { "base:local" = "image:base" }\n'
        '[images.base]\ndockerfile = "base"\n'
    )
    pinned = f"alpine:3@sha256:{'1' * 64}"
    files = {"buildlib.toml": text, "base": f"FROM {pinned}\n", "web": "FROM base:local\n"}
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    held: list[Any] = []

    class Layouts(FarmDocker):
        def _answer(self, argv: Sequence[str]) -> Completed:
            for context in words_after(argv, "--build-context"):
                place, _, digest = context.partition("oci-layout://")[2].partition("@")
                blob = Path(place, "blobs", *digest.split(":"))
                # At once, as both builds come here.
                found = [path.name for path in Path(place).parent.iterdir()]
                held.append((len(json.loads(blob.read_bytes())["manifests"]), found))
            return super()._answer(argv)

    docker = Layouts()
    console, _, _ = a_console()
    project = load_project(tmp_path, {}, now=1_800_000_000, image="web")
    build_image(project, ALL, docker, console)
    assert len(docker.builds()) == 4
    assert held == [(2, ["base"])] * 2
    line = build_line(plan_build(project, ALL)[0])
    assert "tar -xf" in line
