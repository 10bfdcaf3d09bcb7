"""The table `publish` of a configuration: which gates a release has to pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from buildlib.errors import InputError, did_you_mean
from buildlib.values import parse_fields, parse_flag, parse_texts

SMOKE: Final = "smoke"
POLICY: Final = "policy"
SIZE: Final = "size"
SCAN: Final = "scan"
SBOM: Final = "sbom"
REPRODUCIBLE: Final = "reproducible"
GATES: Final = (SMOKE, POLICY, SIZE, SCAN, SBOM, REPRODUCIBLE)
# No gate of the image, but skipped like one: with a reason that stays in the receipt.
SIGN: Final = "sign"


class Publish(NamedTuple):
    """How an image is published.

    Args:
        gates: that it has to pass, in this order of the report.
        provenance: what BuildKit knows of the build is attached as well, where the driver
            gives it.
        cache: layers may be those of earlier builds, with the times that their files had then.
        sign: the digest is signed and verified before it gets a tag.
    """

    gates: tuple[str, ...] = (SMOKE, POLICY, SIZE, SCAN, SBOM)
    provenance: bool = True
    cache: bool = False
    sign: bool = True


NO_PUBLISH: Final = Publish()


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


_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    "gates": _gates,
    "provenance": parse_flag,
    "cache": parse_flag,
    "sign": parse_flag,
}


def parse_publish(value: object) -> Publish:
    """Return what the table says.

    Raises:
        MismatchError: a value is of another kind.
        InputError: a key or a gate is not known, or two keys contradict each other (exit 2).
    """
    found = Publish(**parse_fields(value, _KEYS, "publish."))
    if (
        not found.sign
        and isinstance(value, Mapping)
        and SIGN in parse_texts(value.get("gates", ()))
    ):
        raise InputError(
            "publish.sign = false contradicts sign in publish.gates", hint="take one of them out"
        )
    return found
