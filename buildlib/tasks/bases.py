"""The task that looks after base images: `docker-bases`."""

from __future__ import annotations

from collections.abc import Sequence

from invoke.context import Context
from invoke.tasks import task

from buildlib.tasks.session import BUILD_ARG, edge


@task(
    auto_shortflags=False,
    iterable=["build_arg"],
    help={
        "build-arg": BUILD_ARG,
        "check": "fail if one is not pinned, out of date or past its end of life",
        "update": "write the digests that the registries have now into the Dockerfile",
        "dry-run": "with --update, print what would change in the Dockerfile",
        "json": "print it as JSON",
    },
)
def docker_bases(
    context: Context,
    *,
    build_arg: Sequence[str] | None = None,
    check: bool = False,
    update: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Check the base images: newer versions, end of life, digests; --update pins them."""
    with edge(context, dry_run=dry_run, quiet=json) as run:
        from buildlib.commands import bases  # noqa: PLC0415 - only this task needs it

        run.take(build_arg, None)
        bases.refresh(run, check=check, update=update, json=json)
