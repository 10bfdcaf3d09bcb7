"""Options of buildx as a user gives them to docker-build, with a docker that is a script."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Checkout
from gitscript import commit_all

from fakes import words_after

Make = Callable[..., Checkout]
INFO = (
    '{"ServerVersion": "26.1.5", "OSType": "linux", "Architecture": "x86_64", "ClientInfo":'
    ' {"Version": "26.1.5", "Plugins": [{"Name": "buildx", "Version": "%s"}]}}'
)
DOCKER = """\
#!/bin/sh
case $1 in
info) echo '%s' ;;
buildx) echo "said: $*"; echo "complained" >&2; exit 3 ;;
esac
"""


def _with_docker(make: Make, folder: Path, version: str = "v0.38.2") -> Checkout:
    checkout = make("FROM scratch AS first\nFROM scratch\n")
    folder.mkdir()
    (folder / "docker").write_text(DOCKER % INFO % version, encoding="utf-8")
    (folder / "docker").chmod(0o755)
    path = os.pathsep.join([str(folder), "/usr/bin", "/bin"])
    return Checkout(checkout.root, checkout.image, {"PATH": path})


@pytest.mark.parametrize("words", [["--check"], ["--call", "check"], ["--call=check"]])
def test_a_call_prints_what_buildx_prints_and_exits_with_its_code(
    make_checkout: Make, tmp_path: Path, words: list[str]
) -> None:
    done = _with_docker(make_checkout, tmp_path / "bin").invoke("docker-build", *words)
    assert done.returncode == 3
    assert done.stdout.startswith("said: buildx build ")
    assert "--call check " in done.stdout
    assert "complained\n" in done.stderr


def test_a_call_as_json_has_the_format_of_buildx(make_checkout: Make, tmp_path: Path) -> None:
    checkout = _with_docker(make_checkout, tmp_path / "bin")
    done = checkout.invoke("docker-build", "--call", "outline", "--json")
    assert "--call outline,format=json " in done.stdout


def test_a_call_of_build_is_a_build(make_checkout: Make, tmp_path: Path) -> None:
    done = _with_docker(make_checkout, tmp_path / "bin").invoke("docker-build", "--call", "build")
    assert (done.returncode, done.stdout) == (4, "")
    assert "--call" not in done.stderr


@pytest.mark.parametrize("words", [["--push"], ["--output", "oci"], ["--iidfile", "x"]])
def test_a_call_builds_nothing_that_could_go_anywhere(
    make_checkout: Make, words: list[str]
) -> None:
    done = make_checkout().invoke("docker-build", "--check", *words)
    assert done.returncode == 2
    assert "--call check builds nothing" in done.stderr
    assert words[0] in done.stderr


def test_a_call_that_buildx_does_not_know_yet_exits_with_3(
    make_checkout: Make, tmp_path: Path
) -> None:
    checkout = _with_docker(make_checkout, tmp_path / "bin", "0.13.1+ds1")
    done = checkout.invoke("docker-build", "--check")
    assert (done.returncode, done.stdout) == (3, "")
    assert "docker buildx 0.13.1+ds1 is too old for --call" in done.stderr
    assert "it came with 0.15" in done.stderr


def test_a_policy_that_buildx_does_not_know_yet_exits_with_3(
    make_checkout: Make, tmp_path: Path
) -> None:
    checkout = _with_docker(make_checkout, tmp_path / "bin", "0.13.1+ds1")
    done = checkout.invoke("docker-build", "--policy", "reset=true")
    assert done.returncode == 3
    assert "too old for --policy" in done.stderr
    assert "it came with 0.31" in done.stderr


def test_the_dry_run_prints_what_would_run(make_checkout: Make) -> None:
    checkout = make_checkout("FROM scratch AS first\nFROM scratch\n")
    done = checkout.invoke(
        *("docker-build", "--dry-run", "--network=none", "--add-host", "db:10.0.0.2,10.0.0.3"),
        *("--label", "two=a b", "--provenance", "mode=min", "--no-cache-filter", "first"),
        *("--metadata-file", "m.json"),
    )
    assert done.returncode == 0, done.stderr
    words = shlex.split(done.stdout)
    assert words_after(words, "--network") == ["none"]
    assert words_after(words, "--add-host") == ["db=10.0.0.2", "db=10.0.0.3"]
    assert "two=a b" in words_after(words, "--label")
    assert words_after(words, "--attest") == ["type=provenance,mode=min"]
    assert words_after(words, "--no-cache-filter") == ["first"]
    assert words_after(words, "--metadata-file") == [f"{checkout.root}/m.json"]
    asked = checkout.invoke("docker-build", "--dry-run", "--call", "targets")
    assert shlex.split(asked.stdout)[-3:] == ["--call", "targets", str(checkout.root)]


def test_paths_are_relative_to_where_the_user_is(make_checkout: Make) -> None:
    checkout = make_checkout()
    below = checkout.root / "below"
    (below / "assets").mkdir(parents=True)
    (below / "Other.Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    words = ("--file", "Other.Dockerfile", "--build-context", "assets=assets", "--iidfile", "iid")
    done = Checkout(below, checkout.image).invoke("docker-build", "--dry-run", *words)
    assert done.returncode == 0, done.stderr
    printed = shlex.split(done.stdout)
    assert words_after(printed, "--file") == [f"{below}/Other.Dockerfile"]
    assert words_after(printed, "--build-context") == [f"assets={below}/assets"]
    assert words_after(printed, "--iidfile") == [f"{below}/iid"]


def test_a_dockerfile_from_stdin_is_refused(make_checkout: Make) -> None:
    done = make_checkout().invoke("docker-build", "--file", "-")
    assert done.returncode == 2
    assert "a Dockerfile can't be read from stdin" in done.stderr


def test_every_build_of_the_project_has_what_is_configured(make_checkout: Make) -> None:
    config = (
        '[build]\nnetwork = "none"\nattest = ["type=sbom"]\n[build.contexts]\nextra = "assets"\n'
    )
    checkout = make_checkout(config=f'{config}[secrets]\nnpm = {{ file = "npmrc" }}\n')
    (checkout.root / "assets").mkdir()
    (checkout.root / "npmrc").touch()
    tasks = ("docker-build", "docker-reproduce", "docker-smoke")
    for task in tasks:
        done = checkout.invoke(task, "--dry-run", VERSION="1.2.3", SOURCE_DATE_EPOCH="1")
        assert done.returncode == 0, done.stderr
        builds = [line for line in done.stdout.splitlines() if " buildx build " in line]
        assert builds
        for line in builds:
            words = shlex.split(line)
            assert words_after(words, "--network") == ["none"]
            # Relative to the project, wherever its files were copied to.
            assert words_after(words, "--build-context") == [f"extra={checkout.root}/assets"]
            assert words_after(words, "--secret") == [f"id=npm,src={checkout.root}/npmrc"]
            assert not words_after(words, "--attest")


def test_a_context_is_no_base_image_to_look_up(make_checkout: Make) -> None:
    checkout = make_checkout("FROM extra\n", '[build.contexts]\nextra = "assets"\n')
    done = checkout.invoke("docker-bases")
    assert done.returncode == 0
    assert done.stdout == "there is no external base image to look after\n"


def test_a_directory_of_a_release_is_that_of_the_commit(make_checkout: Make) -> None:
    config = '[build.contexts]\nextra = "assets"\n'
    checkout = make_checkout("FROM scratch\nCOPY --from=extra / /\n", config)
    (checkout.root / "assets").mkdir()
    (checkout.root / "assets" / "file").touch()
    commit_all(checkout.root, "v1.2.3")
    done = checkout.invoke("docker-build", "--dry-run", "--output", "oci")
    assert done.returncode == 0, done.stderr
    assert '--build-context extra="$CONTEXT"/files/assets ' in done.stdout
    done = checkout.invoke("docker-reproduce", "--dry-run")
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        (context,) = words_after(shlex.split(line), "--build-context")
        assert "/buildlib-commit-" in context
        assert context.endswith("/files/assets")
