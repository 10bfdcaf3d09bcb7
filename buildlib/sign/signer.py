"""Signing, attesting and verifying one digest in one registry."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from buildlib.config.signing import Sign, Verify
from buildlib.console import table
from buildlib.errors import (
    BuildlibError,
    InputError,
    TimedOutError,
    ToolError,
    TransientError,
    VerificationError,
)
from buildlib.executor import Completed, Executor
from buildlib.files import counted
from buildlib.image.reference import short_digest
from buildlib.registry.transport import Tally
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

_TIMEOUT: Final = 180.0
# What belongs to whoever signs: a stranger has none of it.
_CLOUDS: Final = ("AWS_", "GOOGLE_", "AZURE_", "VAULT_")
_SIGNERS: Final = ("COSIGN_", "SIGSTORE_", "ACTIONS_ID_TOKEN_")
_VARIABLE: Final = "env://"
# By one or the other a signature is kept out of the public log: version 2, and version 3.
_LOG: Final = ("--tlog-upload", "--use-signing-config=true")
_TOO_OLD: Final = re.compile(r"v?[01]\.")
_LONGEST: Final = 600
_ATTEMPTS: Final = 4
_BASE: Final = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """What was found to be signed.

    Args:
        reference: as it was asked for.
        digest: that it stands for.
        signed_by: the key, or the identity.
        images: digests of the manifests that are signed as well.
        attestations: by type, how many signed statements there are.
    """

    reference: str
    digest: str
    signed_by: str
    images: tuple[str, ...] = ()
    attestations: tuple[tuple[str, int], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return asdict(self) | {"attestations": dict(self.attestations)}

    def as_text(self) -> str:
        """Return a row for each fact."""
        rows = [
            ("verified", self.reference),
            ("digest", self.digest),
            ("signed by", self.signed_by),
            *(("manifest", short_digest(digest)) for digest in self.images),
            *((kind, counted(number, "signed attestation")) for kind, number in self.attestations),
        ]
        return table(rows)


def find_cosign(executor: Executor) -> Cosign:
    """Return the cosign that is here.

    Raises:
        ToolError: there is none, or it is too old (exit 3).
    """
    try:
        told = executor.run(("cosign", "version", "--json"), timeout=_TIMEOUT)
        options = executor.run(("cosign", "sign", "--help"), timeout=_TIMEOUT).stdout
    except ToolError:
        raise missing() from None
    try:
        version = str(json.loads(told.stdout)["gitVersion"])
    except (ValueError, KeyError, TypeError):
        version = "unknown"
    # Version 1 knows neither, whatever it says that it is.
    if _TOO_OLD.match(version) or not any(option in options for option in _LOG):
        raise ToolError(
            "cosign is too old",
            why=f"it says that it is {version}, and version 2 is the first that does",
            hint=HOW_TO_INSTALL,
        )
    return Cosign(version=version, signing_config=_LOG[1] in options)


class Signatory:
    """Signs and verifies in one project.

    Args:
        cosign: the program.
        executor: starts it.
        root: of the project, for the keys' files.
        env: the environment; only the names of its variables are looked at.
        safe: returns words that may be the registry's without what it was told: its transport's.
        tally: counts what had to be done again.
        sleep: of this machine.
        chance: spreads the waits; between 0 and 1.
    """

    def __init__(
        self,
        cosign: Cosign,
        executor: Executor,
        root: Path,
        env: Mapping[str, str],
        *,
        safe: Callable[[str], str],
        tally: Tally | None = None,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Keep them."""
        self._cosign, self._executor, self._root = cosign, executor, root
        self._env, self._safe, self._sleep, self._chance = env, safe, sleep, chance
        self._tally = tally or Tally()

    def _persistently(
        self, argv: Sequence[str], problem: Callable[[Completed], BuildlibError | None]
    ) -> Completed:
        """Run, and again where it may work later: cosign gives up after a failed connection."""
        for attempt in range(_ATTEMPTS - 1):
            try:
                return self._once(argv, problem)
            except TransientError:
                seconds = _BASE * 2**attempt * self._chance()
                self._tally.retries += 1
                self._tally.waited += seconds
                self._sleep(seconds)
        return self._once(argv, problem)

    def _once(
        self, argv: Sequence[str], problem: Callable[[Completed], BuildlibError | None]
    ) -> Completed:
        try:
            done = self._executor.run(argv, timeout=_TIMEOUT)
        except TimedOutError as error:
            # It has no limit of its own, and what it waits for is the registry.
            words = argv[argv.index("cosign") :][:2]
            raise TransientError(
                "the registry does not answer cosign",
                why=f"{' '.join(words)} did not end within {_TIMEOUT:g} s",
                hint="try again later",
            ) from error
        if done.code != 0 and (found := problem(done)):
            # What the registry says comes through cosign as it is. Cut off before, a half of a
            # secret would not be known for one.
            found.why = self._safe(found.why)[:_LONGEST]
            raise found
        return done

    def _sign(self, argv: Sequence[str], store: Path) -> None:
        without = [name for name in OVERRIDDEN if name in self._env and "--signing-config" in argv]
        self._persistently(
            surrounded(argv, without=without, having={"DOCKER_CONFIG": str(store)}),
            lambda done: signing_problem(done.code, done.stderr),
        )

    def sign(self, reference: str, settings: Sign, store: Path) -> None:
        """Sign a digest, and every manifest that it points to.

        Args:
            reference: with a digest.
            settings: what signs.
            store: directory with docker's credentials for the registry.

        Raises:
            InputError: there is no digest, or the key can't be used (exit 2).
            ToolError, AuthorisationError, TransientError: exit 3, 5, 6.
            VerificationError: cosign could not sign (exit 8).
        """
        _check_digest(reference)
        self._sign(self._cosign.sign(reference, settings, self._root), store)

    def attest(
        self, reference: str, predicate: Path, kind: str, settings: Sign, store: Path
    ) -> None:
        """Attach a signed statement about a digest.

        Args:
            reference: with a digest.
            predicate: file with the statement's content.
            kind: its type, by cosign's name or its URI.
            settings: what signs.
            store: directory with docker's credentials for the registry.

        Raises:
            BuildlibError: as `sign`.
        """
        _check_digest(reference)
        self._sign(self._cosign.attest(reference, predicate, kind, settings, self._root), store)

    def _strange(
        self,
        argv: Sequence[str],
        policy: Verify,
        store: Path,
        problem: Callable[[Completed], BuildlibError | None],
    ) -> Completed:
        """Run with nothing of the signer's: neither variables nor files of the home directory.

        Only who reads the public key from a cloud needs what opens that, and only who has it in a
        variable needs that one.
        """
        key, named = policy.key, policy.key.removeprefix(_VARIABLE)
        cloud = "://" in key and named == key
        own = _SIGNERS if cloud else (*_SIGNERS, *_CLOUDS)
        without = sorted(name for name in self._env if name.startswith(own) and name != named)
        with passing_folder("verify") as home:
            having = {"HOME": str(home), "DOCKER_CONFIG": str(store)}
            return self._persistently(surrounded(argv, without=without, having=having), problem)

    def verify(
        self, reference: str, policy: Verify, store: Path, *, images: Sequence[str] = ()
    ) -> Verified:
        """Verify as a stranger would: without anything of the signer's but the public key.

        Args:
            reference: with a digest.
            policy: what counts as signed.
            store: directory with docker's credentials for the registry.
            images: digests of the manifests that have to be signed as well.

        Raises:
            InputError: nothing says what counts as signed (exit 2).
            ToolError, AuthorisationError, TransientError: exit 3, 5, 6.
            VerificationError: it is not verified (exit 8).
        """
        digest = _check_digest(reference)
        _check_policy(policy)
        manifests = _manifests(reference, images)
        signed = manifests if policy.manifests else []
        try:
            done = self._signed((reference, *signed), policy, store)
        except VerificationError as error:
            raise self._which(error, reference, signed, policy, store) from None
        attestations = tuple(
            (kind, self._attestations(kind, reference, manifests, policy, store))
            for kind in policy.attestations
        )
        return Verified(
            reference=reference,
            digest=digest,
            signed_by=self._signed_by(done.stdout, policy),
            images=tuple(images) if policy.manifests else (),
            attestations=attestations,
        )

    def is_signed(
        self, reference: str, policy: Verify, store: Path, *, images: Sequence[str] = ()
    ) -> bool:
        """Return whether a digest and its manifests are signed, whatever is stated about them.

        Raises:
            BuildlibError: as `verify`, but for VerificationError.
        """
        _check_digest(reference)
        _check_policy(policy)
        signed = _manifests(reference, images) if policy.manifests else []
        try:
            self._signed((reference, *signed), policy, store)
        except VerificationError:
            return False
        return True

    def _signed(self, references: Sequence[str], policy: Verify, store: Path) -> Completed:
        argv = self._cosign.verify(references, policy, self._root)
        about = references[0]
        return self._strange(
            argv, policy, store, lambda done: verifying_problem(done.code, done.stderr, about)
        )

    def _which(
        self,
        error: VerificationError,
        reference: str,
        manifests: Sequence[str],
        policy: Verify,
        store: Path,
    ) -> VerificationError:
        """Return the error of the one that it is about: cosign does not say which."""
        if not manifests:
            return error
        for one in (reference, *manifests):
            try:
                self._signed((one,), policy, store)
            except VerificationError as own:
                if one == reference:
                    return own
                return type(own)(
                    f"{own.what}; the index that names it is verified",
                    why=own.why,
                    hint="sign all of it: invoke docker-sign, or cosign sign --recursive; where "
                    "the index alone has to be signed: manifests = false in the table verify",
                )
        return error

    def _attestations(
        self,
        kind: str,
        reference: str,
        manifests: Sequence[str],
        policy: Verify,
        store: Path,
    ) -> int:
        """Return how many statements of a type there are: about the whole, or about each image."""
        others: list[str] = []

        def count(about: str) -> int:
            try:
                return self.count(about, kind, policy, store)
            except VerificationError as error:
                others.append(error.why)
                return 0

        if found := count(reference):
            return found
        counts = [count(one) for one in manifests]
        if not counts or not all(counts):
            why = "neither about the whole nor about each platform's image"
            raise VerificationError(
                f"{reference} has no signed statement of the type {kind}",
                why=f"{why}; of what is there cosign says: {others[0]}" if others else why,
            )
        return sum(counts)

    def count(self, reference: str, kind: str, policy: Verify, store: Path) -> int:
        """Return how many signed statements of a type are attached; none is no error."""
        return len(self.statements(reference, kind, policy, store))

    def statements(
        self, reference: str, kind: str, policy: Verify, store: Path
    ) -> tuple[Mapping[str, Any], ...]:
        """Return the signed statements of a type; source: in-toto attestation, spec/v1/envelope.md.

        Raises:
            ForeignError: there are some, and none by who counts (exit 8).
            ToolError: cosign says that there are some, in a form that is not known (exit 3).
            BuildlibError: as `verify`.
        """
        argv = self._cosign.verify_attestation(reference, kind, policy, self._root)

        def problem(done: Completed) -> BuildlibError | None:
            if is_missing_attestation(done.stderr):
                return None
            return verifying_problem(done.code, done.stderr, reference)

        done = self._strange(argv, policy, store, problem)
        return _contents(done.stdout) if done.code == 0 else ()

    def _signed_by(self, text: str, policy: Verify) -> str:
        if policy.by_identity:
            with suppress(ValueError, LookupError, TypeError):
                optional = json.loads(text.splitlines()[0])[0]["optional"]
                return f"{optional['Subject']} ({optional['Issuer']})"
            return policy.identity or policy.identity_pattern
        return fingerprint(policy.key, self._root)


