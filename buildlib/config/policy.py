"""The table `policy` of a configuration: limits, labels, and what is ignored."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from typing import Final

from buildlib.config.key_types import (
    NAMES,
    NUMBER,
    SIZE,
    TEXT,
    TEXTS,
    KeyType,
    MismatchError,
    choice,
    parse_text,
    setting,
    table_type,
)
from buildlib.config.suppressions import DATE, ignores_type
from buildlib.errors import InputError, did_you_mean
from buildlib.findings.finding import Finding, Level
from buildlib.findings.policy_rules import BUILD_CHECK, HADOLINT, RULES

_OCI: Final = "org.opencontainers.image"
_LABELS: Final = tuple(
    f"{_OCI}.{name}"
    for name in ("title", "description", "licenses", "source", "version", "revision", "created")
)
_OF_A_TOOL: Final = re.compile(rf"{HADOLINT}/[A-Z]+[0-9]+|{BUILD_CHECK}/[A-Za-z]+")


def _rule(value: object) -> str:
    name = parse_text(value)
    if name not in RULES and not _OF_A_TOOL.fullmatch(name):
        raise InputError(
            f"policy.ignore: there is no rule {name!r}", hint=did_you_mean(name, RULES)
        )
    return name


@dataclass(frozen=True, kw_only=True)
class PolicyIgnore:
    """What need not be fixed: until a day, or for good."""

    rule: str = setting(
        KeyType(_rule, {"type": "string"}), "rule, or the tool whose rules are meant"
    )
    reason: str = setting(TEXT, "why")
    until: date | None = setting(DATE, "last day in UTC; left out: for good", default=None)
    path: str = setting(TEXT, "pattern of the finding's path", default="")

    def covers(self, finding: Finding) -> bool:
        """Return whether it is about a finding."""
        rule = self.rule in {finding.rule, finding.rule.partition("/")[0]}
        # A name as it is reported matches itself, whatever it would match as a pattern.
        named = finding.path == self.path or fnmatchcase(finding.path, self.path)
        return rule and (not self.path or named)


def _base(value: object) -> Level:
    if not isinstance(value, str) or value not in {Level.ERROR, Level.WARNING}:
        raise MismatchError('"error" or "warning"')
    return Level(value)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Limits of the image; 0 means no limit."""

    labels: tuple[str, ...] = setting(TEXTS, "labels that have to be there", default=_LABELS)
    max_layers: int = setting(NUMBER, "layers that the image may have; 0: any", default=0)
    layer_budget: int = setting(SIZE, "size that one layer may have, as it is pulled", default=0)
    ignore: tuple[PolicyIgnore, ...] = setting(
        ignores_type(
            PolicyIgnore, where="policy.ignore", example='rule = "no-setuid"', for_good=True
        ),
        "findings that need not be fixed, each with its reason",
        default=(),
    )
    allow_names: tuple[str, ...] = setting(
        NAMES, "patterns of variables that hold no secret, whatever they are called", default=()
    )
    base: Level = setting(
        choice(_base, (Level.ERROR, Level.WARNING)),
        "how bad is what the base image brings",
        default=Level.WARNING,
    )


POLICY: Final = table_type(Policy)
