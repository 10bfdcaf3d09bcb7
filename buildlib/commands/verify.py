"""`docker-verify`: signatures, attestations, and whether a tag names the version of its image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from buildlib.commands.session import Edge
from buildlib.commands.sign import cosign_to_print, open_repository
from buildlib.config.config import Config
from buildlib.config.load import load_config
from buildlib.config.signing import Verify, check_policy
from buildlib.errors import InputError, VerificationError
from buildlib.image.reference import Reference, parse_reference
from buildlib.publish.signing import STATEMENT
from buildlib.registry.open import Opened
from buildlib.registry.repository import Document, Repository
from buildlib.registry.transfer import manifests_of
from buildlib.shell import shell_line
from buildlib.sign.cosign import key_argument
from buildlib.sign.signer import find_cosign, opened_signer
from buildlib.sign.version_check import check_tag_name, version_in_statement, versions_of


class VerifyOptions(NamedTuple):
    """The options of `docker-verify`; empty ones are those of the configuration."""

    key: str
    identity: str
    issuer: str
    attestations: tuple[str, ...]


def verify(run: Edge, reference: str, options: VerifyOptions, *, as_json: bool) -> None:
    """Verify, and print what was found.

    Raises:
        VerificationError: it is not verified, or is another version than the tag (exit 8).
    """
    parsed = parse_reference(reference)
    if options.key or options.identity:
        # A third party has no configuration, and needs none.
        config = load_config(run.start, run.env, {"image": parsed.name}, image=run.image)
    else:
        config = run.config()
    policy = _policy(config, options)
    if run.dry:
        _print_commands(run, parsed, policy, config.root)
        return
    cosign = find_cosign(run.executor)
    opened = open_repository(run, config, parsed)
    document = _document(opened.repository, parsed)
    about, images = f"{parsed.name}@{document.digest}", manifests_of(document)
    transport = opened.repository.transport
    with opened_signer(transport, cosign, run.executor, config.root, run.env) as signer:
        with run.console.running(f"verifying {about}"):
            done = signer.verify(about, policy, images=tuple(images))
        if parsed.tag:
            stated = STATEMENT in policy.attestations
            statements = signer.statements(about, STATEMENT, policy) if stated else ()
            _check_name(parsed, opened, document, config, statements)
    run.console.show(replace(done, platforms=images), as_json=as_json)


def _policy(config: Config, options: VerifyOptions) -> Verify:
    policy = config.verification()
    if options.key or options.identity:
        # The configuration's file is relative to the project, an option's to this directory.
        key = options.key and key_argument(options.key, Path.cwd())
        own = Verify(key=key, identity=options.identity, issuer=options.issuer)
        policy = replace(own, attestations=policy.attestations)
    elif options.issuer:
        policy = replace(policy, issuer=options.issuer)
    policy = replace(policy, attestations=options.attestations or policy.attestations)
    check_policy(policy)
    if not (policy.key or policy.by_identity):
        raise InputError(
            "verification is not configured",
            why="" if config.publishing().sign else "publish.sign = false: nothing is signed here",
            hint=f"give --key, or --identity and --issuer, or add {config.table('verify')}",
        )
    return policy


def _document(repository: Repository, reference: Reference) -> Document:
    """Return the index or manifest that a reference names.

    Raises:
        InputError: there is no such image (exit 2).
        VerificationError: the tag points to another digest than the one beside it (exit 8).
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
    """Raise VerificationError (exit 8) if a tag names another version than what is signed."""
    said = versions_of(opened.repository, document, config.naming)
    said = said or tuple(filter(None, map(version_in_statement, statements)))
    known = opened.registry in config.registries
    rules = config.tag_rules(opened.registry) if known else ()
    check_tag_name(str(reference), reference.tag, said, rules, config.naming)


def _print_commands(run: Edge, reference: Reference, policy: Verify, root: Path) -> None:
    cosign = cosign_to_print(run)
    name = f"{reference.name}@{reference.digest or '$DIGEST'}"
    lines = [cosign.verify((name,), policy, root)]
    lines += [cosign.verify_attestation(name, kind, policy, root) for kind in policy.attestations]
    for line in lines:
        quoted = shell_line(line)
        # A variable stays one.
        run.plan(quoted.replace(f"'{name}'", f'"{name}"'))
