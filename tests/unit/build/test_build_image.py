"""A build from request to result, with docker replaced below the executor seam."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from buildlib.build import attempts
from buildlib.build.argv import build_line
from buildlib.build.build_image import build_image
from buildlib.build.checked_plan import plan_build
from buildlib.build.planner import BuildRequest
from buildlib.build.result import BuildResult
from buildlib.errors import (
    AuthorisationError,
    BuildlibError,
    EngineError,
    InputError,
    ProblemsError,
    ToolError,
    exit_code_of,
)
from buildlib.executor import Completed, Watch
from buildlib.project import Checkout as MadeCheckout
from buildlib.terminal.console import Console

from fakes import DOCKER_INFO as INFO
from fakes import STEP, FakeDocker, FakeExecutor, a_console, a_project, words_after, write_project


def _build(root: Path, docker: FakeDocker, **request: object) -> tuple[BuildResult, str]:
    console, _, err = a_console()
    wanted = BuildRequest(**request)  # type: ignore[arg-type]
    return build_image(a_project(root), wanted, docker, console), err.getvalue()


def test_a_build_reports_all_that_came_out(tmp_path: Path) -> None:
    docker = FakeDocker()
    result, shown = _build(write_project(tmp_path), docker)
    assert result.references == ("thing:1.2.3", "thing:latest")
    assert (result.version, result.platforms, result.digest) == (
        "1.2.3",
        ("linux/amd64",),
        "sha256:d",
    )
    assert (result.size, result.steps, result.cached) == (5818000, 1, 1)
    assert f"$ {result.command}" in shown
    assert "cached [1/1] RUN x" in shown
    text = result.as_text()
    # The containerd store keeps what a registry has.
    assert "size          5.818 MB to pull\n" in text
    assert "1 of 1" in text
    assert "tag           thing:1.2.3\n              thing:latest\n" in text
    assert json.loads(result.as_json())["digest"] == "sha256:d"


def test_a_result_holds_no_secret(tmp_path: Path) -> None:
    cache = 'cache-to = ["type=s3,bucket=b,secret_access_key=hunter2,token=hunter2"]\n'
    result, shown = _build(write_project(tmp_path, f'image = "thing"\n{cache}'), FakeDocker())
    assert "secret_access_key=***" in shown
    assert "hunter2" not in shown + result.as_json()


def test_no_metadata_is_left_behind(tmp_path: Path) -> None:
    docker = FakeDocker()
    _build(write_project(tmp_path), docker)
    (path,) = words_after(next(a for a in docker.asked if "build" in a), "--metadata-file")
    assert not Path(path).exists()


@pytest.mark.parametrize("metadata", ["", "[]", "{"])
def test_metadata_that_is_damaged_is_no_digest(tmp_path: Path, metadata: str) -> None:
    result, _ = _build(write_project(tmp_path), FakeDocker(metadata=metadata))
    assert result.digest == ""


def test_an_explicit_progress_is_buildx_own(tmp_path: Path) -> None:
    write_project(tmp_path)
    console, _, _ = a_console()
    project = a_project(tmp_path, overrides={"progress": "plain"})
    result = build_image(project, BuildRequest(), FakeDocker(), console)
    assert (result.steps, result.cached) == (None, None)
    assert "not counted" in result.as_text()
    with pytest.raises(EngineError, match="exit code 7"):
        build_image(project, BuildRequest(), FakeDocker(code=7), console)


def test_other_outputs_have_no_size_from_the_engine(tmp_path: Path) -> None:
    docker = FakeDocker()
    result, _ = _build(write_project(tmp_path), docker, output="local")
    assert (result.size, result.references) == (None, ())
    assert result.destination == f"{tmp_path}/dist/thing-1.2.3"
    assert not any("{{.Size}}" in argv for argv in docker.asked)


def test_an_archive_has_its_own_size(tmp_path: Path) -> None:
    docker = FakeDocker()
    write_project(tmp_path)
    result, _ = _build(tmp_path, docker, output="oci")
    assert (result.size, result.size_of) == (5, "archive")
    (archive,) = (tmp_path / "dist").iterdir()
    assert archive.name == "thing-1.2.3.oci.tar"
    assert str(archive) == result.destination


def test_a_build_that_fails_leaves_the_archive_that_was_there(tmp_path: Path) -> None:
    write_project(tmp_path)
    _build(tmp_path, FakeDocker(), output="oci")
    docker = FakeDocker(code=1)
    docker.archive = b"1"
    with pytest.raises(EngineError):
        _build(tmp_path, docker, output="oci")
    (archive,) = (tmp_path / "dist").iterdir()
    assert archive.read_bytes() == b"12345"


def test_a_build_without_an_archive_has_failed(tmp_path: Path) -> None:
    docker = FakeDocker()
    docker.archive = b""
    with pytest.raises(EngineError, match=r"no archive at .*thing-1\.2\.3\.oci\.tar"):
        _build(write_project(tmp_path), docker, output="oci")


def test_a_destination_that_can_not_be_is_refused(tmp_path: Path) -> None:
    write_project(tmp_path)
    (tmp_path / "dist").write_text("a file", encoding="utf-8")
    with pytest.raises(InputError, match="can't write to"):
        _build(tmp_path, FakeDocker(), output="oci")


def test_all_problems_are_told_at_once_and_nothing_is_built(tmp_path: Path) -> None:
    write_project(tmp_path)
    docker = FakeDocker()
    docker.answers["docker", "info"] = Completed(
        code=1, stdout=json.dumps({**INFO, "ServerVersion": "", "ClientInfo": {}}), stderr="down"
    )
    with pytest.raises(ProblemsError) as caught:
        _build(tmp_path, docker, build_args=("API_TOKEN=x", "OTHER=x"), strict=True)
    kinds = [type(problem) for problem in caught.value.problems]
    assert kinds == [InputError, InputError, InputError, ToolError, EngineError]
    assert exit_code_of(caught.value) == 2
    assert not any("build" in argv for argv in docker.asked)


def test_docker_that_is_not_there_is_told(tmp_path: Path) -> None:
    console, _, _ = a_console()
    with pytest.raises(ToolError, match="docker not found"):
        build_image(a_project(write_project(tmp_path)), BuildRequest(), FakeExecutor(), console)


def test_a_builder_that_is_not_there_is_told(tmp_path: Path) -> None:
    write_project(tmp_path)
    console, _, _ = a_console()
    project = a_project(tmp_path, overrides={"builder": "gone"})
    with pytest.raises(EngineError, match="builder gone can't be used"):
        build_image(project, BuildRequest(), FakeDocker(), console)


RUN, FAILED = 'process "/bin/sh -c', "did not complete successfully: exit code: 1"
FAILURES = {
    "a failed command shows its own lines last": (
        'process "/bin/sh -c go build" did not complete: exit code: 1',
        "./main.go:3:1: syntax error\n",
        EngineError,
        "./main.go:3:1: syntax error",
    ),
    "a full disk points to docker system df": (
        "failed to copy: write /x: no space left on device", "", EngineError, "docker system df"),
    "a full disk inside a step is one too": (
        "exit code: 1", "dd: No space left on device\n", EngineError, "docker system df"),
    "a file of the context that can't be read is named": (
        "error from sender: open data: permission denied", "", InputError, ".dockerignore"),
    "a missing emulation prints the command that registers it": (
        "exec /bin/sh: exec format error", "", EngineError, "tonistiigi/binfmt --install all"),
    "a refused base image is a matter of login": (
        "pull access denied, repository does not exist", "", AuthorisationError, "docker login"),
    "a push that is denied is one as well": (
        "denied: requested access to the resource is denied", "", AuthorisationError,
        "docker login"),
    "and one without credentials": (
        "unauthorized: authentication required", "", AuthorisationError, "docker login"),
    "a command that speaks of access is no registry": (
        f'{RUN} curl x || (echo access denied; exit 1)" {FAILED}', "curl: (22)\n", EngineError,
        "curl: (22)"),
    "a command that speaks of a full disk is none": (
        f'{RUN} test x: no space left on device" {FAILED}', "no, it is not\n", EngineError,
        "no, it is not"),
    "a test that wants a full disk is none": (
        f'{RUN} go test" {FAILED}', "want no space left on device, got nil\n", EngineError,
        "want no space left on device, got nil"),
    "a command that speaks of what is canceled has failed all the same": (
        f'{RUN} test canceled" {FAILED}', "not so\n", EngineError, "not so"),
}  # fmt: skip


@pytest.mark.parametrize(("error", "log", "kind", "text"), FAILURES.values(), ids=FAILURES)
def test_a_failed_build_says_why(
    tmp_path: Path, error: str, log: str, kind: type[BuildlibError], text: str
) -> None:
    docker = FakeDocker(code=1)
    data = base64.b64encode(log.encode()).decode()
    docker.lines = [
        json.dumps(
            {"vertexes": [{**STEP, "completed": None}], "logs": [{"vertex": "a", "data": data}]}
        ),
        json.dumps({"vertexes": [{**STEP, "error": error}]}),
    ]
    with pytest.raises(kind) as caught:
        _build(write_project(tmp_path), docker)
    assert str(caught.value).endswith(text) or text in caught.value.hint


class Racing(FakeDocker):
    """Another build makes the same tag, so often."""

    def __init__(self, times: int, error: str) -> None:
        super().__init__()
        self.times, self.error, self.fine = times, error, self.lines

    def stream(
        self, argv: Sequence[str], on_line: Callable[[str], None], *, watch: Watch | None = None
    ) -> int:
        self.times -= 1
        broken = [json.dumps({"vertexes": [{**STEP, "error": self.error}]})]
        self.lines = broken if self.times >= 0 else self.fine
        return super().stream(argv, on_line, watch=watch) or int(self.times >= 0)


RACE = 'failed to create image: image "docker.io/library/thing:1.2.3": already exists'


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait before a build is started again."""
    monkeypatch.setattr(attempts, "PATIENCE", replace(attempts.PATIENCE, base=0.0))


