"""What `config` and `doctor` do; apart from their options, as nothing else needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date

from buildlib.commands.session import Edge
from buildlib.config.config import Config
from buildlib.config.file import OWN_FILE, find_table
from buildlib.config.images import own_values
from buildlib.config.load import known_keys
from buildlib.config.toml_text import toml_key, toml_tables, toml_value
from buildlib.doctor.report import check_group, check_skips, diagnose, diagnose_machine
from buildlib.errors import InputError, raise_problems
from buildlib.findings.report import show
from buildlib.image.platform import Platform
from buildlib.terminal.text import redact, to_json


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
    """Print the configuration as TOML, with its sources."""
    found = run.project().config
    if not as_json:
        written = find_table(run.start.resolve())[2]
        if found.name:
            # As if it were the only image: the tables of all would not be one file of it.
            written = {**written, **own_values(written, found.name)}
        run.console.answer("\n".join(_as_toml(found, written)))
        return
    values = {key: getattr(found, key.replace("-", "_")) for key in known_keys()}
    lists = {"include": found.context_include, "allow": found.context_allow}
    if any(lists.values()):
        given = {name: value for name, value in lists.items() if value}
        values["context"] = {"path": found.context, **given}
    values["tags"] = found.tag_rules()
    values["policy"] = found.image_policy()
    values |= _gate_settings(found)
    keys = {
        key: {"value": _plain(values[key]), "source": str(found.source_of(key))} for key in values
    }
    run.console.answer(to_json(keys))


def _as_toml(config: Config, written: Mapping[str, object]) -> Iterator[str]:
    """Yield the lines of a file that says what is configured; defaults are comments.

    Args:
        config: as it counts.
        written: the table that its file has.
    """
    own = config.file in {"", OWN_FILE}
    top = () if own else ("tool", "buildlib")
    values = {key: _given(config, key, written) for key in known_keys() if key != "images"}
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    if not own:
        yield f"[{toml_key(*top)}]"
    for key, value in values.items():
        default = getattr(config, key.replace("-", "_"))
        if key in tables:
            continue
        if value is not None:
            yield f"{key} = {toml_value(value)}  # {config.source_of(key)}"
        elif isinstance(default, str):
            yield f"# {key} = {toml_value(str(default))}"
    for key, table in tables.items():
        lines = toml_tables(
            (*top, key), table, list(_defaults(getattr(config, key.replace("-", "_")), table))
        )
        yield next(lines)
        yield f"# {config.source_of(key)}"
        yield from lines
    for key, settings in _gate_settings(config).items():
        if key not in tables:
            yield ""
            yield f"# [{toml_key(*top, key)}]"
            yield from _defaults(settings, {})


def _gate_settings(config: Config) -> dict[str, object]:
    """Return the tables that count in a publication, also where they are not configured."""
    return {
        "publish": config.publishing(),
        "scan": config.scan_settings(),
        "diff": config.diff_settings(),
    }


def _given(config: Config, key: str, written: Mapping[str, object]) -> object:
    """Return what is configured for a key, as a file would have it; None: nothing is."""
    kind = config.source_of(key).kind
    if kind == "default":
        return None
    if kind == "file":
        return _redacted(written[key])
    if key == "base-images":
        images = dict(config.base_images).items()
        return {name: {"source": one.source, "stand-in": one.stand_in} for name, one in images}
    return _plain(getattr(config, key.replace("-", "_")))


def _defaults(settings: object, table: Mapping[str, object]) -> Iterator[str]:
    """Yield a comment for each key of a table that is left out and counts all the same."""
    if not is_dataclass(settings):
        return
    for one in fields(settings):
        name, value = one.name.replace("_", "-"), _plain(getattr(settings, one.name))
        if name not in table and (value or value is False):
            yield f"# {name} = {toml_value(value)}"


def _redacted(value: object) -> object:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: _redacted(one) for key, one in value.items()}
    return [_redacted(one) for one in value] if isinstance(value, list) else value


def show_diagnosis(run: Edge, *, group: str, skips: Sequence[str], as_json: bool) -> None:
    """Print what a group of tasks needs and what is there, or what all need.

    Raises:
        InputError: there is no such group, or gate (exit 2).
        BuildlibError: something is missing: of the group, else of what a build needs.
    """
    skipped = check_skips(check_group(group), skips)
    try:
        project = run.project()
    except InputError:
        show(diagnose_machine(run.env, run.executor), run.console, as_json=as_json)
        raise
    found = diagnose(project, run.executor, run.console, run.today(), group, skipped=skipped)
    show(found, run.console, as_json=as_json)
    raise_problems(found.problems())
