"""What the targets of a bake file come to on the command line of `docker buildx build`.

Source: docs.docker.com/build/bake/reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from buildlib.adopt.evidence import DockerLine

_LISTS: Final = {
    "tags": "--tag",
    "platforms": "--platform",
    "cache-from": "--cache-from",
    "cache-to": "--cache-to",
    "output": "--output",
    "secret": "--secret",
    "ssh": "--ssh",
    "attest": "--attest",
    "annotations": "--annotation",
    "no-cache-filter": "--no-cache-filter",
    "entitlements": "--allow",
    "ulimits": "--ulimit",
}
_TEXTS: Final = {
    "target": "--target",
    "network": "--network",
    "shm-size": "--shm-size",
    "call": "--call",
}
_TABLES: Final = {
    "args": "--build-arg",
    "labels": "--label",
    "contexts": "--build-context",
    "extra-hosts": "--add-host",
}
_FLAGS: Final = {"no-cache": "--no-cache", "pull": "--pull"}
_READ: Final = {*_LISTS, *_TEXTS, *_TABLES, *_FLAGS, "context", "dockerfile"}
# What is only about the file itself.
_OWN: Final = {"inherits", "name", "matrix", "description", "variable"}
_TARGET: Final = re.compile(r'^[ \t]*target[ \t]+"?([\w.-]+)"?[ \t]*\{', re.MULTILINE)


def target_names(text: str) -> list[str]:
    """Return the targets that a bake file in HCL names."""
    return list(dict.fromkeys(_TARGET.findall(text)))


def bake_targets(text: str) -> Mapping[str, Any] | str:
    """Return the targets of a bake file in JSON, what they inherit included; or what is wrong."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        return str(error) or "it is nested too deeply"
    targets = document.get("target") if isinstance(document, dict) else None
    if not isinstance(targets, dict):
        return "it has no target"
    known = {name: one for name, one in targets.items() if isinstance(one, dict)}
    return {name: _inherited(known, name, ()) for name in known}


def _inherited(targets: Mapping[str, Any], name: str, below: Sequence[str]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    parents = targets[name].get("inherits", ())
    for parent in parents if isinstance(parents, list) else ():
        if parent in targets and parent not in (*below, name):
            _merge(merged, _inherited(targets, parent, (*below, name)))
    _merge(merged, targets[name])
    return merged


def _merge(merged: dict[str, Any], own: Mapping[str, Any]) -> None:
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = {**merged[key], **value} if both else value


def bake_lines(
    targets: Mapping[str, Any], file: str, lines: Mapping[str, int]
) -> Iterator[DockerLine]:
    """Yield what builds each target.

    Args:
        targets: by name, as `docker buildx bake --print` has them.
        file: that they are in.
        lines: where each of them is written.
    """
    named = {name: one for name, one in targets.items() if one.get("tags")}
    # One that gives no tag is there for others to inherit.
    for name, target in (named or targets).items():
        words = ["docker", "buildx", "build"]
        context = str(target.get("context") or ".")
        dockerfile = str(target.get("dockerfile") or "Dockerfile")
        if dockerfile != "Dockerfile":
            words += ["--file", f"{context}/{dockerfile}"]
        for key, value in target.items():
            words += _options(key, value)
        unread = [key for key in target if key not in _READ | _OWN]
        yield DockerLine(
            file=file,
            line=lines.get(name, 1),
            argv=(*words, context),
            where=f"target {name}",
            left=tuple((key, "no option of docker buildx build does it") for key in unread),
        )


def _options(key: str, value: object) -> Iterator[str]:
    if key in _TEXTS and value:
        yield from (_TEXTS[key], str(value))
    elif key in _FLAGS and value is True:
        yield _FLAGS[key]
    elif key in _TABLES and isinstance(value, dict):
        between = ":" if key == "extra-hosts" else "="
        for name, one in value.items():
            yield from (_TABLES[key], f"{name}{between}{one}" if one is not None else name)
    elif key in _LISTS:
        for one in value if isinstance(value, list) else [value]:
            yield from (_LISTS[key], _field(one))


def _field(value: object) -> str:
    """Return an entry as the command line has it; newer versions print it taken apart."""
    if isinstance(value, dict):
        return ",".join(f"{name}={one}" for name, one in value.items())
    return str(value)
