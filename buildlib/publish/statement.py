"""What was built from what, and what it had to pass: a predicate over the index's digest.

The form is SLSA Provenance 1, slsa.dev/spec/v1.0/provenance; the gates are its byproducts. It is
made by whoever publishes, on a machine of theirs: no level of SLSA is claimed by it.
"""

from __future__ import annotations

from typing import Any, Final

from buildlib.labels import NAMESPACE
from buildlib.project import Project
from buildlib.publish.plan import PublishPlan
from buildlib.publish.receipt import Receipt
from buildlib.vcs import without_credentials

PREDICATE_TYPE: Final = "https://slsa.dev/provenance/v1"
_SECRET_WORDS: Final = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")


def make_statement(project: Project, plan: PublishPlan, receipt: Receipt) -> dict[str, Any]:
    """Return the predicate; `cosign attest` puts the digest before it.

    Nothing of the machine is in it, and no value of a build arg that came from the environment.
    """
    source = project.config.source or project.remote
    arguments = {
        name: value
        for name, value in plan.build.build_args
        if value is not None and name.lower() not in _SECRET_WORDS
    }
    return {
        "buildDefinition": {
            "buildType": f"{NAMESPACE}/docker-publish/v1",
            "externalParameters": {
                "image": project.config.image,
                "version": plan.version,
                "mode": str(plan.mode),
                "platforms": list(plan.platforms),
                "dockerfile": project.config.dockerfile,
                "target": plan.build.target,
                "buildArgs": arguments,
            },
            "internalParameters": {"standIns": list(plan.build.stand_ins)},
            "resolvedDependencies": [
                {
                    "uri": f"git+{without_credentials(source)}" if source else "git",
                    "digest": {"gitCommit": plan.revision},
                },
                *_bases(project, plan),
            ],
        },
        "runDetails": {
            "builder": {"id": f"{NAMESPACE}/local", "version": receipt.tools},
            "metadata": {"startedOn": receipt.started},
            "byproducts": [
                {
                    "name": f"gate/{gate.gate}",
                    "annotations": {
                        "state": gate.state,
                        "detail": gate.detail,
                        **gate.figures,
                    },
                }
                for gate in receipt.gates
            ],
        },
    }


def _bases(project: Project, plan: PublishPlan) -> list[dict[str, Any]]:
    known = {name: value for name, value in plan.build.build_args if value is not None}
    found = []
    for base in project.dockerfile().bases(plan.build.target, known):
        name, _, digest = base.partition("@")
        kind, _, value = digest.partition(":")
        found.append({"uri": f"docker:{name}", **({"digest": {kind: value}} if value else {})})
    return found
