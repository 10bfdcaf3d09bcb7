"""A plan, and all that is wrong with it or worth a warning, without asking an engine."""

from __future__ import annotations

from collections.abc import Sequence

from buildlib.build import builder_check, option_checks, preflight
from buildlib.build.context import uncommitted
from buildlib.build.plan import BuildPlan
from buildlib.build.planner import BuildRequest, make_build_plan, unused_bases
from buildlib.config.builders import BuilderSettings
from buildlib.dockerfile.parser import Dockerfile
from buildlib.errors import BuildlibError, InputError, raise_problems
from buildlib.image.reference import parse_reference
from buildlib.project import Project
from buildlib.tempfiles import passing_file


def plan_build(project: Project, request: BuildRequest) -> tuple[BuildPlan, list[str]]:
    """Return the plan and warnings about it, without asking any engine.

    Raises:
        InputError: the request or the files are not usable; all problems at once (exit 2).
    """
    dockerfile = project.dockerfile()
    plan = make_plan(project, request, dockerfile).as_printed()
    described = project.config.described_builder()
    raise_problems(check_plan(project, plan, request, dockerfile, described))
    unknown = uncommitted(project, plan, preflight.read_ignore(plan))
    return plan, warnings_of(project, plan, dockerfile, unknown)


def make_plan(project: Project, request: BuildRequest, dockerfile: Dockerfile) -> BuildPlan:
    """Return the plan of a request, with names of its own for files that go away with it."""
    return make_build_plan(
        project,
        request,
        dockerfile,
        metadata_file=passing_file("metadata", ".json"),
        handover=passing_file("dockerfile", ""),
        layouts=passing_file("layouts", ""),
        parts=passing_file("parts", ""),
    )


def check_plan(
    project: Project,
    plan: BuildPlan,
    request: BuildRequest,
    dockerfile: Dockerfile,
    described: BuilderSettings | None,
) -> list[BuildlibError]:
    """Return the problems that need no engine to be seen."""
    allowed = project.config.allowed_names()
    problems = preflight.check_build_args(plan.build_args, project.env, allowed)
    problems += option_checks.check_options(plan, dockerfile, project.env, allowed)
    problems += preflight.check_secrets(plan.secrets) or preflight.unset_secrets(
        plan.secrets, project.env
    )
    missing = preflight.check_files(plan)
    problems += missing
    if not missing:
        problems += preflight.check_dockerfile(plan, dockerfile, preflight.read_ignore(plan))
    if request.strict:
        problems += [InputError(text) for text in preflight.undeclared(plan, dockerfile)]
    if described:
        problems += builder_check.check_platforms(described, plan.platforms)
    return problems + preflight.check_push(plan, registries_of(plan))


def registries_of(plan: BuildPlan) -> list[str]:
    """Return the registries that the image is named in."""
    return [parse_reference(text).registry for text in plan.references]


def warnings_of(
    project: Project, plan: BuildPlan, dockerfile: Dockerfile, unknown: Sequence[str]
) -> list[str]:
    """Return what the user should know about a plan.

    Args:
        unknown: files of the context that no commit has.
    """
    stand_ins = ", ".join(plan.stand_ins)
    caches: list[str] = []
    if described := project.config.described_builder():
        caches = builder_check.cache_warnings(plan, described)
    return [
        *project.version.warnings,
        *(f"{text!r} can't be a tag: it becomes {tag}" for text, tag in plan.mapped),
        *preflight.unwanted_files(plan, project.not_source),
        *preflight.unknown_files(unknown),
        *preflight.undeclared(plan, dockerfile),
        *preflight.likely_missing(plan, preflight.read_ignore(plan)),
        *preflight.other_version(plan, dockerfile, project.config.injected()["VERSION"]),
        *unused_bases(project, plan),
        *([f"built on placeholders for {stand_ins}: not for publishing"] if stand_ins else []),
        *caches,
    ]
