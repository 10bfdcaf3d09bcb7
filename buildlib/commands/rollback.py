"""`docker-rollback`: tags that move, back to an earlier version."""

from __future__ import annotations

from collections.abc import Sequence

from buildlib.commands.session import Edge
from buildlib.program import PROGRAM
from buildlib.publish.report import reported_tags
from buildlib.publish.rollback import (
    Rollback,
    earlier_version,
    gives_latest,
    in_order,
    plan_rollback,
    roll_back,
)
from buildlib.publish.signing import make_verifier
from buildlib.registry.claim import Claim, Intent
from buildlib.registry.open import asking, chosen_registries, open_registries
from buildlib.shell import repeated, shell_line
from buildlib.sign.version_check import check_version, versions_of


def rollback(run: Edge, version: str, names: Sequence[str], *, as_json: bool) -> None:
    """Move the floating tags of every registry to an earlier version.

    Raises:
        InputError: a registry does not have the version; or none was given, and `latest` differs
            from registry to registry (exit 2).
        VerificationError: it is not verified; nothing has moved (exit 8).
        BuildlibError: a registry failed; the tags moved until then are printed.
    """
    config = run.config()
    registries = chosen_registries(config, names)
    opened = open_registries(registries, run.env, run.executor, dry=run.dry)
    naming = config.naming
    known = [(one, config.tag_rules(one.registry)) for one in opened]
    # A text that is not a version is for the registries to refuse.
    wanted = naming.version_of(version) or version

    def replan() -> list[Rollback]:
        return [
            plan_rollback(
                *(one.repository, wanted, rules),
                immutable=one.registry.immutable,
                naming=naming,
            )
            for one, rules in known
        ]

    with run.console.running(asking(opened)):
        wanted = wanted or earlier_version(
            ((one.repository, rules) for one, rules in known if gives_latest(rules)), naming=naming
        )
        # All registries are checked before the first is changed.
        plans = replan()
    if run.dry:
        called = {one.repository.name: one.registry.name for one in opened}
        for plan, tag in in_order(plans):
            words = (PROGRAM, "docker-promote", plan.digest, tag)
            run.plan(shell_line((*words, "--registry", called[plan.repository.name])))
        return
    verify = make_verifier(config, run.executor, run.env, run.console)
    for plan in plans:
        verify(plan.repository, plan.digest)
        if document := plan.repository.manifest(plan.digest):
            said = versions_of(plan.repository, document, naming)
            check_version(f"{plan.repository.name}@{plan.digest}", wanted, said, naming)
    intent = Intent(f"a rollback to {wanted}")
    claims = {
        one.repository.name: Claim(
            one.repository, intent, note=run.console.note, enabled=one.registry.claim
        )
        for one in opened
    }
    only = repeated("--registry", names)
    resume = shell_line((PROGRAM, "docker-rollback", "--version", wanted, *only))
    with reported_tags(run.console, plans[0].digest, as_json=as_json, resume=resume) as tagged:
        for plan, done in roll_back(plans, replan, claims):
            reference = f"{plan.repository.name}:{done.tag}"
            tagged({"reference": reference, "digest": done.digest, "before": done.before})
    run.console.note(f"back to {wanted}")
