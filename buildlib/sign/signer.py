"""Signs, attests and verifies digests in one registry, with cosign."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from buildlib.config.signing import Sign, Verify
from buildlib.errors import (
    BuildlibError,
    InputError,
    TimedOutError,
    ToolError,
    VerificationError,
)
from buildlib.executor import Completed, Executor
from buildlib.files import counted
from buildlib.image.reference import short_digest
from buildlib.program import PROGRAM
from buildlib.registry.credentials import docker_store
from buildlib.registry.transport import Transport
from buildlib.retry import LaterError, Patience, Retrier
from buildlib.sign.cosign import (
    HOW_TO_INSTALL,
    OVERRIDDEN,
    Cosign,
    is_missing_attestation,
    key_argument,
    missing,
    reason,
    signing_problem,
    surrounded,
    verifying_problem,
)
from buildlib.tempfiles import passing_folder
from buildlib.terminal.text import table

_TIMEOUT: Final = 180.0
# The variables of whoever signs, which a third party does not have.
_CLOUDS: Final = ("AWS_", "GOOGLE_", "AZURE_", "VAULT_")
_SIGNERS: Final = ("COSIGN_", "SIGSTORE_", "ACTIONS_ID_TOKEN_")
_VARIABLE: Final = "env://"
# By one or the other a signature is kept out of the public log: version 2, and version 3.
_LOG: Final = ("--tlog-upload", "--use-signing-config=true")
_TOO_OLD: Final = re.compile(r"v?[01]\.")
_LONGEST: Final = 600
# Each attempt starts cosign again, which gives up after a failed connection.
PATIENCE: Final = Patience(attempts=4, base=1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """What was found to be signed.

    Args:
        reference: as it was asked for.
        signed_by: the key, or the identity.
        images: digests of the manifests that are signed as well.
        attestations: how many there are of each type.
        platforms: those of the manifests, by digest, as far as they are known.
    """

    reference: str
    digest: str
    signed_by: str
    images: tuple[str, ...] = ()
    attestations: tuple[tuple[str, int], ...] = ()
    platforms: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return asdict(self) | {"attestations": dict(self.attestations)}

    def as_text(self) -> str:
        """Return a row for each fact."""
        rows = [
            ("verified", self.reference),
            ("digest", self.digest),
            ("signed by", self.signed_by),
            *(("manifest", self._manifest(digest)) for digest in self.images),
            *((kind, counted(number, "signed attestation")) for kind, number in self.attestations),
        ]
        return table(rows)

    def _manifest(self, digest: str) -> str:
        return f"{short_digest(digest)} {self.platforms.get(digest, '')}".rstrip()


def find_cosign(executor: Executor) -> Cosign:
    """Return the installed cosign.

    Raises:
        ToolError: it is missing or too old (exit 3).
    """
    try:
        reported = executor.run(("cosign", "version", "--json"), timeout=_TIMEOUT)
        options = executor.run(("cosign", "sign", "--help"), timeout=_TIMEOUT).stdout
    except ToolError:
        raise missing() from None
    try:
        version = str(json.loads(reported.stdout)["gitVersion"])
    except (ValueError, KeyError, TypeError):
        version = "unknown"
    # Version 1 has neither option, whatever version it reports.
    if _TOO_OLD.match(version) or not any(option in options for option in _LOG):
        raise ToolError(
            "cosign is too old",
            why=f"it reports version {version}, and version 2 is the first that is supported",
            hint=HOW_TO_INSTALL,
        )
    return Cosign(version=version, signing_config=_LOG[1] in options)


class Signer:
    """Signs and verifies in one registry.

    Args:
        root: of the project, for the keys' files.
        env: the environment; only the names of its variables are read.
        store: directory with docker's credentials for the registry.
        safe: removes secrets from what the registry answers: its transport's.
        retrier: repeats what may work later.
    """

    def __init__(
        self,
        cosign: Cosign,
        executor: Executor,
        root: Path,
        env: Mapping[str, str],
        *,
        store: Path,
        safe: Callable[[str], str],
        retrier: Retrier,
    ) -> None:
        self._cosign, self._executor, self._root, self._env = cosign, executor, root, env
        self._store, self._safe, self._retrier = store, safe, retrier

    def _run(
        self, argv: Sequence[str], problem: Callable[[Completed], BuildlibError | None]
    ) -> Completed:
        return self._retrier.persist(lambda: self._once(argv, problem))

    def _once(
        self, argv: Sequence[str], problem: Callable[[Completed], BuildlibError | None]
    ) -> Completed:
        try:
            done = self._executor.run(argv, timeout=_TIMEOUT)
        except TimedOutError as error:
            # It has no time limit of its own, and waits for the registry.
            words = argv[argv.index("cosign") :][:2]
            raise LaterError(
                "the registry does not answer cosign",
                why=f"{' '.join(words)} did not end within {_TIMEOUT:g} s",
                hint="try again later",
            ) from error
        if done.code != 0 and (found := problem(done)):
            # What the registry answers comes through cosign unchanged. It is cleaned before it is
            # cut, as half of a secret would not be found.
            found.why = self._safe(found.why)[:_LONGEST]
            raise found
        return done

    def _sign(self, reference: str, argv: Sequence[str]) -> None:
        _check_digest(reference)
        without = [name for name in OVERRIDDEN if name in self._env and "--signing-config" in argv]
        self._run(
            surrounded(argv, without=without, having={"DOCKER_CONFIG": str(self._store)}),
            lambda done: signing_problem(done.code, done.stderr),
        )

    def sign(self, reference: str, settings: Sign) -> None:
        """Sign a digest, and every manifest that it points to.

        Args:
            reference: with a digest.

        Raises:
            InputError: there is no digest, or the key can't be used (exit 2).
            ToolError, AuthorisationError, TransientError: exit 3, 5, 6.
            VerificationError: cosign could not sign (exit 8).
        """
        self._sign(reference, self._cosign.sign(reference, settings, self._root))

    def attest(self, reference: str, predicate: Path, kind: str, settings: Sign) -> None:
        """Attach a signed attestation to a digest.

        Args:
            reference: with a digest.
            kind: its type, by cosign's name or its URI.

        Raises:
            BuildlibError: as `sign`.
        """
        argv = self._cosign.attest(reference, predicate, kind, settings, self._root)
        self._sign(reference, argv)

    def _run_as_third_party(
        self,
        argv: Sequence[str],
        policy: Verify,
        problem: Callable[[Completed], BuildlibError | None],
    ) -> Completed:
        """Run without the variables of the signer and the files of the home directory.

        The credentials of a cloud are only kept for a public key in it, and a variable only if the
        public key is in it.
        """
        key, named = policy.key, policy.key.removeprefix(_VARIABLE)
        cloud = "://" in key and named == key
        own = _SIGNERS if cloud else (*_SIGNERS, *_CLOUDS)
        without = sorted(name for name in self._env if name.startswith(own) and name != named)
        with passing_folder("verify") as home:
            having = {"HOME": str(home), "DOCKER_CONFIG": str(self._store)}
            return self._run(surrounded(argv, without=without, having=having), problem)

    def verify(self, reference: str, policy: Verify, *, images: Sequence[str] = ()) -> Verified:
        """Verify as a third party would: without anything of the signer's but the public key.

        Args:
            reference: with a digest.
            images: digests of the manifests that have to be signed as well.

        Raises:
            InputError: verification is not configured (exit 2).
            ToolError, AuthorisationError, TransientError: exit 3, 5, 6.
            VerificationError: it is not verified (exit 8).
        """
        digest = _check_digest(reference)
        _check_policy(policy)
        manifests = _manifests(reference, images)
        signed = manifests if policy.manifests else []
        try:
            done = self._signed((reference, *signed), policy)
        except VerificationError as error:
            raise self._which(error, reference, signed, policy) from None
        attestations = tuple(
            (kind, self._attestations(kind, reference, manifests, policy))
            for kind in policy.attestations
        )
        return Verified(
            reference=reference,
            digest=digest,
            signed_by=self._signed_by(done.stdout, policy),
            images=tuple(images) if policy.manifests else (),
            attestations=attestations,
        )

    def is_signed(self, reference: str, policy: Verify, *, images: Sequence[str] = ()) -> bool:
        """Return whether a digest and its manifests are signed, with or without attestations.

        Raises:
            BuildlibError: as `verify`, but for VerificationError.
        """
        _check_digest(reference)
        _check_policy(policy)
        signed = _manifests(reference, images) if policy.manifests else []
        try:
            self._signed((reference, *signed), policy)
        except VerificationError:
            return False
        return True

    def _signed(self, references: Sequence[str], policy: Verify) -> Completed:
        argv = self._cosign.verify(references, policy, self._root)
        about = references[0]
        return self._run_as_third_party(argv, policy, lambda done: self._problem(done, about))

    def _problem(self, done: Completed, about: str) -> BuildlibError:
        finds_all = self._cosign.signing_config
        return verifying_problem(done.code, done.stderr, about, finds_all=finds_all)

    def _which(
        self,
        error: VerificationError,
        reference: str,
        manifests: Sequence[str],
        policy: Verify,
    ) -> VerificationError:
        """Return the error of the reference that failed: cosign does not say which."""
        if not manifests:
            return error
        for one in (reference, *manifests):
            try:
                self._signed((one,), policy)
            except VerificationError as own:
                if one == reference:
                    return own
                return type(own)(
                    f"{own.what}; the index that names it is verified",
                    why=own.why,
                    hint=f"sign all of it: {PROGRAM} docker-sign, or cosign sign --recursive; "
                    "where the index alone has to be signed: manifests = false in the table verify",
                )
        return error

    def _attestations(
        self, kind: str, reference: str, manifests: Sequence[str], policy: Verify
    ) -> int:
        """Return how many attestations of a type there are: of the whole, or of each image."""
        others: list[str] = []

        def count(about: str) -> int:
            try:
                return len(self.statements(about, kind, policy))
            except VerificationError as error:
                others.append(error.why)
                return 0

        if found := count(reference):
            return found
        counts = [count(one) for one in manifests]
        if not counts or not all(counts):
            why = "neither about the whole nor about each platform's image"
            raise VerificationError(
                f"{reference} has no signed attestation of the type {kind}",
                why=f"{why}; cosign says of the others: {others[0]}" if others else why,
            )
        return sum(counts)

    def statements(
        self, reference: str, kind: str, policy: Verify
    ) -> tuple[Mapping[str, Any], ...]:
        """Return the attestations of a type; source: in-toto attestation, spec/v1/envelope.md.

        Raises:
            ForeignError: there are some, and none is signed as configured (exit 8).
            ToolError: cosign prints them in an unknown form (exit 3).
            BuildlibError: as `verify`.
        """
        argv = self._cosign.verify_attestation(reference, kind, policy, self._root)

        def problem(done: Completed) -> BuildlibError | None:
            if is_missing_attestation(done.stderr):
                return None
            return self._problem(done, reference)

        done = self._run_as_third_party(argv, policy, problem)
        return _contents(done.stdout) if done.code == 0 else ()

    def _signed_by(self, text: str, policy: Verify) -> str:
        if policy.by_identity:
            with suppress(ValueError, LookupError, TypeError):
                optional = json.loads(text.splitlines()[0])[0]["optional"]
                return f"{optional['Subject']} ({optional['Issuer']})"
            return policy.identity or policy.identity_pattern
        return fingerprint(policy.key, self._root)


@contextmanager
def opened_signer(
    transport: Transport, cosign: Cosign, executor: Executor, root: Path, env: Mapping[str, str]
) -> Iterator[Signer]:
    """Give a signer for a registry, with the registry's credentials, for the time of the block.

    Its retries are counted with those of the transport.
    """
    with docker_store(transport.host, transport.credentials) as store:
        yield Signer(
            *(cosign, executor, root, env),
            store=store,
            safe=transport.safe,
            retrier=Retrier(patience=PATIENCE, tally=transport.tally),
        )


def key_problem(
    cosign: Cosign, executor: Executor, settings: Sign, policy: Verify, root: Path
) -> InputError | None:
    """Return why a key can't sign what the policy verifies, before there is anything to sign.

    A key in a cloud can't be checked here.
    """
    remote = "://" in settings.key and not settings.key.startswith(_VARIABLE)
    if not settings.key or remote:
        return None
    done = executor.run(cosign.public_key(settings, root), timeout=_TIMEOUT)
    if done.code != 0:
        problem = signing_problem(done.code, done.stderr)
        if isinstance(problem, InputError):
            return problem
        return InputError("the key can't be used", why=reason(done.stderr), hint="see sign.key")
    made = _key_body(done.stdout)
    return _pair_problem(made, settings, policy, root) if made else None


def _pair_problem(made: str, settings: Sign, policy: Verify, root: Path) -> InputError | None:
    """Return why a signature would not be verified; `made` is the public half of the key."""
    if not policy.key or "://" in policy.key:
        return None
    try:
        known = (root / policy.key).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return InputError("the public key can't be read", why=str(error), hint="see verify.key")
    if made != _key_body(known):
        return InputError(
            f"{policy.key} is not the public key of {settings.key}",
            why="a signature by the one can't be verified with the other",
            hint=f"cosign public-key --key {settings.key} prints it",
        )
    return None


def _key_body(text: str) -> str:
    lines = (line.strip() for line in text.splitlines())
    return "".join(line for line in lines if line and not line.startswith("-----"))


def _contents(text: str) -> tuple[Mapping[str, Any], ...]:
    try:
        payloads = [json.loads(line)["payload"] for line in text.splitlines() if line.strip()]
        found = tuple(dict(json.loads(base64.b64decode(one))) for one in payloads)
        why = "" if found else "nothing"
    except (ValueError, LookupError, TypeError) as error:
        found, why = (), type(error).__name__
    if why:
        # Taken for none, the attestation would be attached again with each publication.
        raise ToolError(
            "cosign prints attestations in an unknown form", why=why, hint=HOW_TO_INSTALL
        )
    return found


def fingerprint(key: str, root: Path) -> str:
    """Return a public key in a few characters: its file's, or the reference as it is."""
    path = Path(key_argument(key, root))
    try:
        body = _key_body(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return key
    with suppress(ValueError):
        return f"key sha256:{hashlib.sha256(base64.b64decode(body)).hexdigest()[:16]}"
    return key


def _manifests(reference: str, images: Sequence[str]) -> list[str]:
    repository = reference.partition("@")[0]
    return [f"{repository}@{image}" for image in images]


def _check_policy(policy: Verify) -> None:
    if not (policy.key or policy.by_identity):
        raise InputError(
            "verification is not configured",
            hint="give the table verify a key, or identity and issuer",
        )


def _check_digest(reference: str) -> str:
    digest = reference.partition("@")[2]
    if not digest:
        raise InputError(
            f"{reference} has no digest",
            why="a tag may have moved by the time that it is signed",
            hint=f"give repository@sha256:…; {PROGRAM} docker-push prints the digest",
        )
    return digest
