"""The table `diff` of a configuration: which changes since the last release fail the gate."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from buildlib.config.key_types import KeyType, MismatchError, parse_texts, setting, table_type
from buildlib.errors import InputError, did_you_mean

NEW_SETUID: Final = "new-setuid"
USER_CHANGED: Final = "user-changed"
NEW_HIGH_FINDING: Final = "new-high-finding"
RULES: Final = (NEW_SETUID, USER_CHANGED, NEW_HIGH_FINDING)
_SHARE: Final = r"[0-9]{1,4}(?:\.[0-9]{1,2})? ?%"


def _rules(value: object) -> tuple[str, ...]:
    names = parse_texts(value)
    for name in names:
        if name not in RULES:
            raise InputError(
                f"diff.fail-on: there is no rule {name!r}", hint=did_you_mean(name, RULES)
            )
    return tuple(dict.fromkeys(names))


def _share(value: object) -> float:
    if not isinstance(value, str) or not re.fullmatch(_SHARE, value.strip()):
        raise MismatchError('a share, such as "10%"')
    return float(value.strip().removesuffix("%"))


@dataclass(frozen=True, kw_only=True)
class DiffSettings:
    """Which changes since the last release fail the gate."""

    fail_on: tuple[str, ...] = setting(
        KeyType(_rules, {"type": "array", "items": {"enum": [*RULES]}}),
        "changes since the last release that fail the gate `diff`; the last one needs a scanner",
        default=(NEW_SETUID, USER_CHANGED),
    )
    size: float | None = setting(
        KeyType(_share, {"type": "string", "pattern": f"^{_SHARE}$"}),
        "share that the image may have grown since the last release, `10%`; left out: any",
        default=None,
    )


DIFF: Final = table_type(DiffSettings)