PASSING = {
    "a registry that is busy": "unexpected status from HEAD request: 429 Too Many Requests",
    "a registry that is down": "failed to copy: httpReadSeeker: unexpected status code 503",
    "a cache": "error writing layer blob: write tcp 1.2.3.4:1: write: connection reset by peer",
}


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("error", PASSING.values(), ids=PASSING)
@pytest.mark.parametrize(("times", "built"), [(1, 2), (3, 4), (4, 4)])
def test_an_error_of_the_network_is_waited_for(
    tmp_path: Path, error: str, times: int, built: int
) -> None:
    docker = Racing(times, error)
    write_project(tmp_path)
    if times == built:
        with pytest.raises(EngineError, match=re.escape(error)):
            _build(tmp_path, docker)
    else:
        result, shown = _build(tmp_path, docker)
        said = f"the build is started again, as this may pass: {error}"
        assert result.warnings == (said,) * times
        assert shown.count(said) == times
    assert sum(argv[1:3] == ("buildx", "build") for argv in docker.asked) == built


@pytest.mark.usefixtures("at_once")
def test_an_error_of_buildx_itself_is_waited_for(tmp_path: Path) -> None:
    docker = FakeDocker(code=1)
    docker.lines = ["#5 0.1 curl: connection reset", "ERROR: failed to solve: unexpected EOF"]
    with pytest.raises(EngineError):
        _build(write_project(tmp_path), docker)
    assert sum(argv[1:3] == ("buildx", "build") for argv in docker.asked) == 4


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(
            [json.dumps({"vertexes": [{**STEP, "error": f'{RUN} curl EOF" {FAILED}'}]})],
            id="a step that reached its end",
        ),
        pytest.param(
            ["#5 0.1 curl: connection reset", "ERROR: failed to solve: not found"],
            id="what a command printed",
        ),
    ],
)
def test_a_build_that_can_not_pass_is_not_started_again(tmp_path: Path, lines: list[str]) -> None:
    docker = FakeDocker(code=1)
    docker.lines = lines
    with pytest.raises(EngineError):
        _build(write_project(tmp_path), docker)
    assert sum(argv[1:3] == ("buildx", "build") for argv in docker.asked) == 1


