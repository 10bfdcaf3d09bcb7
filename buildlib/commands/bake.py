"""What `bake` does: a file for `docker buildx bake`, whose builds are those of `docker-build`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from buildlib.build.checked_plan import plan_build
from buildlib.build.plan import BuildPlan, Output
from buildlib.build.planner import BuildRequest, configured_base
from buildlib.commands.session import Edge
from buildlib.config.build_options import pair
from buildlib.config.images import FROM_HERE
from buildlib.errors import InputError
from buildlib.files import write_text
from buildlib.project import Project
from buildlib.shell import csv_field
from buildlib.terminal.text import to_json

# Options of [build], and what bake calls them.
_LISTS: Final = {
    "allow": "entitlements",
    "no-cache-filter": "no-cache-filter",
    "ssh": "ssh",
    "ulimit": "ulimits",
}
# What may name files and directories, in one text or in several.
_PATHS: Final = ("contexts", "secret", "ssh", "cache-from", "cache-to")
_BEGIN: Final = r'(^|[=,"]|://)'
_KNOWN: Final = {*_LISTS, "add-host", "annotation", "attest", "label", "network", "shm-size"}


def bake(run: Edge, *, printed: bool, output: str) -> None:
    """Print the file, or write it.

    Raises:
        InputError: neither or both are asked for, or an image can't be planned (exit 2).
    """
    if printed == bool(output):
        raise InputError("bake prints a file or writes it", hint="give --print or --output FILE")
    projects = run.projects(run.batch.names if run.batch else ())
    found = _with_those_below(projects)
    _check_names(found)
    targets = {_target(one): _of(run, one) for one in found}
    group = {"default": {"targets": [_target(one) for one in projects]}}
    text = to_json(_escaped({"group": group, "target": targets}))
    if output and not run.dry:
        write_text(Path(output), f"{text}\n")
    run.console.answer(text if printed or run.dry else output)


def _with_those_below(projects: Iterable[Project]) -> list[Project]:
    found: dict[str, Project] = {}

    def add(project: Project) -> None:
        if project.config.name in found:
            return
        for _, one in project.below:
            add(one)
        found[project.config.name] = project

    for project in projects:
        add(project)
    return list(found.values())


def _target(project: Project) -> str:
    """Return what a target is called: a name has no dot."""
    return re.sub(r"[^\w-]", "_", project.config.name or project.config.short_name)


def _check_names(projects: Iterable[Project]) -> None:
    """Raise InputError where two images would be one target."""
    known: dict[str, str] = {}
    for one in projects:
        if other := known.get(_target(one)):
            raise InputError(
                f"the images {other} and {one.config.name} would be one target of bake",
                why=f"a target's name has no dot: {_target(one)}",
                hint="rename one of them",
            )
        known[_target(one)] = one.config.name


def _of(run: Edge, project: Project) -> dict[str, Any]:
    config = project.config
    request = BuildRequest(platforms=("all",) if config.platforms else (), output=Output.OCI)
    plan, warnings = plan_build(project, request)
    for warning in warnings:
        run.console.warn(warning)
    if plan.kept_out:
        run.console.warn(
            f"bake sends what .dockerignore does not keep out: add {', '.join(plan.kept_out)}"
        )
    if others := sorted({name for name, _ in plan.options} - _KNOWN):
        run.console.warn(f"bake has nothing like {', '.join(others)} of [build]")
    root = config.root.resolve()
    destination = os.path.relpath(plan.destination or root, root)
    found: dict[str, Any] = {
        "context": os.path.relpath(plan.context, root),
        "dockerfile": os.path.relpath(plan.dockerfile, plan.context),
        "target": plan.target,
        "platforms": [str(one) for one in plan.platforms],
        "tags": list(plan.references),
        # One without a value is the environment's, which bake does not read.
        "args": {name: value for name, value in plan.build_args if value is not None},
        "labels": dict(plan.labels) | dict(map(pair, plan.values("label"))),
        "annotations": [
            *(f"index:{name}={value}" for name, value in plan.annotations),
            *plan.values("annotation"),
        ],
        "contexts": dict(_contexts(project, plan)),
        "secret": list(plan.secrets),
        "cache-from": list(plan.cache_from),
        "cache-to": list(plan.cache_to),
        "attest": _attests(plan),
        "extra-hosts": dict(re.split("[:=]", text, maxsplit=1) for text in plan.values("add-host")),
        "network": "".join(plan.values("network")[-1:]),
        "shm-size": "".join(plan.values("shm-size")[-1:]),
        **{key: list(plan.values(name)) for name, key in _LISTS.items()},
        "output": [f"type=oci,rewrite-timestamp=true,{csv_field(f'dest={destination}')}"],
    }
    for key in _PATHS:
        found[key] = _relative(found[key], config.root)
        texts = found[key].values() if isinstance(found[key], dict) else found[key]
        for text in texts:
            if re.search(f"{_BEGIN}/", text):
                why = "which other machines may not have"
                run.console.warn(f"{key} names a path outside the project, {why}: {text}")
    return {key: value for key, value in found.items() if value}


def _relative(value: object, root: Path) -> object:
    """Return texts with the paths below the project relative to it, as bake reads them."""
    if isinstance(value, dict):
        return {key: _relative(inner, root) for key, inner in value.items()}
    if isinstance(value, list):
        return [_relative(one, root) for one in value]
    return re.sub(rf'{_BEGIN}{re.escape(str(root))}(?=[/,"@:]|$)', r"\1.", str(value))


def _attests(plan: BuildPlan) -> list[str]:
    """Return the attestations; provenance, which bake makes by itself, only as configured."""
    own = list(plan.values("attest"))
    provenance = any("type=provenance" in text for text in own)
    return own if provenance else [*own, "type=provenance,disabled=true"]


def _contexts(project: Project, plan: BuildPlan) -> Iterator[tuple[str, str]]:
    below, known = dict(plan.below), dict(project.below)
    for base, source in plan.build_contexts:
        image = configured_base(project.config, base)
        if base in below and image:
            yield base, f"target:{_target(known[image.source.removeprefix(FROM_HERE)])}"
        else:
            yield base, source


def _escaped(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a value in which bake replaces nothing: it takes texts for templates."""
    if isinstance(value, str):
        return re.sub(r"([$%])(?=\{)", r"\1\1", value)
    if isinstance(value, dict):
        return {key: _escaped(inner) for key, inner in value.items()}
    return [_escaped(one) for one in value] if isinstance(value, Sequence) else value
