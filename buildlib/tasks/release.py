"""Tasks that publish: `docker-publish` and its parts, signatures, GoReleaser's configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from invoke.context import Context
from invoke.tasks import task

from buildlib.tasks.session import BUILD_ARG, SECRET, VERBOSE, edge
from buildlib.tasks.session import edge as at_the_edge

_REGISTRY: Final = "name of a configured registry; repeat it; default: all of them"
_DRY: Final = "print the lines that would run, and change nothing"
_JSON: Final = "print the result as JSON on stdout, and nothing else there"


@task(
    auto_shortflags=False,
    iterable=["registry", "skip_gate", "discard_claim", "build_arg", "secret"],
    help={
        "registry": _REGISTRY,
        "resume": "continue from this version's receipt in dist; nothing is done twice",
        "pick-up": "as --resume if there is a receipt, else begin: for CI jobs that are run again",
        "snapshot": "publish a build that is not a release, under its version alone",
        "edge": "publish a build of the branch, as edge",
        "build-arg": BUILD_ARG,
        "secret": SECRET,
        "skip-gate": "skip a gate: smoke, policy, size, scan, sbom, reproducible or sign",
        "reason": "why a gate is skipped; it is kept in the receipt",
        "discard-claim": "claim of a publication that has certainly ended, by its ID; repeat it",
        "verbose": VERBOSE,
        "dry-run": "print each step with the command that does it by hand, and change nothing",
        "json": "print the receipt as JSON on stdout, and nothing else there",
    },
)
def docker_publish(
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
    verbose: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Release: build, check, push, sign, verify, then tag.

    What is built once is what is checked and published.
    """
    with at_the_edge(context, dry_run=dry_run, json=json, verbose=verbose) as run:
        from buildlib.commands.publish import PublishOptions, publish

        run.take(build_arg, secret)
        options = PublishOptions(
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
        publish(run, options)


@task(
    auto_shortflags=False,
    iterable=["skip_gate", "build_arg", "secret"],
    help={
        "tag": "git tag of the copy, or which number goes up: minor by default; HEAD's own if any",
        "skip-gate": "leave a gate out: smoke, policy, size, scan, sbom, reproducible or sign",
        "build-arg": BUILD_ARG,
        "secret": SECRET,
        "verbose": VERBOSE,
        "dry-run": "print the steps and what a real release would do, and start nothing",
        "json": "print the receipt and what a real release would do as JSON",
    },
)
def docker_rehearse(
    context: Context,
    skip_gate: Sequence[str] | None = None,
    *,
    tag: str = "",
    build_arg: Sequence[str] | None = None,
    secret: Sequence[str] | None = None,
    verbose: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Release a copy of HEAD to two temporary registries.

    They are on this machine, and nothing stays.
    """
    with at_the_edge(context, dry_run=dry_run, json=json, verbose=verbose) as run:
        from buildlib.commands.rehearse import TestReleaseOptions, rehearse

        options = TestReleaseOptions(
            tag=tag,
            skips=tuple(skip_gate or ()),
            build_args=tuple(build_arg or ()),
            secrets=tuple(secret or ()),
            as_json=json,
        )
        rehearse(run, options)


@task(
    auto_shortflags=False,
    iterable=["registry"],
    help={"registry": _REGISTRY, "dry-run": _DRY},
)
def docker_login(
    context: Context, registry: Sequence[str] | None = None, *, dry_run: bool = False
) -> None:
    """Log docker in to the configured registries.

    The credentials are those in their variables.
    """
    with at_the_edge(context, dry_run=dry_run) as run:
        from buildlib.commands.login import login

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
    """Push an image by digest, without a tag.

    The digest is printed.
    """
    with at_the_edge(context, dry_run=dry_run, json=json) as run:
        from buildlib.commands.push import push

        push(run, image, tuple(registry or ()), as_json=json)


@task(
    auto_shortflags=False,
    positional=["digest", "tag"],
    iterable=["registry"],
    help={
        "digest": "digest that was pushed, sha256:…",
        "tag": "tag to point at the digest",
        "registry": _REGISTRY,
        "unverified": "why the digest may be tagged without being verified",
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
    """Point a tag at a pushed and verified digest.

    The tag of a version never moves.
    """
    with at_the_edge(context, dry_run=dry_run, json=json) as run:
        from buildlib.commands.promote import promote

        names = tuple(registry or ())
        promote(run, digest, tag, names, unverified=unverified, as_json=json)


@task(
    auto_shortflags=False,
    iterable=["registry"],
    help={
        "version": "version to go back to; default: the release before the current latest",
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
    """Point latest and its like at an earlier version again.

    That version is verified before.
    """
    with at_the_edge(context, dry_run=dry_run, json=json) as run:
        from buildlib.commands.rollback import rollback

        rollback(run, version, tuple(registry or ()), as_json=json)


@task(
    auto_shortflags=False,
    positional=["reference"],
    iterable=["attest"],
    help={
        "reference": "repository@sha256:…",
        "attest": "TYPE=FILE: attach a signed attestation too; repeat it",
        "release": "attach what a release of this checkout has: its SBOMs and its provenance",
        "dry-run": _DRY,
    },
)
def docker_sign(
    context: Context,
    reference: str,
    attest: Sequence[str] | None = None,
    *,
    release: bool = False,
    dry_run: bool = False,
) -> None:
    """Sign a digest and every manifest in it with cosign."""
    with edge(context, dry_run=dry_run) as run:
        from buildlib.commands.sign import sign

        sign(run, reference, tuple(attest or ()), release=release)


@task(
    auto_shortflags=False,
    positional=["reference"],
    iterable=["attestation"],
    help={
        "reference": "repository:tag, or repository@sha256:…, or both",
        "key": "public key, a file or a reference, instead of the configured one",
        "identity": "identity that has to have signed, instead of the configured one",
        "issuer": "issuer that has to vouch for the identity",
        "attestation": "type of attestation that has to be there; repeat it",
        "dry-run": _DRY,
        "json": "print the result as JSON on stdout, and nothing else there",
    },
)
def docker_verify(
    context: Context,
    reference: str,
    key: str = "",
    identity: str = "",
    issuer: str = "",
    attestation: Sequence[str] | None = None,
    *,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Verify an image as a third party would.

    That is its signatures, its attestations, and the version that the tag names.
    """
    with edge(context, dry_run=dry_run, json=json) as run:
        from buildlib.commands.verify import VerifyOptions, verify

        options = VerifyOptions(
            key=key, identity=identity, issuer=issuer, attestations=tuple(attestation or ())
        )
        verify(run, reference, options, as_json=json)


@task(
    auto_shortflags=False,
    help={
        "check": "fail if the file does not match the configuration",
        "output": "write the whole file there instead, with the base images of this machine",
        "held-back": "print the value of BUILDLIB_HELD_BACK for the release of this commit",
        "dry-run": "print what would change",
    },
)
def goreleaser_config(
    context: Context,
    *,
    check: bool = False,
    output: str = "",
    held_back: bool = False,
    dry_run: bool = False,
) -> None:
    """Write the shared part of GoReleaser's configuration.

    That is images, tags and labels.
    """
    with edge(context, dry_run=dry_run) as run:
        from buildlib.commands import goreleaser

        if held_back:
            goreleaser.print_not_moved(run)
        else:
            goreleaser.configure(run, check=check, output=output)
