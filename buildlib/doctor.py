"""What a build needs, what is here, and how to mend what is not."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Final

from buildlib.build.preflight import MINIMUM_BUILDX, check_engine, unknown_buildx, version_numbers
from buildlib.containers.runner import describe_engine
from buildlib.docker.endpoint import Group, find_engine
from buildlib.docker.engine import Builder, EngineFacts, inspect_builder, inspect_engine
from buildlib.errors import BuildlibError, ToolError
from buildlib.executor import Executor
from buildlib.git.facts import NoGit
from buildlib.project import Project

# Docker 23 is the first that builds with buildx by itself; git 2.15 the first that says whether a
# clone is shallow.
_MINIMUM_DOCKER: Final = "23"
_MINIMUM_GIT: Final = "2.15"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that is needed: `state` is `ok`, `missing` or `note`."""

    name: str
    state: str
    found: str
    minimum: str = ""
    fix: str = ""

    def as_row(self) -> tuple[str, ...]:
        """Return the cells of the table."""
        minimum = f"(at least {self.minimum})" if self.minimum else ""
        return (self.state, self.name, self.found, minimum, self.fix)


def _check(
    name: str, found: str, *, minimum: str = "", fix: str = "", needed: bool = True
) -> Check:
    bad = "missing" if needed else "note"
    return Check(
        name=name,
        state="ok" if found and not fix else bad,
        found=found or "none",
        minimum=minimum,
        fix=fix,
    )


def diagnose(project: Project, executor: Executor) -> tuple[list[Check], list[BuildlibError]]:
    """Return a line for each thing that is needed, and the problems that stop a build."""
    problems: list[BuildlibError] = []
    try:
        facts = inspect_engine(executor)
        problems += check_engine(facts, endpoint=project.env.get("DOCKER_HOST", ""))
    except ToolError as error:
        facts = EngineFacts()
        problems.append(error)
    name = project.config.buildx_builder()
    builder = inspect_builder(executor, name) if facts.server else None
    checks = [*_tools(facts, problems), *_endpoint(project, executor, facts)]
    return [*checks, _git(project, executor), *_images(project, facts, builder)], problems


def _endpoint(project: Project, executor: Executor, facts: EngineFacts) -> list[Check]:
    """Return what `docker-run` connects to, and what it mounts: two questions."""
    try:
        answer = find_engine(project.env, executor)
    except BuildlibError as error:
        return [_check("engine to run on", "", fix=f"{error.hint} ({error.what})", needed=False)]
    engine = describe_engine(answer, facts)
    candidate, mount = answer.candidate, engine.mount
    where = f"{candidate.address} ({candidate.source}, {engine.kind})"
    group = "its group there" if mount.group is Group.HOST else "the group that a container sees"
    return [
        _check("engine to run on", where, needed=False),
        _check(
            "socket for containers",
            f"{mount.source}, {group}" if mount.source else "",
            fix=mount.note,
            needed=False,
        ),
    ]


def _fix(problems: list[BuildlibError], word: str) -> str:
    """Return the hint of the problem that speaks of `word`."""
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
    return _check(
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
        _check("python", platform.python_version(), minimum="3.11"),
        _check(
            "docker",
            facts.client,
            minimum=_MINIMUM_DOCKER,
            fix=_fix(problems, "docker not found") or _old(facts.client, _MINIMUM_DOCKER),
            needed=not facts.client,
        ),
        _check(
            "buildx",
            facts.buildx,
            minimum=oldest,
            fix=_fix(problems, "buildx") or " ".join(unknown_buildx(facts)),
            needed=not facts.buildx_fits,
        ),
        _check(
            "engine",
            engine,
            minimum=_MINIMUM_DOCKER,
            fix=_fix(problems, "engine")
            or ("" if engine else "start it")
            or _old(facts.server, _MINIMUM_DOCKER),
            needed=not engine,
        ),
    ]


def _images(project: Project, facts: EngineFacts, builder: Builder | None) -> list[Check]:
    store = facts.storage if facts.containerd_store else ""
    here = set(builder.platforms) if builder else set()
    lacking = [str(p) for p in project.config.platforms if here and str(p) not in here]
    stand_ins = [name for name, image in project.config.base_images if image.stand_in]
    return [
        _check(
            "containerd image store",
            store,
            fix="" if store else "needed to load several platforms under one tag",
            needed=False,
        ),
        _check(
            "platforms that run here",
            ", ".join(sorted(here)),
            fix=f"{', '.join(lacking)}: register emulation with "
            "docker run --privileged --rm tonistiigi/binfmt --install all"
            if lacking
            else "",
            needed=False,
        ),
        _check(
            "base images",
            f"stand-ins for {', '.join(stand_ins)}"
            if stand_ins
            else "as the Dockerfile names them",
            fix="an image built on stand-ins must not be published" if stand_ins else "",
            needed=False,
        ),
    ]
