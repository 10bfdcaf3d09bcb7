"""The task that looks after builders: `docker-builder`."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from buildlib.tasks.session import edge


@task(
    auto_shortflags=False,
    help={
        "action": "create, status or remove",
        "name": "name of a configured builder; default: the only one, and for status all",
        "dry-run": "print the commands that would run, and do nothing",
        "json": "print the result as JSON on stdout, and nothing else there",
    },
)
def docker_builder(
    context: Context, action: str, name: str = "", *, dry_run: bool = False, json: bool = False
) -> None:
    """Create a configured builder of buildx, show its status, or remove it."""
    with edge(context, dry_run=dry_run, quiet=json) as run:
        from buildlib.commands import builder  # noqa: PLC0415 - nothing else needs it

        builder.check_action(action)
        getattr(builder, action)(run, name, as_json=json)
