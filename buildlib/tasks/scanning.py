"""What `docker-scan` does; apart from its options, so that only the task itself loads it."""

from __future__ import annotations

from pathlib import Path

from buildlib.report import to_json, write_text
from buildlib.sarif import dockerfile_uri
from buildlib.scan.flow import check_scan
from buildlib.scan.report import raise_failures
from buildlib.scan.sarif import as_sarif
from buildlib.scan.settings import parse_threshold
from buildlib.size import saved
from buildlib.tasks.edge import Edge


def scan(run: Edge, image: str, *, severity: str, sarif: str, as_json: bool) -> None:
    """Scan, and report.

    Raises:
        GateError: there is a vulnerability that fails the gate (exit 7), after everything was
            reported.
        BuildlibError: it could not be scanned.
    """
    config = run.config()
    settings = config.scan_settings()
    if severity:
        settings = settings._replace(severity=parse_threshold(severity))
    named = image or f"{config.image}:latest"
    with saved(run.executor, named) as archive:
        report = check_scan(
            archive, settings, run.executor, root=config.root, image=named, today=run.today()
        )
    for ignore in report.unused:
        run.console.warn(f"nothing is left to ignore of {ignore.id} {ignore.package}".rstrip())
    if sarif:
        file = dockerfile_uri(config.root, config.root / config.dockerfile)
        document = as_sarif(report, dockerfile=file)
        write_text(Path(sarif), to_json(document) + "\n")
    run.console.answer(to_json(report.as_dict()) if as_json else report.as_text())
    raise_failures(report)
