"""A described builder as the commands that make it: pure, and the same each time."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from buildlib.config.builders import (
    CLOUD,
    CONTAINER,
    DOCKER,
    KUBERNETES,
    PLATFORM,
    REMOTE,
    BuilderSettings,
    Collection,
    NodeSettings,
)
from buildlib.image.platform import Platform
from buildlib.program import PROGRAM
from buildlib.shell import csv_field, shell_line

if TYPE_CHECKING:
    from buildlib.docker.engine import Node

_BUILDX: Final = ("docker", "buildx")
# Replaced by the path of the configuration, which newer versions of buildx read twice.
_FILE: Final = "buildkitd.toml"


class BuilderStep(NamedTuple):
    """One command, and the text of the configuration file that it reads."""

    argv: tuple[str, ...]
    text: str = ""

    def reading(self, path: Path) -> tuple[str, ...]:
        """Return the command, where the file is at that path."""
        return tuple(str(path) if word == _FILE else word for word in self.argv)

    def line(self) -> str:
        """Return it as a line that a shell can run as it stands."""
        if not self.text:
            return shell_line(self.argv)
        command = shell_line(self.argv).replace(f"config {_FILE}", 'config "$file"')
        write = f'file=$(mktemp) && printf %s {shlex.quote(self.text)} >"$file"'
        return f'{write} && {command} && rm "$file"'


def buildkitd_toml(gc: Collection) -> str:
    """Return buildkitd's configuration, in words that every version since 0.13 knows.

    See docs/buildkitd.toml.md of BuildKit; the names that later ones have beside them are not
    known to 0.13.
    """
    lines = ["[worker.oci]", f"  gc = {str(gc.enabled).lower()}"]
    if gc.keep_storage and not gc.keep_duration:
        lines.append(f"  gckeepstorage = {gc.keep_storage}")
    if gc.keep_duration:
        lines += ["  [[worker.oci.gcpolicy]]", f'    keepDuration = "{gc.keep_duration}"']
    if gc.keep_duration and gc.keep_storage:
        lines += ["  [[worker.oci.gcpolicy]]", "    all = true"]
        lines.append(f"    keepBytes = {gc.keep_storage}")
    return "\n".join(lines) + "\n"


def files_of(node: NodeSettings, root: Path) -> dict[str, Path]:
    """Return the files that a node names, by its keys; buildx takes none that is relative."""
    names = {key: getattr(node, key) for key in ("cacert", "cert", "key", "config")}
    return {key: root / name for key, name in names.items() if name}


def _options(node: NodeSettings, files: dict[str, Path]) -> list[str]:
    named = {key: str(path) for key, path in files.items() if key != "config"}
    pairs = {**named, **({"servername": node.servername} if node.servername else {})}
    all_pairs = sorted({**dict(node.options), **pairs}.items())
    # One option each, as buildx reads each as CSV.
    return [w for name, value in all_pairs for w in ("--driver-opt", csv_field(f"{name}={value}"))]


def _create(
    builder: BuilderSettings, node: NodeSettings, root: Path, *, append: bool
) -> BuilderStep:
    files = files_of(node, root)
    config = str(files.get("config", "")) or (_FILE if builder.gc else "")
    # buildx would take a spare's from the node that has them.
    platforms = [p for p in node.platforms if builder.nodes_for((p,))[0] == node]
    placed = ("--platform", ",".join(map(str, platforms))) if platforms else ()
    argv = (
        *(*_BUILDX, "create"),
        *(("--append",) if append else ()),
        *("--name", builder.name, "--driver", builder.driver),
        # The service says which nodes a builder of it has.
        *(() if builder.driver == CLOUD else ("--node", node.name, *placed)),
        *_options(node, files),
        *(("--buildkitd-flags", shlex.join(node.flags)) if node.flags else ()),
        *(("--buildkitd-config", config) if config else ()),
        *((node.endpoint,) if node.endpoint else ()),
    )
    return BuilderStep(argv, buildkitd_toml(builder.gc) if builder.gc else "")


def boots(builder: BuilderSettings) -> bool:
    """Return whether buildx starts the daemons, so that somebody has to have it do so."""
    return builder.driver in {CONTAINER, KUBERNETES}


def create_steps(builder: BuilderSettings, root: Path) -> tuple[BuilderStep, ...]:
    """Return what makes the builder, node after node; none for the driver docker.

    Args:
        root: the project's, which files are relative to.
    """
    if builder.driver == DOCKER:
        return ()
    nodes = builder.nodes[:1] if builder.driver == CLOUD else builder.nodes
    return tuple(_create(builder, node, root, append=index > 0) for index, node in enumerate(nodes))


def boot_step(name: str) -> BuilderStep:
    """Return what starts the nodes that are not running."""
    return BuilderStep((*_BUILDX, "inspect", "--bootstrap", name))


def remove_step(name: str, *, keep_state: bool = False) -> BuilderStep:
    """Return what removes it; with `keep_state` the cache waits for a builder of that name."""
    words = ("--keep-state",) if keep_state else ()
    return BuilderStep((*_BUILDX, "rm", "--force", *words, name))


def fingerprint(builder: BuilderSettings, root: Path) -> str:
    """Return what two descriptions share where they make the same builder."""
    steps = [(step.argv, step.text) for step in create_steps(builder, root)]
    return hashlib.sha256(json.dumps(steps).encode()).hexdigest()


def caches(
    builder: BuilderSettings, platforms: Sequence[Platform]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what a build reads its cache from, and what it writes it to.

    A cache with `{platform}` is read for every platform, and written by a build of one: all nodes
    would write all of them, and the last would win.

    Args:
        platforms: of the build; none: what the builder's first node builds.
    """
    chosen = tuple(platforms) or builder.nodes[0].platforms[:1]
    alone = [w for w in builder.cache_to if len(chosen) == 1 or PLATFORM not in w]
    return _filled(builder.cache_from, chosen), _filled(alone, chosen)


def _filled(words: Sequence[str], platforms: Sequence[Platform]) -> tuple[str, ...]:
    filled: list[str] = []
    for word in words:
        many = PLATFORM in word
        filled += [word.replace(PLATFORM, p.slug) for p in platforms] if many else [word]
    return tuple(filled)


RUNNING: Final = "running"


def create_hint(name: str) -> str:
    """Return what makes a described builder."""
    return f"{PROGRAM} docker-builder create --name {name}"


def missing_hint(builder: BuilderSettings) -> str:
    """Return what brings a described builder that is not there."""
    if builder.driver == DOCKER:
        return "docker context ls lists the contexts; docker context create makes one"
    return create_hint(builder.name)


def is_unreachable(driver: str, node: Node) -> bool:
    """Return whether a node can't build; one that buildx starts itself may well not run yet."""
    return bool(node.error) or (driver in {REMOTE, DOCKER} and node.status != RUNNING)
