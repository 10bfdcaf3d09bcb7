"""Builds each platform on its own node, at the same time, and merges archives."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from buildlib import interrupts
from buildlib.background import Background
from buildlib.build.options import without_index
from buildlib.build.plan import BuildPlan, NodeBuild, Output
from buildlib.builders.commands import caches
from buildlib.config.build_options import INDEX_LEVELS, split_levels
from buildlib.config.config import Config
from buildlib.errors import BuildlibError, CancelledError, raise_problems
from buildlib.executor import Cancellable, Executor
from buildlib.files import write_text
from buildlib.image.archive import unpack_layout
from buildlib.image.merge import merge_archives, merge_argv
from buildlib.image.platform import Platform
from buildlib.image.reference import parse_reference
from buildlib.shell import csv_field
from buildlib.terminal.text import to_json

T = TypeVar("T")

# What buildx writes about the whole.
_OF_ALL: Final = frozenset({"iidfile"})
_NO_WORD: Final = re.compile(r"\W")
_IMAGES: Final = frozenset({Output.OCI, Output.LOAD, Output.PUSH})


def caches_of(
    config: Config, platforms: Sequence[Platform]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return where cache is read from and written to: as configured, else as the builder has it."""
    described = config.described_builder()
    if not described:
        return config.cache_from, config.cache_to
    own = caches(described, platforms)
    return config.cache_from or own[0], config.cache_to or own[1]


def separate_builds(
    config: Config, platforms: Sequence[Platform], output: str
) -> tuple[NodeBuild, ...]:
    """Return the builds of one platform each, where nodes have to make one image together."""
    described = config.described_builder()
    if output not in _IMAGES or described is None:
        return ()
    nodes = {p: described.nodes_for((p,))[:1] for p in platforms}
    # One that no node was given is a problem of its own.
    if not all(nodes.values()) or len({node.name for (node,) in nodes.values()}) <= 1:
        return ()
    return tuple(NodeBuild(p, *caches_of(config, (p,))) for p in platforms)


def parts_of(plan: BuildPlan) -> tuple[BuildPlan, ...]:
    """Return the builds of one platform each; none where it is one build of all.

    Each writes an archive, beside the destination if there is one; or is pushed by its digest.
    """
    place = _place(plan)
    given = (one for one in plan.options if one[0] not in _OF_ALL)
    # There is no index to annotate.
    options = tuple(filter(None, map(without_index, given)))
    return tuple(
        replace(
            plan,
            platforms=(one.platform,),
            cache_from=one.cache_from,
            cache_to=one.cache_to,
            separate=(),
            below=(),
            layouts=None,
            layout=False,
            annotations=(),
            options=options,
            parts=None,
            output=Output.OCI if place else _by_digest(plan),
            references=plan.references if place else (),
            destination=place and _beside(place, one.platform.slug),
            handover=plan.handover and _passing(plan.handover, one.platform.slug),
            metadata_file=_metadata_file(plan, one.platform.slug),
            keeps_metadata=plan.output == Output.PUSH,
            # Two can't draw on one terminal.
            progress="plain" if plan.progress == "tty" else plan.progress,
        )
        for one in plan.separate
    )


def _place(plan: BuildPlan) -> Path | None:
    """Return what the archives of the parts are named after; None: there are none."""
    return plan.destination or (plan.parts / "image" if plan.parts else None)


def repositories(plan: BuildPlan) -> tuple[str, ...]:
    """Return where the image of a plan is pushed to, without tags."""
    return tuple(dict.fromkeys(parse_reference(text).name for text in plan.references))


def _by_digest(plan: BuildPlan) -> str:
    """Return buildx's output of an image without a tag.

    An index that has annotations is one of OCI, and so are its images.
    """
    names = csv_field(f"name={','.join(repositories(plan))}")
    types = ",oci-mediatypes=true" if annotations_of(plan, INDEX_LEVELS[0]) else ""
    return f"type=image,{names},push-by-digest=true,name-canonical=true,push=true{types}"


def _beside(path: Path, slug: str) -> Path:
    return path.with_name(f"{path.name}.{slug}")


