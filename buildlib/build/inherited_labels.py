"""What other images were built on: an image that takes files from one says so as well.

A base image hands its labels on by itself; `COPY --from`, a mount and a stage that is left behind
do not. Asked are images that may stand on placeholders: those of the engine, of layouts, and of
registries on this machine. Into any other registry none of them is published.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from buildlib.build.plan import BuildPlan
from buildlib.errors import InputError, TimedOutError
from buildlib.executor import Executor
from buildlib.image.labels import STAND_INS, stand_ins_of
from buildlib.image.reference import parse_reference
from buildlib.registry.loopback import is_loopback

_TIMEOUT: Final = 30.0
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")
_REF_NAME: Final = "org.opencontainers.image.ref.name"
# An index of an index of manifests is more than anybody has.
_DEPTH: Final = 4
Labels = Mapping[str, str]


def inherited_stand_ins(plan: BuildPlan, executor: Executor) -> tuple[str, ...]:
    """Return the placeholders that the images were built on from which this one takes something."""
    replaced = dict(plan.build_contexts)
    layouts, references = [], []
    for base in plan.bases:
        kind, _, place = replaced.get(base, f"docker-image://{base}").partition("://")
        if kind == "oci-layout":
            layouts.append(place)
        elif _is_reference(place):
            references.append(place)
    own = dict(plan.below)
    layouts += [source.partition("://")[2] for base, source in replaced.items() if base in own]
    found = [labels for place in layouts for labels in _of_layout(place)]
    found += _of_engine(executor, references)
    found += [labels for one in references for labels in _of_registry(executor, one)]
    return tuple(sorted(stand_ins_of(found)))


def standing_on(plan: BuildPlan, stand_ins: Sequence[str]) -> BuildPlan:
    """Return the plan of an image that has these placeholders below it as well, with its label."""
    names = tuple(sorted({*plan.stand_ins, *stand_ins}))
    labels = {**dict(plan.labels), STAND_INS: " ".join(names)} if plan.labels else {}
    return replace(plan, stand_ins=names, labels=tuple(sorted(labels.items())))


def _is_reference(text: str) -> bool:
    try:
        return bool(parse_reference(text))
    except InputError:
        return False


def _of_engine(executor: Executor, references: Sequence[str]) -> list[Labels]:
    if not references:
        return []
    template = "{{json .Config.Labels}}"
    done = executor.run(("docker", "image", "inspect", "--format", template, *references))
    return [labels for line in done.stdout.splitlines() for labels in _labels({"Labels": line})]


def _of_registry(executor: Executor, reference: str) -> list[Labels]:
    """Return the labels of an image's platforms, where its registry is this machine's."""
    if not is_loopback(parse_reference(reference).registry):
        return []
    argv = ("docker", "buildx", "imagetools", "inspect", "--format", "{{json .Image}}", reference)
    try:
        found = _json(executor.run(argv, timeout=_TIMEOUT).stdout)
    except TimedOutError:
        # The build asks the same, and says what is wrong with it.
        return []
    images = [found, *found.values()] if isinstance(found, dict) else []
    return [labels for image in images for labels in _of_configuration(image)]


def _of_layout(place: str) -> list[Labels]:
    """Return the labels of the images that a layout's path means: `PATH[:TAG][@DIGEST]`."""
    path, _, digest = place.partition("@")
    tag = ""
    if not Path(path).is_dir():
        path, _, tag = path.rpartition(":")
    index = _read(Path(path, "index.json"))
    entries = [one for one in index.get("manifests") or () if isinstance(one, dict)]
    named = [
        one
        for one in entries
        if (not digest or one.get("digest") == digest)
        and (not tag or (one.get("annotations") or {}).get(_REF_NAME) == tag)
    ]
    return list(_below(Path(path), named or entries, _DEPTH))


def _below(folder: Path, entries: Sequence[Mapping[str, Any]], depth: int) -> Iterator[Labels]:
    for entry in entries if depth else ():
        document = _blob(folder, entry)
        yield from _below(folder, document.get("manifests") or (), depth - 1)
        if config := document.get("config"):
            yield from _of_configuration(_blob(folder, config))


def _blob(folder: Path, descriptor: object) -> dict[str, Any]:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    match = _DIGEST.fullmatch(str(digest))
    return _read(folder / "blobs" / "sha256" / match[1]) if match else {}


def _read(path: Path) -> dict[str, Any]:
    """Return a document of a layout; BuildKit reports what is wrong with an invalid one."""
    try:
        found = _json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _of_configuration(image: object) -> Iterator[Labels]:
    config = image.get("config") if isinstance(image, dict) else None
    if isinstance(config, dict):
        yield from _labels(config)


def _labels(config: Mapping[str, object]) -> Iterator[Labels]:
    found = config.get("Labels")
    found = _json(found) if isinstance(found, str) else found
    if isinstance(found, dict):
        yield {str(name): str(value) for name, value in found.items()}