@pytest.mark.parametrize("times", [0, 1, 4])
def test_two_builds_of_one_tag_both_end_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda _: 0)
    docker = Racing(times, RACE)
    _build(write_project(tmp_path), docker)
    built = [argv for argv in docker.asked if argv[1:3] == ("buildx", "build")]
    assert len(built) == times + 1


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (RACE, 5),
        ("mkdir: can't create directory 'x': File exists", 1),
        (f'{RUN} echo image "x": already exists" {FAILED}', 1),
    ],
    ids=["for ever", "another error", "a command that says so"],
)
def test_a_build_that_goes_on_failing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, attempts: int
) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda _: 0)
    docker = Racing(99, error)
    with pytest.raises(EngineError):
        _build(write_project(tmp_path), docker)
    assert sum(argv[1:3] == ("buildx", "build") for argv in docker.asked) == attempts


@pytest.mark.parametrize(
    ("error", "free", "what"),
    [
        ("write DIST/x.tar: no space left on device", 1 << 40, "the disk of DIST is full"),
        ("copy: rpc error: write DIST/a/b: no space left on device", 0, "the disk of DIST is full"),
        ("error from receiver: context canceled", 0, "the disk of DIST is full"),
        ("error from receiver: context canceled", 1 << 40, "the build failed"),
        ("write /var/lib/x: no space left on device", 0, "the engine's disk is full"),
    ],
)
def test_a_full_disk_is_that_of_the_output_or_the_engines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, free: int, what: str
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    docker, dist = FakeDocker(code=1), str(tmp_path / "dist")
    error = error.replace("DIST", dist)
    failed = json.dumps({"vertexes": [{**STEP, "error": error}]})
    docker.lines = [failed, f"ERROR: failed to solve: {error}"]
    with pytest.raises(EngineError) as caught:
        _build(write_project(tmp_path), docker, output="oci")
    assert caught.value.what.startswith(what.replace("DIST", dist))
    assert ("docker system df" in caught.value.hint) is ("engine" in what)