def key_problem(
    cosign: Cosign, executor: Executor, settings: Sign, policy: Verify, root: Path
) -> InputError | None:
    """Return why a key can't sign what the policy verifies, before there is anything to sign.

    A key in a cloud is opened by the cloud alone, and not asked for here.
    """
    if not settings.key or _is_remote(settings.key):
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
    """Return why what is signed would not be verified; `made` is the public half of the key."""
    if not policy.key or "://" in policy.key:
        return None
    try:
        known = (root / policy.key).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return InputError("the public key can't be read", why=str(error), hint="see verify.key")
    if made != _key_body(known):
        return InputError(
            f"{policy.key} is not the public key of {settings.key}",
            why="nothing that is signed by the one is verified by the other",
            hint=f"cosign public-key --key {settings.key} prints it",
        )
    return None


def _is_remote(key: str) -> bool:
    return "://" in key and not key.startswith(_VARIABLE)


def _key_body(text: str) -> str:
    lines = (line.strip() for line in text.splitlines())
    return "".join(line for line in lines if line and not line.startswith("-----"))


def _contents(text: str) -> tuple[Mapping[str, Any], ...]:
    try:
        found = tuple(map(_content, filter(str.strip, text.splitlines())))
    except (ValueError, LookupError, TypeError) as error:
        raise _strange_answer(type(error).__name__) from error
    if not found:
        raise _strange_answer("nothing")
    return found


def _content(line: str) -> Mapping[str, Any]:
    return dict(json.loads(base64.b64decode(json.loads(line)["payload"])))


def _strange_answer(why: str) -> ToolError:
    # Taken for no statement, it would be attached once more with each publication.
    return ToolError(
        "cosign tells of signed statements in no known form",
        why=why,
        hint=HOW_TO_INSTALL,
    )


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
            "nothing says what counts as signed",
            hint="give the table verify a key, or identity and issuer",
        )


def _check_digest(reference: str) -> str:
    digest = reference.partition("@")[2]
    if not digest:
        raise InputError(
            f"{reference} has no digest",
            why="a tag may be another image by the time that it is signed",
            hint="give repository@sha256:…; invoke docker-push prints the digest",
        )
    return digest
