"""A small project that is published to two real registries, as often as a test likes."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from conftest import ROOT, TASKS, git, run_process, start_task
from gitscript import begin
from inprocess import run_task
from registries import Server, docker_config

from buildlib.commands.publish import NO_OPTIONS, PublishOptions, publish
from buildlib.commands.session import Edge
from buildlib.registry.claim import PREFIX, ClaimTerms
from buildlib.retry import Patience

QUICK = Patience(attempts=3, base=0.01, ceiling=0.05, timeout=5.0)
# No publication of a test takes so long on a slow machine that its claim has to be renewed, which
# is another request. Nor does any wait for one to expire: whose owner was killed is known by then.
TERMS = ClaimTerms(duration=90.0, poll=0.05, patience=120.0)
PLAIN = NO_OPTIONS
UNSIGNED = PLAIN._replace(skips=("sign",), reason="signatures are another test's")
PATH = "team/thing"
# How cosign names the provenance that BuildKit writes by default.
CURRENT = os.environ.get("BUILDLIB_TOOLCHAIN") == "current"
BUILDKIT = "slsaprovenance1" if CURRENT else "slsaprovenance02"
# What is counted of each type: about the index, or else about the two platforms' images.
STATED = {BUILDKIT: 2, "slsaprovenance1": 1}
DOCKERFILE = """\
FROM scratch
ARG VERSION
COPY program /program
USER 1001
"""
IGNORE = "*\n!program\n"


@dataclass
class Release:
    """A repository of somebody's on a tag, and where it goes.

    Args:
        root: of the repository.
        hosts: of the registries, by their names in the configuration.
        servers: the registries themselves, in the same order.
        env: of what is started.
        printed: all that was printed, by every run.
    """

    root: Path
    hosts: Mapping[str, str]
    servers: Sequence[Server]
    env: dict[str, str]
    printed: list[str] = field(default_factory=list)

    @property
    def receipt(self) -> dict[str, Any]:
        return dict(json.loads((self.root / "dist/receipt.json").read_text(encoding="utf-8")))

    @property
    def tags(self) -> list[dict[str, str]]:
        """Return the public tags of each registry, from its disk: without cosign's, and claims."""
        others = ("sha256-", PREFIX)
        return [
            {tag: held for tag, held in server.tags(PATH).items() if not tag.startswith(others)}
            for server in self.servers
        ]

    @property
    def claims(self) -> list[str]:
        """Return the claims that are left in the registries."""
        return [tag for one in self.servers for tag in one.tags(PATH) if tag.startswith(PREFIX)]

    def publish(
        self,
        wanted: PublishOptions = UNSIGNED,
        *,
        reached: Callable[[str], None] = lambda _: None,
        patience: Patience = QUICK,
    ) -> str:
        """Publish in this process; return what was printed, and raise what was raised."""
        out = io.StringIO()
        run = Edge(self.root, self.env, dry=False, quiet=False)
        try:
            with redirect_stdout(out), redirect_stderr(out):
                publish(run, wanted, patience=patience, terms=TERMS, reached=reached)
        finally:
            run.close()
            self.printed.append(out.getvalue())
        return out.getvalue()

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "invoke", *words]

    def invoke(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a task in this process, as `Checkout.invoke` does."""
        return self._done(run_task(words, self.root, {**self.env, **env}))

    def invoke_process(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a task in a process of its own, as `Checkout.invoke_process` does."""
        return self._done(run_process(self.command(*words), self.root, {**self.env, **env}))

    def _done(self, done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
        self.printed += [done.stdout, done.stderr]
        return done

    def start(self, *words: str, **env: str) -> subprocess.Popen[str]:
        """Start a task, as `Checkout.start` does."""
        return start_task(self.command(*words), self.root, {**self.env, **env})

    def forget(self) -> None:
        """Empty the registries; what they hold is nowhere but on their disks."""
        for server in self.servers:
            shutil.rmtree(server.root / "docker", ignore_errors=True)

    def commit(self, content: str, tag: str) -> None:
        """Make another version."""
        (self.root / "program").write_text(content, encoding="utf-8")
        git(self.root, "add", "--all")
        git(self.root, "commit", "--quiet", "--message", content)
        git(self.root, "tag", tag)


def make_release(
    root: Path,
    hosts: Mapping[str, str],
    servers: Sequence[Server],
    *,
    config: str = "",
    gates: Sequence[str] = ("size", "policy"),
    provenance: bool = False,
    content: str = "one",
) -> Release:
    """Return a new repository on v1.2.3, with a key pair beside it.

    Args:
        root: of the repository.
        hosts: of the registries, by their names in the configuration.
        servers: the registries themselves.
        config: more of it, before the tables.
        gates: that are passed.
        provenance: BuildKit's statements are attached, which takes a build and cosign's time.
        content: of the program, by which the engine knows the image's steps again.
    """
    root.mkdir(parents=True)
    tables = "".join(
        f'[registries.{name}]\nrepository = "{host}/{PATH}"\n' for name, host in hosts.items()
    )
    text = (
        'image = "thing"\nplatforms = ["linux/amd64", "linux/arm64"]\n'
        f"{config}\n{tables}"
        f"[publish]\ngates = {json.dumps(list(gates))}\nprovenance = {json.dumps(provenance)}\n"
        '[sign]\nkey = "../cosign.key"\n[verify]\nkey = "../cosign.pub"\n'
        'attestations = ["slsaprovenance1"]\n'
    )
    (root / "buildlib.toml").write_text(text, encoding="utf-8")
    (root / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    (root / ".dockerignore").write_text(IGNORE, encoding="utf-8")
    (root / ".gitignore").write_text("dist/\n__pycache__/\n", encoding="utf-8")
    (root / "tasks.py").write_text(TASKS, encoding="utf-8")
    begin(root)
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "COSIGN_PASSWORD": "not-a-secret",
        "DOCKER_CONFIG": str(docker_config(root.parent / "docker", *hosts.values())),
        "BUILDKIT_PROGRESS": "rawjson",
    }
    env.pop("VERSION", None)
    release = Release(root, hosts, servers, env)
    for name, data in _key_pair(env["COSIGN_PASSWORD"]).items():
        (root.parent / name).write_bytes(data)
    release.commit(content, "v1.2.3")
    return release


@cache
def _key_pair(password: str) -> dict[str, bytes]:
    """Return the files of one key pair for all releases: making one is slow on purpose."""
    with TemporaryDirectory() as folder:
        make_keys(Path(folder), {**os.environ, "COSIGN_PASSWORD": password})
        return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


def make_keys(folder: Path, env: Mapping[str, str]) -> None:
    """Write a new key pair, `cosign.key` and `cosign.pub`."""
    made, quiet = ["cosign", "generate-key-pair"], subprocess.DEVNULL
    subprocess.run(made, cwd=folder, env=env, stdin=quiet, capture_output=True, check=True)


TABLES = """
[tool.buildlib.registries.first]
repository = "{first}/{path}"
[tool.buildlib.registries.second]
repository = "{second}/{path}"
[tool.buildlib.sign]
key = "../cosign.key"
[tool.buildlib.verify]
key = "../cosign.pub"
attestations = ["spdxjson", "cyclonedx", "slsaprovenance1"]
"""


def _without_tables(text: str, *names: str) -> str:
    """Return a pyproject.toml without some tables of ours."""
    kept, dropping = [], False
    for line in text.splitlines():
        if line.startswith("["):
            dropping = line.startswith(tuple(f"[tool.buildlib.{name}" for name in names))
        if not dropping:
            kept.append(line)
    return "\n".join(kept) + "\n"


def own_release(
    folder: Path, servers: Sequence[Server], env: Mapping[str, str], *, path: str, more: str = ""
) -> Release:
    """Return a throw-away copy of this repository that publishes to two registries."""
    root = folder / "repo"
    for name in git(ROOT, "ls-files").splitlines():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, root / name)
    project = root / "pyproject.toml"
    first, second = (server.host for server in servers)
    text = _without_tables(project.read_text(encoding="utf-8"), "registries", "sign", "verify")
    text += TABLES.format(first=first, second=second, path=path) + more
    project.write_text(text, encoding="utf-8")
    merged = {
        **os.environ,
        **env,
        "COSIGN_PASSWORD": "rehearsal",
        "DOCKER_CONFIG": str(docker_config(folder / "docker", first, second)),
    }
    merged.pop("VERSION", None)
    make_keys(folder, merged)
    begin(root)
    return Release(root, {"first": first, "second": second}, servers, merged)


def only(folder: Path, *programs: str) -> dict[str, str]:
    """Give a PATH with these programs of this machine's and no other."""
    folder.mkdir()
    for name in programs:
        found = next(
            Path(part, name)
            for part in os.environ["PATH"].split(os.pathsep)
            if Path(part, name).is_file()
        )
        (folder / name).symlink_to(found)
    return {"PATH": str(folder)}
