"""The tables `sign` and `verify` of a configuration: what signs, and what counts as signed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from buildlib.errors import InputError
from buildlib.values import parse_fields, parse_flag, parse_pattern, parse_text, parse_texts


class Sign(NamedTuple):
    """What signs.

    Args:
        key: a file relative to the project, `env://NAME`, or a KMS reference such as
            `awskms://…`; its password is in COSIGN_PASSWORD.
        keyless: by the identity that the CI service vouches for, without a key.
        transparency_log: signatures by a key are entered into the public log as well.
    """

    key: str = ""
    keyless: bool = False
    transparency_log: bool = False


class Verify(NamedTuple):
    """What counts as signed.

    Args:
        key: the public key: a file relative to the project, `env://NAME`, or a KMS reference.
        identity: who has to have signed, exactly; `identity_pattern` is a regular expression.
        issuer: who has to vouch for the identity.
        attestations: types that have to be there, as cosign names them, or their URIs.
        transparency_log: a signature by a key has to be in the public log.
        manifests: what an index names has to be signed as well, and not the index alone.
    """

    key: str = ""
    identity: str = ""
    identity_pattern: str = ""
    issuer: str = ""
    attestations: tuple[str, ...] = ()
    transparency_log: bool = False
    manifests: bool = True

    @property
    def by_identity(self) -> bool:
        """Return whether an identity counts, and no key."""
        return bool(self.identity or self.identity_pattern)


NO_SIGN: Final = Sign()
NO_VERIFY: Final = Verify()

_SIGN_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    "key": parse_text,
    "keyless": parse_flag,
    "transparency-log": parse_flag,
}
_VERIFY_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    "key": parse_text,
    "identity": parse_text,
    "identity-pattern": parse_pattern,
    "issuer": parse_text,
    "attestations": parse_texts,
    "transparency-log": parse_flag,
    "manifests": parse_flag,
}


def parse_sign(value: object) -> Sign:
    """Return what the table says.

    Raises:
        MismatchError: a value is of another kind.
        InputError: a key is not known, or two contradict each other (exit 2).
    """
    found = Sign(**parse_fields(value, _SIGN_KEYS, "sign."))
    if found.key and found.keyless:
        raise InputError("sign.key and sign.keyless exclude each other", hint="give one of them")
    return found


def parse_verify(value: object) -> Verify:
    """Return what the table says; raises as `parse_sign`."""
    found = Verify(**parse_fields(value, _VERIFY_KEYS, "verify."))
    check_policy(found)
    return found


def check_policy(policy: Verify) -> None:
    """Raise InputError (exit 2) where what is wanted contradicts itself."""
    if policy.key and policy.by_identity:
        raise InputError("a key and an identity exclude each other", hint="give one of them")
    if policy.by_identity and not policy.issuer:
        raise InputError(
            "an identity needs its issuer",
            why="another issuer may vouch for anybody under the same name",
            hint='such as issuer = "https://token.actions.githubusercontent.com"',
        )
