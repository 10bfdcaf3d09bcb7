"""Tasks that check an image: size, policy, vulnerabilities, SBOM, behaviour, builds, bases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from invoke.context import Context
from invoke.tasks import task

from buildlib.tasks.session import BUILD_ARG, SECRET, VERBOSE, edge

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
    """Report the image's size by layer; fail over its budget.

    It fails as well if the image grew too much.
    """
    with edge(context, json=json) as run:
        from buildlib.commands.size import size

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
    """Check image and Dockerfile against the policy.

    That is user, files, secrets, labels, sizes.
    """
    with edge(context, dry_run=dry_run, json=json) as run:
        from buildlib.commands.policy import policy

        run.take(build_arg, secret)
        policy(run, image, release=release, sarif=sarif, as_json=json)


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
    """Scan the image for known vulnerabilities.

    Either grype or trivy does it.
    """
    with edge(context, json=json) as run:
        from buildlib.commands.scan import scan

        scan(run, image, published=published, severity=severity, sarif=sarif, as_json=json)


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
    """Write an SBOM of each platform, in SPDX and CycloneDX.

    It is made by syft.
    """
    with edge(context, json=json) as run:
        from buildlib.commands.sbom import write_sboms

        write_sboms(run, image, folder=output, index=index, as_json=json)


@task(
    auto_shortflags=False,
    iterable=["platform", "check", "build_arg", "secret"],
    help={
        "platform": "os/arch to test; repeat it, or 'all'; default: linux on this machine's arch",
        "image": "reference, digest or archive to test; default: a new build",
        "expect-version": "version that a given image has to report; default: that of its label",
        "build-arg": BUILD_ARG,
        "secret": SECRET,
        "check": "run only the checks of this name; * matches anything; repeat it",
        "jobs": "platforms at a time; default: the number of processors",
        "junit": "write JUnit XML to this file",
        "verbose": VERBOSE,
        "dry-run": "print the commands that would build and start containers, and run none",
        "json": "print the results as JSON on stdout, and nothing else there",
    },
)
def docker_smoke(
    context: Context,
    platform: Sequence[str] | None = None,
    *,
    image: str = "",
    expect_version: str = "",
    build_arg: Sequence[str] | None = None,
    secret: Sequence[str] | None = None,
    check: Sequence[str] | None = None,
    jobs: int = 0,
    junit: str = "",
    verbose: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Start the image, and check what a user would see.

    Each platform is started.
    """
    with edge(context, dry_run=dry_run, json=json, verbose=verbose) as run:
        run.take(build_arg, secret)
        from buildlib.commands.smoke import SmokeOptions, docker_smoke

        options = SmokeOptions(
            platforms=tuple(platform or ()),
            image=image,
            version=expect_version,
            only=tuple(check or ()),
            jobs=jobs,
            junit=Path(junit) if junit else None,
            as_json=json,
        )
        docker_smoke(run, options)


@task(
    auto_shortflags=False,
    help={
        "old": "image to compare it with, in the same forms; default: the release before",
        "new": "version, reference, digest, archive or OCI layout; default: the newest",
        "scan": "compare known vulnerabilities too, by grype or trivy",
        "check": "fail if a change is in fail-on of the table diff, as the gate does",
        "markdown": "print it as Markdown",
        "json": "print it as JSON",
    },
)
def docker_diff(
    context: Context,
    *,
    old: str = "",
    new: str = "",
    scan: bool = False,
    check: bool = False,
    markdown: bool = False,
    json: bool = False,
) -> None:
    """Compare two images: packages, files, configuration.

    Sizes, labels, setuid files, capabilities and the base image are compared too.
    """
    with edge(context, json=json) as run:
        from buildlib.commands.diff import DiffOptions, diff

        options = DiffOptions(
            old=old, new=new, scan=scan, check=check, markdown=markdown, as_json=json
        )
        diff(run, options)


@task(
    auto_shortflags=False,
    iterable=["platform", "build_arg", "secret"],
    help={
        "platform": "os/arch to build for; repeat it, or 'all'; default: the configured list",
        "build-arg": BUILD_ARG,
        "secret": SECRET,
        "keep": "directory to keep both archives in, first.oci.tar and second.oci.tar",
        "verbose": VERBOSE,
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
    verbose: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Build twice under different conditions, and compare.

    It fails if a byte differs, and says which.
    """
    with edge(context, dry_run=dry_run, json=json, verbose=verbose) as run:
        from buildlib.commands.reproduce import check_reproducible

        run.take(build_arg, secret)
        folder = Path(keep) if keep else None
        check_reproducible(run, tuple(platform or ()), keep=folder, as_json=json)


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
    """Check or update the digests of the base images.

    Newer versions and the end of life are reported too; --update pins the digests.
    """
    with edge(context, dry_run=dry_run, json=json) as run:
        from buildlib.commands.bases import bases

        run.take(build_arg, None)
        bases(run, check=check, update=update, as_json=json)
