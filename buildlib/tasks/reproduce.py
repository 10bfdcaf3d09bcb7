"""The task that builds twice: `docker-reproduce`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from invoke.context import Context
from invoke.tasks import task

from buildlib.errors import raise_problems
from buildlib.tasks.edge import edge


@task(
    auto_shortflags=False,
    iterable=["platform"],
    help={
        "platform": "os/arch to build for; repeat it, or 'all'; default: the configured list",
        "keep": "a directory in which both archives stay: first.oci.tar and second.oci.tar",
        "json": "print the result as JSON on stdout, and nothing else there",
    },
)
def docker_reproduce(
    context: Context,
    platform: Sequence[str] | None = None,
    *,
    keep: str = "",
    json: bool = False,
) -> None:
    """Build the image twice under other conditions; fail where a byte differs, and say which."""
    with edge(context, quiet=json) as run:
        from buildlib.executor import PlumbumExecutor  # noqa: PLC0415 - only this task needs them
        from buildlib.report import to_json  # noqa: PLC0415 - the same
        from buildlib.reproduce.flow import reproduce  # noqa: PLC0415 - the same
        from buildlib.reproduce.result import check_reproduction  # noqa: PLC0415 - the same

        result = reproduce(
            run.project(),
            run.console,
            lambda changes: PlumbumExecutor({**run.env, **changes}, run.start),
            platforms=tuple(platform or ()),
            keep=Path(keep) if keep else None,
        )
        run.console.answer(to_json(result.as_dict()) if json else result.as_text())
        raise_problems(check_reproduction(result))
