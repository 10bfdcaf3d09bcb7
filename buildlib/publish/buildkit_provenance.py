"""What BuildKit itself says of the build, to be attached beside the image instead of inside it.

Inside, it would give the image another digest with every build: there are times in it. So the same
build is asked once more, all from the cache, for the statement alone; the platforms' manifests are
the very same. Source: docs.docker.com/build/metadata/attestations/attestation-storage.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from buildlib.build.build_image import build_image
from buildlib.build.plan import Output
from buildlib.build.planner import BuildRequest
from buildlib.console import Console, to_json
from buildlib.errors import BuildlibError, CancelledError
from buildlib.executor import Executor
from buildlib.files import write_text
from buildlib.image.archive import Archive, open_archive
from buildlib.image.platform import parse_platform
from buildlib.project import Project
from buildlib.publish.receipt import PROVENANCE
from buildlib.tempfiles import passing_folder


def write_provenance(
    project: Project,
    executor: Executor,
    console: Console,
    *,
    stem: Path,
    platforms: Mapping[str, str],
) -> list[dict[str, str]]:
    """Write BuildKit's statement about each platform's image; where it gives none, that is told.

    The manifests are the same only as long as its cache has what was built, or where the build is
    reproducible.

    Args:
        project: whose image it is.
        executor: starts docker.
        console: shows the build.
        stem: of the files' names, with their directory.
        platforms: each with its manifest's digest.

    Returns:
        Platform, digest, file and cosign's type of each statement.
    """
    try:
        found = _asked(project, executor, console)
    except CancelledError:
        raise
    except BuildlibError as error:
        console.warn(f"BuildKit gives no provenance here: {error.what}")
        return []
    known = {d: s for d, s in found.items() if s.get("predicateType") in PROVENANCE}
    if missing := [name for name, digest in platforms.items() if digest not in known]:
        same = set(found) & set(platforms.values())
        why = "in a form that is not known" if same else "about another image, from another build"
        console.warn(f"BuildKit's provenance is {why}: none for {', '.join(missing)}")
    written = []
    for platform, digest in platforms.items():
        if statement := known.get(digest):
            file = stem.with_name(f"{stem.name}-{parse_platform(platform).slug}.buildkit.json")
            write_text(file, to_json(statement["predicate"]) + "\n")
            kind = PROVENANCE[statement["predicateType"]]
            written.append(
                {"platform": platform, "digest": digest, "file": str(file), "type": kind}
            )
    return written


def _asked(project: Project, executor: Executor, console: Console) -> dict[str, dict[str, Any]]:
    """Return the statement about each image, by its digest."""
    with passing_folder("provenance") as folder:
        path = folder / "image.oci.tar"
        request = BuildRequest(
            platforms=("all",) if project.config.platforms else (),
            output=Output.OCI,
            destination=path,
            # The least: build args are not in it.
            provenance="mode=min",
        )
        build_image(project, request, executor, console)
        with open_archive(path) as archive:
            return dict(_statements(archive))


def _statements(archive: Archive) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the digest of each image, and the statement about it."""
    index = json.loads(archive.bytes_of(archive.top()))
    for entry in index.get("manifests") or ():
        about = (entry.get("annotations") or {}).get("vnd.docker.reference.digest")
        if about:
            manifest = json.loads(archive.bytes_of(entry["digest"]))
            said = [json.loads(archive.bytes_of(one["digest"])) for one in manifest["layers"]]
            # A bill of materials may be beside it, by the builder's own default.
            known = [one for one in said if one.get("predicateType") in PROVENANCE]
            yield from ((str(about), one) for one in known or said)
