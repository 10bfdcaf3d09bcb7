"""What `config` and `doctor` do; apart from their options, as nothing else needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from datetime import date
from json import dumps

from buildlib.commands.session import Edge
from buildlib.config.config import known_keys
from buildlib.console import redact, table, to_json
from buildlib.doctor.report import check_group, check_skips, diagnose
from buildlib.errors import raise_problems
from buildlib.findings.report import show
from buildlib.image.platform import Platform


def _plain(value: object) -> object:
    """Return a configured value as JSON would have it, without what is secret in it."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Platform | date):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _plain({one.name: getattr(value, one.name) for one in fields(value)})
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        named = getattr(value, "_asdict", None)
        return _plain(named()) if named else [_plain(item) for item in value]
    return value


def show_config(run: Edge, *, as_json: bool) -> None:
    """Print every configured value, and where it came from."""
    found = run.project().config
    values = {key: getattr(found, key.replace("-", "_")) for key in known_keys()}
    lists = {"include": found.context_include, "allow": found.context_allow}
    if any(lists.values()):
        given = {name: value for name, value in lists.items() if value}
        values["context"] = {"path": found.context, **given}
    values["tags"] = found.tag_rules()
    values["policy"] = found.image_policy()
    values["scan"] = found.scan_settings()
    rows = [(key, _plain(values[key]), str(found.source_of(key))) for key in values]
    if as_json:
        keys = {key: {"value": value, "source": source} for key, value, source in rows}
        run.console.answer(to_json(keys))
    else:
        cells = [
            (key, source, value if isinstance(value, str) else dumps(value))
            for key, value, source in rows
        ]
        run.console.answer(table(cells))


def show_diagnosis(run: Edge, *, group: str, skips: Sequence[str], as_json: bool) -> None:
    """Print what a group of tasks needs and what is there, or what all need.

    Raises:
        InputError: there is no such group, or gate (exit 2).
        BuildlibError: something is missing: of the group, else of what a build needs.
    """
    skipped = check_skips(check_group(group), skips)
    found = diagnose(run.project(), run.executor, run.console, run.today(), group, skipped=skipped)
    show(found, run.console, as_json=as_json)
    raise_problems(found.problems())
