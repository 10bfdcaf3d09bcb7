"""What is to be done, as pure data: comparable, and JSON by `dataclasses.asdict`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from buildlib.dockerfile.ignore import IgnoreFile
from buildlib.dockerfile.parser import FilledSource
from buildlib.image.platform import Platform
from buildlib.project import Checkout
from buildlib.shell import csv_pairs


class Output(StrEnum):
    """The buildx exporters that have a name of their own here."""

    LOAD = "load"
    PUSH = "push"
    OCI = "oci"
    LOCAL = "local"
    CACHE_ONLY = "cacheonly"


# The outputs, and buildx's own, that are no image.
FILES: Final = frozenset({Output.LOCAL, Output.CACHE_ONLY, "tar"})


class NodeBuild(NamedTuple):
    """A platform that is built on a node of its own, with its own cache."""

    platform: Platform
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """One `docker buildx build`.

    Args:
        context, dockerfile: absolute paths.
        platforms: none means the builder's own.
        references: full references of the image.
        mapped: (as asked for, as the tag grammar allows it) of tags where the two differ.
        build_args, labels: sorted pairs; a build arg without a value (None) is taken by buildx
            from its environment, so that the value is never in argv.
        annotations: of the index; sorted pairs.
        bases: the external images that it is based on or takes files from, as the Dockerfile has
            them once its variables are replaced.
        sources: what it takes from the build context; patterns and variables as written.
        filled: those of them with variables that can be replaced, on each platform.
        ignore: the file that says what stays out of the context.
        kept_out: further lines of it, for what tasks wrote there.
        handover: a directory for a copy of the Dockerfile and of the lines of both, where the
            builder would not find them all by itself; None: it does.
        build_contexts: pairs of FROM reference, or of another name, and its source.
        below: pairs of FROM reference and the build of another image of the repository, whose
            layout is the reference's other source; `layouts` is where they are, for the build.
        separate: the builds of one platform each, at the same time, whose results are joined;
            none: one build of all platforms. See `parts.parts_of` and `join.join_parts`.
        parts: a directory for their archives, where the whole is loaded into the engine.
        stand_ins: those of them that are not the real image, and those of the images below.
        output: a name of `Output`, or buildx's own `type=…`.
        destination: of the outputs oci and local.
        layout: the output oci is a directory, and has no references.
        metadata_file: where buildx writes the digest; kept after the build, if `keeps_metadata`.
        options: further ones of buildx, name and value.
        source_policy: beside the Dockerfile, and named after it, where buildx finds it.
        provenance: as buildx's `--provenance` takes it; empty: none is made.
        checkout: in which context and Dockerfile are; None: in the work tree.
    """

    context: Path
    dockerfile: Path
    image: str
    version: str
    target: str = ""
    platforms: tuple[Platform, ...] = ()
    references: tuple[str, ...] = ()
    mapped: tuple[tuple[str, str], ...] = ()
    build_args: tuple[tuple[str, str | None], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    bases: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    filled: tuple[FilledSource, ...] = ()
    ignore: IgnoreFile = field(default_factory=IgnoreFile)
    kept_out: tuple[str, ...] = ()
    handover: Path | None = None
    build_contexts: tuple[tuple[str, str], ...] = ()
    below: tuple[tuple[str, BuildPlan], ...] = ()
    layouts: Path | None = None
    separate: tuple[NodeBuild, ...] = ()
    parts: Path | None = None
    stand_ins: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    builder: str = ""
    output: str = Output.LOAD
    destination: Path | None = None
    layout: bool = False
    no_cache: bool = False
    pull: bool = False
    progress: str = "auto"
    metadata_file: Path | None = None
    keeps_metadata: bool = False
    options: tuple[tuple[str, str], ...] = ()
    source_policy: Path | None = None
    provenance: str = ""
    checkout: Checkout | None = None

    def as_printed(self) -> BuildPlan:
        """Return the plan without a file for the digest that nobody would remove."""
        # Those of parts that are pushed say by which digests.
        kept = self.keeps_metadata or (self.separate and self.output == Output.PUSH)
        return self if kept else replace(self, metadata_file=None)

    @property
    def all_bases(self) -> tuple[str, ...]:
        """Return the external images that it is based on, or an image below it."""
        below = (base for _, plan in self.below for base in plan.all_bases)
        return tuple(dict.fromkeys((*self.bases, *below)))

    @property
    def file(self) -> Path:
        """Return the Dockerfile that the builder reads."""
        return self.handover / self.dockerfile.name if self.handover else self.dockerfile

    @property
    def ignored(self) -> str:
        """Return what the ignore file of the handover holds."""
        return "\n".join((*self.ignore.lines, *self.kept_out, ""))

    @property
    def partial(self) -> Path | None:
        """Return where an archive is written until it is whole: beside its destination.

        buildx empties its destination before it knows whether there is anything to build.
        """
        if self.output != Output.OCI or self.layout or self.destination is None:
            return None
        return self.destination.with_name(f"{self.destination.name}.part")

    @property
    def loads(self) -> bool:
        """Return whether the image ends in the engine."""
        return self.output == Output.LOAD

    @property
    def kind(self) -> str:
        """Return the name of the output, or buildx's of its exporter."""
        own = self.output.startswith("type=")
        return csv_pairs(self.output)["type"] if own else self.output

    @property
    def pushes(self) -> bool:
        """Return whether the image ends in a registry, by whichever of buildx's words."""
        if self.output == Output.PUSH or not self.output.startswith("type="):
            return self.output == Output.PUSH
        pairs = csv_pairs(self.output).items()
        fields = {key.strip(): value.strip().lower() for key, value in pairs}
        kind = fields["type"]
        push = fields.get("push", "true" if kind == "registry" else "false")
        return kind in {"registry", "image"} and push in {"", "1", "t", "true"}

    @property
    def uses_layouts(self) -> bool:
        """Return whether a base image is read from an OCI layout."""
        return any(source.startswith("oci-layout://") for _, source in self.build_contexts)

    @property
    def attests(self) -> bool:
        """Return whether the image gets attestations."""
        return bool(self.provenance) or any(
            name == "attest" and "disabled=true" not in text for name, text in self.options
        )

    def values(self, option: str) -> tuple[str, ...]:
        """Return the values of a further option."""
        return tuple(text for name, text in self.options if name == option)

    @property
    def exports_cache(self) -> bool:
        """Return whether a cache is written somewhere; an inline cache lies in the image."""
        return any("type=inline" not in entry for entry in self.cache_to)
