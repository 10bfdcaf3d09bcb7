"""The table `publish` of a configuration: which gates a release has to pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from buildlib.config.key_types import (
    FLAG,
    KeyType,
    choice,
    parse_table,
    parse_text,
    parse_texts,
    schema_of,
    setting,
)
from buildlib.errors import InputError, did_you_mean

SMOKE: Final = "smoke"
POLICY: Final = "policy"
SIZE: Final = "size"
SCAN: Final = "scan"
SBOM: Final = "sbom"
REPRODUCIBLE: Final = "reproducible"
DIFF: Final = "diff"
GATES: Final = (SMOKE, POLICY, SIZE, SCAN, SBOM, REPRODUCIBLE, DIFF)
# Where SBOM and provenance go: signed by cosign beside the image, into its index, or both.
BESIDE: Final = "beside"
INDEX: Final = "index"
BOTH: Final = "both"
_PLACES: Final = (BESIDE, INDEX, BOTH)
# No gate of the image, but skipped like one: with a reason that stays in the receipt.
SIGN: Final = "sign"


def check_gate(name: str, *, where: str) -> str:
    """Return the name of a gate; raises InputError (exit 2) where there is none."""
    known = (*GATES, SIGN)
    if name not in known:
        raise InputError(f"{where}: there is no gate {name!r}", hint=did_you_mean(name, known))
    return name


def _gates(value: object) -> tuple[str, ...]:
    names = parse_texts(value)
    for name in names:
        check_gate(name, where="publish.gates")
    return tuple(name for name in dict.fromkeys(names) if name != SIGN)


def _place(value: object) -> str:
    name = parse_text(value)
    if name not in _PLACES:
        known = ", ".join(_PLACES)
        raise InputError(
            f"publish.attestations is one of {known}, not {name!r}",
            hint=did_you_mean(name, _PLACES),
        )
    return name


@dataclass(frozen=True, kw_only=True)
class Publish:
    """How an image is published."""

    gates: tuple[str, ...] = setting(
        KeyType(_gates, {"type": "array", "items": {"enum": [*GATES, SIGN]}}),
        "gates that it has to pass, in the order of the report",
        default=(SMOKE, POLICY, SIZE, SCAN, SBOM),
    )
    provenance: bool = setting(
        FLAG, "attach BuildKit's provenance too, where the driver gives it", default=True
    )
    cache: bool = setting(
        FLAG, "layers may come from earlier builds, with their times", default=False
    )
    sign: bool = setting(
        FLAG, "the digest is signed and verified before it gets a tag", default=True
    )
    attestations: str = setting(
        choice(_place, _PLACES),
        "where SBOM and provenance go: `beside` the image, into its `index`, or `both`",
        default=BESIDE,
    )


def parse_publish(value: object) -> Publish:
    """Return what the table says.

    Raises:
        MismatchError: a value is of another kind.
        InputError: a key or a gate is not known, or two keys contradict each other (exit 2).
    """
    found = parse_table(Publish, value, "publish")
    if (
        not found.sign
        and isinstance(value, Mapping)
        and SIGN in parse_texts(value.get("gates", ()))
    ):
        raise InputError(
            "publish.sign = false contradicts sign in publish.gates", hint="take one of them out"
        )
    if found.attestations != BESIDE and not found.provenance and SBOM not in found.gates:
        raise InputError(
            f'publish.attestations = "{found.attestations}", and there is nothing to put there',
            why="neither an SBOM is made nor BuildKit asked for its provenance",
            hint="add sbom to publish.gates, or take out provenance = false",
        )
    return found


PUBLISH: Final = KeyType(parse_publish, partial(schema_of, Publish))
