"""The words that a shell completes."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildlib.commands.completion import SCRIPTS
from buildlib.config.load import load_config
from buildlib.records.record import Record, Step
from buildlib.records.store import open_store
from buildlib.tasks.collection import TASKS
from buildlib.tasks.completion import Completion, completed_words
from buildlib.tasks.options import context_of
from buildlib.tasks.values import FINDERS, Values

from fakes import write_project

NAMES = dict(TASKS)
CONFIG = """\
image = "r.io/me/x"
platforms = ["linux/amd64", "linux/arm64"]
records = { directory = "records" }
[registries.one]
repository = "r.io/me/x"
[registries.two]
repository = "b.io/x"
[builders.farm]
driver = "docker-container"
"""
DOCKERFILE = "FROM scratch AS compile\nFROM scratch\nFROM scratch AS final\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_project(tmp_path, CONFIG, DOCKERFILE)
    (tmp_path / "dist").mkdir()
    (tmp_path / "records").mkdir()
    for name in ("20260101T000000.000Z-1-0a", "20260102T000000.000Z-2-0a"):
        (tmp_path / "records" / f"{name}.json").touch()
    (tmp_path / "dist" / "thing-1.2.3.oci.tar").touch()
    tags = tmp_path / ".git" / "refs" / "tags"
    (tags / "cli").mkdir(parents=True)
    for name in ("v1.9.0", "cli/v2.0.0", "v3.0.0-$(touch x)"):
        (tags / name).touch()
    packed = f"# pack-refs with: peeled\n{'a' * 40} refs/tags/v1.10.0\n^{'b' * 40}\n"
    (tmp_path / ".git" / "packed-refs").write_text(packed, encoding="utf-8")
    instances = tmp_path / "buildx" / "instances"
    instances.mkdir(parents=True)
    (instances / "other").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _candidates(root: Path, line: str, *, complete: bool = True) -> list[str] | None:
    values = Values(root, {"BUILDX_CONFIG": str(root / "buildx")})
    return Completion(NAMES, values, complete=complete).candidates(line.split(" "))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("docker-build --platform ", "linux/amd64 linux/arm64 all"),
        (
            "docker-build --verbose --platform linux/amd64 --platform l",
            "linux/amd64 linux/arm64 all",
        ),
        ("docker-run --platform ", "linux/amd64 linux/arm64"),
        (
            "docker-build --platform=",
            "--platform=linux/amd64 --platform=linux/arm64 --platform=all",
        ),
        # As the scripts of Invoke pass it, where nothing of the value is typed yet.
        ("docker-builder create --name", "farm"),
        ("docker-build --builder ", "farm other"),
        ("docker-build --output ", "load push oci local cacheonly"),
        ("docker-build --progress ", "auto plain tty rawjson quiet none"),
        ("docker-build --target ", "compile final"),
        ("docker-build --no-cache-filter ", "compile final"),
        ("docker-build --call ", "check outline targets"),
        ("docker-build --network ", "default none host"),
        ("docker-builder ", "create status remove"),
        ("docker-publish --registry ", "one two"),
        ("docker-publish --skip-gate ", "smoke policy size scan sbom reproducible diff sign"),
        ("docker-run --pull-policy ", "always missing never"),
        ("docker-scan --severity ", "negligible low medium high critical"),
        ("docker-shell --command ", "sh bash ash"),
        ("docker-rehearse --tag ", "major minor patch prerelease"),
        ("docker-rollback --version ", "1.10.0 1.9.0"),
        ("docker-promote sha256:1 ", "latest 1.10.0 1.9.0"),
        (
            "docker-size --image ",
            "r.io/me/x:latest dist/thing-1.2.3.oci.tar r.io/me/x:1.10.0 r.io/me/x:1.9.0",
        ),
        ("version --next ", "major minor patch prerelease"),
        ("tag ", "major minor patch prerelease"),
        ("completion ", "bash zsh fish"),
        ("init --template ", "go python node"),
        ("doctor --for ", "build run policy smoke scan sbom sign publish rehearse builders"),
        # Files, which the shell completes, or anything.
        ("docker-smoke --junit ", ""),
        ("docker-build --tag x", ""),
        ("docker-run -- ", ""),
        ("docker-report --id ", "20260102T000000.000Z-2 20260101T000000.000Z-1"),
        ("docker-report --output ", ""),
    ],
)
def test_values_are_those_of_the_project(root: Path, line: str, found: str) -> None:
    assert _candidates(root, line) == found.split()


def test_the_values_of_several_images_are_those_of_each(root: Path) -> None:
    (root / "worker.Dockerfile").write_text("FROM scratch AS worker\n", encoding="utf-8")
    text = f"{CONFIG}[images.api]\n[images.worker]\ndockerfile = 'worker.Dockerfile'\n"
    text += "platforms = ['linux/riscv64']\nimage = 'w'\ntag-prefix = 'cli/v'\n"
    (root / "buildlib.toml").write_text(text, encoding="utf-8")
    assert _candidates(root, "docker-build --only ") == ["api", "worker"]
    platforms = ["linux/amd64", "linux/arm64", "linux/riscv64", "all"]
    assert _candidates(root, "docker-build --platform ") == platforms
    assert _candidates(root, "docker-build --target ") == ["compile", "final", "worker"]
    assert _candidates(root, "docker-rollback --version ") == ["1.10.0", "1.9.0", "2.0.0"]
    images = _candidates(root, "docker-size --image ")
    assert images is not None
    assert images[-2:] == ["w:latest", "w:2.0.0"]


def test_references_are_those_of_each_registry(root: Path) -> None:
    tags = ("latest", "1.10.0", "1.9.0")
    expected = [f"{one}:{tag}" for one in ("r.io/me/x", "b.io/x") for tag in tags]
    assert _candidates(root, "docker-verify ") == expected


@pytest.mark.parametrize(
    "line",
    ["", "docker-bu", "version ", "tag minor ", "docker-build --pull ", "--echo ", "--help "],
)
def test_tasks_are_completed_where_one_can_be(root: Path, line: str) -> None:
    assert _candidates(root, line) == list(NAMES)


def test_options_are_those_of_the_task_before_the_word(root: Path) -> None:
    found = _candidates(root, "version docker-build --pl")
    assert found is not None
    assert {"--platform", "--no-cache"} <= set(found)
    assert "--json" in found
    assert "--explain" not in found
    core = _candidates(root, "-")
    assert core is not None
    assert {"--list", "--help", "-h"} <= set(core)


def test_beside_other_tasks_only_values_of_ours_are_completed(root: Path) -> None:
    assert _candidates(root, "docker-bu", complete=False) is None
    assert _candidates(root, "docker-build --pl", complete=False) is None
    for line in ("theirs --platform ", "--help ", "--collection ", "docker-run -- "):
        assert _candidates(root, line, complete=False) is None
    assert _candidates(root, "docker-builder ", complete=False) == ["create", "status", "remove"]
    assert _candidates(root, "theirs docker-builder ", complete=False) == [
        "create",
        "status",
        "remove",
    ]


def test_what_a_shell_would_run_is_left_out(root: Path) -> None:
    (root / "buildlib.toml").write_text(
        'image = "thing"\nversion-scheme = "any"\ntag-prefix = ""\n'
    )
    for name in ("1$(touch x)", "2;ls", "3`id`", "4&", "5"):
        (root / ".git" / "refs" / "tags" / name).touch()
    assert _candidates(root, "docker-rollback --version ") == ["5"]


@pytest.mark.parametrize("text", ["image = ", "imago = 1\n", 'image = "t"\nplatforms = 3\n'])
def test_a_wrong_configuration_completes_nothing(root: Path, text: str) -> None:
    (root / "buildlib.toml").write_text(text, encoding="utf-8")
    assert _candidates(root, "docker-build --platform ") == []
    assert _candidates(root, "docker-builder ") == ["create", "status", "remove"]


def test_the_tags_of_a_work_tree_are_those_of_its_repository(root: Path) -> None:
    tree = root / "tree"
    tree.mkdir()
    own = root / ".git" / "worktrees" / "tree"
    own.mkdir(parents=True)
    (own / "commondir").write_text("../..\n", encoding="utf-8")
    (tree / ".git").write_text("gitdir: ../.git/worktrees/tree\n", encoding="utf-8")
    (tree / "buildlib.toml").write_text(CONFIG, encoding="utf-8")
    assert _candidates(tree, "docker-rollback --version ") == ["1.10.0", "1.9.0"]


def test_steps_are_those_of_the_last_record(root: Path) -> None:
    assert _candidates(root, "docker-why --step ") == []
    store = open_store(load_config(root, {}), {})
    assert store
    names = ("[a 1/2] COPY a /", "[a 2/2] RUN b", "exporting")
    store.write(
        Record(
            id="30000101T000000.000Z-1",
            task="docker-build",
            image="r.io/me/x",
            version="1",
            started="3000-01-01T00:00:00.000+00:00",
            steps=tuple(Step(digest=name, name=name) for name in names),
        )
    )
    assert _candidates(root, "docker-why --step ") == ["1/2", "2/2"]


def test_each_finder_is_of_an_option_that_there_is() -> None:
    options = {
        f"{name} {option.names[0]}"
        for name, task in NAMES.items()
        for option in context_of(name, task).args.values()
        if option.takes_value
    }
    known = options | {option.partition(" ")[2] for option in options}
    assert set(FINDERS) <= known


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("invoke --complete -- invoke docker-bu", ["docker-bu"]),
        ("buildlib --complete -- .venv/bin/buildlib a ", ["a", ""]),
        ("invoke --complete -- inv", [""]),
        ("invoke -c x --complete -- inv a", ["a"]),
        ("invoke docker-run -- --complete", None),
        ("invoke --complete", None),
        ("invoke", None),
    ],
)
def test_the_words_follow_the_program(line: str, words: list[str] | None) -> None:
    assert completed_words(line.split(" ")) == words


def test_the_scripts_complete_every_program() -> None:
    assert list(SCRIPTS) == ["bash", "zsh", "fish"]
    for text in SCRIPTS.values():
        assert "buildlib invoke inv" in text
        assert "PROGRAMS" not in text
