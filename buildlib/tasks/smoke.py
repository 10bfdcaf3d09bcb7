"""The task that tries the image: `docker-smoke`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from invoke.context import Context
from invoke.tasks import task

from buildlib.tasks.session import BUILD_ARG, SECRET, edge


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
