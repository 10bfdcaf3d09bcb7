"""What `docker-build --dry-run` does; apart from the build, of which it loads nothing."""

from __future__ import annotations

from buildlib.build.argv import build_line
from buildlib.build.checked_plan import plan_build
from buildlib.build.planner import BuildRequest
from buildlib.commands.session import Edge
from buildlib.commands.sources import files_of
from buildlib.project import Project


def print_plan(run: Edge, project: Project, request: BuildRequest) -> None:
    """Print the line that would build the image; warnings go to stderr.

    Raises:
        InputError: the request or the files are not usable; all problems at once (exit 2).
    """
    with files_of(run, project, request) as there:
        plan, warnings = plan_build(there, request)
    for warning in warnings:
        run.console.warn(warning)
    described = project.config.described_builder()
    if described and described.lease_repository:
        for node in described.first_nodes(plan.platforms):
            if node.max_builds:
                run.console.note(
                    f"claims a place on node {node.name} in {described.lease_repository}"
                )
    run.plan(build_line(plan))
