"""The builds of one platform each that make one image together, and the commands that join them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from buildlib.build.options import without_index
from buildlib.build.plan import BuildPlan, NodeBuild, Output
from buildlib.builders.commands import caches
from buildlib.config.build_options import INDEX_LEVELS, split_levels
from buildlib.config.config import Config
from buildlib.image.platform import Platform
from buildlib.image.reference import parse_reference
from buildlib.shell import csv_field, repeated, shell_line

# What buildx writes about the whole.
_OF_ALL: Final = frozenset({"iidfile"})
_NO_WORD: Final = re.compile(r"\W")
_IMAGES: Final = frozenset({Output.OCI, Output.LOAD, Output.PUSH})
# Merges archives from a shell.
_MERGE: Final = "buildlib.image.merge"
# The digest in a file of buildx's --metadata-file.
_DIGEST: Final = r"""s/.*"containerimage.digest": *"\([^"]*\)".*/\1/p"""


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
    return merge_argv(archives_of(plan), merged_at(plan), index, descriptor)


def archives_of(plan: BuildPlan) -> list[Path]:
    """Return the archives of the parts, where they are archives."""
    return [part.destination for part in parts_of(plan) if part.destination]


def merge_argv(
    paths: Iterable[Path],
    path: Path,
    annotations: Mapping[str, str],
    descriptor: Mapping[str, str],
) -> tuple[str, ...]:
    """Return the command that does what `merge_archives` does."""
    given = [("--annotation", annotations), ("--descriptor-annotation", descriptor)]
    words = [
        word
        for option, pairs in given
        for word in repeated(option, (f"{name}={value}" for name, value in pairs.items()))
    ]
    return ("python3", "-m", _MERGE, *words, "--output", str(path), "--", *map(str, paths))


def load_command(plan: BuildPlan) -> tuple[str, ...]:
    """Return the command that has the engine load the merged archive."""
    return ("docker", "load", "--input", str(merged_at(plan)))


def index_command(plan: BuildPlan, digests: Sequence[str]) -> tuple[str, ...]:
    """Return the command that makes an index of images in a registry, with the plan's tags.

    Args:
        plan: of all platforms.
        digests: of the images, in the order of the index.
    """
    tags = repeated("--tag", plan.references)
    level = INDEX_LEVELS[0]
    pairs = annotations_of(plan, level).items()
    annotations = repeated("--annotation", (f"{level}:{name}={value}" for name, value in pairs))
    sources = [f"{repositories(plan)[0]}@{digest}" for digest in digests]
    head = ("docker", "buildx", "imagetools", "create", "--builder", plan.builder)
    return (*head, *tags, *annotations, *sources)


def join_lines(plan: BuildPlan) -> list[str]:
    """Return what `join_parts` does, and the removal of what the parts left, for a POSIX shell."""
    parts = parts_of(plan)
    if plan.output == Output.PUSH:
        files = [str(part.metadata_file) for part in parts]
        source = f"{repositories(plan)[0]}@"
        sources = [f'{source}"$(sed -n {shlex.quote(_DIGEST)} {shlex.quote(f)})"' for f in files]
        return [
            " ".join([shell_line(index_command(plan, ())), *sources]),
            shell_line(("rm", "-f", "--", *files)),
        ]
    merge = shell_line(merge_command(plan))
    if plan.parts:
        removed = ("rm", "-rf", "--", str(plan.parts))
        return [merge, shell_line(load_command(plan)), shell_line(removed)]
    merged, place = str(merged_at(plan)), str(plan.destination)
    end: list[tuple[str, ...]] = [("mv", "-f", "--", merged, place)]
    if plan.layout:
        end = [("mkdir", "-p", "--", place), ("tar", "-xf", merged, "-C", place)]
        end.append(("rm", "-f", "--", merged))
    end.append(("rm", "-f", "--", *(str(part.destination) for part in parts)))
    return [merge, *map(shell_line, end)]
