"""The task about GoReleaser: `goreleaser-config`."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from buildlib.tasks.session import edge


@task(
    auto_shortflags=False,
    help={
        "check": "fail if the file does not match the configuration",
        "output": "write the whole file there instead, with the base images of this machine",
        "held-back": "print the value of BUILDLIB_HELD_BACK for the release of this commit",
        "dry-run": "print what would change",
    },
)
def goreleaser_config(
    context: Context,
    *,
    check: bool = False,
    output: str = "",
    held_back: bool = False,
    dry_run: bool = False,
) -> None:
    """Write the images, tags and labels of GoReleaser's configuration from ours."""
    with edge(context, dry_run=dry_run) as run:
        from buildlib.commands import goreleaser  # noqa: PLC0415 - only this task needs it

        if held_back:
            goreleaser.hold_back(run)
        else:
            goreleaser.configure(run, check=check, output=output)