def test_the_placeholder_of_a_base_image_is_looked_for_in_no_registry(tmp_path: Path) -> None:
    docker = FakeDocker(code=1)
    name = "[context alpine:3.22] load metadata for docker.io/library/alpine:3.22"
    error = "no match for platform in manifest: not found"
    docker.lines = [json.dumps({"vertexes": [{**STEP, "name": name, "error": error}]})]
    source = '{ source = "docker-image://here", stand-in = true }'
    config = f'image = "thing"\n[base-images]\n"alpine:3.22" = {source}\n'
    project = write_project(tmp_path, config, dockerfile="FROM alpine:3.22\n")
    with pytest.raises(EngineError, match="the placeholder for a base image is not for") as caught:
        _build(project, docker)
    assert "imagetools" not in caught.value.hint
    # One that is nowhere else may be in a map for this machine alone.
    unreachable = {**STEP, "name": name, "error": "dial tcp: no route to host"}
    docker.lines = [json.dumps({"vertexes": [unreachable]})]
    with pytest.raises(EngineError, match="a base image can't be pulled") as caught:
        _build(write_project(tmp_path, dockerfile="FROM alpine:3.22\n"), docker)
    assert "base-images, here or in a file that BUILDLIB_BASE_IMAGES names" in caught.value.hint


@pytest.mark.parametrize(
    ("platforms", "size"),
    [
        (("linux/amd64", "linux/arm64"), "5.818 MB to pull, linux/amd64"),
        (("linux/arm64", "linux/s390x"), "5.818 MB to pull"),
        (("linux/amd64",), "5.818 MB to pull"),
    ],
)
def test_a_size_says_of_which_platform_it_is(
    tmp_path: Path, platforms: tuple[str, ...], size: str
) -> None:
    result, _ = _build(write_project(tmp_path), FakeDocker(), platforms=platforms)
    assert f"size          {size}\n" in result.as_text()


