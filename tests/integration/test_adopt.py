"""Six repositories of the corpus, for real: built, run, smoked and published to a registry."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import pytest
from adoptcorpus import FOLDER, Repository, read, to_toml
from conftest import GOTOOLS, Checkout, docker, git, remove_images
from registries import Server, docker_config, registry

from buildlib.adopt.configuration import Package
from buildlib.adopt.files import write_all
from buildlib.adopt.plan import AdoptionRequest, plan_adoption
from buildlib.adopt.sources import docker_lines
from buildlib.containers.plan import OWNER
from buildlib.executor import PlumbumExecutor
from buildlib.image.platform import engine_platform

pytestmark = [pytest.mark.release, pytest.mark.usefixtures("engine")]
# Each with what its program is called on a command line; None: it serves.
CHOSEN: Mapping[str, list[str] | None] = {
    "go-plain": [],
    "python-args": None,
    "node-compose-command": None,
    "rust-shell": ["app"],
    "c-lower": [],
    "static-nginx": None,
}
# The programs that their Dockerfiles start, as far as they use them: all come to one server.
TOOLS = {
    "go": "cp /usr/local/bin/server /app",
    "cargo": "mkdir -p /target && cp /usr/local/bin/server /target/app",
    "cc": "cp /usr/local/bin/server /a.out",
    "python": "PORT=8000 exec server",
    "node": "PORT=3000 exec server",
}
SERVER = """\
package main

import (
	"fmt"
	"net/http"
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
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) })
	http.ListenAndServe(":"+port, nil)
}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with registry(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(scope="module")
def base(server: Server, alpine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return a base image in that registry which has the programs of them all."""
    root = tmp_path_factory.mktemp("base")
    (root / "main.go").write_text(SERVER, encoding="utf-8")
    env = {**os.environ, "CGO_ENABLED": "0", "GO111MODULE": "off"}
    argv = [GOTOOLS.go_command(os.environ), "build", "-o", "bin/server", "main.go"]
    subprocess.run(argv, cwd=root, env=env, check=True)
    for name, text in TOOLS.items():
        (root / "bin" / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (root / "bin" / name).chmod(0o755)
    mapped = tomllib.loads(Path(os.environ["BUILDLIB_BASE_IMAGES"]).read_text("utf-8"))
    source = mapped["base-images"][alpine]
    source = source if isinstance(source, str) else source["source"]
    name = f"{server.host}/base/all:1"
    text = 'FROM base\nCOPY bin /usr/local/bin\nCMD ["server"]\n'
    (root / "Dockerfile").write_text(text, encoding="utf-8")
    words = ["--build-context", f"base={source}", "--provenance=false"]
    words += ["--output", f"type=image,name={name},push=true", str(root)]
    env = {**os.environ, "DOCKER_CONFIG": str(docker_config(root / "docker", server.host))}
    subprocess.run(["docker", "buildx", "build", *words], env=env, capture_output=True, check=True)
    yield name
    docker("image", "rm", name, check=False)


@pytest.mark.parametrize("name", CHOSEN)
def test_a_repository_is_built_run_smoked_and_published(
    name: str, server: Server, base: str, tmp_path: Path
) -> None:
    repository = read(FOLDER / f"{name}.txt")
    image = f"buildlib-test-{secrets.token_hex(4)}"
    command = CHOSEN[name]
    smoke: dict[str, object] = {"policy": False}
    if command is not None:
        smoke["commands"] = [{"run": [*command, "--version"], "stdout": "^1.0"}]
    root = _written(repository, tmp_path / name, f"{server.host}/{image}", smoke)
    bases = tmp_path / "bases.toml"
    names = re.findall(r"^FROM (\S+)", repository.files["Dockerfile"], re.MULTILINE)
    others = {one: f"docker-image://{base}" for one in names if ":" in one}
    bases.write_text(to_toml({"base-images": others}), encoding="utf-8")
    env = {
        "BUILDLIB_BASE_IMAGES": str(bases),
        "DOCKER_CONFIG": str(docker_config(tmp_path / "docker", server.host)),
    }
    checkout = Checkout(root, f"{server.host}/{image}", env)
    try:
        _check(checkout, server, image, command)
    finally:
        for left in docker("ps", "-aq", "--filter", f"label={OWNER}={checkout.image}").split():
            docker("rm", "--force", "--volumes", left, check=False)
        remove_images(checkout.image)


def _written(repository: Repository, root: Path, image: str, smoke: dict[str, object]) -> Path:
    """Write a repository whose image has another name, what `init` adds, and a first version."""
    known = repository.expected["image"]
    files = {name: text.replace(known, image) for name, text in repository.files.items()}
    replace(repository, files=files).write(root)
    git(root, "init", "--quiet", "--initial-branch=main")
    write_all(plan_adoption(root, AdoptionRequest(root, Package())).changes)
    configuration = root / "buildlib.toml"
    settings = tomllib.loads(configuration.read_text(encoding="utf-8"))
    # The programs of its base are for this machine.
    settings["platforms"] = [str(engine_platform())]
    settings["registries"] = {"here": {"repository": image}}
    settings["smoke"] = settings.get("smoke", {}) | smoke
    configuration.write_text(to_toml(settings), encoding="utf-8")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "first")
    git(root, "tag", "v1.2.3")
    return root


def _check(checkout: Checkout, server: Server, image: str, command: list[str] | None) -> None:
    def run(*words: str) -> str:
        done = checkout.invoke(*words)
        print(f"$ {words}\n{done.stdout}{done.stderr}")
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("docker-build")
    if command is None:
        ran = json.loads(run("docker-run", "--detach", "--port", "0", "--json"))
        with urlopen(ran["address"]) as answer:
            assert answer.read() == b"hello"
        run("docker-stop")
    else:
        assert "1.0" in run("docker-run", "--args", shlex.join([*command, "--version"]))
    gates = ("scan", "sbom", "policy", "sign", "size")
    skipped = [word for gate in gates for word in ("--skip-gate", gate)]
    reason = ("--reason", "they are those of other tests", "--json")
    receipt = json.loads(run("docker-publish", *skipped, *reason))
    states = {gate["gate"]: gate["state"] for gate in receipt["gates"]}
    assert states["smoke"] == "passed"
    assert set(server.tags(image)) >= {"1.2.3", "1.2", "1", "latest"}


def test_a_bake_file_in_hcl_is_read_by_the_buildx_at_hand(tmp_path: Path) -> None:
    root = read(FOLDER / "go-bake-hcl.txt").write(tmp_path)
    executor = PlumbumExecutor({**os.environ, "TAG": "2"}, tmp_path)
    try:
        (line,) = docker_lines(root, executor)
    finally:
        executor.close()
    assert line.argv == ("docker", "buildx", "build", "--tag", "acme/hcl:2", ".")
    assert line.place == "docker-bake.hcl:4"
