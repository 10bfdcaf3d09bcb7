"""Tasks that publish: `docker-publish`, and its parts on their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from invoke.context import Context
from invoke.tasks import task

from buildlib.tasks.edge import BUILD_ARG, SECRET
from buildlib.tasks.edge import edge as at_the_edge

_REGISTRY: Final = "name of a configured registry; repeat it; default: all of them"
_DRY: Final = "print the lines that would run, and change nothing"
_JSON: Final = "print the result as JSON on stdout, and nothing else there"


@task(
    auto_shortflags=False,
    iterable=["registry", "skip_gate", "discard_claim", "build_arg", "secret"],
    help={
        "registry": _REGISTRY,
        "resume": "go on from this version's receipt in dist; what is done is not done twice",
        "pick-up": "as --resume where there is a receipt, else begin: for a job that is run again",
        "snapshot": "publish a build that is no release, under its version alone",
        "edge": "publish a build of the branch, as edge",
        "build-arg": BUILD_ARG,
        "secret": SECRET,
        "skip-gate": "leave a gate out: smoke, policy, size, scan, sbom, reproducible or sign",
        "reason": "why a gate is left out; it stays in the receipt",
        "discard-claim": "identifier of a publication's claim that certainly has ended; repeat it",
        "dry-run": "print every step with the line that does it by hand, and change nothing",
        "json": "print the receipt as JSON on stdout, and nothing else there",
    },
)
def docker_publish(  # noqa: PLR0913 - each one is an option of the command line
    context: Context,
    registry: Sequence[str] | None = None,
    skip_gate: Sequence[str] | None = None,
    discard_claim: Sequence[str] | None = None,
    reason: str = "",
    *,
    build_arg: Sequence[str] | None = None,
    secret: Sequence[str] | None = None,
    resume: bool = False,
    pick_up: bool = False,
    snapshot: bool = False,
    edge: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Build once, judge that digest, push it, sign and verify it; then tag it everywhere."""
    with at_the_edge(context, dry_run=dry_run, quiet=json) as run:
        from buildlib.tasks.publishing import Wanted, publish  # noqa: PLC0415 - only this task

        run.take(build_arg, secret)
        wanted = Wanted(
            registries=tuple(registry or ()),
            skips=tuple(skip_gate or ()),
            reason=reason,
            resume=resume,
            pick_up=pick_up,
            snapshot=snapshot,
            edge=edge,
            discard_claims=tuple(discard_claim or ()),
            as_json=json,
        )
        publish(run, wanted)


@task(
    auto_shortflags=False,
    iterable=["registry"],
    help={"registry": _REGISTRY, "dry-run": _DRY},
)
def docker_login(
    context: Context, registry: Sequence[str] | None = None, *, dry_run: bool = False
) -> None:
    """Sign docker in to the registries, with the credentials that their variables hold."""
    with at_the_edge(context, dry_run=dry_run) as run:
        from buildlib.tasks.login import login  # noqa: PLC0415 - only this task needs it

        login(run, tuple(registry or ()))


@task(
    auto_shortflags=False,
    iterable=["registry"],
    help={
        "image": "an archive, or a reference; default: the archive of this version in dist",
        "registry": _REGISTRY,
        "dry-run": _DRY,
        "json": _JSON,
    },
)
def docker_push(
    context: Context,
    image: str = "",
    registry: Sequence[str] | None = None,
    *,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Push an image by its digest, without any tag, and print the digest."""
    with at_the_edge(context, dry_run=dry_run, quiet=json) as run:
        from buildlib.tasks.registries import push  # noqa: PLC0415 - only this task needs it

        push(run, image, tuple(registry or ()), as_json=json)


@task(
    auto_shortflags=False,
    positional=["digest", "tag"],
    iterable=["registry"],
    help={
        "digest": "sha256:… of what was pushed",
        "tag": "to be given to it",
        "registry": _REGISTRY,
        "unverified": "why it gets the tag without being verified",
        "dry-run": _DRY,
        "json": _JSON,
    },
)
def docker_promote(
    context: Context,
    digest: str,
    tag: str,
    registry: Sequence[str] | None = None,
    *,
    unverified: str = "",
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Let a tag stand for a digest that is everywhere and verified; a version never moves."""
    with at_the_edge(context, dry_run=dry_run, quiet=json) as run:
        from buildlib.tasks.registries import promote  # noqa: PLC0415 - only this task needs it

        names = tuple(registry or ())
        promote(run, digest, tag, names, unverified=unverified, as_json=json)


@task(
    auto_shortflags=False,
    iterable=["registry"],
    help={
        "version": "to go back to; default: the release before the one that latest is everywhere",
        "registry": _REGISTRY,
        "dry-run": _DRY,
        "json": _JSON,
    },
)
def docker_rollback(
    context: Context,
    version: str = "",
    registry: Sequence[str] | None = None,
    *,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Let the tags that move stand for an earlier version again, after verifying it."""
    with at_the_edge(context, dry_run=dry_run, quiet=json) as run:
        from buildlib.tasks.registries import rollback  # noqa: PLC0415 - only this task needs it

        rollback(run, version, tuple(registry or ()), as_json=json)
