"""Tasks that look into an image: `docker-size`, `docker-policy`, `docker-scan`, `docker-sbom`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from invoke.context import Context
from invoke.tasks import task

from buildlib.errors import InputError
from buildlib.tasks.session import BUILD_ARG, SECRET, edge

_IMAGE: Final = "a reference, or the file of an archive; default: the image that was built last"


@task(
    auto_shortflags=False,
    help={
        "image": _IMAGE,
        "top": "how many of the largest files to name",
        "record": "write the sizes to the file size-record, which later sizes are compared with",
        "json": "print it as JSON",
    },
)
def docker_size(
    context: Context, *, image: str = "", top: int = 5, record: bool = False, json: bool = False
) -> None:
    """Report the image's size by layer; fail over its budget, or if it grew too much."""
    with edge(context, quiet=json) as run:
        if top < 0:
            raise InputError("--top must not be negative")
        from buildlib.commands.size import size  # noqa: PLC0415 - only this task needs it

        size(run, image, top=top, record=record, as_json=json)


@task(
    auto_shortflags=False,
    iterable=["build_arg", "secret"],
    help={
        "image": _IMAGE,
        "build-arg": f"{BUILD_ARG}, as the image was built",
        "secret": f"{SECRET}; its value is looked for in the layers",
        "dry-run": "print the commands that would run, and do nothing",
        "release": "check the rules of a release too, as docker-publish does",
        "sarif": "write SARIF 2.1.0 to this file, for code scanning",
        "json": "print it as JSON",
    },
)
def docker_policy(
    context: Context,
    *,
    image: str = "",
    build_arg: Sequence[str] | None = None,
    secret: Sequence[str] | None = None,
    release: bool = False,
    sarif: str = "",
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Check image and Dockerfile against the policy: user, files, secrets, labels, sizes."""
    with edge(context, dry_run=dry_run, quiet=json) as run:
        from buildlib.commands.policy import judge  # noqa: PLC0415 - only this task needs it

        run.take(build_arg, secret)
        judge(run, image, release=release, sarif=sarif, as_json=json)


@task(
    auto_shortflags=False,
    help={
        "image": _IMAGE,
        "published": "scan what each configured registry has as latest, on all platforms",
        "severity": "lowest severity that fails; default: the configured one, or high",
        "sarif": "write SARIF 2.1.0 to this file, for code scanning",
        "json": "print it as JSON",
    },
)
def docker_scan(
    context: Context,
    *,
    image: str = "",
    published: bool = False,
    severity: str = "",
    sarif: str = "",
    json: bool = False,
) -> None:
    """Scan the image for known vulnerabilities with grype or trivy."""
    with edge(context, quiet=json) as run:
        from buildlib.commands.scan import Wanted, scan  # noqa: PLC0415 - only this task needs it

        scan(run, Wanted(image, published), severity=severity, sarif=sarif, as_json=json)


@task(
    auto_shortflags=False,
    help={
        "image": _IMAGE,
        "output": "directory for the files; default: dist in the project",
        "index": "archive to write too: the image, with the SBOMs in its index",
        "json": "print what was written as JSON",
    },
)
def docker_sbom(
    context: Context, *, image: str = "", output: str = "", index: str = "", json: bool = False
) -> None:
    """Write an SBOM of each platform, in SPDX and CycloneDX, with syft."""
    with edge(context, quiet=json) as run:
        from pathlib import Path  # noqa: PLC0415 - only this task needs them

        from buildlib.console import to_json  # noqa: PLC0415 - the same
        from buildlib.image.reference import parse_reference  # noqa: PLC0415 - the same
        from buildlib.image.sbom import as_text, make_sboms, warnings  # noqa: PLC0415 - the same
        from buildlib.image.size import saved  # noqa: PLC0415 - the same

        config = run.config()
        name = parse_reference(config.image).repository.rpartition("/")[2]
        folder = Path(output) if output else config.root / "dist"
        with saved(run.executor, image or config.local_image) as archive:
            unknown = config.scan_settings().allow_unknown
            bills = make_sboms(archive, name, folder, run.executor, allow_unknown=unknown)
            if index:
                from buildlib.publish.attestations import (  # noqa: PLC0415 - the same
                    sboms_in,
                    write_attested,
                )

                said = sboms_in([bill.as_dict() for bill in bills], Path())
                digest = write_attested(archive, Path(index), said)
                run.console.note(f"{index} is {digest}")
        for warning in warnings(bills):
            run.console.warn(warning)
        if json:
            run.console.answer(to_json({"sboms": [bill.as_dict() for bill in bills]}))
        else:
            run.console.answer(as_text(bills))
