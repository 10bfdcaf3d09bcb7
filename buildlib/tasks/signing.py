"""Tasks about signatures: `docker-sign` and `docker-verify`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from invoke.context import Context
from invoke.tasks import task

from buildlib.tasks.session import edge

_DRY: Final = "print the lines that would run, and change nothing"


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
        from buildlib.commands.sign import sign  # noqa: PLC0415 - only this task needs it

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
    """Verify an image as a third party would: signatures, attestations, the tag's version."""
    with edge(context, dry_run=dry_run, quiet=json) as run:
        from buildlib.commands.sign import Wanted, verify  # noqa: PLC0415 - only this task needs it

        wanted = Wanted(
            key=key, identity=identity, issuer=issuer, attestations=tuple(attestation or ())
        )
        verify(run, reference, wanted, as_json=json)
