"""Tasks that check an image: size, policy, vulnerabilities, SBOM, behaviour, builds, bases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from invoke.context import Context
from invoke.tasks import task

from buildlib.errors import InputError, raise_problems
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


@task(
    auto_shortflags=False,
    iterable=["platform", "only", "build_arg", "secret"],
    help={
        "platform": "os/arch to test; repeat it, or 'all'; default: linux on this machine's arch",
        "image": "reference, digest or archive to test; default: a new build",
        "expect-version": "version that a given image has to report; default: that of its label",
        "build-arg": BUILD_ARG,
        "secret": SECRET,
        "only": "run only the checks of this name; * matches anything; repeat it",
        "jobs": "platforms at a time; default: the number of processors",
        "junit": "write JUnit XML to this file",
        "dry-run": "print the commands that would build and start containers, and run none",
        "json": "print the results as JSON on stdout, and nothing else there",
    },
)
def docker_smoke(  # noqa: PLR0913 - one for each option
    context: Context,
    platform: Sequence[str] | None = None,
    *,
    image: str = "",
    expect_version: str = "",
    build_arg: Sequence[str] | None = None,
    secret: Sequence[str] | None = None,
    only: Sequence[str] | None = None,
    jobs: int = 0,
    junit: str = "",
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Start the image on each platform, and check what a user would see."""
    with edge(context, dry_run=dry_run, quiet=json) as run:
        run.take(build_arg, secret)
        from buildlib.commands import smoke  # noqa: PLC0415 - not while docker is being asked

        wanted = smoke.Wanted(
            platforms=tuple(platform or ()),
            image=image,
            version=expect_version,
            only=tuple(only or ()),
            jobs=jobs,
            junit=Path(junit) if junit else None,
            as_json=json,
        )
        smoke.docker_smoke(run, wanted)


@task(
    auto_shortflags=False,
    iterable=["platform", "build_arg", "secret"],
    help={
        "platform": "os/arch to build for; repeat it, or 'all'; default: the configured list",
        "build-arg": BUILD_ARG,
        "secret": SECRET,
        "keep": "directory to keep both archives in, first.oci.tar and second.oci.tar",
        "dry-run": "print the two commands that would run, and do nothing",
        "json": "print the result as JSON on stdout, and nothing else there",
    },
)
def docker_reproduce(
    context: Context,
    platform: Sequence[str] | None = None,
    *,
    build_arg: Sequence[str] | None = None,
    secret: Sequence[str] | None = None,
    keep: str = "",
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Build the image twice under different conditions; fail if a byte differs, and say which."""
    with edge(context, dry_run=dry_run, quiet=json) as run:
        from buildlib.console import to_json  # noqa: PLC0415 - the same
        from buildlib.executor import PlumbumExecutor  # noqa: PLC0415 - only this task needs them
        from buildlib.reproduce.rebuild import build_lines, reproduce  # noqa: PLC0415 - the same
        from buildlib.reproduce.report import check_reproduction  # noqa: PLC0415 - the same

        def executor_in(changes: Mapping[str, str]) -> PlumbumExecutor:
            return PlumbumExecutor({**run.env, **changes}, run.start)

        run.take(build_arg, secret)
        project, wanted = run.project(), tuple(platform or ())
        folder = Path(keep) if keep else None
        if run.dry:
            for line in build_lines(project, executor_in, platforms=wanted, keep=folder):
                run.console.answer(line)
            return
        result = reproduce(project, run.console, executor_in, platforms=wanted, keep=folder)
        run.console.answer(to_json(result.as_dict()) if json else result.as_text())
        raise_problems(check_reproduction(result))


@task(
    auto_shortflags=False,
    iterable=["build_arg"],
    help={
        "build-arg": BUILD_ARG,
        "check": "fail if one is not pinned, out of date or past its end of life",
        "update": "write the digests that the registries have now into the Dockerfile",
        "dry-run": "with --update, print what would change in the Dockerfile",
        "json": "print it as JSON",
    },
)
def docker_bases(
    context: Context,
    *,
    build_arg: Sequence[str] | None = None,
    check: bool = False,
    update: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Check the base images: newer versions, end of life, digests; --update pins them."""
    with edge(context, dry_run=dry_run, quiet=json) as run:
        from buildlib.commands import bases  # noqa: PLC0415 - only this task needs it

        run.take(build_arg, None)
        bases.refresh(run, check=check, update=update, json=json)
