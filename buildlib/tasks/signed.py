"""What `docker-sign` and `docker-verify` do; apart from their options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from buildlib.command import shell_line
from buildlib.config import Config
from buildlib.errors import InputError, ToolError, VerificationError
from buildlib.publish.receipt import GateRecord, find_bills, new_receipt
from buildlib.publish.settings import SBOM
from buildlib.publish.signing import CosignSigner
from buildlib.reference import Reference, parse_reference
from buildlib.registry.client import Repository
from buildlib.registry.credentials import docker_store
from buildlib.registry.push import manifests_of
from buildlib.report import to_json
from buildlib.settings import Registry
from buildlib.sign.cosign import Cosign
from buildlib.sign.flow import Signatory, find_cosign
from buildlib.sign.settings import Sign, Verify, check_policy
from buildlib.tasks.edge import Edge
from buildlib.tasks.publishing import NOTHING, Planner
from buildlib.tasks.registries import Opened, open_registries


class Wanted(NamedTuple):
    """The options of `docker-verify`; empty ones leave it to the configuration."""

    key: str
    identity: str
    issuer: str
    attestations: tuple[str, ...]


def _open(run: Edge, config: Config, reference: Reference) -> Opened:
    """Return the configured registry of that repository, or one that nobody configured."""
    known = [r for r in config.registries if r.repository == reference.name]
    registry = known[0] if known else Registry(name=reference.name, repository=reference.name)
    (opened,) = open_registries(run, [registry])
    return opened


def _attestations(texts: Sequence[str]) -> list[tuple[str, Path]]:
    found = []
    for text in texts:
        kind, equals, file = text.rpartition("=")
        if not equals or not kind or not Path(file).is_file():
            raise InputError(f"not a type and a file: {text!r}", hint="give TYPE=FILE")
        found.append((kind, Path(file)))
    return found


def sign(run: Edge, reference: str, attest: Sequence[str], *, release: bool) -> None:
    """Sign, and attach what is given, or all that a release attaches."""
    config = run.config()
    parsed = parse_reference(reference)
    settings = config.signing()
    statements = _attestations(attest)
    if not parsed.digest:
        raise InputError(
            f"{reference} has no digest",
            why="a tag may be another image by the time that it is signed",
            hint="give repository@sha256:…; invoke docker-push prints the digest",
        )
    if not (settings.key or settings.keyless):
        raise InputError("nothing says what signs", hint=f"add {config.table('sign')} with key")
    if run.dry:
        _print_lines(run, config, settings, reference, statements)
        return
    opened = _open(run, config, parsed)
    if release:
        _sign_release(run, opened, parsed)
        return
    safe = opened.repository.transport.safe
    signatory = Signatory(find_cosign(run.executor), run.executor, config.root, run.env, safe=safe)
    with docker_store(opened.registry.host, opened.credentials) as store:
        signatory.sign(reference, settings, store)
        for kind, file in statements:
            signatory.attest(reference, file, kind, settings, store)
    run.console.answer(f"signed {reference}")


def _sign_release(run: Edge, opened: Opened, reference: Reference) -> None:
    """Sign what was pushed by hand as publishing does, with the bills that lie in dist."""
    planner = Planner(run, NOTHING, by_version=True)
    plan = planner.plan({})
    target = next((t for t in plan.targets if t.repository == reference.name), None)
    if target is None:
        raise InputError(f"{reference.name} is no configured registry's repository")
    project = planner.project
    receipt = new_receipt(project.config, plan, started="")
    receipt.digest = reference.digest
    receipt.platforms = _platforms(opened.repository, reference, plan.platforms)
    name = parse_reference(project.config.image).repository.rpartition("/")[2]
    bills = find_bills(plan.archive.parent, name, receipt.platforms)
    # What gates said is not known here: only that there are bills.
    made = [GateRecord(gate=SBOM, state="by hand", figures={"sboms": bills})]
    receipt.gates = made if bills else []
    there = {target.name: opened.repository}
    signer = CosignSigner(project, plan, run.executor, run.console, there)
    run.console.answer(f"signed {reference} by {signer.sign(target, receipt)}")


def _platforms(
    repository: Repository, reference: Reference, planned: Sequence[str]
) -> dict[str, str]:
    """Return the manifest's digest of each platform."""
    document = repository.manifest(reference.digest)
    if document is None:
        raise InputError(f"there is no {reference}", hint="invoke docker-push")
    found = {name: one for one, name in manifests_of(document).items() if name in planned}
    return found or dict.fromkeys(planned[:1], document.digest)


