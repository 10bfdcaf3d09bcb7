"""What was built from what, and what it had to pass: a predicate over the index's digest.

The form is SLSA Provenance 1, slsa.dev/spec/v1.0/provenance; the gates are its byproducts. It is
made by whoever publishes, on a machine of theirs: no level of SLSA is claimed by it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from buildlib.console import redact
from buildlib.git.facts import without_credentials
from buildlib.image.labels import NAMESPACE
from buildlib.project import Project
from buildlib.publish.plan import PublishPlan
from buildlib.publish.receipt import GateRecord, Receipt


def make_statement(project: Project, plan: PublishPlan, receipt: Receipt) -> dict[str, Any]:
    """Return the predicate; `cosign attest` puts the digest before it.

    Nothing of the machine is in it, no value of a build arg that came from the environment, and
    no credentials of an address.
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
            "byproducts": [_judgement(record) for record in receipt.gates],
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
        # One without a value comes from the environment, and stays there.
        "buildArgs": {
            name: redact(value) for name, value in plan.build.build_args if value is not None
        },
    }


def _source(project: Project, plan: PublishPlan) -> dict[str, Any]:
    address = without_credentials(project.config.source or project.remote)
    # A path on this machine is nobody else's business.
    known = address if "://" in address and not address.startswith("file:") else ""
    source = {"uri": f"git+{known}" if known else "git", "digest": {"gitCommit": plan.revision}}
    # The commit alone would be a lie where files differ from it.
    dirt = {"annotations": {"dirty": True, "uncommitted": plan.uncommitted}}
    return source | (dirt if plan.uncommitted else {})


def _included(plan: PublishPlan) -> list[dict[str, Any]]:
    """Return the files that the commit does not have, by their paths in the build context."""
    return [
        {
            "name": path,
            "digest": {"sha256": digest.removeprefix("sha256:")},
            "annotations": {"inCommit": False},
        }
        for path, digest in plan.included
    ]


def _judgement(record: GateRecord) -> dict[str, Any]:
    figures = dict(record.figures)
    bills = figures.pop("sboms", ())
    # A file that stays where it was made.
    figures.pop("sarif", "")
    counted = {bill["platform"]: bill["packages"] for bill in bills if bill["packages"]}
    if counted:
        figures["packages"] = counted
    reason = redact(record.detail)
    told = {"state": record.state, **({"reason": reason} if reason else {})}
    return {"name": f"gate/{record.gate}", "annotations": told | figures}


def _bases(plan: PublishPlan) -> list[dict[str, Any]]:
    others = dict(plan.build.build_contexts)
    return [
        _replaced(base, others[base], plan) if base in others else _resource("docker:", base)
        for base in plan.build.bases
    ]


def _resource(kind: str, reference: str) -> dict[str, Any]:
    name, _, digest = reference.partition("@")
    algorithm, _, value = digest.partition(":")
    return {"uri": f"{kind}{name}", **({"digest": {algorithm: value}} if value else {})}


def _replaced(base: str, source: str, plan: PublishPlan) -> dict[str, Any]:
    """Return what a base image was replaced by: that is what is in the image, and not the name."""
    scheme, _, place = source.partition("://")
    if scheme == "docker-image":
        found = _resource("docker:", place)
    else:
        # Where it lies on this machine is nobody else's business; what it is, its digest says.
        path, at, digest = place.partition("@")
        known = digest if at else _layout_digest(Path(path))
        found = _resource(scheme, f"@{known}")
    return found | {"annotations": {"replaces": base, "standIn": base in plan.build.stand_ins}}


def _layout_digest(path: Path) -> str:
    """Return the digest of the only image in a layout; empty where that can't be told."""
    try:
        index = json.loads((path / "index.json").read_text(encoding="utf-8"))
        digests = {str(entry["digest"]) for entry in index["manifests"]}
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    return digests.pop() if len(digests) == 1 else ""
