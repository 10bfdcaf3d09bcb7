"""Tasks for a repository that begins: `init`."""

from __future__ import annotations

import sys

from invoke.context import Context
from invoke.tasks import task

from buildlib.program import program_of
from buildlib.tasks.session import edge


@task(
    auto_shortflags=False,
    help={
        "dockerfile": "path of the Dockerfile; default: the one that is there",
        "template": "language of a new Dockerfile: go, python or node; default: what is found",
        "image": "name of the image; default: after the git remote, or the directory",
        "from-makefile": "only print what replaces each docker command of Makefile, compose, bake "
        "and GoReleaser files, and of scripts",
        "noxfile": "write a noxfile.py too",
        "workflow": "write a workflow for GitHub Actions too",
        "yes": "write without a question",
        "dry-run": "print what would be written, and do nothing",
        "json": "print it as JSON on stdout; nothing is written without --yes",
    },
)
def init(
    context: Context,
    *,
    dockerfile: str = "",
    template: str = "",
    image: str = "",
    from_makefile: bool = False,
    noxfile: bool = False,
    workflow: bool = False,
    yes: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Write the configuration for this repository.

    It shows a diff first, and overwrites nothing.
    """
    with edge(context, dry_run=dry_run, json=json) as run:
        from buildlib.commands.init import InitOptions, show_migration
        from buildlib.commands.init import init as begin

        if from_makefile:
            show_migration(run, as_json=json)
            return

        options = InitOptions(
            dockerfile=dockerfile,
            template=template,
            image=image,
            noxfile=noxfile,
            workflow=workflow,
            yes=yes,
            program=program_of(sys.argv[0]) or "buildlib",
            as_json=json,
        )
        begin(run, options)
