"""Several builds by one task, with docker replaced below the executor seam."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from buildlib.background import Background, first_ended
from buildlib.build.planner import BuildRequest
from buildlib.commands.images import build_images
from buildlib.commands.session import Batch, Beginning, Chosen, Edge
from buildlib.errors import CancelledError, EngineError, InputError, ProblemsError
from buildlib.executor import Executor, Watch
from buildlib.project import load_projects
from buildlib.terminal.console import Console

from fakes import FakeDocker, git_facts, words_after

CONFIG = """\
[images.web]
dockerfile = "web"
base-images = { "base:local" = "image:base" }
[images.api]
dockerfile = "api"
[images.base]
dockerfile = "base"
"""


class Docker(FakeDocker):
    """Docker whose builds may fail, and wait for each other."""

    def __init__(self, failing: Sequence[str] = (), together: int = 0) -> None:
        super().__init__()
        self._failing = failing
        self._barrier = threading.Barrier(together, timeout=20) if together else None

    def stream(
        self, argv: Sequence[str], on_line: Callable[[str], None], *, watch: Watch | None = None
    ) -> int:
        super().stream(argv, on_line, watch=watch)
        built = "layout" if "tar=false" in str(argv) else Path(*words_after(argv, "--file")).name
        if self._barrier and built in {"base", "api"}:
            # It breaks unless both run at the same time.
            self._barrier.wait()
        return 1 if built in self._failing else 0


class Run(Edge):
    """What a task is given, with another docker."""

    def __init__(
        self, root: Path, docker: Docker, *, json: bool = False, console: Console | None = None
    ) -> None:
        chosen = Chosen(batch=Batch())
        super().__init__(root, {}, dry=False, quiet=json, json=json, chosen=chosen)
        self.docker = docker
        if console:
            self.console = console

    @property
    def executor(self) -> Executor:
        return self.docker


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("buildlib.project.read_git_facts", lambda *_, **__: git_facts())
    files = {
        "buildlib.toml": CONFIG,
        "web": "FROM base:local\n",
        "api": "FROM scratch\n",
        "base": "FROM scratch\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def _build(
    run: Run,
    batch: Batch,
    *,
    as_json: bool = False,
    request: BuildRequest | None = None,
    chosen: Sequence[str] = (),
) -> None:
    env = {"VERSION": "1.2.3"}
    projects = Background(lambda: load_projects(run.start, env, now=1_800_000_000, only=chosen))
    beginning = Beginning(Background(lambda: projects.get()[0]), None, projects)
    build_images(run, beginning, batch, request or BuildRequest(), as_json=as_json)


def _built(docker: Docker) -> list[str]:
    builds = [argv for argv in docker.asked if argv[:3] == ("docker", "buildx", "build")]
    return [
        f"{Path(*words_after(argv, '--file')).name}{' layout' if 'tar=false' in str(argv) else ''}"
        for argv in builds
    ]


def test_each_is_built_after_what_it_is_based_on(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docker = Docker()
    _build(Run(root, docker), Batch())
    assert _built(docker) == ["base", "base layout", "web", "api"]
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("# ")] == [
        "# base",
        "# web",
        "# api",
    ]
    # Above what is printed while the image is built.
    both = io.StringIO()
    _build(Run(root, Docker(), console=Console({}, out=both, err=both)), Batch())
    assert both.getvalue().startswith("# base\n")


def test_each_has_outputs_of_its_own_in_a_workflow(root: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    run = Run(root, Docker(failing=["api"]))
    run.env = {"GITHUB_OUTPUT": str(outputs)}
    with pytest.raises(EngineError):
        _build(run, Batch(keep_going=True))
    text = outputs.read_text("utf-8")
    assert re.findall("^(.*)<<", text, re.MULTILINE) == [
        f"{name}-{what}" for name in ("base", "web") for what in ("version", "digest", "tags")
    ]
    assert "\n1.2.3\n" in text
    assert "\nsha256:d\n" in text


def test_a_warning_about_an_image_is_printed_once(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "web").write_text("FROM base:local\nARG USED\n", encoding="utf-8")
    request = BuildRequest(build_args=("USED=1",))
    _build(Run(root, Docker()), Batch(), request=request)
    # Of base, which web is built on again, and of api.
    expected = ["warning: the Dockerfile declares no ARG USED; it declares none"] * 2
    found = capsys.readouterr().err.splitlines()
    assert [line for line in found if line.startswith("warning: ")] == expected
    only = Batch(names=("web",))
    _build(Run(root, Docker()), only, request=request, chosen=("web",))
    # Nothing else has said of which image it is.
    found = capsys.readouterr().err.splitlines()
    assert [line for line in found if line.startswith("warning: ")] == [
        "warning: base: the Dockerfile declares no ARG USED; it declares none"
    ]


def test_independent_images_are_built_at_the_same_time(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docker = Docker(together=2)
    _build(Run(root, docker), Batch(jobs=3))
    # Each line of progress says which image it is about.
    steps = [line for line in capsys.readouterr().err.splitlines() if "cached" in line]
    assert {line.partition(" | ")[0] for line in steps} == {"base", "api", "web"}
    built = _built(docker)
    assert set(built[:2]) == {"base", "api"}
    assert built[2:] == ["base layout", "web"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_others_are_built_if_one_fails(
    root: Path, capsys: pytest.CaptureFixture[str], jobs: int
) -> None:
    docker = Docker(failing=["base"])
    with pytest.raises(EngineError) as caught:
        _build(Run(root, docker, json=True), Batch(keep_going=True, jobs=jobs), as_json=True)
    assert caught.value.exit_code == 4
    assert sorted(_built(docker)) == ["api", "base"]
    images = json.loads(capsys.readouterr().out)["images"]
    assert images["api"]["digest"] == "sha256:d"
    assert images["base"]["error"]["exit_code"] == 4
    assert images["web"]["error"]["what"] == "it is not built, as base failed"


def test_an_error_of_one_image_has_no_credentials(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Refusing(Docker):
        def stream(
            self, argv: Sequence[str], on_line: Callable[[str], None], *, watch: Watch | None = None
        ) -> int:
            super().stream(argv, on_line, watch=watch)
            raise EngineError("it failed", why=f"GET https://u:hunter2@host for {argv[0]}")

    with pytest.raises(ProblemsError):
        _build(Run(root, Refusing(), json=True), Batch(keep_going=True), as_json=True)
    images = json.loads(capsys.readouterr().out)["images"]
    assert images["api"]["error"]["why"] == "GET https://***@host for docker"


def test_every_failure_is_an_error_of_its_image(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docker = Docker(failing=["web", "api"])
    with pytest.raises(ProblemsError) as caught:
        _build(Run(root, docker), Batch(keep_going=True))
    assert [one.what.partition(":")[0] for one in caught.value.problems] == ["web", "api"]
    # The errors are printed once, by the task.
    printed = capsys.readouterr().err
    assert "error: " not in printed
    for name in ("web", "api"):
        assert printed.count(f"{name} failed: its error is printed at the end") == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_nothing_more_is_built_after_a_failure(
    root: Path, capsys: pytest.CaptureFixture[str], jobs: int
) -> None:
    docker = Docker(failing=["base"])
    with pytest.raises(EngineError, match="base: the build failed"):
        _build(Run(root, docker), Batch(jobs=jobs))
    assert "web" not in _built(docker)
    capsys.readouterr()
    with pytest.raises(EngineError):
        _build(Run(root, Docker(["base"]), json=True), Batch(jobs=jobs), as_json=True)
    images = json.loads(capsys.readouterr().out)["images"]
    assert images["base"]["error"]["exit_code"] == 4
    assert images["web"]["error"]["what"] == "not begun"


def test_an_interrupt_leaves_an_answer_for_every_image(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = threading.Event()

    class Slow(Docker):
        def stream(
            self, argv: Sequence[str], on_line: Callable[[str], None], *, watch: Watch | None = None
        ) -> int:
            if words_after(argv, "--file")[0].endswith("base"):
                closed.wait(20)
                raise CancelledError("the task has ended")
            return super().stream(argv, on_line, watch=watch)

    def interrupted(running: dict[Future[Any], Any]) -> set[Future[Any]]:
        if len(running) == 1:
            raise KeyboardInterrupt
        return first_ended(running)

    run = Run(root, Slow(), json=True)
    monkeypatch.setattr(run, "close", closed.set)
    monkeypatch.setattr("buildlib.commands.images.first_ended", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _build(run, Batch(jobs=2), as_json=True)
    images = json.loads(capsys.readouterr().out)["images"]
    assert images["api"]["digest"] == "sha256:d"
    assert {name: images[name]["error"]["what"] for name in ("base", "web")} == {
        "base": "interrupted",
        "web": "not begun",
    }
    assert images["web"]["error"]["kind"] == "interrupted"


def test_a_number_of_jobs_is_at_least_one(root: Path) -> None:
    with pytest.raises(InputError, match="--jobs has to be at least 1"):
        _build(Run(root, Docker()), Batch(jobs=0))