def _for_its_lines(run: Edge) -> Cosign:
    """Return the cosign that is here, as its options differ; without one, that of version 2."""
    try:
        return find_cosign(run.executor)
    except ToolError as error:
        run.console.warn(f"{error.what}; the lines below are those of version 2")
        return Cosign(version="")


def _print_lines(
    run: Edge,
    config: Config,
    settings: Sign,
    reference: str,
    statements: Sequence[tuple[str, Path]],
) -> None:
    cosign = _for_its_lines(run)
    run.console.answer(shell_line(cosign.sign(reference, settings, config.root)))
    for kind, file in statements:
        argv = cosign.attest(reference, file, kind, settings, config.root)
        run.console.answer(shell_line(argv))


def _policy(config: Config, wanted: Wanted) -> Verify:
    policy = config.verification()
    if wanted.key or wanted.identity:
        own = Verify(key=wanted.key, identity=wanted.identity, issuer=wanted.issuer)
        policy = own._replace(attestations=policy.attestations)
    elif wanted.issuer:
        policy = policy._replace(issuer=wanted.issuer)
    policy = policy._replace(attestations=wanted.attestations or policy.attestations)
    check_policy(policy)
    if not (policy.key or policy.by_identity):
        raise InputError(
            "nothing says what counts as signed",
            hint=f"give --key, or --identity and --issuer, or add {config.table('verify')}",
        )
    return policy


def _found(repository: Repository, reference: Reference) -> tuple[str, tuple[str, ...]]:
    """Return the digest that is meant, and those of the manifests in it.

    Raises:
        InputError: there is no such image (exit 2).
        VerificationError: the tag is another image than the digest beside it (exit 8).
    """
    document = repository.manifest(reference.tag or reference.digest or "latest")
    if document is None:
        raise InputError(f"there is no {reference}")
    if reference.digest and document.digest != reference.digest:
        raise VerificationError(
            f"{reference.name}:{reference.tag} has moved",
            why=f"it is {document.digest} now, and not {reference.digest}",
        )
    return document.digest, tuple(manifests_of(document))


def verify(run: Edge, reference: str, wanted: Wanted, *, as_json: bool) -> None:
    """Verify, and print what was found.

    Raises:
        VerificationError: it is not verified (exit 8).
    """
    config = run.config()
    parsed = parse_reference(reference)
    policy = _policy(config, wanted)
    if run.dry:
        _print_verifying(run, parsed, policy, config.root)
        return
    cosign = find_cosign(run.executor)
    opened = _open(run, config, parsed)
    digest, images = _found(opened.repository, parsed)
    safe = opened.repository.transport.safe
    signatory = Signatory(cosign, run.executor, config.root, run.env, safe=safe)
    with docker_store(opened.registry.host, opened.credentials) as store:
        done = signatory.verify(f"{parsed.name}@{digest}", policy, store, images=images)
    run.console.answer(to_json(done.as_dict()) if as_json else done.as_text())


def _print_verifying(run: Edge, reference: Reference, policy: Verify, root: Path) -> None:
    cosign = _for_its_lines(run)
    name = f"{reference.name}@{reference.digest or '$DIGEST'}"
    lines = [cosign.verify((name,), policy, root)]
    lines += [cosign.verify_attestation(name, kind, policy, root) for kind in policy.attestations]
    for line in lines:
        quoted = shell_line(line)
        # A variable stays one.
        run.console.answer(quoted.replace(f"'{name}'", f'"{name}"'))
