"""What stands below the executor seam in unit tests."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from buildlib.config.config import Config
from buildlib.config.load import load_config
from buildlib.docker.engine import EngineFacts
from buildlib.dockerfile.parser import parse_dockerfile
from buildlib.errors import ToolError
from buildlib.executor import NOTHING, Completed, Watch
from buildlib.git.facts import GitFacts, NoGit
from buildlib.project import Project
from buildlib.tempfiles import new_name
from buildlib.terminal.activity import Activity
from buildlib.terminal.console import Console
from buildlib.versioning.version import resolve_version

REVISION = "0123456789abcdef0123456789abcdef01234567"
DOCKERFILE = """\
ARG GO_VERSION=1.24
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-alpine AS compile
ARG VERSION
ARG REVISION
ARG CREATED
COPY app/ ./
FROM alpine:3.22
COPY --from=compile /out /out
"""
# What may be published: the bases are named by their digests.
PINNED = parse_dockerfile(
    f"FROM golang:1.24@sha256:{'1' * 64}\nFROM alpine:3.22@sha256:{'2' * 64}\n"
)
GOOD = EngineFacts(
    client="26.1.5",
    buildx="v0.13.1",
    server="26.1.5",
    context="default",
    os="linux",
    arch="x86_64",
    containerd_store=True,
)


class FakeExecutor:
    """Answers from a table of argv beginnings, and remembers what it was asked."""

    def __init__(self, answers: Mapping[tuple[str, ...], Completed] | None = None) -> None:
        self.answers = dict(answers or {})
        self.asked: list[tuple[str, ...]] = []
        self.envs: list[tuple[tuple[str, ...], Mapping[str, str]]] = []
        self.texts: list[str] = []
        self.lines: Sequence[str] = ()
        self.silences = 0

    def _answer(self, argv: Sequence[str]) -> Completed:
        self.asked.append(tuple(argv))
        for beginning, answer in self.answers.items():
            if tuple(argv[: len(beginning)]) == beginning:
                return answer
        raise ToolError(f"{argv[0]} not found", hint="install it")

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float | None = None,
        env: Mapping[str, str] = NOTHING,
    ) -> Completed:
        assert timeout is None or timeout > 0
        self.envs += [(tuple(argv), env)] if env else []
        return self._answer(argv)

    def feed(self, argv: Sequence[str], text: str, *, timeout: float | None = None) -> Completed:
        assert timeout is None or timeout > 0
        self.texts.append(text)
        return self._answer(argv)

    def stream(
        self, argv: Sequence[str], on_line: Callable[[str], None], *, watch: Watch | None = None
    ) -> int:
        answer = self._answer(argv)
        for line in self.lines:
            on_line(line)
        self._silence(watch)
        return answer.code

    def attach(
        self,
        argv: Sequence[str],
        *,
        watch: Watch | None = None,
        env: Mapping[str, str] = NOTHING,
    ) -> int:
        self.envs += [(tuple(argv), env)] if env else []
        answer = self._answer(argv)
        self._silence(watch)
        return answer.code

    def _silence(self, watch: Watch | None) -> None:
        """Let time pass in which nothing is said."""
        for _ in range(self.silences if watch else 0):
            assert watch
            watch.ask()


DOCKER_INFO = {
    "ServerVersion": "26.1.5",
    "OSType": "linux",
    "Architecture": "x86_64",
    "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
    "ClientInfo": {"Version": "26.1.5", "Plugins": [{"Name": "buildx", "Version": "v0.13.1"}]},
}
STEP = {
    "digest": "a",
    "name": "[1/1] RUN x",
    "started": "2026-01-01T00:00:00Z",
    "completed": "2026-01-01T00:00:01Z",
}


class FakeDocker(FakeExecutor):
    """Docker as far as a build needs it; writes the metadata that buildx would write."""

    def __init__(
        self, code: int = 0, metadata: str = '{"containerimage.digest": "sha256:d"}'
    ) -> None:
        super().__init__(
            {
                ("docker", "info"): Completed(code=0, stdout=json.dumps(DOCKER_INFO)),
                ("docker", "buildx", "build"): Completed(code=code),
                ("docker", "image", "inspect"): Completed(code=0, stdout="5818000\n"),
                ("docker", "buildx", "inspect"): Completed(code=1, stderr="ERROR: no builder"),
            }
        )
        self.metadata = metadata
        self.archive = b"12345"
        self.lines = [json.dumps({"vertexes": [{**STEP, "cached": True}]})]

    def _answer(self, argv: Sequence[str]) -> Completed:
        for path in words_after(argv, "--metadata-file"):
            Path(path).write_text(self.metadata, encoding="utf-8")
        for output in words_after(argv, "--output"):
            if self.archive and output.startswith("type=oci,"):
                Path(output.rpartition("dest=")[2]).write_bytes(self.archive)
        return super()._answer(argv)


def a_console(**options: object) -> tuple[Console, io.StringIO, io.StringIO]:
    """Return a console, and its two streams."""
    out, err = io.StringIO(), io.StringIO()
    env = {str(k): str(v) for k, v in options.items()}
    return Console(env, out=out, err=err), out, err


def showing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of what consoles show while it runs, from now on."""
    shown: list[str] = []
    running = Console.running

    def noted(console: Console, name: str, *, total: int = 0) -> AbstractContextManager[Activity]:
        shown.append(name)
        return running(console, name, total=total)

    monkeypatch.setattr(Console, "running", noted)
    return shown


def git_facts(**changes: object) -> GitFacts:
    """Return facts of a clean release, with changes."""
    facts: dict[str, object] = {
        "root": Path("/repo"),
        "description": "v1.2.3",
        "revision": REVISION,
        "short": "0123456",
        "committed": 1_700_000_000,
        "head_tags": ("v1.2.3",),
        "nearest_tag": "v1.2.3",
    }
    return GitFacts(**{**facts, **changes})  # type: ignore[arg-type]


def write_project(
    root: Path, config: str = 'image = "thing"\n', dockerfile: str = DOCKERFILE
) -> Path:
    """Write a small project that any repository could be."""
    (root / "buildlib.toml").write_text(config, encoding="utf-8")
    (root / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    (root / "app").mkdir(exist_ok=True)
    (root / "app" / "main.go").write_text("package main\n", encoding="utf-8")
    return root


def a_project(
    root: Path,
    *,
    git: GitFacts | NoGit | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Project:
    """Return the project in `root` as it would be with these facts."""
    config: Config = load_config(root, env or {}, overrides)
    facts = git or git_facts()
    version = resolve_version(
        facts,
        now=1_800_000_000,
        prefix=config.tag_prefix,
        scheme=config.version_scheme,
        override=(env or {}).get("VERSION", ""),
    )
    return Project(config=config, git=facts, version=version, env=env or {})


def dead_name(kind: str) -> str:
    """Return the name of something of this machine whose process has ended."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    _, machine, _, tail = new_name("x").split("-")
    return f"{kind}-{machine}-{pid}-{tail}"


def words_after(argv: Iterable[str], option: str) -> list[str]:
    """Return every value of a repeated option."""
    words = list(argv)
    return [words[n + 1] for n, word in enumerate(words[:-1]) if word == option]
