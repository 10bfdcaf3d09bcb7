"""Tasks that look into an image: `docker-size`."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from buildlib.errors import InputError
from buildlib.tasks.edge import edge


@task(
    auto_shortflags=False,
    help={
        "image": "a reference, or the file of an archive; default: the image that was built last",
        "top": "how many of the largest files to name",
        "record": "keep the sizes in the file size-record, for the next ones to be held against",
        "json": "print it as JSON",
    },
)
def docker_size(
    context: Context, *, image: str = "", top: int = 5, record: bool = False, json: bool = False
) -> None:
    """Tell how large the image is, layer by layer; fail over its budget, or if it grew too much."""
    with edge(context, quiet=json) as run:
        if top < 0:
            raise InputError("--top must not be negative")
        from buildlib.tasks.sizing import size  # noqa: PLC0415 - only this task needs it

        size(run, image, top=top, record=record, as_json=json)
