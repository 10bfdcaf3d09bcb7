"""Joins what separate builds of single platforms made: an archive, a loaded image, or an index."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from typing import Final

from buildlib.build.failure import failure
from buildlib.build.farm import (
    annotations_of,
    merge_command,
    merge_parts,
    merged_at,
    parts_of,
    repositories,
)
from buildlib.build.plan import BuildPlan, Output
from buildlib.build.progress import PlainProgress
from buildlib.config.build_options import INDEX_LEVELS
from buildlib.errors import EngineError
from buildlib.executor import Completed, Executor, pause
from buildlib.image.documents import digest_of
from buildlib.retry import LaterError, Retrier, is_transient
from buildlib.shell import repeated, shell_line
from buildlib.terminal.console import Console
from buildlib.terminal.text import redact

# The digest in a file of buildx's --metadata-file.
_DIGEST: Final = r"""s/.*"containerimage.digest": *"\([^"]*\)".*/\1/p"""


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


def join_parts(
    plan: BuildPlan, digests: Sequence[str], executor: Executor, console: Console
) -> str:
    """Make one image of what the parts made; return the digest of its index.

    Args:
        plan: of all platforms.
        digests: of the parts, in the order of the plan.
        executor: starts docker.
        console: shows the commands.

    Raises:
        InputError: an archive is damaged, or the merged one can't be written (exit 2).
        EngineError, AuthorisationError: the engine or the registry does not take it (exit 4, 5).
    """
    if plan.output == Output.PUSH:
        return _push_index(plan, digests, executor, console)
    console.line(shell_line(merge_command(plan)))
    digest = merge_parts(plan)
    if plan.parts:
        argv = load_command(plan)
        console.line(shell_line(argv))
        done = executor.run(argv)
        if done.code != 0:
            raise EngineError(
                "the engine does not load the image",
                why=(done.stderr or done.stdout).strip(),
                hint="with --output oci the image is written to an archive",
            )
    return digest


def _push_index(
    plan: BuildPlan, digests: Sequence[str], executor: Executor, console: Console
) -> str:
    """Push the index of what was pushed by digest, and give it its tags."""
    argv = index_command(plan, digests)
    # buildx prints the bytes that it is about to push, but not their digest.
    shown = _persisting((*argv[:4], "--dry-run", *argv[4:]), executor, console)
    console.line(shell_line(argv))
    done = _persisting(argv, executor, console) if shown.code == 0 else shown
    if done.code != 0:
        progress = PlainProgress()
        for line in done.stderr.splitlines():
            progress.feed(line)
        raise failure(plan, done.code, progress)
    return digest_of(shown.stdout.removesuffix("\n").encode())


def _persisting(argv: Sequence[str], executor: Executor, console: Console) -> Completed:
    """Run a command, again where an error of the network may pass."""
    retrier = Retrier(sleep=partial(pause, executor))
    while True:
        done = executor.run(argv)
        attempt = retrier.tally.retries
        if (
            not done.code
            or attempt == retrier.patience.attempts - 1
            or not is_transient(done.stderr)
        ):
            return done
        console.warn(f"the index is pushed again, as this may pass: {redact(done.stderr.strip())}")
        retrier.pause(attempt, LaterError(done.stderr.strip()))
