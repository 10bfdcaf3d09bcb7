"""The tables `sign` and `verify` of a configuration: what signs, and what counts as signed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

from buildlib.config.key_types import (
    FLAG,
    PATTERN,
    TEXT,
    TEXTS,
    KeyType,
    parse_table,
    schema_of,
    setting,
)
from buildlib.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Sign:
    """What signs; the password of a key is in COSIGN_PASSWORD."""

    key: str = setting(
        TEXT,
        "private key: a file relative to the project, env://NAME, or a KMS reference",
        default="",
    )
    keyless: bool = setting(
        FLAG, "sign with the identity that the CI service vouches for", default=False
    )
    transparency_log: bool = setting(
        FLAG, "enter signatures by a key into the public log too", default=False
    )


@dataclass(frozen=True, kw_only=True)
class Verify:
    """What counts as signed."""

    key: str = setting(
        TEXT,
        "public key: a file relative to the project, env://NAME, or a KMS reference",
        default="",
    )
    identity: str = setting(TEXT, "identity that has to have signed, exactly", default="")
    identity_pattern: str = setting(PATTERN, "regular expression for the identity", default="")
    issuer: str = setting(TEXT, "issuer that has to vouch for the identity", default="")
    attestations: tuple[str, ...] = setting(
        TEXTS,
        "types of attestations that have to be there, as cosign names them, or URIs",
        default=(),
    )
    transparency_log: bool = setting(
        FLAG, "a signature by a key has to be in the public log", default=False
    )
    manifests: bool = setting(FLAG, "each manifest in an index has to be signed too", default=True)

    @property
    def by_identity(self) -> bool:
        """Return whether an identity counts, and no key."""
        return bool(self.identity or self.identity_pattern)


def parse_sign(value: object) -> Sign:
    """Return what the table says.

    Raises:
        MismatchError: a value is of another kind.
        InputError: a key is not known, or two contradict each other (exit 2).
    """
    found = parse_table(Sign, value, "sign")
    if found.key and found.keyless:
        raise InputError("sign.key and sign.keyless exclude each other", hint="give one of them")
    return found


def parse_verify(value: object) -> Verify:
    """Return what the table says; raises as `parse_sign`."""
    found = parse_table(Verify, value, "verify")
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


SIGN: Final = KeyType(parse_sign, partial(schema_of, Sign))
VERIFY: Final = KeyType(parse_verify, partial(schema_of, Verify))
