"""Tasks that need no engine, as a user runs them: output, exit code, nothing left behind."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import MEASURED, Checkout
from gitscript import commit_all

Make = Callable[..., Checkout]
INFO = '{"ServerVersion": "%s", "ClientInfo": {"Version": "28.2.2", "Plugins": %s}}'


def _committed(checkout: Checkout, *tags: str) -> Checkout:
    commit_all(checkout.root, *tags)
    return checkout


def _with_docker(folder: Path, script: str) -> str:
    """Return a PATH on which docker is a script, and git is the real one."""
    folder.mkdir()
    (folder / "docker").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (folder / "docker").chmod(0o755)
    return f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin"


def test_local_tags_are_those_of_the_build_and_of_what_runs(make_checkout: Make) -> None:
    config = 'local-tags = ["{version}"]\n'
    checkout = _committed(make_checkout("FROM scratch AS final\n", config), "v1.2.3")
    built = checkout.invoke("docker-build", "--dry-run").stdout.split()
    tags = [word for before, word in pairwise(built) if before == "--tag"]
    assert tags == [f"{checkout.image}:1.2.3"]
    ran = checkout.invoke("docker-run", "--no-build", "--no-socket", "--dry-run")
    assert ran.stdout.split()[-1] == f"{checkout.image}:1.2.3"
    # Without latest, the name of the container is that of the image as well.
    assert f" --name {checkout.image} " in ran.stdout


def test_version_prints_the_version_and_nothing_else(make_checkout: Make) -> None:
    done = _committed(make_checkout(), "v1.2.3").invoke("version")
    assert (done.returncode, done.stdout, done.stderr) == (0, "1.2.3\n", "")


def test_version_as_json_has_every_field(make_checkout: Make) -> None:
    checkout = _committed(make_checkout(), "v1.2.3")
    found = json.loads(checkout.invoke("version", "--json").stdout)
    head = checkout.git("rev-parse", "HEAD")
    expected = {
        "version": "1.2.3",
        "describe": "v1.2.3",
        "tag": "v1.2.3",
        "distance": 0,
        "revision": head,
        "dirty": False,
        "prerelease": False,
        "created": "2024-01-02T03:04:05Z",
        "tags": ["1.2.3", "latest"],
    }
    assert found == found | expected


def test_version_without_git_warns_on_stderr(make_checkout: Make) -> None:
    done = make_checkout().invoke("version")
    assert done.stdout == "0.0.1-SNAPSHOT-none\n"
    assert "not a git repository" in done.stderr


def test_a_task_works_from_a_directory_below(make_checkout: Make) -> None:
    checkout = _committed(make_checkout(), "v1.2.3")
    (checkout.root / "deep" / "er").mkdir(parents=True)
    below = Checkout(checkout.root / "deep" / "er", checkout.image)
    assert below.invoke("version").stdout == "1.2.3\n"


def test_config_tells_every_value_and_its_source(make_checkout: Make) -> None:
    checkout = make_checkout(config='platforms = ["linux/amd64"]\n[smoke]\nport = 80\n')
    found = json.loads(checkout.invoke("config", "--json", BUILDLIB_BUILDER="b").stdout)
    assert found["image"] == {"value": checkout.image, "source": "file (buildlib.toml)"}
    assert found["platforms"]["value"] == ["linux/amd64"]
    assert found["builder"] == {"value": "b", "source": "environment (BUILDLIB_BUILDER)"}
    assert found["dockerfile"] == {"value": "Dockerfile", "source": "default"}
    assert found["smoke"]["value"]["port"] == 80
    text = checkout.invoke("config").stdout
    assert [line for line in text.splitlines() if line.startswith("image ")]


def test_config_tells_no_secret(make_checkout: Make) -> None:
    keys = 'source = "https://me:hunter2@example.org/x"\ncache-to = ["type=gha,token=hunter2"]\n'
    checkout = make_checkout(config=f'{keys}[build-args]\nX = "http://me:hunter2@example.org"\n')
    for words in (["config"], ["config", "--json"]):
        shown = checkout.invoke(*words).stdout
        assert "https://***@example.org/x" in shown
        assert "hunter2" not in shown


@pytest.mark.unmeasured
def test_every_task_has_help(make_checkout: Make) -> None:
    checkout = make_checkout()
    listing = checkout.invoke("--list").stdout
    for task in (
        "binary",
        "clean",
        "config",
        "docker-build",
        "docker-builder",
        "docker-smoke",
        "docker-run",
        "docker-stop",
        "docker-logs",
        "docker-shell",
        "docker-status",
        "docker-clean",
        "docker-size",
        "docker-reproduce",
        "doctor",
        "tag",
        "version",
    ):
        assert task in listing
        done = checkout.invoke("--help", task)
        assert done.returncode == 0
        assert "Docstring:\n  none" not in done.stdout
        assert "none\n\nOptions" not in done.stdout


def test_the_dry_run_of_two_builds_is_two_lines(make_checkout: Make, tmp_path: Path) -> None:
    checkout = make_checkout(config='platforms = ["linux/amd64", "linux/arm64"]\n')
    path = _with_docker(tmp_path / "bin", "exit 9")
    (tmp_path / "t").mkdir()
    for words in (("docker-reproduce", "--dry-run"), ("--dry", "docker-reproduce")):
        done = checkout.invoke(*words, PATH=path, TMPDIR=str(tmp_path / "t"))
        assert done.returncode == 0, done.stderr
        lines = [line.partition(" && ") for line in done.stdout.splitlines()]
        assert [made.split()[0] for made, _, _ in lines] == ["mkdir", "mkdir"]
        first, second = (shlex.split(line) for _, _, line in lines)
        assert first[:3] == second[:3] == ["docker", "buildx", "build"]
        assert "--no-cache" in first
        assert "linux/amd64,linux/arm64" in second
        assert first[-1] != second[-1]
    assert list((tmp_path / "t").iterdir()) == []


def test_a_check_that_there_is_none_of_is_told_before_the_build(make_checkout: Make) -> None:
    config = 'smoke = { commands = [["--help"]], version-command = ["version"], policy = false }\n'
    checkout = make_checkout(config=config)
    for words in ([], ["--dry-run"]):
        done = checkout.invoke("docker-smoke", "--check", "--help", "--check", "nosuch", *words)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert "no check is called nosuch" in done.stderr
        assert "there are: --help; version of the program; version in the label" in done.stderr
        assert "docker buildx build" not in done.stderr


BAD = {
    "a build arg without a name": (["--build-arg", "=x"], {}, "without a usable name"),
    "a build arg that is a secret": (["--build-arg", "API_TOKEN=x"], {}, "--secret id=API_TOKEN"),
    "a secret that is none": (["--secret", "foo"], {}, "id=NAME,env=NAME"),
    "an unknown platform": (["--platform", "linux/amd46"], {}, "did you mean linux/amd64"),
    "one of docker's variable": (
        [], {"DOCKER_DEFAULT_PLATFORM": "nope"}, "DOCKER_DEFAULT_PLATFORM has it\n  known: "),
    "one of our variable": (
        [], {"BUILDLIB_PLATFORMS": "nope"}, "platforms from environment (BUILDLIB_PLATFORMS)"),
    "all platforms where none is configured": (["--platform", "all"], {}, "none is configured"),
    "a push to nowhere": (["--push"], {}, "no registry is named"),
    "a push to nowhere in buildx's words": (
        ["--output", "type=registry"], {}, "no registry is named"),
    "a push that contradicts the output": (["--push", "--output", "load"], {}, "contradicts"),
    "an unknown progress": (["--progress", "plan"], {}, "did you mean plain"),
    "an unknown output": (["--output", "laod"], {}, "did you mean load"),
    "a stage that is not there": (["--target", "finl"], {}, "did you mean final"),
    "a tag that is none": (["--tag", "..."], {}, "not a tag"),
    "two tags that come to one": (["--tag", "a+b", "--tag", "a/b"], {}, "both be the tag a-b"),
    "a version with a blank": (["--version", "1 2"], {}, "not a version"),
    "a negative epoch": ([], {"SOURCE_DATE_EPOCH": "-1"}, "SOURCE_DATE_EPOCH"),
    "an epoch that is no number": ([], {"SOURCE_DATE_EPOCH": "soon"}, "SOURCE_DATE_EPOCH"),
    "a map that is not there": ([], {"BUILDLIB_BASE_IMAGES": "/no"}, "can't be read"),
    "an undeclared build arg when strict": (["--strict", "--build-arg", "Y=1"], {}, "no ARG Y"),
}  # fmt: skip


@pytest.mark.unmeasured
@pytest.mark.parametrize(("words", "env", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_with_code_2(
    make_checkout: Make, words: list[str], env: dict[str, str | None], message: str
) -> None:
    checkout = make_checkout("FROM scratch AS final\n")
    for dry in (["--dry-run"], []):
        done = checkout.invoke("docker-build", *words, *dry, **env)
        assert done.returncode == 2, done.stderr
        assert message in done.stderr
        assert done.stdout == ""
        assert "Traceback" not in done.stderr


BROKEN = {
    "an unknown key": ('image = "x"\nplatfrms = []\n', "FROM x\n", "", "did you mean platforms"),
    "bad TOML": ("image = = 1\n", "FROM scratch\n", "", "line 1"),
    "no Dockerfile": ('image = "x"\ndockerfile = "No"\n', "", "", "Dockerfile not found"),
    "no context": ('image = "x"\ncontext = "no"\n', "FROM x\n", "", "build context not found"),
    "a source that is ignored": ('image = "x"\n', "FROM x\nCOPY tasks.py /\n", "*\n", "!tasks.py"),
    "an empty Dockerfile": ('image = "x"\n', "", "", "has no FROM"),
}  # fmt: skip


@pytest.mark.unmeasured
@pytest.mark.parametrize(("config", "dockerfile", "ignore", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_repository_is_refused_with_code_2(
    make_checkout: Make, config: str, dockerfile: str, ignore: str, message: str
) -> None:
    checkout = make_checkout(dockerfile)
    (checkout.root / "buildlib.toml").write_text(config, encoding="utf-8")
    (checkout.root / ".dockerignore").write_text(ignore, encoding="utf-8")
    done = checkout.invoke("docker-build", "--dry-run")
    assert done.returncode == 2
    assert message in done.stderr


def test_a_bare_repository_is_refused_with_code_2(make_checkout: Make) -> None:
    checkout = make_checkout()
    checkout.git("init", "--quiet", "--bare", ".")
    done = checkout.invoke("version")
    assert done.returncode == 2
    assert "bare repository" in done.stderr


def test_dubious_ownership_exits_3_with_the_command(make_checkout: Make) -> None:
    checkout = _committed(make_checkout())
    done = checkout.invoke(
        "version", GIT_TEST_ASSUME_DIFFERENT_OWNER="1", GIT_CONFIG_GLOBAL=os.devnull
    )
    assert done.returncode == 3
    assert f"git config --global --add safe.directory {checkout.root}" in done.stderr


def test_without_docker_a_build_exits_3(make_checkout: Make, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = make_checkout().invoke("docker-build", PATH=str(tmp_path / "empty"))
    assert done.returncode == 3
    assert "docker not found" in done.stderr
    assert "install Docker" in done.stderr


@pytest.mark.parametrize(
    ("plugins", "message"),
    [
        pytest.param("[]", "docker buildx not found", id="no buildx"),
        pytest.param('[{"Name": "buildx", "Version": "v0.11.2"}]', "too old", id="an old buildx"),
    ],
)
def test_a_buildx_that_will_not_do_exits_3(
    make_checkout: Make, tmp_path: Path, plugins: str, message: str
) -> None:
    path = _with_docker(tmp_path / "bin", f"cat <<'END'\n{INFO % ('26.1.5', plugins)}\nEND")
    done = make_checkout().invoke("docker-build", PATH=path)
    assert done.returncode == 3
    assert message in done.stderr


def test_doctor_without_docker_says_what_to_install(make_checkout: Make, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = make_checkout().invoke("doctor", PATH=str(tmp_path / "empty"))
    assert done.returncode == 3
    lines = done.stdout.splitlines()
    listed = {n: line.split() for n, line in enumerate(lines) if line[:2].isspace()}
    rows = {words[1]: n for n, words in listed.items() if words[0] in {"ok", "missing", "note"}}
    assert lines[rows["docker"]].split()[0] == "missing"
    assert "install Docker" in lines[rows["docker"] + 1]
    assert lines[rows["python"]].split()[0] == "ok"
    assert lines[rows["git"]].split()[0] == "note"


def test_a_relative_path_means_the_directory_that_it_was_typed_in(make_checkout: Make) -> None:
    checkout = make_checkout()
    (checkout.root / "below").mkdir()
    below = Checkout(checkout.root / "below", checkout.image)
    words = (
        *("--secret", "id=t,src=token.txt", "--output", "type=local,dest=out"),
        *("--cache-from", "type=local,src=cache"),
    )
    for there, before in ((checkout, ""), (below, f"{below.root}/")):
        done = there.invoke("docker-build", "--dry-run", *words)
        assert done.returncode == 0, done.stderr
        argv = shlex.split(done.stdout)
        for word in ("id=t,src={}token.txt", "type=local,dest={}out", "type=local,src={}cache"):
            assert word.format(before) in argv


def test_a_traceback_is_shown_only_when_asked_for(make_checkout: Make) -> None:
    checkout = make_checkout()
    for debug, shown in (("1", True), (None, False)):
        done = checkout.invoke("docker-build", "--platform", "x", BUILDLIB_DEBUG=debug)
        assert ("Traceback" in done.stderr) == shown
        # And nothing else is changed by it.
        assert done.returncode == 2
        assert "error: unknown platform" in done.stderr


def test_whoever_has_read_enough_ends_a_task_without_another_word(make_checkout: Make) -> None:
    checkout = make_checkout()
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        checkout.command("config"),
        cwd=checkout.root,
        env=checkout.environment(MEASURED),
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.unmeasured
def test_a_docker_that_can_not_be_started_is_told(make_checkout: Make, tmp_path: Path) -> None:
    checkout = make_checkout()
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    for content in ("#!/no/such/interpreter\n", "no program at all"):
        docker.write_text(content, encoding="utf-8")
        docker.chmod(0o755)
        path = f"{docker.parent}{os.pathsep}{os.environ['PATH']}"
        done = checkout.invoke("docker-build", PATH=path)
        assert done.returncode == 3, done.stderr
        assert "docker can't be started" in done.stderr
        assert "Traceback" not in done.stderr
        assert "Traceback" not in checkout.invoke("doctor", PATH=path).stderr


def test_all_that_is_wrong_is_told_where_docker_is_missing_too(
    make_checkout: Make, tmp_path: Path
) -> None:
    checkout = make_checkout()
    (checkout.root / "Dockerfile").write_text("FROM scratch\nCOPY gone /\n", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    done = checkout.invoke("docker-build", PATH=str(tmp_path / "empty"))
    assert done.returncode == 2, done.stderr
    assert "docker not found" in done.stderr
    assert "gone" in done.stderr


def test_clean_touches_only_what_builds_wrote(make_checkout: Make) -> None:
    checkout = make_checkout()
    kept = [
        "bin/mine",
        "bin/linux-amd65/x",
        "bin/linux-amd64-v3x/x",
        "bin/linux-amd64.sh",
        "dist/other-1.tar",
        "data/x",
    ]
    gone = [
        "bin/linux-amd64/x",
        "bin/linux-arm-v7/x",
        "bin/linux-arm64-v9.5/x",
        f"dist/{checkout.image}-1.oci.tar",
    ]
    for name in [*kept, *gone]:
        (checkout.root / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout.root / name).write_text("x", encoding="utf-8")
    done = checkout.invoke("clean")
    assert done.returncode == 0
    assert sorted(done.stdout.split()) == sorted(
        [
            "bin/linux-amd64",
            "bin/linux-arm-v7",
            "bin/linux-arm64-v9.5",
            f"dist/{checkout.image}-1.oci.tar",
        ]
    )
    assert all((checkout.root / name).exists() for name in kept)
    assert not any((checkout.root / name).exists() for name in gone)


def test_clean_removes_what_is_configured_as_well(make_checkout: Make) -> None:
    checkout = make_checkout(config='clean = ["coverage", "a/link", "never"]\n')
    for name in ("coverage/deep/x", "a/kept", "elsewhere/x"):
        (checkout.root / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout.root / name).write_text("x", encoding="utf-8")
    (checkout.root / "a/link").symlink_to("../elsewhere")
    assert checkout.invoke("clean").stdout.split() == ["coverage", "a/link"]
    assert not (checkout.root / "coverage").exists()
    assert not (checkout.root / "a/link").is_symlink()
    assert (checkout.root / "elsewhere/x").exists()
    assert (checkout.root / "a/kept").exists()


@pytest.mark.parametrize("link", ["dist", "bin", "a"])
def test_clean_removes_nothing_that_a_link_leads_to(
    make_checkout: Make, tmp_path: Path, link: str
) -> None:
    checkout = make_checkout(config='clean = ["a/b", "coverage"]\n')
    theirs = tmp_path / "theirs"
    for name in (f"{checkout.image}-1.tar", "linux-amd64/x", "b/x"):
        (theirs / name).parent.mkdir(parents=True, exist_ok=True)
        (theirs / name).write_text("x", encoding="utf-8")
    (checkout.root / link).symlink_to(theirs)
    (checkout.root / "coverage").mkdir()
    before = sorted(theirs.rglob("*"))
    done = checkout.invoke("clean")
    assert (done.returncode, done.stdout) == (0, "coverage\n"), done.stderr
    assert f"{link} is a link to {theirs}: nothing there is removed" in done.stderr
    assert sorted(theirs.rglob("*")) == before
    assert (checkout.root / link).is_symlink()


def test_clean_takes_what_is_named_twice(make_checkout: Make) -> None:
    checkout = make_checkout(config='clean = ["a", "a/b"]\n')
    (checkout.root / "a" / "b").mkdir(parents=True)
    assert checkout.invoke("clean").stdout.split() == ["a", "a/b"]
    assert not (checkout.root / "a").exists()


def test_a_directory_that_git_tracks_is_no_data_directory(make_checkout: Make) -> None:
    checkout = make_checkout(config='[run]\ndata-path = "/data"\n')
    for name in ("src", "src/generated", "free", "kept"):
        (checkout.root / name).mkdir()
        (checkout.root / name / "file").write_text("x", encoding="utf-8")
    (checkout.root / "kept" / ".gitkeep").touch()
    checkout.git("init", "--quiet")
    checkout.git("add", "src/file", "kept/.gitkeep")
    codes = {"src": 2, "src/generated": 0, "free": 0, "kept": 0, ".git": 2, "/etc": 2}
    for name, code in codes.items():
        done = checkout.invoke("docker-run", "--dry-run", "--data-dir", name)
        assert done.returncode == code, done.stderr
        assert ("not a data directory" in done.stderr) == bool(code)


def test_binary_needs_to_know_its_stage(make_checkout: Make) -> None:
    done = make_checkout().invoke("binary", "--dry-run")
    assert done.returncode == 2
    assert "binary-target" in done.stderr


def test_binary_plans_one_build_a_platform(make_checkout: Make) -> None:
    checkout = make_checkout("FROM scratch AS out\n", 'binary-target = "out"\n')
    done = checkout.invoke(
        "binary", "--platform", "darwin/arm64", "--platform", "amd64", "--dry-run"
    )
    lines = done.stdout.splitlines()
    assert [f"dest={checkout.root}/bin/{slug}" in line for slug, line in
            zip(("darwin-arm64", "linux-amd64"), lines, strict=True)] == [True, True]  # fmt: skip
    assert not (checkout.root / "bin").exists()


def test_telling_changes_nothing_in_the_checkout(make_checkout: Make) -> None:
    checkout = _committed(make_checkout(), "v1.0.0")

    def state() -> dict[Path, int]:
        # git itself refreshes its index when it is asked whether the tree is dirty.
        paths = [path for path in checkout.root.rglob("*") if ".git" not in path.parts]
        return {path: path.stat().st_mtime_ns for path in [*paths, checkout.root]}

    before = state()
    assert checkout.invoke("docker-build", "--dry-run").returncode == 0
    assert checkout.invoke("config").returncode == 0
    assert state() == before
