"""Repositories of the corpus, for real: built, run, smoked and published to a registry.

With nothing but what `init` writes, and the lines that its output says to add.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from adoptcorpus import FOLDER, Repository, read, to_toml
from conftest import GOTOOLS, Checkout, docker, git, remove_images, run_process, shared
from registries import Server, docker_config, registry

from buildlib.adopt.sources import docker_lines
from buildlib.containers.plan import OWNER
from buildlib.executor import PlumbumExecutor

pytestmark = [pytest.mark.release, pytest.mark.unmeasured, pytest.mark.usefixtures("engine")]
CHOSEN = (
    "go-plain",
    "python-args",
    "node-compose-command",
    "rust-shell",
    "c-lower",
    "static-nginx",
)
FOREIGN = tuple(sorted(path.stem for path in FOLDER.glob("foreign-*.txt")))
# The programs that their Dockerfiles start, as far as they use them: all come to one server.
_BUILT = 'out=/app; while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done; cp {} "$out"'
TOOLS = {
    "go": _BUILT.format("/usr/local/bin/server"),
    "cargo": "mkdir -p /target && cp /usr/local/bin/server /target/app",
    "cc": "cp /usr/local/bin/server /a.out",
    "make": 'for one; do true; done; cp /usr/local/bin/server "${one#DESTDIR=}"',
    "python": 'case "$1" in make*) exit 0;; esac; PORT=${PORT:-8000} exec server',
    "gunicorn": "PORT=80 exec server",
    "node": 'case "$1" in healthcheck*) exit 0;; esac; PORT=${PORT:-3000} exec server',
    "registry": "exec server",
    "git": "echo v1.2.3",
    "curl": "exec wget -q -O /dev/null http://localhost:${PORT:-80}/",
    "tini": 'shift; exec "$@"',
    "dumb-init": 'shift; exec "$@"',
    **dict.fromkeys(("apk", "apt-get", "autoreconf", "npm", "pip", "pip3"), ":"),
}
SERVER = """\
package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "--version" {
		fmt.Println("1.0")
		return
	}
	port := os.Getenv("PORT")
	if port == "" {
		port = "80"
	}
	server, err := net.Listen("tcp", ":"+port)
	for err == nil {
		connection, failed := server.Accept()
		if failed != nil {
			return
		}
		connection.Read(make([]byte, 4096))
		fmt.Fprint(connection, "HTTP/1.0 200 OK\\r\\n\\r\\nhello")
		connection.Close()
	}
}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with registry(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(scope="session")
def programs_of_base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a directory with the programs of the base image for each platform; made once."""

    def make(root: Path) -> str:
        (root / "main.go").write_text(SERVER, encoding="utf-8")
        for arch in ("amd64", "arm64"):
            env = {**os.environ, "CGO_ENABLED": "0", "GO111MODULE": "off", "GOARCH": arch}
            # Without symbols: the engine unpacks it with each image.
            words = ["build", "-ldflags=-s -w", "-o", f"{arch}/server", "main.go"]
            argv = [GOTOOLS.go_command(os.environ), *words]
            subprocess.run(argv, cwd=root, env=env, check=True)
            for name, text in TOOLS.items():
                (root / arch / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
                (root / arch / name).chmod(0o755)
        users = {"root": 0, "guest": 405, "node": 1000}
        lines = (f"{user}:x:{number}:{number}::/:/bin/sh\n" for user, number in users.items())
        (root / "passwd").write_text("".join(lines), encoding="utf-8")
        text = "FROM base\nARG TARGETARCH\nCOPY $TARGETARCH /usr/local/bin\n"
        text += 'COPY passwd /etc/passwd\nCOPY passwd /etc/group\nCMD ["server"]\n'
        (root / "Dockerfile").write_text(text, encoding="utf-8")
        return str(root)

    with shared(tmp_path_factory, "programs-of-base", make) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def base(
    server: Server, alpine: str, programs_of_base: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Return a base image in that registry which has the programs of them all."""
    mapped = tomllib.loads(Path(os.environ["BUILDLIB_BASE_IMAGES"]).read_text("utf-8"))
    source = mapped["base-images"][alpine]
    source = source if isinstance(source, str) else source["source"]
    name = f"{server.host}/base/all:1"
    words = ["--build-context", f"base={source}", "--provenance=false"]
    words += ["--platform", "linux/amd64,linux/arm64"]
    words += ["--output", f"type=image,name={name},push=true", str(programs_of_base)]
    store = docker_config(tmp_path_factory.mktemp("base") / "docker", server.host)
    env = {**os.environ, "DOCKER_CONFIG": str(store)}
    subprocess.run(["docker", "buildx", "build", *words], env=env, capture_output=True, check=True)
    yield name
    docker("image", "rm", name, check=False)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a PATH with docker and git alone: no gate has a program of its own."""
    folder = tmp_path_factory.mktemp("programs")
    for name in ("docker", "git"):
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return f"{folder}:/usr/bin:/bin"


@dataclass(frozen=True)
class Adopted:
    """A repository after `init`, and what its output says.

    Args:
        settings: those that `init` wrote, and those that it asked for.
        following: the commands to try.
    """

    checkout: Checkout
    settings: Mapping[str, Any]
    following: Sequence[Sequence[str]]

    @property
    def images(self) -> list[str]:
        image = self.settings["image"]
        tables = self.settings.get("images", {})
        return [one.get("image", f"{image}/{name}") for name, one in tables.items()] or [image]

    def run(self, *words: str) -> str:
        done = self.checkout.invoke(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.mark.parametrize("name", [*CHOSEN, *FOREIGN])
def test_a_repository_is_built_run_smoked_and_published(
    name: str, server: Server, base: str, programs: str, tmp_path: Path
) -> None:
    repository = read(FOLDER / f"{name}.txt")
    image = f"buildlib-test-{secrets.token_hex(4)}"
    bases = tmp_path / "bases.toml"
    names = repository.about.get("bases", "").split(", ")
    names += re.findall(r"^FROM (\S+:\S+)", repository.files.get("Dockerfile", ""), re.MULTILINE)
    others = {one: f"docker-image://{base}" for one in names if one and "$" not in one}
    bases.write_text(to_toml({"base-images": others}), encoding="utf-8")
    env = {
        "BUILDLIB_BASE_IMAGES": str(bases),
        "DOCKER_CONFIG": str(docker_config(tmp_path / "docker", server.host)),
        "PATH": programs,
    }
    root = tmp_path / name
    root.mkdir()
    adopted = _adopted(repository, Checkout(root, image, env), server, base)
    try:
        _check(adopted, server)
    finally:
        for one in adopted.images:
            for left in docker("ps", "-aq", "--filter", f"label={OWNER}={one}").split():
                docker("rm", "--force", "--volumes", left, check=False)
            remove_images(one)


def _adopted(repository: Repository, checkout: Checkout, server: Server, base: str) -> Adopted:
    """Let `init` write what it writes into a repository of these files, and do what it says."""
    root, image = checkout.root, checkout.image
    services = repository.about.get("services", "")
    known = repository.expected.get("image", "")
    files = repository.files
    if known:
        files = {
            name: text.replace(known, f"{server.host}/{image}") for name, text in files.items()
        }
    if services:
        files = {name: text.replace(services, base) for name, text in files.items()}
    replace(repository, files=files).write(root)
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "remote", "add", "origin", f"https://github.com/{image}/shop.git")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "as it was")
    prefix = repository.about.get("prefix", "v")
    git(root, "tag", f"{prefix}1.2.2")
    argv = [sys.executable, "-m", "buildlib", "init", "--yes"]
    # What `init` finds is measured with the corpus, and its questions in tests/contract.
    begun = run_process(argv, root, checkout.environment({}))
    assert begun.returncode == 0, begun.stdout + begun.stderr
    asked = re.findall(r"^add to buildlib.toml, .*:\n((?:  .*\n)+)", begun.stdout, re.MULTILINE)
    # Where it is pushed to is the user's choice.
    lines = textwrap.dedent("".join(asked)).replace("ghcr.io/", f"{server.host}/")
    configuration = root / "buildlib.toml"
    text = f"{configuration.read_text(encoding='utf-8')}\n{lines}"
    configuration.write_text(text, encoding="utf-8")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "use buildlib")
    git(root, "tag", f"{prefix}1.2.3")
    following = begun.stdout.partition("\nnext:\n")[2].partition("\n\n")[0].splitlines()
    settings = tomllib.loads(configuration.read_text(encoding="utf-8"))
    return Adopted(checkout, settings, [shlex.split(line)[1:] for line in following])


def _check(adopted: Adopted, server: Server) -> None:
    for words in adopted.following:
        if words[0] != "docker-run":
            adopted.run(*words)
            continue
        only = words[words.index("--only") + 1] if "--only" in words else ""
        smoke = adopted.settings.get("smoke", {})
        smoke = adopted.settings["images"][only].get("smoke", {}) if only else smoke
        if not smoke.get("port"):
            (command,) = smoke["commands"]
            assert "1.0" in adopted.run(*words, "--args", shlex.join(command))
            continue
        ran = json.loads(adopted.run(*words, "--detach", "--port", "0", "--json"))
        with urlopen(ran["address"]) as answer:
            assert answer.read() == b"hello"
        adopted.run("docker-stop", *(["--only", only] if only else []))
    receipts = json.loads(adopted.run("docker-publish", "--json"))
    for receipt in receipts.get("images", {"": receipts}).values():
        states = {gate["gate"]: gate["state"] for gate in receipt["gates"]}
        passed = {gate for gate, state in states.items() if state == "passed"}
        assert passed == {"smoke", "policy", "size"}, states
    for one in adopted.images:
        path = one.partition("/")[2]
        assert set(server.tags(path)) >= {"1.2.3", "1.2", "1", "latest"}


def test_a_bake_file_in_hcl_is_read_by_the_buildx_at_hand(tmp_path: Path) -> None:
    root = read(FOLDER / "go-bake-hcl.txt").write(tmp_path)
    executor = PlumbumExecutor({**os.environ, "TAG": "2"}, tmp_path)
    try:
        (line,) = docker_lines(root, executor)
    finally:
        executor.close()
    assert line.argv == ("docker", "buildx", "build", "--tag", "acme/hcl:2", ".")
    assert line.place == "docker-bake.hcl:4"
