"""What `docker-sign` and `docker-verify` do; apart from their options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from buildlib.commands.publish import NOTHING, Planner
from buildlib.commands.registries import Opened, open_registries, stand_ins_away
from buildlib.commands.session import Edge
from buildlib.config.config import Config, load_config
from buildlib.config.publish import SBOM
from buildlib.config.signing import Sign, Verify, check_policy
from buildlib.config.tables import Registry
from buildlib.console import to_json
from buildlib.errors import (
    BuildlibError,
    GateError,
    InputError,
    ToolError,
    VerificationError,
    raise_problems,
)
from buildlib.image.archive import Image
from buildlib.image.labels import REVISION_LABEL, VERSION_LABEL
from buildlib.image.platform import platform_name
from buildlib.image.reference import Reference, canonical, parse_reference
from buildlib.publish.plan import PublishPlan
from buildlib.publish.receipt import GateRecord, find_bills, new_receipt
from buildlib.publish.signing import STATEMENT, CosignSigner, tracked_key
from buildlib.registry.credentials import docker_store
from buildlib.registry.repository import Document, Repository
from buildlib.registry.response import read_object
from buildlib.registry.transfer import manifests_of
from buildlib.shell import shell_line
from buildlib.sign.cosign import Cosign, key_argument
from buildlib.sign.signer import Signatory, find_cosign
from buildlib.sign.version_check import check_tag_name, version_in_statement, versions_of


class Wanted(NamedTuple):
    """The options of `docker-verify`; empty ones leave it to the configuration."""

    key: str
    identity: str
    issuer: str
    attestations: tuple[str, ...]


def _open(run: Edge, config: Config, reference: Reference) -> Opened:
    """Return the configured registry of that repository, or one that nobody configured."""
    known = [r for r in config.registries if r.full_name == canonical(reference.name)]
    registry = known[0] if known else Registry(name=reference.name, repository=reference.name)
    (opened,) = open_registries(run, [registry])
    return opened


def _attestations(texts: Sequence[str]) -> list[tuple[str, Path]]:
    found = []
    for text in texts:
        kind, equals, file = text.rpartition("=")
        if not equals or not kind or not Path(file).is_file():
            raise InputError(f"not a type and a file: {text!r}", hint="give TYPE=FILE")
        # It is meant from here, and cosign runs elsewhere.
        found.append((kind, Path(file).absolute()))
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
    raise_problems(list(filter(None, [tracked_key(config)])))
    if run.dry:
        _print_lines(run, config, settings, reference, statements)
        return
    opened = _open(run, config, parsed)
    by = f" by {_sign_release(run, opened, parsed)}" if release else ""
    safe = opened.repository.transport.safe
    signatory = Signatory(find_cosign(run.executor), run.executor, config.root, run.env, safe=safe)
    with docker_store(opened.registry.host, opened.credentials) as store:
        if not release:
            signatory.sign(reference, settings, store)
        for kind, file in statements:
            signatory.attest(reference, file, kind, settings, store)
    run.console.answer(f"signed {reference}{by}")


def _sign_release(run: Edge, opened: Opened, reference: Reference) -> str:
    """Sign what was pushed by hand as publishing does, with the bills that lie in dist.

    Raises:
        InputError: it is another image than the project would publish (exit 2).
    """
    planner = Planner(run, NOTHING, by_version=True)
    planner.take_commit()
    plan = planner.plan({})
    name = canonical(reference.name)
    target = next((t for t in plan.targets if t.registry.full_name == name), None)
    if target is None:
        raise InputError(f"{reference.name} is not a configured repository")
    images = tuple(_images(opened.repository, reference))
    raise_problems(list(release_problems(images, plan, target.registry)))
    project = planner.project
    receipt = new_receipt(project.config, plan, started="")
    receipt.digest = reference.digest
    receipt.platforms = {image.platform: image.digest for image in images}
    name = project.config.short_name
    bills = find_bills(plan.archive.parent, name, receipt.platforms)
    # What gates said is not known here: only that there are bills.
    made = [GateRecord(gate=SBOM, state="by hand", figures={"sboms": bills})]
    receipt.gates = made if bills else []
    there = {target.name: opened.repository}
    signer = CosignSigner(project, plan, run.executor, run.console, there)
    return signer.sign(target, receipt)


def _images(repository: Repository, reference: Reference) -> Iterator[Image]:
    """Yield each platform's image as the registry has it, without its layers."""
    top = repository.manifest(reference.digest)
    if top is None:
        raise InputError(f"there is no {reference}", hint="invoke docker-push")
    named = manifests_of(top)
    for digest in named or [top.digest]:
        manifest = repository.manifest(digest) if named else top
        if manifest is None:
            raise GateError(f"{repository.name} has no whole image: {digest} is missing")
        parts = manifest.blobs() if "config" in _read(manifest.data) else ()
        part = parts[0] if parts else {}
        config = _read(repository.blob(str(part["digest"]))) if part else {}
        if not _is_configuration(config):
            raise GateError(
                f"{repository.name}@{digest} has a configuration that is not one of an image"
            )
        yield Image(
            platform=named.get(digest) or platform_name(config),
            digest=digest,
            config=config,
            config_digest=str(part.get("digest", "")),
            config_size=int(part.get("size", 0)),
            layers=(),
        )


