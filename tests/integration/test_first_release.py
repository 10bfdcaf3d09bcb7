"""The commands of docs/first-release.md, typed one after the other, print what is shown there."""

from __future__ import annotations

import http
import json
import os
import re
import secrets
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import ROOT, docker, git
from grypedb import Advisory
from registries import PASSWORD, USER, Server, docker_config, free_port, ping, registry

from buildlib.executor import PlumbumExecutor
from buildlib.registry.local import find_program

pytestmark = [pytest.mark.release, pytest.mark.timeout(2400), pytest.mark.usefixtures("engine")]
PAGE = (ROOT / "docs/first-release.md").read_text(encoding="utf-8")
# The one base, and the one registry: here both are of this machine.
BASE, HOST = "alpine:3.24", "ghcr.io"
ELSEWHERE = Advisory("GHSA-else-wher-else", "CVE-2026-0009", "critical", "npm", "elsewhere", "<9")
# What differs from run to run: digests and fingerprints, and every other number.
VARYING = re.compile(r"[0-9a-f]{12,64}|\d+(?:\.\d+)*")
MOST = 10


def _blocks(*kinds: str) -> list[str]:
    """Return the code blocks of these kinds."""
    return re.findall(rf"^```(?:{'|'.join(kinds)})\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def _files() -> dict[str, str]:
    """Return the files of the project: the first line of each has its name."""
    named = [block.partition("\n") for block in _blocks("Dockerfile", "python", "toml", "sh")]
    return {name.removeprefix("# "): text for name, _, text in named}


def _commands() -> list[tuple[str, list[str]]]:
    """Return each command, and the lines that are shown of what it prints."""
    found: list[tuple[str, list[str]]] = []
    for line in "".join(_blocks("console")).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def _pattern(line: str) -> re.Pattern[str]:
    """Return what a line that is shown matches: others have other numbers, in other columns."""
    parts = [re.escape(VARYING.sub("7", part)) for part in line.split("…")]
    return re.compile(re.sub(r"(\\ )+", r"\\s+", ".*".join(parts)) + r"\s*")


def _check(shown: list[str], printed: str) -> None:
    """See that all lines that are shown were printed, in this order."""
    rest = iter(VARYING.sub("7", printed).splitlines())
    for line in shown:
        wanted = _pattern(line)
        assert line == "…" or any(wanted.fullmatch(one) for one in rest), f"{line!r}\n{printed}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with registry(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture
def base(server: Server, alpine: str, tmp_path: Path) -> Iterator[str]:
    """Return a base image in that registry, for both platforms: this machine's own alpine.

    It says that it was made 61 days ago, as on the page, whenever this machine made it.
    """
    name = f"{server.host}/library/{BASE}"
    store = docker_config(tmp_path / "pushing", server.host)
    mapped = Path(os.environ["BUILDLIB_BASE_IMAGES"]).read_text(encoding="utf-8")
    source = tomllib.loads(mapped)["base-images"][alpine]
    words = (
        "--platform",
        "linux/amd64,linux/arm64",
        "--output",
        f"type=image,name={name},push=true",
    )
    context = ("--build-context", f"base={source if isinstance(source, str) else source['source']}")
    made = int((datetime.now(UTC) - timedelta(days=61)).timestamp())
    date = ("--build-arg", f"SOURCE_DATE_EPOCH={made}")
    argv = ["docker", "buildx", "build", "--provenance=false", *words, *date, *context, "-"]
    env = {**os.environ, "DOCKER_CONFIG": str(store)}
    subprocess.run(argv, input=b"FROM base\n", env=env, capture_output=True, check=True)
    yield name
    docker("image", "rm", name, check=False)


def _project(folder: Path, here: dict[str, str], origin: str) -> Path:
    """Return the repository with the files of the page."""
    root = folder / "hello"
    root.mkdir()
    for name, text in _files().items():
        (root / name).write_text(_replaced(text, here), encoding="utf-8")
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "remote", "add", "origin", origin)
    return root


