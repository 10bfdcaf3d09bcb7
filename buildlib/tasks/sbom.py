"""The task that lists what the image holds: `docker-sbom`."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from buildlib.tasks.edge import edge


@task(
    auto_shortflags=False,
    help={
        "image": "a reference, or the file of an archive; default: the image that was built last",
        "output": "the directory that the files go to; default: dist in the project",
        "json": "print what was written as JSON",
    },
)
def docker_sbom(context: Context, *, image: str = "", output: str = "", json: bool = False) -> None:
    """Write the bill of materials of each platform, in SPDX and CycloneDX; syft reads the image."""
    with edge(context, quiet=json) as run:
        from pathlib import Path  # noqa: PLC0415 - only this task needs them

        from buildlib.reference import parse_reference  # noqa: PLC0415 - the same
        from buildlib.report import to_json  # noqa: PLC0415 - the same
        from buildlib.sbom import as_text, make_sboms  # noqa: PLC0415 - the same
        from buildlib.size import saved  # noqa: PLC0415 - the same

        config = run.config()
        name = parse_reference(config.image).repository.rpartition("/")[2]
        folder = Path(output) if output else config.root / "dist"
        with saved(run.executor, image or f"{config.image}:latest") as archive:
            bills = make_sboms(archive, name, folder, run.executor)
        if json:
            run.console.answer(to_json({"sboms": [bill.as_dict() for bill in bills]}))
        else:
            run.console.answer(as_text(bills))
