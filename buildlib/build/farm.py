"""Builds each platform on its own node, at the same time, and merges archives."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import TypeVar

from buildlib import interrupts
from buildlib.background import Background
from buildlib.build.parts import annotations_of, archives_of, merged_at, parts_of
from buildlib.build.plan import BuildPlan, Output
from buildlib.config.build_options import INDEX_LEVELS
from buildlib.errors import BuildlibError, CancelledError, raise_problems
from buildlib.executor import Cancellable, Executor
from buildlib.files import write_text
from buildlib.image.archive import unpack_layout
from buildlib.image.merge import merge_archives
from buildlib.terminal.text import to_json

T = TypeVar("T")


def merge_parts(plan: BuildPlan) -> str:
    """Merge the archives of the parts; return the digest of the index.

    Raises:
        InputError: an archive is damaged, or the merged one can't be written (exit 2).
    """
    index, descriptor = (annotations_of(plan, level) for level in INDEX_LEVELS)
    digest = merge_archives(archives_of(plan), merged_at(plan), index, descriptor)
    if plan.layout and plan.destination:
        unpack_layout(merged_at(plan), plan.destination)
    return digest


def remove_parts(plan: BuildPlan) -> None:
    """Remove what is only there to be joined."""
    files = archives_of(plan) + ([merged_at(plan)] if plan.layout else [])
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