@pytest.mark.parametrize("verbose", [True, False])
def test_the_lines_that_write_a_commit_are_shown_on_request(
    tmp_path: Path, *, verbose: bool
) -> None:
    (tmp_path / "files").mkdir()
    write_project(tmp_path / "files")
    project = a_project(write_project(tmp_path))
    made = MadeCheckout(
        folder=tmp_path, top=tmp_path, lines=("env GIT_CONFIG_COUNT=0 git archive",)
    )
    err = io.StringIO()
    console = Console({}, out=io.StringIO(), err=err, verbose=verbose)
    build_image(replace(project, checkout=made), BuildRequest(), FakeDocker(), console)
    (line,) = [line for line in err.getvalue().splitlines() if "docker buildx build" in line]
    assert line.startswith("docker" if verbose else "$ docker")
    assert ("GIT_CONFIG_COUNT" in err.getvalue()) == verbose


def test_a_line_to_paste_leaves_no_file_behind(tmp_path: Path) -> None:
    project = a_project(write_project(tmp_path))
    docker = FakeDocker()
    shown = _build(project.config.root, docker)[1]
    assert "--metadata-file" not in shown + build_line(plan_build(project, BuildRequest())[0])
    assert any("--metadata-file" in argv for argv in docker.asked)


BASES = {
    "no match for platform in manifest: not found": (
        "a base image does not exist for the platform: docker.io/library/alpine:3.22",
        "--platform",
    ),
    "dial tcp: lookup registry.example: no such host": (
        "a base image can't be pulled: docker.io/library/alpine:3.22",
        "base-images",
    ),
}


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(("error", "said"), BASES.items(), ids=["platform", "network"])
def test_a_base_image_that_is_missing_says_which_way(
    tmp_path: Path, error: str, said: tuple[str, str]
) -> None:
    docker = FakeDocker(code=1)
    name = "[internal] load metadata for docker.io/library/alpine:3.22"
    docker.lines = [json.dumps({"vertexes": [{**STEP, "name": name, "error": error}]})]
    with pytest.raises(EngineError) as caught:
        _build(write_project(tmp_path), docker)
    assert caught.value.what == said[0]
    assert said[1] in caught.value.hint


PLAIN = """\
#5 [2/2] RUN go build
#5 0.480 {log}
#5 ERROR: {error}
------
 > [2/2] RUN go build:
0.480 {log}
------
Dockerfile:3
--------------------
   3 | >>> RUN go build
--------------------
ERROR: failed to solve: {error}
"""


@pytest.mark.parametrize(("error", "log", "kind", "text"), FAILURES.values(), ids=FAILURES)
def test_a_failed_build_says_why_whatever_the_progress(
    tmp_path: Path, error: str, log: str, kind: type[BuildlibError], text: str
) -> None:
    write_project(tmp_path)
    docker = FakeDocker(code=1)
    docker.lines = PLAIN.format(error=error, log=log.strip()).splitlines()
    console, _, err = a_console()
    project = a_project(tmp_path, overrides={"progress": "plain"})
    with pytest.raises(kind) as caught:
        build_image(project, BuildRequest(), docker, console)
    assert str(caught.value).endswith(text) or text in caught.value.hint
    assert "#5 [2/2] RUN go build\n" in err.getvalue()


def test_raw_progress_is_passed_on_and_read(tmp_path: Path) -> None:
    write_project(tmp_path)
    docker = FakeDocker(code=1)
    docker.lines = [json.dumps({"vertexes": [{**STEP, "error": "401 unauthorized"}]})]
    console, _, err = a_console()
    project = a_project(tmp_path, overrides={"progress": "rawjson"})
    with pytest.raises(AuthorisationError):
        build_image(project, BuildRequest(), docker, console)
    assert docker.lines[0] in err.getvalue()


