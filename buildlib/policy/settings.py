"""The table `policy` of a configuration: limits, labels, and what is ignored."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildlib.errors import InputError, did_you_mean
from buildlib.ignores import parse_date, parse_ignores
from buildlib.policy.finding import Level
from buildlib.policy.rules import HADOLINT, RULES
from buildlib.values import (
    MismatchError,
    check_keys,
    parse_fields,
    parse_names,
    parse_number,
    parse_size,
    parse_text,
    parse_texts,
)

if TYPE_CHECKING:
    from buildlib.policy.finding import Finding

_OCI: Final = "org.opencontainers.image"
_LABELS: Final = tuple(
    f"{_OCI}.{name}"
    for name in ("title", "description", "licenses", "source", "version", "revision", "created")
)


class Ignore(NamedTuple):
    """What need not be fixed: until a day, or for good.

    `path` is a pattern of the finding's path, or empty.
    """

    rule: str
    reason: str
    until: date | None = None
    path: str = ""

    def covers(self, finding: Finding) -> bool:
        """Return whether it is about a finding."""
        rule = self.rule in {finding.rule, finding.rule.partition("/")[0]}
        # A name as it is told is about itself, whatever it would match as a pattern.
        named = finding.path == self.path or fnmatchcase(finding.path, self.path)
        return rule and (not self.path or named)


class Policy(NamedTuple):
    """Limits; 0 is none.

    Args:
        labels: that have to be there.
        max_layers: how many layers the image may have.
        layer_budget: bytes that one layer may have as it is pulled.
        ignore: what need not be fixed.
        allow_names: patterns of variables that hold no secret, whatever they are called.
        base: how bad is what the base image brings: an error, or a warning.
    """

    labels: tuple[str, ...] = _LABELS
    max_layers: int = 0
    layer_budget: int = 0
    ignore: tuple[Ignore, ...] = ()
    allow_names: tuple[str, ...] = ()
    base: Level = Level.WARNING


NO_POLICY: Final = Policy()


def _rule(value: object) -> str:
    name = parse_text(value)
    if name not in RULES and not re.fullmatch(rf"{HADOLINT}/[A-Z]+[0-9]+", name):
        raise InputError(
            f"policy.ignore: there is no rule {name!r}", hint=did_you_mean(name, RULES)
        )
    return name


_IGNORE_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    "rule": _rule,
    "reason": parse_text,
    "until": parse_date,
    "path": parse_text,
}


def _ignores(value: object) -> tuple[Ignore, ...]:
    return parse_ignores(
        value,
        _IGNORE_KEYS,
        Ignore,
        where="policy.ignore",
        example='rule = "no-setuid"',
        for_good=True,
    )


def _base(value: object) -> Level:
    if not isinstance(value, str) or value not in {Level.ERROR, Level.WARNING}:
        raise MismatchError('"error" or "warning"')
    return Level(value)


_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    "labels": parse_texts,
    "max-layers": parse_number,
    "layer-budget": parse_size,
    "ignore": _ignores,
    "allow-names": parse_names,
    "base": _base,
}


def parse_policy(value: object) -> Policy:
    """Return what the table says.

    Raises:
        MismatchError: a value is of another kind.
        InputError: a key or a rule is not known, or an ignore says too little (exit 2).
    """
    if isinstance(value, Mapping):
        check_keys(value, _KEYS, where="policy.")
    return Policy(**parse_fields(value, _KEYS, "policy."))
