"""The warnings of the Dockerfile's own frontend, asked for by `docker buildx build --call=check`.

Sources: docs.docker.com/build/checks; frontend/subrequests/lint of BuildKit has the form of its
answer, and commands/build.go of buildx how it is printed: with exit code 1 where there are any.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from buildlib.build.argv import check_argv
from buildlib.build.build_image import handed_over
from buildlib.build.plan import BuildPlan
from buildlib.build.planner import BuildRequest, make_build_plan
from buildlib.errors import EngineError, ToolError
from buildlib.executor import Completed, Executor
from buildlib.findings.finding import Finding, Level
from buildlib.findings.policy_rules import BUILD_CHECK
from buildlib.project import Project
from buildlib.tempfiles import passing_file

# The base images' configurations are asked of their registries.
_TIMEOUT: Final = 300.0
_OLD_BUILDX: Final = "unknown flag: --call"
_OLD_FRONTEND: Final = "unsupported request frontend.lint"
# `# check=error=true` turns warnings into this.
_AS_ERRORS: Final = "lint violation found for rules:"
_ERROR: Final = "ERROR: "
_NO_BUILDX: Final = re.compile(r"is not a docker command|unknown command: docker buildx")


class NoBuildChecksError(Exception):
    """Nothing here can make the checks; says why."""


def plan_checks(project: Project) -> BuildPlan:
    """Return the build whose Dockerfile is checked: that of the configured target alone.

    A frontend that is given no target reads every stage, and asks for base images that no build
    needs.
    """
    dockerfile = project.dockerfile()
    last = dockerfile.stage()
    target = project.config.target or (last.name if last else "")
    return make_build_plan(
        project, BuildRequest(target=target), dockerfile, handover=passing_file("dockerfile", "")
    )


def run_checks(executor: Executor, plan: BuildPlan) -> list[Finding]:
    """Return what the frontend warns of.

    Raises:
        NoBuildChecksError: buildx, or the frontend, is older than the checks.
        ToolError: they could not be made: the gate has not passed (exit 3).
    """
    try:
        with handed_over(plan):
            done = executor.run(check_argv(plan), timeout=_TIMEOUT)
    except ToolError as error:
        raise NoBuildChecksError("build checks left out: docker is not installed") from error
    except EngineError as error:
        raise _failed(str(error)) from error
    try:
        said = json.loads(done.stdout)
    except ValueError:
        raise _why_nothing(done) from None
    try:
        return _findings(said)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise _failed(f"the frontend's answer has an unknown form: {error!r}") from error


def _findings(said: Mapping[str, Any]) -> list[Finding]:
    problem = str((said.get("buildError") or {}).get("message") or "")
    strict = _AS_ERRORS in problem
    if problem and not strict:
        raise _failed(problem)
    level = Level.ERROR if strict else Level.WARNING
    return [_finding(warning, level) for warning in said.get("warnings") or ()]


def _why_nothing(done: Completed) -> Exception:
    if _OLD_BUILDX in done.stderr or _NO_BUILDX.search(done.stderr):
        return NoBuildChecksError("build checks left out: docker buildx has them since 0.15")
    if _OLD_FRONTEND in done.stderr:
        return NoBuildChecksError(
            "build checks left out: BuildKit has them since 0.14 (Dockerfile 1.8)"
        )
    # The lines of the Dockerfile may come after what is wrong with them.
    errors = [line for line in done.stderr.splitlines() if line.startswith(_ERROR)]
    said = "".join(errors[:1]).removeprefix(_ERROR) or done.stderr.strip()
    return _failed(said or f"docker buildx exited with code {done.code}")


def _failed(why: str) -> ToolError:
    return ToolError(
        "the build checks could not be made",
        why=why,
        hint=f'make what the build needs reachable, or ignore the rule "{BUILD_CHECK}"',
    )


def _finding(warning: Mapping[str, Any], level: Level) -> Finding:
    ranges = (warning.get("location") or {}).get("ranges") or [{}]
    return Finding(
        rule=f"{BUILD_CHECK}/{warning['ruleName']}",
        level=level,
        message=str(warning.get("detail") or warning.get("description") or ""),
        line=int((ranges[0].get("start") or {}).get("line") or 0),
        link=str(warning.get("url") or ""),
    )