def test_what_is_drawn_on_the_terminal_is_left_to_it(tmp_path: Path) -> None:
    write_project(tmp_path)
    docker = FakeDocker(code=1)
    console, _, err = a_console()
    project = a_project(tmp_path, overrides={"progress": "tty"})
    with pytest.raises(EngineError, match="exit code 1"):
        build_image(project, BuildRequest(), docker, console)
    assert docker.lines[0] not in err.getvalue()


def test_a_failure_of_buildx_itself_shows_its_message(tmp_path: Path) -> None:
    docker = FakeDocker(code=1)
    docker.lines = ["ERROR: something odd"]
    with pytest.raises(EngineError) as caught:
        _build(write_project(tmp_path), docker)
    assert "ERROR: something odd" in str(caught.value)


def test_a_plan_needs_no_engine_and_tells_what_is_wrong(tmp_path: Path) -> None:
    write_project(tmp_path)
    project = a_project(tmp_path)
    plan, warnings = plan_build(project, BuildRequest(build_args=("X=1",), tags=("feature/x",)))
    assert plan.references == ("thing:1.2.3", "thing:latest", "thing:feature-x")
    assert warnings[0] == "'feature/x' can't be a tag: it becomes feature-x"
    assert "no ARG X" in warnings[1]
    (tmp_path / "Dockerfile").unlink()
    with pytest.raises(InputError, match="Dockerfile not found"):
        plan_build(project, BuildRequest())


def test_stand_ins_are_told_on_the_terminal(tmp_path: Path) -> None:
    base = '[base-images]\n"alpine:3.22" = { source = "oci-layout:///a", stand-in = true }\n'
    write_project(tmp_path, f'image = "thing"\n{base}')
    result, shown = _build(tmp_path, FakeDocker())
    assert "warning: built on placeholders for alpine:3.22" in shown
    assert result.stand_ins == ("alpine:3.22",)
    assert replace(result, stand_ins=()).as_text() != result.as_text()


def test_a_builder_is_asked_for_only_where_one_is_named(tmp_path: Path) -> None:
    farm = '[builders.farm]\ndriver = "remote"\nnodes = [{ endpoint = "tcp://x:1" }]\n'
    write_project(tmp_path, f'image = "thing"\n{farm}')
    docker = FakeDocker()
    _build(tmp_path, docker)
    assert not any(argv[1:3] == ("buildx", "inspect") for argv in docker.asked)
    write_project(tmp_path, f'image = "thing"\nbuilder = "farm"\n{farm}')
    with pytest.raises(EngineError) as caught:
        _build(tmp_path, docker)
    assert caught.value.hint == "invoke docker-builder create --name farm"
    assert docker.asked[-1] == ("docker", "buildx", "inspect", "farm")


def test_a_build_by_a_configured_builder(tmp_path: Path) -> None:
    farm = (
        'image = "thing"\nbuilder = "farm"\n[builders.farm]\ndriver = "remote"\n'
        'cache-to = ["type=local,dest=c-{platform}"]\n'
        'nodes = [{ name = "n", endpoint = "tcp://x:1", platforms = ["amd64", "arm64"] }]\n'
    )
    write_project(tmp_path, farm)
    docker = FakeDocker()
    found = "Name: farm\nDriver: remote\n\nNodes:\nName: n\nEndpoint: tcp://x:1\nStatus: running\n"
    docker.answers["docker", "buildx", "inspect"] = Completed(code=0, stdout=found)
    result, shown = _build(tmp_path, docker, platforms=("amd64", "arm64"))
    assert "--builder farm" in result.command
    assert "--cache-to" not in result.command
    assert "builds of one platform alone" in shown
    with pytest.raises(InputError, match="no node of the builder farm builds linux/386"):
        _build(tmp_path, docker, platforms=("386",))


FARM = (
    'image = "thing"\nbuilder = "farm"\n[builders.farm]\ndriver = "remote"\nnodes = [\n'
    '{ name = "a", endpoint = "tcp://a:1", platforms = ["amd64"] },\n'
    '{ name = "b", endpoint = "tcp://b:1", platforms = ["arm64"] },\n]\n'
)


