"""The work of `docker-sbom`."""

from __future__ import annotations

from pathlib import Path

from buildlib.commands.session import Edge
from buildlib.findings.report import show
from buildlib.image.sbom import make_sboms
from buildlib.image.size import saved
from buildlib.publish.attestations import sboms_in, write_attested


def write_sboms(run: Edge, image: str, *, folder: str, index: str, as_json: bool) -> None:
    """Write the SBOMs of an image, and an archive with them in its index where one is named."""
    config = run.config()
    into = Path(folder) if folder else config.root / config.folder("dist")
    unknown = config.scan_settings().allow_unknown
    named = image or run.local_image(config)
    with run.console.opening(f"reading {named}", saved(run.executor, named)) as archive:
        with run.console.running("syft"):
            report = make_sboms(
                *(archive, config.short_name, into, run.executor), allow_unknown=unknown
            )
        if index:
            attested = sboms_in(report.as_dict()["sboms"], Path())
            digest = write_attested(archive, Path(index), attested)
            run.console.note(f"{index} is {digest}")
    show(report, run.console, as_json=as_json)
