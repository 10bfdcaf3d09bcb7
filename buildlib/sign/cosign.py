"""cosign's command lines, and the meaning of its errors.

Versions 2 and 3 differ in their options. They are detected by cosign's help, as distributions build
it without a version. Source: github.com/sigstore/cosign, doc/ and
cmd/cosign/errors/exit_code_lookup.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from buildlib.config.signing import Sign, Verify
from buildlib.errors import (
    AuthorisationError,
    BuildlibError,
    InputError,
    ToolError,
    VerificationError,
)
from buildlib.program import ways_to_get
from buildlib.retry import LaterError, is_transient
from buildlib.shell import NOT_FOUND, repeated

_GO: Final = "go install github.com/sigstore/cosign/v2/cmd/cosign@latest"
HOW_TO_INSTALL: Final = f"install version 2 or 3: {ways_to_get('sigstore/cosign', _GO)}"
NO_SIGNATURE: Final = 10
_NO_TAG: Final = 11
_NO_MATCH: Final = 12
_REFUSED: Final = re.compile(r"UNAUTHORIZED|DENIED|status code 40[13]|40[13] (Unauth|Forb)")
# The services for keyless signing in cosign's messages; a repository may be called oidc.
_VOUCHING: Final = re.compile(r"Fulcio|OIDC|\b(?:ID|id) token\b|\bid_token not\b|: oidc: ")
# Go's message for an invalid address, which may contain a secret.
_UNREADABLE: Final = re.compile(r'parse "(?:[^"\\]|\\.)*": .*')
_KEY: Final = re.compile(r"reading key|loading public key|getting signer|loading private key")
_MISSING: Final = re.compile(
    r"none of the attestations matched|no matching attestations: *$", re.MULTILINE
)
_OTHER_KEY: Final = re.compile(r"do not match threshold|invalid signature|no matching")
_LAST: Final = "error during command execution: "
# No log and no timestamps; and no roots of services, which cosign would download otherwise.
_NO_SERVICES: Final = Path(__file__).with_name("no-services.json")
_NO_ROOTS: Final = Path(__file__).with_name("no-roots.json")
# cosign refuses a configuration beside these; they do not matter for a key without the log.
OVERRIDDEN: Final = (
    *("COSIGN_TLOG_UPLOAD", "COSIGN_USE_SIGNING_CONFIG"),
    *("COSIGN_REKOR_URL", "COSIGN_FULCIO_URL", "COSIGN_OIDC_ISSUER"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cosign:
    """The installed cosign.

    Args:
        version: as reported; `devel` if it was built without one.
        signing_config: services are configured by a file by default, as in version 3.
    """

    version: str
    signing_config: bool = False

    def sign(self, reference: str, settings: Sign, root: Path) -> tuple[str, ...]:
        """Return the command that signs an index and every manifest in it."""
        return (
            *("cosign", "sign", "--yes", "--recursive"),
            *self._signing(settings, root),
            reference,
        )

    def attest(
        self, reference: str, predicate: Path, kind: str, settings: Sign, root: Path
    ) -> tuple[str, ...]:
        """Return the command that signs and attaches an attestation."""
        return (
            *("cosign", "attest", "--yes", "--predicate", str(predicate), "--type", kind),
            *self._signing(settings, root),
            reference,
        )

    def public_key(self, settings: Sign, root: Path) -> tuple[str, ...]:
        """Return the command that prints the public half of a private key, without a registry."""
        return ("cosign", "public-key", "--key", key_argument(settings.key, root))

    def _signing(self, settings: Sign, root: Path) -> tuple[str, ...]:
        if not settings.key:
            return ()
        key = ("--key", key_argument(settings.key, root))
        if settings.transparency_log:
            return key
        if not self.signing_config:
            return (*key, "--tlog-upload=false")
        return (*key, "--signing-config", str(_NO_SERVICES), "--trusted-root", str(_NO_ROOTS))

    def verify(self, references: Sequence[str], policy: Verify, root: Path) -> tuple[str, ...]:
        """Return the command that verifies the signatures of images."""
        return ("cosign", "verify", *_verifying(policy, root), *references)

    def verify_attestation(
        self, reference: str, kind: str, policy: Verify, root: Path
    ) -> tuple[str, ...]:
        """Return the command that verifies the attestations of a type."""
        return (
            *("cosign", "verify-attestation", "--type", kind),
            *_verifying(policy, root),
            reference,
        )


def key_argument(key: str, root: Path) -> str:
    """Return a key for cosign: the path of a file, or a reference unchanged."""
    return key if "://" in key else str(root / key)


def _verifying(policy: Verify, root: Path) -> tuple[str, ...]:
    if not policy.by_identity:
        log = () if policy.transparency_log else ("--insecure-ignore-tlog=true",)
        return ("--key", key_argument(policy.key, root), *log)
    name = "--certificate-identity"
    who = (
        (f"{name}-regexp", policy.identity_pattern)
        if policy.identity_pattern
        else (name, policy.identity)
    )
    return (*who, "--certificate-oidc-issuer", policy.issuer)


def surrounded(
    argv: Sequence[str], *, without: Sequence[str], having: Mapping[str, str]
) -> tuple[str, ...]:
    """Return a command with some variables removed, and others set.

    The values are visible in the command line, so they may not be secret.
    """
    return (
        "env",
        *repeated("-u", without),
        *(f"{name}={value}" for name, value in having.items()),
        *argv,
    )


def reason(stderr: str) -> str:
    """Return cosign's error without its warnings; it may contain secrets."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    last = [line.removeprefix(_LAST) for line in lines if line.startswith(_LAST)]
    return _UNREADABLE.sub("an invalid address", last[-1] if last else "\n".join(lines[-3:]))


