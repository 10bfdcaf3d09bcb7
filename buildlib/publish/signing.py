"""What publishing has signed, and how it sees that a stranger can verify it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Final

from buildlib.config.config import Config
from buildlib.config.publish import INDEX, SBOM
from buildlib.console import Console, to_json
from buildlib.errors import (
    BuildlibError,
    InputError,
    ToolError,
    raise_problems,
)
from buildlib.executor import Executor
from buildlib.git.command import GitCommand
from buildlib.project import Project
from buildlib.publish.plan import PublishPlan, Target
from buildlib.publish.provenance import make_statement
from buildlib.publish.receipt import BILLS, Receipt, check_bill
from buildlib.registry.credentials import docker_store
from buildlib.registry.repository import Repository
from buildlib.registry.transfer import manifests_of
from buildlib.sign.cosign import Cosign, ForeignError
from buildlib.sign.signer import Signatory, find_cosign, key_problem
from buildlib.tempfiles import passing_folder

STATEMENT: Final = "slsaprovenance1"


def tracked_key(config: Config) -> InputError | None:
    """Return the problem where git has the private key: everybody with a clone has it then."""
    key = config.signing().key
    if not key or "://" in key:
        return None
    path = (config.root / key).resolve()
    known = GitCommand(config.root).run("ls-files", "--error-unmatch", "--", str(path))
    if known.code != 0:
        return None
    return InputError(
        f"the private key {key} is tracked by git",
        why="everybody who has a clone has it, and earlier commits keep it",
        hint=f"make another pair; git rm --cached {key}, and ignore it in .gitignore",
    )


def signing_problems(config: Config, gates: Collection[str]) -> list[BuildlibError]:
    """Return why nothing can be signed, or verified afterwards, as far as the project tells.

    Args:
        config: of the project.
        gates: that will be passed; one of them makes bills of materials.
    """
    signing, policy = config.signing(), config.verification()
    found: list[BuildlibError] = []
    if not (signing.key or signing.keyless):
        found.append(
            InputError(
                "nothing says what signs",
                hint=f"add {config.table('sign')} with key, or keyless = true; or leave it out: "
                f"sign = false in {config.table('publish')}, or once "
                '--skip-gate sign --reason "…"',
            )
        )
    if not (policy.key or policy.by_identity):
        found.append(
            InputError(
                "it is not configured what counts as signed",
                hint=f"add {config.table('verify')} with the public key, or with identity and "
                "issuer",
            )
        )
    unmade = sorted(set(BILLS) & set(policy.attestations)) if SBOM not in gates else []
    if unmade:
        found.append(
            InputError(
                f"verify wants {' and '.join(unmade)}, and no bill of materials is made",
                hint="let the gate sbom be passed, or take them out of verify.attestations",
            )
        )
    kept = sorted({*BILLS, "slsaprovenance02"} & set(policy.attestations))
    if kept and config.publishing().attestations == INDEX:
        found.append(
            InputError(
                f"verify wants {' and '.join(kept)}, which would be in the index alone",
                why="what is in the index is signed with it, and not on its own",
                hint='let publish.attestations be "both", or take them out of verify.attestations',
            )
        )
    return found + list(filter(None, [tracked_key(config)]))


def check_signer(config: Config, gates: Collection[str], executor: Executor) -> Cosign:
    """Return cosign, with a key that can sign; nothing is asked of a registry.

    Raises:
        InputError, ToolError, ProblemsError: all that is wrong (exit 2, 3).
    """
    problems = signing_problems(config, gates)
    try:
        cosign = find_cosign(executor)
    except ToolError as error:
        raise_problems([*problems, error])
        raise
    key = key_problem(cosign, executor, config.signing(), config.verification(), config.root)
    raise_problems([*problems, *filter(None, [key])])
    return cosign


class CosignSigner:
    """Signs what was pushed, attaches the statements, and verifies all of it.

    Args:
        project: says what signs, and what counts as signed.
        plan: what is published.
        executor: starts cosign.
        console: shows what goes on.
        repositories: by the registry's name; each knows who we are there.
    """

    def __init__(
        self,
        project: Project,
        plan: PublishPlan,
        executor: Executor,
        console: Console,
        repositories: Mapping[str, Repository],
    ) -> None:
        """Start nothing yet."""
        self._project, self._plan = project, plan
        self._executor, self._console, self._repositories = executor, console, repositories
        self._checked: Cosign | None = None

    @cached_property
    def _cosign(self) -> Cosign:
        return self._checked or find_cosign(self._executor)

    def check(self) -> Mapping[str, str]:
        """Return the versions of the tools.

        Raises:
            InputError: nothing says what signs or what counts as signed, or the key can't be used
                (exit 2).
            ToolError: cosign is not here (exit 3).
            ProblemsError: several of these.
        """
        self._checked = check_signer(self._project.config, self._plan.gates, self._executor)
        return {"cosign": self._checked.version}

    def sign(self, target: Target, receipt: Receipt) -> str:
        """Sign what a registry holds, and verify it; what is signed already is not signed again.

        Raises:
            BuildlibError: as `Signatory`.
        """
        reference = f"{target.repository}@{receipt.digest}"
        policy = self._project.config.verification()
        transport = self._repositories[target.name].transport
        root, env = self._project.config.root, self._project.env
        signatory = Signatory(
            *(self._cosign, self._executor, root, env), safe=transport.safe, tally=transport.tally
        )
        images = tuple(receipt.platforms.values())
        images = () if images == (receipt.digest,) else images
        with docker_store(transport.host, transport.credentials) as store:
            self._signed(signatory, reference, store, images)
            with passing_folder("attest") as folder:
                for about, file, kind in self._statements(target, receipt, folder):
                    self._attested(signatory, about, file, kind, store)
            with self._console.running(f"verifying {reference}"):
                done = signatory.verify(reference, policy, store, images=images)
        self._console.note(f"{reference} is signed by {done.signed_by}, and verified")
        return done.signed_by

    def _signed(
        self, signatory: Signatory, reference: str, store: Path, images: tuple[str, ...]
    ) -> None:
        if not signatory.is_signed(
            reference, self._project.config.verification(), store, images=images
        ):
            self._console.note(f"signing {reference}")
            with self._console.running(f"signing {reference}"):
                signatory.sign(reference, self._project.config.signing(), store)

    def _statements(
        self, target: Target, receipt: Receipt, folder: Path
    ) -> Iterator[tuple[str, Path, str]]:
        """Yield the reference, the content and the type of each statement."""
        if self._plan.beside:
            yield from self._about_images(target, receipt)
        own = folder / "statement.json"
        own.write_text(to_json(make_statement(self._project, self._plan, receipt)), "utf-8")
        yield f"{target.repository}@{receipt.digest}", own, STATEMENT

    def _about_images(self, target: Target, receipt: Receipt) -> Iterator[tuple[str, Path, str]]:
        root = self._project.config.root
        figures = next((gate.figures for gate in receipt.gates if gate.gate == SBOM), {})
        for bill in figures.get("sboms", ()):
            for file in bill["files"]:
                kind = next(kind for kind, end in BILLS.items() if file.endswith(end))
                check_bill(root / file, bill["digest"])
                yield f"{target.repository}@{bill['digest']}", root / file, kind
        for one in receipt.provenance:
            yield f"{target.repository}@{one['digest']}", root / one["file"], one["type"]

    def _attested(
        self, signatory: Signatory, about: str, file: Path, kind: str, store: Path
    ) -> None:
        # Attaching twice would leave two of them, but one that says something else is another one:
        # a gate that was left out then may have been passed now.
        policy = self._project.config.verification()
        try:
            there = signatory.statements(about, kind, policy, store)
        except ForeignError:
            # By the key before this one, or by a wrong one: the last verification decides.
            there = ()
        new = _said(json.loads(file.read_text(encoding="utf-8"))) if kind == STATEMENT else None
        if not any(new is None or _said(one.get("predicate")) == new for one in there):
            self._console.note(f"attaching {kind} to {about}")
            with self._console.running(f"attaching {kind} to {about}"):
                signatory.attest(about, file, kind, self._project.config.signing(), store)


def _said(predicate: object) -> tuple[object, object]:
    """Return the type of build that provenance is of, and what ours says of each gate's outcome.

    BuildKit's may be about the same image, and of the same SLSA type.
    """
    found = predicate if isinstance(predicate, Mapping) else {}
    build = gates = None
    with suppress(LookupError, TypeError):
        build = found["buildDefinition"]["buildType"]
    # Other tools have byproducts of other kinds; SLSA wants neither name nor annotations.
    with suppress(LookupError, TypeError, AttributeError):
        byproducts = found["runDetails"].get("byproducts") or ()
        gates = sorted((gate["name"], gate["annotations"]["state"]) for gate in byproducts)
    return build, gates


Verifier = Callable[[Repository, str], None]


def make_verifier(
    config: Config,
    executor: Executor,
    env: Mapping[str, str],
    console: Console,
) -> Verifier:
    """Return what verifies a digest in a repository, or where nothing says how, warns once.

    Args:
        config: says what counts as signed.
        executor: starts cosign.
        env: the environment.
        console: shows what was verified.
    """
    policy = config.verification()
    if not (policy.key or policy.by_identity):
        signed = f"nothing says what counts as signed: see {config.table('verify')}"
        unsigned = "nothing is verified: publish.sign = false"
        console.warn(signed if config.publishing().sign else unsigned)
        return lambda _repository, _digest: None
    cosign = find_cosign(executor)

    def verify(repository: Repository, digest: str) -> None:
        document = repository.manifest(digest)
        if document is None:
            raise InputError(f"{repository.name} has no {digest}", hint="push it first")
        transport = repository.transport
        signatory = Signatory(
            *(cosign, executor, config.root, env), safe=transport.safe, tally=transport.tally
        )
        reference = f"{repository.name}@{digest}"
        with docker_store(transport.host, transport.credentials) as store:
            images = tuple(manifests_of(document))
            with console.running(f"verifying {reference}"):
                done = signatory.verify(reference, policy, store, images=images)
        console.note(f"{reference} is signed by {done.signed_by}")

    return verify
