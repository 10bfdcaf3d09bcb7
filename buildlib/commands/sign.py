"""`docker-sign`: signatures for a digest, with attestations on request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from buildlib.commands.publish import NO_OPTIONS, PublishPlanner
from buildlib.commands.session import Edge
from buildlib.config.config import Config
from buildlib.config.publish import SBOM
from buildlib.config.tables import Registry
from buildlib.errors import BuildlibError, GateError, InputError, ToolError, raise_problems
from buildlib.image.archive import Image
from buildlib.image.labels import REVISION_LABEL, VERSION_LABEL, stand_ins_of
from buildlib.image.platform import platform_name
from buildlib.image.reference import Reference, canonical, parse_reference
from buildlib.program import PROGRAM
from buildlib.publish.plan import PublishPlan, stand_in_problem
from buildlib.publish.receipt import GateRecord, find_sboms, new_receipt
from buildlib.publish.signing import ReleaseSigner, tracked_key
from buildlib.registry.open import Opened, are_local, open_registries
from buildlib.registry.repository import Repository
from buildlib.registry.response import object_or_nothing
from buildlib.registry.transfer import manifests_of
from buildlib.shell import shell_line
from buildlib.sign.cosign import Cosign
from buildlib.sign.signer import find_cosign, opened_signer


def _attestations(texts: Sequence[str]) -> list[tuple[str, Path]]:
    found = []
    for text in texts:
        kind, equals, file = text.rpartition("=")
        if not equals or not kind or not Path(file).is_file():
            raise InputError(f"not a type and a file: {text!r}", hint="give TYPE=FILE")
        # It is relative to this directory, and cosign runs in another one.
        found.append((kind, Path(file).absolute()))
    return found


def sign(run: Edge, reference: str, attest: Sequence[str], *, release: bool) -> None:
    """Sign, and attach the given attestations, or all those of a release."""
    config = run.config()
    parsed = parse_reference(reference)
    settings = config.signing()
    attestations = _attestations(attest)
    if not parsed.digest:
        raise InputError(
            f"{reference} has no digest",
            why="a tag may have moved by the time that it is signed",
            hint=f"give repository@sha256:…; {PROGRAM} docker-push prints the digest",
        )
    if not (settings.key or settings.keyless):
        raise InputError("signing is not configured", hint=f"add {config.table('sign')} with key")
    raise_problems(list(filter(None, [tracked_key(config)])))
    if run.dry:
        cosign = cosign_to_print(run)
        run.plan(shell_line(cosign.sign(reference, settings, config.root)))
        for kind, file in attestations:
            argv = cosign.attest(reference, file, kind, settings, config.root)
            run.plan(shell_line(argv))
        return
    opened = open_repository(run, config, parsed)
    by = f" by {_sign_release(run, opened, parsed)}" if release else ""
    cosign, transport = find_cosign(run.executor), opened.repository.transport
    with opened_signer(transport, cosign, run.executor, config.root, run.env) as signer:
        if not release:
            with run.console.running(f"signing {reference}"):
                signer.sign(reference, settings)
        for kind, file in attestations:
            with run.console.running(f"attaching {kind}"):
                signer.attest(reference, file, kind, settings)
    run.console.answer(f"signed {reference}{by}")


def open_repository(run: Edge, config: Config, reference: Reference) -> Opened:
    """Return a repository with the credentials for its registry, configured or not."""
    known = [r for r in config.registries if r.full_name == canonical(reference.name)]
    registry = known[0] if known else Registry(name=reference.name, repository=reference.name)
    (opened,) = open_registries([registry], run.env, run.executor)
    return opened


def cosign_to_print(run: Edge) -> Cosign:
    """Return the installed cosign, as versions differ in their options, or version 2."""
    try:
        return find_cosign(run.executor)
    except ToolError as error:
        run.console.warn(f"{error.what}; the commands below are those of version 2")
        return Cosign(version="")


def _sign_release(run: Edge, opened: Opened, reference: Reference) -> str:
    """Sign as a publication does, with the SBOMs that are in dist; return by whom.

    Raises:
        InputError: it is another image than the project would publish (exit 2).
    """
    planner = PublishPlanner(run, NO_OPTIONS, by_version=True)
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
    sboms = find_sboms(plan.archive.parent, name, receipt.platforms)
    # The gate results are not known here: only that there are SBOMs.
    made = [GateRecord(gate=SBOM, state="by hand", figures={"sboms": sboms})]
    receipt.gates = made if sboms else []
    there = {target.name: opened.repository}
    return ReleaseSigner(project, plan, run.executor, run.console, there).sign(target, receipt)


def _images(repository: Repository, reference: Reference) -> Iterator[Image]:
    """Yield each platform's image as the registry has it, without its layers."""
    top = repository.manifest(reference.digest)
    if top is None:
        raise InputError(f"there is no {reference}", hint=f"{PROGRAM} docker-push")
    named = manifests_of(top)
    for digest in named or [top.digest]:
        manifest = repository.manifest(digest) if named else top
        if manifest is None:
            raise GateError(f"{repository.name} has no whole image: {digest} is missing")
        parts = manifest.blobs() if "config" in object_or_nothing(manifest.data) else ()
        part = parts[0] if parts else {}
        config = object_or_nothing(repository.blob(str(part["digest"]))) if part else {}
        runtime = config.get("config") or {}
        labels = runtime.get("Labels") or {} if isinstance(runtime, dict) else None
        if not (isinstance(labels, dict) and all(isinstance(one, str) for one in labels.values())):
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


def release_problems(
    images: Sequence[Image], plan: PublishPlan, registry: Registry
) -> Iterator[BuildlibError]:
    """Yield why images are not those of a plan.

    Args:
        images: of each platform, as the registry has them.
        registry: that they are in; one on this machine may have stand-ins.
    """
    for platform in sorted(set(plan.platforms) - {image.platform for image in images}):
        yield InputError(f"the image is not for {platform}", hint="push one of all platforms")
    known = dict(plan.build.labels)
    # Another version is another commit as well: one of the two is enough.
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
    names = stand_ins_of(image.labels for image in images)
    if names and not are_local([registry]):
        yield stand_in_problem(names, "signed as a release")
