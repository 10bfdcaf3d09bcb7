"""The task that builds twice: `docker-reproduce`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from invoke.context import Context
from invoke.tasks import task

from buildlib.errors import raise_problems
from buildlib.tasks.session import BUILD_ARG, SECRET, edge


@task(
    auto_shortflags=False,
    iterable=["platform", "build_arg", "secret"],
    help={
        "platform": "os/arch to build for; repeat it, or 'all'; default: the configured list",
        "build-arg": BUILD_ARG,
        "secret": SECRET,
        "keep": "directory to keep both archives in, first.oci.tar and second.oci.tar",
        "dry-run": "print the two commands that would run, and do nothing",
        "json": "print the result as JSON on stdout, and nothing else there",
    },
)
def docker_reproduce(
    context: Context,
    platform: Sequence[str] | None = None,
    *,
    build_arg: Sequence[str] | None = None,
    secret: Sequence[str] | None = None,
    keep: str = "",
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Build the image twice under different conditions; fail if a byte differs, and say which."""
    with edge(context, dry_run=dry_run, quiet=json) as run:
        from buildlib.console import to_json  # noqa: PLC0415 - the same
        from buildlib.executor import PlumbumExecutor  # noqa: PLC0415 - only this task needs them
        from buildlib.reproduce.rebuild import build_lines, reproduce  # noqa: PLC0415 - the same
        from buildlib.reproduce.report import check_reproduction  # noqa: PLC0415 - the same

        def executor_in(changes: Mapping[str, str]) -> PlumbumExecutor:
            return PlumbumExecutor({**run.env, **changes}, run.start)

        run.take(build_arg, secret)
        project, wanted = run.project(), tuple(platform or ())
        folder = Path(keep) if keep else None
        if run.dry:
            for line in build_lines(project, executor_in, platforms=wanted, keep=folder):
                run.console.answer(line)
            return
        result = reproduce(project, run.console, executor_in, platforms=wanted, keep=folder)
        run.console.answer(to_json(result.as_dict()) if json else result.as_text())
        raise_problems(check_reproduction(result))
