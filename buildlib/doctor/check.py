"""One thing that a task needs, and what was found of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from buildlib.errors import FailureError
from buildlib.program import PROGRAM

OK: Final = "ok"
MISSING: Final = "missing"
NOTE: Final = "note"
# Neither good nor bad: it would take the network, or a password.
UNASKED: Final = "not asked"
# Of a name, where none is longer.
_WIDTH: Final = 23
_DIGEST: Final = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that is needed.

    Args:
        state: `ok`, `missing`, `note` for what is only worth knowing, or `not asked`.
        minimum: the oldest version that will do.
    """

    name: str
    state: str
    found: str
    minimum: str = ""
    fix: str = ""

    @property
    def width(self) -> int:
        """Return how wide its name is, at least as that of most."""
        return max(_WIDTH, len(_DIGEST.sub(r"\1…", self.name)))

    def as_lines(self, width: int = _WIDTH) -> list[str]:
        """Return it for a terminal, with its name in a column of a width."""
        minimum = f" (at least {self.minimum})" if self.minimum else ""
        name, found = (_DIGEST.sub(r"\1…", text) for text in (self.name, self.found))
        lines = [f"  {self.state:<9}  {name:<{width}}  {found}{minimum}"]
        return lines + [f"{'':13}{line.strip()}" for line in self.fix.splitlines()]


def check(name: str, found: str, *, minimum: str = "", fix: str = "", needed: bool = True) -> Check:
    """Return a check that is good where something was found, and there is nothing to fix."""
    bad = MISSING if needed else NOTE
    return Check(
        name=name,
        state=OK if found and not fix else bad,
        found=found or "none",
        minimum=minimum,
        fix=fix,
    )


def asked(name: str, ask: Callable[[], str], *, minimum: str = "", needed: bool = True) -> Check:
    """Return a check that is good where a question is answered, and bad where it raises."""
    try:
        return Check(name=name, state=OK, found=ask(), minimum=minimum)
    except FailureError as error:
        whats = "; ".join(problem.what for problem in error.problems)
        fixes = [text for one in error.problems for text in (one.why, one.hint) if text]
        return Check(
            name=name,
            state=MISSING if needed else NOTE,
            found=whats,
            minimum=minimum,
            fix="\n".join(fixes),
        )


def unasked(name: str, found: str, group: str) -> Check:
    """Return a check of something that is only asked for a task."""
    return Check(name=name, state=UNASKED, found=found, fix=f"{PROGRAM} doctor --for {group} asks")
