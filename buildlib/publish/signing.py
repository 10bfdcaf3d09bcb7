"""What a publication has signed, and how it is verified as a third party would."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Final

from buildlib.config.config import Config
from buildlib.config.publish import INDEX, SBOM
from buildlib.config.signing import Verify
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
from buildlib.publish.receipt import SBOM_FILES, Receipt, check_sbom
from buildlib.registry.repository import Repository
from buildlib.registry.transfer import manifests_of
from buildlib.sign.cosign import Cosign, ForeignError
from buildlib.sign.signer import Signer, find_cosign, key_problem, opened_signer
from buildlib.tempfiles import passing_folder
from buildlib.terminal.console import Console
from buildlib.terminal.text import to_json

STATEMENT: Final = "slsaprovenance1"


def tracked_key(config: Config) -> InputError | None:
    """Return the problem if git tracks the private key: everybody with a clone has it then."""
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


def unmade_sboms(config: Config, gates: Collection[str]) -> list[BuildlibError]:
    """Return a problem if SBOMs have to be attested that none of the gates makes."""
    attested = set(config.verification().attestations)
    unmade = sorted(set(SBOM_FILES) & attested) if SBOM not in gates else []
    if not unmade:
        return []
    return [
        InputError(
            f"verify wants {' and '.join(unmade)}, and no SBOM is made",
            hint="do not skip the gate sbom, or remove them from verify.attestations",
        )
    ]


def signing_problems(config: Config, gates: Collection[str]) -> list[BuildlibError]:
    """Return why nothing can be signed or verified, as far as the configuration shows.

    Args:
        gates: that will run; one of them makes SBOMs.
    """
    signing, policy = config.signing(), config.verification()
    found: list[BuildlibError] = []
    if not (signing.key or signing.keyless):
        found.append(
            InputError(
                "signing is not configured",
                hint=f"add {config.table('sign')} with key, or keyless = true; or leave it out: "
                f"sign = false in {config.table('publish')}, or once "
                '--skip-gate sign --reason "…"',
            )
        )
    if not (policy.key or policy.by_identity):
        found.append(
            InputError(
                "verification is not configured",
                hint=f"add {config.table('verify')} with the public key, or with identity and "
                "issuer",
            )
        )
    found += unmade_sboms(config, gates)
    kept = sorted({*SBOM_FILES, "slsaprovenance02"} & set(policy.attestations))
    if kept and config.publishing().attestations == INDEX:
        found.append(
            InputError(
                f"verify wants {' and '.join(kept)}, which would be in the index alone",
                why="attestations in the index are signed with it, and not separately",
                hint='set publish.attestations = "both", or remove them from verify.attestations',
            )
        )
    return found + list(filter(None, [tracked_key(config)]))


def check_signer(config: Config, gates: Collection[str], executor: Executor) -> Cosign:
    """Return cosign, with a key that can sign; no registry is asked.

    Raises:
        InputError, ToolError, ProblemsError: all problems at once (exit 2, 3).
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


