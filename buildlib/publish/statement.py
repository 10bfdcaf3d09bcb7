"""What was built from what, and what it had to pass: a predicate over the index's digest.

The form is SLSA Provenance 1, slsa.dev/spec/v1.0/provenance; the gates are its byproducts. It is
made by whoever publishes, on a machine of theirs: no level of SLSA is claimed by it.
"""

from __future__ import annotations

from typing import Any

from buildlib.labels import NAMESPACE
from buildlib.project import Project
from buildlib.publish.plan import PublishPlan
from buildlib.publish.receipt import GateRecord, Receipt
from buildlib.vcs import without_credentials


def make_statement(project: Project, plan: PublishPlan, receipt: Receipt) -> dict[str, Any]:
    """Return the predicate; `cosign attest` puts the digest before it.

    Nothing of the machine is in it, and no value of a build arg that came from the environment.
    """
    return {
        "buildDefinition": {
            "buildType": f"{NAMESPACE}/docker-publish/v1",
            "externalParameters": _parameters(project, plan),
            "internalParameters": {"standIns": list(plan.build.stand_ins)},
            "resolvedDependencies": [_source(project, plan), *_bases(project, plan)],
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
        "buildArgs": {name: value for name, value in plan.build.build_args if value is not None},
    }


def _source(project: Project, plan: PublishPlan) -> dict[str, Any]:
    address = without_credentials(project.config.source or project.remote)
    # A path on this machine is nobody else's business.
    known = address if "://" in address and not address.startswith("file:") else ""
    source = {"uri": f"git+{known}" if known else "git", "digest": {"gitCommit": plan.revision}}
    # The commit alone would be a lie where files differ from it.
    dirt = {"annotations": {"dirty": True, "uncommitted": plan.uncommitted}}
    return source | (dirt if plan.uncommitted else {})


def _judgement(record: GateRecord) -> dict[str, Any]:
    figures = dict(record.figures)
    bills = figures.pop("sboms", ())
    counted = {bill["platform"]: bill["packages"] for bill in bills if bill["packages"]}
    if counted:
        figures["packages"] = counted
    told = {"state": record.state, **({"reason": record.detail} if record.detail else {})}
    return {"name": f"gate/{record.gate}", "annotations": told | figures}


def _bases(project: Project, plan: PublishPlan) -> list[dict[str, Any]]:
    known = {name: value for name, value in plan.build.build_args if value is not None}
    found = []
    for base in project.dockerfile().bases(plan.build.target, known):
        name, _, digest = base.partition("@")
        kind, _, value = digest.partition(":")
        found.append({"uri": f"docker:{name}", **({"digest": {kind: value}} if value else {})})
    return found
