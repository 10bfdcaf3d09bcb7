"""The task about GoReleaser: `goreleaser-config`."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from buildlib.tasks.edge import edge


@task(
    auto_shortflags=False,
    help={
        "check": "fail where the file is not what follows from the configuration",
        "output": "write the whole file there instead, with the base images of this machine",
        "held-back": "print what BUILDLIB_HELD_BACK has to be, for this commit to be released",
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
    """Write what GoReleaser's configuration has in common with ours: images, tags, labels."""
    with edge(context, dry_run=dry_run) as run:
        from buildlib.tasks import goreleasing  # noqa: PLC0415 - only this task needs it

        if held_back:
            goreleasing.hold_back(run)
        else:
            goreleasing.configure(run, check=check, output=output)
