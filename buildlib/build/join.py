"""Joins what separate builds of single platforms made: an archive, a loaded image, or an index."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from buildlib.build.failure import failure
from buildlib.build.farm import merge_parts
from buildlib.build.parts import index_command, load_command, merge_command
from buildlib.build.plan import BuildPlan, Output
from buildlib.build.progress import PlainProgress
from buildlib.errors import EngineError
from buildlib.executor import Completed, Executor, pause
from buildlib.image.documents import digest_of
from buildlib.retry import LaterError, Retrier, is_transient
from buildlib.shell import shell_line
from buildlib.terminal.console import Console
from buildlib.terminal.text import redact


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
