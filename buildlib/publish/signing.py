"""What publishing has signed, and how it sees that a stranger can verify it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

from buildlib.config import Config
from buildlib.console import Console
from buildlib.errors import InputError, VerificationError
from buildlib.executor import Executor
from buildlib.project import Project
from buildlib.publish.plan import PublishPlan, Target
from buildlib.publish.receipt import BILLS, Receipt, check_bill
from buildlib.publish.settings import SBOM
from buildlib.publish.statement import make_statement
from buildlib.registry.client import Repository
from buildlib.registry.credentials import Credentials, docker_store
from buildlib.registry.push import manifests_of
from buildlib.report import to_json
from buildlib.sign.flow import Signatory, find_cosign
from buildlib.sign.settings import Verify

_STATEMENT: Final = "slsaprovenance1"


def _wanted(config: Config, gates: Collection[str]) -> None:
    signing, policy = config.signing(), config.verification()
    if not (signing.key or signing.keyless):
        raise InputError(
            "nothing says what signs",
            hint="add [tool.buildlib.sign] with key, or keyless = true; or leave it out by name: "
            '--skip-gate sign --reason "…"',
        )
    if not (policy.key or policy.by_identity):
        raise InputError(
            "nothing says what a stranger would verify by",
            hint="add [tool.buildlib.verify] with the public key, or with identity and issuer",
        )
    unmade = sorted(set(BILLS) & set(policy.attestations)) if SBOM not in gates else []
    if unmade:
        raise InputError(
            f"verify wants {' and '.join(unmade)}, and no bill of materials is made",
            hint="let the gate sbom be passed, or take them out of verify.attestations",
        )


class CosignSigner:
    """Signs what was pushed, attaches the statements, and verifies all of it.

    Args:
        project: says what signs, and what counts as signed.
        plan: what is published.
        executor: starts cosign.
        console: shows what goes on.
        known: credentials by registry's host.
    """

    def __init__(
        self,
        project: Project,
        plan: PublishPlan,
        executor: Executor,
        console: Console,
        known: Mapping[str, Credentials | None],
    ) -> None:
        """Start nothing yet."""
        self._project, self._plan = project, plan
        self._executor, self._console, self._known = executor, console, known

    @cached_property
    def _signatory(self) -> Signatory:
        cosign = find_cosign(self._executor)
        return Signatory(cosign, self._executor, self._project.config.root, self._project.env)

    def check(self) -> Mapping[str, str]:
        """Return the versions of the tools.

        Raises:
            InputError: nothing says what signs, or what counts as signed (exit 2).
            ToolError: cosign is not here (exit 3).
        """
        _wanted(self._project.config, self._plan.gates)
        return {"cosign": find_cosign(self._executor).version}

    def sign(self, target: Target, receipt: Receipt) -> str:
        """Sign what a registry holds, and verify it; what is signed already is not signed again.

        Raises:
            BuildlibError: as `Signatory`.
        """
        reference = f"{target.repository}@{receipt.digest}"
        policy = self._project.config.verification()
        host = target.registry.host
        images = tuple(receipt.platforms.values())
        images = () if images == (receipt.digest,) else images
        with docker_store({host: self._known.get(host)}) as store:
            self._signed(reference, policy, store, images)
            with tempfile.TemporaryDirectory(prefix="buildlib-attest-") as folder:
                for about, file, kind in self._statements(target, receipt, Path(folder)):
                    self._attested(about, file, kind, policy, store)
            done = self._signatory.verify(reference, policy, store, images=images)
        self._console.note(f"{reference} is signed by {done.signed_by}, and verified")
        return done.signed_by

    def _signed(self, reference: str, policy: Verify, store: Path, images: tuple[str, ...]) -> None:
        plain = policy._replace(attestations=())
        try:
            self._signatory.verify(reference, plain, store, images=images)
        except VerificationError:
            self._console.note(f"signing {reference}")
            self._signatory.sign(reference, self._project.config.signing(), store)

    def _statements(
        self, target: Target, receipt: Receipt, folder: Path
    ) -> Iterator[tuple[str, Path, str]]:
        """Yield the reference, the content and the type of each statement."""
        root = self._project.config.root
        figures = next((gate.figures for gate in receipt.gates if gate.gate == SBOM), {})
        for bill in figures.get("sboms", ()):
            for file in bill["files"]:
                kind = next(kind for kind, end in BILLS.items() if file.endswith(end))
                check_bill(root / file, bill["digest"])
                yield f"{target.repository}@{bill['digest']}", root / file, kind
        for one in receipt.provenance:
            yield f"{target.repository}@{one['digest']}", root / one["file"], one["type"]
        own = folder / "statement.json"
        own.write_text(to_json(make_statement(self._project, self._plan, receipt)), "utf-8")
        yield f"{target.repository}@{receipt.digest}", own, _STATEMENT

    def _attested(self, about: str, file: Path, kind: str, policy: Verify, store: Path) -> None:
        # Attaching twice would leave two of them, but one that says something else is another one:
        # a gate that was left out then may have been passed now.
        there = self._signatory.statements(about, kind, policy, store)
        new = _said(json.loads(file.read_text(encoding="utf-8"))) if kind == _STATEMENT else None
        if not any(new is None or _said(one.get("predicate")) == new for one in there):
            self._console.note(f"attaching {kind} to {about}")
            self._signatory.attest(about, file, kind, self._project.config.signing(), store)


def _said(predicate: object) -> object:
    """Return what our own statement says of the gates: each with its outcome."""
    found = predicate if isinstance(predicate, Mapping) else {}
    gates = (found.get("runDetails") or {}).get("byproducts") or ()
    return sorted((gate["name"], gate["annotations"]["state"]) for gate in gates)


Verifier = Callable[[Repository, str], None]


def make_verifier(
    config: Config,
    executor: Executor,
    env: Mapping[str, str],
    known: Mapping[str, Credentials | None],
    console: Console,
) -> Verifier:
    """Return what verifies a digest in a repository, or where nothing says how, warns once.

    Args:
        config: says what counts as signed.
        executor: starts cosign.
        env: the environment.
        known: credentials by registry's host.
        console: shows what was verified.
    """
    policy = config.verification()
    if not (policy.key or policy.by_identity):
        console.warn("nothing says what counts as signed: see [tool.buildlib.verify]")
        return lambda _repository, _digest: None
    signatory = Signatory(find_cosign(executor), executor, config.root, env)

    def verify(repository: Repository, digest: str) -> None:
        document = repository.manifest(digest)
        if document is None:
            raise InputError(f"{repository.name} has no {digest}", hint="push it first")
        host = repository.transport.host
        reference = f"{repository.name}@{digest}"
        with docker_store({host: known.get(host)}) as store:
            images = tuple(manifests_of(document))
            done = signatory.verify(reference, policy, store, images=images)
        console.note(f"{reference} is signed by {done.signed_by}")

    return verify
