"""What a published image is based on: archives of other images of the repository."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from buildlib.errors import FailureError
from buildlib.image.archive import open_archive
from buildlib.project import Project
from buildlib.publish.plan import release_build
from buildlib.publish.receipt import built_by, find_receipt


def with_archives(project: Project) -> Project:
    """Return a project that takes what it is based on from archives of the same commit.

    An image whose build is not reproducible would be another one if it was built again.
    """
    below = tuple((name, _with_archive(with_archives(one))) for name, one in project.below)
    return replace(project, below=below)


def _with_archive(project: Project) -> Project:
    """Return the project with its archive, if it was built as a publication would build it now."""
    plan = release_build(project, project.dockerfile())
    archive, digest = plan.destination or Path(), ""
    with suppress(FailureError):
        receipt = find_receipt(archive.parent, project.version.value)
        same = receipt and receipt.revision == project.version.revision
        if receipt and same and receipt.built_by == built_by(plan, project.config.root):
            with open_archive(archive) as opened:
                digest = opened.top() if opened.top() == receipt.built else ""
    return replace(project, archive=archive) if digest else project
