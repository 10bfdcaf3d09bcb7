"""Tasks that only tell: `config`, `doctor`."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from json import dumps
from typing import Any

from invoke.context import Context
from invoke.tasks import task

from buildlib import config as configuration
from buildlib.console import table
from buildlib.errors import raise_problems
from buildlib.platforms import Platform
from buildlib.report import to_json
from buildlib.tasks.edge import edge


def _plain(value: object) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """Return a configured value as JSON would have it."""
    if isinstance(value, Platform):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {key: _plain(item) for key, item in asdict(value).items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _cell(value: object) -> str:
    return value if isinstance(value, str) else dumps(value)


@task(auto_shortflags=False, help={"json": "print it as JSON"})
def config(context: Context, *, json: bool = False) -> None:
    """Print every configured value, and where it came from."""
    with edge(context) as run:
        found = run.project().config
        values = {key: getattr(found, key.replace("-", "_")) for key in configuration.known_keys()}
        values["tags"] = found.tag_rules()
        rows = [(key, _plain(values[key]), str(found.source_of(key))) for key in values]
        if json:
            run.console.answer(
                to_json({key: {"value": value, "source": source} for key, value, source in rows})
            )
        else:
            run.console.answer(table([(key, source, _cell(value)) for key, value, source in rows]))


@task(auto_shortflags=False, help={"json": "print it as JSON"})
def doctor(context: Context, *, json: bool = False) -> None:
    """Tell what a build needs, what is here, and how to mend what is missing."""
    from buildlib.doctor import diagnose  # noqa: PLC0415 - nothing else needs it

    with edge(context) as run:
        checks, problems = diagnose(run.project(), run.executor)
        if json:
            run.console.answer(to_json({"checks": [asdict(check) for check in checks]}))
        else:
            run.console.answer(table([check.as_row() for check in checks]))
        raise_problems(problems)
