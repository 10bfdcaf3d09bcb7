"""Tasks that look into an image: `docker-size`."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from buildlib.errors import InputError, raise_problems
from buildlib.tasks.edge import edge


@task(
    auto_shortflags=False,
    help={
        "image": "a reference, or the file of an archive; default: the image that was built last",
        "top": "how many of the largest files to name",
        "json": "print it as JSON",
    },
)
def docker_size(context: Context, *, image: str = "", top: int = 5, json: bool = False) -> None:
    """Tell how large the image is, layer by layer; fail where it is over its budget."""
    with edge(context, quiet=json) as run:
        from buildlib.report import to_json  # noqa: PLC0415 - only this task needs them
        from buildlib.size import check_sizes, measure, saved  # noqa: PLC0415 - the same

        if top < 0:
            raise InputError("--top must not be negative")
        config = run.config()
        with saved(run.executor, image or f"{config.image}:latest") as archive:
            reports = [
                measure(archive, one, budget=config.smoke.size_budget, top=top)
                for one in archive.images()
            ]
        if json:
            run.console.answer(to_json({"images": [report.as_dict() for report in reports]}))
        else:
            run.console.answer("\n\n".join(report.as_text() for report in reports))
        raise_problems(check_sizes(reports))
