"""Provenance: our own statement, with sources, base images and gate results, and BuildKit's.

Ours has the form of SLSA Provenance 1, slsa.dev/spec/v1.0/provenance; the gates are its byproducts.
It is made on the publisher's own machine: no level of SLSA is claimed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from buildlib.build.build_image import build_image
from buildlib.build.plan import BuildPlan, Output
from buildlib.build.planner import BuildRequest
from buildlib.config.build_options import LAYOUT, is_directory
from buildlib.errors import FailureError
from buildlib.executor import Executor
from buildlib.files import write_text
from buildlib.git.facts import without_credentials
from buildlib.image.archive import Archive, open_archive
from buildlib.image.labels import NAMESPACE
from buildlib.image.platform import parse_platform
from buildlib.project import Project
from buildlib.publish.plan import PublishPlan
from buildlib.publish.receipt import PROVENANCE, GateRecord, Receipt
from buildlib.tempfiles import passing_folder
from buildlib.terminal.console import Console
from buildlib.terminal.text import redact, to_json

_WITH_PATHS: Final = frozenset({"iidfile", "policy", "ssh"})


def make_statement(project: Project, plan: PublishPlan, receipt: Receipt) -> dict[str, Any]:
    """Return the predicate; `cosign attest` adds the digest.

    It has nothing of the machine in it, no value of a build arg from the environment, and no
    credentials.
    """
    return {
        "buildDefinition": {
            "buildType": f"{NAMESPACE}/docker-publish/v1",
            "externalParameters": _parameters(project, plan),
            "internalParameters": {"standIns": list(plan.build.stand_ins)},
            "resolvedDependencies": [_source(project, plan), *_included(plan), *_bases(plan)],
        },
        "runDetails": {
            "builder": {"id": f"{NAMESPACE}/local", "version": receipt.tools},
            "metadata": {"startedOn": receipt.started} if receipt.started else {},
            "byproducts": [_gate_result(record) for record in receipt.gates],
        },
    }


def _parameters(project: Project, plan: PublishPlan) -> dict[str, Any]:
    return {
        "image": project.config.image,
        "version": plan.version,
        "mode": str(plan.mode),
        "platforms": list(plan.platforms),
        "dockerfile": project.config.dockerfile,
        "target": plan.build.target,
        # A build arg without a value comes from the environment, and is left out.
        "buildArgs": {
            name: redact(value) for name, value in plan.build.build_args if value is not None
        },
        **_options(plan),
    }


def _options(plan: PublishPlan) -> dict[str, Any]:
    """Return the further options of the build, without paths of this machine."""
    named = [
        f"--{name} {redact(text)}" for name, text in plan.build.options if name not in _WITH_PATHS
    ]
    contexts = {
        name: "a directory of the commit" if is_directory(source) else redact(source)
        for name, source in plan.build.build_contexts
        if name not in plan.build.bases and not source.startswith(LAYOUT)
    }
    return ({"options": named} if named else {}) | ({"contexts": contexts} if contexts else {})


def _source(project: Project, plan: PublishPlan) -> dict[str, Any]:
    address = without_credentials(project.config.source or project.remote)
    # A path on this machine is not published.
    known = address if "://" in address and not address.startswith("file:") else ""
    source = {"uri": f"git+{known}" if known else "git", "digest": {"gitCommit": plan.revision}}
    # The files may differ from the commit.
    dirt = {"annotations": {"dirty": True, "uncommitted": plan.uncommitted}}
    return source | (dirt if plan.uncommitted else {})


def _included(plan: PublishPlan) -> list[dict[str, Any]]:
    """Return the files that are not in the commit, by their paths in the build context."""
    return [
        {
            "name": path,
            "digest": {"sha256": digest.removeprefix("sha256:")},
            "annotations": {"inCommit": False},
        }
        for path, digest in plan.included
    ]


def _gate_result(record: GateRecord) -> dict[str, Any]:
    figures = dict(record.figures)
    sboms = figures.pop("sboms", ())
    # The path of a file that is not published.
    figures.pop("sarif", "")
    counted = {sbom["platform"]: sbom["packages"] for sbom in sboms if sbom["packages"]}
    if counted:
        figures["packages"] = counted
    reason = redact(record.detail)
    outcome = {"state": record.state, **({"reason": reason} if reason else {})}
    return {"name": f"gate/{record.gate}", "annotations": outcome | figures}


def _bases(plan: PublishPlan) -> list[dict[str, Any]]:
    found = dict.fromkeys(_sources_of_bases(plan.build))
    return [
        _replaced(base, source, plan) if source else _resource("docker:", base)
        for base, source in found
    ]


def _sources_of_bases(build: BuildPlan) -> Iterator[tuple[str, str]]:
    """Yield each base image, of the images below too, and what replaced it there, if anything."""
    others = dict(build.build_contexts)
    yield from ((base, others.get(base, "")) for base in build.bases)
    for _, below in build.below:
        yield from _sources_of_bases(below)


def _resource(kind: str, reference: str) -> dict[str, Any]:
    name, _, digest = reference.partition("@")
    algorithm, _, value = digest.partition(":")
    return {"uri": f"{kind}{name}", **({"digest": {algorithm: value}} if value else {})}


def _replaced(base: str, source: str, plan: PublishPlan) -> dict[str, Any]:
    scheme, _, place = source.partition("://")
    if scheme == "docker-image":
        found = _resource("docker:", place)
    else:
        # The path on this machine is not published; the digest identifies it.
        path, at, digest = place.partition("@")
        known = digest if at else _layout_digest(Path(path))
        found = _resource(scheme, f"@{known}")
    return found | {"annotations": {"replaces": base, "standIn": base in plan.build.stand_ins}}


def _layout_digest(path: Path) -> str:
    """Return the digest of the only image in a layout; empty if there is not one."""
    try:
        index = json.loads((path / "index.json").read_text(encoding="utf-8"))
        digests = {str(entry["digest"]) for entry in index["manifests"]}
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    return digests.pop() if len(digests) == 1 else ""


# BuildKit's provenance of the build is attached beside the image, and not in it: it has times, and
# would give the image another digest with every build. So the same build runs again, from the
# cache, for the provenance alone; the platforms' manifests are the same. Source:
# docs.docker.com/build/metadata/attestations/attestation-storage.


def write_provenance(
    project: Project,
    executor: Executor,
    console: Console,
    *,
    stem: Path,
    platforms: Mapping[str, str],
) -> list[dict[str, str]]:
    """Write BuildKit's provenance of each platform's image; warn if there is none.

    The manifests are the same only while the cache holds the build, or if it is reproducible.

    Args:
        stem: of the files' names, with their directory.
        platforms: each with its manifest's digest.

    Returns:
        Platform, digest, file and cosign's type of each one.
    """
    try:
        found = _build_again(project, executor, console)
    except FailureError as error:
        console.warn(f"BuildKit gives no provenance: {error.what}")
        return []
    known = {d: s for d, s in found.items() if s.get("predicateType") in PROVENANCE}
    if missing := [name for name, digest in platforms.items() if digest not in known]:
        same = set(found) & set(platforms.values())
        why = "in an unknown form" if same else "about another image, from another build"
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


def _build_again(
    project: Project, executor: Executor, console: Console
) -> dict[str, dict[str, Any]]:
    with passing_folder("provenance") as folder:
        path = folder / "image.oci.tar"
        request = BuildRequest(
            platforms=("all",) if project.config.platforms else (),
            output=Output.OCI,
            destination=path,
            # The mode without build args.
            provenance="mode=min",
        )
        with console.repeating():
            build_image(project, request, executor, console)
        with open_archive(path) as archive:
            return dict(_statements(archive))


def _statements(archive: Archive) -> Iterator[tuple[str, dict[str, Any]]]:
    index = json.loads(archive.bytes_of(archive.top()))
    for entry in index.get("manifests") or ():
        about = (entry.get("annotations") or {}).get("vnd.docker.reference.digest")
        if about:
            manifest = json.loads(archive.bytes_of(entry["digest"]))
            said = [json.loads(archive.bytes_of(one["digest"])) for one in manifest["layers"]]
            # There may be an SBOM as well, by the builder's own default.
            known = [one for one in said if one.get("predicateType") in PROVENANCE]
            yield from ((str(about), one) for one in known or said)
