"""Checks an image and its Dockerfile against every rule."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date

from buildlib.build.argv import check_line
from buildlib.build.plan import BuildPlan
from buildlib.build.planner import BuildRequest, make_build_plan
from buildlib.build.preflight import secret_values
from buildlib.dockerfile.instructions import read_instructions
from buildlib.errors import GateError
from buildlib.executor import Executor
from buildlib.findings.finding import Finding
from buildlib.findings.policy_rules import BUILD_CHECK, HADOLINT
from buildlib.findings.suppressions import apply, is_active
from buildlib.image.archive import Archive, Image
from buildlib.image.labels import CREATED_LABEL, OCI, REVISION_LABEL, VERSION_LABEL, stand_ins_of
from buildlib.image.platform import is_platform
from buildlib.policy.build_checks import NoBuildChecksError, plan_checks, run_checks
from buildlib.policy.dockerfile_checks import (
    check_bases,
    find_hadolint,
    hadolint_argv,
    run_hadolint,
)
from buildlib.policy.image_checks import check_image, levelled, read_contents
from buildlib.policy.report import PolicyReport, make_report
from buildlib.policy.secret_checks import Known
from buildlib.project import Project
from buildlib.shell import shell_line

# Labels that have a key of the configuration.
_LABEL_KEYS = ("title", "description", "licenses", "source")
# What hadolint and the frontend say of a command that is a line for a shell, and our rule for it.
_OF_SHELL = frozenset({f"{HADOLINT}/DL3025", f"{BUILD_CHECK}/JSONArgsRecommended"})
_SHELL_RULES = {
    "HEALTHCHECK": "exec-healthcheck",
    "CMD": "exec-entrypoint",
    "ENTRYPOINT": "exec-entrypoint",
}


def check_policy(
    project: Project,
    archive: Archive,
    executor: Executor,
    *,
    image: str,
    release: bool,
    today: date,
    dropped: Collection[str] = (),
) -> PolicyReport:
    """Check every platform of an image, and the Dockerfile, against every rule.

    Args:
        project: whose image it is; its configuration has limits and ignores.
        executor: starts hadolint and docker.
        image: its name, for the report.
        today: in UTC, for ignores.
        dropped: platforms on which smoke saw a start as root become the configured user.

    Raises:
        InputError: the image can't be read (exit 2).
        ToolError: hadolint is not here, or the build checks fail: the gate has not passed (exit 3).
    """
    policy, run = project.config.image_policy(), project.config.run
    images = archive.images()
    # A base may depend on the platform, and those of the image are known.
    named = dict.fromkeys(one.platform for one in images if is_platform(one.platform))
    plan = make_build_plan(project, BuildRequest(platforms=tuple(named)), project.dockerfile())
    asked = _asked(project, today)
    found, left_out = _sources(project, plan, executor, images, asked)
    known = Known(secret_values(plan.secrets, project.env), policy.allow_names)
    for one in images:
        found += check_image(
            read_contents(archive, one, known),
            policy,
            size_budget=project.config.smoke.size_budget,
            serves=bool(project.config.smoke.port),
            drops_to=run.user if run.drops_root else 0,
            seen=one.platform in dropped,
            labels=[name for name, _ in plan.labels],
        )
    found = _once(found, project)
    report = make_report(
        image,
        tuple(one.platform for one in images),
        levelled(found, release=release, base=policy.base),
        policy.ignore,
        today,
    )
    # A tool that was not run might have found what an ignore is about.
    not_run = {HADOLINT, BUILD_CHECK} - (set(asked) - left_out.keys())
    unused = tuple(one for one in report.unused if one.rule.partition("/")[0] not in not_run)
    return replace(report, unused=unused, left_out=tuple(left_out.values()))


def _sources(
    project: Project,
    plan: BuildPlan,
    executor: Executor,
    images: Sequence[Image],
    tools: Collection[str],
) -> tuple[list[Finding], dict[str, str]]:
    """Return what is wrong with the Dockerfile, and why a tool was left out, by its rule."""
    stand_ins = stand_ins_of(one.labels for one in images)
    found = [*check_bases(plan.bases, sorted(stand_ins))]
    left_out = {}
    if HADOLINT in tools:
        found += run_hadolint(executor, project.dockerfile_path, project.config.root)
    if BUILD_CHECK in tools:
        try:
            found += run_checks(executor, plan_checks(project))
        except NoBuildChecksError as why:
            left_out[BUILD_CHECK] = str(why)
    return found, left_out


def _once(found: Sequence[Finding], project: Project) -> list[Finding]:
    """Return the findings without what two tools say of the cause of one of ours."""
    rules = {one.rule for one in found}
    if rules.isdisjoint(_OF_SHELL) or rules.isdisjoint(_SHELL_RULES.values()):
        return [*found]
    text = project.dockerfile_path.read_text(encoding="utf-8", errors="replace")
    # Of several in a stage the last one counts.
    last = {one.name: one.line for one in read_instructions(text)}
    lines = {last.get(name, 0) for name, rule in _SHELL_RULES.items() if rule in rules}
    return [one for one in found if not (one.rule in _OF_SHELL and one.line in lines)]


def policy_lines(project: Project, today: date) -> tuple[str, ...]:
    """Return the commands that `check_policy` runs, each as a line for a shell.

    Raises:
        InputError: the Dockerfile or the configuration is not usable (exit 2).
    """
    asked, root = _asked(project, today), project.config.root
    lint = [shell_line(hadolint_argv(project.dockerfile_path, root))] if HADOLINT in asked else []
    return (*lint, *([check_line(plan_checks(project))] if BUILD_CHECK in asked else []))


def _asked(project: Project, today: date) -> tuple[str, ...]:
    """Return the tools that read the Dockerfile, by their rules."""
    return tuple(tool for tool in (HADOLINT, BUILD_CHECK) if _needs(tool, project, today))


def _needs(tool: str, project: Project, today: date) -> bool:
    """Return whether a tool is run: one of which everything is ignored is not needed."""
    ignores = project.config.image_policy().ignore
    ignored = any(i.rule == tool and not i.path and is_active(i, today) for i in ignores)
    return not ignored and project.dockerfile_path.is_file()


def check_labels(project: Project, today: date) -> None:
    """Check that an image will have the labels that a release asks for; asked before a build.

    Raises:
        GateError: neither the configuration nor the Dockerfile sets one of them (exit 7).
        InputError: the Dockerfile or the configuration is not usable (exit 2).
    """
    config, dockerfile = project.config, project.dockerfile()
    plan = make_build_plan(project, BuildRequest(), dockerfile)
    policy, build_args = config.image_policy(), dict(plan.build_args)
    known = {name: value for name, value in build_args.items() if value is not None}
    given = {name for name, _ in plan.labels} | dockerfile.labels(plan.target, known)
    # The commit gives these, and whether there is one is checked elsewhere.
    given |= {VERSION_LABEL, REVISION_LABEL, CREATED_LABEL}
    found = [Finding(rule="complete-labels", path=name) for name in policy.labels]
    kept = apply(policy.ignore, (one for one in found if one.path not in given), today).kept
    # Another image of the repository hands its labels on.
    if not kept or plan.below:
        return
    names = [one.path.removeprefix(f"{OCI}.") for one in kept]
    keys = [name for name in names if name in _LABEL_KEYS]
    place = f"set {' and '.join(keys)} in {config.file}, or with" if keys else "set them with"
    raise GateError(
        f"the image has no label for: {', '.join(names)}",
        why="the rule complete-labels of the policy refuses a release without",
        hint=f"{place} LABEL in the Dockerfile: LABEL {kept[0].path}=…",
    )


def find_linter(project: Project, executor: Executor, today: date) -> None:
    """Check that `check_policy` will find what it starts, which can be done before a build.

    Raises:
        ToolError: hadolint is not here (exit 3).
    """
    if _needs(HADOLINT, project, today):
        find_hadolint(executor)