def _nodes(**errors: str) -> Completed:
    """Return what buildx says about the farm; a node is named with what is wrong with it."""
    text = "Name: farm\nDriver: remote\n\nNodes:\n"
    for name, arch in (("a", "amd64"), ("b", "arm64")):
        state = f"Error: {errors[name]}" if name in errors else "Status: running"
        text += f"Name: {name}\nEndpoint: tcp://{name}:1\n{state}\nPlatforms: linux/{arch}*\n"
    return Completed(code=0, stdout=text)


class Farm(FakeDocker):
    """A builder that says one thing after another, and the last one for ever."""

    def __init__(self, *said: Completed, silences: int = 1) -> None:
        super().__init__()
        # The first is what is seen before the build.
        self._said = [_nodes(), *said]
        self.silences = silences

    def _answer(self, argv: Sequence[str]) -> Completed:
        if tuple(argv[:3]) == ("docker", "buildx", "inspect"):
            said = self._said.pop(0) if len(self._said) > 1 else self._said[0]
            self.answers["docker", "buildx", "inspect"] = said
        return super()._answer(argv)

    @property
    def looks(self) -> int:
        """Return how often the builder was looked at while it built."""
        return sum(argv[1:3] == ("buildx", "inspect") for argv in self.asked) - 1


@pytest.mark.parametrize("progress", ["auto", "plain"])
def test_a_node_that_stops_in_mid_build_ends_it(tmp_path: Path, progress: str) -> None:
    write_project(tmp_path, FARM)
    console, _, _ = a_console()
    project = a_project(tmp_path, overrides={"progress": progress})
    docker = Farm(_nodes(b="deadline exceeded"))
    with pytest.raises(EngineError) as caught:
        build_image(
            project, BuildRequest(platforms=("amd64", "arm64"), output="local"), docker, console
        )
    assert caught.value.what == "node b of the builder farm does not answer"
    assert caught.value.why == "deadline exceeded"
    assert docker.looks == 2


@pytest.mark.parametrize(
    ("said", "silences", "looks"),
    [
        pytest.param([_nodes()], 3, 3, id="a node that is busy, and answers"),
        pytest.param([_nodes(b="late"), _nodes()], 1, 2, id="one that was too busy to answer once"),
        pytest.param([_nodes(a="gone")], 1, 1, id="one that the build does not need"),
        pytest.param([Completed(code=1, stderr="no builder")], 1, 1, id="buildx knows nothing"),
        pytest.param([_nodes(b="gone")], 0, 0, id="a build that is never silent asks nobody"),
    ],
)
def test_a_silent_build_goes_on(
    tmp_path: Path, said: list[Completed], silences: int, looks: int
) -> None:
    write_project(tmp_path, FARM)
    docker = Farm(*said, silences=silences)
    _build(tmp_path, docker, platforms=("arm64",), output="local")
    assert docker.looks == looks


@pytest.mark.parametrize(
    ("error", "said", "looks"),
    [
        pytest.param("EOF", "node b of the builder farm does not answer", 2, id="a node that died"),
        pytest.param(f'{RUN} x" {FAILED}', "the build failed", 0, id="a step that reached its end"),
    ],
)
def test_a_failed_build_is_the_fault_of_a_node_that_does_not_answer(
    tmp_path: Path, error: str, said: str, looks: int
) -> None:
    write_project(tmp_path, FARM)
    docker = Farm(_nodes(b="refused"), silences=0)
    docker.answers["docker", "buildx", "build"] = Completed(code=1)
    docker.lines = [json.dumps({"vertexes": [{**STEP, "error": error}]})]
    with pytest.raises(EngineError, match=said):
        _build(tmp_path, docker, platforms=("arm64",), output="local")
    assert docker.looks == looks


def test_without_a_builder_nobody_is_asked_in_mid_build(tmp_path: Path) -> None:
    docker = FakeDocker()
    docker.silences = 3
    _build(write_project(tmp_path), docker)
    assert not any(argv[1:3] == ("buildx", "inspect") for argv in docker.asked)