def _passing(path: Path, slug: str) -> Path:
    """Return a name that still says whose file it is, so that it is removed after a kill."""
    return path.with_name(f"{path.stem}_{_NO_WORD.sub('_', slug)}{path.suffix}")


def _metadata_file(plan: BuildPlan, slug: str) -> Path | None:
    # What the user named may have any neighbours.
    name = _beside if plan.keeps_metadata else _passing
    return name(plan.metadata_file, slug) if plan.metadata_file else None


def annotations_of(plan: BuildPlan, level: str) -> dict[str, str]:
    """Return the annotations of the index, or of what points to it; a later one counts."""
    found = dict(plan.annotations) if level == INDEX_LEVELS[0] else {}
    for text in plan.values("annotation"):
        key, _, value = text.partition("=")
        levels, key = split_levels(key)
        if level in levels:
            found[key] = value
    return found


def merged_at(plan: BuildPlan) -> Path:
    """Return where the merged archive is written, until it gets its name or is unpacked."""
    place = _place(plan) or Path()
    return plan.partial or place.with_name(f"{place.name}.oci.tar")


def merge_command(plan: BuildPlan) -> tuple[str, ...]:
    """Return the command that merges the archives of the parts, as `merge_parts` does it."""
    index, descriptor = (annotations_of(plan, level) for level in INDEX_LEVELS)
    return merge_argv(_archives(plan), merged_at(plan), index, descriptor)


def _archives(plan: BuildPlan) -> list[Path]:
    return [part.destination for part in parts_of(plan) if part.destination]


def merge_parts(plan: BuildPlan) -> str:
    """Merge the archives of the parts; return the digest of the index.

    Raises:
        InputError: an archive is damaged, or the merged one can't be written (exit 2).
    """
    index, descriptor = (annotations_of(plan, level) for level in INDEX_LEVELS)
    digest = merge_archives(_archives(plan), merged_at(plan), index, descriptor)
    if plan.layout and plan.destination:
        unpack_layout(merged_at(plan), plan.destination)
    return digest


def remove_parts(plan: BuildPlan) -> None:
    """Remove what is only there to be joined."""
    files = _archives(plan) + ([merged_at(plan)] if plan.layout else [])
    if plan.output == Output.PUSH:
        files += [part.metadata_file for part in parts_of(plan) if part.metadata_file]
    with interrupts.held():
        if plan.parts:
            shutil.rmtree(plan.parts, ignore_errors=True)
        for path in files:
            path.unlink(missing_ok=True)


def write_about(plan: BuildPlan, digest: str) -> None:
    """Write the files that the user wants about the whole, as buildx would.

    Raises:
        InputError: one can't be written (exit 2).
    """
    texts = {Path(path): digest for path in plan.values("iidfile")}
    if plan.keeps_metadata and plan.metadata_file:
        found = {"containerimage.digest": digest, "image.name": ",".join(plan.references)}
        texts[plan.metadata_file] = f"{to_json(found)}\n"
    for path, text in texts.items():
        write_text(path, text)


def build_parts(
    plan: BuildPlan, executor: Executor, build: Callable[[BuildPlan, Executor], T]
) -> list[T]:
    """Build each platform at the same time; return what came out, in the order of the plan.

    The first that fails ends the others.

    Args:
        plan: of all.
        executor: starts docker.
        build: builds one of them.

    Raises:
        BuildlibError: those that failed (the lowest exit code).
        CancelledError: interrupted (exit 130).
    """
    stoppable = Cancellable(executor, "another platform could not be built")

    def one(part: BuildPlan) -> T:
        try:
            return build(part, stoppable)
        except BaseException:
            stoppable.cancel()
            raise

    running = [Background(partial(copy_context().run, one, part)) for part in parts_of(plan)]
    try:
        for each in running:
            each.wait()
    except BaseException:
        stoppable.cancel()
        with interrupts.held():
            for each in running:
                each.wait()
        raise
    results: list[T] = []
    failed: list[BuildlibError] = []
    ended: list[CancelledError] = []
    for each in running:
        try:
            results.append(each.get())
        except CancelledError as error:
            ended.append(error)
        except BuildlibError as error:
            failed.append(error)
    raise_problems(failed)
    if ended:
        raise ended[0]
    return results
