"""What builds and containers need of this machine: docker, buildx, the engine, git."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Final

from buildlib.build.preflight import MINIMUM_BUILDX, check_engine, unknown_buildx, version_numbers
from buildlib.containers.runner import describe_engine
from buildlib.docker.endpoint import Group, find_engine
from buildlib.docker.engine import Builder, EngineFacts, inspect_builder, inspect_engine
from buildlib.doctor.check import Check, check
from buildlib.errors import BuildlibError, ToolError
from buildlib.executor import Executor
from buildlib.git.facts import NoGit
from buildlib.project import Project

# Docker 23 is the first that builds with buildx by itself; git 2.15 the first that says whether a
# clone is shallow.
_MINIMUM_DOCKER: Final = "23"
_MINIMUM_GIT: Final = "2.15"


def inspect_machine(
    env: Mapping[str, str], executor: Executor
) -> tuple[EngineFacts, list[BuildlibError]]:
    """Return what docker says, and the problems that stop every build."""
    try:
        facts = inspect_engine(executor)
    except ToolError as error:
        return EngineFacts(), [error]
    return facts, check_engine(facts, endpoint=env.get("DOCKER_HOST", ""))


def without_project(env: Mapping[str, str], executor: Executor) -> list[Check]:
    """Return what builds need of this machine, whatever is configured."""
    return _tools(*inspect_machine(env, executor))


def for_builds(
    project: Project, executor: Executor, facts: EngineFacts, problems: list[BuildlibError]
) -> list[Check]:
    """Return what every build needs."""
    name = project.config.buildx_builder()
    builder = inspect_builder(executor, name) if facts.server else None
    return [*_tools(facts, problems), _git(project, executor), *_abilities(project, facts, builder)]


def for_containers(project: Project, executor: Executor, facts: EngineFacts) -> list[Check]:
    """Return what `docker-run` connects to, and what it mounts: two questions."""
    try:
        answer = find_engine(project.env, executor)
    except BuildlibError as error:
        return [check("engine to run on", "", fix=f"{error.hint} ({error.what})")]
    engine = describe_engine(answer, facts)
    candidate, mount = answer.candidate, engine.mount
    where = f"{candidate.address} ({candidate.source}, {engine.kind})"
    group = "its group there" if mount.group is Group.HOST else "the group that a container sees"
    return [
        check("engine to run on", where, fix="" if facts.server else "it does not answer docker"),
        check(
            "socket for containers",
            f"{mount.source}, {group}" if mount.source else "",
            fix=mount.note,
            needed=False,
        ),
    ]


def _fix(problems: list[BuildlibError], word: str) -> str:
    return next((p.hint for p in problems if word in p.what), "")


def _old(found: str, minimum: str) -> str:
    """Return what to do about a version that is older than the minimum; nothing if it is not."""
    numbers = version_numbers(found)
    old = numbers and numbers < version_numbers(minimum)
    return f"{minimum} is the oldest that is known to do" if old else ""


def _git(project: Project, executor: Executor) -> Check:
    git = project.git
    try:
        version = executor.run(("git", "version")).stdout.removeprefix("git version ").strip()
    except ToolError:
        version = ""
    said = git.reason if isinstance(git, NoGit) else f"HEAD is {project.version.describe}"
    lacking = "the version can't come from git" if isinstance(git, NoGit) else ""
    return check(
        "git",
        ", ".join(filter(None, (version, said))),
        minimum=_MINIMUM_GIT,
        fix=lacking or _old(version, _MINIMUM_GIT),
        needed=False,
    )


def _tools(facts: EngineFacts, problems: list[BuildlibError]) -> list[Check]:
    oldest = ".".join(map(str, MINIMUM_BUILDX))
    engine = f"{facts.server} {facts.os}/{facts.arch}" if facts.server else ""
    return [
        check("python", platform.python_version(), minimum="3.11"),
        check(
            "docker",
            facts.client,
            minimum=_MINIMUM_DOCKER,
            fix=_fix(problems, "docker not found") or _old(facts.client, _MINIMUM_DOCKER),
            needed=not facts.client,
        ),
        check(
            "buildx",
            facts.buildx.removeprefix("v"),
            minimum=oldest,
            fix=_fix(problems, "buildx") or " ".join(unknown_buildx(facts)),
            needed=not facts.buildx_fits,
        ),
        check(
            "engine",
            engine,
            minimum=_MINIMUM_DOCKER,
            fix=_fix(problems, "engine")
            or ("" if engine else "start it")
            or _old(facts.server, _MINIMUM_DOCKER),
            needed=not engine,
        ),
    ]


def _abilities(project: Project, facts: EngineFacts, builder: Builder | None) -> list[Check]:
    store = facts.storage if facts.containerd_store else ""
    here = set(builder.platforms) if builder else set()
    lacking = [str(p) for p in project.config.platforms if here and str(p) not in here]
    return [
        check(
            "containerd image store",
            store,
            fix="" if store else "needed to load several platforms under one tag",
            needed=False,
        ),
        check(
            "platforms that run here",
            ", ".join(sorted(here)),
            fix=f"{', '.join(lacking)}: register emulation with "
            "docker run --privileged --rm tonistiigi/binfmt --install all"
            if lacking
            else "",
            needed=False,
        ),
    ]
