"""Tasks that only tell: `config`, `doctor`."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from buildlib.tasks.session import edge


@task(auto_shortflags=False, help={"json": "print it as JSON"})
def config(context: Context, *, json: bool = False) -> None:
    """Print every configured value, and where it came from."""
    with edge(context) as run:
        from buildlib.commands import info  # noqa: PLC0415 - nothing else needs it

        info.show_config(run, as_json=json)


@task(auto_shortflags=False, help={"json": "print it as JSON"})
def doctor(context: Context, *, json: bool = False) -> None:
    """Check what a build needs, and print how to get what is missing."""
    with edge(context) as run:
        from buildlib.commands import info  # noqa: PLC0415 - nothing else needs it

        info.show_diagnosis(run, as_json=json)
