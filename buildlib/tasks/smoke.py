"""The task that tries the image: `docker-smoke`."""

from __future__ import annotations

from collections.abc import Sequence

from invoke.context import Context
from invoke.tasks import task

from buildlib.tasks.edge import edge


@task(
    auto_shortflags=False,
    iterable=["platform"],
    help={
        "platform": "os/arch to try; repeat it, or 'all'; default: linux on this machine's arch",
        "image": "an image that is there; without it one is built",
        "json": "print the results as JSON on stdout, and nothing else there",
    },
)
def docker_smoke(
    context: Context,
    platform: Sequence[str] | None = None,
    *,
    image: str = "",
    json: bool = False,
) -> None:
    """Build the image for a platform or take one, start it, and check what a user would see."""
    from buildlib.planning import BuildRequest, chosen_platforms  # noqa: PLC0415 - slow to load
    from buildlib.platforms import host_platform  # noqa: PLC0415 - the same
    from buildlib.report import to_json  # noqa: PLC0415 - the same
    from buildlib.smoke import raise_failures, smoke_image, smoke_platform  # noqa: PLC0415 - the same

    with edge(context, quiet=json) as run:
        project = run.project()
        own = f"linux/{host_platform().arch}"
        wanted = BuildRequest(platforms=tuple(platform or ()) or (own,))
        results = [
            smoke_image(project, image, one, run.executor)
            if image
            else smoke_platform(project, one, run.executor, run.console)
            for one in chosen_platforms(wanted, project)
        ]
        if json:
            run.console.answer(to_json({"smoke": [result.as_dict() for result in results]}))
        for result in results if not json else ():
            run.console.answer(f"{result.platform}\n{result.as_text()}")
        for result in results:
            raise_failures(result)
