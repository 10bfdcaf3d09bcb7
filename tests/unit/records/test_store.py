"""Where records are kept, what is in them, and what happens where they can't be kept."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partialmethod
from pathlib import Path
from threading import Event
from unittest.mock import Mock

import pytest
from buildrecords import check_record, hostile, many, shop
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import ValidationError
from ociwriter import OciWriter

from buildlib.build.build_image import build_image
from buildlib.build.context import written_folders
from buildlib.build.planner import BuildRequest
from buildlib.config.load import load_config
from buildlib.dockerfile.definitions import InstructionText
from buildlib.dockerfile.ignore import DockerIgnore
from buildlib.errors import CancelledError, EngineError, InputError
from buildlib.executor import Completed, Watch
from buildlib.findings.secrets import HIDDEN
from buildlib.git.facts import NoGit
from buildlib.records.files import Hashes, Taken, matcher, read_files
from buildlib.records.record import (
    File,
    Layer,
    Record,
    RecordError,
    Step,
    bounded,
    parse_name,
    read_record,
    short_log,
)
from buildlib.records.redaction import Redaction
from buildlib.records.schema import record_schema
from buildlib.records.store import RecordStore, new_id, open_store

from fakes import STEP, FakeDocker, a_console, a_project, write_project

DOCKERFILE = "FROM scratch\nARG API_TOKEN\nARG NAME=x\nCOPY app /app\n"


def _vertex(digest: str, name: str, **more: object) -> str:
    return json.dumps({"vertexes": [{**STEP, "digest": digest, "name": name, **more}]})


class Docker(FakeDocker):
    """Docker whose build says what it is given; `error` is raised at its end."""

    def __init__(self, *lines: str, error: BaseException | None = None, code: int = 0) -> None:
        super().__init__(code)
        self.lines = list(lines) or [_vertex("1", "[1/1] COPY app /app")]
        self.error = error

    def stream(self, argv, on_line, *, watch: Watch | None = None) -> int:  # type: ignore[no-untyped-def] # noqa: ANN001
        code = super().stream(argv, on_line, watch=watch)
        if self.error:
            raise self.error
        return code


def _build(
    root: Path,
    docker: Docker,
    env: Mapping[str, str] | None = None,
    **request: object,
) -> str:
    """Build with a record, and return what was printed."""
    console, _, err = a_console()
    git = NoGit(reason="none")
    project = a_project(root, git=git, env={"XDG_STATE_HOME": str(root / "state"), **(env or {})})
    wanted = BuildRequest(**({"output": "cacheonly"} | request))  # type: ignore[arg-type]
    try:
        build_image(project, wanted, docker, console, task="docker-build")
    except (EngineError, CancelledError):
        pass
    except KeyboardInterrupt:
        return "interrupted"
    for path in (root / "state").glob("buildlib/*/2*.json"):
        check_record(path.read_text("utf-8"))
    return err.getvalue()


def _store(root: Path) -> RecordStore:
    store = open_store(load_config(root, {}), {"XDG_STATE_HOME": str(root / "state")})
    assert store
    return store


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path, dockerfile=DOCKERFILE)


@pytest.mark.parametrize("record", [*shop(), hostile(), many(20), Record(id="x")])
def test_what_is_written_follows_the_schema(record: Record) -> None:
    check_record(record.as_json())
    assert record_schema()["properties"].keys() == record.as_dict().keys()
    with pytest.raises(ValidationError):
        check_record(replace(record, schema=2).as_json())


def test_a_build_leaves_a_record_of_all_that_decides(project: Path) -> None:
    _build(project, Docker(), build_args=("NAME=y",))
    (path,) = _store(project).paths()
    record = _store(project).read(path)
    assert (record.schema, record.task, record.result) == (1, "docker-build", "built")
    assert record.args["NAME"] == "y"
    content = hashlib.sha256(b"package main\n").hexdigest()
    assert record.files["app/main.go"] == File(mode="100644", size=13, digest=content)
    assert [one.text for one in record.instructions] == DOCKERFILE.splitlines()
    (step,) = record.steps
    assert (step.name, step.cached, step.seconds) == ("[1/1] COPY app /app", False, 1.0)
    assert json.loads(path.read_text("utf-8"))["steps"][0]["instruction"] == "COPY app /app"
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_the_second_build_says_why(project: Path) -> None:
    assert "file changed" not in _build(project, Docker())
    (project / "app/main.go").write_text("package other\n", encoding="utf-8")
    shown = _build(project, Docker())
    assert "    1.0 s [1/1] COPY app /app\n          file changed: app/main.go\n" in shown
    newest = _store(project).read(_store(project).paths()[0])
    assert newest.steps[0].cause == "file changed: app/main.go"
    assert "file changed" not in _build(
        project, Docker(_vertex("1", "[1/1] COPY app /app", cached=True))
    )


def test_what_a_build_from_the_cache_records_does_not_depend_on_the_number_of_files(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        (project / f"app/{number}").touch()
    # As if they were older: their digests are kept.
    monkeypatch.setattr("buildlib.records.files._RACY", -1)
    _build(project, Docker())
    looks = Mock(side_effect=Redaction.text)
    monkeypatch.setattr(Redaction, "text", partialmethod(looks))
    reads = Mock()
    monkeypatch.setattr(RecordStore, "read", reads)
    _build(project, Docker(_vertex("1", "[1/1] COPY app /app", cached=True)))
    assert looks.call_count < 100
    assert not reads.called, "nothing ran, so nothing is compared"


def test_the_layers_of_an_image_are_asked_of_the_engine_if_a_step_ran(project: Path) -> None:
    steps = ("COPY app /app", 0), ("RUN |1 API_TOKEN=hidden-1 /bin/sh -c x", 9), ("the base", 7)
    history = [json.dumps({"CreatedBy": made_by, "Size": str(size)}) for made_by, size in steps]
    made = [_vertex("1", "[1/1] COPY app /app"), _vertex("2", "exporting to image")]
    for lines in (made, [_vertex("1", "[1/1] COPY app /app", cached=True), made[1]]):
        docker = Docker(*lines)
        docker.answers["docker", "history"] = Completed(code=0, stdout="\n".join(history))
        _build(project, docker, output="load")
    cached, ran = map(_store(project).read, _store(project).paths())
    assert ran.layers == (
        Layer("linux/amd64", 7, "the base"),
        Layer("linux/amd64", 9, f"RUN |1 API_TOKEN={HIDDEN} /bin/sh -c x"),
    )
    assert cached.layers == ()


def test_the_layers_of_an_archive_are_read_from_it(project: Path, tmp_path: Path) -> None:
    writer = OciWriter()
    layers = [writer.layer({"a": b"x"}), writer.layer({"b": b"y"})]
    made_by: list[dict[str, object]] = [{"created_by": "base"}, {"created_by": "COPY b /"}]
    image = writer.image(layers, made_by)
    docker = Docker()
    docker.archive = writer.write(tmp_path / "image.tar", image).read_bytes()
    _build(project, docker, output="oci")
    (record,) = map(_store(project).read, _store(project).paths())
    assert [one.made_by for one in record.layers] == ["base", "COPY b /"]
    assert [one.size for one in record.layers] == [one["size"] for one in layers]
    assert Path(record.archive).is_file()


def test_a_secret_in_the_name_of_a_file_is_replaced(project: Path) -> None:
    secret = "ghp_" + "x" * 36
    (project / f"app/{secret}").touch()
    _build(project, Docker())
    (path,) = _store(project).paths()
    assert secret not in path.read_text("utf-8")
    files = _store(project).read(path).files
    assert "app/main.go" in files
    assert any(name.startswith(f"app/{HIDDEN}") for name in files)


@pytest.mark.parametrize(
    ("docker", "result"),
    [
        (Docker(code=1), "failed"),
        (Docker(error=CancelledError("interrupted")), "interrupted"),
        (Docker(error=KeyboardInterrupt()), "interrupted"),
    ],
)
def test_a_build_that_did_not_end_well_leaves_a_record(
    project: Path, docker: Docker, result: str
) -> None:
    _build(project, docker)
    store = _store(project)
    (record,) = map(store.read, store.paths())
    assert record.result == result
    assert [one.name for one in record.steps] == ["[1/1] COPY app /app"]


def test_records_are_turned_off(project: Path) -> None:
    (project / "buildlib.toml").write_text('image = "thing"\nrecords = false\n', encoding="utf-8")
    _build(project, Docker())
    assert not (project / "state").exists()


def test_records_are_kept_elsewhere_and_out_of_the_context(project: Path) -> None:
    text = 'image = "thing"\n[records]\ndirectory = "app/kept"\n'
    (project / "buildlib.toml").write_text(text, encoding="utf-8")
    _build(project, Docker())
    (record,) = (project / "app/kept").glob("2*.json")
    _build(project, Docker())
    newest = read_record(max((project / "app/kept").glob("2*.json")).read_text("utf-8"), "x")
    assert not [path for path in newest.files if "kept/" in path]
    assert record.is_file()


@pytest.mark.parametrize("kind", ["a file", "no permission", "full"])
def test_a_directory_that_can_not_be_written_never_fails_a_build(
    project: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "a file":
        (project / "state").write_text("", encoding="utf-8")
    else:
        number, text = (
            (13, "Permission denied") if kind == "no permission" else (28, "No space left")
        )

        def refuse(*_: object, **__: object) -> None:
            raise OSError(number, text)

        monkeypatch.setattr("buildlib.records.store.write_file", refuse)
    shown = _build(project, Docker())
    assert shown.count("no record of this build is kept") == 1
    assert "records = false turns records off" in shown


def test_a_failed_build_whose_files_take_too_long_says_so_and_keeps_what_is_hashed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, gone, ended = project / "app/main.go", str(project / "app/other.go"), Event()
    store = _store(project)
    store.folder.mkdir(parents=True)
    store.hashes.write_text(json.dumps({gone: [1, 2, 3, 4, "d"]}), encoding="utf-8")

    def read(_: Path, __: object, ___: object, hashes: Hashes) -> Taken:
        hashes.digest(str(app), app.stat())
        ended.wait(20)
        return Taken({})

    monkeypatch.setattr("buildlib.records.files._RACY", -1)
    monkeypatch.setattr("buildlib.build.recording.read_files", read)
    monkeypatch.setattr("buildlib.build.recording._PATIENCE", 0.5)
    try:
        shown = _build(project, Docker(code=1))
    finally:
        ended.set()
    assert shown.count("no record of this build is kept: its files were not read within") == 1
    assert store.paths() == []
    assert set(json.loads(store.hashes.read_text("utf-8"))) == {str(app), gone}


@pytest.mark.parametrize(
    "env", [{}, {"HOME": "/nonexistent"}, {"HOME": ""}, {"XDG_STATE_HOME": "relative", "HOME": ""}]
)
def test_without_a_home_nothing_is_kept(project: Path, env: dict[str, str]) -> None:
    assert open_store(load_config(project, {}), env) is None


def test_the_state_directory_is_below_the_home_by_default(project: Path, tmp_path: Path) -> None:
    store = open_store(load_config(project, {}), {"HOME": str(tmp_path)})
    assert store
    assert store.folder.parent == tmp_path / ".local/state/buildlib"
    assert store.folder.name.startswith("thing-")


@pytest.mark.parametrize("folder", [".", "./", "a/..", "~nobodyhere/x"])
def test_a_directory_that_can_not_be_meant_is_refused(project: Path, folder: str) -> None:
    text = f'image = "thing"\n[records]\ndirectory = "{folder}"\n'
    (project / "buildlib.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"records\.directory"):
        load_config(project, {})


@pytest.mark.parametrize("folder", ["..", "{root}", "~", "/"])
def test_a_directory_that_contains_the_project_is_refused(project: Path, folder: str) -> None:
    env = {"HOME": str(project.parent)}
    text = f'image = "thing"\n[records]\ndirectory = "{folder.format(root=project)}"\n'
    (project / "buildlib.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="records can't be kept in"):
        open_store(load_config(project, {}), env)
    # Nothing there counts as written by tasks.
    assert written_folders(a_project(project, env=env)) == ("dist",)


def test_the_home_directory_is_that_of_the_environment(project: Path, tmp_path: Path) -> None:
    text = 'image = "thing"\n[records]\ndirectory = "~/kept"\n'
    (project / "buildlib.toml").write_text(text, encoding="utf-8")
    config = load_config(project, {})
    store = open_store(config, {"HOME": str(tmp_path / "home")})
    assert store
    assert store.folder == tmp_path / "home/kept"
    assert open_store(config, {}) is None


def test_the_oldest_records_are_removed(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "r", keep=3, days=90)
    ids = [new_id(1_700_000_000 + n) for n in range(2)]
    for one in ids:
        store.write(Record(id=one))
    assert store.paths() == []
    left, new = (store.folder / f".{one}-x.json.1" for one in (ids[0], new_id()))
    for path in (left, new):
        path.touch()
    recent = [new_id() for _ in range(5)]
    for one in sorted(recent):
        store.write(Record(id=one))
    assert [path.name.rpartition("-")[0] for path in store.paths()] == sorted(recent)[:1:-1]
    assert (left.exists(), new.exists()) == (False, True)


def test_many_writers_do_not_disturb_each_other(tmp_path: Path) -> None:
    def write(_: int) -> bytes:
        store = RecordStore(tmp_path / "r", keep=100, days=9)
        store.write(Record(id=new_id(), image="thing"))
        return store.key()

    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(write, range(40)))
    store = RecordStore(tmp_path / "r", keep=100, days=9)
    assert len(list(store.usable())) == 40
    assert keys == {store.key()}
    assert {path.suffix for path in store.folder.iterdir()} == {"", ".json"}


def test_a_damaged_record_and_a_newer_one_are_passed_over(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "r", keep=9, days=9)
    first = Record(id=new_id(), image="thing")
    store.write(first)
    whole = first.as_json()
    wrong = ("", "[]", '{"schema": 1}', '{"schema": 1e400}', "\xff")
    for number, text in enumerate((whole[: len(whole) // 2], *wrong)):
        (store.folder / f"3000010{number}-x-{first.key}.json").write_text(text, encoding="latin-1")
    newer = whole.replace('"schema":1', '"schema":2')
    (store.folder / f"30000200-x-{first.key}.json").write_text(newer, encoding="utf-8")
    assert list(store.usable()) == [first]
    problems = []
    for path in store.paths()[:-1]:
        with pytest.raises(RecordError) as caught:
            store.read(path)
        problems.append(caught.value.what.rpartition(" is ")[2])
    assert problems[0] == "of a newer version of buildlib"
    assert len(problems) == 7


def test_the_last_record_is_of_the_same_builder_if_there_is_one(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "r", keep=9, days=9)
    records = [
        Record(id=f"{new_id()[:15]}.{n}", image=image, builder=builder)
        for n, (image, builder) in enumerate((("a", ""), ("a", "farm"), ("b", ""), ("a", "other")))
    ]
    for one in records:
        store.write(one)
    later = f"{new_id()[:15]}.9"
    assert store.last(Record(id=later, image="a")) == records[0]
    assert store.last(Record(id=later, image="a", builder="new")) == records[3]
    assert store.last(Record(id=later, image="b", target="t")) is None


def test_a_record_is_read_as_it_was_written() -> None:
    record = Record(
        id="1",
        args={"A": "b"},
        instructions=(InstructionText("RUN <<E", "x\nE"),),
        files={
            "a": File(mode="100644", size=1, digest="d"),
            "\udcff": File(mode="", size=0, digest=""),
        },
        steps=(Step(digest="1", name="[a 1/2] RUN x", inputs=("2",), log=("x",)),),
        git={"dirty": True},
    )
    assert read_record(record.as_json(), "x") == record


# Secrets of every kind that a build may meet, and where each gets into a record.
SECRET = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=8, max_size=30).map(
    lambda text: f"Zq{text}"
)


@given(secret=SECRET, other=SECRET)
def test_nothing_secret_is_in_a_record(
    secret: str, other: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = write_project(
        tmp_path_factory.mktemp("p"),
        dockerfile=f"FROM scratch\nENV API_TOKEN={other}\nCOPY app /app\nRUN echo {secret}\n",
    )
    address = f"https://me:{secret}@example.org/x"
    log = json.dumps({"logs": [{"vertex": "1", "data": _encoded(f"{secret}\n{address}\n")}]})
    docker = Docker(
        _vertex("1", f"[1/2] COPY app /app {other}", completed=None),
        log,
        _vertex("2", f"[2/2] RUN echo {secret}", error=f"failed: {address} {other}"),
        code=1,
    )
    shown = _build(
        root,
        docker,
        {"KEY": secret, "HTTP_PROXY": address},
        secrets=("id=key,env=KEY",),
    )
    (path,) = _store(root).paths()
    text = path.read_text("utf-8")
    assert HIDDEN in text
    assert secret not in text
    assert other not in text
    assert "no record" not in shown


def test_a_secret_that_is_written_in_a_command_is_in_no_record(project: Path) -> None:
    written = "RUN DB_PASSWORD='opened-1' make", "RUN <<E\nexport API_TOKEN=opened-2\nmake\nE"
    (project / "Dockerfile").write_text("\n".join(("FROM scratch", *written, "")), "utf-8")
    log = json.dumps({"logs": [{"vertex": "1", "data": _encoded("opened-1 is wrong\n")}]})
    docker = Docker(_vertex("1", f"[1/2] {written[0]}", completed=None), log, code=1)
    _build(project, docker)
    (path,) = _store(project).paths()
    assert "opened" not in path.read_text("utf-8")
    (record,) = _store(project).usable()
    assert record.steps[0].name.startswith(f"[1/2] RUN DB_PASSWORD='{HIDDEN}")
    assert record.instructions[-1].body.startswith(f"export API_TOKEN={HIDDEN}")


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_a_secret_where_a_line_is_cut_leaves_nothing_of_it(project: Path) -> None:
    secret = "hunter2-and-more"
    line = "x" * 495 + secret
    log = json.dumps({"logs": [{"vertex": "1", "data": _encoded(f"{line}\n" * 120)}]})
    docker = Docker(_vertex("1", "[1/1] RUN x", completed=None), log, code=1)
    _build(project, docker, {"KEY": secret}, secrets=("id=key,env=KEY",))
    (record,) = _store(project).usable()
    kept = record.steps[0].log
    assert len(kept) == 101
    assert {len(one) for one in kept} == {500, len("… 20 lines …")}
    assert not [one for one in kept if "hun" in one]


def test_a_secret_that_another_one_holds_leaves_nothing_of_that() -> None:
    for values in (("hunter", "hunter2-too"), ("hunter2-too", "hunter")):
        assert Redaction(values).text("a hunter2-too, a hunter") == f"a {HIDDEN}, a {HIDDEN}"


def test_a_change_of_a_secret_is_seen_without_its_value(project: Path) -> None:
    text = 'image = "thing"\n[policy]\nallow-names = []\n'
    (project / "buildlib.toml").write_text(text, encoding="utf-8")
    key = b"k" * 32
    one, two = Redaction(key=key), Redaction(key=key)
    assert one.value("API_TOKEN", "hunter2") == two.value("API_TOKEN", "hunter2")
    assert one.value("API_TOKEN", "hunter3") != two.value("API_TOKEN", "hunter2")
    assert Redaction(key=b"x").value("API_TOKEN", "hunter2") != two.value("API_TOKEN", "hunter2")
    assert Redaction().value("API_TOKEN", "hunter2") == HIDDEN
    assert one.text("say hunter2") == f"say {one.mark('hunter2')}"
    assert one.text(one.text("say hunter2")) == one.text("say hunter2")
    assert one.all({"a": ["hunter2", 1]}) == {"a": [one.mark("hunter2"), 1]}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("[2/3] RUN x", ("", "", 2, 3, "RUN x")),
        ("[build  2/13] RUN x", ("", "build", 2, 13, "RUN x")),
        ("[linux/arm64 build 2/3] RUN x", ("linux/arm64", "build", 2, 3, "RUN x")),
        ("[linux/amd64->arm64 b 1/2] RUN x", ("linux/arm64", "b", 1, 2, "RUN x")),
        ("[linux/amd64 1/2] RUN x", ("linux/amd64", "", 1, 2, "RUN x")),
        ("[internal] load build context", ("", "", 0, 0, "")),
        ("exporting to image", ("", "", 0, 0, "")),
    ],
)
def test_the_name_of_a_step_has_parts(name: str, parts: tuple[object, ...]) -> None:
    assert parse_name(name) == parts


def test_of_a_long_log_head_and_tail_are_kept() -> None:
    lines = [str(n) for n in range(1000)]
    kept = short_log(lines[:50], lines[-200:], 1000)
    assert (len(kept), kept[49], kept[50], kept[51]) == (101, "49", "… 900 lines …", "950")
    assert short_log(lines[:50], lines[:60], 60) == tuple(lines[:60])
    assert short_log(lines[:3], lines[:3], 3) == ("0", "1", "2")
    assert short_log(["x" * 900], ["x" * 900], 1) == ("x" * 500,)


def test_a_dockerfile_is_bounded_and_still_compared() -> None:
    long = InstructionText("RUN <<E", "x" * 500_000)
    (kept,) = bounded((long,))
    assert len(kept.text) + len(kept.body) < 100
    assert bounded((long._replace(body="y" * 500_000),)) != (kept,)


def test_files_are_hashed_once_and_again_if_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = tmp_path / "context"
    (context / "src").mkdir(parents=True)
    for name in ("a", "b.log", "src/c"):
        (context / name).write_text(name, encoding="utf-8")
    os.utime(context / "a", (1, 1))
    monkeypatch.setattr("buildlib.records.files._RACY", -1)
    ignore = DockerIgnore(["*.log"])

    def files() -> Mapping[str, File]:
        hashes = Hashes(tmp_path / "hashes")
        found = read_files(context, ("a", "b.log", "src"), ignore, hashes).files
        hashes.save()
        return found

    first = files()
    assert list(first) == ["a", "src", "src/c"]
    monkeypatch.setattr("hashlib.file_digest", None)
    assert files() == first
    monkeypatch.undo()
    (context / "a").write_text("b", encoding="utf-8")
    os.utime(context / "a", (1, 1))
    assert files()["a"] != first["a"]
    (tmp_path / "hashes").write_text('["damaged"]', encoding="utf-8")
    assert files()["src/c"] == first["src/c"]


def test_a_file_that_just_changed_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a", encoding="utf-8")
    hashes = Hashes(tmp_path / "hashes")
    read_files(tmp_path, ("a",), DockerIgnore([]), hashes)
    hashes.save()
    assert not (tmp_path / "hashes").exists()


@pytest.mark.parametrize(
    ("source", "taken"),
    [
        (".", {"a", "src", "src/c", "src/d/e", "x[1]"}),
        ("src/", {"src", "src/c", "src/d/e"}),
        ("./a", {"a"}),
        ("/src/c", {"src/c"}),
        ("*", {"a", "src", "src/c", "src/d/e", "x[1]"}),
        ("src/*/e", {"src/d/e"}),
        ("[a-b]", {"a"}),
        ("nothing", set()),
        ("../a", {"a"}),
        ("[", set()),
    ],
)
def test_what_a_step_takes(source: str, taken: set[str]) -> None:
    paths = ("a", "src", "src/c", "src/d/e", "x[1]")
    takes = matcher((source,))
    assert {path for path in paths if takes(path)} == taken


def test_more_files_than_are_listed_have_one_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildlib.records.files.LISTED", 2)
    for name in "abcd":
        (tmp_path / name).write_text(name, encoding="utf-8")

    def taken() -> tuple[int, int, str]:
        found = read_files(tmp_path, (".",), DockerIgnore([]), Hashes(None))
        return len(found.files), found.unlisted, found.rest

    first = taken()
    assert first[:2] == (2, 2)
    (tmp_path / "d").write_text("x", encoding="utf-8")
    assert taken()[2] != first[2]


def test_a_link_that_is_named_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a", encoding="utf-8")
    (tmp_path / "l").symlink_to("a")
    found = read_files(tmp_path, ("l",), DockerIgnore([]), Hashes(None)).files
    assert found["l"].mode == "100644"
    below = read_files(tmp_path, (".",), DockerIgnore([]), Hashes(None)).files
    assert below["l"].mode == "120777"


def test_buildx_is_asked_once_about_its_builder(project: Path) -> None:
    answer = "Name: b\nDriver: docker\n\nNodes:\nName: n\nBuildKit version: v1\n"
    asked = []
    for _ in range(2):
        docker = Docker()
        docker.answers["docker", "buildx", "inspect"] = Completed(code=0, stdout=answer)
        _build(project, docker)
        asked.append(("docker", "buildx", "inspect") in docker.asked)
    newest = _store(project).read(_store(project).paths()[0])
    assert (newest.driver, newest.node, newest.tools["buildkit"]) == ("docker", "n", "v1")
    assert asked == [True, False]


def test_buildx_is_asked_again_after_a_day_and_about_a_builder_that_was_created_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = project / "buildx/instances/farm"
    instance.parent.mkdir(parents=True)
    instance.touch()
    env = {"BUILDX_CONFIG": str(project / "buildx"), "BUILDX_BUILDER": "farm"}
    answer = "Name: farm\nDriver: remote\n\nNodes:\nName: n\nBuildKit version: v1\n"

    def asks() -> bool:
        docker = Docker()
        docker.answers["docker", "buildx", "inspect"] = Completed(code=0, stdout=answer)
        _build(project, docker, env)
        return ("docker", "buildx", "inspect") in docker.asked

    assert [asks(), asks()] == [True, False]
    os.utime(instance, (1, 1))
    assert [asks(), asks()] == [True, False]
    monkeypatch.setattr("buildlib.build.recording._FRESH", -1)
    assert asks()


@pytest.mark.parametrize("name", ["builders", "hashes"])
def test_a_record_is_kept_where_nothing_beside_it_can_be_written(
    project: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left")

    module = {"builders": "buildlib.build.recording", "hashes": "buildlib.records.files"}[name]
    monkeypatch.setattr("buildlib.records.files._RACY", -1)
    monkeypatch.setattr(f"{module}.write_file", refuse)
    answer = "Name: b\nDriver: docker\n\nNodes:\nName: n\nBuildKit version: v1\n"
    docker = Docker()
    docker.answers["docker", "buildx", "inspect"] = Completed(code=0, stdout=answer)
    assert "no record" not in _build(project, docker)
    (record,) = _store(project).usable()
    assert record.node == "n"


def test_a_summary_that_can_not_be_written_is_not_taken_for_the_record(project: Path) -> None:
    shown = _build(project, Docker(), {"GITHUB_STEP_SUMMARY": str(project)})
    assert "no record" not in shown
    assert shown.count(f"no summary of this build is written: can't write to {project}: ") == 1
    assert len(_store(project).paths()) == 1


@pytest.mark.parametrize(
    ("text", "variable", "name"),
    [
        ('{"Key": "x", "Name": "farm"}', "", "farm"),
        ('{"Key": "x", "Name": "farm"}', "other", "other"),
        ('{"Key": "x", "Name": ""}', "", ""),
        ("{", "", ""),
        ("[]", "", ""),
    ],
)
def test_the_builder_in_use_is_on_record(
    project: Path, text: str, variable: str, name: str
) -> None:
    (project / "buildx").mkdir()
    (project / "buildx/current").write_text(text, encoding="utf-8")
    env = {"BUILDX_CONFIG": str(project / "buildx"), "BUILDX_BUILDER": variable}
    _build(project, Docker(), env)
    (record,) = _store(project).usable()
    assert record.builder == name


def test_the_builder_of_the_configuration_is_on_record(project: Path) -> None:
    (project / "buildlib.toml").write_text('image = "thing"\nbuilder = "farm"\n', encoding="utf-8")
    answer = "Name: farm\nDriver: remote\n\nNodes:\nName: n\nStatus: running\n"
    docker = Docker()
    docker.answers["docker", "buildx", "inspect"] = Completed(code=0, stdout=answer)
    _build(project, docker)
    (record,) = _store(project).usable()
    assert record.builder == "farm"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("argv", "x"),
        ("argv", [1]),
        ("args", []),
        ("args", {"A": 1}),
        ("seconds", None),
        ("id", 1),
        ("gates", [1]),
        ("registries", ["x"]),
        ("registries", [{"tags": 1}]),
        ("files", {"a": [1, 2, 3]}),
        ("files", {"a": ["100644", "2", "d"]}),
        ("files", {"a": ["100644", 2]}),
        ("instructions", [{"text": 1, "body": ""}]),
        ("instructions", [{"text": "RUN x", "body": None}]),
        ("steps", [1]),
        ("layers", [{"platform": "x", "size": "1", "made_by": ""}]),
        ("layers", [{"platform": "x", "size": 1}]),
        ("largest", [1]),
        ("packages", {"x": 1}),
        ("packages", {"x": {"name": 1}}),
    ],
)
def test_a_record_whose_values_are_something_else_is_damaged(key: str, value: object) -> None:
    data = json.loads(Record(id="1", steps=(Step(digest="d", name="n"),)).as_json())
    assert read_record(json.dumps(data), "one").id == "1"
    with pytest.raises(RecordError, match="damaged"):
        read_record(json.dumps({**data, key: value}), "one")
    with pytest.raises(RecordError, match="damaged"):
        read_record("[" * 100_000, "one")


def test_pipes_in_the_place_of_records_are_not_waited_for(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "records", keep=5, days=5)
    record = Record(id=new_id())
    store.write(record)
    (path,) = store.paths()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(RecordError, match="can't be read"):
        store.read(path)
    os.mkfifo(store.hashes)
    Hashes(store.hashes).save()
    assert store.last(Record(id=new_id())) is None