def _environment(folder: Path, path: str, server: Server) -> dict[str, str]:
    """Return the environment of a newcomer, whose `invoke` has this library."""
    programs = folder / "bin"
    programs.mkdir()
    invoke = programs / "invoke"
    invoke.write_text(f'#!/bin/sh\nexec {sys.executable} -m invoke "$@"\n', encoding="utf-8")
    invoke.chmod(0o755)
    (folder / "gitconfig").write_text("[user]\nname = T\nemail = t@example.org\n", "utf-8")
    return {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{path}",
        "PYTHONPATH": str(ROOT),
        "DOCKER_CONFIG": str(docker_config(folder / "docker", server.host)),
        "GIT_CONFIG_GLOBAL": str(folder / "gitconfig"),
    }


def test_the_page_has_few_commands_and_shows_what_each_prints() -> None:
    commands = _commands()
    assert len(commands) <= MOST
    silent = [command for command, shown in commands if not shown]
    assert all(command.startswith("git ") for command in silent)


def test_the_commands_of_the_page_make_a_first_release(
    server: Server,
    base: str,
    database: Callable[..., dict[str, str | None]],
    tmp_path: Path,
) -> None:
    here = {BASE: base, HOST: server.host}
    known = {name: str(value) for name, value in database(ELSEWHERE).items()}
    env = {
        **_environment(tmp_path, known["PATH"], server),
        **{name: value for name, value in known.items() if name != "PATH"},
        "COSIGN_PASSWORD": secrets.token_hex(8),
        "GHCR_USERNAME": USER,
        "GHCR_TOKEN": PASSWORD,
    }
    git(tmp_path, "init", "--quiet", "--bare", "origin.git")
    root = _project(tmp_path, here, str(tmp_path / "origin.git"))
    for command, shown in _commands():
        done = subprocess.run(
            ["sh", "-c", _replaced(command, here)],
            cwd=root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(f"$ {command}\n{done.stdout}")
        assert done.returncode == 0
        _check([_replaced(line, here) for line in shown], done.stdout)
    tags = {tag for tag in server.tags("you/hello") if not tag.startswith(("sha256-", "buildlib-"))}
    assert tags == {"0.1.0", "0.1", "latest"}
    assert "cosign.key" not in git(root, "ls-files").split()
    assert not (root / "dist/hello-0.1.0.oci.tar.part").exists()


def _replaced(text: str, here: dict[str, str]) -> str:
    for shown, ours in here.items():
        text = text.replace(shown, ours)
    return text


def test_the_page_s_image_passes_the_policy_of_a_real_release_but_for_its_base(
    server: Server, base: str, tmp_path: Path
) -> None:
    root = _project(tmp_path, {BASE: base, HOST: server.host}, "git@github.com:you/hello.git")
    env = _environment(tmp_path, os.environ["PATH"], server)

    def invoke(*words: str) -> subprocess.CompletedProcess[str]:
        argv = ["invoke", *words]
        return subprocess.run(argv, cwd=root, env=env, capture_output=True, text=True, check=False)

    git(root, "add", "--all")
    who = ("-c", "user.name=T", "-c", "user.email=t@example.org")
    git(root, *who, "commit", "--quiet", "--message", "Say hello")
    built = invoke("docker-build")
    assert built.returncode == 0, built.stderr
    done = invoke("docker-policy", "--release", "--json")
    assert done.returncode == 7, done.stderr
    findings = json.loads(done.stdout)["findings"]
    assert {one["rule"] for one in findings if one["level"] == "error"} == {"pinned-base"}
    # Nothing is left that a reader would have to look up.
    assert [one["message"] for one in findings if one["level"] == "warning"] == []


def test_the_registry_of_the_page_answers(tmp_path: Path) -> None:
    (settings,) = _blocks("yaml")
    port = free_port()
    file = tmp_path / "registry.yml"
    file.write_text(settings.replace(":5000", f":{port}"), encoding="utf-8")
    program = find_program(PlumbumExecutor(os.environ, tmp_path), os.environ).path
    with (tmp_path / "log").open("wb") as log:
        argv = [program, "serve", file.name]
        served = subprocess.Popen(argv, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait(lambda: ping(port) == http.HTTPStatus.OK, lambda: served.poll() is None)
        finally:
            served.terminate()
            served.wait()


def _wait(ready: Callable[[], bool], runs: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not ready():
        assert runs()
        assert time.monotonic() < deadline
        time.sleep(0.05)