class ReleaseSigner:
    """Signs what was pushed, attaches its attestations, and verifies all of it.

    Args:
        project: says what signs, and what counts as signed.
        repositories: by the registry's name, each with the credentials for it.
    """

    def __init__(
        self,
        project: Project,
        plan: PublishPlan,
        executor: Executor,
        console: Console,
        repositories: Mapping[str, Repository],
    ) -> None:
        self._project, self._plan, self._config = project, plan, project.config
        self._executor, self._console, self._repositories = executor, console, repositories
        self._checked: Cosign | None = None

    @cached_property
    def _cosign(self) -> Cosign:
        return self._checked or find_cosign(self._executor)

    def check(self) -> Mapping[str, str]:
        """Return the versions of the tools.

        Raises:
            InputError: signing is not configured or what counts as signed, or the key can't
                be used (exit 2).
            ToolError: cosign is not installed (exit 3).
            ProblemsError: several of these.
        """
        self._checked = check_signer(self._config, self._plan.gates, self._executor)
        return {"cosign": self._checked.version}

    def sign(self, target: Target, receipt: Receipt) -> str:
        """Sign what a registry holds, and verify it; what is signed already is not signed again.

        Raises:
            BuildlibError: as `Signer`.
        """
        reference = f"{target.repository}@{receipt.digest}"
        config, policy = self._config, self._config.verification()
        images = tuple(receipt.platforms.values())
        images = () if images == (receipt.digest,) else images
        transport = self._repositories[target.name].transport
        with (
            opened_signer(
                transport, self._cosign, self._executor, config.root, self._project.env
            ) as signer,
            passing_folder("attest") as folder,
        ):
            if not signer.is_signed(reference, policy, images=images):
                self._console.note(f"signing {reference}")
                with self._console.running(f"signing {reference}"):
                    signer.sign(reference, config.signing())
            for about, file, kind in self._attestations(target, receipt, folder):
                if not _is_attached(signer, about, file, kind, policy):
                    self._console.note(f"attaching {kind} to {about}")
                    with self._console.running(f"attaching {kind} to {about}"):
                        signer.attest(about, file, kind, config.signing())
            with self._console.running(f"verifying {reference}"):
                done = signer.verify(reference, policy, images=images)
        self._console.note(f"{reference} is signed by {done.signed_by}, and verified")
        return done.signed_by

    def _attestations(
        self, target: Target, receipt: Receipt, folder: Path
    ) -> Iterator[tuple[str, Path, str]]:
        root = self._config.root
        for sbom in receipt.sboms if self._plan.beside else ():
            for file in sbom["files"]:
                kind = next(kind for kind, end in SBOM_FILES.items() if file.endswith(end))
                check_sbom(root / file, sbom["digest"])
                yield f"{target.repository}@{sbom['digest']}", root / file, kind
        for one in receipt.provenance if self._plan.beside else ():
            yield f"{target.repository}@{one['digest']}", root / one["file"], one["type"]
        own = folder / "statement.json"
        own.write_text(to_json(make_statement(self._project, self._plan, receipt)), "utf-8")
        yield f"{target.repository}@{receipt.digest}", own, STATEMENT


def _is_attached(signer: Signer, about: str, file: Path, kind: str, policy: Verify) -> bool:
    """Return whether an attestation need not be attached again.

    Our own statement is attached again if it says something else, as a gate that was skipped then
    may have passed now.
    """
    try:
        there = signer.statements(about, kind, policy)
    except ForeignError:
        # Signed with an earlier key, or a wrong one: the last verification decides.
        return False
    if kind != STATEMENT:
        return bool(there)
    new = _said(json.loads(file.read_text(encoding="utf-8")))
    return any(_said(one.get("predicate")) == new for one in there)


def _said(predicate: object) -> tuple[object, object]:
    """Return the build type of provenance, and the gate results in it if it is ours.

    BuildKit's may be about the same image, and of the same SLSA type.
    """
    found = predicate if isinstance(predicate, Mapping) else {}
    build = gates = None
    with suppress(LookupError, TypeError):
        build = found["buildDefinition"]["buildType"]
    # Other tools have other byproducts; SLSA requires neither name nor annotations.
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
    """Return what verifies a digest in a repository; warn if that is not configured."""
    policy = config.verification()
    if not (policy.key or policy.by_identity):
        signed = f"verification is not configured: see {config.table('verify')}"
        unsigned = "nothing is verified: publish.sign = false"
        console.warn(signed if config.publishing().sign else unsigned)
        return lambda _repository, _digest: None
    cosign = find_cosign(executor)

    def verify(repository: Repository, digest: str) -> None:
        document = repository.manifest(digest)
        if document is None:
            raise InputError(f"{repository.name} has no {digest}", hint="push it first")
        reference, images = f"{repository.name}@{digest}", tuple(manifests_of(document))
        opened = opened_signer(repository.transport, cosign, executor, config.root, env)
        with console.running(f"verifying {reference}"), opened as signer:
            done = signer.verify(reference, policy, images=images)
        console.note(f"{reference} is signed by {done.signed_by}")

    return verify