def missing() -> ToolError:
    """Return the error if cosign is not installed."""
    return ToolError(
        "cosign not found: nothing can be signed or verified",
        hint=HOW_TO_INSTALL,
    )


# Version 3 attaches signatures by the referrers API, where a registry has it.
_NOT_FOUND_BY_2: Final = (
    "cosign 2 does not find what cosign 3 has signed in a registry with the referrers API: if that "
    "may be so, verify it with cosign 3"
)


class ForeignError(VerificationError):
    """It is signed, but not as configured."""


def _general(code: int, stderr: str) -> BuildlibError | None:
    """Return an error that is neither about signing nor about verifying."""
    if code == NOT_FOUND:
        return missing()
    why = reason(stderr)
    if _REFUSED.search(stderr):
        return AuthorisationError("the registry refuses cosign", why=why, hint="docker login")
    if is_transient(stderr):
        return LaterError("the registry does not answer cosign", why=why)
    return None


def _unvouched(why: str) -> BuildlibError:
    if is_transient(why):
        return LaterError("the issuer of identities does not answer cosign", why=why)
    return AuthorisationError(
        "no issuer vouches for the signer",
        why=why,
        hint="a job of GitHub Actions needs the permission id-token: write; or sign by sign.key",
    )


def signing_problem(code: int, stderr: str) -> BuildlibError:
    """Return why nothing was signed."""
    why = reason(stderr)
    if _VOUCHING.search(why):
        return _unvouched(why)
    if problem := _general(code, stderr):
        return problem
    if "decrypt" in stderr or "Enter password" in stderr:
        return InputError(
            "the key can't be used: COSIGN_PASSWORD is not set, or wrong",
            hint="it holds the password that cosign generate-key-pair asked for",
        )
    if _KEY.search(stderr):
        return InputError("the key can't be used", why=why, hint="see sign.key")
    return VerificationError("cosign could not sign", why=why)


def verifying_problem(
    code: int, stderr: str, what: str, *, finds_all: bool = True
) -> BuildlibError:
    """Return why something is not verified.

    Args:
        finds_all: whether it is cosign 3, which finds what both versions sign.
    """
    if problem := _general(code, stderr):
        return problem
    why = reason(stderr)
    if code == NO_SIGNATURE:
        hint = "" if finds_all else _NOT_FOUND_BY_2
        return VerificationError(f"{what} is not signed", why=why, hint=hint)
    if code == _NO_TAG:
        return InputError(f"there is no {what}", why=why)
    if "loading public key" in stderr:
        return InputError("the public key can't be read", why=why, hint="see verify.key")
    if code == _NO_MATCH or _OTHER_KEY.search(stderr):
        return ForeignError(f"{what} is signed by somebody else, or is another image", why=why)
    return VerificationError(f"{what} is not verified", why=why)


def is_missing_attestation(stderr: str) -> bool:
    """Return whether no attestation of the type is attached."""
    return bool(_MISSING.search(stderr))