def _is_configuration(found: Mapping[str, Any]) -> bool:
    """Return whether a configuration has the form that is relied on; what is missing has it."""
    runtime = found.get("config") or {}
    labels = runtime.get("Labels") or {} if isinstance(runtime, dict) else None
    return isinstance(labels, dict) and all(isinstance(value, str) for value in labels.values())


def _read(data: bytes) -> Mapping[str, Any]:
    """Return a document; what is none, as of another thing than an image, says nothing."""
    with suppress(ValueError):
        return read_object(data)
    return {}


def release_problems(
    images: Sequence[Image], plan: PublishPlan, registry: Registry
) -> Iterator[BuildlibError]:
    """Yield why images are not what a statement by a plan would be about.

    Args:
        images: of each platform, as the registry has them.
        plan: of the project as it is here.
        registry: that they are in; one of this machine may have stand-ins.
    """
    for platform in sorted(set(plan.platforms) - {image.platform for image in images}):
        yield InputError(f"the image is not for {platform}", hint="push one of all platforms")
    known = dict(plan.build.labels)
    # Of another version it is of another commit as well: that says no more.
    for image in images:
        for label in (VERSION_LABEL, REVISION_LABEL):
            wanted, said = known.get(label, ""), image.labels.get(label, "")
            if wanted and said != wanted:
                word = label.rpartition(".")[2]
                yield InputError(
                    f"the image for {image.platform or 'no platform'} says that its {word} is "
                    f"{said or 'none'}",
                    why=f"and the project's is {wanted}",
                    hint="check out the commit that it was built from",
                )
                break
    if names := stand_ins_away(images, [registry]):
        yield InputError(
            f"an image built on stand-ins can't be signed as a release: {', '.join(sorted(names))}"
        )


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


def _config(run: Edge, reference: Reference, wanted: Wanted) -> Config:
    """Return the configuration; who says what counts as signed needs none: a stranger has none."""
    if wanted.key or wanted.identity:
        return load_config(run.start, run.env, {"image": reference.name})
    return run.config()


def _policy(config: Config, wanted: Wanted) -> Verify:
    policy = config.verification()
    if wanted.key or wanted.identity:
        # A configured file is meant from the project, one of the command line from here.
        key = wanted.key and key_argument(wanted.key, Path.cwd())
        own = Verify(key=key, identity=wanted.identity, issuer=wanted.issuer)
        policy = replace(own, attestations=policy.attestations)
    elif wanted.issuer:
        policy = replace(policy, issuer=wanted.issuer)
    policy = replace(policy, attestations=wanted.attestations or policy.attestations)
    check_policy(policy)
    if not (policy.key or policy.by_identity):
        raise InputError(
            "nothing says what counts as signed",
            why="" if config.publishing().sign else "publish.sign = false: nothing is signed here",
            hint=f"give --key, or --identity and --issuer, or add {config.table('verify')}",
        )
    return policy


def _found(repository: Repository, reference: Reference) -> Document:
    """Return the index or manifest that is meant.

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
    return document


def _check_name(
    reference: Reference,
    opened: Opened,
    document: Document,
    config: Config,
    statements: Sequence[Mapping[str, Any]],
) -> None:
    """Raise VerificationError (exit 8) where a tag names another version than what is signed."""
    said = versions_of(opened.repository, document, config.naming)
    said = said or tuple(filter(None, map(version_in_statement, statements)))
    known = opened.registry in config.registries
    rules = config.tag_rules(opened.registry) if known else ()
    check_tag_name(str(reference), reference.tag, said, rules, config.naming)


def verify(run: Edge, reference: str, wanted: Wanted, *, as_json: bool) -> None:
    """Verify, and print what was found.

    Raises:
        VerificationError: it is not verified, or is another version than the tag (exit 8).
    """
    parsed = parse_reference(reference)
    config = _config(run, parsed, wanted)
    policy = _policy(config, wanted)
    if run.dry:
        _print_verifying(run, parsed, policy, config.root)
        return
    cosign = find_cosign(run.executor)
    opened = _open(run, config, parsed)
    document = _found(opened.repository, parsed)
    safe = opened.repository.transport.safe
    signatory = Signatory(cosign, run.executor, config.root, run.env, safe=safe)
    with docker_store(opened.registry.host, opened.credentials) as store:
        about, images = f"{parsed.name}@{document.digest}", tuple(manifests_of(document))
        done = signatory.verify(about, policy, store, images=images)
        if parsed.tag:
            stated = STATEMENT in policy.attestations
            statements = signatory.statements(about, STATEMENT, policy, store) if stated else ()
            _check_name(parsed, opened, document, config, statements)
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
