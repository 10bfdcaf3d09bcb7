"""The task that holds the image against its policy: `docker-policy`."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from buildlib.tasks.edge import edge


@task(
    auto_shortflags=False,
    help={
        "image": "a reference, or the file of an archive; default: the image that was built last",
        "release": "let the rules of a release count, as publishing does",
        "sarif": "write SARIF 2.1.0 to this file, for code scanning",
        "json": "print it as JSON",
    },
)
def docker_policy(
    context: Context, *, image: str = "", release: bool = False, sarif: str = "", json: bool = False
) -> None:
    """Hold image and Dockerfile against the policy: user, files, secrets, labels, bases, sizes."""
    with edge(context, quiet=json) as run:
        from buildlib.tasks.judging import judge  # noqa: PLC0415 - only this task needs it

        judge(run, image, release=release, sarif=sarif, as_json=json)
